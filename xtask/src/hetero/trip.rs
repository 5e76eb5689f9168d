//! One program on its way: begun on a host, stopped, taken elsewhere, stopped again, finished.
//!
//! ```text
//! TEMPORARY/store/    the checkpoints        TEMPORARY/work/    the program's files, /work to it
//! ```
//!
//! To take it elsewhere is to copy both.

use super::hosts::Host;
use crate::guests::{self, Run};
use crate::oracle::Expected;
use crate::setup::{root, run_command, sha256, sha256_file};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const JOB: &str = "trip";
/// The exit status of a job that was stopped with a checkpoint.
const CHECKPOINTED: i32 = 85;

/// A guest, and what the stock engine says of its small run.
pub struct Program {
    pub name: String,
    wasm: PathBuf,
    inputs: Vec<PathBuf>,
    files: Vec<String>,
    run: Run,
    safepoints: OnceLock<u64>,
}

/// Stopped, with a checkpoint.
pub struct Stopped<'p> {
    program: &'p Program,
    at: tempfile::TempDir,
    /// What it has printed so far.
    printed: Vec<u8>,
}

/// Where a trip that went on has come to.
pub enum Tripped<'p> {
    Stopped(Stopped<'p>),
    /// It ended before, as it should.
    Ended,
}

impl Program {
    /// Any program, of which nobody knows yet how it ends.
    pub fn of(
        name: &str,
        wasm: &Path,
        inputs: &[PathBuf],
        files: &[&str],
        args: Vec<String>,
    ) -> Program {
        Program {
            name: name.to_owned(),
            wasm: wasm.to_owned(),
            inputs: inputs.to_vec(),
            files: files.iter().map(|f| f.to_string()).collect(),
            run: Run { args, expected: None },
            safepoints: OnceLock::new(),
        }
    }

    /// It is to end as it does here, uninterrupted.
    pub fn expect_as_on(&mut self, host: &Host) -> Result<()> {
        let at = self.place()?;
        let mut command = host.command("run");
        connect(&mut command, at.path()).arg(&self.wasm).arg("--").args(&self.run.args);
        let began = std::time::Instant::now();
        let output = command.output()?;
        let exit = output.status.code().context("it was killed")?;
        let digest =
            |name: &String| Ok((name.clone(), sha256_file(&at.path().join("work").join(name))?));
        self.run.expected = Some(Expected {
            exit,
            stdout_sha256: sha256(&output.stdout),
            stdout: None,
            files: self.files.iter().map(digest).collect::<Result<_>>()?,
            seconds: began.elapsed().as_secs_f64(),
        });
        Ok(())
    }
}

/// The guests of these names.
pub fn programs(names: &[String]) -> Result<Vec<Program>> {
    let listed = guests::listed()?;
    let find = |name: &String| {
        let entry = listed.iter().find(|g| g.name == *name);
        let entry =
            entry.with_context(|| format!("no guest {name} in target/guests/guests.json"))?;
        Ok(Program {
            name: name.clone(),
            wasm: root().join(&entry.wasm),
            inputs: entry.inputs.iter().map(|i| root().join(i)).collect(),
            files: entry.files.clone(),
            run: entry.small.clone(),
            safepoints: OnceLock::new(),
        })
    };
    names.iter().map(find).collect()
}

impl Program {
    /// How many safepoints it passes; on every host the same.
    pub fn safepoints(&self, host: &Host) -> Result<u64> {
        if let Some(n) = self.safepoints.get() {
            return Ok(*n);
        }
        let at = self.place()?;
        let output = self.start(host, at.path(), u64::from(u32::MAX))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let number = said.split("ended after ").nth(1).and_then(|s| s.split(' ').next());
        let n =
            number.and_then(|n| n.parse().ok()).with_context(|| format!("no number in: {said}"))?;
        self.ended_well(at.path(), &output, &output.stdout)?;
        ensure!(n > 1, "{} passes no safepoint to stop at", self.name);
        Ok(*self.safepoints.get_or_init(|| n))
    }

    /// From its beginning to a safepoint.
    pub fn begin(&self, host: &Host, point: u64) -> Result<Stopped<'_>> {
        let at = self.place()?;
        let output = self.start(host, at.path(), point)?;
        stopped(&output)?;
        Ok(Stopped { program: self, at, printed: output.stdout })
    }

    fn place(&self) -> Result<tempfile::TempDir> {
        let at = tempfile::tempdir()?;
        let work = at.path().join("work");
        fs::create_dir(&work)?;
        for from in &self.inputs {
            let name = from.file_name().context("an input has no name")?;
            fs::copy(from, work.join(name)).with_context(|| from.display().to_string())?;
        }
        Ok(at)
    }

    fn start(&self, host: &Host, at: &Path, stop_at: u64) -> Result<Output> {
        let mut command = host.command("run");
        connect(&mut command, at).args(["--name", JOB, "--stop-at", &stop_at.to_string()]);
        command.arg(&self.wasm).arg("--").args(&self.run.args);
        Ok(command.output()?)
    }

    /// Whether its end is what the stock engine says.
    fn ended_well(&self, at: &Path, output: &Output, printed: &[u8]) -> Result<()> {
        let expected = self.run.expected.as_ref().context("nobody asked the stock engine")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(expected.exit),
            "{}: {}",
            output.status,
            said.trim_end()
        );
        ensure!(sha256(printed) == expected.stdout_sha256, "it printed something else");
        for name in &self.files {
            let found = sha256_file(&at.join("work").join(name))?;
            ensure!(expected.files.get(name) == Some(&found), "{name} is another file");
        }
        Ok(())
    }
}

impl<'p> Stopped<'p> {
    /// The same once more, elsewhere.
    pub fn copy(&self) -> Result<Stopped<'p>> {
        let at = tempfile::tempdir()?;
        for part in ["store", "work"] {
            let status = Command::new("cp")
                .arg("-a")
                .arg(self.at.path().join(part))
                .arg(at.path())
                .status()?;
            ensure!(status.success(), "cp: {status}");
        }
        Ok(Stopped { program: self.program, at, printed: self.printed.clone() })
    }

    /// Saved again, in the same place, before anything is run: it must be the same, byte by byte. What was saved is not
    /// kept: what goes on is always the first host's own.
    pub fn same(&self, host: &Host) -> Result<()> {
        let (store, kept) = (self.at.path().join("store"), self.at.path().join("kept"));
        run_command(Command::new("cp").arg("-a").arg(&store).arg(&kept))?;
        let same = self.same_in_place(host);
        fs::remove_dir_all(&store)?;
        fs::rename(&kept, &store)?;
        same
    }

    fn same_in_place(&self, host: &Host) -> Result<()> {
        let before = self.digests()?;
        let output = self.resume(host, Some(0))?;
        stopped(&output).context("saving it again")?;
        ensure!(output.stdout.is_empty(), "it ran before it was saved again");
        let after = self.digests()?;
        ensure!(before == after, "saved again it is another: {before:?}, now {after:?}");
        Ok(())
    }

    /// Everything up to its first step.
    pub fn rehearse(&self, host: &Host) -> Result<()> {
        let mut command = host.command("resume");
        let output = connect(&mut command, self.at.path()).args([JOB, "--dry-run"]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", output.status, said.trim_end());
        Ok(())
    }

    /// On to its end.
    pub fn finish(&self, host: &Host) -> Result<()> {
        let output = self.resume(host, None)?;
        let printed = [&self.printed[..], &output.stdout].concat();
        self.program.ended_well(self.at.path(), &output, &printed)
    }

    /// On to the safepoint that comes after so many.
    pub fn stop_again(mut self, host: &Host, point: u64) -> Result<Tripped<'p>> {
        let output = self.resume(host, Some(point))?;
        self.printed.extend(&output.stdout);
        if output.status.code() == Some(CHECKPOINTED) {
            return Ok(Tripped::Stopped(self));
        }
        self.program.ended_well(self.at.path(), &output, &self.printed)?;
        Ok(Tripped::Ended)
    }

    fn resume(&self, host: &Host, stop_at: Option<u64>) -> Result<Output> {
        let mut command = host.command("resume");
        connect(&mut command, self.at.path()).arg(JOB);
        if let Some(n) = stop_at {
            command.args(["--stop-at", &n.to_string()]);
        }
        if stop_at == Some(0) {
            // Nothing has changed since: all of it is to be seen all the same.
            command.args(["--max-layers", "0"]);
        }
        Ok(command.output()?)
    }

    /// Digests of the newest checkpoint's state and memories.
    fn digests(&self) -> Result<Vec<String>> {
        let parts = self.parts()?;
        Ok(parts.iter().filter_map(|p| Some(p["digest"].as_str()?.to_owned())).collect())
    }

    /// Bytes of the newest checkpoint, without the module.
    pub fn size(&self) -> Result<u64> {
        Ok(self.parts()?.iter().filter_map(|p| p["size"].as_u64()).sum())
    }

    /// The state and the memories, as the newest manifest lists them.
    fn parts(&self) -> Result<Vec<Value>> {
        let store = self.at.path().join("store");
        let read = |path: PathBuf| -> Result<Value> {
            Ok(serde_json::from_slice(
                &fs::read(&path).with_context(|| path.display().to_string())?,
            )?)
        };
        let index = read(store.join("index.json"))?;
        let newest =
            index["manifests"].as_array().and_then(|all| all.last()).context("no checkpoint")?;
        let digest = newest["digest"]
            .as_str()
            .and_then(|d| d.strip_prefix("sha256:"))
            .context("no digest")?;
        let manifest = read(store.join("blobs/sha256").join(digest))?;
        let mut parts = vec![manifest["config"].clone()];
        let layers = manifest["layers"].as_array().context("no layers")?;
        let module = |l: &&Value| !l["mediaType"].as_str().is_some_and(|t| t.contains("wasm"));
        parts.extend(layers.iter().filter(module).cloned());
        Ok(parts)
    }
}

fn connect<'c>(command: &'c mut Command, at: &Path) -> &'c mut Command {
    let dir = format!("{}::{}", at.join("work").display(), crate::oracle::WORK);
    command.stdin(Stdio::null()).arg("--store").arg(at.join("store")).args(["--dir", &dir])
}

pub(super) fn stopped(output: &Output) -> Result<()> {
    if output.status.code() == Some(CHECKPOINTED) {
        return Ok(());
    }
    bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
}
