//! The table of file descriptors, what a descriptor can be, and the calls that ask about one.

use crate::carry::Changes;
use crate::clocks::{Monotonic, nanoseconds};
use crate::digests::{Digests, Known};
use crate::directed::Directed;
use crate::dirs::Listing;
use crate::errors::Fail;
use crate::memory as mem;
use crate::os::{Identity, Signal, StreamKind};
use crate::poll::Pending;
use crate::stdio::Stream;
use crate::tape::Tape;
use crate::types::{Errno, Filetype, fdflags, fields, known_rights, rights, size};
use crate::undo::Undo;
use cap_std::fs::{Dir, Metadata, MetadataExt};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// More descriptors than any host gives a process; bounds what a damaged state can ask for.
pub(crate) const MAX_FD: u32 = 1 << 20;

/// All WASI objects of one program: its state, and what it is connected to on this host.
#[derive(Debug)]
pub(crate) struct Host {
    pub args: Vec<Vec<u8>>,
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Kept also after the guest closes its descriptor: files opened beneath are found again through it.
    pub preopens: Vec<Preopen>,
    pub stdio: [Stream; 3],
    pub fds: FdTable,
    pub clock: Monotonic,
    pub inodes: Inodes,
    /// The `poll_oneoff` that was interrupted and will be made again.
    pub pending: Option<Pending>,
    /// What the program said about its checkpoints.
    pub directed: Directed,
    pub signal: Arc<Signal>,
    /// Keeps what is destroyed in files, if they are to go back to a checkpoint.
    pub undo: Option<Undo>,
    /// What was changed since the job began, if that is to travel.
    pub changes: Option<Changes>,
    /// What open files hold, if that is to be known.
    pub digests: Option<Arc<Digests>>,
    /// The files could not go back to the checkpoint.
    pub stranded: bool,
    /// What clocks and random numbers say, where another run is to get the same.
    pub tape: Option<Tape>,
    /// How many files were written at the resume, and how many names removed, because the image said so.
    pub recreated: (usize, usize),
}

/// A directory given to the guest.
#[derive(Debug)]
pub(crate) struct Preopen {
    pub guest: String,
    pub host: PathBuf,
    pub dir: Arc<Dir>,
}

/// Where an open file is found again: a preopened directory and a path beneath it, without symlinks, `.` and `..`, its
/// parts joined by `/`; empty for the directory itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub preopen: usize,
    pub path: String,
}

impl Place {
    /// Something was moved; what this names may have moved with it.
    pub fn follow(&mut self, from: &Place, to: &Place) {
        if self.preopen != from.preopen {
            return;
        }
        // Whole parts of the path: `ab` does not lie beneath `a`.
        let rest = self.path.strip_prefix(&from.path);
        let beneath =
            |rest: &&str| rest.is_empty() || rest.starts_with('/') || from.path.is_empty();
        if let Some(rest) = rest.filter(beneath) {
            *self = Place { preopen: to.preopen, path: format!("{}{rest}", to.path) };
        }
    }
}

/// What a file descriptor stands for.
#[derive(Debug)]
pub(crate) enum Descriptor {
    /// Standard input, output or error: 0, 1, 2. Not the number of the descriptor, which `fd_renumber` can change.
    Stdio(usize),
    Dir(OpenDir),
    File(OpenFile),
}

#[derive(Debug)]
pub(crate) struct OpenDir {
    pub dir: Arc<Dir>,
    pub place: Place,
    /// Whether this is the descriptor the guest was given at its start.
    pub preopen: bool,
    /// The names `fd_readdir` is going through.
    pub listing: Option<Listing>,
}

#[derive(Debug)]
pub(crate) struct OpenFile {
    pub file: File,
    pub place: Place,
    pub readable: bool,
    pub writable: bool,
    pub append: bool,
    pub nonblock: bool,
    /// The guest's own position: the host's is not used.
    pub offset: u64,
    /// Until which look at what was changed its writes are noted.
    pub noted: Option<u64>,
    /// What it holds; none of a device.
    pub known: Option<Arc<Known>>,
}

/// The descriptors in use, and those that are free below the highest ever used.
#[derive(Debug, Default)]
pub(crate) struct FdTable {
    used: BTreeMap<u32, Descriptor>,
    free: BTreeSet<u32>,
}

impl FdTable {
    /// A table as it was when saved. Numbers below `end` that are not used are free.
    pub fn restored(used: BTreeMap<u32, Descriptor>, end: u32) -> FdTable {
        let free = (0..end).filter(|fd| !used.contains_key(fd)).collect();
        FdTable { used, free }
    }

    /// One more than the highest number ever used.
    pub fn end(&self) -> u32 {
        let used = self.used.last_key_value().map(|(fd, _)| fd + 1);
        let free = self.free.last().map(|fd| fd + 1);
        used.max(free).unwrap_or(0)
    }

    pub fn get(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.used.get(&fd).ok_or(Errno::Badf)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Descriptor)> {
        self.used.iter().map(|(fd, d)| (*fd, d))
    }

    /// Puts a descriptor at a free number, the one stock wasmtime picks: the highest of those that were closed, or else
    /// a new one.
    pub fn push(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let fd = match self.free.pop_last() {
            Some(fd) => fd,
            None => {
                let fd = self.end();
                if fd >= MAX_FD {
                    return Err(Errno::Mfile);
                }
                fd
            }
        };
        self.used.insert(fd, descriptor);
        Ok(fd)
    }

    fn close(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        let closed = self.used.remove(&fd).ok_or(Errno::Badf)?;
        self.free.insert(fd);
        Ok(closed)
    }

    pub fn file(&self, fd: u32) -> Result<&OpenFile, Errno> {
        match self.get(fd)? {
            Descriptor::File(file) => Ok(file),
            _ => Err(Errno::Badf),
        }
    }

    pub fn file_mut(&mut self, fd: u32) -> Result<&mut OpenFile, Errno> {
        match self.used.get_mut(&fd) {
            Some(Descriptor::File(file)) => Ok(file),
            _ => Err(Errno::Badf),
        }
    }

    /// Like `file`, but standard streams are `spipe`.
    pub fn seekable(&mut self, fd: u32) -> Result<&mut OpenFile, Errno> {
        match self.used.get_mut(&fd) {
            Some(Descriptor::File(file)) => Ok(file),
            Some(Descriptor::Stdio(_)) => Err(Errno::Spipe),
            _ => Err(Errno::Badf),
        }
    }

    pub fn dir(&self, fd: u32) -> Result<&OpenDir, Errno> {
        match self.get(fd)? {
            Descriptor::Dir(dir) => Ok(dir),
            _ => Err(Errno::Badf),
        }
    }

    pub fn dir_mut(&mut self, fd: u32) -> Result<&mut OpenDir, Errno> {
        match self.used.get_mut(&fd) {
            Some(Descriptor::Dir(dir)) => Ok(dir),
            _ => Err(Errno::Badf),
        }
    }

    /// The places of all open files and directories.
    pub fn places_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        self.used.values_mut().filter_map(|d| match d {
            Descriptor::Stdio(_) => None,
            Descriptor::Dir(dir) => Some(&mut dir.place),
            Descriptor::File(file) => Some(&mut file.place),
        })
    }
}

/// The inode numbers the guest sees. They are computed from the host's; for files that were open at a checkpoint the old
/// numbers are kept, because programs such as SQLite compare them to find out whether a file was replaced.
#[derive(Debug, Default)]
pub(crate) struct Inodes {
    kept: HashMap<Identity, u64>,
}

impl Inodes {
    pub fn seen(&self, id: Identity) -> u64 {
        self.kept.get(&id).copied().unwrap_or_else(|| mix(id.ino ^ mix(id.dev)))
    }

    /// From now on the guest sees this number for that file.
    pub fn keep(&mut self, id: Identity, seen: u64) {
        if self.seen(id) != seen {
            self.kept.insert(id, seen);
        }
    }
}

/// The finaliser of SplitMix64: every bit of the input reaches every bit of the output.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

pub(crate) fn identity(meta: &Metadata) -> Identity {
    Identity { dev: MetadataExt::dev(meta), ino: MetadataExt::ino(meta) }
}

impl OpenFile {
    pub fn metadata(&self) -> std::io::Result<Metadata> {
        Metadata::from_file(&self.file)
    }
}

fn stdio_filetype(stream: &Stream) -> Filetype {
    match stream.kind() {
        StreamKind::Terminal => Filetype::CharacterDevice,
        _ => Filetype::Unknown,
    }
}

impl Host {
    /// How many names a file has, not counting those the undo log gave it.
    pub fn names_left(&self, meta: &Metadata) -> u64 {
        let names = MetadataExt::nlink(meta);
        self.undo.as_ref().map_or(names, |undo| undo.names_left(identity(meta), names))
    }

    /// Writes a `filestat`.
    pub fn put_filestat(&self, memory: &mut [u8], at: u32, meta: &Metadata) -> Result<(), Fail> {
        let time = |t: std::io::Result<cap_std::time::SystemTime>| {
            t.ok().and_then(|t| nanoseconds(t.into_std())).unwrap_or(0)
        };
        let mut stat = [0; size::FILESTAT as usize];
        stat[0..8].copy_from_slice(&1u64.to_le_bytes());
        stat[8..16].copy_from_slice(&self.inodes.seen(identity(meta)).to_le_bytes());
        stat[16] = Filetype::from(meta.file_type()).raw();
        stat[24..32].copy_from_slice(&self.names_left(meta).to_le_bytes());
        stat[32..40].copy_from_slice(&meta.len().to_le_bytes());
        stat[40..48].copy_from_slice(&time(meta.accessed()).to_le_bytes());
        stat[48..56].copy_from_slice(&time(meta.modified()).to_le_bytes());
        // Stock wasmtime reports the time of creation here, not that of the last status change.
        stat[56..64].copy_from_slice(&time(meta.created()).to_le_bytes());
        mem::put_record(memory, at, &stat, 8, &fields::FILESTAT)
    }

    pub fn fd_filestat_get(&mut self, memory: &mut [u8], fd: u32, stat: u32) -> Result<(), Fail> {
        let meta = match self.fds.get(fd)? {
            Descriptor::Stdio(which) => {
                let mut raw = [0; size::FILESTAT as usize];
                raw[16] = stdio_filetype(&self.stdio[*which]).raw();
                return mem::put_record(memory, stat, &raw, 8, &fields::FILESTAT);
            }
            Descriptor::Dir(dir) => dir.dir.dir_metadata()?,
            Descriptor::File(file) => file.metadata()?,
        };
        self.put_filestat(memory, stat, &meta)
    }

    pub fn fd_fdstat_get(&mut self, memory: &mut [u8], fd: u32, stat: u32) -> Result<(), Fail> {
        let (filetype, flags, base, inheriting) = match self.fds.get(fd)? {
            Descriptor::Stdio(which) => {
                let rights = if *which == 0 { rights::FD_READ } else { rights::FD_WRITE };
                (stdio_filetype(&self.stdio[*which]), 0, rights, rights)
            }
            Descriptor::Dir(OpenDir { preopen: true, .. }) => {
                (Filetype::Directory, 0, rights::PREOPEN_BASE, rights::PREOPEN_INHERITING)
            }
            Descriptor::Dir(_) => {
                let rights = rights::ALL
                    & !(rights::FD_SEEK
                        | rights::FD_FILESTAT_SET_SIZE
                        | rights::PATH_FILESTAT_SET_SIZE
                        | rights::FD_WRITE);
                (Filetype::Directory, 0, rights, rights)
            }
            Descriptor::File(file) => {
                let mut rights = rights::ALL;
                if !file.readable {
                    rights &= !(rights::FD_READ | rights::FD_READDIR);
                }
                if !file.writable {
                    rights &= !rights::FD_WRITE;
                }
                let append = if file.append { fdflags::APPEND } else { 0 };
                let nonblock = if file.nonblock { fdflags::NONBLOCK } else { 0 };
                (file.metadata()?.file_type().into(), append | nonblock, rights, rights)
            }
        };
        let mut raw = [0; size::FDSTAT as usize];
        raw[0] = filetype.raw();
        raw[2..4].copy_from_slice(&(flags as u16).to_le_bytes());
        raw[8..16].copy_from_slice(&base.to_le_bytes());
        raw[16..24].copy_from_slice(&inheriting.to_le_bytes());
        mem::put_record(memory, stat, &raw, 8, &fields::FDSTAT)
    }

    pub fn fd_fdstat_set_flags(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        flags: u32,
    ) -> Result<(), Fail> {
        use fdflags::{ALL, APPEND, DSYNC, NONBLOCK, RSYNC, SYNC};
        let flags = crate::types::known(flags, ALL)?;
        let file = self.fds.file_mut(fd)?;
        if flags & (DSYNC | SYNC | RSYNC) != 0 {
            return Err(Errno::Inval.into());
        }
        file.append = flags & APPEND != 0;
        file.nonblock = flags & NONBLOCK != 0;
        Ok(())
    }

    pub fn fd_fdstat_set_rights(
        &mut self,
        _memory: &mut [u8],
        fd: u32,
        base: u64,
        inheriting: u64,
    ) -> Result<(), Fail> {
        known_rights(base | inheriting)?;
        match self.fds.get(fd)? {
            Descriptor::Stdio(_) => Err(Errno::Badf.into()),
            _ => Err(Errno::Notsup.into()),
        }
    }

    pub fn fd_close(&mut self, _memory: &mut [u8], fd: u32) -> Result<(), Fail> {
        self.fds.close(fd)?;
        Ok(())
    }

    pub fn fd_renumber(&mut self, _memory: &mut [u8], from: u32, to: u32) -> Result<(), Fail> {
        self.fds.get(to)?;
        self.fds.get(from)?;
        if from == to {
            return Ok(());
        }
        let moved = self.fds.close(from)?;
        self.fds.used.insert(to, moved);
        Ok(())
    }
}
