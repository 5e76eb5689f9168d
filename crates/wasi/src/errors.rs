//! What can go wrong: while saving and restoring (told to people, in words that say what to do next), and in a call
//! (told to the guest, as the numbers stock wasmtime would answer).

use crate::types::{Errno, Stop};
use std::io;
use std::path::PathBuf;

/// Why WASI objects could not be set up, saved or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WasiError {
    /// A directory to preopen could not be opened.
    #[error("cannot open directory {} for the guest's {guest:?}: {source}; name another with --dir HOST::{guest}", host.display())]
    Dir {
        /// Name the guest knows it by.
        guest: String,
        /// Directory on this host.
        host: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The image names a host directory for a preopen, the caller named none and recorded ones are not allowed.
    #[error("the program needs a directory for {guest:?} (it was {} where the checkpoint was taken): name one with --dir HOST::{guest}", recorded.display())]
    DirNotGiven {
        /// Name the guest knows it by.
        guest: String,
        /// Where it was when the checkpoint was taken.
        recorded: PathBuf,
    },
    /// The caller gave a directory for a guest name that the program does not have.
    #[error("the program has no directory {guest:?} to give another place to; it has: {have}")]
    DirUnknown {
        /// The name that was given.
        guest: String,
        /// The names that there are.
        have: String,
    },
    /// An open file has no name any more, so it could not be found again.
    #[error(
        "fd {fd} is open on {path:?}, which was deleted; it cannot be saved until the program closes it"
    )]
    Unlinked {
        /// Guest file descriptor.
        fd: u32,
        /// Last known guest path.
        path: String,
    },
    /// An open file is no longer where the program opened it, and where it is now is outside the preopened directories
    /// or not known.
    #[error(
        "fd {fd} is open on {path:?}, which somebody moved to a place or name that the program could not open; move it back or let \
         the program close it"
    )]
    Moved {
        /// Guest file descriptor.
        fd: u32,
        /// Last known guest path.
        path: String,
    },
    /// An open file has a path that the system would not take, because directories were opened one beneath the other.
    #[error(
        "fd {fd} is open on a path of {length} bytes, more than the system opens at once; it cannot be saved until the program \
         closes it"
    )]
    TooLong {
        /// Guest file descriptor.
        fd: u32,
        /// Length of its path beneath a preopened directory.
        length: usize,
    },
    /// An open file is of a kind that cannot be carried.
    #[error("fd {fd} is open on {path:?}, a {kind}, which cannot be saved")]
    Unsupported {
        /// Guest file descriptor.
        fd: u32,
        /// Guest path.
        path: String,
        /// What it is, in words.
        kind: &'static str,
    },
    /// What was kept of files that were changed after the checkpoint is not enough to put them back.
    #[error(
        "the files cannot go back to the checkpoint: undo log {}: {source}; put them back yourself and resume with --files none",
        log.display()
    )]
    Undo {
        /// Directory of the log.
        log: PathBuf,
        /// What is wrong with it, or what the operating system said.
        source: io::Error,
    },
    /// A file that was open at the checkpoint cannot be opened.
    #[error(
        "fd {fd}: cannot open {path:?}: {source}; put the file back as it was at the checkpoint"
    )]
    Missing {
        /// Guest file descriptor.
        fd: u32,
        /// Guest path.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file that was open for reading is not the file that was read.
    #[error(
        "fd {fd}: {path:?} was changed after the checkpoint ({what}); put the old file back, or resume with --files none to read the new one"
    )]
    Changed {
        /// Guest file descriptor.
        fd: u32,
        /// Guest path.
        path: String,
        /// The difference, in words.
        what: String,
    },
    /// A file that was open for writing has lost bytes that it had at the checkpoint.
    #[error(
        "fd {fd}: {path:?} is {now} bytes long, shorter than at the checkpoint ({then}); put the old file back, or resume with --files none to go on with this one"
    )]
    Shorter {
        /// Guest file descriptor.
        fd: u32,
        /// Guest path.
        path: String,
        /// Length at the checkpoint.
        then: u64,
        /// Length now.
        now: u64,
    },
    /// A clone's file has grown, and is the first job's.
    #[error(
        "fd {fd}: {path:?} is {now} bytes long, {then} at the checkpoint; what was written since is the first job's, so a clone does not cut it off: give the clone a copy of the directory with --dir, or leave files as they are with --files none"
    )]
    NotOurs {
        /// Guest file descriptor.
        fd: u32,
        /// Guest path.
        path: String,
        /// Length at the checkpoint.
        then: u64,
        /// Length now.
        now: u64,
    },
    /// A file that is to travel with the image cannot.
    #[error("{path:?} cannot be carried in the image: {why}; rename it, or run with --files check")]
    NotCarried {
        /// Guest path.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// Something is where a directory must be for a file of the image.
    #[error(
        "{path:?} cannot be put back from the image: {above:?} is no directory here; move it away, or give another directory with --dir"
    )]
    InTheWay {
        /// Guest path.
        path: String,
        /// What is no directory.
        above: String,
    },
    /// What a clone would have to write is the first job's.
    #[error(
        "{path:?} is not as it was at the checkpoint, and it is the first job's, so a clone does not put it back: give the clone a directory of its own with --dir, or leave files as they are with --files none"
    )]
    NotOursToWrite {
        /// Guest path.
        path: String,
    },
    /// The operating system refused something else.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The saved bytes are of a version this build does not know.
    #[error(
        "WASI objects are saved in format version {0}, where this dormouse reads up to version {reads}; use a newer dormouse",
        reads = crate::state::VERSION
    )]
    Version(u16),
    /// The saved bytes are not what [`crate::Wasi::save`] writes.
    #[error("WASI objects are damaged at byte {at}: {what}")]
    Damaged {
        /// Offset of the damage.
        at: usize,
        /// What was found.
        what: &'static str,
    },
    /// The objects are more than the format holds.
    #[error("too much to save: {0}")]
    TooMuch(&'static str),
}

/// Attaches what was being done to an error of the operating system.
pub(crate) fn doing<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> WasiError {
    let what = what.into();
    move |e| WasiError::Io { what, source: e.into() }
}

/// How a call inside this crate ends early.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The guest gets this number.
    Errno(Errno),
    /// The guest does not get control back now.
    Stop(Stop),
}

impl From<Errno> for Fail {
    fn from(e: Errno) -> Fail {
        Fail::Errno(e)
    }
}

impl From<io::Error> for Fail {
    fn from(e: io::Error) -> Fail {
        Fail::Errno(errno_of(&e))
    }
}

impl From<rustix::io::Errno> for Fail {
    fn from(e: rustix::io::Errno) -> Fail {
        Fail::Errno(errno_of(&e.into()))
    }
}

/// The number stock wasmtime answers for an error of the operating system: the same table, the same fallbacks (so
/// `EXDEV`, say, is `io`).
pub(crate) fn errno_of(e: &io::Error) -> Errno {
    use rustix::io::Errno as Os;
    let Some(raw) = e.raw_os_error() else {
        return match e.kind() {
            io::ErrorKind::NotFound => Errno::Noent,
            io::ErrorKind::PermissionDenied => Errno::Perm,
            io::ErrorKind::AlreadyExists => Errno::Exist,
            io::ErrorKind::InvalidInput => Errno::Inval,
            _ => Errno::Io,
        };
    };
    match Os::from_raw_os_error(raw) {
        Os::PIPE => Errno::Pipe,
        Os::PERM => Errno::Perm,
        Os::NOENT => Errno::Noent,
        Os::NOMEM => Errno::Nomem,
        Os::IO => Errno::Io,
        Os::BADF => Errno::Badf,
        Os::BUSY => Errno::Busy,
        Os::ACCESS => Errno::Acces,
        Os::NOTDIR => Errno::Notdir,
        Os::ISDIR => Errno::Isdir,
        Os::INVAL => Errno::Inval,
        Os::EXIST => Errno::Exist,
        Os::FBIG => Errno::Fbig,
        Os::NOSPC => Errno::Nospc,
        Os::SPIPE => Errno::Spipe,
        Os::MLINK => Errno::Mlink,
        Os::NAMETOOLONG => Errno::Nametoolong,
        Os::NOTEMPTY => Errno::Notempty,
        Os::LOOP => Errno::Loop,
        Os::OVERFLOW => Errno::Overflow,
        Os::ILSEQ => Errno::Ilseq,
        Os::NOTSUP => Errno::Notsup,
        Os::ALREADY => Errno::Already,
        Os::INPROGRESS => Errno::Inprogress,
        Os::INTR => Errno::Intr,
        // The same number as NOTSUP on Linux, another one elsewhere.
        #[allow(unreachable_patterns)]
        Os::OPNOTSUPP => Errno::Notsup,
        _ => Errno::Io,
    }
}
