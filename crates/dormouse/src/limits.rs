//! For how long a program runs in this process: then it is checkpointed and stopped, or ended.
//!
//! ```text
//!   begins, or goes on ──── --stop-after ──> checkpoint, stop ──(fails: the program goes on; again after RETRY)
//!                      ──── --timeout ─────> ended, without a checkpoint
//! ```

use crate::desk::{Desk, Why};
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// After a checkpoint that could not be taken, the program goes on for so long.
const RETRY: Duration = Duration::from_secs(10);

/// The times, if there are any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// It is stopped with a checkpoint.
    pub stop_after: Option<Duration>,
    /// It is ended.
    pub timeout: Option<Duration>,
}

impl Limits {
    /// The program runs from now on.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn begin(self, desk: &Arc<Desk>) -> Result<()> {
        if let Some(time) = self.stop_after {
            watch(desk, time, |desk| {
                while !matches!(desk.order(Why::Limit, true).recv(), Ok(Ok(_))) {
                    if !desk.wait_running(RETRY) {
                        return;
                    }
                }
            })?;
        }
        if let Some(time) = self.timeout {
            watch(desk, time, Desk::time_out)?;
        }
        Ok(())
    }
}

/// Does something when that time has passed, unless the program ends before.
fn watch(
    desk: &Arc<Desk>,
    time: Duration,
    then: impl FnOnce(&Desk) + Send + 'static,
) -> Result<()> {
    let desk = desk.clone();
    let wait = move || {
        if desk.wait_running(time) {
            then(&desk);
        }
    };
    let spawned = std::thread::Builder::new().name("limit".into()).spawn(wait);
    spawned.map(drop).map_err(Error::io("start the clock of", "this job"))
}
