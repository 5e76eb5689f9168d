//! `cargo xtask bench`: builds what the benchmarks need, and runs them (the crate in bench/).

use crate::setup::{root, run_command};
use crate::{guests, test};
use anyhow::Result;
use std::process::Command;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// For the benchmark program: `overhead [GUEST...]`, `capture`, `start`, `checkpoint [WHAT]` or `store [CHECKPOINTS]`; all of them without
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Does it.
pub fn run(args: &Args) -> Result<()> {
    guests::build_all()?;
    test::build()?;
    run_command(Command::new(root().join("target/release/dormouse-bench")).args(&args.args))
}
