//! A range of address space whose front part can be used. All `unsafe` code of the crate is here.
//!
//! ```text
//!   base                accessible                          len
//!    |  read and write   |  a touch faults                   |
//! ```
//!
//! What holds for every [`Reservation`], and what each SAFETY comment below refers to:
//!
//! - *owned*: `base .. base + len` is one live allocation of its own (a mapping, or a heap block
//!   where there is no `mmap`), `len > 0`; nothing else frees, maps or protects any of it.
//! - *accessible*: `accessible <= len`, and the bytes before it can be read and written and were
//!   zero before anybody wrote them. It only grows, and only through `&mut self`.
//! - *lent*: whoever writes through the pointer that `base()` gives makes sure that no slice from
//!   `bytes()` or `bytes_mut()` is alive and no other thread reads. To write there takes `unsafe`
//!   at the writer's, and `LinearMemory::base` states this rule.

use std::io;
use std::ptr::NonNull;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reservation {
    base: NonNull<u8>,
    len: usize,
    accessible: usize,
}

// SAFETY: by *owned*, the range belongs to this value and not to the thread that made it.
unsafe impl Send for Reservation {}
// SAFETY: through `&Reservation` safe code can only read, and by *lent* nobody writes meanwhile.
unsafe impl Sync for Reservation {}

/// Whether this host has pages that fault when touched. Where it has not, [`Layout::guard`] must be
/// zero and compiled code needs bounds checks.
///
/// [`Layout::guard`]: crate::Layout::guard
pub const CAN_GUARD: bool = os::CAN_GUARD;

/// Bytes of a page of the host.
pub(crate) fn host_page_size() -> usize {
    os::page_size()
}

impl Reservation {
    /// Reserves `len` bytes, none of them accessible. `len` is a multiple of the host's page size,
    /// not zero, and at most `isize::MAX`.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        assert!(len > 0 && len <= isize::MAX as usize && len.is_multiple_of(os::page_size()));
        Ok(Self { base: os::reserve(len)?, len, accessible: 0 })
    }

    /// Makes the first `accessible` bytes readable and writable; they keep what they hold, and new
    /// ones are zero. On failure nothing has changed. `accessible` is a multiple of the host's page
    /// size and not less than before.
    pub(crate) fn make_accessible(&mut self, accessible: usize) -> io::Result<()> {
        assert!(self.accessible <= accessible && accessible <= self.len);
        assert!(accessible.is_multiple_of(os::page_size()));
        if accessible > self.accessible {
            // SAFETY: by *owned* and the assertions the range is a part of our own allocation, whole
            // pages of it, and by *accessible* nobody uses it yet.
            unsafe { os::make_accessible(self.base, self.accessible, accessible)? };
            self.accessible = accessible;
        }
        Ok(())
    }

    /// Where it begins: aligned to the host's pages, never moves.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The accessible part.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: by *accessible* these bytes can be read and hold a value; by *lent* nobody writes
        // them while the slice lives; `len <= isize::MAX` was asserted in `new`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.accessible) }
    }

    /// The accessible part, to write.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; `&mut self` keeps other slices away, *lent* other pointers.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.accessible) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: by *owned* the whole range is ours to free, this happens once, and slices of it
        // cannot outlive the value.
        unsafe { os::release(self.base, self.len) };
    }
}

#[cfg(all(unix, not(miri)))]
mod os {
    use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
    use std::io;
    use std::ptr::{self, NonNull};

    pub(super) const CAN_GUARD: bool = true;

    pub(super) fn page_size() -> usize {
        rustix::param::page_size()
    }

    pub(super) fn reserve(len: usize) -> io::Result<NonNull<u8>> {
        // Without it, hosts that count what is promised refuse a memory that might grow to 4 GiB.
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        let flags = MapFlags::PRIVATE;
        // SAFETY: a null address lets the host choose, so no mapping that exists is replaced.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), flags)? };
        NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap chose address zero"))
    }

    /// # Safety
    /// `base + from .. base + to` must be whole pages of a mapping that the caller owns.
    pub(super) unsafe fn make_accessible(
        base: NonNull<u8>,
        from: usize,
        to: usize,
    ) -> io::Result<()> {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: `from` lies in the mapping, says the caller, who owns what is protected here; to
        // give access takes nothing from anybody.
        unsafe { mprotect(base.add(from).as_ptr().cast(), to - from, access)? };
        Ok(())
    }

    /// # Safety
    /// `base` and `len` must be those of one call of `reserve`, released once, and not used again.
    pub(super) unsafe fn release(base: NonNull<u8>, len: usize) {
        // SAFETY: the caller's promise is the one that munmap needs.
        let unmapped = unsafe { munmap(base.as_ptr().cast(), len) };
        debug_assert!(unmapped.is_ok(), "munmap: {unmapped:?}");
    }
}

/// Hosts without `mmap`: all of it is allocated at once, and nothing faults. (Miri has no `mprotect`
/// either, and so checks the rules above on this one.)
#[cfg(not(all(unix, not(miri))))]
mod os {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::io;
    use std::ptr::NonNull;

    pub(super) const CAN_GUARD: bool = false;

    const PAGE: usize = 4096;

    pub(super) fn page_size() -> usize {
        PAGE
    }

    pub(super) fn reserve(len: usize) -> io::Result<NonNull<u8>> {
        let layout = Layout::from_size_align(len, PAGE).map_err(io::Error::other)?;
        // SAFETY: `Reservation::new` asserts that `len` is not zero.
        let base = unsafe { alloc_zeroed(layout) };
        NonNull::new(base).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// # Safety
    /// None is needed here; it is as on hosts with `mmap`.
    pub(super) unsafe fn make_accessible(
        _base: NonNull<u8>,
        _from: usize,
        _to: usize,
    ) -> io::Result<()> {
        Ok(())
    }

    /// # Safety
    /// `base` and `len` must be those of one call of `reserve`, released once, and not used again.
    pub(super) unsafe fn release(base: NonNull<u8>, len: usize) {
        let layout = Layout::from_size_align(len, PAGE).expect("`reserve` made the same layout");
        // SAFETY: `base` came from `alloc_zeroed` with this layout and is freed once, says the caller.
        unsafe { dealloc(base.as_ptr(), layout) };
    }
}
