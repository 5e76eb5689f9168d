//! The ways a program can be run: what is compared with what.
//!
//! ```text
//!   plain        the module, our settings of wasmtime       what the others are divided by
//!   safepoints   instrumented by us, the same settings      can be stopped anywhere, saved, and goes on elsewhere
//!   epochs       the module, with epoch interruption        can be stopped anywhere, and not be saved
//!   asyncify     instrumented by Binaryen (see `asyncify`)  can be stopped in loops and recursion, and be saved
//!   defaults     the module, wasmtime as it comes           its own memories, copy-on-write images
//!   native       the same C, by the same compiler           no WebAssembly
//! ```

use super::{asyncify, native};
use crate::cpu_seconds;
use crate::guest::Guest;
use anyhow::{Context, Result};
use dormouse_engine::{Code, Event, Machine, Options, Plain, Run};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmtime::Config;

/// A way to run a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    Plain,
    Safepoints,
    Epochs,
    Asyncify,
    Defaults,
    Native,
}

impl Variant {
    pub const ALL: [Variant; 6] = [
        Variant::Plain,
        Variant::Safepoints,
        Variant::Epochs,
        Variant::Asyncify,
        Variant::Defaults,
        Variant::Native,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Variant::Plain => "plain",
            Variant::Safepoints => "safepoints",
            Variant::Epochs => "epochs",
            Variant::Asyncify => "asyncify",
            Variant::Defaults => "defaults",
            Variant::Native => "native",
        }
    }

    pub fn named(name: &str) -> Result<Variant> {
        let found = Variant::ALL.into_iter().find(|v| v.name() == name);
        found.with_context(|| format!("no variant is called {name}"))
    }
}

/// The engines.
pub struct Machines {
    ours: Machine,
    epochs: Machine,
    defaults: Machine,
}

/// A program, compiled.
pub struct Ready {
    machine: Machine,
    code: Compiled,
}

enum Compiled {
    Plain(Plain),
    Safepoints(Arc<Code>),
    Native(PathBuf),
}

/// What a run leaves behind.
#[derive(PartialEq)]
pub struct Left {
    pub end: Event,
    pub out: Vec<u8>,
}

impl Machines {
    /// With a cache, compiled code is kept there and taken from there.
    pub fn new(cache: Option<PathBuf>) -> Result<Machines> {
        let options = Options { cache, ..Options::default() };
        Ok(Machines {
            ours: Machine::new(options.clone())?,
            epochs: Machine::with(options.clone(), |c| {
                c.epoch_interruption(true);
            })?,
            defaults: Machine::with(options.clone(), |c| {
                let stack = options.stack * dormouse_engine::HEADROOM;
                *c = Config::new();
                c.wasm_exceptions(true).max_wasm_stack(stack).async_stack_size(stack);
            })?,
        })
    }

    /// `None` if there is no such variant of this program.
    pub fn compile(&self, variant: Variant, g: &Guest) -> Result<Option<Ready>> {
        let machine = match variant {
            Variant::Epochs => &self.epochs,
            Variant::Defaults => &self.defaults,
            _ => &self.ours,
        };
        let code = match variant {
            Variant::Plain | Variant::Epochs | Variant::Defaults => {
                Compiled::Plain(machine.load_plain(&g.bytes()?)?)
            }
            Variant::Safepoints => Compiled::Safepoints(Arc::new(machine.load(g.bytes()?.into())?)),
            Variant::Asyncify => Compiled::Plain(machine.load_plain(&asyncify::instrument(g)?)?),
            Variant::Native => match native::program(g) {
                Some(program) => Compiled::Native(program),
                None => return Ok(None),
            },
        };
        Ok(Some(Ready { machine: machine.clone(), code }))
    }

    /// A plain program whose compiled code is kept in a file.
    pub fn open_plain(&self, g: &Guest, kept: &Path) -> Result<Ready> {
        let plain = match self.ours.open_plain(kept) {
            Ok(plain) => plain,
            Err(_) => {
                let plain = self.ours.load_plain(&g.bytes()?)?;
                plain.save(kept)?;
                plain
            }
        };
        Ok(Ready { machine: self.ours.clone(), code: Compiled::Plain(plain) })
    }
}

impl Ready {
    /// Bytes of machine code.
    pub fn text(&self) -> usize {
        match &self.code {
            Compiled::Plain(plain) => plain.text(),
            Compiled::Safepoints(code) => code.text(),
            Compiled::Native(_) => 0,
        }
    }

    /// Runs it to its end, and says how many CPU seconds its thread took from `_start` on.
    pub fn time(&self, g: &Guest, args: &[String]) -> Result<(f64, Left)> {
        if let Compiled::Native(program) = &self.code {
            return native::time(program, g, args);
        }
        let (mut begin, mut end) = (0.0, 0.0);
        let left = self.run(g, args, || begin = cpu_seconds(), || end = cpu_seconds())?;
        Ok((end - begin, left))
    }

    /// Runs it to its end. `begin` is called when it is instantiated and its data are in its memory, and `end` when it
    /// has ended.
    pub fn run(
        &self,
        g: &Guest,
        args: &[String],
        begin: impl FnOnce() + Send,
        end: impl FnOnce() + Send,
    ) -> Result<Left> {
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
                Compiled::Native(_) => anyhow::bail!("a native program is timed, not run"),
            };
            end();
            Ok(event)
        })??;
        drop(work);
        let out = std::mem::take(&mut *out.lock().unwrap_or_else(|e| e.into_inner()));
        Ok(Left { end: event, out })
    }
}
