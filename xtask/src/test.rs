//! `cargo xtask test`: everything that must pass, on a machine that has only Rust and a C compiler.

use crate::guests;
use crate::setup::{root, run_command};
use anyhow::{Context, Result};
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
    guests::run(&guests::Args::default())?;

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
    step("tests");
    let mut failed = tests(nextest, &["--workspace"], args).err();
    step("tests that let the file system fail");
    // The same packages, so that nothing below is compiled twice; only the tests of what has the feature.
    let fault = tests_with_faults(nextest, args);
    // The binary with the feature lies where the real one belongs: put it back, whatever happened.
    build()?;
    failed = failed.or(fault.err());
    if args.filters.is_empty() {
        step("examples in the documentation");
        failed = failed.or(cargo(&["test", "--doc", "--release", "--workspace"]).err());
    }
    if let Some(error) = failed {
        return Err(error.context("tests failed"));
    }
    println!("\nall of it passed, in {} s", started.elapsed().as_secs());
    Ok(())
}

/// The feature of the crate `dormouse` for tests only.
const FAULT: &str = "dormouse/fault";

fn tests(nextest: bool, what: &[&str], args: &Args) -> Result<()> {
    let mut command: Vec<&str> =
        if nextest { vec!["nextest", "run"] } else { vec!["test", "--tests", "--no-fail-fast"] };
    command.push("--release");
    command.extend(what);
    if nextest && !args.filters.is_empty() {
        command.push("--no-tests=pass");
    }
    command.push("--");
    command.extend(args.filters.iter().map(String::as_str));
    cargo(&command)
}

fn tests_with_faults(nextest: bool, args: &Args) -> Result<()> {
    match nextest {
        true => {
            let only = "package(dormouse) & (binary(jobs) | binary(messages))";
            tests(nextest, &["--workspace", "--features", FAULT, "-E", only], args)
        }
        false => tests(
            nextest,
            &["-p", "dormouse", "--features", FAULT, "--test", "jobs", "--test", "messages"],
            args,
        ),
    }
}

/// `cargo build --release`.
pub fn build() -> Result<()> {
    cargo(&["build", "--release"])
}

/// Runs cargo in the root of the repository, its output being ours.
pub fn cargo(args: &[&str]) -> Result<()> {
    run_command(command(args).stdin(Stdio::null()))
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    // What `cargo xtask` set for this program is not for those.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n == "CARGO_MANIFEST_DIR") {
            command.env_remove(name);
        }
    }
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
