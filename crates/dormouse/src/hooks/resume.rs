//! While hooks run that come before a resume: the lease is kept, and who ends the resume is heard.
//!
//! ```text
//!   lease ──> hooks run: lease renewed, SIGTERM and SIGINT end it ──> compiled, files put back ──> the door is open
//!             SIGUSR1: nothing, there is no program yet               signals have their usual effect
//! ```
//!
//! Caught they must be: the hook would outlive this process, and the first process of a container is not ended by a signal
//! that it does not catch.

use super::{Cut, Facts, Hooks, Moment};
use crate::desk::Why;
use crate::lease::Lease;
use crate::{Error, Result};
use dormouse_store::CheckpointInfo;
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals before there is a job that could be given orders. Held until its door is open; then they are that one's.
pub(crate) struct Early {
    signals: SignalDelivery<UnixStream, SignalOnly>,
    usual: Arc<AtomicBool>,
    defaults: Vec<SigId>,
}

impl Early {
    fn listen() -> Result<Early> {
        const WANTED: [i32; 3] = [SIGTERM, SIGUSR1, SIGINT];
        let usual = Arc::new(AtomicBool::new(false));
        let listen = || {
            let (read, write) = UnixStream::pair()?;
            let signals = SignalDelivery::with_pipe(read, write, SignalOnly, WANTED)?;
            let default = |signal: &i32| {
                signal_hook::flag::register_conditional_default(*signal, usual.clone())
            };
            let defaults = WANTED.iter().map(default).collect::<std::io::Result<_>>()?;
            Ok(Early { signals, usual: usual.clone(), defaults })
        };
        listen().map_err(Error::io("watch for signals in", "this process"))
    }

    /// Who wants this to end.
    fn ended(&mut self) -> Option<Why> {
        self.signals.pending().find_map(|signal| match signal {
            SIGTERM => Some(Why::Term),
            SIGINT => Some(Why::Interrupt),
            _ => None,
        })
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        for id in self.defaults.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

impl Hooks {
    /// Runs those of a resume that is about to happen, with `signals` if they mean this process; and who ended it
    /// meanwhile. Signals have their usual effect afterwards, until what is given back is dropped.
    ///
    /// # Errors
    /// [`Error::Hook`]; [`Error::LeaseLost`].
    pub fn before_resume(
        &self,
        checkpoint: &CheckpointInfo,
        lease: &mut Lease,
        signals: bool,
    ) -> Result<(Option<Early>, Option<Why>)> {
        if !self.hooks.iter().any(|hook| hook.moment == Moment::PreResume) {
            return Ok((None, None));
        }
        let mut early = if signals { Some(Early::listen()?) } else { None };
        let (mut ended, mut lost) = (None, None);
        let mut watch = || {
            ended = early.as_mut().and_then(Early::ended);
            if let Err(e @ Error::LeaseLost { .. }) = lease.confirm() {
                // What cannot be seen for a moment is looked at again.
                lost = Some(e);
            }
            (ended.is_some() || lost.is_some()).then_some(Cut::Unwanted)
        };
        let facts = Facts { checkpoint: Some(checkpoint.clone()), ..Facts::default() };
        let done = self.run(Moment::PreResume, &facts, &mut watch);
        if let Some(lost) = lost {
            return Err(lost);
        }
        if let Some(early) = &mut early {
            early.usual.store(true, Ordering::SeqCst);
            // The last moment counts too.
            ended = ended.or_else(|| early.ended());
        }
        match done {
            _ if ended.is_some() => Ok((early, ended)),
            Ok(()) => Ok((early, None)),
            Err(why) => Err(Error::Hook { checkpoint: checkpoint.name(), why: why.words() }),
        }
    }
}
