//! Read-only pages, and a handler of SIGSEGV that notes who is written to.
//!
//! ```text
//!   written[page]   0, the page read-only ── a write: SIGSEGV ──> read-write, then written[page] = 1; the write is done again
//!                   ^                                                                         │
//!                   └─────────────── take: 1 -> 0, then read-only, then it may be copied <────┘
//! ```
//!
//! The order on both sides is what makes it exact while the program runs: a page whose mark is 0 is read-only or was made
//! read-write by a handler that will still set the mark before its write; a write that happens before a page becomes
//! read-only is seen by whoever copies it afterwards.
//!
//! Every run of pages that can be written takes a mapping of its own, and a process may have some 65,000 of them. When they
//! run out all of the memory is made writable, and counts as written.
//!
//! Writes that the kernel does for a system call raise no signal: the call fails with EFAULT. Whoever gives such memory to
//! the kernel touches it first.

use super::{DirtyPages, Mapping, Since, Tracking};
use crate::{PAGE_SIZE, PageSet};
use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Memories that can be tracked at a time in a process.
const MOST: usize = 64;

/// What the handler looks at. Only under [`TAKING`] is a region taken or given back.
static REGIONS: [Region; MOST] = [const { Region::free() }; MOST];
static TAKING: Mutex<()> = Mutex::new(());
/// What handled SIGSEGV before; set before any region is.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// A tracked memory. While `base` is not zero, `base .. base + len` is mapped, and `written` points to a mark for each of
/// its host pages.
struct Region {
    base: AtomicUsize,
    len: AtomicUsize,
    page: AtomicUsize,
    written: AtomicPtr<AtomicU8>,
    /// All of it is writable, and counts as written.
    all: AtomicBool,
}

impl Region {
    const fn free() -> Region {
        Region {
            base: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            page: AtomicUsize::new(0),
            written: AtomicPtr::new(null_mut()),
            all: AtomicBool::new(false),
        }
    }

    /// In the handler: lets the write at `address` be done, if it is to this memory. Only system calls and atomics.
    fn let_write(&self, address: usize) -> bool {
        let base = self.base.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        if base == 0 || address < base || address - base >= len {
            return false;
        }
        let page = self.page.load(Ordering::Acquire);
        // Between these loads it may have become another memory's: then the address is not in it.
        if self.base.load(Ordering::Acquire) != base {
            return false;
        }
        let number = (address - base) / page;
        if protect(base + number * page, page, libc::PROT_READ | libc::PROT_WRITE) {
            // SAFETY: by the region's rule there is a mark for this page.
            unsafe { &*self.written.load(Ordering::Relaxed).add(number) }
                .store(1, Ordering::SeqCst);
            return true;
        }
        // Too many mappings; one for all of it can always be had.
        let all = protect(base, len, libc::PROT_READ | libc::PROT_WRITE);
        self.all.fetch_or(all, Ordering::SeqCst);
        all
    }
}

#[derive(Debug)]
pub(super) struct Protect {
    slot: usize,
    /// A mark for each page of the capacity; lives as long as the region has its address.
    written: Box<[AtomicU8]>,
    page: usize,
}

impl Protect {
    pub fn begin(memory: Mapping, since: Since) -> io::Result<Protect> {
        install()?;
        let page = rustix::param::page_size();
        if page < PAGE_SIZE {
            return Err(io::Error::other("the host's pages are too small"));
        }
        let count = memory.capacity.div_ceil(page).max(1);
        let mut written: Vec<AtomicU8> = Vec::new();
        written.try_reserve_exact(count).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let first = match since {
            Since::Zero => 1,
            Since::Now => 0,
        };
        let used = memory.len.div_ceil(page);
        written
            .extend((0..count).map(|number| AtomicU8::new(if number < used { first } else { 0 })));
        let written = written.into_boxed_slice();

        let taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = REGIONS.iter().position(|region| region.base.load(Ordering::Relaxed) == 0);
        let slot = slot.ok_or_else(|| io::Error::other("too many memories are tracked at once"))?;
        let region = &REGIONS[slot];
        region.page.store(page, Ordering::Relaxed);
        region.written.store(written.as_ptr().cast_mut(), Ordering::Relaxed);
        region.all.store(false, Ordering::Relaxed);
        region.len.store(memory.len, Ordering::Relaxed);
        region.base.store(memory.base.as_ptr() as usize, Ordering::Release);
        let mut this = Protect { slot, written, page };
        // It is needed again if that is given up.
        drop(taking);
        if since == Since::Now
            && !protect(memory.base.as_ptr() as usize, memory.len, libc::PROT_READ)
        {
            let error = io::Error::last_os_error();
            // Some of it may be read-only.
            this.end(memory);
            return Err(error);
        }
        Ok(this)
    }

    fn region(&self) -> &'static Region {
        &REGIONS[self.slot]
    }
}

impl Drop for Protect {
    fn drop(&mut self) {
        let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
        self.region().base.store(0, Ordering::SeqCst);
    }
}

impl DirtyPages for Protect {
    fn tracking(&self) -> Tracking {
        Tracking::Mprotect
    }

    fn while_running(&self) -> bool {
        true
    }

    fn grown(&mut self, memory: Mapping, old_len: usize) -> io::Result<()> {
        let base = memory.base.as_ptr() as usize;
        // What is not protected counts as written.
        if !protect(base + old_len, memory.len - old_len, libc::PROT_READ) {
            let new = old_len / self.page..memory.len.div_ceil(self.page);
            self.written[new].iter().for_each(|mark| mark.store(1, Ordering::SeqCst));
        }
        self.region().len.store(memory.len, Ordering::SeqCst);
        Ok(())
    }

    fn take(&mut self, memory: Mapping, _: Option<&[u8]>, into: &mut PageSet) -> io::Result<()> {
        let base = memory.base.as_ptr() as usize;
        let used = memory.len.div_ceil(self.page);
        let per_page = (self.page / PAGE_SIZE) as u64;
        let pages = memory.len.div_ceil(PAGE_SIZE) as u64;
        if self.region().all.swap(false, Ordering::SeqCst) {
            self.written[..used].iter().for_each(|mark| mark.store(1, Ordering::SeqCst));
        }
        let mut at = 0;
        while let Some(start) = self.written[at..used].iter().position(is_set).map(|n| at + n) {
            let run = self.written[start..used].iter().take_while(|mark| is_set(mark));
            let end = start + run.map(|mark| mark.store(0, Ordering::SeqCst)).count();
            if !protect(base + start * self.page, (end - start) * self.page, libc::PROT_READ) {
                // They stay writable, so they are told again the next time.
                self.written[start..end].iter().for_each(|mark| mark.store(1, Ordering::SeqCst));
            }
            into.insert(start as u64 * per_page..(end as u64 * per_page).min(pages));
            at = end;
        }
        Ok(())
    }

    fn end(&mut self, memory: Mapping) {
        protect(memory.base.as_ptr() as usize, memory.len, libc::PROT_READ | libc::PROT_WRITE);
    }
}

fn is_set(mark: &AtomicU8) -> bool {
    mark.load(Ordering::SeqCst) != 0
}

/// Sets what can be done with whole pages of a tracked memory. It is for handlers of signals too.
fn protect(address: usize, len: usize, access: libc::c_int) -> bool {
    // SAFETY: the range is pages of a memory that its owner keeps mapped while it is tracked. They can be read throughout;
    // that they cannot be written for a while is seen by nobody: the handler lets the write be done.
    len == 0 || unsafe { libc::mprotect(address as *mut libc::c_void, len, access) } == 0
}

/// Has SIGSEGV handled, once in a process. Engines install theirs before they make memories, so ours comes first and hands
/// on what is not for it.
fn install() -> io::Result<()> {
    let _taking = TAKING.lock().unwrap_or_else(PoisonError::into_inner);
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    if INSTALLED.load(Ordering::SeqCst) {
        return Ok(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only writes the present one, all of it.
    let before = unsafe {
        if libc::sigaction(libc::SIGSEGV, std::ptr::null(), before.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        before.assume_init()
    };
    // Before ours is there, which needs it.
    BEFORE.get_or_init(|| before);
    // SAFETY: all bytes zero are a `sigaction`; its mask is made empty below.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = on_fault as *const () as usize;
    // On the thread's own signal stack: it may be its stack that overflowed. What comes before may fault again.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: the mask is ours, and `on_fault` is a handler as SA_SIGINFO wants it, which only does what handlers may.
    let installed = unsafe {
        libc::sigemptyset(&mut ours.sa_mask);
        libc::sigaction(libc::SIGSEGV, &ours, null_mut())
    };
    if installed != 0 {
        return Err(io::Error::last_os_error());
    }
    INSTALLED.store(true, Ordering::SeqCst);
    Ok(())
}

extern "C" fn on_fault(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel gives handlers with SA_SIGINFO a `siginfo_t`, and for SIGSEGV its address is set; errno is this
    // thread's own, and is given back as it was.
    let (address, errno) = unsafe { ((*info).si_addr() as usize, *libc::__errno_location()) };
    let ours = REGIONS.iter().any(|region| region.let_write(address));
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    if ours {
        return;
    }
    let Some(before) = BEFORE.get() else { return };
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: the default action needs nothing. Whoever returns faults again, and is ended.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: it was installed with SA_SIGINFO, so it is such a function; it gets what we were given.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: it was installed without SA_SIGINFO, so it takes the signal alone.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}
