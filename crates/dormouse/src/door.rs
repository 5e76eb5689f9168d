//! The door of a running job: signals and connections, both answered by the thread that waits for the
//! program's end, and renews the lease. A job that nobody disturbs costs no thread besides the program's own.
//!
//! ```text
//!   SIGTERM           checkpoint, then stop (see `grace`)
//!   SIGUSR1           checkpoint, go on
//!   SIGINT (Ctrl-C)   checkpoint, then stop; the second: stop at once
//!   a connection      one question (see `control`), on a thread of its own
//! ```

use crate::control::{self, About};
use crate::desk::{Desk, End, Why};
use crate::grace::Grace;
use crate::lease::Lease;
use crate::outcome::Notice;
use crate::upkeep::Upkeep;
use crate::{Error, Result, exit};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::backend::{Handle, SignalDelivery};
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long the end of a job waits for answers that are on their way.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Open from its making, though nobody is let in before [`Door::keep`].
pub(crate) struct Door {
    listener: UnixListener,
    signals: SignalDelivery<UnixStream, SignalOnly>,
    about: Arc<About>,
    desk: Arc<Desk>,
    /// Connections that have asked and are not yet answered.
    busy: Arc<AtomicUsize>,
    interrupts: u32,
    grace: Grace,
    upkeep: Upkeep,
}

/// Lets [`Door::keep`] return when dropped.
pub(crate) struct Closer(Handle);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Door {
    /// Listens on the lease's socket and, if wanted, for signals. (When the door is gone, these
    /// signals are ignored.)
    pub fn open(
        lease: &Lease,
        about: About,
        desk: Arc<Desk>,
        signals: bool,
        grace: Option<Duration>,
    ) -> Result<Door> {
        let listener = UnixListener::bind(&lease.socket)
            .and_then(|l| l.set_nonblocking(true).map(|()| l))
            .map_err(Error::io("listen on", &lease.socket))?;
        let wanted: &[i32] = if signals { &[SIGTERM, SIGUSR1, SIGINT] } else { &[] };
        let signals = UnixStream::pair()
            .and_then(|(read, write)| SignalDelivery::with_pipe(read, write, SignalOnly, wanted))
            .map_err(Error::io("watch for signals in", "this process"))?;
        let (about, busy) = (Arc::new(about), Arc::default());
        let upkeep = Upkeep::new(lease.keeper.clone(), desk.clone());
        Ok(Door {
            listener,
            signals,
            about,
            desk,
            busy,
            interrupts: 0,
            grace: Grace::new(grace),
            upkeep,
        })
    }

    /// What ends [`Door::keep`].
    pub fn closer(&self) -> Closer {
        Closer(self.signals.handle())
    }

    /// Answers, and keeps the lease, until the closer is dropped.
    pub fn keep(&mut self) {
        while !self.signals.handle().is_closed() {
            let mut fds = [
                PollFd::new(self.signals.get_read(), PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            // Interrupted, or out of memory for a moment: looked at again.
            let rest = Timespec::try_from(self.upkeep.rest()).ok();
            let _ = poll(&mut fds, rest.as_ref());
            // First: who has slept must not do what it was told meanwhile.
            self.upkeep.turn();
            let signals: Vec<i32> = self.signals.pending().collect();
            for signal in signals {
                self.signal(signal);
            }
            while let Ok((stream, _)) = self.listener.accept() {
                self.connection(stream);
            }
        }
    }

    /// Lets answers get through that are on their way when all is over.
    pub fn last_answers(&self) {
        let step = Duration::from_millis(2);
        let mut waited = Duration::ZERO;
        while self.busy.load(Ordering::Acquire) > 0 && waited < LAST_ANSWERS {
            std::thread::sleep(step);
            waited += step;
        }
    }

    fn signal(&mut self, signal: i32) {
        match signal {
            SIGTERM => self.grace.terminate(&self.desk),
            SIGUSR1 => drop(self.desk.order(Why::Usr1, false)),
            _ => {
                self.interrupts += 1;
                if self.interrupts == 1 {
                    self.desk.report(Notice::Stopping);
                    drop(self.desk.order(Why::Interrupt, true));
                } else {
                    let how = "was stopped at once, without a checkpoint".to_owned();
                    self.desk.set_end(End { status: exit::INTERRUPTED, how, checkpoint: None });
                    self.desk.abandon_hooks();
                    // Who is told may end this process.
                    self.last_answers();
                    self.desk.report(Notice::StopNow);
                    self.desk.kill();
                }
            }
        }
    }

    fn connection(&self, stream: UnixStream) {
        if stream.set_nonblocking(false).is_err() {
            return;
        }
        let (desk, about, busy) = (self.desk.clone(), self.about.clone(), self.busy.clone());
        // Without a thread to answer it, the connection ends, which says enough.
        let _ = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || control::answer(stream, &about, &desk, &busy));
    }
}
