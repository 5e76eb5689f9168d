//! Clocks. The monotonic clock is state: it counts the time the program was awake, from its first start on, and
//! stands still while the program is asleep. The realtime clock is the host's.

use crate::errors::Fail;
use crate::fds::Host;
use crate::memory as mem;
use crate::os;
use crate::types::{Clockid, Errno, no_such};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The guest's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Monotonic {
    /// What it showed when it was last started.
    base: u64,
    /// When that was; `None` while it stands still.
    since: Option<Instant>,
}

impl Monotonic {
    /// A clock that stands still at `base` nanoseconds.
    pub fn standing_at(base: u64) -> Monotonic {
        Monotonic { base, since: None }
    }

    /// Lets it run, if it stands.
    pub fn start(&mut self) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// Moves it on to what a program was told.
    pub fn is_at_least(&mut self, told: u64) {
        self.base = self.base.saturating_add(told.saturating_sub(self.now()));
    }

    /// What it shows, in nanoseconds.
    pub fn now(&self) -> u64 {
        let awake = self.since.map_or(0, |since| since.elapsed().as_nanos());
        self.base.saturating_add(u64::try_from(awake).unwrap_or(u64::MAX))
    }
}

/// Nanoseconds since 1970. A host clock before that shows 0.
pub(crate) fn realtime() -> u64 {
    nanoseconds(SystemTime::now()).unwrap_or(0)
}

/// A time of the host as the guest sees it.
pub(crate) fn nanoseconds(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

impl Host {
    pub fn clock_res_get(
        &mut self,
        memory: &mut [u8],
        id: u32,
        resolution: u32,
    ) -> Result<(), Fail> {
        let res = match Clockid::from_raw(id).ok_or_else(no_such("clock", id))? {
            Clockid::Realtime => os::clock_resolution(true),
            Clockid::Monotonic => os::clock_resolution(false),
            Clockid::ProcessCputime | Clockid::ThreadCputime => return Err(Errno::Badf.into()),
        };
        mem::put_u64(memory, resolution, res)
    }

    pub fn clock_time_get(
        &mut self,
        memory: &mut [u8],
        id: u32,
        _precision: u64,
        time: u32,
    ) -> Result<(), Fail> {
        let id = Clockid::from_raw(id).ok_or_else(no_such("clock", id))?;
        let now = match id {
            Clockid::Realtime => realtime(),
            Clockid::Monotonic => self.clock.now(),
            Clockid::ProcessCputime | Clockid::ThreadCputime => return Err(Errno::Badf.into()),
        };
        let now = self.tape.as_ref().map_or(now, |tape| tape.time(now));
        if self.tape.is_some() && id == Clockid::Monotonic {
            // What was said in another run may be later than it is here: then, and after a resume, it goes on from that.
            self.clock.is_at_least(now);
        }
        mem::put_u64(memory, time, now)
    }
}
