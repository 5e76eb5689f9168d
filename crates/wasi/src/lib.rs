//! WASI preview 1 for programs that sleep: a host whose objects are state.
//!
//! Stock hosts keep a program's files, clocks and waits inside the operating system, where they end with the process.
//! Here they are plain values: the table of file descriptors, for each open file where it is, its position and flags,
//! the directories given to the program, arguments, environment, the monotonic clock, and the wait the program was in.
//! [`Wasi::save`] writes them down, [`Wasi::restore`] finds the files again, checks them and goes on.
//!
//! ```text
//!             one method a call, guest memory as &mut [u8]
//!   engine ───────────────────────────────────────────────▶ Wasi
//!             Ok(errno) | Err(Stop::Exit | Interrupted | Trap)
//!
//!   Interrupter ──▶ a call that waits answers Interrupted; nothing has happened;
//!                   the engine makes the same call again after the resume
//!
//!   Wasi ── save ──▶ bytes (see `state.rs`) ── restore ──▶ Wasi
//! ```
//!
//! To a program, everything is as under stock wasmtime 48: numbers of errors and descriptors, rights, how much one call
//! transfers, and what ends it: an address outside of its memory, a flag that there is not. The programs in `guests/wasi`
//! are run under both; the few differences stand, with reasons, in `crates/dormouse/tests/conformance.rs`.
//!
//! | resource | after a resume |
//! |---|---|
//! | arguments, environment | restored (environment can be added to) |
//! | monotonic clock | goes on where it stood; sleeping does not count |
//! | realtime clock | the host's |
//! | relative and monotonic timeouts | only the rest is waited for |
//! | realtime deadlines | as they were |
//! | regular files | opened again by path; position restored |
//! | … changed since the job began, or open | put back as they were, where their contents are given ([`RestoreOptions::carried`]) |
//! | … changed, made, deleted, renamed after the checkpoint | put back, where an undo log is kept ([`WasiConfig::undo`]) |
//! | … open for writing | cut back to the length at the checkpoint; refused if shorter |
//! | … open for reading only | refused if size or modification time changed |
//! | … deleted, or moved out of sight | refused when saving |
//! | directories, and listings being read | opened again; the listing is restored |
//! | inode numbers of open files | restored, as the program sees them |
//! | character devices | opened again by path |
//! | named pipes, sockets, block devices | refused when saving |
//! | standard input that is a file | put back where it was, if it is the same file |
//! | standard output and error that are files at their end | cut back, if they are the same files |
//! | other standard streams | whatever the resumed process has |
//! | random numbers | fresh |
//! | memory that the program excluded from checkpoints | zero; it stays excluded |
//!
//! ```
//! use dormouse_wasi::{Errno, RestoreOptions, Stdio, StdioConfig, Wasi, WasiConfig};
//!
//! let mut wasi = Wasi::new(WasiConfig { args: vec![b"prog".to_vec()], ..WasiConfig::default() })?;
//! let mut memory = vec![0; 64];
//! assert_eq!(wasi.args_sizes_get(&mut memory, 0, 4), Ok(Errno::Success));
//! assert_eq!(memory[..8], [1, 0, 0, 0, 5, 0, 0, 0]);
//!
//! let bytes = wasi.save()?;
//! let awake = Wasi::restore(&bytes, RestoreOptions::default())?;
//! assert_eq!(awake.save()?, bytes);
//! # Ok::<(), dormouse_wasi::WasiError>(())
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod calls;
mod carry;
mod clocks;
mod describe;
mod digests;
mod directed;
mod dirs;
mod errors;
#[cfg(test)]
mod examples;
mod fds;
mod files;
mod memory;
mod os;
mod outline;
mod paths;
mod poll;
mod process;
mod recreate;
mod replica;
mod rewind;
mod sleep;
mod state;
mod stdio;
mod tape;
mod types;
mod undo;
mod unsynced;
mod wake;

use std::path::{Path, PathBuf};

pub use calls::{CALLS, Call, ValType};
pub use carry::{Found, Item, ONLY_READ, What};
pub use describe::{Description, FdDescription, PreopenDescription, WaitDescription};
pub use digests::Digests;
pub use directed::{DIRECTED, DIRECTED_MODULE, Exclusions};
pub use errors::WasiError;
pub use memory::touch_buffers;
pub use os::{HostFd, Waits};
pub use outline::{Opened, Outline};
pub use poll::Interrupter;
pub use recreate::{Carried, Contents, Each};
pub use replica::{Original, Replica};
pub use stdio::{Stdio, StdioConfig};
pub use tape::Tape;
pub use types::{Advice, Clockid, Errno, Eventtype, Filetype, Stop, Whence};
pub use undo::Mark;
pub use unsynced::Unsynced;

/// Name of the module programs import these calls from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// What a new program is given.
#[derive(Debug, Default)]
pub struct WasiConfig {
    /// Arguments, the program's name first, without NULs.
    pub args: Vec<Vec<u8>>,
    /// Environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Directories: where they are on the host, and what the guest knows them by.
    pub dirs: Vec<(PathBuf, String)>,
    /// Standard streams; by default those of this process.
    pub stdio: StdioConfig,
    /// Directory for what the program destroys in its files, so that they can go back to a checkpoint; without, they
    /// cannot. It is made if it is not there.
    pub undo: Option<PathBuf>,
    /// Whether it is noted which files the program changes, for [`Wasi::changed_files`].
    pub carry: bool,
    /// Whether nobody will want to know whether open files are as they were ([`RestoreOptions::check_files`]).
    pub unchecked: bool,
}

/// How a saved program is connected to this host.
#[derive(Debug)]
pub struct RestoreOptions {
    /// Other host directories for guest names.
    pub dirs: Vec<(PathBuf, String)>,
    /// Whether directories that `dirs` does not name are those the saved objects name. That is right for a checkpoint
    /// of one's own; for one from elsewhere say no, or it chooses which directories it is given.
    pub recorded_dirs: bool,
    /// Environment variables to add or replace. Most programs read theirs once, at the start.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Standard streams; by default those of this process.
    pub stdio: StdioConfig,
    /// Whether open files must be as they were, and are cut back to what they were, standard output and error among
    /// them. Without, they only must be there, and no file is changed.
    pub check_files: bool,
    /// Whether this is a second program beside the saved one: then files in recorded directories, and standard streams,
    /// are the first one's, which may be writing into them. Nothing of theirs is cut; a file that would have to be is
    /// refused ([`WasiError::NotOurs`]).
    pub clone: bool,
    /// As [`WasiConfig::undo`].
    pub undo: Option<PathBuf>,
    /// As [`WasiConfig::carry`].
    pub carry: bool,
    /// Files that travelled with the checkpoint. They are put back: what is not as it was is made so, before files are
    /// opened, and directories that are not there are made.
    pub carried: Option<Carried>,
    /// The mark the files go back to, if `check_files` and `undo` are given and it is one of theirs: what [`Wasi::mark`]
    /// gave for this checkpoint.
    pub mark: Option<Mark>,
    /// Whether the program is not to notice: it does not count as a resume, and a `dormouse_checkpoint` that it stands in
    /// answers what it would have answered had it gone on. For tests that compare with a plain run.
    pub unnoticed: bool,
}

/// What [`Wasi::restore`] would do with files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rehearsal {
    /// The program's directories: its own name for each, and where it is here.
    pub dirs: Vec<(String, PathBuf)>,
    /// Files would be put back to what they were, from the undo log. They are not looked at before that is done.
    pub put_back: bool,
    /// As [`Wasi::is_stranded`].
    pub stranded: bool,
    /// Open files that are longer than they were, and would be cut back.
    pub cut: Vec<Cut>,
    /// Files whose contents would be written from the image, by the program's names.
    pub written: Vec<String>,
    /// Directories and symbolic links that would be made.
    pub made: Vec<String>,
    /// What would be removed, because it was not there.
    pub removed: Vec<String>,
}

/// A file that has become longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its descriptor.
    pub fd: u32,
    /// The program's name for it.
    pub path: String,
    /// Its length then, in bytes.
    pub size: u64,
    /// Its length now.
    pub now: u64,
}

/// The WASI objects of one program.
#[derive(Debug)]
pub struct Wasi {
    host: fds::Host,
}

impl Wasi {
    /// Objects for a program that begins.
    pub fn new(cfg: WasiConfig) -> Result<Wasi, WasiError> {
        Ok(Wasi { host: fds::Host::new(cfg)? })
    }

    /// Writes the objects down. The same objects give the same bytes on every host.
    ///
    /// Changes nothing: if it fails, the program can go on. It fails if an open file could not be found again
    /// ([`WasiError::Unlinked`], [`WasiError::Moved`]) or cannot be carried ([`WasiError::Unsupported`]).
    pub fn save(&self) -> Result<Vec<u8>, WasiError> {
        self.host.save()?.encode()
    }

    /// From here the files can go back to what they are now: to be called together with [`Wasi::save`]. `None` if no undo
    /// log is kept. Nobody may come to know the mark before what [`Wasi::unsynced`] gives then is synced.
    ///
    /// # Errors
    /// What the system says; the mark before is still good then.
    pub fn mark(&mut self) -> Result<Option<Mark>, WasiError> {
        self.host.undo.as_mut().map(undo::Undo::mark).transpose()
    }

    /// What the program changed since its job began, and the files that are open, as they are now; `None` if nothing is noted
    /// ([`WasiConfig::carry`]).
    ///
    /// # Errors
    /// [`WasiError::NotCarried`]; what the system says. The next time it is looked anew.
    pub fn changed_files(&mut self) -> Result<Option<Vec<Found>>, WasiError> {
        self.host.changed_files()
    }

    /// Copies a file that was found to where `into` stands; the program stands still meanwhile.
    ///
    /// # Errors
    /// What the system says, with the file's name.
    pub fn copy_file(&self, found: &Found, into: &std::fs::File) -> Result<(), WasiError> {
        self.host.copy_file(found, into)
    }

    /// What must be synced between [`Wasi::save`] and reporting the checkpoint, or a crash of the machine can leave a
    /// file shorter than the checkpoint says. The program may go on meanwhile.
    ///
    /// # Errors
    /// What the system says, such as that too many files are open.
    pub fn unsynced(&self) -> Result<Unsynced, WasiError> {
        self.host.unsynced()
    }

    /// Objects as they were saved, connected to this host. The monotonic clock stands until the first call.
    ///
    /// On success, files open for writing are cut back to their length at the checkpoint (with
    /// [`RestoreOptions::check_files`]), and standard output and error, if they are the same regular files as then. On
    /// failure nothing was cut, unless it is the cutting back itself that failed; but files may have been put back from
    /// the undo log, and those that were carried. The same can be tried again.
    pub fn restore(bytes: &[u8], opts: RestoreOptions) -> Result<Wasi, WasiError> {
        Ok(Wasi { host: fds::Host::restore(state::Saved::decode(bytes)?, opts)? })
    }

    /// What [`Wasi::restore`] would do; changes nothing.
    ///
    /// # Errors
    /// As `restore`.
    pub fn rehearse(bytes: &[u8], opts: RestoreOptions) -> Result<Rehearsal, WasiError> {
        fds::Host::rehearse(state::Saved::decode(bytes)?, opts)
    }

    /// What saved objects are, in words.
    pub fn describe(bytes: &[u8]) -> Result<Description, WasiError> {
        describe::describe(bytes)
    }

    /// The same for those who make them again with means of their own.
    ///
    /// # Errors
    /// As [`Wasi::describe`].
    pub fn outline(bytes: &[u8]) -> Result<Outline, WasiError> {
        Outline::of(bytes)
    }

    /// Undoes what was done to files in these directories (where each is, and the program's name for it) after a mark of the
    /// undo log `log`. No program has them now. False if the log does not know the mark.
    ///
    /// # Errors
    /// What the system says; a damaged log.
    pub fn go_back(dirs: &[(PathBuf, String)], log: &Path, mark: Mark) -> Result<bool, WasiError> {
        replica::go_back(dirs, log, mark)
    }

    /// Times and random numbers are written down, or are those of an earlier run.
    pub fn use_tape(&mut self, tape: Tape) {
        self.host.tape = Some(tape);
    }

    /// Whether the undo log does not know [`RestoreOptions::mark`], so that the files are not put back: the job went on
    /// from an earlier mark in between, or it was at another place. Not if they were carried.
    pub fn is_stranded(&self) -> bool {
        self.host.stranded
    }

    /// How many files and links were written, and names removed, when it was restored, because of
    /// [`RestoreOptions::carried`].
    pub fn put_back(&self) -> (usize, usize) {
        self.host.recreated
    }

    /// What the program's open files hold, for a thread that looks at them before [`Wasi::save`] is called.
    /// None if nobody wants to know.
    pub fn digests(&self) -> Option<std::sync::Arc<Digests>> {
        self.host.digests.clone()
    }

    /// A handle that ends waiting, for other threads.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter { signal: self.host.signal.clone() }
    }
}
