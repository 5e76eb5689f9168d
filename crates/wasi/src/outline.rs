//! What saved WASI objects are, for who makes them again with means of their own.

use crate::errors::WasiError;
use crate::fds::Place;
use crate::state::{Saved, SavedFd};

/// Saved WASI objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Program arguments, the program's name first.
    pub args: Vec<Vec<u8>>,
    /// Environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The program's names of the directories that were given to it; descriptors from 3 on, at its beginning.
    pub preopens: Vec<String>,
    /// Open descriptors, ascending.
    pub fds: Vec<(u32, Opened)>,
    /// What the monotonic clock shows, in nanoseconds.
    pub monotonic_ns: u64,
    /// The `poll_oneoff` that was interrupted and is made again: what the clock showed when it was made, and its arguments.
    pub pending: Option<(u64, [u32; 4])>,
    /// How often the program had been resumed.
    pub restored: u32,
    /// Whether it stands in a `dormouse_checkpoint`.
    pub in_checkpoint: bool,
}

/// An open descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Standard input (0), output (1) or error (2).
    Stdio(usize),
    /// The directory that was given at this place.
    Preopen(usize),
    /// A directory beneath a given one.
    Directory {
        /// Place of the given one.
        preopen: usize,
        /// Path beneath it, parts joined by `/`.
        path: String,
    },
    /// A file beneath a given directory.
    File {
        /// Place of the directory.
        preopen: usize,
        /// Path beneath it, parts joined by `/`.
        path: String,
        /// Open for reading.
        readable: bool,
        /// Open for writing.
        writable: bool,
        /// Everything is written at its end.
        append: bool,
        /// Calls do not wait.
        nonblock: bool,
        /// Position in it.
        offset: u64,
        /// Length; none for a device.
        size: Option<u64>,
    },
}

impl Outline {
    pub(crate) fn of(bytes: &[u8]) -> Result<Outline, WasiError> {
        let saved = Saved::decode(bytes)?;
        let place = |p: Place| (p.preopen, p.path);
        let opened = |what| match what {
            SavedFd::Stdio(which) => Opened::Stdio(which),
            SavedFd::Dir { place, preopen: true, .. } => Opened::Preopen(place.preopen),
            SavedFd::Dir { place: p, .. } => {
                let (preopen, path) = place(p);
                Opened::Directory { preopen, path }
            }
            SavedFd::File(file) => {
                let (preopen, path) = place(file.place);
                Opened::File {
                    preopen,
                    path,
                    readable: file.readable,
                    writable: file.writable,
                    append: file.append,
                    nonblock: file.nonblock,
                    offset: file.offset,
                    size: file.contents.map(|contents| contents.size),
                }
            }
        };
        Ok(Outline {
            args: saved.args,
            env: saved.env,
            preopens: saved.preopens.into_iter().map(|p| p.guest).collect(),
            fds: saved.fds.into_iter().map(|(fd, what)| (fd, opened(what))).collect(),
            monotonic_ns: saved.monotonic,
            pending: saved.pending.map(|p| (p.begin, p.args)),
            restored: saved.directed.restored,
            in_checkpoint: saved.directed.inside,
        })
    }
}
