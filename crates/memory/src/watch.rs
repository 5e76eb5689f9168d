//! A memory as other threads may see it while its program runs: which pages were written, and copies of them.
//!
//! ```text
//!   program's thread            Watch                       another thread
//!   LinearMemory ── grows ──> { mapping, dirty pages } <── take_running, copy_running
//!                   moves            one lock
//!                   ends
//! ```
//!
//! The lock is what keeps the mapping where it is while somebody looks at it; a program that grows its memory meanwhile waits
//! for that. A program that only reads and writes never does.
//!
//! A running program's bytes are copied by the kernel (`process_vm_readv`): a copy by us would race with the program's
//! writes. What such a copy holds of a page that was written meanwhile is of no use; but then the page is told again.

use crate::dirty::{self, DirtyPages, Mapping};
use crate::{PAGE_SIZE, PageSet, Since, Tracking};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A [`LinearMemory`](crate::LinearMemory), watched.
#[derive(Clone, Debug)]
pub struct Watch {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    /// None once it is no more.
    mapping: Option<Mapping>,
    dirty: Option<Box<dyn DirtyPages>>,
}

impl Watch {
    pub(crate) fn of(mapping: Mapping) -> Watch {
        Watch { shared: Arc::new(Mutex::new(Shared { mapping: Some(mapping), dirty: None })) }
    }

    /// Bytes it has now; none once it is gone.
    pub fn len(&self) -> usize {
        self.lock().mapping.map_or(0, |mapping| mapping.len)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no such memory any more.
    pub fn is_gone(&self) -> bool {
        self.lock().mapping.is_none()
    }

    /// Whether this is the memory that begins at `base`.
    pub fn is_at(&self, base: *const u8) -> bool {
        self.lock().mapping.is_some_and(|mapping| std::ptr::eq(mapping.base.as_ptr(), base))
    }

    /// Begins to track which pages are written, or begins again. `bytes` are the memory's own if the program stands
    /// still; the ways that work while it runs can do without.
    ///
    /// # Errors
    /// If this cannot be done here in the way that was asked for. Nothing is tracked then.
    pub fn begin(
        &self,
        tracking: Tracking,
        since: Since,
        bytes: Option<&[u8]>,
    ) -> io::Result<Tracking> {
        let mut shared = self.lock();
        let mapping = shared.mapping.ok_or_else(gone)?;
        if let Some(mut before) = shared.dirty.take() {
            before.end(mapping);
        }
        let begun = dirty::begin(tracking, mapping, since, bytes)?;
        let tracking = begun.tracking();
        shared.dirty = Some(begun);
        Ok(tracking)
    }

    /// The way in which it is tracked, if it is.
    pub fn tracking(&self) -> Option<Tracking> {
        self.lock().dirty.as_ref().map(|dirty| dirty.tracking())
    }

    /// Whether [`Watch::take_running`] and [`Watch::copy_running`] work.
    pub fn while_running(&self) -> bool {
        self.lock().dirty.as_ref().is_some_and(|dirty| dirty.while_running()) && os::can_copy()
    }

    /// The pages written since the last call, or since tracking began; from now on they count as not written. The program
    /// may run.
    ///
    /// # Errors
    /// If nothing is tracked, or not in a way that can be asked while the program runs; or what the system says. Which pages
    /// were written is not known then: begin anew.
    pub fn take_running(&self, into: &mut PageSet) -> io::Result<()> {
        self.lock().take(None, into)
    }

    /// The same while the program stands still; `bytes` are the memory's.
    ///
    /// # Errors
    /// As [`Watch::take_running`].
    pub fn take(&self, bytes: &[u8], into: &mut PageSet) -> io::Result<()> {
        self.lock().take(Some(bytes), into)
    }

    /// Copies bytes from `offset` on, while the program runs: whatever they are at some moment during the call.
    ///
    /// # Errors
    /// If they are not all there, or the system refuses.
    pub fn copy_running(&self, offset: usize, into: &mut [u8]) -> io::Result<()> {
        let shared = self.lock();
        let mapping = shared.mapping.ok_or_else(gone)?;
        let end = offset.checked_add(into.len()).filter(|end| *end <= mapping.len);
        end.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the memory"))?;
        // The lock is held: the mapping stays.
        os::copy(mapping.base.as_ptr() as usize + offset, into)
    }

    /// Tracks it with what `begin` makes, or not at all if that fails.
    #[cfg(all(target_os = "linux", not(miri)))]
    pub(crate) fn replace_tracking<T>(
        &self,
        begin: impl FnOnce(Mapping) -> io::Result<(Box<dyn DirtyPages>, T)>,
    ) -> io::Result<T> {
        let mut shared = self.lock();
        let mapping = shared.mapping.ok_or_else(gone)?;
        if let Some(mut before) = shared.dirty.take() {
            before.end(mapping);
        }
        let (dirty, made) = begin(mapping)?;
        shared.dirty = Some(dirty);
        Ok(made)
    }

    /// The memory has another mapping now, or a longer one.
    pub(crate) fn changed(&self, new: Mapping) {
        let mut shared = self.lock();
        let Some(old) = shared.mapping.replace(new) else { return };
        let Some(mut dirty) = shared.dirty.take() else { return };
        let kept = old.base == new.base && dirty.grown(new, old.len).is_ok();
        // One that moved is tracked no more, and so is none that could not be followed.
        if kept {
            shared.dirty = Some(dirty);
        }
    }

    /// Before the mapping goes: nobody looks at it any more once this returns.
    pub(crate) fn leave(&self) {
        let mut shared = self.lock();
        let (mapping, dirty) = (shared.mapping.take(), shared.dirty.take());
        if let (Some(mapping), Some(mut dirty)) = (mapping, dirty) {
            dirty.end(mapping);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn take(&mut self, bytes: Option<&[u8]>, into: &mut PageSet) -> io::Result<()> {
        let Shared { mapping: Some(mapping), dirty: Some(dirty) } = self else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "its pages are not tracked"));
        };
        dirty.take(*mapping, bytes, into)
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the memory is gone")
}

/// Bytes that are copied by one call.
const AT_ONCE: usize = 64 * PAGE_SIZE;

#[cfg(all(target_os = "linux", not(miri)))]
#[allow(unsafe_code)]
mod os {
    use super::AT_ONCE;
    use std::io;
    use std::sync::OnceLock;

    /// Some containers forbid it.
    pub(super) fn can_copy() -> bool {
        static CAN: OnceLock<bool> = OnceLock::new();
        *CAN.get_or_init(|| {
            let (from, mut to) = ([7_u8; 16], [0; 16]);
            copy(from.as_ptr() as usize, &mut to).is_ok() && from == to
        })
    }

    /// Copies from `address` on. What cannot be read there is an error and nothing worse: it is the kernel that reads.
    pub(super) fn copy(address: usize, into: &mut [u8]) -> io::Result<()> {
        let mut at = address;
        for part in into.chunks_mut(AT_ONCE) {
            let mut done = 0;
            while done < part.len() {
                let rest = &mut part[done..];
                let to = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
                let from = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: rest.len() };
                // SAFETY: `to` is a slice that is exclusively ours. `from` is only read, by the kernel, as another
                // process could.
                let copied = unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) };
                match usize::try_from(copied) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(copied) => {
                        done += copied;
                        at += copied;
                    }
                    Err(_) => return Err(io::Error::last_os_error()),
                }
            }
        }
        Ok(())
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod os {
    use std::io;

    pub(super) fn can_copy() -> bool {
        false
    }

    pub(super) fn copy(_: usize, into: &mut [u8]) -> io::Result<()> {
        let _ = super::AT_ONCE.min(into.len());
        Err(io::ErrorKind::Unsupported.into())
    }
}
