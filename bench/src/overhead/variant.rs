//! The ways a program can be run: what it is compared with what.

use crate::guest::{self, Guest};
use anyhow::{Context, Result, bail, ensure};
use dormouse_engine::{Code, Event, Machine, Options, Plain, Run};
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

/// A way to run a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    /// As it is, with our settings of wasmtime: what the others are divided by.
    Plain,
    /// With our safepoints.
    Safepoints,
}

impl Variant {
    pub const ALL: [Variant; 2] = [Variant::Plain, Variant::Safepoints];

    pub fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Safepoints => "safepoints",
        }
    }

    pub fn named(name: &str) -> Result<Variant> {
        let found = Variant::ALL.into_iter().find(|v| v.name() == name);
        found.with_context(|| format!("no variant is called {name}"))
    }
}

/// The engines, and where compiled code is kept.
pub struct Machines {
    ours: Machine,
    cache: PathBuf,
}

/// A program, compiled.
pub struct Ready {
    machine: Machine,
    code: Compiled,
}

enum Compiled {
    Plain(Plain),
    Safepoints(Arc<Code>),
}

impl Machines {
    /// `host` names the processor that is compiled for, where there are several on one machine.
    pub fn new(host: &str) -> Result<Machines> {
        let cache = cache()?.join(host);
        let options = Options { cache: Some(cache.clone()), ..Options::default() };
        Ok(Machines { ours: Machine::new(options)?, cache })
    }

    pub fn compile(&self, variant: Variant, g: &Guest) -> Result<Ready> {
        let bytes = g.bytes()?;
        let machine = self.ours.clone();
        let code = match variant {
            Variant::Plain => {
                let kept = self.cache.join(format!("{}.{}", g.name, variant.name()));
                let plain = match machine.open_plain(&kept) {
                    Ok(plain) => plain,
                    Err(_) => {
                        let plain = machine.load_plain(&bytes)?;
                        plain.save(&kept)?;
                        plain
                    }
                };
                Compiled::Plain(plain)
            }
            Variant::Safepoints => Compiled::Safepoints(Arc::new(machine.load(bytes.into())?)),
        };
        Ok(Ready { machine, code })
    }
}

impl Ready {
    /// Runs it to its end, and gives back what it printed. `begin` is called when it is instantiated and its data are in
    /// its memory, and `end` when it has ended.
    pub fn run(
        &self,
        g: &Guest,
        args: &[String],
        begin: impl FnOnce() + Send,
        end: impl FnOnce() + Send,
    ) -> Result<Vec<u8>> {
        let (wasi, work, out) = g.wasi(args)?;
        let event = self.machine.on_stack(|| -> Result<Event> {
            let event = match &self.code {
                Compiled::Plain(plain) => plain.run_from(wasi, begin)?,
                Compiled::Safepoints(code) => {
                    let mut run = Run::new(code.clone(), wasi)?;
                    run.advance()?;
                    run.call("_start", &[])?;
                    begin();
                    run.advance()?
                }
            };
            end();
            Ok(event)
        })??;
        drop(work);
        let out = std::mem::take(&mut *out.lock().unwrap_or_else(|e| e.into_inner()));
        match event {
            Event::Exited(0) => Ok(out),
            other => bail!("{} ends with {other:?}", g.name),
        }
    }
}

/// Where compiled code is kept: another place for each build of this program, for what the transform makes of a module
/// may differ from build to build.
fn cache() -> Result<PathBuf> {
    let all = guest::root().join("target/bench-cache");
    let mut hash = DefaultHasher::new();
    hash.write(&std::fs::read(std::env::current_exe()?)?);
    let name = format!("build-{:016x}", hash.finish());
    std::fs::create_dir_all(&all)?;
    for other in std::fs::read_dir(&all)? {
        let other = other?;
        if other.file_name() != name.as_str() {
            // A file of a benchmark that runs at the same time is in use, and stays.
            let _ = std::fs::remove_dir_all(other.path());
        }
    }
    ensure!(all.is_dir(), "{} is not a directory", all.display());
    Ok(all.join(name))
}
