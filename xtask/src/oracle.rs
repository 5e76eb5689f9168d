//! What a guest does under the stock wasmtime command: its output, exit status and files. Nothing is hard-coded by hand.

use crate::list::Guest;
use crate::setup::{self, root, sha256, sha256_file};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where the work directory is preopened.
pub const WORK: &str = "/work";
/// What guests may use beyond the stock command's defaults.
pub const PROPOSALS: [&str; 4] =
    ["exceptions=y", "multi-memory=y", "tail-call=y", "extended-const=y"];

/// What a run showed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Expected {
    /// Exit status.
    pub exit: i32,
    /// SHA-256 of standard output.
    pub stdout_sha256: String,
    /// Standard output itself where it is short and UTF-8.
    pub stdout: Option<String>,
    /// Name in the work directory -> SHA-256.
    pub files: BTreeMap<String, String>,
    /// Wall clock, compilation included, on the machine that ran it; of a cached run when `cached`.
    pub seconds: f64,
}

/// Runs a guest under the stock command, or answers from the cache in `out/oracle`; None if not cached and not `run`.
pub fn expected(
    guest: &Guest,
    args: &[String],
    wasm: &Path,
    wasm_sha256: &str,
    out: &Path,
    run: bool,
) -> Result<Option<Expected>> {
    let mut key = format!(
        "v1 {wasm_sha256} {args:?} {:?} {:?} {:?}",
        guest.stdin, guest.max_wasm_stack, guest.files
    );
    for input in &guest.inputs {
        key += &sha256_file(&root().join("guests").join(input))?;
    }
    let cached =
        out.join("oracle").join(format!("{}-{}.json", guest.name, &sha256(key.as_bytes())[..16]));
    if let Ok(text) = fs::read(&cached)
        && let Ok(expected) = serde_json::from_slice(&text)
    {
        return Ok(Some(expected));
    }
    if !run {
        return Ok(None);
    }
    let work = tempfile::tempdir()?;
    let expected = stock(guest, args, wasm, work.path())
        .with_context(|| format!("{} {args:?} under the stock wasmtime", guest.name))?;
    fs::write(&cached, serde_json::to_vec_pretty(&expected)?)?;
    Ok(Some(expected))
}

/// The stock command with what guests may use, and where the work directory is.
pub fn command(work: &Path, max_wasm_stack: Option<u64>) -> Result<Command> {
    let mut command = Command::new(setup::wasmtime()?);
    command
        .env_remove("RUST_BACKTRACE")
        .arg("run")
        .arg("--dir")
        .arg(format!("{}::{WORK}", work.display()));
    for proposal in PROPOSALS {
        command.args(["-W", proposal]);
    }
    if let Some(bytes) = max_wasm_stack {
        command.args([
            "-W",
            &format!("max-wasm-stack={bytes}"),
            "-W",
            &format!("async-stack-size={}", bytes + (1 << 20)),
        ]);
    }
    Ok(command)
}

fn stock(guest: &Guest, args: &[String], wasm: &Path, work: &Path) -> Result<Expected> {
    for input in &guest.inputs {
        let from = root().join("guests").join(input);
        fs::copy(&from, work.join(from.file_name().context("an input has no name")?))
            .with_context(|| from.display().to_string())?;
    }
    let mut command = command(work, guest.max_wasm_stack)?;
    let start = Instant::now();
    let mut child = command
        .arg(wasm)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let text = guest.stdin.clone();
    let feeder = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    let _ = feeder.join();
    let seconds = start.elapsed().as_secs_f64();
    let Some(exit) = output.status.code() else { bail!("{}", output.status) };
    if guest.traps != (exit == 134) || !(guest.traps || output.stderr.is_empty()) {
        bail!(
            "exit {exit}, it said on standard error:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let files = guest
        .files
        .iter()
        .map(|name| Ok((name.clone(), sha256_file(&work.join(name))?)))
        .collect::<Result<_>>()?;
    Ok(Expected {
        exit,
        stdout_sha256: sha256(&output.stdout),
        stdout: String::from_utf8(output.stdout).ok().filter(|s| s.len() <= 16384),
        files,
        seconds: (seconds * 1000.0).round() / 1000.0,
    })
}
