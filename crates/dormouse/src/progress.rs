//! How far something that takes long is: told when it begins and when it ends; in between a meter counts.
//!
//! ```text
//!   Progress::begin ── Notice::Progress { meter } ──> a bar, drawn now and then
//!        │ reads, writes: the meter counts                ^ looks at the meter
//!   dropped ────────── Notice::ProgressEnds ────────> gone
//! ```

use crate::desk::Report;
use crate::outcome::{Activity, Notice};
use dormouse_store::{Meter, Work};

/// What this thread does until it is dropped.
pub(crate) struct Progress<'a> {
    report: &'a Report,
    _work: Option<Work>,
}

impl<'a> Progress<'a> {
    /// Counted by a meter of its own.
    pub fn begin(report: &'a Report, what: Activity) -> Progress<'a> {
        let meter = Meter::default();
        let work = meter.work();
        Progress { _work: Some(work), ..Progress::counted(report, what, meter) }
    }

    /// Counted by a meter that others take care of.
    pub fn counted(report: &'a Report, what: Activity, meter: Meter) -> Progress<'a> {
        report(Notice::Progress { what, meter });
        Progress { report, _work: None }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        (self.report)(Notice::ProgressEnds);
    }
}
