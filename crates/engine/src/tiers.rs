//! A program that begins in code that was compiled quickly, and goes on in code that was compiled well.
//!
//! ```text
//!   load_quickly ──> Code, compiled quickly ──> Run ── runs ── Stopped ── move_to ── runs faster
//!        └─────────> Better ── compile, on another thread ──> Code ─────────^
//! ```
//!
//! The move is a capture and a resume without a checkpoint between them: state and memories are copied into a fresh instance of the
//! other code. The WASI objects go along as they are: open files, what is buffered, when a sleep ends.
//!
//! Old and new memories exist together for that moment, which takes longer the larger they are, and the continuations that the
//! program needs where it stands are compiled in it.

use crate::host::HostFunctions;
use crate::machine::{Code, Machine, Options};
use crate::run::Run;
use crate::{Error, Result};
use dormouse_memory::{PAGE_SIZE, nonzero_pages};
use dormouse_wasi::{StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;

/// What is still to be compiled well.
pub struct Better {
    machine: Machine,
    quick: Arc<Code>,
}

impl Machine {
    /// Code to begin with, and what is to be compiled to go on in. Nothing is if well compiled code is in the cache.
    ///
    /// # Errors
    /// As [`Machine::load_with`].
    pub fn load_quickly(
        &self,
        bytes: Arc<[u8]>,
        host: &HostFunctions,
    ) -> Result<(Arc<Code>, Option<Better>)> {
        if let Some(code) = self.cached(&bytes, host)? {
            return Ok((Arc::new(code), None));
        }
        let quick = Machine::new(Options { quick: true, ..(*self.options).clone() })?;
        let quick = Arc::new(quick.load_with(bytes, host)?);
        Ok((quick.clone(), Some(Better { machine: self.clone(), quick })))
    }
}

impl Better {
    /// Compiles it, which takes long.
    ///
    /// # Errors
    /// Only failures of ours: the module has been compiled once.
    pub fn compile(self) -> Result<Arc<Code>> {
        let code = self.machine.make(self.quick.program()?.clone(), &self.quick.host)?;
        // A program that moves stands still meanwhile. This is ready by then; the continuations are not: which they are is
        // known only where it stands.
        self.quick.inventory()?;
        code.inventory()?;
        Ok(Arc::new(code))
    }
}

impl Run {
    /// Moves a program that stands still into a fresh instance of `code`, the same module compiled in another way. Who asked it
    /// to stop, or watched its memories, has to do so anew.
    ///
    /// # Errors
    /// If something the program holds cannot be carried, or it does not want to be captured here; it stands where it
    /// stood then, and can go on as it is.
    pub fn move_to(&mut self, code: Arc<Code>) -> Result<()> {
        if self.asks_for_checkpoint() {
            return Err(Error::CannotCapture("the program waits for a checkpoint".into()));
        }
        let state = self.state_with(vec![])?;
        let memories = self.memories()?;
        let fill = |index: u32, into: &mut [u8]| {
            let of = memories.iter().find(|(i, _)| *i == index);
            for (page, run) in nonzero_pages(of.ok_or("a memory is missing")?.1) {
                let start = page as usize * PAGE_SIZE;
                into[start..start + run.len()].copy_from_slice(run);
            }
            Ok(())
        };
        let none = || {
            let stdio = StdioConfig::null();
            Ok(Wasi::new(WasiConfig { stdio, ..WasiConfig::default() })?)
        };
        let mut moved = Run::resume_with(code, &state, none, fill)?;
        moved.set_wasi(std::mem::replace(&mut self.store.data_mut().wasi, none()?));
        moved.pause = self.pause.take();
        *self = moved;
        Ok(())
    }
}
