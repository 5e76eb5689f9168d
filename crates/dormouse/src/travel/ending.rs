//! Ctrl-C and SIGTERM while a program is run again: its copies go, then whoever is told ends the process.

use crate::desk::Report;
use crate::outcome::Notice;
use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often it is tried to remove what a program still writes into.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);

/// Copies that no stop has yet.
#[derive(Clone, Default)]
pub(crate) struct Unfinished(Arc<Mutex<Option<PathBuf>>>);

impl Unfinished {
    /// While it is held, this process is not ended.
    pub fn hold(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches for signals until it is dropped.
pub(crate) struct Ending(Handle);

impl Ending {
    pub fn watch(unfinished: Unfinished, report: Report) -> Result<Ending> {
        let failed = || Error::io("watch for signals in", "this process");
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed())?;
        let handle = signals.handle();
        let wait = move || {
            let Some(signal) = signals.forever().next() else { return };
            // Nobody else makes or removes any, to the end.
            let held = unfinished.hold();
            if let Some(path) = &*held {
                // What is still being copied has no place to go to.
                let gone = path.with_extension("gone");
                let _ = fs::rename(path, &gone);
                for _ in 0..TRIES {
                    let _ = fs::remove_dir_all(&gone);
                    if !gone.exists() {
                        break;
                    }
                    std::thread::sleep(PAUSE);
                }
            }
            report(Notice::ProgressEnds);
            report(Notice::Interrupted { signal });
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed())?;
        Ok(Ending(handle))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.close();
    }
}
