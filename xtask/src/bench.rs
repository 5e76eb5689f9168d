//! `cargo xtask bench`: builds what the benchmarks need, and runs them (the crate in bench/).

use crate::setup::{root, run_command};
use crate::{guests, test};
use anyhow::Result;
use std::process::Command;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// For the benchmark program: `overhead [GUEST...]`, `instructions [GUEST...]`, `capture`, `start`, `checkpoint [WHAT]` or `store [CHECKPOINTS]`; all of them without
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Does it.
pub fn run(args: &Args) -> Result<()> {
    guests::build_all()?;
    test::build()?;
    if args.args.first().is_some_and(|what| what == "instructions") {
        valgrind();
    }
    run_command(Command::new(root().join("target/release/dormouse-bench")).args(&args.args))
}

/// Installs what instructions are counted with; if that fails, the benchmark says that it is missing.
fn valgrind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        let install = ["install", "-y", "-qq", "--no-install-recommends", "valgrind"];
        for args in [&["update", "-qq"][..], &install] {
            let _ = Command::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .status();
        }
    }
}
