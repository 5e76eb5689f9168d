//! A memory filled when it is touched, page by page, and by and by besides.
//!
//! ```text
//!   program    touches a page that is missing ── waits ──────────────┐
//!   "filler"   is told, reads the page and its neighbours ── fills ──┴──> the program goes on
//!   "filler"   .. and others: what nobody has asked for, in ascending order, until all is there
//! ```
//!
//! Linux only, with userfaultfd: see [`Watch::fill_lazily`]. The pages that are filled count as not written.

use crate::{PageSet, Watch};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Where a memory's pages come from.
pub trait PageSource: Send + Sync + 'static {
    /// Reads pages, in ascending order, on any thread. `into` is as long as they are together.
    ///
    /// # Errors
    /// Why it cannot be done. Whoever touches such a page waits for ever, and [`PageSource::failed`] is told.
    fn read(&self, pages: &[Range<u64>], into: &mut [u8]) -> Result<(), String>;

    /// All pages are there; nothing more is read.
    fn done(&self);

    /// Something could not be read, or the system refused: the program must be ended, because it may wait for a page that
    /// will never come.
    fn failed(&self, why: String);
}

/// A memory being filled; dropped, filling stops. What was not touched before that must not be touched after.
#[derive(Debug)]
pub struct Filling {
    #[allow(dead_code)]
    inner: os::Filling,
}

impl Watch {
    /// Has the pages in `stored` read from `source` when they are touched, and by and by anyway. All others are zero. The memory
    /// has no contents yet, and nobody uses it. From now on it is tracked, with [`Tracking::Userfaultfd`]; what is filled
    /// counts as not written.
    ///
    /// The second result is whether system calls are handled as well. If not, whoever gives the memory to the system
    /// touches it first.
    ///
    /// # Errors
    /// If this host cannot do it; the memory is as it was.
    ///
    /// [`Tracking::Userfaultfd`]: crate::Tracking::Userfaultfd
    pub fn fill_lazily(
        &self,
        stored: PageSet,
        source: Arc<dyn PageSource>,
    ) -> io::Result<(Filling, bool)> {
        let (inner, kernel) = os::begin(self, stored, source)?;
        Ok((Filling { inner }, kernel))
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
#[allow(unsafe_code)]
mod os {
    use super::PageSource;
    use crate::dirty;
    use crate::uffd::{MISSING, PROTECT, USER_MODE_ONLY, Uffd};
    use crate::{PAGE_SIZE, PageSet, Watch};
    use rustix::event::{PollFd, PollFlags, poll};
    use std::io::{self, PipeReader, PipeWriter};
    use std::num::NonZero;
    use std::ops::Range;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};

    /// Stored pages that are read together: as many as a frame of an image has, and in the same order.
    const UNIT: u64 = 64;
    /// Pages that are made zero together: 2 MiB.
    const HOLE: u64 = 512;
    /// Threads at most that fill what nobody has asked for.
    const MAX_FILLERS: usize = 4;

    /// See the outer one.
    #[derive(Debug)]
    pub(super) struct Filling {
        shared: Arc<Shared>,
        /// Closed, it wakes who waits for faults.
        _wake: PipeWriter,
    }

    impl Drop for Filling {
        fn drop(&mut self) {
            self.shared.stop.store(true, Ordering::SeqCst);
        }
    }

    struct Shared {
        uffd: Arc<Uffd>,
        base: usize,
        /// Pages that are registered.
        pages: u64,
        stored: PageSet,
        units: Vec<Unit>,
        /// Holes that were made zero.
        zero: Mutex<PageSet>,
        source: Arc<dyn PageSource>,
        /// Fillers that have not come to the end.
        fillers: AtomicUsize,
        stop: AtomicBool,
        failed: AtomicBool,
    }

    /// Stored pages, which may have holes between them.
    struct Unit {
        pages: Vec<Range<u64>>,
        /// Somebody fills it, or has.
        claimed: AtomicBool,
    }

    impl std::fmt::Debug for Shared {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "{} of {} pages are stored", self.stored.len(), self.pages)
        }
    }

    pub(super) fn begin(
        watch: &Watch,
        stored: PageSet,
        source: Arc<dyn PageSource>,
    ) -> io::Result<(Filling, bool)> {
        if rustix::param::page_size() != PAGE_SIZE {
            return Err(io::Error::other("the host has larger pages"));
        }
        let (uffd, kernel) = match Uffd::open(0) {
            Ok(uffd) => (uffd, true),
            Err(_) => (Uffd::open(USER_MODE_ONLY)?, false),
        };
        let uffd = Arc::new(uffd);
        let (awake, wake) = io::pipe()?;
        let fillers = std::thread::available_parallelism().map_or(1, NonZero::get) - 1;
        let fillers = fillers.clamp(1, MAX_FILLERS);
        let shared = watch.replace_tracking(|mapping| {
            let base = mapping.base.as_ptr() as usize;
            // What it may grow to is zero, and needs nobody.
            // SAFETY: the memory's owner keeps it mapped; the whole pages before `len` are filled by the threads
            // below, each with what it holds or with zeros.
            unsafe {
                uffd.register(base, mapping.len, MISSING | PROTECT)?;
                if mapping.capacity > mapping.len {
                    uffd.register(base + mapping.len, mapping.capacity - mapping.len, PROTECT)?;
                }
            }
            let dirty = dirty::begin_filling(uffd.clone(), mapping)?;
            let shared = Shared {
                uffd: uffd.clone(),
                base,
                pages: (mapping.len / PAGE_SIZE) as u64,
                units: units(&stored),
                stored,
                zero: Mutex::default(),
                source,
                fillers: AtomicUsize::new(fillers),
                stop: AtomicBool::new(false),
                failed: AtomicBool::new(false),
            };
            Ok((dirty, Arc::new(shared)))
        })?;
        let spawn = |work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name("filler".into()).spawn(work).map(drop)
        };
        let faults = shared.clone();
        // Without it nothing may be touched; the descriptor is closed then, and the memory as it was.
        if let Err(e) = spawn(Box::new(move || faults.serve(&awake))) {
            let _ = watch.replace_tracking(|_| Err::<(_, ()), _>(io::Error::other("no thread")));
            return Err(e);
        }
        for part in 0..fillers {
            let theirs = shared.clone();
            if spawn(Box::new(move || theirs.fill_part(part, fillers))).is_err() {
                // Those that are touched come all the same; but `done` will not be told, so do it here.
                shared.fill_part(part, fillers);
            }
        }
        Ok((Filling { shared, _wake: wake }, kernel))
    }

    impl Shared {
        /// Fills what is touched, until all is filled or nobody wants it any more.
        fn serve(&self, awake: &PipeReader) {
            while !self.stop.load(Ordering::SeqCst) && !self.failed.load(Ordering::SeqCst) {
                let uffd = self.uffd.fd();
                let mut fds =
                    [PollFd::new(&uffd, PollFlags::IN), PollFd::new(awake, PollFlags::IN)];
                match poll(&mut fds, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(e) => return self.fail(io::Error::from(e).to_string()),
                }
                loop {
                    match self.uffd.next_fault() {
                        Ok(Some(address)) => self.touched(address),
                        Ok(None) => break,
                        Err(e) => return self.fail(e.to_string()),
                    }
                }
            }
        }

        fn touched(&self, address: usize) {
            let Some(page) = address.checked_sub(self.base).map(|at| (at / PAGE_SIZE) as u64)
            else {
                return;
            };
            if page >= self.pages {
                return;
            }
            if self.stored.contains(page) {
                let after = self.units.partition_point(|unit| unit.pages[0].start <= page);
                return self.fill(&self.units[after - 1]);
            }
            // All of the hole that lies near.
            let near = page / HOLE * HOLE;
            let near = near..(near + HOLE).min(self.pages);
            let start = (near.start..page).rev().find(|page| self.stored.contains(*page));
            let start = start.map_or(near.start, |page| page + 1);
            let end = (page..near.end).find(|page| self.stored.contains(*page)).unwrap_or(near.end);
            let mut hole = PageSet::default();
            hole.insert(start..end);
            let mut zero = self.zero.lock().unwrap_or_else(PoisonError::into_inner);
            hole.remove_all(&zero);
            zero.insert_all(&hole);
            for run in hole.runs() {
                let (at, len) = bytes(&run);
                if let Err(e) = self.uffd.zero(self.base + at, len) {
                    return self.fail(format!("pages cannot be made zero: {e}"));
                }
            }
        }

        /// Of all units, every `of`th from `part` on.
        fn fill_part(&self, part: usize, of: usize) {
            for unit in self.units.iter().skip(part).step_by(of) {
                if self.stop.load(Ordering::SeqCst) || self.failed.load(Ordering::SeqCst) {
                    return;
                }
                self.fill(unit);
            }
            if self.fillers.fetch_sub(1, Ordering::SeqCst) == 1
                && !self.failed.load(Ordering::SeqCst)
            {
                self.source.done();
            }
        }

        /// Fills a unit, unless somebody else does, who will wake up who waits.
        fn fill(&self, unit: &Unit) {
            if unit.claimed.swap(true, Ordering::SeqCst) {
                return;
            }
            let pages = unit.pages.iter().map(|run| run.end - run.start).sum::<u64>();
            let mut buffer = vec![0; pages as usize * PAGE_SIZE];
            // Whoever waits for a page must not wait for a thread that is no more.
            let read = AssertUnwindSafe(|| self.source.read(&unit.pages, &mut buffer));
            let read = catch_unwind(read).unwrap_or_else(|_| Err("its reader failed".to_owned()));
            if let Err(why) = read {
                return self.fail(why);
            }
            let mut rest = &buffer[..];
            for run in &unit.pages {
                let (at, len) = bytes(run);
                let (now, later) = rest.split_at(len);
                if let Err(e) = self.uffd.copy(self.base + at, now) {
                    return self.fail(format!("pages cannot be filled: {e}"));
                }
                rest = later;
            }
        }

        fn fail(&self, why: String) {
            // A memory that is gone needs nothing any more.
            if !self.stop.load(Ordering::SeqCst) && !self.failed.swap(true, Ordering::SeqCst) {
                self.source.failed(why);
            }
        }
    }

    fn units(stored: &PageSet) -> Vec<Unit> {
        let mut units = vec![];
        let (mut pages, mut room) = (vec![], UNIT);
        for mut run in stored.runs() {
            while !run.is_empty() {
                let end = run.end.min(run.start + room);
                room -= end - run.start;
                pages.push(run.start..end);
                run.start = end;
                if room == 0 {
                    room = UNIT;
                    let pages = std::mem::take(&mut pages);
                    units.push(Unit { pages, claimed: AtomicBool::new(false) });
                }
            }
        }
        if !pages.is_empty() {
            units.push(Unit { pages, claimed: AtomicBool::new(false) });
        }
        units
    }

    fn bytes(pages: &Range<u64>) -> (usize, usize) {
        let byte = |page: u64| page as usize * PAGE_SIZE;
        (byte(pages.start), byte(pages.end - pages.start))
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod os {
    use super::PageSource;
    use crate::{PageSet, Watch};
    use std::io;
    use std::sync::Arc;

    #[derive(Debug)]
    pub(super) struct Filling;

    pub(super) fn begin(
        _: &Watch,
        _: PageSet,
        _: Arc<dyn PageSource>,
    ) -> io::Result<(Filling, bool)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux fills memories lazily"))
    }
}
