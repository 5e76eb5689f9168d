//! Work on durable checkpoints, one at a time: who comes while another is at it leaves it to that one, which then does
//! the newest of what was left.

use dormouse_store::CheckpointInfo;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(crate) struct Newest(Mutex<State>);

#[derive(Default)]
struct State {
    /// The newest that nobody has begun with.
    next: Option<CheckpointInfo>,
    /// A thread is at it.
    busy: bool,
}

impl Newest {
    /// Has `work` done on this checkpoint, or on a newer one. A bug in it must not take the program with it: `done` gets none then.
    pub fn each<T>(
        &self,
        saved: &CheckpointInfo,
        work: impl Fn(&CheckpointInfo) -> T,
        done: impl Fn(CheckpointInfo, Option<T>),
    ) {
        {
            let mut state = self.lock();
            state.next = Some(saved.clone());
            if std::mem::replace(&mut state.busy, true) {
                return;
            }
        }
        loop {
            let next = {
                let mut state = self.lock();
                state.busy = state.next.is_some();
                state.next.take()
            };
            let Some(info) = next else { return };
            let found = catch_unwind(AssertUnwindSafe(|| work(&info))).ok();
            done(info, found);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
