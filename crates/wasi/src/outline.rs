//! What saved WASI objects are, for who makes them again with means of their own, or has saved them so.

use crate::directed::SavedDirected;
use crate::errors::WasiError;
use crate::fds::{MAX_FD, Place};
use crate::poll::Pending;
use crate::state::{Contents, Saved, SavedFd, SavedFile, SavedPreopen, SavedStream};

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

    /// Saved objects of which no more is known than this: where directories were on their host is not, nor when files were changed.
    ///
    /// # Errors
    /// What no program can have: descriptors that do not ascend, or are too large; paths that are not plain.
    pub fn encode(self) -> Result<Vec<u8>, WasiError> {
        let most = self.fds.iter().map(|(fd, _)| *fd).max().unwrap_or(0);
        if most >= MAX_FD {
            return Err(WasiError::TooMuch("more file descriptors than a program can have"));
        }
        let saved_fd = |(fd, what): (u32, Opened)| {
            let ino = u64::from(fd) + 1;
            let saved = match what {
                Opened::Stdio(which) => SavedFd::Stdio(which),
                Opened::Preopen(preopen) => {
                    let place = Place { preopen, path: String::new() };
                    SavedFd::Dir { place, preopen: true, ino, listing: None }
                }
                Opened::Directory { preopen, path } => {
                    let place = Place { preopen, path };
                    SavedFd::Dir { place, preopen: false, ino, listing: None }
                }
                Opened::File {
                    preopen,
                    path,
                    readable,
                    writable,
                    append,
                    nonblock,
                    offset,
                    size,
                } => SavedFd::File(SavedFile {
                    place: Place { preopen, path },
                    readable,
                    writable,
                    append,
                    nonblock,
                    offset,
                    ino,
                    contents: size.map(|size| Contents { size, mtime: 0, digest: None }),
                }),
            };
            (fd, saved)
        };
        let pending = self.pending.map(|(begin, args)| Pending { begin, deadline: u64::MAX, args });
        let preopens = self.preopens.into_iter();
        let bytes = Saved {
            monotonic: self.monotonic_ns,
            args: self.args,
            env: self.env,
            preopens: preopens.map(|guest| SavedPreopen { guest, host: vec![] }).collect(),
            streams: [SavedStream::Other; 3],
            pending,
            end: most + 1,
            fds: self.fds.into_iter().map(saved_fd).collect(),
            directed: SavedDirected {
                restored: self.restored,
                inside: self.in_checkpoint,
                excluded: vec![],
            },
        }
        .encode()?;
        // Whatever is read again is good.
        Saved::decode(&bytes)?;
        Ok(bytes)
    }
}
