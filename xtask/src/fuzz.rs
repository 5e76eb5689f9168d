//! `cargo xtask fuzz`: builds and runs the fuzzer of `fuzz/`, and tells which input it died of.

use crate::setup::root;
use crate::test::cargo;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Options of `cargo xtask fuzz`: those of the fuzzer (`--help` shows them).
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// --seconds 60, --target NAME, --seed N [--once], --jobs J, ...
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Runs the fuzzer.
pub fn run(args: &Args) -> Result<()> {
    // Of the whole workspace, so that the engine is built with the features it has everywhere else.
    cargo(&["build", "--release", "--workspace", "--bin", "dormouse-fuzz"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = root().join(target).join("release/dormouse-fuzz");
    let status = Command::new(&program)
        .args(&args.args)
        .current_dir(root())
        .status()
        .with_context(|| program.display().to_string())?;
    if status.success() {
        return Ok(());
    }
    if status.code().is_none() {
        // It died by a signal: what it was doing is in a file of each target.
        println!("{status}; each worker's last seed is in target/fuzz/TARGET.running:");
        println!("repeat it with cargo xtask fuzz --target TARGET --seed SEED --once");
    }
    bail!("fuzzing: {status}")
}

/// What continuous integration runs.
pub fn a_minute() -> Result<()> {
    run(&Args { args: ["--seconds", "60"].map(String::from).to_vec() })
}
