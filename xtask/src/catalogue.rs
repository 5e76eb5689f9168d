//! `cargo xtask catalogue`: real programs that nobody here wrote, under checkpoints.
//!
//! ```text
//! guests/catalogue.toml ──fetch──> target/catalogue/programs/NAME.wasm      from a registry, or built by a script
//!                                          │
//!                stock wasmtime ───────────┼── what it leaves: exit status, standard output, files
//!                dormouse run ─────────────┤   ... all four the same, and the digest that catalogue.toml tells
//!                dormouse run --chaos ─────┤
//!                kill -9, dormouse resume ─┘
//!                                          │
//!                  a table, target/catalogue/results/NAME.json ──page──> docs/compatibility.md
//! ```

mod features;
mod fetch;
mod graft;
mod list;
mod page;
mod trial;

use crate::setup::{self, root, sha256_file};
use crate::test;
use anyhow::{Context, Result, bail, ensure};
use list::Program;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use trial::Outcome;

/// Options of `cargo xtask catalogue`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only these programs
    names: Vec<String>,
    /// Only those that are quick to fetch and to run
    #[arg(long)]
    ci: bool,
    /// Ask the stock wasmtime anew, and write its digests into guests/catalogue.toml
    #[arg(long)]
    bless: bool,
    /// Only write docs/compatibility.md anew, from the results there are
    #[arg(long)]
    page: bool,
}

/// Tries all programs, or some; prints the table and writes their rows of the page.
pub fn run(args: &Args) -> Result<()> {
    let place = Place::new()?;
    if args.page {
        return page::write(&place);
    }
    for name in &args.names {
        ensure!(
            place.programs.iter().any(|p| p.name == *name),
            "the catalogue has no {name}; see guests/catalogue.toml"
        );
    }
    test::build()?;
    let lock = fs::File::create(place.path("lock"))?;
    lock.lock().context("cannot lock target/catalogue/lock")?; // until we end
    let chosen = |p: &&Program| {
        if args.names.is_empty() { !args.ci || p.ci } else { args.names.contains(&p.name) }
    };
    let mut outcomes = vec![];
    for program in place.programs.iter().filter(chosen) {
        let outcome = try_one(&place, program, args.bless);
        println!("{}", page::line(program, &outcome));
        for detail in &outcome.wrong {
            println!("    {detail}");
        }
        let path = place.path(&format!("results/{}.json", program.name));
        fs::write(path, serde_json::to_vec_pretty(&outcome)?)?;
        outcomes.push((program, outcome));
    }
    println!("\n{}", page::table(&outcomes));
    let wrong: Vec<&str> =
        outcomes.iter().filter(|(_, o)| !o.good()).map(|(p, _)| p.name.as_str()).collect();
    println!("catalogue: {} passed, {} failed", outcomes.len() - wrong.len(), wrong.len());
    if !args.ci {
        page::write(&place)?;
    }
    ensure!(
        wrong.is_empty(),
        "{} of the catalogue failed: {}",
        if wrong.len() == 1 { "one program" } else { "programs" },
        wrong.join(", ")
    );
    Ok(())
}

/// Tries those that are quick to fetch and to run.
pub fn quick() -> Result<()> {
    run(&Args { ci: true, ..Args::default() })
}

/// A program's module, and a file that was made with it.
pub fn with_beside(name: &str, file: &str) -> Result<(PathBuf, PathBuf)> {
    let place = Place::new()?;
    let program = place.programs.iter().find(|p| p.name == name);
    let program = program.with_context(|| format!("the catalogue has no {name}"))?;
    Ok((fetch::program(&place, program)?, fetch::built_beside(&place, program).join(file)))
}

/// A package's folder, fetched if it is not there.
pub fn package(package: &str) -> Result<PathBuf> {
    fetch::package(package)
}

/// Lists the programs that have `bench`, for benchmarks, in target/guests/bench.json; what cannot be fetched or built here is
/// listed as missing.
pub fn to_bench() -> Result<()> {
    let place = Place::new()?;
    let (mut guests, mut missing) = (vec![], vec![]);
    for program in &place.programs {
        let Some(bench) = &program.bench else { continue };
        match entry(&place, program, bench) {
            Ok(guest) => guests.push(guest),
            Err(error) => {
                setup::warn(&[&format!("no {} here: {error:#}", program.name)]);
                missing.push(format!("{} (it could not be fetched or built)", program.name));
            }
        }
    }
    let list = serde_json::json!({ "guests": guests, "missing": missing });
    fs::write(root().join("target/guests/bench.json"), serde_json::to_vec_pretty(&list)?)?;
    Ok(())
}

fn entry(place: &Place, program: &Program, bench: &list::Bench) -> Result<serde_json::Value> {
    let inputs = bench.inputs.iter().map(|input| match input.as_str() {
        "sqlite3.c" => Ok(setup::sqlite_source()?.join(input)),
        ours => Ok(guests(ours)),
    });
    let stdin = match &program.stdin {
        Some(file) => fs::read_to_string(guests(file))?,
        None => String::new(),
    };
    Ok(serde_json::json!({
        "name": program.name,
        "kind": "catalogue",
        "wasm": fetch::program(place, program)?,
        "inputs": inputs.collect::<Result<Vec<_>>>()?,
        "stdin": stdin,
        "small": { "args": bench.args },
    }))
}

/// Where everything of the catalogue lies, the list, and the command under test.
struct Place {
    folder: PathBuf,
    programs: Vec<Program>,
    dormouse: PathBuf,
}

impl Place {
    fn new() -> Result<Place> {
        let folder = root().join("target/catalogue");
        for sub in ["programs", "part", "oracle", "results", "runs", "cache"] {
            fs::create_dir_all(folder.join(sub))?;
        }
        Ok(Place {
            folder,
            programs: list::read()?,
            dormouse: root().join("target/release/dormouse"),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// What goes wrong with one program is its outcome; the others are tried all the same.
fn try_one(place: &Place, program: &Program, bless: bool) -> Outcome {
    let started = Instant::now();
    let mut outcome = Outcome::default();
    let _ = fs::remove_dir_all(place.path("cache")); // the time of compilation is part of the outcome
    if let Err(error) = attempt(place, program, bless, &mut outcome) {
        outcome.wrong.push(format!("{error:#}"));
    }
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome
}

fn attempt(place: &Place, program: &Program, bless: bool, outcome: &mut Outcome) -> Result<()> {
    let wasm = fetch::program(place, program)?;
    outcome.size = fs::metadata(&wasm)?.len();
    outcome.sha256 = sha256_file(&wasm)?;
    trial::check(place, &wasm, outcome)?;
    if let Some(words) = &program.refused {
        return trial::refused(place, program, &wasm, words, outcome);
    }
    ensure!(outcome.problems.is_empty(), "refused: {}", outcome.problems.join("; "));
    let expected = trial::stock(place, program, &wasm, &outcome.sha256, bless)?;
    let digest = expected.digest();
    if digest != program.expect {
        if bless {
            list::bless(&program.name, &digest)?;
        } else {
            bail!(
                "the stock wasmtime's result has the digest {digest}, guests/catalogue.toml says `{}`; look at {} and put it there (--bless does)",
                program.expect,
                place.path(&format!("runs/{}/stock", program.name)).display()
            );
        }
    }
    trial::plain(place, program, &wasm, &expected, outcome)?;
    trial::chaos(place, program, &wasm, &expected, outcome)?;
    trial::killed(place, program, &wasm, &expected, outcome)
}

/// A file of guests/.
fn guests(name: impl AsRef<Path>) -> PathBuf {
    root().join("guests").join(name)
}
