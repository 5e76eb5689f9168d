//! What a running job does with its old checkpoints once a new one is durable.
//!
//! ```text
//!   writer: sim@7 durable ──answer──> after(sim@7) ──> Store::retain: sim@4 goes
//!   writer: sim@8 durable ──answer──> after(sim@8): the other is still at it, and does this too
//! ```
//!
//! Whoever ordered the checkpoint has been answered, and the program runs. A failure is told, once
//! until it goes well again; it harms neither the program nor what is saved.

use crate::desk::Desk;
use crate::newest::Newest;
use crate::one_line;
use crate::outcome::Notice;
use dormouse_store::{Care, CheckpointInfo, GcReport, Retention, Store, StoreError};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// How long others may be saving into the store before this is left to the next checkpoint. A program
/// that was stopped waits for it.
const PATIENCE: Duration = Duration::from_secs(2);
/// So often in a row it is left to the next checkpoint before that is told.
const PUT_OFF: u32 = 20;

/// A job's rules for old checkpoints.
pub(crate) struct Retain {
    rules: Retention,
    newest: Newest,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was told last; not again while it stays the same.
    told: Told,
    put_off: u32,
}

/// One of each kind of trouble.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    failed: bool,
    held_up: bool,
    over: bool,
}

impl Retain {
    pub fn by(rules: Retention) -> Retain {
        Retain { rules, newest: Newest::default(), state: Mutex::default() }
    }

    /// Applies the rules, now that this checkpoint is durable.
    pub fn after(&self, saved: &CheckpointInfo, store: &Store, desk: &Desk) {
        if self.rules.is_empty() {
            return;
        }
        let apply = |newest: &CheckpointInfo| {
            store.retain(std::slice::from_ref(&newest.job), &self.rules, Care::Brief(PATIENCE))
        };
        self.newest.each(saved, apply, |_, done| {
            for warning in self.judge(done, store) {
                desk.report(Notice::Warning(warning));
            }
        });
    }

    /// What is to be told.
    fn judge(&self, done: Option<Result<GcReport, StoreError>>, store: &Store) -> Vec<String> {
        let mut state = self.lock();
        let before = state.told;
        let failed = |why: &str| format!("old checkpoints were not removed: {}", one_line(why));
        let mut warnings = Vec::new();
        match done {
            Some(Ok(report)) => {
                state.put_off = 0;
                state.told = Told {
                    failed: false,
                    held_up: !report.held_up.is_empty(),
                    over: !report.over.is_empty(),
                };
                tracing::info!(
                    removed = report.removed.len(),
                    bytes = report.bytes,
                    "old checkpoints"
                );
                if let (Some(damage), false) = (report.held_up.first(), before.held_up) {
                    warnings.push(format!(
                        "old checkpoints were removed, but no space is freed as long as nobody knows what \
                         damaged ones need: {damage}; `dormouse rm` removes those, `dormouse gc` frees the space"
                    ));
                }
                if let (Some(over), false) = (report.over.first(), before.over) {
                    warnings.push(format!(
                        "the checkpoints of {} take {} bytes, more than the {} of --max-store, though only what \
                         is never removed is left; give it more, or another --store",
                        over.job, over.bytes, over.limit
                    ));
                }
            }
            Some(Err(StoreError::Busy { .. })) if state.put_off < PUT_OFF => state.put_off += 1,
            Some(Err(error)) => {
                state.told.failed = true;
                if !before.failed {
                    let advice = "; the program goes on, and the next checkpoint tries again";
                    warnings.push(failed(&error.to_string()) + advice);
                }
            }
            None => {
                state.told.failed = true;
                if !before.failed {
                    let dir = store.dir().display();
                    warnings
                        .push(failed(&format!("a bug of dormouse's in {dir}: please report it")));
                }
            }
        }
        warnings
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}
