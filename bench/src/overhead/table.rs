//! The report as Markdown.

use super::Report;
use super::interval::{confidence, median};
use super::measure::{Code, Row};
use super::variant::Variant;
use crate::guest::Group;
use std::fmt::Write;

/// What the project promises of its safepoints.
const GEOMEAN: f64 = 1.05;
const WORST: f64 = 1.20;
const LARGER: f64 = 1.6;

pub fn markdown(report: &Report) -> String {
    let mut out = times(report);
    if report.variants.contains(&Variant::Safepoints) {
        out += &targets(report);
        out += &code(report);
    }
    for what in &report.missing {
        let _ = writeln!(out, "Missing: {what}.");
    }
    out
}

/// Times of a program in each way, as multiples of plain.
pub fn ratios(row: &Row, variants: &[Variant]) -> String {
    variants.iter().map(|v| cell(row, *v)).collect::<Vec<_>>().join(" | ")
}

fn cell(row: &Row, variant: Variant) -> String {
    let Some(ratios) = row.ratios.get(&variant) else { return "–".into() };
    let m = median(ratios);
    match variant {
        Variant::Safepoints => format!("{:.3} | {:.3} – {:.3}", m.middle, m.low, m.high),
        _ => format!("{:.2}", m.middle),
    }
}

fn times(report: &Report) -> String {
    let n = report.rounds;
    let mut out = format!(
        "CPU seconds of the program's thread from `_start` on, divided by those of plain in the same round: median of {n} rounds \
         in turn, after one that warms up. The interval has {:.1} % (sign test).\n\n",
        confidence(n) * 100.0
    );
    let (mut head, mut line) = ("| program | plain s |".to_owned(), "|---|---|".to_owned());
    for v in &report.variants {
        head += match v {
            Variant::Safepoints => " with safepoints | interval |",
            Variant::Epochs => " epochs |",
            Variant::Asyncify => " Asyncify |",
            Variant::Defaults => " wasmtime's defaults |",
            Variant::Native => " native |",
            Variant::Plain => continue,
        };
        line += if *v == Variant::Safepoints { "---|---|" } else { "---|" };
    }
    let _ = writeln!(out, "{head}\n{line}");
    for group in Group::ALL {
        let rows: Vec<&Row> = report.rows.iter().filter(|r| r.group == group).collect();
        for row in &rows {
            let _ = writeln!(
                out,
                "| {} | {:.2} | {} |",
                row.name,
                row.plain,
                ratios(row, &report.variants)
            );
        }
        if rows.len() > 1 {
            mean(&mut out, &format!("geomean of {} {}", rows.len(), group.name()), &rows, report);
        }
    }
    let all: Vec<&Row> = report.rows.iter().collect();
    mean(&mut out, &format!("geomean of all {}", all.len()), &all, report);
    out.push('\n');
    out
}

fn mean(out: &mut String, title: &str, rows: &[&Row], report: &Report) {
    let _ = write!(out, "| **{title}** | |");
    for &v in &report.variants {
        let (of, rounds) = geomeans(rows, v, report.rounds);
        let m = median(&rounds);
        // Of fewer programs than there are: say so.
        let some = if of == rows.len() { String::new() } else { format!(" (of {of})") };
        let _ = match (v, of) {
            (_, 0) => write!(out, " – |"),
            (Variant::Safepoints, _) => {
                write!(out, " **{:.3}** | {:.3} – {:.3} |", m.middle, m.low, m.high)
            }
            _ => write!(out, " **{:.2}**{some} |", m.middle),
        };
    }
    out.push('\n');
}

/// For each round, of those that could be run in this way, and how many they are.
fn geomeans(rows: &[&Row], variant: Variant, rounds: usize) -> (usize, Vec<f64>) {
    let of: Vec<&Vec<f64>> = rows.iter().filter_map(|r| r.ratios.get(&variant)).collect();
    let round = |i: usize| geomean(of.iter().map(|ratios| ratios[i]));
    (of.len(), (0..rounds).map(round).collect())
}

fn geomean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = values.fold((0.0, 0), |(sum, n), v| (sum + v.ln(), n + 1));
    (sum / f64::from(n)).exp()
}

fn targets(report: &Report) -> String {
    let all: Vec<&Row> = report.rows.iter().collect();
    let mean = median(&geomeans(&all, Variant::Safepoints, report.rounds).1).middle;
    let verdict = |value: f64, target: f64| match value <= target {
        true => "met".to_owned(),
        false => format!("missed by {:.3}", value - target),
    };
    let mut slow: Vec<(f64, &str)> = vec![];
    for row in &report.rows {
        if let Some(ratios) = row.ratios.get(&Variant::Safepoints) {
            slow.push((median(ratios).middle, &row.name));
        }
    }
    slow.sort_by(|a, b| b.0.total_cmp(&a.0));
    let worst = slow.first().map_or(f64::NAN, |w| w.0);
    slow.retain(|(ratio, _)| *ratio > WORST);
    let slow: Vec<String> = slow.iter().map(|(r, name)| format!("{name} {r:.3}")).collect();
    let mut out = format!(
        "Target: geomean at most {GEOMEAN}: **{}** ({mean:.3}). No program over {WORST:.2}: **{}**",
        verdict(mean, GEOMEAN),
        verdict(worst, WORST)
    );
    let _ = match slow.is_empty() {
        true => writeln!(out, " (the worst {worst:.3}).\n"),
        false => writeln!(out, "; over it: {}.\n", slow.join(", ")),
    };
    out
}

fn code(report: &Report) -> String {
    let mut out = "Machine code, and CPU time of all threads to compile it, the transform included; with safepoints over plain:\n\n\
                   | program | code KiB | ratio | compiling ms | ratio |\n|---|---|---|---|---|\n"
        .to_owned();
    let of: Vec<(&str, &Code)> =
        report.rows.iter().filter_map(|r| Some((r.name.as_str(), r.code.as_ref()?))).collect();
    for (name, c) in &of {
        let (kib, ms) = (c.text as f64 / 1024.0, c.compile * 1e3);
        let _ =
            writeln!(out, "| {name} | {kib:.0} | {:.2} | {ms:.0} | {:.2} |", c.larger, c.slower);
    }
    let larger = geomean(of.iter().map(|(_, c)| c.larger));
    let slower = geomean(of.iter().map(|(_, c)| c.slower));
    let _ = writeln!(out, "| **geomean** | | **{larger:.2}** | | **{slower:.2}** |\n");
    let mut over: Vec<&(&str, &Code)> = of.iter().filter(|(_, c)| c.larger > LARGER).collect();
    over.sort_by(|a, b| b.1.larger.total_cmp(&a.1.larger));
    let _ = match &over[..] {
        [] => writeln!(out, "Target: code at most {LARGER} times as large: **met** by all.\n"),
        [(worst, c), ..] => writeln!(
            out,
            "Target: code at most {LARGER} times as large: **missed** by {} of {}, most by {worst} ({:.2}).\n",
            over.len(),
            of.len(),
            c.larger
        ),
    };
    out
}
