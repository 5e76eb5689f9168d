//! The images of crates/dormouse/tests/images: checkpoints of one small program, written by every kind of host. Whatever
//! becomes of Dormouse, they must go on.

use super::hosts::Host;
use super::trip::stopped;
use crate::setup::{root, run_command};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const JOB: &str = "image";
/// In the middle of the innermost loop.
const STOP_AT: &str = "100";

fn folder() -> PathBuf {
    root().join("crates/dormouse/tests/images")
}

/// Those that there are.
pub fn all() -> Result<Vec<PathBuf>> {
    let mut all = vec![];
    for entry in fs::read_dir(folder())? {
        let path = entry?.path();
        if path.join("oci-layout").exists() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// Writes a host's own.
pub fn write(host: &Host) -> Result<()> {
    let at = tempfile::tempdir()?;
    let mut command = host.command("run");
    command.arg("--store").arg(at.path()).args(["--name", JOB, "--stop-at", STOP_AT]);
    stopped(&command.arg(folder().join("program.wat")).stdin(Stdio::null()).output()?)?;
    let image = folder().join(host.name);
    let _ = fs::remove_dir_all(&image);
    fs::create_dir_all(&image)?;
    copy(at.path(), &image)?;
    println!("{}", image.display());
    Ok(())
}

/// Goes on from one, and compares what it prints.
pub fn wake(host: &Host, image: &Path) -> Result<()> {
    let at = tempfile::tempdir()?;
    copy(image, at.path())?;
    let mut command = host.command("resume");
    let output = command.arg("--store").arg(at.path()).arg(JOB).stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", output.status, said.trim_end());
    let expected = fs::read(folder().join("prints.txt")).context("prints.txt")?;
    ensure!(output.stdout == expected, "it printed something else");
    Ok(())
}

/// What processors do not agree on, they do with `--deterministic`.
pub fn agrees(host: &Host) -> Result<()> {
    let at = tempfile::tempdir()?;
    let mut command = host.command("run");
    command.arg("--store").arg(at.path()).arg("--deterministic");
    let output = command.arg(folder().join("deterministic.wat")).output()?;
    let expected = fs::read_to_string(folder().join("deterministic.txt"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        printed == expected,
        "deterministic.wat printed {}, not {}",
        printed.trim(),
        expected.trim()
    );
    Ok(())
}

/// A memory that 32 bits cannot address is refused there, in words, and is as it was.
pub fn refuses_what_is_too_large(from: &Host, narrow: &Host) -> Result<()> {
    let at = tempfile::tempdir()?;
    let resume = |host: &Host| {
        let mut command = host.command("resume");
        command.arg("--store").arg(at.path()).args([JOB, "--dry-run"]).output()
    };
    let mut command = from.command("run");
    command.arg("--store").arg(at.path()).args(["--name", JOB, "--stop-at", STOP_AT]);
    stopped(&command.arg(folder().join("large.wat")).output()?)?;
    let refused = resume(narrow)?;
    let said = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(125), "{}: {}", refused.status, said.trim_end());
    ensure!(said.contains("no room") && said.contains("3072 MiB"), "it says: {}", said.trim_end());
    ensure!(resume(from)?.status.success(), "it is not as it was");
    Ok(())
}

/// What belongs to an image, and not to the jobs of a store.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for part in ["oci-layout", "index.json", "blobs"] {
        run_command(Command::new("cp").arg("-r").arg(from.join(part)).arg(to))?;
    }
    Ok(())
}
