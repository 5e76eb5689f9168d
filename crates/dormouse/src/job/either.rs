//! From a checkpoint if there is one, and from the beginning if there is none: one command for a script that is started
//! again and again until the program has ended.
//!
//! ```text
//!   lease ──> checkpoints? ── none ─────────────────────────────────> begin
//!                  └─ some ──> the same module, function, arguments ──> go on from the newest
//!                                     └─ others: refused, nothing is changed
//! ```

use super::{Job, same_module};
use crate::outcome::Outcome;
use crate::{Error, Result, Target, annotations};
use dormouse_store::{Checkpoint, Store, StoreError};
use dormouse_wasi::Wasi;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

impl Job {
    /// Goes on from the newest good checkpoint of the job ([`Job::name`]) if it has any; else runs the module from its
    /// beginning, as [`Job::run`] does. Module, arguments and [`Job::invoke`] must be those of
    /// the checkpoint.
    ///
    /// A job that is running is refused. Of one whose program has ended, the newest checkpoint is as good as any: what came
    /// after it is done again, with the same result.
    ///
    /// # Errors
    /// As [`Job::run`] and [`Job::resume`]; [`Error::OtherProgram`].
    pub fn run_or_resume(
        mut self,
        program: &str,
        module: Arc<[u8]>,
        args: Vec<Vec<u8>>,
    ) -> Result<Outcome> {
        let Some(name) = self.name.clone() else {
            return self.run(program, module, args);
        };
        let store = self.sealing.unlock(Store::create_or_open(&self.store)?)?;
        store.list(&name)?;
        // While somebody else has it, there may come a first checkpoint.
        let lease = self.take_lease(&name, program)?;
        self.fetch(&store, &Target { job: name.clone(), number: None })?;
        if store.list(&name)?.is_empty() {
            // A list that was lost, and not all of it found again, does not say that there was nothing.
            match store.load(&name, None) {
                Err(StoreError::NoJob { .. }) => {
                    return self.begin(store, lease, program, module, args);
                }
                found => found?,
            };
        }
        self.module = Some(module);
        self.expected = Some(args);
        self.go_on(store, lease, program, &Target { job: name, number: None })
    }

    /// Whether a checkpoint is of what is to be run, where [`Job::run_or_resume`] found one.
    pub(super) fn same_program(&self, checkpoint: &Checkpoint) -> Result<()> {
        let (Some(module), Some(args)) = (&self.module, &self.expected) else {
            return Ok(());
        };
        let (name, job) = (checkpoint.info.name(), checkpoint.info.job.clone());
        if same_module(&checkpoint.state.module_digest, module).is_err() {
            let what = "it is of another module".to_owned();
            return Err(Error::OtherProgram { checkpoint: name, job, what });
        }
        let invoked = checkpoint.info.annotations.get(annotations::INVOKE);
        if invoked != self.invoke.as_ref() {
            let what = match invoked {
                Some(function) => format!("it was begun with --invoke {function:?}"),
                None => "it was begun without --invoke".to_owned(),
            };
            return Err(Error::OtherProgram { checkpoint: name, job, what });
        }
        let had = Wasi::outline(&checkpoint.state.wasi)?.args;
        let had = had.get(1..).unwrap_or_default();
        if had != args {
            let what = match had.is_empty() {
                true => "it was run without arguments".to_owned(),
                false => {
                    let had: Vec<_> = had.iter().map(|arg| OsStr::from_bytes(arg)).collect();
                    format!("its arguments are {had:?}")
                }
            };
            return Err(Error::OtherProgram { checkpoint: name, job, what });
        }
        Ok(())
    }
}
