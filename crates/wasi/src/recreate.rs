//! Putting back files that travelled with a checkpoint.
//!
//! ```text
//!   items ──plan──> removed, made, written      what is not as it was: looked at, contents compared; nothing is changed
//!             └──── the first job's, for a clone: refused
//!         ──carry out──> beside it, then renamed: a resume that is killed half-way is simply made again
//! ```
//!
//! Items may be a stranger's. Everything goes through cap-std, which does not leave the program's directories, and names that
//! lead through links are refused.

use crate::carry::{Above, Item, What, look};
use crate::errors::{WasiError, doing};
use crate::fds::{Host, Place};
use crate::sleep::mtime;
use crate::state::SavedFd;
use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const CHUNK: usize = 64 << 10;

/// Files that travelled with a checkpoint.
#[derive(Debug, Clone)]
pub struct Carried {
    /// What they are.
    pub items: Vec<Item>,
    /// What is in them.
    pub contents: Arc<dyn Contents>,
}

/// The contents of files.
pub trait Contents: std::fmt::Debug + Send + Sync {
    /// Gives the bytes of each file, in any order, by its directory and its path.
    ///
    /// # Errors
    /// The first of `each`; or they cannot be read.
    fn read(&self, each: &mut Each<'_>) -> io::Result<()>;
}

/// Is given directory, path and bytes.
pub type Each<'a> = dyn FnMut(usize, &str, &mut dyn Read) -> io::Result<()> + 'a;

/// What is to be done, by the items' places in their list.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    removed: Vec<usize>,
    dirs: Vec<usize>,
    links: Vec<usize>,
    written: BTreeSet<usize>,
    /// Files that are right but for the time of their last change.
    times: Vec<usize>,
}

/// Where each item stands in its list.
type Places<'a> = BTreeMap<(usize, &'a str), usize>;

fn places(items: &[Item]) -> Places<'_> {
    items.iter().enumerate().map(|(at, item)| ((item.dir, &item.path[..]), at)).collect()
}

impl Carried {
    /// Without files that the program had only read, and closed: older layers may still have them.
    pub(crate) fn that_matter(mut self, fds: &[(u32, SavedFd)]) -> Carried {
        let place = |(_, saved): &(u32, SavedFd)| match saved {
            SavedFd::File(file) => Some((file.place.preopen, file.place.path.clone())),
            _ => None,
        };
        let open: BTreeSet<_> = fds.iter().filter_map(place).collect();
        self.items
            .retain(|item| !item.is_only_read() || open.contains(&(item.dir, item.path.clone())));
        self
    }
}

impl Plan {
    /// How many files and links are written, and how many names removed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.written.len() + self.links.len(), self.removed.len())
    }

    /// What would be other than it is.
    fn changes(&self) -> impl Iterator<Item = usize> {
        let lists = [&self.removed, &self.dirs, &self.links];
        lists.into_iter().flatten().chain(&self.written).copied()
    }
}

impl Host {
    fn dir_of(&self, item: &Item) -> Result<&Arc<Dir>, WasiError> {
        let none =
            WasiError::Damaged { at: 0, what: "a file beneath a directory that is not there" };
        self.preopens.get(item.dir).map(|preopen| &preopen.dir).ok_or(none)
    }

    fn name_of(&self, item: &Item) -> String {
        self.path_of(&Place { preopen: item.dir, path: item.path.clone() })
    }

    /// Looks at what there is.
    pub(crate) fn plan(&self, carried: &Carried) -> Result<Plan, WasiError> {
        let items = &carried.items;
        let places = places(items);
        let (mut plan, mut above) = (Plan::default(), Above::default());
        let mut compare = BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let dir = self.dir_of(item)?;
            let asking = |e| doing(format!("asking about {:?}", self.name_of(item)))(e);
            let plain = above.is_plain(item.dir, dir, &item.path);
            if !plain && item.what != What::Gone {
                self.not_in_the_way(item, dir, &places, items)?;
            }
            let there = if plain { look(dir, &item.path).map_err(asking)? } else { None };
            match (&item.what, there) {
                (What::Gone, None) => {}
                (What::Gone, Some(_)) => plan.removed.push(at),
                (What::Dir { .. }, Some(there)) if there.is_dir() => {}
                (What::Dir { .. }, _) => plan.dirs.push(at),
                (What::Link { target }, there) => {
                    let leads = || dir.read_link_contents(&item.path).is_ok_and(|to| to == *target);
                    if !(there.is_some_and(|there| there.is_symlink()) && leads()) {
                        plan.links.push(at);
                    }
                }
                (What::File { size, mtime: then, .. }, Some(there))
                    if there.is_file() && there.len() == *size =>
                {
                    compare.insert(at);
                    if mtime(&there) != *then {
                        plan.times.push(at);
                    }
                }
                // The check of open files says whether it is what it was.
                (What::File { .. }, Some(_)) if item.is_only_read() => {}
                (What::File { .. }, _) => drop(plan.written.insert(at)),
            }
        }
        if compare.is_empty() {
            return Ok(plan);
        }
        let mut differ = BTreeSet::new();
        let mut each = |dir: usize, path: &str, bytes: &mut dyn Read| {
            let Some(at) = places.get(&(dir, path)).filter(|at| compare.contains(at)) else {
                return Ok(());
            };
            let Some(preopen) = self.preopens.get(dir) else { return Ok(()) };
            // What cannot be read can perhaps be replaced.
            let same = preopen.dir.open(path).map(|file| same(file.into_std(), bytes));
            if !same.unwrap_or(Ok(false))? {
                differ.insert(*at);
            }
            Ok(())
        };
        carried.contents.read(&mut each).map_err(doing("comparing files with the image"))?;
        plan.times.retain(|at| !differ.contains(at));
        plan.written.extend(differ.into_iter().filter(|at| !items[*at].is_only_read()));
        Ok(plan)
    }

    /// Something above an item is no directory. That is well if the image says what it is to be.
    fn not_in_the_way(
        &self,
        item: &Item,
        dir: &Dir,
        places: &Places<'_>,
        items: &[Item],
    ) -> Result<(), WasiError> {
        let mut at = &item.path[..];
        while let Some((above, _)) = at.rsplit_once('/') {
            at = above;
            let known =
                places.get(&(item.dir, above)).is_some_and(|i| items[*i].what != What::Gone);
            if known {
                continue;
            }
            if look(dir, above).ok().flatten().is_some_and(|meta| !meta.is_dir()) {
                let above = Item { path: above.to_owned(), ..item.clone() };
                let (path, above) = (self.name_of(item), self.name_of(&above));
                return Err(WasiError::InTheWay { path, above });
            }
        }
        Ok(())
    }

    /// Refuses to change what is in directories that are `theirs`.
    pub(crate) fn may_recreate(
        &self,
        plan: &mut Plan,
        items: &[Item],
        theirs: impl Fn(&str) -> bool,
    ) -> Result<(), WasiError> {
        let is_theirs =
            |at: &usize| self.preopens.get(items[*at].dir).is_some_and(|p| theirs(&p.guest));
        plan.times.retain(|at| !is_theirs(at));
        match plan.changes().find(is_theirs) {
            Some(at) => Err(WasiError::NotOursToWrite { path: self.name_of(&items[at]) }),
            None => Ok(()),
        }
    }

    /// The names are to survive the end of the machine, too: the program goes on from them.
    fn sync_names(&self, plan: &Plan, items: &[Item]) -> Result<(), WasiError> {
        let mut dirs = BTreeSet::new();
        for item in plan.changes().map(|at| &items[at]) {
            // Those above may have been made with it.
            let mut path = &item.path[..];
            while let Some((above, _)) = path.rsplit_once('/') {
                path = above;
                dirs.insert((item.dir, above));
            }
            dirs.insert((item.dir, ""));
        }
        for (preopen, path) in dirs {
            let place = Place { preopen, path: path.to_owned() };
            let syncing = doing(format!("syncing {:?}", self.path_of(&place)));
            let Some(preopen) = self.preopens.get(preopen) else { continue };
            // By now it may be a link, or be gone.
            let is_dir = |path| preopen.dir.symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
            if !path.is_empty() && !is_dir(path) {
                continue;
            }
            match sync_dir(&preopen.dir, path) {
                // Removed with what was in it; or it may not be read, which is no reason to stop.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::NotADirectory
                            | io::ErrorKind::PermissionDenied
                    ) => {}
                done => done.map_err(syncing)?,
            }
        }
        Ok(())
    }

    /// What would be written, made and removed, by the program's names.
    pub(crate) fn in_words(&self, plan: &Plan, items: &[Item]) -> [Vec<String>; 3] {
        let name = |at: usize| self.name_of(&items[at]);
        [
            plan.written.iter().copied().map(name).collect(),
            plan.dirs.iter().chain(&plan.links).copied().map(name).collect(),
            plan.removed.iter().copied().map(name).collect(),
        ]
    }

    /// Does it.
    pub(crate) fn recreate(&self, plan: &Plan, carried: &Carried) -> Result<(), WasiError> {
        let items = &carried.items;
        let putting = |item: &Item| {
            let path = self.name_of(item);
            move |e| doing(format!("putting back {path:?} from the image"))(e)
        };
        // The deepest first. A directory that others have put something into stays.
        for item in plan.removed.iter().rev().map(|at| &items[*at]) {
            remove(self.dir_of(item)?, &item.path, true).map_err(putting(item))?;
        }
        for item in plan.dirs.iter().map(|at| &items[*at]) {
            let dir = self.dir_of(item)?;
            remove(dir, &item.path, false).map_err(putting(item))?;
            dir.create_dir_all(&item.path).map_err(putting(item))?;
        }
        let places = places(items);
        let mut failed = None;
        let mut each = |dir: usize, path: &str, bytes: &mut dyn Read| {
            let Some(at) = places.get(&(dir, path)).filter(|at| plan.written.contains(at)) else {
                return Ok(());
            };
            let done = self.dir_of(&items[*at]).map(|dir| write(dir, &items[*at], bytes));
            match done {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(e)) => failed = Some(putting(&items[*at])(e)),
                Err(e) => failed = Some(e),
            }
            Err(io::ErrorKind::Other.into())
        };
        if !plan.written.is_empty() {
            let read = carried.contents.read(&mut each);
            read.map_err(|e| failed.unwrap_or_else(|| doing("reading files of the image")(e)))?;
        }
        for item in plan.links.iter().map(|at| &items[*at]) {
            let dir = self.dir_of(item)?;
            let What::Link { target } = &item.what else { continue };
            let link = || {
                remove(dir, &item.path, false)?;
                make_above(dir, &item.path)?;
                DirExt::symlink(&**dir, target, &item.path)
            };
            link().map_err(putting(item))?;
        }
        for item in plan.times.iter().map(|at| &items[*at]) {
            let What::File { mtime, .. } = item.what else { continue };
            let file = self.dir_of(item)?.open_with(&item.path, OpenOptions::new().write(true));
            // If it matters, the check of the file finds it.
            let _ = file.map(|file| set_mtime(&file.into_std(), mtime));
        }
        // Last: one may forbid to write into it.
        for item in plan.dirs.iter().rev().map(|at| &items[*at]) {
            let What::Dir { mode } = item.what else { continue };
            let dir = self.dir_of(item)?;
            dir.set_permissions(&item.path, Permissions::from_mode(mode)).map_err(putting(item))?;
        }
        self.sync_names(plan, items)
    }
}

fn sync_dir(dir: &Dir, path: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    dir.open_with(if path.is_empty() { "." } else { path }, options.read(true))?.sync_all()
}

fn same(mut file: std::fs::File, bytes: &mut dyn Read) -> io::Result<bool> {
    let (mut here, mut there) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let n = fill(bytes, &mut there)?;
        // What cannot be read is not the same.
        let found = fill(&mut file, &mut here).unwrap_or(0);
        if here[..found] != there[..n] {
            return Ok(false);
        }
        if n < CHUNK {
            return Ok(true);
        }
    }
}

fn fill(from: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match from.read(&mut into[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Removes what is there; a directory only if it is empty.
fn remove(dir: &Dir, path: &str, may_stay: bool) -> io::Result<()> {
    match look(dir, path)? {
        None => Ok(()),
        Some(meta) if meta.is_dir() => match dir.remove_dir(path) {
            Err(e) if may_stay && e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            done => done,
        },
        Some(_) => dir.remove_file(path),
    }
}

fn make_above(dir: &Dir, path: &str) -> io::Result<()> {
    match path.rsplit_once('/') {
        Some((above, _)) => dir.create_dir_all(above),
        None => Ok(()),
    }
}

fn write(dir: &Dir, item: &Item, bytes: &mut dyn Read) -> io::Result<()> {
    let What::File { mode, mtime, size } = item.what else { return Ok(()) };
    make_above(dir, &item.path)?;
    // A name that nobody else has: what is there already may be the program's, or its user's.
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|_| io::Error::other("no random numbers"))?;
    let name = format!(".dormouse-resume-{:016x}.tmp", u64::from_le_bytes(random));
    let temporary = match item.path.rsplit_once('/') {
        Some((above, _)) => format!("{above}/{name}"),
        None => name,
    };
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = dir.open_with(&temporary, &options)?.into_std();
    let mut put = || {
        if io::copy(&mut bytes.take(size), &mut file)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode & 0o777);
        file.set_permissions(mode)?;
        set_mtime(&file, mtime)?;
        file.sync_all()?;
        if look(dir, &item.path)?.is_some_and(|there| there.is_dir()) {
            dir.remove_dir(&item.path)?;
        }
        dir.rename(&temporary, dir, &item.path)
    };
    put().inspect_err(|_| drop(dir.remove_file(&temporary)))
}

fn set_mtime(file: &std::fs::File, mtime: u64) -> io::Result<()> {
    match UNIX_EPOCH.checked_add(Duration::from_nanos(mtime)) {
        Some(time) => file.set_modified(time),
        None => Ok(()),
    }
}
