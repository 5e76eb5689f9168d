//! Which pages of a memory were written since it was last asked: one trait, three ways.
//!
//! ```text
//!                 noticed by                           asked while the program runs?   a first write to a page costs
//!   userfaultfd   the kernel, in the page tables       yes                             a minor page fault
//!   mprotect      a signal: pages are read-only        yes                             a signal and a system call
//!   compare       comparing all pages' fingerprints    no: while it stands             nothing
//! ```
//!
//! Each of them may say that a page was written though it was not; none ever misses one. [`Tracking::Auto`] takes the first
//! that works on this host.

mod compare;
#[cfg(all(target_os = "linux", not(miri)))]
mod protect;
#[cfg(all(target_os = "linux", not(miri)))]
mod userfaultfd;

use crate::PageSet;
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::str::FromStr;

/// How it is found out which pages were written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// The first of the others that works here.
    #[default]
    Auto,
    /// Linux 6.7 and later: userfaultfd's asynchronous write protection, and the ioctl `PAGEMAP_SCAN`. Needs no privilege,
    /// but some containers forbid it.
    Userfaultfd,
    /// Linux: pages are made read-only, and a handler of SIGSEGV notes who is written to.
    Mprotect,
    /// Anywhere: all pages are compared with what they were, by fingerprints.
    Compare,
}

impl Tracking {
    const NAMES: [(Tracking, &'static str); 4] = [
        (Tracking::Auto, "auto"),
        (Tracking::Userfaultfd, "userfaultfd"),
        (Tracking::Mprotect, "mprotect"),
        (Tracking::Compare, "compare"),
    ];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(way, _)| *way == self).map_or("auto", |(_, name)| name)
    }
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Tracking {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::NAMES.iter().find(|(_, name)| *name == text);
        known
            .map(|(way, _)| *way)
            .ok_or_else(|| format!("\"{text}\" is none of auto, userfaultfd, mprotect and compare"))
    }
}

/// What counts as written when tracking begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// Whatever is not zero, or may not be.
    Zero,
    /// What is written from now on.
    Now,
}

/// Where a memory lies now: `base` is aligned to the host's pages, `len <= capacity`, and the bytes before `len` can be read.
/// Only its owner makes one, and keeps it mapped while it is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub base: NonNull<u8>,
    pub len: usize,
    #[cfg_attr(not(all(target_os = "linux", not(miri))), expect(dead_code))]
    pub capacity: usize,
}

// SAFETY: it is an address; whoever uses it keeps the mapping alive (see `Watch`).
unsafe impl Send for Mapping {}

/// A way to find out which pages of one memory were written.
///
/// All calls get the memory's mapping as it is then, from its owner, who makes no other call meanwhile.
pub(crate) trait DirtyPages: Send + fmt::Debug {
    /// Which way.
    fn tracking(&self) -> Tracking;

    /// Whether [`DirtyPages::take`] can be called while the program runs.
    fn while_running(&self) -> bool;

    /// The memory grew in place, from `old_len`; what is new is zero. No program runs.
    fn grown(&mut self, memory: Mapping, old_len: usize) -> io::Result<()>;

    /// Adds the pages written since the last call; from now on they count as not written. `bytes` are those of the
    /// memory if the program stands still.
    ///
    /// Whatever is written while this runs is either visible to whoever copies the page afterwards, or noticed the next time.
    fn take(&mut self, memory: Mapping, bytes: Option<&[u8]>, into: &mut PageSet)
    -> io::Result<()>;

    /// The memory will be unmapped, or not be tracked any more: all of it can be written as before.
    fn end(&mut self, memory: Mapping);
}

/// Begins to track a memory whose pages are being filled: those that are there are protected already.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn begin_filling(
    uffd: std::sync::Arc<crate::uffd::Uffd>,
    memory: Mapping,
) -> io::Result<Box<dyn DirtyPages>> {
    Ok(Box::new(userfaultfd::Userfaultfd::with(uffd, memory, Since::Zero)?))
}

/// Begins to track a memory. `bytes` are its own, if the program stands still.
pub(crate) fn begin(
    tracking: Tracking,
    memory: Mapping,
    since: Since,
    bytes: Option<&[u8]>,
) -> io::Result<Box<dyn DirtyPages>> {
    #[cfg(all(target_os = "linux", not(miri)))]
    match tracking {
        Tracking::Auto => {
            for way in [Tracking::Userfaultfd, Tracking::Mprotect] {
                match begin(way, memory, since, bytes) {
                    Ok(dirty) => return Ok(dirty),
                    Err(e) => tracing::debug!("pages are not tracked with {way}: {e}"),
                }
            }
        }
        Tracking::Userfaultfd => {
            return Ok(Box::new(userfaultfd::Userfaultfd::begin(memory, since)?));
        }
        Tracking::Mprotect => return Ok(Box::new(protect::Protect::begin(memory, since)?)),
        Tracking::Compare => {}
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = memory;
    if matches!(tracking, Tracking::Auto | Tracking::Compare) {
        return Ok(Box::new(compare::Compare::begin(since, bytes)?));
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("{tracking} exists on Linux only")))
}
