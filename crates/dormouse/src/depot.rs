//! Durable checkpoints carried on into a [depot](dormouse_store::Depot), and out of it before a resume.
//!
//! ```text
//!   writer: sim@7 durable ──answer──> after(sim@7): blobs, manifest ──> Carried, or NotCarried
//!   writer: sim@8 durable ──answer──> after(sim@8): the other is still at it, and does this too
//! ```
//!
//! A checkpoint is durable in the store before, and whoever ordered it has been answered. A depot that fails harms neither
//! the program nor what the store has; the next checkpoint is carried with all that it needs, so nothing has to be made up
//! for.

use crate::desk::Desk;
use crate::outcome::Notice;
use crate::{Result, one_line};
use dormouse_store::{CheckpointInfo, Depot, Store, StoreError, kept};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A job's depot, if it has one.
#[derive(Default)]
pub(crate) struct Carry {
    depot: Option<Arc<dyn Depot>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The newest that is durable and not carried yet.
    next: Option<CheckpointInfo>,
    /// A thread is at it.
    busy: bool,
}

impl Carry {
    pub fn to(depot: Option<Arc<dyn Depot>>) -> Carry {
        Carry { depot, state: Mutex::default() }
    }

    /// Carries it, now that it is durable.
    pub fn after(&self, saved: &CheckpointInfo, store: &Store, desk: &Desk) {
        let Some(depot) = &self.depot else { return };
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
            let send = || store.send(&info.job, Some(info.number), &**depot);
            // A bug of the depot's must not take the program with it.
            desk.report(match catch_unwind(AssertUnwindSafe(send)) {
                Ok(Ok(sent)) => Notice::Carried { checkpoint: sent.checkpoint, bytes: sent.bytes },
                Ok(Err(error)) => {
                    Notice::NotCarried { message: one_line(&error.to_string()), checkpoint: info }
                }
                Err(_) => {
                    Notice::NotCarried { message: "the depot panicked".into(), checkpoint: info }
                }
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what is to be resumed, if the depot has it and the store does not: checkpoint `number`, or the newest that is
/// good and newer than those of the store.
pub(crate) fn fetch(
    store: &Store,
    job: &str,
    number: Option<u64>,
    depot: &dyn Depot,
    tell: impl Fn(Notice),
) -> Result<()> {
    let here = store.list(job)?;
    if let Some(number) = number {
        let there = || Ok::<_, StoreError>(kept(job, depot)?.contains(&number));
        if here.iter().all(|info| info.number != number) && there()? {
            store.fetch(job, number, depot)?;
        }
        return Ok(());
    }
    let newest = here.last().map_or(0, |info| info.number);
    for number in kept(job, depot)?.into_iter().rev().take_while(|n| *n > newest) {
        match store.fetch(job, number, depot) {
            Ok(_) => break,
            Err(
                error @ (StoreError::Foreign { .. }
                | StoreError::WrongBytes { .. }
                | StoreError::WrongLength { .. }
                | StoreError::Damaged(_)
                | StoreError::Depot { .. }),
            ) => tell(Notice::Warning(format!(
                "{job}@{number} cannot be taken out of the depot ({}); the one before it is tried",
                one_line(&error.to_string())
            ))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
