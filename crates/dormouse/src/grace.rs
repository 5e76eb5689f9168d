//! SIGTERM, where it is known how long after it the process will be killed.
//!
//! ```text
//!   SIGTERM ──> checkpoint, at once ──> durable ──> stopped
//!      │             │   └─ failed: again, some times, until the time is over
//!      └─ time over ─┴────────────────> said so; a checkpoint that is being taken still is
//! ```
//!
//! Nothing is ended before it is durable, not even then: who sends SIGTERM decides whether SIGKILL follows. Hooks may take a
//! part of that time only (see [`crate::hooks::runner`]).

use crate::desk::{Answer, Desk, Why};
use crate::outcome::Notice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How often a checkpoint that fails is tried in that time.
const TRIES: u32 = 5;

/// How long after SIGTERM the process may be killed, if that is known.
pub(crate) struct Grace {
    time: Option<Duration>,
    /// A SIGTERM's time runs.
    running: Arc<AtomicBool>,
}

impl Grace {
    pub fn new(time: Option<Duration>) -> Grace {
        Grace { time, running: Arc::default() }
    }

    /// SIGTERM has come.
    pub fn terminate(&self, desk: &Arc<Desk>) {
        let Some(time) = self.time else { return drop(desk.order(Why::Term, true)) };
        if self.running.swap(true, Ordering::AcqRel) {
            // Said twice, it means the same.
            return drop(desk.order(Why::Term, true));
        }
        desk.hurry(Some(time));
        let answer = desk.order(Why::Term, true);
        let (desk, running) = (desk.clone(), self.running.clone());
        let watch = move || {
            if let Some(late) = late(&desk, time, answer) {
                desk.hurry(None);
                desk.report(late);
            }
            running.store(false, Ordering::Release);
        };
        // Without a thread for it, nobody says that it was late.
        let _ = std::thread::Builder::new().name("grace".into()).spawn(watch);
    }
}

/// Waits for a checkpoint, and orders another where one fails; what is to be told if none is durable in time.
fn late(desk: &Desk, grace: Duration, mut answer: Receiver<Answer>) -> Option<Notice> {
    let until = Instant::now() + grace;
    let left = || until.saturating_duration_since(Instant::now());
    loop {
        match answer.recv_timeout(left()) {
            Ok(Ok(_)) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => return Some(Notice::Late { grace, failed: None }),
            Ok(Err(why)) => {
                if !desk.wait_running((grace / TRIES).min(left())) {
                    return None;
                }
                if left().is_zero() {
                    return Some(Notice::Late { grace, failed: Some(why) });
                }
            }
        }
        answer = desk.order(Why::Term, true);
    }
}
