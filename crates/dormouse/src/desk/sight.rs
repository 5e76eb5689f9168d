//! What those see who look at a running job, and what those are told who wait for its end.

use super::{Attempt, Desk};
use dormouse_engine::{Requester, Waits};
use dormouse_store::CheckpointInfo;
use std::time::Duration;

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Exit status of the command that ran it.
    pub status: u8,
    /// In words.
    pub how: String,
    /// The checkpoint it was stopped at.
    pub checkpoint: Option<String>,
}

/// What the program and its checkpoints are at.
pub(crate) struct Sight {
    /// How many were saved.
    pub saved: u64,
    pub newest: Option<CheckpointInfo>,
    /// One is being written.
    pub writing: bool,
    /// How long ago it was paused.
    pub paused: Option<Duration>,
    /// Until the next is due.
    pub next: Option<Duration>,
    /// What the program waits for.
    pub waits: Option<Waits>,
}

impl Desk {
    /// How the job ended: nothing more is to be known of it. Only what is said first counts.
    pub fn set_end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Waits for that.
    pub fn wait_end(&self) -> End {
        let mut inner = self.lock();
        loop {
            if let Some(end) = &inner.end {
                return end.clone();
            }
            inner = self.changed.wait(inner).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// What the program and its checkpoints are at.
    pub fn sight(&self) -> Sight {
        let inner = self.lock();
        let due = inner.ticked.filter(|_| inner.paused.is_none() && inner.ended.is_none());
        Sight {
            saved: inner.saved,
            newest: inner.newest.clone(),
            writing: inner.attempt == Attempt::Taken,
            paused: inner.paused.filter(|_| inner.stands).map(|since| since.elapsed()),
            next: due.map(|since| self.left(since)),
            waits: inner.requester.as_ref().and_then(Requester::waits),
        }
    }
}
