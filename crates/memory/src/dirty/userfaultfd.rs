//! Userfaultfd's asynchronous write protection: the kernel notes writes in the page tables, and is asked with `PAGEMAP_SCAN`.
//!
//! ```text
//!   page table entry    protected ── a write: minor fault, the kernel takes the protection away ──> written
//!                           ^                                                                          │
//!                           └────────── PAGEMAP_SCAN: tell, and protect again (one step) <─────────────┘
//! ```
//!
//! Nobody handles these faults in user space, so they need no privilege, and writes that the kernel itself does for a system
//! call are noticed as well. Pages that were never touched are not told.
//! See <https://docs.kernel.org/admin-guide/mm/pagemap.html> and <https://docs.kernel.org/admin-guide/mm/userfaultfd.html>.

use super::{DirtyPages, Mapping, Since, Tracking};
use crate::uffd::{PROTECT, USER_MODE_ONLY, Uffd, ioctl};
use crate::{PAGE_SIZE, PageSet};
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// Ranges that are told by one call: a thread's 96 KiB.
const RANGES: usize = 4096;

#[derive(Debug)]
pub(super) struct Userfaultfd {
    /// Closing it ends the protection.
    _uffd: Arc<Uffd>,
    pagemap: File,
}

impl Userfaultfd {
    pub fn begin(memory: Mapping, since: Since) -> io::Result<Userfaultfd> {
        // Nobody handles these faults in user space, so that is privilege enough.
        let uffd = Uffd::open(USER_MODE_ONLY)?;
        // SAFETY: the range is a mapping of the memory's owner, whole pages of it.
        unsafe { uffd.register(memory.base.as_ptr() as usize, memory.capacity, PROTECT)? };
        Userfaultfd::with(Arc::new(uffd), memory, since)
    }

    /// With one that the memory is registered with for [`PROTECT`].
    pub fn with(uffd: Arc<Uffd>, memory: Mapping, since: Since) -> io::Result<Userfaultfd> {
        let pagemap = File::open("/proc/self/pagemap")?;
        let mut this = Userfaultfd { _uffd: uffd, pagemap };
        if since == Since::Now {
            this.take(memory, None, &mut PageSet::default())?;
        } else {
            // Whether it works, seen on the first page of WebAssembly's; nothing is protected yet.
            let ranges = &mut [Region::default(); 1];
            let len = memory.len.min(1 << 16) as u64;
            let scan = Scan::of(memory.base.as_ptr() as u64, len, ranges);
            this.scan(&mut Scan { flags: SCAN_CHECK, ..scan })?;
        }
        Ok(this)
    }

    fn scan(&mut self, scan: &mut Scan) -> io::Result<usize> {
        // SAFETY: `Scan` is laid out as the kernel's `struct pm_scan_arg`, and points to as many `Region`s as it says,
        // which are exclusively borrowed by whoever made it. Write protection of pages of the memory changes
        // nothing that can be seen but how long a write takes.
        unsafe { ioctl(self.pagemap.as_raw_fd(), PAGEMAP_SCAN, scan) }
    }
}

impl DirtyPages for Userfaultfd {
    fn tracking(&self) -> Tracking {
        Tracking::Userfaultfd
    }

    fn while_running(&self) -> bool {
        true
    }

    fn grown(&mut self, _: Mapping, _: usize) -> io::Result<()> {
        // Up to its capacity it was registered; new pages count as written once they are touched.
        Ok(())
    }

    fn take(&mut self, memory: Mapping, _: Option<&[u8]>, into: &mut PageSet) -> io::Result<()> {
        let base = memory.base.as_ptr() as u64;
        let end = base + memory.len as u64;
        let mut start = base;
        let mut ranges = vec![Region::default(); RANGES];
        while start < end {
            let mut scan = Scan::of(start, end - start, &mut ranges);
            let found = self.scan(&mut scan)?;
            for range in ranges.iter().take(found) {
                let page =
                    |address: u64| (address.clamp(base, end) - base).div_ceil(PAGE_SIZE as u64);
                into.insert(page(range.start)..page(range.end));
            }
            if scan.walk_end <= start {
                return Err(io::Error::other("PAGEMAP_SCAN does not come to an end"));
            }
            start = scan.walk_end;
        }
        Ok(())
    }

    fn end(&mut self, _: Mapping) {}
}

const PAGEMAP_SCAN: libc::Ioctl = libc::_IOWR::<Scan>(b'f' as u32, 16);
/// Protect what is told.
const SCAN_PROTECT: u64 = 1;
/// Fail where protection is not asynchronous.
const SCAN_CHECK: u64 = 2;
const IS_WRITTEN: u64 = 1 << 1;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Region {
    start: u64,
    end: u64,
    _categories: u64,
}

#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    ranges: u64,
    ranges_len: u64,
    max_pages: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    told: u64,
}

impl Scan {
    /// For pages that were written and are there.
    fn of(start: u64, len: u64, ranges: &mut [Region]) -> Scan {
        Scan {
            size: size_of::<Scan>() as u64,
            flags: SCAN_PROTECT | SCAN_CHECK,
            start,
            end: start + len,
            walk_end: 0,
            ranges: ranges.as_mut_ptr() as u64,
            ranges_len: ranges.len() as u64,
            max_pages: 0,
            inverted: 0,
            all_of: IS_WRITTEN,
            any_of: IS_PRESENT | IS_SWAPPED,
            told: IS_WRITTEN,
        }
    }
}
