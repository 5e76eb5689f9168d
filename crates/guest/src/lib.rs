//! What a program says about its own checkpoints: take one here, do not keep this memory, do not split this section.
//!
//! ```
//! use dormouse_guest::{Checkpoint, checkpoint};
//!
//! let mut best = 0;
//! for year in 1900..1910 {
//!     best = best.max(year * 7 % 11);
//!     // Here little is in memory: a good place.
//!     match checkpoint() {
//!         Ok(Checkpoint::Taken) => {}
//!         Ok(Checkpoint::Resumed) => eprintln!("going on after {year}"),
//!         Err(e) => eprintln!("no checkpoint after {year}: {e}"),
//!     }
//! }
//! assert_eq!(best, 10);
//! ```
//!
//! A program with this crate runs on every engine with WASI preview 1 (`wasm32-wasip1`), and, compiled for anything else,
//! anywhere. Where there is no Dormouse the calls do nothing and answer as if all went well; the examples here run like
//! that. How: the calls are reads (`fd_read`) of a descriptor that no program can have open. Dormouse knows it; all
//! others answer that there is no such descriptor.
//!
//! It needs no `std` and allocates nothing. `docs/guest.md` in the repository is the whole story; `include/dormouse.h`
//! is the same for C and C++.
#![no_std]
#![deny(missing_docs)]

use core::fmt;
use core::marker::PhantomData;

/// In which run a [`checkpoint`] has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// In the one that took it. It is the answer, too, where there is no Dormouse.
    Taken,
    /// In one that was resumed from it.
    Resumed,
}

/// Why a call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No checkpoint is taken in a [`Section`].
    Disabled,
    /// No checkpoint was taken: the program holds what cannot be carried, or there was no room for a copy, or another
    /// process has the job's lease. Whoever runs the job is told why.
    Refused,
    /// The range does not lie in memory.
    Outside,
    /// More than 4096 separate ranges are excluded, or more than 2^32-1 sections are open.
    TooMany,
    /// Something that this version of the crate does not know.
    Other(i32),
}

impl Error {
    fn of(answer: i32) -> Error {
        match answer {
            -1 => Error::Disabled,
            -2 => Error::Refused,
            -3 => Error::Outside,
            -4 => Error::TooMany,
            other => Error::Other(other),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Disabled => {
                f.write_str("no checkpoint is taken in a section that must not be split")
            }
            Error::Refused => {
                f.write_str("the checkpoint could not be taken; whoever runs the job is told why")
            }
            Error::Outside => f.write_str("the range does not lie in memory"),
            Error::TooMany => f.write_str("there are too many ranges or sections"),
            Error::Other(n) => write!(f, "dormouse answered {n}"),
        }
    }
}

impl core::error::Error for Error {}

/// Takes a checkpoint exactly here.
///
/// When it returns, the state is captured, and made durable while the program goes on. If that fails (the disk is full),
/// whoever runs the job is told; the program is not. If the checkpoint before this one is still being written, it waits
/// for that.
///
/// # Errors
/// [`Error::Disabled`] and [`Error::Refused`]; the program goes on as it was.
pub fn checkpoint() -> Result<Checkpoint, Error> {
    match call(1, 0, 0) {
        0 => Ok(Checkpoint::Taken),
        1 => Ok(Checkpoint::Resumed),
        other => Err(Error::of(other)),
    }
}

/// Says that memory need not be kept: whole pages (of 4 KiB) of it are not saved, and are zero after a resume. What
/// is only partly in such a page is kept. It stays so, in resumed runs too, until [`include()`].
///
/// ```
/// use dormouse_guest::{Error, checkpoint, disable, exclude, include};
///
/// let mut cache = vec![0u8; 1 << 20];
/// // SAFETY: bytes may be zero, and they are only read in a section, where they are looked at first.
/// unsafe { exclude(cache.as_ptr(), cache.len())? };
/// for _ in 0..10 {
///     let section = disable();
///     if cache[0] == 0 {
///         // For the first time, or after a resume.
///         cache.fill(7);
///     }
///     assert_eq!(cache[4711], 7);
///     drop(section);
///     checkpoint()?;
/// }
/// include(cache.as_ptr(), cache.len())?;
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::Outside`] and [`Error::TooMany`]; nothing has changed then.
///
/// # Safety
/// At any time from now on, until it is included again, the whole pages in the range may turn zero all at once, behind the
/// compiler's back. So whatever lies there must be valid when it is zero (numbers, not references, nor the bookkeeping of
/// an allocator), and nobody may rely on its being what was written except in a [`Section`] that has looked first: without
/// one, a checkpoint can be taken anywhere. Memory that is freed must be included first.
pub unsafe fn exclude<T>(ptr: *const T, count: usize) -> Result<(), Error> {
    let bytes = count.checked_mul(size_of::<T>()).ok_or(Error::Outside)?;
    done(call(2, ptr as usize, bytes))
}

/// Says that memory is to be kept again, whatever was said of it before.
///
/// # Errors
/// [`Error::Outside`]; nothing has changed then.
pub fn include<T>(ptr: *const T, count: usize) -> Result<(), Error> {
    let bytes = count.checked_mul(size_of::<T>()).ok_or(Error::Outside)?;
    done(call(3, ptr as usize, bytes))
}

/// A part of the program that no checkpoint splits, until it is dropped.
#[must_use = "the section ends when this is dropped"]
#[derive(Debug)]
pub struct Section {
    /// It is of this program, not to be sent away.
    here: PhantomData<*const ()>,
}

/// Begins a section that no checkpoint splits: those that are wanted meanwhile are taken when it has ended. Sections
/// can lie in each other. An end without a checkpoint (a kill, a lost lease) does not wait.
///
/// ```
/// let section = dormouse_guest::disable();
/// // ... what a checkpoint must see whole, or not at all ...
/// drop(section);
/// ```
///
/// # Panics
/// If 2^32-1 sections are open already.
pub fn disable() -> Section {
    assert_eq!(call(4, 0, 0), 0, "too many sections in sections");
    Section { here: PhantomData }
}

impl Drop for Section {
    fn drop(&mut self) {
        call(5, 0, 0);
    }
}

/// How many times this run was resumed since its beginning; 0 where there is no Dormouse.
///
/// ```
/// assert_eq!(dormouse_guest::restored_count(), 0);
/// ```
pub fn restored_count() -> u32 {
    call(6, 0, 0) as u32
}

fn done(answer: i32) -> Result<(), Error> {
    if answer == 0 { Ok(()) } else { Err(Error::of(answer)) }
}

#[cfg(all(
    target_arch = "wasm32",
    target_os = "wasi",
    not(any(target_env = "p2", target_env = "p3"))
))]
fn call(op: u32, ptr: usize, len: usize) -> i32 {
    #[repr(C)]
    struct Message {
        op: u32,
        ptr: usize,
        len: usize,
        answer: i32,
    }
    #[repr(C)]
    struct Buffer {
        at: *mut Message,
        len: usize,
    }
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        #[link_name = "fd_read"]
        fn fd_read(fd: i32, buffers: *const Buffer, n: i32, nread: *mut usize) -> i32;
    }
    const DORMOUSE: i32 = 0x444f_524d;

    let mut message = Message { op, ptr, len, answer: 0 };
    let buffer = Buffer { at: &raw mut message, len: size_of::<Message>() };
    let mut nread = 0;
    // SAFETY: the buffer is the message, which is alive and written by nobody else, as is `nread`. What the message names
    // is only remembered.
    let errno = unsafe { fd_read(DORMOUSE, &raw const buffer, 1, &raw mut nread) };
    if errno == 0 { message.answer } else { 0 }
}

/// Nobody is there to be told.
#[cfg(not(all(
    target_arch = "wasm32",
    target_os = "wasi",
    not(any(target_env = "p2", target_env = "p3"))
)))]
fn call(_op: u32, _ptr: usize, _len: usize) -> i32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_dormouse_all_goes_well() {
        assert_eq!(checkpoint(), Ok(Checkpoint::Taken));
        let memory = [0u8; 16];
        // SAFETY: nobody is there.
        assert_eq!(unsafe { exclude(memory.as_ptr(), memory.len()) }, Ok(()));
        assert_eq!(include(memory.as_ptr(), memory.len()), Ok(()));
        let (_a, _b) = (disable(), disable());
        assert_eq!(restored_count(), 0);
    }

    #[test]
    fn a_length_beyond_all_memory() {
        let memory = [0u64; 2];
        assert_eq!(include(memory.as_ptr(), usize::MAX / 2), Err(Error::Outside));
    }

    #[test]
    fn errors_by_number() {
        let known =
            [Error::Disabled, Error::Refused, Error::Outside, Error::TooMany, Error::Other(-5)];
        assert!((1..=5).map(|n| Error::of(-n)).eq(known));
    }
}
