//! `dormouse run` of a hello-world with a warm cache, against the barest wasmtime embedding that
//! loads the same code, compiled without safepoints: whole processes, in turn.
//!
//! Both binaries are copied first, as an installation does. As the linker leaves a file its pages lie scattered in the
//! page cache, and a process takes more page faults to start.

use crate::{guest, median};
use anyhow::{Context, Result, ensure};
use dormouse_engine::{Event, Machine, Options};
use dormouse_wasi::{Wasi, WasiConfig};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const ROUNDS: usize = 41;

/// Runs a file written by [`Plain::save`](dormouse_engine::Plain::save), and nothing else.
pub fn bare(compiled: &Path) -> Result<()> {
    let machine = Machine::new(Options::default())?;
    let plain = machine.open_plain(compiled)?;
    let wasi = Wasi::new(WasiConfig { args: vec![b"hello".to_vec()], ..WasiConfig::default() })?;
    let end = machine.on_stack(|| plain.run(wasi))??;
    ensure!(end == Event::Exited(0), "{end:?}");
    Ok(())
}

pub fn run() -> Result<()> {
    let hello =
        guest::all()?.into_iter().find(|g| g.name == "hello").context("no guest `hello`")?;
    let dir = tempfile::tempdir()?;
    let compiled = dir.path().join("hello.compiled");
    Machine::new(Options::default())?.load_plain(&hello.bytes()?)?.save(&compiled)?;
    let here = std::env::current_exe()?;
    let install = |name: &str| -> Result<std::path::PathBuf> {
        let (built, installed) = (here.with_file_name(name), dir.path().join(name));
        ensure!(built.exists(), "no {}; run `cargo build --release` first", built.display());
        std::fs::copy(built, &installed)?;
        Ok(installed)
    };
    let (me, dormouse) = (install("dormouse-bench")?, install("dormouse")?);
    let mut ours = Command::new(dormouse);
    ours.arg("run").arg("--store").arg(dir.path().join("store")).arg("--cache");
    ours.arg(dir.path().join("cache")).arg(guest::root().join(&hello.wasm));
    let mut theirs = Command::new(me);
    theirs.arg("bare").arg(&compiled);
    let time = |c: &mut Command| -> Result<f64> {
        let t = Instant::now();
        let status = c.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{c:?} failed: {status}");
        Ok(t.elapsed().as_secs_f64() * 1e3)
    };
    let (mut a, mut ratios) = (vec![], vec![]);
    for round in 0..=ROUNDS {
        let bare = time(&mut theirs)?;
        let full = time(&mut ours)?;
        if round > 0 {
            a.push(bare);
            ratios.push(full / bare);
        }
    }
    println!("start of a hello-world, warm cache: `dormouse run` / bare wasmtime embedding,");
    println!(
        "whole processes in turn, median of {ROUNDS}: bare {:.1} ms, ratio {:.2} (target: at most 1.3)\n",
        median(a),
        median(ratios)
    );
    Ok(())
}
