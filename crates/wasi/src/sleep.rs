//! From live objects to saved ones: what a descriptor needs to be found again. The way back is in [`crate::wake`].

use crate::WasiConfig;
use crate::carry::Changes;
use crate::clocks::{Monotonic, nanoseconds};
use crate::describe::guest_path;
use crate::digests::STANDING;
use crate::directed::Directed;
use crate::errors::{WasiError, doing};
use crate::fds::{Descriptor, FdTable, Host, Inodes, OpenDir, Place, Preopen, identity};
use crate::os::{self, AsFd, BorrowedFd, Identity, Signal, StreamKind};
use crate::state::{Contents, Saved, SavedFd, SavedFile, SavedPreopen, SavedStream};
use crate::stdio::Stream;
use crate::undo::{Mark, Undo};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata};
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) fn open_preopen(guest: String, host: PathBuf) -> Result<Preopen, WasiError> {
    // Absolute, so that a resume in another working directory finds it.
    let host = std::path::absolute(&host).unwrap_or(host);
    match Dir::open_ambient_dir(&host, ambient_authority()) {
        Ok(dir) => Ok(Preopen { guest, host, dir: Arc::new(dir) }),
        Err(source) => Err(WasiError::Dir { guest, host, source }),
    }
}

impl Preopen {
    /// Where the directory is on the host now: where it was given, or, if it was renamed since then (the program can do
    /// that to a directory beneath another one), where the system says it is.
    fn now_at(&self) -> PathBuf {
        let Ok(meta) = self.dir.dir_metadata() else { return self.host.clone() };
        let there = |path: &PathBuf| {
            Dir::open_ambient_dir(path, ambient_authority())
                .and_then(|dir| dir.dir_metadata())
                .is_ok_and(|found| identity(&found) == identity(&meta))
        };
        if there(&self.host) {
            return self.host.clone();
        }
        os::current_path(self.dir.as_fd()).filter(there).unwrap_or_else(|| self.host.clone())
    }
}

pub(crate) fn mtime(meta: &Metadata) -> u64 {
    meta.modified().ok().and_then(|time| nanoseconds(time.into_std())).unwrap_or(0)
}

fn save_stream(which: usize, stream: &Stream) -> SavedStream {
    if let Some(position) = stream.bytes_read() {
        return SavedStream::Bytes { position };
    }
    match (stream.kind(), stream.fd()) {
        (StreamKind::Terminal, _) => SavedStream::Terminal,
        (StreamKind::File(id), Some(fd)) => {
            let here = os::output_position(fd).unwrap_or(0);
            let end = os::length(fd).unwrap_or(0);
            // Output that is not at its end is not a log that grows: what lies behind is not ours to cut.
            match which {
                0 => SavedStream::File { id, position: os::position(fd).unwrap_or(0) },
                _ if here == end => SavedStream::File { id, position: here },
                _ => SavedStream::Other,
            }
        }
        _ => SavedStream::Other,
    }
}

impl Host {
    pub fn new(cfg: WasiConfig) -> Result<Host, WasiError> {
        let signal = Signal::new().map_err(doing("making an event descriptor"))?;
        let mut host = Host {
            args: cfg.args,
            env: cfg.env,
            preopens: Vec::new(),
            stdio: cfg.stdio.into_streams(),
            fds: FdTable::default(),
            clock: Monotonic::standing_at(0),
            inodes: Inodes::default(),
            pending: None,
            directed: Directed::default(),
            signal: Arc::new(signal),
            undo: None,
            changes: cfg.carry.then(Changes::default),
            digests: (!cfg.unchecked).then(Arc::default),
            stranded: false,
            tape: None,
            recreated: (0, 0),
        };
        host.clock.start();
        let too_many = |_| WasiError::TooMuch("more file descriptors than a program can have");
        for which in 0..3 {
            host.fds.push(Descriptor::Stdio(which)).map_err(too_many)?;
        }
        for (preopen, (path, guest)) in cfg.dirs.into_iter().enumerate() {
            let opened = open_preopen(guest, path)?;
            let place = Place { preopen, path: String::new() };
            let dir = OpenDir { dir: opened.dir.clone(), place, preopen: true, listing: None };
            host.preopens.push(opened);
            host.fds.push(Descriptor::Dir(dir)).map_err(too_many)?;
        }
        host.keep_undo(cfg.undo, None)?;
        Ok(host)
    }

    /// A program without directories has no files to change.
    pub(crate) fn keep_undo(
        &mut self,
        path: Option<PathBuf>,
        at: Option<Mark>,
    ) -> Result<(), WasiError> {
        if let (Some(path), false) = (path, self.preopens.is_empty()) {
            self.undo = Some(Undo::open(&path, &self.preopens, at)?);
        }
        Ok(())
    }

    pub(crate) fn path_of(&self, place: &Place) -> String {
        let preopen = self.preopens.get(place.preopen).map_or("", |preopen| &preopen.guest[..]);
        guest_path(preopen, &place.path)
    }

    fn is_at(&self, place: &Place, id: Identity) -> bool {
        let Some(preopen) = self.preopens.get(place.preopen) else {
            return false;
        };
        let found = if place.path.is_empty() {
            preopen.dir.dir_metadata()
        } else {
            preopen.dir.symlink_metadata(&place.path)
        };
        found.is_ok_and(|meta| identity(&meta) == id)
    }

    /// Where an open file is now: the place it was opened at, or the one it was moved to behind our back, if the system
    /// can tell and it is beneath a preopened directory.
    pub(crate) fn find(
        &self,
        fd: u32,
        place: &Place,
        open: BorrowedFd<'_>,
        meta: &Metadata,
    ) -> Result<Place, WasiError> {
        if place.path.len() >= os::LONGEST_PATH {
            return Err(WasiError::TooLong { fd, length: place.path.len() });
        }
        let id = identity(meta);
        if self.is_at(place, id) {
            return Ok(place.clone());
        }
        let path = self.path_of(place);
        if self.names_left(meta) == 0 {
            return Err(WasiError::Unlinked { fd, path });
        }
        let now = os::current_path(open);
        let moved = self.preopens.iter().enumerate().find_map(|(preopen, root)| {
            let rest = now.as_ref()?.strip_prefix(os::current_path(root.dir.as_fd())?).ok()?;
            let place = Place { preopen, path: rest.to_str()?.to_owned() };
            self.is_at(&place, id).then_some(place)
        });
        match moved {
            Some(place) => Ok(place),
            // A directory that was removed can still count a link: its own.
            None if meta.is_dir() => Err(WasiError::Unlinked { fd, path }),
            None => Err(WasiError::Moved { fd, path }),
        }
    }

    fn save_fd(
        &self,
        fd: u32,
        descriptor: &Descriptor,
        budget: &mut u64,
    ) -> Result<SavedFd, WasiError> {
        let asking =
            |place: &Place| doing(format!("asking about fd {fd}, {:?}", self.path_of(place)));
        match descriptor {
            Descriptor::Stdio(which) => Ok(SavedFd::Stdio(*which)),
            Descriptor::Dir(dir) => {
                let meta = dir.dir.dir_metadata().map_err(asking(&dir.place))?;
                let place = match dir.preopen {
                    true => dir.place.clone(),
                    false => self.find(fd, &dir.place, dir.dir.as_fd(), &meta)?,
                };
                let ino = self.inodes.seen(identity(&meta));
                Ok(SavedFd::Dir { place, preopen: dir.preopen, ino, listing: dir.listing.clone() })
            }
            Descriptor::File(file) => {
                let meta = file.metadata().map_err(asking(&file.place))?;
                let contents = match crate::types::Filetype::from(meta.file_type()) {
                    crate::types::Filetype::RegularFile => {
                        let mtime = if file.writable { 0 } else { mtime(&meta) };
                        let digest = file.digest(&meta, budget);
                        Some(Contents { size: meta.len(), mtime, digest })
                    }
                    crate::types::Filetype::CharacterDevice => None,
                    _ => {
                        let kind = os::kind_in_words(meta.file_type());
                        return Err(WasiError::Unsupported {
                            fd,
                            path: self.path_of(&file.place),
                            kind,
                        });
                    }
                };
                Ok(SavedFd::File(SavedFile {
                    place: self.find(fd, &file.place, file.file.as_fd(), &meta)?,
                    readable: file.readable,
                    writable: file.writable,
                    append: file.append,
                    nonblock: file.nonblock,
                    offset: file.offset,
                    ino: self.inodes.seen(identity(&meta)),
                    contents,
                }))
            }
        }
    }

    pub fn save(&self) -> Result<Saved, WasiError> {
        let streams: [SavedStream; 3] =
            std::array::from_fn(|which| save_stream(which, &self.stdio[which]));
        let mut budget = STANDING;
        let fds = self.fds.iter();
        let fds = fds.map(|(fd, descriptor)| Ok((fd, self.save_fd(fd, descriptor, &mut budget)?)));
        let preopens = self.preopens.iter().map(|preopen| SavedPreopen {
            guest: preopen.guest.clone(),
            host: os::path_to_bytes(&preopen.now_at()),
        });
        Ok(Saved {
            monotonic: self.clock.now(),
            args: self.args.clone(),
            env: self.env.clone(),
            preopens: preopens.collect(),
            streams,
            pending: self.pending,
            directed: self.directed.save(),
            end: self.fds.end(),
            fds: fds.collect::<Result<_, WasiError>>()?,
        })
    }
}
