//! The undo log: what a program destroys in its files after a checkpoint is kept, so that a resume from that
//! checkpoint finds them as they were, also after a crash.
//!
//! ```text
//!   DIR/                    one directory a job, only its owner can enter
//!    ├─ chain               the marks, oldest first, 16 hex digits and a newline each; the last is current
//!    ├─ 52f1...e0.undo      what was done after mark 52f1...e0 and before the next; missing if nothing was
//!    └─ 52f1...e0-3         a file that was deleted or replaced then: a hard link to it, or a copy
//! ```
//!
//! A checkpoint begins a new mark, which goes into its annotations. Going back to it (see `rewind`) undoes all logs
//! from the newest to that mark's own, each from its end. A mark that is not in the chain belongs to a past that was
//! undone, or to another place: there is no way back to it. A resume from one puts it there, so that the same resume can
//! be made again.
//!
//! ```text
//! log       "DMUL", u16 version 1, u16 0, list of bytes: host path of each preopened directory; then records
//! record    u32 length of body, u32 CRC-32C of body, body
//! body      u8 kind, then
//!   0 made       place                        something that was not there before
//!   1 file       place, size u64, mtime i64 s, u32 ns    the first change of a file in this log
//!   2 bytes      where, offset u64, the rest: what stood there
//!   3 gone       place, number u32            a file, now called `<mark>-<number>`
//!   4 link gone  place, bytes target          a symbolic link
//!   5 dir gone   place                        an empty directory
//!   6 moved      place from, place to
//! place     u32 index of a preopened directory, bytes path beneath it
//! where     u8 0, place | u8 1, number u32 of a file that is gone by now
//! ```
//!
//! A record is written before its deed, so each undoes a deed that may not have been done. Blocks are kept once a log,
//! and what was made after the mark needs no keeping. If a log cannot be written the program goes on: the log is
//! emptied, which says that there is no way back beyond it, and the next mark begins a good one.
//!
//! This guards against the end of the process. Against the end of the machine it guards marks, which are on the disk before
//! their checkpoint is, and what the program syncs: the log is synced first. So it is before a file is synced for a checkpoint;
//! but the program runs meanwhile, and what it writes in between, like what the system writes to the disk by itself, may come
//! there before what undoes it.

use crate::errors::{WasiError, doing};
use crate::fds::{Host, OpenDir, OpenFile, Place, Preopen, identity};
use crate::os::{self, Identity};
use crate::unsynced::{Pending, UnsyncedUndo};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

pub(crate) const MAGIC: &[u8; 8] = b"DMUL\x01\0\0\0";
pub(crate) const CHAIN: &str = "chain";
/// Old contents are kept in blocks of this size, as most programs write them.
const BLOCK: u64 = 4096;
/// Most bytes of old contents in one record.
const MOST_BYTES: u64 = 1 << 20;

/// A point in the life of a job's files that they can go back to.
pub type Mark = u64;

/// The kinds of records.
pub(crate) mod kind {
    pub const MADE: u8 = 0;
    pub const FILE: u8 = 1;
    pub const BYTES: u8 = 2;
    pub const GONE: u8 = 3;
    pub const LINK_GONE: u8 = 4;
    pub const DIR_GONE: u8 = 5;
    pub const MOVED: u8 = 6;
}

/// Where the contents of a file are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    Place(Place),
    /// Deleted or replaced; kept under this number.
    Kept(u32),
    /// Deleted or replaced; kept is a copy, so this one does not matter any more.
    Nowhere,
}

/// What changes where files are, once it is done.
#[derive(Debug, Default)]
pub(crate) struct Deed {
    /// Which file loses a name, what keeps it, and where it is to be found then, if not where it was.
    gone: Option<(Identity, u32, Option<Where>)>,
    moved: Option<(Place, Place)>,
    /// Where its records begin in the log.
    begin: u64,
}

/// Writes the logs of one job.
#[derive(Debug)]
pub(crate) struct Undo {
    path: PathBuf,
    dir: Dir,
    mark: Mark,
    /// Made when there is something to write.
    log: Option<File>,
    /// Its length.
    end: u64,
    header: Vec<u8>,
    files: HashMap<Identity, Tracked>,
    /// Numbers given to files that are gone.
    kept: u32,
    /// This log could not be written.
    broken: bool,
    /// What may not be on the disk yet: the chain, ...
    chain: Option<cap_std::fs::File>,
    /// ... and what others may sync as well.
    pending: Arc<Pending>,
}

/// A file that was changed after the mark.
#[derive(Debug)]
enum Tracked {
    /// It is younger than the mark.
    Born,
    Old {
        at: Where,
        size: u64,
        /// Blocks that are in the log.
        blocks: BTreeSet<u64>,
        /// How many of its names are ours.
        ours: u64,
    },
}

impl Undo {
    /// Goes on with the chain in `path`, which is made if it is not there, with a new mark. The files are as they were at
    /// the mark `at`, if it is given.
    pub fn open(path: &Path, preopens: &[Preopen], at: Option<Mark>) -> Result<Undo, WasiError> {
        let doing = || doing(format!("opening the undo log in {}", path.display()));
        os::private_dir(path).map_err(doing())?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(doing())?;
        let mut header = MAGIC.to_vec();
        header.extend((preopens.len() as u32).to_le_bytes());
        for preopen in preopens {
            put_bytes(&mut header, &os::path_to_bytes(&preopen.host));
        }
        let mut undo = Undo {
            path: path.to_owned(),
            dir,
            mark: 0,
            log: None,
            end: 0,
            header,
            files: HashMap::new(),
            kept: 0,
            broken: false,
            chain: None,
            pending: Arc::new(Pending::with_names()),
        };
        undo.begin(at).map_err(doing())?;
        Ok(undo)
    }

    /// Begins a new mark: the files as they are now can be gone back to.
    pub fn mark(&mut self) -> Result<Mark, WasiError> {
        let doing = doing(format!("writing the undo log in {}", self.path.display()));
        self.begin(None).map_err(doing)?;
        Ok(self.mark)
    }

    /// Where the logs lie.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What may not be on the disk yet: to be synced while the program goes on. The next [`Undo::sync`] sees to it too.
    pub fn unsynced(&self) -> io::Result<UnsyncedUndo> {
        let chain = self.chain.as_ref().map(cap_std::fs::File::try_clone).transpose()?;
        Ok(UnsyncedUndo {
            path: self.path.clone(),
            dir: self.dir.try_clone()?,
            chain: chain.map(cap_std::fs::File::into_std),
            log: log_name(self.mark),
            pending: self.pending.clone(),
        })
    }

    fn begin(&mut self, at: Option<Mark>) -> io::Result<()> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        let mark = Mark::from_le_bytes(bytes);
        let chain = read_chain(&self.dir)?;
        let mut options = OpenOptions::new();
        let mut file = self.dir.open_with(CHAIN, options.write(true).create(true))?;
        // Whatever is left of a line that was being written goes.
        let length = chain.len() as u64 * LINE;
        file.set_len(length)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(length))?;
        let at = at.filter(|at| chain.last() != Some(at));
        let lines: String =
            at.into_iter().chain([mark]).map(|mark| format!("{mark:016x}\n")).collect();
        file.write_all(lines.as_bytes())?;
        self.mark = mark;
        self.log = None;
        self.end = 0;
        self.files.clear();
        self.kept = 0;
        self.broken = false;
        self.chain = Some(file);
        Ok(())
    }

    /// Makes sure that what is kept survives the end of the machine.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(chain) = &self.chain {
            chain.sync_all()?;
            self.chain = None;
        }
        self.log.as_ref().map_or(Ok(()), File::sync_data)?;
        self.pending.sync(&self.dir, &self.path)
    }

    /// Appends a record; after a failure nothing more until the next mark.
    fn record(&mut self, body: &[u8]) {
        if self.broken {
            return;
        }
        let write = |undo: &mut Undo| -> io::Result<()> {
            if undo.log.is_none() {
                // Under its name only once its header is whole: an empty log means something else.
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true);
                let mut file = undo.dir.open_with("new", &options)?;
                file.write_all(&undo.header)?;
                undo.dir.rename("new", &undo.dir, log_name(undo.mark))?;
                undo.log = Some(file.into_std());
                undo.pending.has_names();
                undo.end = undo.header.len() as u64;
            }
            let mut bytes = Vec::with_capacity(body.len() + 8);
            bytes.extend((body.len() as u32).to_le_bytes());
            bytes.extend(crc32c::crc32c(body).to_le_bytes());
            bytes.extend(body);
            let log = undo.log.as_ref().ok_or(io::ErrorKind::NotFound)?;
            log.write_all_at(&bytes, undo.end)?;
            undo.end += bytes.len() as u64;
            Ok(())
        };
        if write(self).is_err() {
            self.give_up();
        }
    }

    /// There is no way back beyond here.
    fn give_up(&mut self) {
        self.broken = true;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // If even that fails, the end of the log is missing, and undoing meets files that are not as it says.
        let _ = self.dir.open_with(log_name(self.mark), &options);
    }

    /// Something will be made at `path`, if nothing is there yet.
    pub fn makes(&mut self, dir: &OpenDir, path: &str) -> Option<Deed> {
        let path = &plain(path);
        let new =
            dir.dir.symlink_metadata(path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound);
        // Where a directory is missing nothing will be made, and its names alone (`missing/../a`) are not what is meant.
        let place = dir.place_that_is(path, false).filter(|_| new)?;
        let deed = Deed { begin: self.end, ..Deed::default() };
        self.made(&place);
        Some(deed)
    }

    /// Whether a place can be found by its path when it comes to undoing. Directories that are opened one beneath the other lead
    /// further than the system takes paths; there is no way back from there.
    fn can_name(&mut self, place: &Place) -> bool {
        let short = place.path.len() < os::LONGEST_PATH;
        if !short {
            self.give_up();
        }
        short
    }

    /// Something was not there before.
    pub fn made(&mut self, place: &Place) {
        if !self.can_name(place) {
            return;
        }
        let mut body = vec![kind::MADE];
        put_place(&mut body, place);
        self.record(&body);
    }

    /// A file has been made.
    pub fn born(&mut self, id: Identity) {
        self.files.insert(id, Tracked::Born);
    }

    /// The times of what is at `path` will be set. Only those of files go back.
    pub fn touches(&mut self, preopens: &[Preopen], dir: &OpenDir, path: &str, follow: bool) {
        let path = &plain(path);
        let meta = if follow { dir.dir.metadata(path) } else { dir.dir.symlink_metadata(path) };
        if let (false, Ok(meta)) = (self.broken, meta)
            && meta.is_file()
        {
            self.first_change(preopens, identity(&meta), &meta, &dir.place(path, follow));
        }
    }

    /// Bytes `from..to` of a file will be overwritten or cut off.
    pub fn change(&mut self, preopens: &[Preopen], file: &OpenFile, from: u64, to: u64) {
        if self.broken {
            return;
        }
        let id = match file.metadata() {
            Ok(meta) if meta.is_file() => {
                let id = identity(&meta);
                self.first_change(preopens, id, &meta, &file.place);
                id
            }
            Ok(_) => return,
            Err(_) => return self.give_up(),
        };
        let Some(Tracked::Old { at, size, blocks, .. }) = self.files.get_mut(&id) else {
            return;
        };
        let to = to.min(*size);
        if from >= to {
            return;
        }
        let mut missing: Vec<(u64, u64)> = vec![];
        for block in from / BLOCK..to.div_ceil(BLOCK) {
            if !blocks.insert(block) {
                continue;
            }
            let (start, end) = (block * BLOCK, ((block + 1) * BLOCK).min(*size));
            match missing.last_mut() {
                Some(run) if run.1 == start && end - run.0 <= MOST_BYTES => run.1 = end,
                _ => missing.push((start, end)),
            }
        }
        let at = at.clone();
        for (start, end) in missing {
            let mut body = vec![kind::BYTES];
            match &at {
                Where::Place(place) => {
                    body.push(0);
                    put_place(&mut body, place);
                }
                Where::Kept(number) => {
                    body.push(1);
                    body.extend(number.to_le_bytes());
                }
                Where::Nowhere => return,
            }
            body.extend(start.to_le_bytes());
            let head = body.len();
            body.resize(head + (end - start) as usize, 0);
            let whole = self.reader(preopens, file, &at).and_then(|reader| {
                let mut read = 0;
                while read < body.len() - head {
                    match os::read_at(&reader, &mut body[head + read..], start + read as u64)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => read += n,
                    }
                }
                Ok(())
            });
            match whole {
                Ok(()) => self.record(&body),
                Err(_) => return self.give_up(),
            }
        }
    }

    /// A handle that can read what `file` may only write.
    fn reader(&self, preopens: &[Preopen], file: &OpenFile, at: &Where) -> io::Result<File> {
        if file.readable {
            return file.file.try_clone();
        }
        match at {
            Where::Place(place) => match preopens.get(place.preopen) {
                Some(preopen) => Ok(preopen.dir.open(&place.path)?.into_std()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            Where::Kept(number) => Ok(self.dir.open(kept_name(self.mark, *number))?.into_std()),
            Where::Nowhere => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn first_change(&mut self, preopens: &[Preopen], id: Identity, meta: &Metadata, place: &Place) {
        if self.files.contains_key(&id) || !self.can_name(place) {
            return;
        }
        // A file that is not where it was opened was moved or deleted by somebody else: not ours to keep.
        let there =
            preopens.get(place.preopen).and_then(|p| p.dir.symlink_metadata(&place.path).ok());
        if there.is_none_or(|there| identity(&there) != id) {
            self.files.insert(id, Tracked::Born);
            return;
        }
        let mut body = vec![kind::FILE];
        put_place(&mut body, place);
        body.extend(meta.len().to_le_bytes());
        let time = meta.modified().ok().map(|t| t.into_std());
        let since = time.and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        body.extend((since.as_secs() as i64).to_le_bytes());
        body.extend(since.subsec_nanos().to_le_bytes());
        self.record(&body);
        let at = Where::Place(place.clone());
        self.files
            .insert(id, Tracked::Old { at, size: meta.len(), blocks: BTreeSet::new(), ours: 0 });
    }

    /// `path` in `dir`, if it is there, will be deleted or replaced.
    pub fn gone(&mut self, preopens: &[Preopen], dir: &OpenDir, path: &str) -> Deed {
        let nothing = Deed { begin: self.end, ..Deed::default() };
        let path = &plain(path);
        let Ok(meta) = dir.dir.symlink_metadata(path) else { return nothing };
        if self.broken {
            return nothing;
        }
        let place = dir.place(path, false);
        if !self.can_name(&place) {
            return nothing;
        }
        let mut body = vec![];
        let mut deed = Deed { begin: self.end, ..Deed::default() };
        if meta.is_symlink() {
            let Ok(target) = dir.dir.read_link_contents(path) else {
                self.give_up();
                return nothing;
            };
            body.push(kind::LINK_GONE);
            put_place(&mut body, &place);
            put_bytes(&mut body, &os::path_to_bytes(&target));
        } else if meta.is_dir() {
            body.push(kind::DIR_GONE);
            put_place(&mut body, &place);
        } else if meta.is_file() {
            let id = identity(&meta);
            // Who has it open can still write to it.
            self.first_change(preopens, id, &meta, &place);
            deed.begin = self.end;
            if matches!(self.files.get(&id), Some(Tracked::Born)) {
                return deed;
            }
            let number = self.kept;
            let name = kept_name(self.mark, number);
            let linked = dir.dir.hard_link(path, &self.dir, &name).is_ok();
            // Other file systems, and those without hard links, get a copy.
            if !linked {
                if dir.dir.copy(path, &self.dir, &name).is_err() {
                    self.give_up();
                    return nothing;
                }
                self.pending.copies().push(name);
            }
            self.kept += 1;
            self.pending.has_names();
            body.push(kind::GONE);
            put_place(&mut body, &place);
            body.extend(number.to_le_bytes());
            // What happens to the file does not happen to its copy.
            let last = self.names_left(id, MetadataExt::nlink(&meta)) == 1;
            let now = match linked {
                true => Some(Where::Kept(number)),
                false => last.then_some(Where::Nowhere),
            };
            deed.gone = Some((id, number, now));
        } else {
            return nothing;
        }
        self.record(&body);
        deed
    }

    /// How many of a file's names are not ours.
    pub fn names_left(&self, id: Identity, names: u64) -> u64 {
        match self.files.get(&id) {
            Some(Tracked::Old { ours, .. }) => names.saturating_sub(*ours),
            _ => names,
        }
    }

    /// What is at one path will be at another, instead of what is there.
    pub fn replaces(
        &mut self,
        (old, old_path, from): (&OpenDir, &str, &Place),
        (new, new_path, to): (&OpenDir, &str, &Place),
        preopens: &[Preopen],
    ) -> Deed {
        let id =
            |dir: &OpenDir, path| dir.dir.symlink_metadata(plain(path)).ok().map(|m| identity(&m));
        let nothing = Deed { begin: self.end, ..Deed::default() };
        let Some(moved) = id(old, old_path) else { return nothing };
        // Two names of one file: nothing happens then.
        if id(new, new_path) == Some(moved) {
            return nothing;
        }
        let deed = self.gone(preopens, new, new_path);
        if !self.can_name(from) || !self.can_name(to) {
            return deed;
        }
        let mut body = vec![kind::MOVED];
        put_place(&mut body, from);
        put_place(&mut body, to);
        self.record(&body);
        Deed { moved: Some((from.clone(), to.clone())), ..deed }
    }

    /// What was announced has been done, or not.
    pub fn settle(&mut self, deed: Deed, done: bool) {
        if !done {
            let kept = deed.gone.map(|(_, number, _)| kept_name(self.mark, number));
            kept.map(|kept| self.dir.remove_file(kept));
            if !self.broken {
                // At least the header stays, if the log was made for this.
                let header = self.log.as_ref().map_or(0, |_| self.header.len() as u64);
                self.end = deed.begin.max(header);
                if self.log.as_ref().is_some_and(|log| log.set_len(self.end).is_err()) {
                    self.give_up();
                }
            }
            return;
        }
        if let Some((id, _, now)) = deed.gone
            && let Some(Tracked::Old { at, ours, .. }) = self.files.get_mut(&id)
        {
            *ours += u64::from(matches!(now, Some(Where::Kept(_))));
            *at = now.unwrap_or_else(|| at.clone());
        }
        if let Some((from, to)) = deed.moved {
            for tracked in self.files.values_mut() {
                if let Tracked::Old { at: Where::Place(place), .. } = tracked {
                    place.follow(&from, &to);
                }
            }
        }
    }
}

impl Host {
    /// After what was announced has been done, or could not be done.
    pub(crate) fn settle(&mut self, deed: Option<Deed>, done: io::Result<()>) -> io::Result<()> {
        if let (Some(undo), Some(deed)) = (&mut self.undo, deed) {
            undo.settle(deed, done.is_ok());
        }
        done
    }

    /// Before a file is synced.
    pub(crate) fn sync_undo(&mut self) {
        // Its failure is not the program's: the next mark begins a good log.
        let _ = self.undo.as_mut().map(Undo::sync);
    }

    /// Before a file's contents change between two offsets.
    pub(crate) fn before_change(&mut self, fd: u32, from: u64, to: u64) {
        self.note_write(fd);
        if let (Some(undo), Ok(file)) = (&mut self.undo, self.fds.file(fd)) {
            undo.change(&self.preopens, file, from, to);
        }
    }
}

/// Bytes of a line of the chain.
pub(crate) const LINE: u64 = 17;

/// The marks of a directory; a line that was cut short is left out.
pub(crate) fn read_chain(dir: &Dir) -> io::Result<Vec<Mark>> {
    let text = match dir.read(CHAIN) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        text => text?,
    };
    let mark = |line: &[u8]| {
        let digits = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        Mark::from_str_radix(digits, 16).ok()
    };
    Ok(text.chunks_exact(LINE as usize).map_while(mark).collect())
}

pub(crate) fn log_name(mark: Mark) -> String {
    format!("{mark:016x}.undo")
}

pub(crate) fn kept_name(mark: Mark, number: u32) -> String {
    format!("{mark:016x}-{number}")
}

/// The same path without what it does not need. `link/` can be replaced, and is the link then, but it cannot be read, nor
/// `file/` linked; and a program reaches beneath `././.` further than the system looks.
fn plain(path: &str) -> String {
    Path::new(path).components().collect::<PathBuf>().to_string_lossy().into_owned()
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

fn put_place(out: &mut Vec<u8>, place: &Place) {
    out.extend((place.preopen as u32).to_le_bytes());
    put_bytes(out, place.path.as_bytes());
}
