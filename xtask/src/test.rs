//! `cargo xtask test`: everything that must pass, on a machine that has only Rust and a C compiler.

use crate::setup::{self, root, run_command};
use crate::{catalogue, fuzz, guests, hetero, slurm};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// For the test runner: names of tests, for example
    filters: Vec<String>,
}

/// Builds, checks and tests, in this order; the first thing that fails ends it.
pub fn run(args: &Args) -> Result<()> {
    let started = Instant::now();
    step("tools, sources and guest programs");
    guests::build_all()?;
    setup::test_tools();
    setup::engines();

    step("cargo build --release");
    build()?;

    if component("fmt", "rustfmt") {
        step("cargo fmt --check");
        cargo(&["fmt", "--all", "--check"]).context("`cargo fmt --all` puts that right")?;
    }
    if component("clippy", "clippy") {
        step("cargo clippy");
        cargo(&[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--features",
            FAULT,
            "--",
            "-D",
            "warnings",
        ])?;
    }

    let nextest = has(&["nextest", "--version"]);
    if !nextest {
        println!("note: cargo-nextest is not installed; `cargo test` runs the tests instead");
    }
    let mut total = Total::default();
    step("tests");
    let mut results = vec![tests(nextest, &[], args, &mut total)];
    step("tests that let the file system fail");
    let only: &[&str] = match nextest {
        true => {
            let tests = "package(dormouse) & (binary(jobs) | binary(messages) | binary(retention))";
            &["--features", FAULT, "-E", tests]
        }
        false => {
            &["--features", FAULT, "--test", "jobs", "--test", "messages", "--test", "retention"]
        }
    };
    results.push(tests(nextest, only, args, &mut total));
    // The binary with the feature lies where the real one belongs: put it back, whatever happened.
    results.push(build());
    if args.filters.is_empty() {
        step("examples in the documentation");
        results.push(cargo_test(&["test", "--doc", "--release", "--workspace"], &mut total));
        step("a minute of fuzzing");
        results.push(fuzz::a_minute());
    }
    if args.filters.is_empty() {
        step("real programs");
        results.push(catalogue::quick());
        step("other processors");
        results.push(hetero::quick());
        step("a real Slurm");
        results.push(slurm::quick());
    }
    let what = if nextest { "examples in the documentation" } else { "tests" };
    println!("\n{what}: {} passed, {} failed", total.passed, total.failed);
    for result in results {
        result.context("not all passed")?;
    }
    println!("everything passed, in {} s", started.elapsed().as_secs());
    Ok(())
}

/// The feature of the crate `dormouse` for tests only.
const FAULT: &str = "dormouse/fault";

/// Always of the whole workspace, whatever is picked of it: then nothing is compiled twice.
fn tests(nextest: bool, what: &[&str], args: &Args, total: &mut Total) -> Result<()> {
    let mut all: Vec<&str> = match nextest {
        true => vec!["nextest", "run"],
        false if what.is_empty() => vec!["test", "--tests", "--no-fail-fast"],
        false => vec!["test", "--no-fail-fast"],
    };
    all.extend(["--release", "--workspace"]);
    all.extend(what);
    if nextest && !args.filters.is_empty() {
        all.push("--no-tests=pass");
    }
    all.push("--");
    all.extend(args.filters.iter().map(String::as_str));
    if nextest { cargo(&all) } else { cargo_test(&all, total) }
}

/// `cargo build --release`.
pub fn build() -> Result<()> {
    cargo(&["build", "--release"])
}

/// Runs cargo in the root of the repository, its output being ours.
pub fn cargo(args: &[&str]) -> Result<()> {
    run_command(command(args).stdin(Stdio::null()))
}

/// The same for `cargo test`, whose results are added up: it tells them for each crate only.
fn cargo_test(args: &[&str], total: &mut Total) -> Result<()> {
    let mut child =
        command(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cargo")?;
    for line in BufReader::new(child.stdout.take().context("no pipe")?).lines() {
        let line = line?;
        println!("{line}");
        total.add(&line);
    }
    let status = child.wait()?;
    ensure!(status.success(), "{status}: cargo {}", args.join(" "));
    Ok(())
}

/// How many tests `cargo test` ran.
#[derive(Default)]
struct Total {
    passed: u64,
    failed: u64,
}

impl Total {
    /// `test result: ok. 3 passed; 0 failed; ...`
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((n, "passed")) => self.passed += n.parse::<u64>().unwrap_or(0),
                Some((n, "failed")) => self.failed += n.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

fn has(args: &[&str]) -> bool {
    command(args).output().is_ok_and(|o| o.status.success())
}

/// Whether there is such a subcommand; rustup is asked for it if there is not.
fn component(subcommand: &str, name: &str) -> bool {
    if has(&[subcommand, "--version"]) {
        return true;
    }
    println!("installing {name}");
    let _ = Command::new("rustup").args(["component", "add", name]).status();
    let there = has(&[subcommand, "--version"]);
    if !there {
        eprintln!("WARNING: cargo {subcommand} is not to be had here; its check is left out");
    }
    there
}

fn step(what: &str) {
    println!("\n==> {what}");
}
