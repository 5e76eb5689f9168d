//! Trying: whether a checkpoint could go on here, and a program under chaos. Neither leaves anything behind.

use super::Job;
use crate::beginning::{called, first};
use crate::outcome::{Outcome, Rehearsal};
use crate::{Error, Result, Target, running};
use dormouse_engine::{Chaos, ChaosReport, Event, Gap, Machine, Options, Run};
use dormouse_store::Store;
use dormouse_wasi::{RestoreOptions, Wasi};
use std::sync::Arc;

impl Job {
    /// What [`Job::resume`] would do, up to the program's first step: whether the checkpoint is whole, its module can be
    /// compiled here, its memory fits, directories and files are as they must be, and the job is not running. Changes nothing
    /// but the cache, and takes no lease.
    ///
    /// # Errors
    /// Those that the resume would give.
    pub fn rehearse(mut self, from: &Target) -> Result<Rehearsal> {
        (self.lazy, self.tier_up) = (false, false);
        let store = self.sealing.unlock(Store::open(&self.store)?)?;
        let name = self.name.clone().unwrap_or_else(|| from.job.clone());
        store.list(&name)?;
        if running::is_running(&self.store, &name) {
            let holder = running::holder(&self.store, &name);
            let host = holder.as_ref().filter(|h| !h.is_here()).map(|h| h.host.clone());
            return Err(Error::Running { job: name, pid: holder.map(|h| h.pid), host });
        }
        let checkpoint = Arc::new(self.checkpoint(&store, from)?);
        let machine = Machine::new(self.options())?;
        let (code, _) = self.load_of(&machine, &checkpoint)?;
        let restore = self.restoring(&checkpoint, &name);
        let state = &checkpoint.state;
        let fill =
            |index, into: &mut [u8]| checkpoint.read_memory(index, into).map_err(|e| e.to_string());
        let files = machine.on_stack(|| {
            Run::rehearse(code.clone(), state, fill)?;
            Ok::<_, Error>(Wasi::rehearse(&state.wasi, restore)?)
        })??;
        let memory = state.memories.iter().map(|m| m.pages << 16).sum();
        Ok(Rehearsal { checkpoint: checkpoint.info.clone(), memory, files })
    }

    /// Runs a module under chaos: see [`dormouse_engine::chaos`]. It takes no checkpoints, and needs
    /// no store.
    ///
    /// # Errors
    /// As [`Job::run`].
    pub fn chaos(
        mut self,
        program: &str,
        module: Arc<[u8]>,
        args: Vec<Vec<u8>>,
        gap: Gap,
    ) -> Result<(Outcome, ChaosReport)> {
        self.tier_up = false;
        let options = Options { counted: true, ..self.options() };
        let machine = Machine::new(options)?;
        let (code, _) = self.load(&machine, module)?;
        let called = called(&code, self.invoke.take(), &args)?;
        let wasi = Wasi::new(self.given(program, args, None))?;
        let (event, report) = machine.on_stack(|| {
            let mut chaos = Chaos::new(gap, RestoreOptions::default);
            let (event, _) = chaos.advance(first(code.clone(), wasi, called)?)?;
            Ok::<_, Error>((event, chaos.report()))
        })??;
        let outcome = match event {
            Event::Exited(code) => Outcome::Exited(code),
            Event::Returned(values) => Outcome::Returned(values),
            Event::Trapped(trap) => Outcome::trapped(&code, &trap),
            Event::Aborted(trap) => Outcome::aborted(&code, &trap),
            Event::Stopped => Outcome::Killed,
        };
        Ok((outcome, report))
    }
}
