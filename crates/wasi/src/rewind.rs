//! Going back to a mark: the logs of `undo`, from the newest to the mark's own, each from its end.
//!
//! Each record is cut off its log once it is undone, so a resume that is killed half-way is simply made again.
//! Directories that are another place now (`--dir`) are left alone. Everything goes through cap-std, so not even a
//! forged log reaches a file outside of the directories given to the program.

use crate::errors::{WasiError, doing};
use crate::fds::{Place, Preopen, identity};
use crate::os;
use crate::undo::{self, Mark, Where, kind, log_name};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// No record is longer: old contents of a megabyte, and a path.
const MOST_RECORD: u32 = 2 << 20;
/// No program has more preopened directories, or a longer path to one.
const MOST_PREOPENS: u32 = 1 << 16;

/// Undoes what was done after `mark`. False if there is no way back: the mark is not in the chain. A directory that is not
/// there knows of nothing to undo: the program comes from another place.
pub(crate) fn rewind(path: &Path, mark: Mark, preopens: &[Preopen]) -> Result<bool, WasiError> {
    let doing = || doing(format!("reading the undo log in {}", path.display()));
    let dir = match Dir::open_ambient_dir(path, ambient_authority()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        dir => dir.map_err(doing())?,
    };
    let chain = undo::read_chain(&dir).map_err(doing())?;
    let Some(at) = chain.iter().rposition(|m| *m == mark) else {
        return Ok(false);
    };
    let mut options = OpenOptions::new();
    let file = dir.open_with(undo::CHAIN, options.write(true)).map_err(doing())?;
    for (index, &mark) in chain.iter().enumerate().skip(at).rev() {
        // Before its log: if this is the end, there is no way back any more to the marks behind.
        file.set_len((index as u64 + 1) * undo::LINE).map_err(doing())?;
        let mut options = OpenOptions::new();
        let log = match dir.open_with(log_name(mark), options.read(true).write(true)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            log => log.map_err(doing())?.into_std(),
        };
        let mut log = Log::open(&dir, mark, log, preopens).map_err(|e| lost(path, e))?;
        while log.undo_last().map_err(|e| lost(path, e))? {}
        dir.remove_file(log_name(mark)).map_err(doing())?;
    }
    Ok(true)
}

/// The files are as they were at `mark`, though not by the log: what it says of the time since is of no use any more.
pub(crate) fn forget(path: &Path, mark: Mark) -> Result<(), WasiError> {
    let doing = || doing(format!("shortening the undo log in {}", path.display()));
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(doing())?;
    let chain = undo::read_chain(&dir).map_err(doing())?;
    let Some(at) = chain.iter().rposition(|m| *m == mark) else { return Ok(()) };
    let mut options = OpenOptions::new();
    let file = dir.open_with(undo::CHAIN, options.write(true)).map_err(doing())?;
    file.set_len((at as u64 + 1) * undo::LINE).map_err(doing())?;
    for &mark in &chain[at..] {
        match dir.remove_file(log_name(mark)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            gone => gone.map_err(doing())?,
        }
    }
    Ok(())
}

/// Whether there is no way back to `mark`, and whether there is anything to undo on it in the directories the program has
/// now. Fails as `rewind` would where a log is damaged, and changes nothing.
pub(crate) fn way_back(
    path: &Path,
    mark: Mark,
    preopens: &[Preopen],
) -> Result<(bool, bool), WasiError> {
    let doing = || doing(format!("reading the undo log in {}", path.display()));
    let dir = match Dir::open_ambient_dir(path, ambient_authority()) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((false, false)),
        dir => dir.map_err(doing())?,
    };
    let chain = undo::read_chain(&dir).map_err(doing())?;
    let Some(at) = chain.iter().rposition(|m| *m == mark) else {
        return Ok((true, false));
    };
    let mut any = false;
    for &mark in &chain[at..] {
        let log = match dir.open(log_name(mark)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            log => log.map_err(doing())?.into_std(),
        };
        let log = Log::open(&dir, mark, log, preopens).map_err(|e| lost(path, e))?;
        any |= log.check().map_err(|e| lost(path, e))?;
    }
    Ok((false, any))
}

fn lost(path: &Path, source: io::Error) -> WasiError {
    WasiError::Undo { log: path.to_owned(), source }
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

struct Log<'a> {
    dir: &'a Dir,
    mark: Mark,
    file: File,
    /// Where each record begins, and the end.
    records: Vec<u64>,
    /// For each directory of the log, the one the program has now.
    preopens: Vec<Option<&'a Preopen>>,
}

impl<'a> Log<'a> {
    fn open(dir: &'a Dir, mark: Mark, file: File, now: &'a [Preopen]) -> io::Result<Log<'a>> {
        let length = file.metadata()?.len();
        if length == 0 {
            return Err(damaged("it could not be written when the files were changed"));
        }
        let mut at = undo::MAGIC.len() as u64;
        if read(&file, 0, at)? != undo::MAGIC {
            return Err(damaged("it is not an undo log of this version"));
        }
        let mut number = || -> io::Result<u32> {
            let n = read(&file, at, 4)?;
            at += 4;
            Ok(u32::from_le_bytes([n[0], n[1], n[2], n[3]]))
        };
        let count = number()?;
        if count > MOST_PREOPENS {
            return Err(damaged("it names too many directories"));
        }
        let mut preopens = vec![];
        for _ in 0..count {
            let n = read(&file, at, 4)?;
            let n = u32::from_le_bytes([n[0], n[1], n[2], n[3]]);
            if n > MOST_PREOPENS {
                return Err(damaged("the path of a directory is too long"));
            }
            let host = os::path_from_bytes(read(&file, at + 4, n.into())?);
            at += 4 + u64::from(n);
            preopens.push(now.iter().find(|p| p.host == host));
        }
        let mut records = vec![at];
        while at < length {
            // What was being written when the process ended is not whole, and its deed not done.
            if length - at < 8 {
                break;
            }
            let head = read(&file, at, 8)?;
            let size = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            let next = at + 8 + u64::from(size);
            if size > MOST_RECORD || next > length {
                break;
            }
            at = next;
            records.push(at);
        }
        Ok(Log { dir, mark, file, records, preopens })
    }

    /// Whether there is anything in it that can be undone.
    fn check(&self) -> io::Result<bool> {
        for ends in self.records.windows(2) {
            self.record(ends[0], ends[1])?;
        }
        Ok(self.records.len() > 1 && self.preopens.iter().any(Option::is_some))
    }

    /// A record's body.
    fn record(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let mut bytes = read(&self.file, start, end - start)?;
        let body = bytes.split_off(8);
        if crc32c::crc32c(&body).to_le_bytes() != bytes[4..8] {
            return Err(damaged("a record's checksum does not match"));
        }
        Ok(body)
    }

    /// Undoes the last record and cuts it off; false when there are no more.
    fn undo_last(&mut self) -> io::Result<bool> {
        let [.., start, end] = self.records[..] else { return Ok(false) };
        self.undo(&mut Cursor(&self.record(start, end)?))?;
        self.file.set_len(start)?;
        self.records.pop();
        Ok(true)
    }

    fn undo(&self, c: &mut Cursor<'_>) -> io::Result<()> {
        match c.u8()? {
            kind::MADE => {
                let Some((dir, path)) = self.place(c)? else { return Ok(()) };
                match dir.symlink_metadata(&path) {
                    Err(_) => Ok(()),
                    // Somebody else may have put something into it.
                    Ok(meta) if meta.is_dir() => {
                        let _ = dir.remove_dir(&path);
                        Ok(())
                    }
                    Ok(_) => dir.remove_file(&path),
                }
            }
            kind::FILE => {
                let place = self.place(c)?;
                let (size, secs, nanos) = (c.u64()?, c.u64()?, c.u32()?);
                let Some((dir, path)) = place else { return Ok(()) };
                let Some(file) = writable(dir, &path)? else { return Ok(()) };
                file.set_len(size)?;
                let since =
                    Duration::from_secs(secs).checked_add(Duration::from_nanos(nanos.into()));
                if let Some(time) = since.and_then(|since| UNIX_EPOCH.checked_add(since)) {
                    file.set_modified(time)?;
                }
                Ok(())
            }
            kind::BYTES => {
                let found = match self.contents(c)? {
                    Some(Where::Kept(n)) => writable(self.dir, &undo::kept_name(self.mark, n))?,
                    Some(Where::Place(place)) => match self.preopens[place.preopen] {
                        Some(preopen) => writable(&preopen.dir, &place.path)?,
                        None => None,
                    },
                    _ => None,
                };
                let (offset, data) = (c.u64()?, c.0);
                let Some(file) = found else { return Ok(()) };
                let mut done = 0;
                while done < data.len() {
                    match os::write_at(&file, &data[done..], offset + done as u64)? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        n => done += n,
                    }
                }
                Ok(())
            }
            kind::GONE => {
                let place = self.place(c)?;
                let kept = undo::kept_name(self.mark, c.u32()?);
                let Some((dir, path)) = place else { return Ok(()) };
                let Ok(meta) = self.dir.symlink_metadata(&kept) else { return Ok(()) };
                let there = dir.symlink_metadata(&path).ok();
                make_above(dir, &path);
                if there.is_none_or(|there| identity(&there) != identity(&meta))
                    && self.dir.rename(&kept, dir, &path).is_err()
                {
                    self.dir.copy(&kept, dir, &path)?;
                }
                match self.dir.remove_file(&kept) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                    _ => Ok(()),
                }
            }
            kind::LINK_GONE => {
                let place = self.place(c)?;
                let target = os::path_from_bytes(c.bytes()?.to_vec());
                match place {
                    Some((dir, path)) if dir.symlink_metadata(&path).is_err() => {
                        make_above(dir, &path);
                        dir.symlink_contents(target, &path)
                    }
                    _ => Ok(()),
                }
            }
            kind::DIR_GONE => match self.place(c)? {
                Some((dir, path)) if dir.symlink_metadata(&path).is_err() => {
                    dir.create_dir_all(&path)
                }
                _ => Ok(()),
            },
            kind::MOVED => {
                let (Some((from, a)), Some((to, b))) = (self.place(c)?, self.place(c)?) else {
                    return Ok(());
                };
                // Else it was not done, or is undone already.
                if from.symlink_metadata(&a).is_err() && to.symlink_metadata(&b).is_ok() {
                    make_above(from, &a);
                    to.rename(&b, from, &a)?;
                }
                Ok(())
            }
            _ => Err(damaged("a record of an unknown kind")),
        }
    }

    /// A directory and the path beneath it, unless the program has another directory now.
    fn place(&self, c: &mut Cursor<'_>) -> io::Result<Option<(&'a Dir, String)>> {
        let place = c.place(self.preopens.len())?;
        Ok(self.preopens[place.preopen].map(|preopen| (&*preopen.dir, place.path)))
    }

    fn contents(&self, c: &mut Cursor<'_>) -> io::Result<Option<Where>> {
        Ok(match c.u8()? {
            0 => Some(Where::Place(c.place(self.preopens.len())?)),
            1 => Some(Where::Kept(c.u32()?)),
            _ => return Err(damaged("a place of an unknown kind")),
        })
    }
}

/// Makes the directories above a path, which somebody else may have taken away.
fn make_above(dir: &Dir, path: &str) {
    if let Some((above, _)) = path.rsplit_once('/') {
        // That it failed shows in what comes next.
        let _ = dir.create_dir_all(above);
    }
}

/// The regular file at `path`, if there is one.
fn writable(dir: &Dir, path: &str) -> io::Result<Option<File>> {
    match dir.symlink_metadata(path) {
        Ok(meta) if meta.is_file() => {
            let mut options = OpenOptions::new();
            Ok(Some(dir.open_with(path, options.write(true))?.into_std()))
        }
        _ => Ok(None),
    }
}

fn read(file: &File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    let mut done = 0;
    while done < bytes.len() {
        match os::read_at(file, &mut bytes[done..], at + done as u64)? {
            0 => return Err(damaged("it ends too early")),
            n => done += n,
        }
    }
    Ok(bytes)
}

/// What is left of a record.
struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, n: usize) -> io::Result<&'b [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(n).ok_or_else(|| damaged("a record is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> io::Result<u32> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u64(&mut self) -> io::Result<u64> {
        let mut b = [0; 8];
        b.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(b))
    }

    fn bytes(&mut self) -> io::Result<&'b [u8]> {
        let n = self.u32()?;
        self.take(n as usize)
    }

    fn place(&mut self, preopens: usize) -> io::Result<Place> {
        let preopen = self.u32()? as usize;
        let path = std::str::from_utf8(self.bytes()?).map_err(|_| damaged("a path is not text"))?;
        if preopen >= preopens {
            return Err(damaged("a path beneath a directory that is not there"));
        }
        Ok(Place { preopen, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;
    use crate::fds::OpenFile;
    use crate::undo::Undo;
    use std::fs;
    use std::sync::Arc;

    /// The log that `docs/format.md` has as an example is written so, and undone.
    #[test]
    fn the_documented_example() {
        let (own, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let log = own.path().join("job");
        let (a, b) = (work.path().join("a"), work.path().join("b"));
        fs::write(&b, "hello").unwrap();
        let file = File::options().read(true).write(true).open(&b).unwrap();
        let changed = UNIX_EPOCH + Duration::new(1_000_000_000, 7);
        file.set_modified(changed).unwrap();

        let dir = Dir::open_ambient_dir(work.path(), ambient_authority()).unwrap();
        let preopens =
            [Preopen { guest: "/work".to_owned(), host: "/tmp".into(), dir: Arc::new(dir) }];
        let place = |path: &str| Place { preopen: 0, path: path.to_owned() };
        let file = OpenFile {
            file,
            place: place("b"),
            readable: true,
            writable: true,
            append: false,
            nonblock: false,
            offset: 0,
            noted: None,
            known: None,
        };
        let mut writer = Undo::open(&log, &preopens, None).unwrap();
        writer.made(&place("a"));
        fs::write(&a, "").unwrap();
        writer.change(&preopens, &file, 0, 2);
        fs::write(&b, "HEllo, and more").unwrap();
        drop(writer);

        let chain = Dir::open_ambient_dir(&log, ambient_authority()).unwrap();
        let mark = *undo::read_chain(&chain).unwrap().last().unwrap();
        assert_eq!(fs::read(log.join(log_name(mark))).unwrap(), examples::bytes("undo-example"));
        assert!(rewind(&log, mark, &preopens).unwrap());
        assert!(!a.exists());
        assert_eq!(fs::read(&b).unwrap(), b"hello");
        assert_eq!(fs::metadata(&b).unwrap().modified().unwrap(), changed);
    }
}
