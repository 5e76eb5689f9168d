//! The same C, compiled for this machine by `cargo xtask bench`: target/guests/native/NAME.

use super::variant::Left;
use crate::guest::{Guest, root};
use anyhow::{Context, Result};
use dormouse_engine::Event;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub fn program(g: &Guest) -> Option<PathBuf> {
    let program = Path::new(&g.wasm).file_stem()?;
    let path = root().join("target/guests/native").join(program);
    path.exists().then_some(path)
}

/// CPU seconds of the whole process, its start among them.
pub fn time(program: &Path, g: &Guest, args: &[String]) -> Result<(f64, Left)> {
    let work = g.work()?;
    let here = work.path().display().to_string();
    let mut command = Command::new(program);
    command.args(args.iter().map(|a| a.replace("/work", &here)));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut out = vec![];
    child.stdout.take().context("piped")?.read_to_end(&mut out)?;
    // While nobody has asked for its status it is still there to be looked at.
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let stat = std::fs::read_to_string(format!("/proc/{}/schedstat", pid.as_raw_nonzero()))?;
    let ran = stat.split(' ').next().context("schedstat is empty")?;
    let code = child.wait()?.code().with_context(|| format!("a signal ended {}", g.name))?;
    let left = Left { end: Event::Exited(code as u32), out };
    Ok((ran.parse::<f64>()? * 1e-9, left))
}
