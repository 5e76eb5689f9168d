//! The report as a picture: one line for each program, one mark for each way to run it.
//!
//! ```text
//!                 1.0    1.2     1.5      2       3       4+
//!   gemm           o--    []               ^
//!   2mm            o     []                      ^              o  with safepoints, and its interval
//!   ...                                                         []  epochs      ^  Asyncify
//! ```
//!
//! The scale is logarithmic; what lies beyond it stands at its end. No background, and colours that can be seen on white and on
//! black, for a picture in a page does not know the page's theme.

use super::Report;
use super::interval::median;
use super::measure::Row;
use super::variant::Variant;
use crate::guest::Group;
use std::fmt::Write;

const WIDTH: f64 = 880.0;
/// Where names end and the scale begins, and where it ends.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 860.0;
const LINE: f64 = 15.0;
/// The ends of the scale, and where it has lines.
const LOW: f64 = 0.8;
const HIGH: f64 = 4.0;
const TICKS: [f64; 9] = [0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 4.0];

const GREY: &str = "#7d7d7d";
const MARKS: [(Variant, &str, &str); 3] = [
    (Variant::Asyncify, "#cc4b3c", "Binaryen's Asyncify"),
    (Variant::Epochs, "#b9810a", "wasmtime's epochs"),
    (Variant::Safepoints, "#2c9157", "Dormouse's safepoints"),
];

pub fn svg(report: &Report) -> String {
    let groups: Vec<(Group, Vec<&Row>)> = Group::ALL
        .into_iter()
        .map(|g| (g, report.rows.iter().filter(|r| r.group == g).collect::<Vec<_>>()))
        .filter(|(_, rows)| !rows.is_empty())
        .collect();
    let lines = report.rows.len() + 2 * groups.len();
    let height = 64.0 + lines as f64 * LINE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"{GREY}\" role=\"img\">\n\
         <title>Run time divided by that of the plain program</title>\n"
    );
    legend(&mut out, report);
    for tick in TICKS {
        let (x, wide) = (x(tick), if tick == 1.0 { 1.2 } else { 0.4 });
        let label = if tick == HIGH { format!("{tick}+") } else { tick.to_string() };
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} 46V{:.0}\" stroke=\"{GREY}\" stroke-width=\"{wide}\"/>\
             <text x=\"{x:.1}\" y=\"40\" text-anchor=\"middle\">{label}</text>",
            height - 8.0
        );
    }
    let mut y = 46.0;
    for (group, rows) in groups {
        y += 2.0 * LINE;
        let _ = writeln!(
            out,
            "<text x=\"8\" y=\"{:.0}\" font-weight=\"bold\">{}</text>",
            y - 3.0,
            group.name()
        );
        for row in rows {
            y += LINE;
            line(&mut out, row, y - 4.0);
        }
    }
    out += "</svg>\n";
    out
}

fn legend(out: &mut String, report: &Report) {
    let mut at = LEFT;
    for (variant, colour, name) in MARKS.into_iter().rev() {
        if report.variants.contains(&variant) {
            mark(out, variant, colour, at, 14.0);
            let _ = writeln!(out, "<text x=\"{:.0}\" y=\"18\">{name}</text>", at + 9.0);
            at += 170.0;
        }
    }
}

fn line(out: &mut String, row: &Row, y: f64) {
    let _ = writeln!(
        out,
        "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
        LEFT - 12.0,
        y + 4.0,
        escaped(&row.name)
    );
    for (variant, colour, _) in MARKS {
        let Some(ratios) = row.ratios.get(&variant) else { continue };
        let m = median(ratios);
        if variant == Variant::Safepoints {
            let _ = writeln!(
                out,
                "<path d=\"M{:.1} {y:.0}H{:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                x(m.low),
                x(m.high)
            );
        }
        mark(out, variant, colour, x(m.middle), y);
    }
}

/// A shape of its own for each way, for those who see no colours.
fn mark(out: &mut String, variant: Variant, colour: &str, x: f64, y: f64) {
    let shape = match variant {
        Variant::Safepoints => format!("<circle cx=\"{x:.1}\" cy=\"{y:.0}\" r=\"4\""),
        Variant::Epochs => format!("<path d=\"M{:.1} {:.1}h6v6h-6z\"", x - 3.0, y - 3.0),
        _ => format!("<path d=\"M{:.1} {:.1}l4 7h-8z\"", x, y - 4.0),
    };
    let _ = writeln!(out, "{shape} fill=\"{colour}\"/>");
}

fn x(ratio: f64) -> f64 {
    let part = (ratio.clamp(LOW, HIGH) / LOW).ln() / (HIGH / LOW).ln();
    LEFT + part * (RIGHT - LEFT)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_picture() {
        let row = |name: &str, group, ratios: &[(Variant, &[f64])]| Row {
            name: name.into(),
            group,
            plain: 0.4,
            ratios: ratios.iter().map(|(v, r)| (*v, r.to_vec())).collect::<BTreeMap<_, _>>(),
            code: None,
        };
        let report = Report {
            rows: vec![
                row("gemm", Group::PolyBench, &[(Variant::Safepoints, &[1.0, 1.02, 1.01])]),
                row(
                    "a<b & c",
                    Group::Real,
                    &[
                        (Variant::Safepoints, &[1.1, 0.7, 1.3]),
                        (Variant::Epochs, &[2.0, 2.0, 2.0]),
                        (Variant::Asyncify, &[9.0, 9.5, 9.1]),
                    ],
                ),
            ],
            rounds: 3,
            variants: vec![Variant::Safepoints, Variant::Epochs, Variant::Asyncify],
            missing: vec![],
        };
        let drawn = svg(&report);
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/overhead/picture.svg");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(golden, &drawn).unwrap();
        }
        assert_eq!(drawn, std::fs::read_to_string(golden).unwrap(), "BLESS=1 writes it anew");
        // What is beyond the scale stands at its end, and what is 1 on the line of 1.
        assert!((x(9.0) - RIGHT).abs() < 1e-9 && (x(0.5) - LEFT).abs() < 1e-9);
        assert!(drawn.contains(&format!("M{:.1} 46V", x(1.0))));
    }
}
