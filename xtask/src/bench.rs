//! `cargo xtask bench`: builds what the benchmarks need, and runs them (the crate in bench/).
//!
//! ```text
//!   all            target/guests                       the guests
//!   overhead       target/guests/bench.json            programs of the catalogue that are run for their speed too
//!                  target/guests/native/*              the guests that are C, for this machine
//!                  target/guests/wasm-opt              Binaryen
//!   instructions   valgrind
//! ```

mod native;

use crate::setup::{self, root, run_command};
use crate::{catalogue, guests, test};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

const BINARYEN: &str = "npm:binaryen@132.0.0";

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// For the benchmark program: `overhead [--rounds N] [--variants A,B] [GUEST...]`, `instructions [GUEST...]`, `capture`, `start`, `resumed [--longer N] [GUEST...]`, `checkpoint [WHAT]` or `store [CHECKPOINTS]`; all of them without
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// Does it.
pub fn run(args: &Args) -> Result<()> {
    guests::build_all()?;
    test::build()?;
    let what = args.args.first().map(String::as_str);
    if let None | Some("overhead" | "instructions") = what {
        catalogue::to_bench()?;
    }
    if let None | Some("overhead") = what {
        native::build_all()?;
        if let Err(error) = binaryen() {
            setup::warn(&[&format!("no Binaryen, so no Asyncify: {error:#}")]);
        }
    }
    if what == Some("instructions") {
        valgrind();
    }
    let mut bench = Command::new(root().join("target/release/dormouse-bench"));
    bench.env("DORMOUSE_BENCH_WASMTIME", setup::wasmtime()?);
    run_command(bench.args(&args.args))
}

/// A link to wasm-opt, a program for node.
fn binaryen() -> Result<()> {
    let tool = catalogue::package(BINARYEN)?.join("bin/wasm-opt");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755))
        .with_context(|| tool.display().to_string())?;
    let link = root().join("target/guests/wasm-opt");
    let _ = fs::remove_file(&link);
    Ok(symlink(tool, link)?)
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
