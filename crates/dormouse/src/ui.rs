//! What is said to people, on stderr; what is printed for them and for scripts, on stdout.

use anstyle::{AnsiColor, Style};
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const NAME: Style = AnsiColor::Cyan.on_default();

/// `error: ...`, in one line.
pub fn error(message: &str) {
    say(format!("{ERROR}error:{ERROR:#} {}", dormouse::one_line(message)));
}

/// `warning: ...`, in one line.
pub fn warning(message: &str) {
    say(format!("{WARNING}warning:{WARNING:#} {}", dormouse::one_line(message)));
}

/// `dormouse: ...`
pub fn note(message: &str) {
    say(format!("{NAME}dormouse:{NAME:#} {message}"));
}

/// A line that belongs to the one before.
pub fn detail(line: &str) {
    say(format!("  {}", line.trim()));
}

/// Colours are left out where there is no terminal. A stderr that is gone is not an error.
fn say(line: String) {
    let _ = writeln!(anstream::stderr(), "{line}");
}

/// Prints to stdout. A reader that has gone (`| head`) is not an error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same with colours, which are left out where there is no terminal.
pub fn print_styled(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints JSON to stdout.
pub fn print_json(value: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    print(&format!("{text}\n"));
}

/// Columns, aligned; the first row is the heading.
pub fn table(rows: &[Vec<String>]) -> String {
    columns(rows, "   ")
}

/// The same with less room between them.
pub fn dense_table(rows: &[Vec<String>]) -> String {
    columns(rows, "  ")
}

fn columns(rows: &[Vec<String>], gap: &str) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}{gap}");
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// `1 file`, `2 files`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `1 entry`, `2 entries`.
pub fn entries(n: usize) -> String {
    format!("{n} {}", if n == 1 { "entry" } else { "entries" })
}

/// In one line and without what a terminal obeys, or what has it show letters in another order or not at all: names in a
/// checkpoint may be a stranger's.
pub fn visible(text: &str) -> String {
    let is_obeyed = |c: char| {
        let formats = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
        c.is_control() || c == '\u{feff}' || formats.iter().any(|range| range.contains(&c))
    };
    let escaped = |c: char| if is_obeyed(c) { c.escape_default().collect() } else { vec![c] };
    text.chars().flat_map(escaped).collect()
}

/// For a shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+=:@,%".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// `2026-11-21T05:16:41.123Z` as `2026-11-21 05:16:41` of here.
pub fn local_time(rfc3339: &str) -> String {
    match rfc3339.parse::<jiff::Timestamp>() {
        Ok(t) => t.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T").to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

/// So many seconds ago.
pub fn age(rfc3339: &str) -> Option<f64> {
    let then = rfc3339.parse::<jiff::Timestamp>().ok()?;
    Some(jiff::Timestamp::now().duration_since(then).as_secs_f64().max(0.0))
}

/// In at most six characters, as long as it is less than a hundred days: `5s`, `3m20s`, `23h59m`, `12d23h`.
pub fn short_time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// Microseconds in three digits: `4.12 ms`.
pub fn micros(micros: u64) -> String {
    let mut value = micros as f64;
    for unit in ["µs", "ms", "s"] {
        // What would be rounded up to 1000 is one of the next.
        if value < 999.5 || unit == "s" {
            return match unit {
                "µs" => format!("{micros} {unit}"),
                _ if value < 9.995 => format!("{value:.2} {unit}"),
                _ if value < 99.95 => format!("{value:.1} {unit}"),
                _ => format!("{value:.0} {unit}"),
            };
        }
        value /= 1000.0;
    }
    String::new()
}

/// An interval as it was asked for, and as it is now where that is another: `auto (2m 11s)`.
pub fn every(asked: &str, now_ms: Option<u64>) -> String {
    let now = now_ms.map(|ms| {
        // To the second, where it is that long.
        let ms = if ms >= 1000 { (ms + 500) / 1000 * 1000 } else { ms };
        humantime::format_duration(Duration::from_millis(ms)).to_string()
    });
    match now {
        Some(now) if now != asked => format!("{asked} ({now})"),
        _ => asked.to_owned(),
    }
}

/// A share of one: `0.31%`.
pub fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// `DORMOUSE_LOG=debug` (or warn, info, trace) tells what goes on inside.
pub fn log() {
    let Ok(level) = std::env::var("DORMOUSE_LOG") else { return };
    let level = level.parse().unwrap_or(tracing::Level::WARN);
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    let _ = log.without_time().with_ansi(false).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_obeyed() {
        let harmless = "a ünï \u{200d} \u{2070}";
        assert_eq!(visible(harmless), harmless);
        for c in
            ['\n', '\u{1b}', '\u{9b}', '\u{200e}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}']
        {
            assert_eq!(visible(&format!("x{c}y")), format!("x{}y", c.escape_default()));
        }
        assert_eq!(visible("\u{feff}\u{200f}"), r"\u{feff}\u{200f}");
    }

    #[test]
    fn shells() {
        assert_eq!(quoted("/a/b-1.c"), "/a/b-1.c");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn numbers() {
        for (number, text) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1000, "1.00 ms"),
            (4120, "4.12 ms"),
            (9_996, "10.0 ms"),
            (99_960, "100 ms"),
            (999_499, "999 ms"),
            (999_600, "1.00 s"),
            (123_456_789, "123 s"),
            (3_600_000_000, "3600 s"),
        ] {
            assert_eq!(micros(number), text);
        }
        assert_eq!(every("auto", Some(131_387)), "auto (2m 11s)");
        assert_eq!(every("30s", Some(30_000)), "30s");
        assert_eq!(every("1s", Some(10_400)), "1s (10s)");
        assert_eq!(every("500ms", Some(500)), "500ms");
        assert_eq!(every("auto", None), "auto");
        let times = [0, 59, 60, 3_599, 3_600, 86_399, 86_400, 8_640_000 - 1];
        let texts = ["0s", "59s", "1m0s", "59m59s", "1h0m", "23h59m", "1d0h", "99d23h"];
        assert_eq!(times.map(|s| short_time(Duration::from_secs(s))), texts);
        assert_eq!(["0.00%", "0.31%", "100.00%"], [0.0, 0.0031, 1.0].map(percent));
    }

    #[test]
    fn aligned() {
        let rows = [vec!["A".into(), "B".into()], vec!["long".into(), "x".into()]];
        assert_eq!(table(&rows), "A      B\nlong   x\n");
    }
}
