//! Warnings of a resume, kept until its files are put back.
//!
//! ```text
//!   checkpoint chosen: damage is found ──> kept
//!   stderr, if it is a file, is cut back to where it was at the checkpoint
//!   what was kept is told, and whatever comes is told at once
//! ```
//!
//! Told before, they would be cut off with what stood behind them. If it does not come so far, they are told when it is over.

use crate::desk::Report;
use crate::outcome::Notice;
use std::sync::{Arc, Mutex, PoisonError};

/// What it keeps is told when it is dropped.
pub(crate) struct Held {
    report: Report,
    /// None: nothing is kept any more.
    kept: Arc<Mutex<Option<Vec<Notice>>>>,
}

impl Held {
    pub fn new(report: Report) -> Held {
        Held { report, kept: Arc::new(Mutex::new(Some(vec![]))) }
    }

    /// Tells at once what cannot wait, and keeps warnings for now.
    pub fn report(&self) -> Report {
        let (report, kept) = (self.report.clone(), self.kept.clone());
        Arc::new(move |notice| {
            if matches!(notice, Notice::Warning(_)) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(kept) = &mut *kept {
                    return kept.push(notice);
                }
            }
            report(notice);
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.into_iter().flatten().for_each(|notice| (self.report)(notice));
    }
}
