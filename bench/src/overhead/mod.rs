//! What it costs a program that it can be stopped: by our safepoints, and by what else there is.
//!
//! ```text
//!   guests ─> variant    each program in each way (asyncify, native)
//!          ─> measure    in turn, round after round; compiling too
//!          ─> table      Markdown                                    target/bench/overhead.md
//!          ─> picture    SVG                                         docs/overhead.svg; of a part, target/bench/overhead.svg
//! ```

mod asyncify;
pub mod instructions;
mod interval;
mod measure;
mod native;
mod picture;
mod table;
mod valgrind;
mod variant;

use crate::guest;
use anyhow::{Context, Result, ensure};
use measure::Row;
use variant::{Machines, Variant};

/// What was measured.
struct Report {
    rows: Vec<Row>,
    rounds: usize,
    /// The ways that were compared with plain.
    variants: Vec<Variant>,
    /// What is missing, and why.
    missing: Vec<String>,
}

/// `[--rounds N] [--variants A,B] [GUEST...]`
pub fn run(words: &[&str]) -> Result<()> {
    let (mut rounds, mut names) = (5, vec![]);
    let mut variants = Variant::ALL[1..].to_vec();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        match word {
            "--rounds" => rounds = words.next().context("--rounds wants a number")?.parse()?,
            "--variants" => {
                let list = words.next().context("--variants wants names with commas")?;
                variants = list.split(',').map(Variant::named).collect::<Result<_>>()?;
            }
            name => names.push(name),
        }
    }
    ensure!(rounds > 0, "no rounds, no ratios");
    variants.retain(|&v| v != Variant::Plain);
    let machines = Machines::new(None)?;
    let mut report = Report { rows: vec![], rounds, variants, missing: vec![] };
    // The book shows the whole suite.
    let book = names.is_empty() && report.variants == Variant::ALL[1..];
    if names.is_empty() {
        report.missing.extend(guest::missing()?);
    }
    for g in guest::chosen(&names)? {
        eprint!("{} ", g.name);
        let row = measure::row(&machines, &g, rounds, &report.variants, &mut report.missing)
            .with_context(|| g.name.clone())?;
        eprintln!("{}", table::ratios(&row, &report.variants));
        report.rows.push(row);
        // Each time, for a run takes long and may be stopped.
        write(&report, book)?;
    }
    println!("\n{}", table::markdown(&report));
    for what in &report.missing {
        eprintln!("MISSING: {what}");
    }
    Ok(())
}

fn write(report: &Report, book: bool) -> Result<()> {
    let folder = guest::root().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("overhead.md"), table::markdown(report))?;
    let folder = if book { guest::root().join("docs") } else { folder };
    std::fs::write(folder.join("overhead.svg"), picture::svg(report))?;
    Ok(())
}
