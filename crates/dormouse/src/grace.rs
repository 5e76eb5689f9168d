//! SIGTERM, where it is known how long after it the process will be killed.
//!
//! ```text
//!   SIGTERM ──> checkpoint, at once ──> durable ──> stopped
//!      │             │   └─ failed: again, some times, until the time is over
//!      └─ time over ─┴────────────────> said so; a checkpoint that is being taken still is
//! ```
//!
//! Nothing is ended before it is durable, not even then: who sends SIGTERM decides whether SIGKILL follows.

use crate::desk::{Desk, Why};
use crate::outcome::Notice;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

/// How often a checkpoint that fails is tried in that time.
const TRIES: u32 = 5;

/// SIGTERM has come.
pub(crate) fn terminate(desk: &Arc<Desk>, grace: Option<Duration>) {
    let answer = desk.order(Why::Term, true);
    let Some(grace) = grace else { return };
    let theirs = desk.clone();
    let watch = move || {
        let (desk, until, mut answer) = (theirs, Instant::now() + grace, answer);
        let left = || until.saturating_duration_since(Instant::now());
        let failed = loop {
            match answer.recv_timeout(left()) {
                Err(RecvTimeoutError::Timeout) => break None,
                Ok(Err(why)) => {
                    if !desk.wait_running((grace / TRIES).min(left())) {
                        return;
                    }
                    if left().is_zero() {
                        break Some(why);
                    }
                    answer = desk.order(Why::Term, true);
                }
                Ok(Ok(_)) | Err(RecvTimeoutError::Disconnected) => return,
            }
        };
        desk.report(Notice::Late { grace, failed });
    };
    // Without a thread for it, nobody says that it was late.
    let _ = std::thread::Builder::new().name("grace".into()).spawn(watch);
}
