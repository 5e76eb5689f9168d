//! What is shown: the table in the terminal, and docs/compatibility.md.

use super::{Place, features, list::Program, trial::Outcome};
use crate::setup::root;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

const BEFORE: &str = "\
# Compatibility

Made by `cargo xtask catalogue`; do not edit it by hand. What is behind the words is in
[Limits](limits.md), how the programs are tried in [Testing](testing.md#the-catalogue).

## Feature by feature

The smallest module that needs a feature is given to the transform. What is refused is refused when the
module is loaded, before it runs, and `dormouse check` says the same.

";

const BETWEEN: &str = "
Besides, `dormouse run` takes only functions of `wasi_snapshot_preview1` as imports, each with its right
type: others are refused by name.

## Program by program

Programs that nobody here wrote, as the registries have them. Each one is run by the stock wasmtime, by
`dormouse run`, under `--chaos` (captured again and again, and each time gone on with in a fresh
instance), and with `--every` and SIGKILL, then `dormouse resume`. `works` means that exit status, standard
output and files were the same in all of them, byte for byte. Times are processor seconds on the machine
that made this page: they tell the scale, and nothing more. *Compile* is transform and compilation, which the cache
saves the second time. *Deepest* is the number of frames of the deepest capture.

";

/// One program's row while it is tried.
pub fn line(program: &Program, outcome: &Outcome) -> String {
    format!(
        "{:22} {:14} {:>9}  plain {:>6} s  compile {:>6} s  {:>5} captures  deepest {:>5}  {} kills  {:>5.0} s  {}",
        program.name,
        program.language,
        megabytes(outcome.size),
        seconds(outcome.plain),
        seconds(outcome.compile),
        outcome.captures,
        outcome.deepest,
        outcome.kills,
        outcome.seconds,
        verdict(outcome),
    )
}

/// All rows, for the terminal.
pub fn table(outcomes: &[(&Program, Outcome)]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(outcomes.iter().map(|(p, o)| cells(p, o)));
    let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(c, w)| format!("{c:w$}"));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out
}

const HEAD: [&str; 12] = [
    "program",
    "kind",
    "language",
    "size",
    "safepoints",
    "features",
    "plain",
    "compile",
    "captures",
    "deepest",
    "kills",
    "verdict",
];

fn cells(p: &Program, o: &Outcome) -> [String; 12] {
    [
        p.name.clone(),
        p.kind.clone(),
        p.language.clone(),
        megabytes(o.size),
        o.safepoints.to_string(),
        o.features.join(" "),
        seconds(o.plain),
        seconds(o.compile),
        o.captures.to_string(),
        o.deepest.to_string(),
        o.kills.to_string(),
        verdict(o),
    ]
}

fn verdict(o: &Outcome) -> String {
    match (o.good(), o.refused) {
        (true, true) => "refused".to_owned(),
        (true, false) => "works".to_owned(),
        _ => "FAILS".to_owned(),
    }
}

fn seconds(s: Option<f64>) -> String {
    s.map_or("-".to_owned(), |s| format!("{s:.2}"))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn path() -> PathBuf {
    root().join("docs/compatibility.md")
}

/// The part above the programs.
fn upper() -> Result<String> {
    Ok(format!("{BEFORE}{}{BETWEEN}", features::table()?))
}

/// Writes the page. Rows of programs that were not tried on this machine stay as they are; one that has no row
/// must be tried first, so that the page never says less than the list.
pub fn write(place: &Place) -> Result<()> {
    let path = path();
    let old = fs::read_to_string(&path).unwrap_or_default();
    let (mut rows, mut words) = (vec![], vec![]);
    for p in &place.programs {
        let read = fs::read(place.path(&format!("results/{}.json", p.name)));
        let outcome = read.ok().and_then(|text| serde_json::from_slice::<Outcome>(&text).ok());
        let old_row = old.lines().find(|l| l.starts_with(&format!("| {} |", p.name)));
        rows.push(match (&outcome, old_row) {
            (Some(outcome), _) => row(&cells(p, outcome)),
            (None, Some(row)) => row.to_owned(),
            (None, None) => bail!(
                "{} stays as it is: {} was never tried; `cargo xtask catalogue {}` does",
                path.display(),
                p.name,
                p.name
            ),
        });
        let mut line = about(p);
        if let Some(words) = &p.refused {
            write!(line, " Refused: \"{words}\".")?;
        }
        words.push(line);
    }
    let languages: BTreeSet<&str> = place.programs.iter().map(|p| p.language.as_str()).collect();
    let mut page = upper()?;
    writeln!(
        page,
        "{} programs in {} languages ({}); {} work.\n\n{}|{}\n{}\n\nWhat they are, and what they do here:\n\n{}",
        rows.len(),
        languages.len(),
        languages.into_iter().collect::<Vec<_>>().join(", "),
        rows.iter().filter(|r| r.ends_with(" works |")).count(),
        row(&HEAD.map(str::to_owned)) + "\n",
        "---|".repeat(HEAD.len()),
        rows.join("\n"),
        words.join("\n")
    )?;
    fs::write(&path, page).with_context(|| path.display().to_string())?;
    println!("{} written", path.display());
    Ok(())
}

fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// What a program is, for the list below the table.
fn about(p: &Program) -> String {
    format!("- **{}** (`{}`): {}", p.name, p.package, p.what)
}

#[cfg(test)]
mod tests {
    use super::{about, path, upper};
    use crate::catalogue::list;
    use std::fs;

    #[test]
    fn the_page_tells_what_the_transform_says() {
        let page = fs::read_to_string(path()).unwrap();
        let upper = upper().unwrap();
        for (there, now) in page.lines().zip(upper.lines()) {
            assert_eq!(there, now, "out of date: `cargo xtask catalogue --page`");
        }
        assert!(page.starts_with(&upper), "out of date: `cargo xtask catalogue --page`");
    }

    #[test]
    fn the_page_has_every_program_of_the_catalogue() {
        let page = fs::read_to_string(path()).unwrap();
        for p in list::read().unwrap() {
            let there = page.contains(&about(&p)) && page.contains(&format!("| {} |", p.name));
            assert!(there, "docs/compatibility.md lacks {}: `cargo xtask catalogue`", p.name);
        }
    }
}
