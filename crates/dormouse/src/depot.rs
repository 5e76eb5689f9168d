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
use crate::newest::Newest;
use crate::outcome::Notice;
use crate::{Result, one_line};
use dormouse_store::{CheckpointInfo, Depot, Store, StoreError, kept};
use std::sync::Arc;

/// A job's depot, if it has one.
#[derive(Default)]
pub(crate) struct Carry {
    depot: Option<Arc<dyn Depot>>,
    newest: Newest,
}

impl Carry {
    pub fn to(depot: Option<Arc<dyn Depot>>) -> Carry {
        Carry { depot, newest: Newest::default() }
    }

    /// Carries it, now that it is durable.
    pub fn after(&self, saved: &CheckpointInfo, store: &Store, desk: &Desk) {
        let Some(depot) = &self.depot else { return };
        let send = |info: &CheckpointInfo| store.send(&info.job, Some(info.number), &**depot);
        self.newest.each(saved, send, |checkpoint, sent| {
            let failed = |message| Notice::NotCarried { message, checkpoint };
            desk.report(match sent {
                Some(Ok(sent)) => {
                    Notice::Carried { checkpoint: sent.checkpoint, bytes: sent.bytes }
                }
                Some(Err(error)) => failed(one_line(&error.to_string())),
                None => failed("the depot panicked".to_owned()),
            });
        });
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
