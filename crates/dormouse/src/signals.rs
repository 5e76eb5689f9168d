//! Signals as orders.
//!
//! ```text
//!   SIGTERM           checkpoint, then stop
//!   SIGUSR1           checkpoint, go on
//!   SIGINT (Ctrl-C)   checkpoint, then stop; the second: stop at once
//! ```

use crate::desk::{Desk, Why};
use crate::job::Notice;
use crate::{Error, Result};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;

/// Signals are orders until this is dropped. (Afterwards they are ignored.)
pub(crate) struct Listening(Handle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Listens on a thread of its own.
pub(crate) fn listen(desk: Arc<Desk>) -> Result<Listening> {
    let failed = || Error::io("watch for signals in", "this process");
    let mut signals = Signals::new([SIGTERM, SIGUSR1, SIGINT]).map_err(failed())?;
    let handle = signals.handle();
    let work = move || {
        let mut interrupts = 0;
        for signal in signals.forever() {
            match signal {
                SIGTERM => drop(desk.order(Why::Term, true)),
                SIGUSR1 => drop(desk.order(Why::Usr1, false)),
                _ if interrupts == 0 => {
                    interrupts += 1;
                    desk.report(Notice::Stopping);
                    drop(desk.order(Why::Interrupt, true));
                }
                _ => {
                    desk.report(Notice::StopNow);
                    desk.kill();
                }
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(work).map_err(failed())?;
    Ok(Listening(handle))
}
