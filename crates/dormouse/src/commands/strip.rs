//! A memory in one line: which of its pages are zero, and which changed.

use anstyle::{AnsiColor, Style};
use dormouse::look::{Cell, Heat};

const ZERO: Style = AnsiColor::BrightBlack.on_default();
const SAME: Style = AnsiColor::Cyan.on_default();
const CHANGED: Style = AnsiColor::Red.on_default();

/// How a cell looks: the more of it changed, the darker.
fn look(cell: &Cell) -> (char, Style) {
    let held = cell.same + cell.changed;
    match cell.changed.saturating_mul(3).checked_div(held) {
        None => ('·', ZERO),
        Some(0) if cell.changed == 0 => ('░', SAME),
        Some(0) => ('▒', CHANGED),
        Some(1 | 2) => ('▓', CHANGED),
        Some(_) => ('█', CHANGED),
    }
}

/// One character a cell.
pub fn strip(heat: &Heat) -> String {
    let mut out = String::new();
    let looks: Vec<_> = heat.cells.iter().map(look).collect();
    for same in looks.chunk_by(|a, b| a.1 == b.1) {
        let style = same[0].1;
        let text: String = same.iter().map(|look| look.0).collect();
        out += &format!("{style}{text}{style:#}");
    }
    out
}

/// What the characters mean.
pub fn legend(compared: bool) -> String {
    let zero = format!("{ZERO}·{ZERO:#} zero");
    match compared {
        true => format!(
            "{zero}  {SAME}░{SAME:#} same  {CHANGED}▒ ▓ █{CHANGED:#} a little, much, all of it changed"
        ),
        false => format!("{zero}  {SAME}░{SAME:#} not zero"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells() {
        let cell = |zero, same, changed| look(&Cell { zero, same, changed }).0;
        let looks = [cell(4, 0, 0), cell(3, 1, 0), cell(0, 9, 1), cell(9, 1, 1), cell(9, 0, 1)];
        assert_eq!(looks, ['·', '░', '▒', '▓', '█']);
        assert_eq!(cell(0, 0, u64::MAX), '█');
    }
}
