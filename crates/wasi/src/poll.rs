//! `poll_oneoff`, and how a call that waits is interrupted.
//!
//! A relative timeout begins when the call is made. If the call is interrupted, the moment it began stays in the state
//! (on the guest's monotonic clock, which stands still while the program is asleep), so the same call made again after
//! a resume waits only for the rest.

use crate::clocks;
use crate::errors::Fail;
use crate::fds::{Descriptor, Host};
use crate::memory as mem;
use crate::os::{self, Signal, Waits};
use crate::types::{Clockid, Errno, Eventtype, Stop, eventrwflags, fields, size, subclockflags};
use std::sync::Arc;
use std::time::Duration;

/// Makes a call that waits, or the next one that would, answer [`Stop::Interrupted`].
///
/// It belongs to one [`crate::Wasi`] and may be used from any thread, and from a Unix signal handler.
#[derive(Clone, Debug)]
pub struct Interrupter {
    pub(crate) signal: Arc<Signal>,
}

impl Interrupter {
    /// From now on no call waits. Calls that can finish at once do.
    pub fn interrupt(&self) {
        self.signal.raise();
    }

    /// From now on calls wait again.
    pub fn clear(&self) {
        self.signal.lower();
    }

    /// What a call waits for now, if one does.
    pub fn waits(&self) -> Option<Waits> {
        self.signal.waits()
    }
}

/// A `poll_oneoff` that was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    /// When it was made, on the monotonic clock.
    pub begin: u64,
    /// When the first of its relative or monotonic timeouts is over; `u64::MAX` if there is none.
    pub deadline: u64,
    /// Its arguments. Another call begins anew.
    pub args: [u32; 4],
}

/// When a clock subscription is over.
#[derive(Clone, Copy, Debug)]
enum Deadline {
    Monotonic(u64),
    Realtime(u64),
}

impl Deadline {
    /// How long until then; zero if it is over.
    fn rest(self, monotonic: u64) -> u64 {
        match self {
            Deadline::Monotonic(at) => at.saturating_sub(monotonic),
            Deadline::Realtime(at) => at.saturating_sub(clocks::realtime()),
        }
    }
}

/// What a subscription waits for.
#[derive(Clone, Copy, Debug)]
enum Wants {
    Clock {
        deadline: Deadline,
        nbytes: u64,
    },
    /// A standard stream that may have to wait.
    Stream {
        which: usize,
        write: bool,
    },
    /// A regular file or a stream that never waits.
    Ready {
        write: bool,
        at_end: bool,
    },
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    userdata: u64,
    wants: Wants,
}

impl Host {
    fn subscription(
        &self,
        memory: &[u8],
        at: u32,
        begin: u64,
        alone: bool,
    ) -> Result<Subscription, Fail> {
        let userdata = mem::get_u64(memory, at)?;
        let tag = mem::get_u8(memory, mem::offset(at, 8)?)?;
        let body = mem::offset(at, 16)?;
        let wants = match Eventtype::from_raw(tag.into()).ok_or(Errno::Inval)? {
            Eventtype::Clock => {
                let id = Clockid::from_raw(mem::get_u32(memory, body)?).ok_or(Errno::Inval)?;
                let timeout = mem::get_u64(memory, mem::offset(body, 8)?)?;
                let flags = mem::get_u16(memory, mem::offset(body, 24)?)?;
                let absolute = match u32::from(flags) {
                    0 => false,
                    subclockflags::ABSTIME => true,
                    _ => return Err(Errno::Inval.into()),
                };
                let deadline = match (id, absolute) {
                    // Stock wasmtime sleeps at once on a single relative timeout, whatever the clock.
                    (_, false) if alone => Deadline::Monotonic(begin.saturating_add(timeout)),
                    (Clockid::Monotonic | Clockid::Realtime, false) => {
                        Deadline::Monotonic(begin.saturating_add(timeout))
                    }
                    (Clockid::Monotonic, true) => Deadline::Monotonic(timeout),
                    (Clockid::Realtime, true) => Deadline::Realtime(timeout),
                    _ => return Err(Errno::Inval.into()),
                };
                // The same special case of stock wasmtime reports one byte.
                Wants::Clock { deadline, nbytes: u64::from(alone && !absolute) }
            }
            kind @ (Eventtype::FdRead | Eventtype::FdWrite) => {
                let write = kind == Eventtype::FdWrite;
                match self.fds.get(mem::get_u32(memory, body)?)? {
                    Descriptor::File(file) => {
                        let at_end = !write && file.offset >= file.file.metadata()?.len();
                        Wants::Ready { write, at_end }
                    }
                    Descriptor::Stdio(which) if (*which != 0) == write => {
                        match self.stdio[*which].may_block() {
                            Some(_) => Wants::Stream { which: *which, write },
                            None => Wants::Ready { write, at_end: false },
                        }
                    }
                    _ => return Err(Errno::Badf.into()),
                }
            }
        };
        Ok(Subscription { userdata, wants })
    }

    pub fn poll_oneoff(
        &mut self,
        memory: &mut [u8],
        subscriptions: u32,
        events: u32,
        nsubscriptions: u32,
        nevents: u32,
    ) -> Result<(), Fail> {
        if nsubscriptions == 0 {
            return Err(Errno::Inval.into());
        }
        mem::count(nsubscriptions, size::SUBSCRIPTION + size::EVENT)?;

        let args = [subscriptions, events, nsubscriptions, nevents];
        let begin = match self.pending.take() {
            Some(pending) if pending.args == args => pending.begin,
            _ => self.clock.now(),
        };
        let subs = (0..nsubscriptions)
            .map(|i| {
                let at = mem::element(subscriptions, i, size::SUBSCRIPTION)?;
                self.subscription(memory, at, begin, nsubscriptions == 1)
            })
            .collect::<Result<Vec<_>, Fail>>()?;

        let mut count = 0;
        while count == 0 {
            let Some(streams) = self.wait_for_any(&subs)? else {
                let deadline = subs.iter().filter_map(|sub| match sub.wants {
                    Wants::Clock { deadline: Deadline::Monotonic(at), .. } => Some(at),
                    _ => None,
                });
                self.pending =
                    Some(Pending { begin, deadline: deadline.min().unwrap_or(u64::MAX), args });
                return Err(Fail::Stop(Stop::Interrupted));
            };

            // If the host's clock was put back meanwhile, none may be due: then it is waited for again.
            let now = self.clock.now();
            for sub in &subs {
                let (kind, nbytes, flags) = match sub.wants {
                    Wants::Clock { deadline, nbytes } if deadline.rest(now) == 0 => {
                        (Eventtype::Clock, nbytes, 0)
                    }
                    Wants::Stream { which, write } if streams[which] => (fd_event(write), 1, 0),
                    Wants::Ready { write, at_end } => {
                        (fd_event(write), 1, if at_end { eventrwflags::HANGUP } else { 0 })
                    }
                    _ => continue,
                };
                let mut event = [0; size::EVENT as usize];
                event[0..8].copy_from_slice(&sub.userdata.to_le_bytes());
                event[10] = kind.raw();
                event[16..24].copy_from_slice(&nbytes.to_le_bytes());
                event[24..26].copy_from_slice(&flags.to_le_bytes());
                let at = mem::element(events, count, size::EVENT)?;
                mem::put_record(memory, at, &event, 8, &fields::EVENT)?;
                count += 1;
            }
        }
        mem::put_u32(memory, nevents, count)
    }

    /// Waits until at least one subscription is ready, and says which standard streams are; `None` if interrupted
    /// before that.
    fn wait_for_any(&self, subs: &[Subscription]) -> Result<Option<[bool; 3]>, Fail> {
        // However many subscriptions there are, they ask for at most three descriptors.
        let mut asked = [false; 3];
        for sub in subs {
            if let Wants::Stream { which, .. } = sub.wants {
                asked[which] = true;
            }
        }
        let which: Vec<usize> = (0..3).filter(|which| asked[*which]).collect();
        let fds: Vec<_> = which
            .iter()
            .filter_map(|which| Some((self.stdio[*which].may_block()?, *which != 0)))
            .collect();
        let mut ready = vec![false; fds.len()];
        loop {
            let now = self.clock.now();
            let rest = subs.iter().filter_map(|sub| match sub.wants {
                Wants::Clock { deadline, .. } => Some(deadline.rest(now)),
                Wants::Ready { .. } => Some(0),
                Wants::Stream { .. } => None,
            });
            let rest = rest.min();
            let interrupted =
                os::poll(&fds, &mut ready, &self.signal, rest.map(Duration::from_nanos))?;
            if ready.contains(&true) || rest == Some(0) {
                let mut streams = [false; 3];
                for (which, ready) in which.iter().zip(&ready) {
                    streams[*which] = *ready;
                }
                return Ok(Some(streams));
            }
            if interrupted {
                // The deadline may have come in the meantime; then the call has its answer.
                let now = self.clock.now();
                let over = |sub: &Subscription| matches!(sub.wants, Wants::Clock { deadline, .. } if deadline.rest(now) == 0);
                if subs.iter().any(over) {
                    return Ok(Some([false; 3]));
                }
                return Ok(None);
            }
        }
    }
}

fn fd_event(write: bool) -> Eventtype {
    if write { Eventtype::FdWrite } else { Eventtype::FdRead }
}
