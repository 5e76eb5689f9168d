//! How far a save or a load has come, and what it took: counted as it goes, looked at by whoever wants to.
//!
//! ```text
//!   let _work = meter.work();      this thread works for the meter now
//!   store.save(..)      ── add ──> Meter <── done, total ── a bar on a terminal, ten times a second
//!     └ its own threads ── work ──>  └──── stored, time ──> statistics, when it is over
//! ```
//!
//! Nobody is called: an addition for every megabyte or so is all it costs. The meter goes with the thread, and not through
//! every call, because hardly any of them has a use for it.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

thread_local! {
    /// What this thread works for.
    static CURRENT: RefCell<Option<Meter>> = const { RefCell::new(None) };
}

/// What saves or loads have done so far. Clones are the same meter.
///
/// ```
/// # use dormouse_state::{Frame, Memory, Site, State};
/// use dormouse_store::{MemoryPages, Meter, NewCheckpoint, Store, sha256};
///
/// # let dir = tempfile::tempdir()?;
/// # let store = Store::create_or_open(&dir.path().join("store"))?;
/// # let module = b"\0asm\x01\0\0\0";
/// # let state = State {
/// #     module_digest: sha256(module),
/// #     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
/// #     globals: vec![], tables: vec![], exceptions: vec![],
/// #     memories: vec![Memory { index: 0, pages: 1 }],
/// #     dropped_data: vec![], dropped_elems: vec![], wasi: vec![], host: vec![],
/// # };
/// let memory = vec![1; 65536];
/// let meter = Meter::default();
/// {
///     let _work = meter.work();
///     let all = [MemoryPages::whole(0, &memory)];
///     store.save("sim", NewCheckpoint::new(module, &state, &all))?;
/// }
/// assert_eq!((meter.done(), meter.total()), (65536, 65536));
/// assert!(meter.stored() < 65536, "compressed");
/// println!("{:?} of processor time", meter.time());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    total: AtomicU64,
    stored: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    /// Bytes that have been read, or taken in to be written.
    pub fn done(&self) -> u64 {
        self.0.done.load(Relaxed)
    }

    /// How many there will be, as far as is known: 0 at first.
    pub fn total(&self) -> u64 {
        self.0.total.load(Relaxed)
    }

    /// Bytes of the blobs that were written: layers and the state; the module, if the store did not have it; the manifest.
    pub fn stored(&self) -> u64 {
        self.0.stored.load(Relaxed)
    }

    /// Processor time of the threads that worked for it; of those that still do, not yet.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.0.nanos.load(Relaxed))
    }

    /// From now on, until that is dropped, this thread works for the meter, and so do threads that a store begins for it.
    pub fn work(&self) -> Work {
        let before = CURRENT.replace(Some(self.clone()));
        Work { meter: self.clone(), before, since: thread_time(), of_this_thread: PhantomData }
    }

    /// What this thread works for; nothing that anybody looks at, if for nothing.
    pub(crate) fn current() -> Meter {
        CURRENT.with_borrow(|current| current.clone()).unwrap_or_default()
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Relaxed);
    }

    /// There will be so many bytes more than was known. Stores say this by themselves, but for [`crate::Store::verify`].
    pub fn expect(&self, bytes: u64) {
        self.0.total.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn store(&self, bytes: u64) {
        self.0.stored.fetch_add(bytes, Relaxed);
    }
}

/// A thread that works for what a [`Meter`] counts.
#[must_use]
#[derive(Debug)]
pub struct Work {
    meter: Meter,
    /// What it worked for until then.
    before: Option<Meter>,
    since: Duration,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Work {
    fn drop(&mut self) {
        CURRENT.set(self.before.take());
        let time = thread_time().saturating_sub(self.since);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.meter.0.nanos.fetch_add(nanos, Relaxed);
    }
}

/// Processor time that this thread has used.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Not known here.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn it_counts_work_and_not_sleep() {
        let meter = Meter::default();
        let other = meter.clone();
        let worker = std::thread::spawn(move || {
            let _work = other.work();
            let (start, mut n) = (std::time::Instant::now(), 0u64);
            while other.0.done.load(Relaxed) == 0 {
                n = std::hint::black_box(n + 1);
            }
            (start.elapsed(), n)
        });
        std::thread::sleep(Duration::from_millis(30));
        meter.add(1);
        let (took, n) = worker.join().unwrap();
        let busy = meter.time();
        assert!(
            n > 0 && busy > Duration::ZERO && busy <= took + Duration::from_millis(20),
            "{busy:?}"
        );

        let idle = Meter::default();
        {
            let _work = idle.work();
            std::thread::sleep(Duration::from_millis(200));
        }
        assert!(idle.time() < Duration::from_millis(150), "{:?}", idle.time());
    }

    #[test]
    fn one_within_another() {
        let (outer, inner) = (Meter::default(), Meter::default());
        Meter::current().add(1);
        let working = outer.work();
        Meter::current().add(2);
        {
            let _work = inner.work();
            Meter::current().add(4);
        }
        Meter::current().add(8);
        drop(working);
        Meter::current().add(16);
        assert_eq!((outer.done(), inner.done()), (10, 4));
    }
}
