//! A second set of a program's directories, as they were at a checkpoint, so that it can be run again from there while the first
//! stays as it is.
//!
//! ```text
//!   /data, /data/in ──copied──> INTO/0, INTO/0/in         one beneath another: copied once
//!   STORE/undo/sim  ──copied──> INTO/undo                 the same log, but of INTO/0
//!   INTO/0          ──undone, with that log──> as it was at the mark;  INTO/undo goes
//! ```
//!
//! The system shares blocks instead of copying where the file system can. Files that are one under several names stay one.
//! What is neither file, directory nor symbolic link is left out, and so is what may not be read, and the store, which INTO lies in.

use crate::errors::{WasiError, doing};
use crate::fds::Preopen;
use crate::os;
use crate::rewind::rewind;
use crate::state::Saved;
use crate::undo::{self, MAGIC, Mark};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::collections::HashMap;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// No path in a log is longer.
const MOST_PATH: u32 = 1 << 16;

/// What is to be made again.
#[derive(Debug)]
pub struct Original<'a> {
    /// Saved objects.
    pub saved: &'a [u8],
    /// The program's names of directories that are not to be copied.
    pub without: &'a [String],
    /// The undo log of the job's files, and the mark they are to go back to.
    pub undo: Option<(&'a Path, Mark)>,
    /// How many bytes may be copied, of files and of the log.
    pub most: u64,
    /// A directory that is left out where it lies in one of the program's: what is made may lie in it.
    pub except: Option<&'a Path>,
    /// Whether contents of files are put into them then: directories that are not there are made, with nothing in them.
    pub carried: bool,
}

/// What was made.
#[derive(Debug, Default)]
pub struct Replica {
    /// Where each directory is now, and the program's name for it.
    pub dirs: Vec<(PathBuf, String)>,
    /// Bytes of files.
    pub bytes: u64,
    /// How many names were left out.
    pub left_out: u64,
    /// The files are as they are now: the undo log knows no way back to the mark.
    pub stranded: bool,
}

impl Replica {
    /// Makes it, in a directory that is made for it.
    ///
    /// # Errors
    /// [`WasiError::ManyBytes`] before anything is copied; what the system says; a damaged log. What there is then is for
    /// the caller to remove.
    pub fn make(of: &Original<'_>, into: &Path) -> Result<Replica, WasiError> {
        let preopens = Saved::decode(of.saved)?.preopens;
        let all: Vec<(PathBuf, String)> =
            preopens.into_iter().map(|p| (real(&os::path_from_bytes(p.host)), p.guest)).collect();
        let wanted = |guest: &String| !of.without.contains(guest);
        // What others lie beneath comes before them.
        let mut hosts: Vec<_> = all.iter().filter(|d| wanted(&d.1)).map(|d| d.0.clone()).collect();
        hosts.sort();
        hosts.dedup();
        let mut copy = Copy { most: of.most, ..Copy::default() };
        copy.except.extend(of.except.and_then(identity));
        let mut roots: Vec<(PathBuf, PathBuf)> = vec![];
        for host in &hosts {
            if !roots.iter().any(|(root, _)| host.starts_with(root)) {
                if of.carried && !host.exists() {
                    roots.push((host.clone(), into.join(roots.len().to_string())));
                    continue;
                }
                copy.count(host).map_err(doing(format!("looking at {}", host.display())))?;
                roots.push((host.clone(), into.join(roots.len().to_string())));
            }
        }
        let undo = of.undo.filter(|(log, _)| !roots.is_empty() && log.exists());
        if let Some((log, _)) = undo {
            copy.count(log).map_err(doing(format!("looking at {}", log.display())))?;
        }
        if copy.bytes > of.most {
            return Err(WasiError::ManyBytes { bytes: copy.bytes, most: of.most });
        }
        let making = |path: &Path| doing(format!("making a copy in {}", path.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(into).map_err(making(into))?;
        copy.except.extend(identity(into));
        for (host, to) in &roots {
            let made = match host.exists() {
                true => copy.tree(host, to),
                false => fs::create_dir(to),
            };
            made.map_err(making(to))?;
            // They may have grown since they were counted.
            if copy.copied > of.most {
                return Err(WasiError::ManyBytes { bytes: copy.copied, most: of.most });
            }
        }
        let place = |host: &Path| {
            let host = real(host);
            let (root, to) = roots.iter().find(|(root, _)| host.starts_with(root))?;
            Some(to.join(host.strip_prefix(root).ok()?))
        };
        let mut made = Replica { bytes: copy.bytes, left_out: copy.left_out, ..Replica::default() };
        made.dirs = all
            .iter()
            .filter(|d| wanted(&d.1))
            .filter_map(|(host, guest)| Some((place(host)?, guest.clone())))
            .collect();
        if let Some((log, mark)) = undo {
            let own = into.join("undo");
            let copying = doing(format!("copying the undo log in {}", log.display()));
            copy.log(log, &own, &place).map_err(copying)?;
            made.stranded = !go_back(&made.dirs, &own, mark)?;
            fs::remove_dir_all(&own).map_err(making(&own))?;
        }
        Ok(made)
    }
}

/// Undoes what was done to files in these directories (where each is, and the program's name for it) after a mark of a log;
/// false if that does not know the mark.
///
/// # Errors
/// What the system says; a damaged log.
pub(crate) fn go_back(
    dirs: &[(PathBuf, String)],
    log: &Path,
    mark: Mark,
) -> Result<bool, WasiError> {
    let open = |(host, guest): &(PathBuf, String)| {
        let dir = Dir::open_ambient_dir(host, ambient_authority());
        let dir = dir.map_err(doing(format!("opening {}", host.display())))?;
        Ok(Preopen { guest: guest.clone(), host: host.clone(), dir: Arc::new(dir) })
    };
    let preopens = dirs.iter().map(open).collect::<Result<Vec<_>, WasiError>>()?;
    rewind(log, mark, &preopens)
}

#[derive(Default)]
struct Copy {
    most: u64,
    bytes: u64,
    /// Of these, how many were copied by now.
    copied: u64,
    left_out: u64,
    /// Directories that are left out.
    except: Vec<(u64, u64)>,
    /// Files with several names, and where they are by now.
    known: HashMap<(u64, u64), PathBuf>,
}

impl Copy {
    /// Adds up what a tree has, until it is too much.
    fn count(&mut self, root: &Path) -> io::Result<()> {
        let is_left_out = identity(root).is_some_and(|id| self.except.contains(&id));
        let mut open = if is_left_out { vec![] } else { vec![root.to_owned()] };
        while let Some(dir) = open.pop() {
            for entry in entries(&dir, dir == root)? {
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    if !self.except.contains(&(meta.dev(), meta.ino())) {
                        open.push(entry.path());
                    }
                } else if meta.is_file() {
                    self.bytes = self.bytes.saturating_add(meta.len());
                }
            }
            if self.bytes > self.most {
                break;
            }
        }
        Ok(())
    }

    fn tree(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let meta = fs::metadata(from)?;
        fs::create_dir(to)?;
        // The first ones made are the last that get their times: what is put into them changes these.
        let mut made = vec![(to.to_owned(), meta)];
        let mut next = 0;
        let mut froms = vec![from.to_owned()];
        if identity(from).is_some_and(|id| self.except.contains(&id)) {
            self.left_out += 1;
            froms.clear();
        }
        while let Some(from) = froms.get(next).cloned() {
            let to = made[next].0.clone();
            next += 1;
            for entry in entries(&from, next == 1)? {
                let (from, to) = (entry.path(), to.join(entry.file_name()));
                // It may be gone by now.
                let Ok(meta) = entry.metadata() else { continue };
                if self.copied > self.most {
                    return Ok(());
                }
                if meta.is_dir() && self.except.contains(&(meta.dev(), meta.ino())) {
                    self.left_out += 1;
                } else if meta.is_dir() {
                    fs::create_dir(&to)?;
                    made.push((to, meta));
                    froms.push(from);
                } else if meta.is_symlink() {
                    symlink(fs::read_link(&from)?, &to)?;
                } else if !meta.is_file() || !self.file(&from, &to, &meta)? {
                    self.left_out += 1;
                }
            }
        }
        for (dir, meta) in made.iter().rev() {
            // Its owner must be able to remove it one day.
            fs::set_permissions(dir, Permissions::from_mode(meta.mode() & 0o777 | 0o700))?;
            if let (Ok(dir), Ok(time)) = (File::open(dir), meta.modified()) {
                let _ = dir.set_modified(time);
            }
        }
        Ok(())
    }

    /// Copies an undo log; the directories it names lie where `place` says. What it keeps may still have another name in them.
    fn log(
        &mut self,
        from: &Path,
        to: &Path,
        place: &dyn Fn(&Path) -> Option<PathBuf>,
    ) -> io::Result<()> {
        os::private_dir(to)?;
        for entry in entries(from, true)? {
            let (name, meta) = (entry.file_name(), entry.metadata()?);
            let to = to.join(&name);
            if name.to_str().is_some_and(|name| name.ends_with(".undo")) {
                let (mut log, mut to) = (File::open(entry.path())?, File::create_new(to)?);
                if let Some(head) = moved(&mut BufReader::new(&log), place)? {
                    log.seek(SeekFrom::Start(head.old))?;
                    to.write_all(&head.new)?;
                } else {
                    log.rewind()?;
                }
                io::copy(&mut log, &mut to)?;
            } else if meta.is_file() {
                self.file(&entry.path(), &to, &meta)?;
            }
        }
        Ok(())
    }

    /// Whether there was something to copy.
    fn file(&mut self, from: &Path, to: &Path, meta: &Metadata) -> io::Result<bool> {
        let id = (meta.dev(), meta.ino());
        if meta.nlink() > 1 {
            if let Some(first) = self.known.get(&id) {
                fs::hard_link(first, to)?;
                return Ok(true);
            }
            self.known.insert(id, to.to_owned());
        }
        match fs::copy(from, to) {
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound
                ) =>
            {
                let _ = fs::remove_file(to);
                self.known.remove(&id);
                return Ok(false);
            }
            done => self.copied = self.copied.saturating_add(done?),
        };
        if meta.mode() & 0o7000 != 0 {
            fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o777))?;
        }
        // Times can be set by whoever owns a file, whatever its permissions are.
        File::open(to)?.set_modified(meta.modified()?)?;
        Ok(true)
    }
}

/// Whatever links lead there.
fn real(host: &Path) -> PathBuf {
    fs::canonicalize(host).unwrap_or_else(|_| host.to_owned())
}

/// Which directory it is, whatever it is called.
fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// What is in a directory. One that may not be read has nothing, unless it is the program's own.
fn entries(dir: &Path, own: bool) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !own => Ok(vec![]),
        entries => entries?.collect(),
    }
}

/// The beginning of a log, with other directories.
struct Head {
    new: Vec<u8>,
    /// How long it was.
    old: u64,
}

/// What is to stand at the beginning of this log; none if it is no log. What is wrong with it is found when it is undone.
fn moved(log: &mut dyn Read, place: &dyn Fn(&Path) -> Option<PathBuf>) -> io::Result<Option<Head>> {
    let mut bytes = |n: u64| {
        let mut bytes = vec![];
        let whole = (&mut *log).take(n).read_to_end(&mut bytes)? as u64 == n;
        Ok::<_, io::Error>(whole.then_some(bytes))
    };
    let number = |bytes: Vec<u8>| bytes.try_into().map_or(0, u32::from_le_bytes);
    let magic = bytes(MAGIC.len() as u64)?.filter(|magic| magic == MAGIC);
    let (Some(_), Some(count)) = (magic, bytes(4)?) else { return Ok(None) };
    let mut head = Head { new: [&MAGIC[..], &count].concat(), old: MAGIC.len() as u64 + 4 };
    for _ in 0..number(count) {
        let Some(length) = bytes(4)?.map(number).filter(|n| *n <= MOST_PATH) else {
            return Ok(None);
        };
        let Some(host) = bytes(length.into())? else { return Ok(None) };
        head.old += 4 + u64::from(length);
        // Of one that is not copied nothing is undone.
        let host = place(&os::path_from_bytes(host)).unwrap_or_default();
        undo::put_bytes(&mut head.new, &os::path_to_bytes(&host));
    }
    Ok(Some(head))
}
