//! Files whose contents travel with a checkpoint: which they are, and copies of them.
//!
//! ```text
//!   program runs     each call that changes a name or a file notes its place       Changes
//!   program stands   places + open files -> what each is now, and its signature    Found
//!                    those that are not as they were at the last checkpoint: copied
//! ```
//!
//! A place that was noted stays: it is part of all later checkpoints too, until the program takes it away again and it was
//! the program that made it. A file that is only open goes along while it is open, marked as [`ONLY_READ`]: it is somebody
//! else's, so a resume writes it only where it is missing. A signature is device, inode, length, modes and times, and whether
//! the program has written since: a clock that stands still between two writes hides nothing.

use crate::describe::guest_path;
use crate::errors::{WasiError, doing};
use crate::fds::{Descriptor, Host, Place, identity};
use crate::os::{self, AsFd, Identity};
use crate::sleep::mtime;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions, OpenOptionsExt, PermissionsExt};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};

/// What names in a layer begin with that mean something else.
const WHITEOUT: &str = ".wh.";
/// Beside a file's permissions: the program had it open, and had not changed it.
pub const ONLY_READ: u32 = 0o1000;
/// Directories one beneath the other in what was renamed.
const MAX_DEPTH: usize = 1000;

/// A name beneath one of the program's directories, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which directory, by its place among those given to the program.
    pub dir: usize,
    /// The path beneath it, its parts joined by `/`.
    pub path: String,
    /// What is there.
    pub what: What,
}

/// See [`Item`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Nothing.
    Gone,
    /// A directory.
    Dir {
        /// Permissions.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: String,
    },
    /// A regular file.
    File {
        /// Permissions, and [`ONLY_READ`].
        mode: u32,
        /// When it was changed, in nanoseconds since 1970.
        mtime: u64,
        /// Bytes.
        size: u64,
    },
}

impl Item {
    /// Whether it is a file that the program had open and had not changed.
    pub fn is_only_read(&self) -> bool {
        matches!(self.what, What::File { mode, .. } if mode & ONLY_READ != 0)
    }
}

/// An item as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub item: Item,
    signature: Option<(Identity, i64, i64)>,
    /// Counts up with each look: when the program changed it, and when it was looked at.
    touched: u64,
    looked: u64,
}

impl Found {
    /// Whether it is what it was when it was found earlier, contents and all.
    pub fn is_still(&self, earlier: &Found) -> bool {
        self.item == earlier.item
            && self.signature == earlier.signature
            && self.touched <= earlier.looked
    }
}

/// What the program has changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    places: BTreeMap<Place, Change>,
    /// How often it was looked.
    pub looks: u64,
    /// Directories with names that could not be carried when they were last looked at.
    strange: BTreeSet<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Change {
    /// The program made it, where there was nothing when the job began.
    ours: bool,
    /// It is only open.
    only_read: bool,
    touched: u64,
}

impl Changes {
    /// Those that an image remembers.
    pub fn of(items: &[Item]) -> Changes {
        let mut changes = Changes::default();
        for item in items {
            let place = Place { preopen: item.dir, path: item.path.clone() };
            match item.is_only_read() {
                true => changes.open(place),
                false => changes.touched(&place),
            }
        }
        changes
    }

    /// Something that may have been there is another now.
    pub fn touched(&mut self, place: &Place) {
        self.note(place, false);
    }

    /// Something is where there was nothing.
    pub fn made(&mut self, place: &Place) {
        self.note(place, true);
    }

    fn note(&mut self, place: &Place, ours: bool) {
        let new = Change { ours, only_read: false, touched: self.looks };
        let change = self.places.entry(place.clone()).or_insert(new);
        (change.only_read, change.touched) = (false, self.looks);
    }

    /// It is open now.
    fn open(&mut self, place: Place) {
        let new = Change { ours: false, only_read: true, touched: 0 };
        self.places.entry(place).or_insert(new);
    }

    /// There is nothing any more.
    pub fn gone(&mut self, place: &Place) {
        match self.places.get(place) {
            Some(change) if change.ours => drop(self.places.remove(place)),
            _ => self.touched(place),
        }
    }

    /// What was at one place is at another, with all beneath it; `new` says whether there was nothing before.
    pub fn moved(&mut self, from: &Place, to: &Place, new: bool, dir: Option<&Dir>) {
        self.gone(from);
        self.note(to, new);
        let mut todo = vec![(String::new(), 0)];
        while let (Some((beneath, depth)), Some(dir)) = (todo.pop(), dir) {
            let path = format!("{}{beneath}", to.path);
            let is_dir = dir.symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
            let Some(Ok(entries)) = is_dir.then(|| dir.read_dir(&path)) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let Some(name) = name.to_str().filter(|_| depth < MAX_DEPTH) else {
                    self.strange.insert(Place { preopen: to.preopen, path: path.clone() });
                    continue;
                };
                let rest = format!("{beneath}/{name}");
                let at = |place: &Place| Place {
                    preopen: place.preopen,
                    path: format!("{}{rest}", place.path).trim_start_matches('/').to_owned(),
                };
                let ours = self.places.get(&at(from)).is_some_and(|change| change.ours);
                self.gone(&at(from));
                self.note(&at(to), new && ours);
                todo.push((rest, depth + 1));
            }
        }
    }
}

/// Which directories lie beneath real directories only, as was found before.
#[derive(Default)]
pub(crate) struct Above(HashMap<(usize, String), bool>);

impl Above {
    /// Whether no part of `path` but its last is a symbolic link, or something else than a directory.
    pub fn is_plain(&mut self, preopen: usize, dir: &Dir, path: &str) -> bool {
        let Some((above, _)) = path.rsplit_once('/') else { return true };
        if let Some(known) = self.0.get(&(preopen, above.to_owned())) {
            return *known;
        }
        let plain = self.is_plain(preopen, dir, above)
            && dir.symlink_metadata(above).is_ok_and(|meta| meta.is_dir());
        self.0.insert((preopen, above.to_owned()), plain);
        plain
    }
}

/// A file itself, not where a link leads; a pipe in its place is not waited for. That it is read is not seen in its times, where the
/// system allows that.
pub(crate) fn open_to_read(dir: &Dir, path: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).nonblock(true).follow(FollowSymlinks::No);
    let unseen = dir.open_with(path, options.clone().custom_flags(os::UNSEEN));
    Ok(unseen.or_else(|_| dir.open_with(path, &options))?.into_std())
}

/// What is at a path; nothing if there is nothing.
pub(crate) fn look(dir: &Dir, path: &str) -> io::Result<Option<Metadata>> {
    match dir.symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) => match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
            _ => Err(e),
        },
    }
}

/// Whether a directory has names that cannot be carried, or lies too deep.
fn is_strange(dir: &Dir, path: &str) -> bool {
    let path = if path.is_empty() { "." } else { path };
    if !dir.symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return false;
    }
    let too_deep = path.split('/').count() > MAX_DEPTH;
    match dir.read_dir(path) {
        Ok(mut entries) => entries
            .any(|entry| entry.is_ok_and(|entry| too_deep || entry.file_name().to_str().is_none())),
        Err(e) => !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

impl Host {
    /// Looks at all that was changed, and at all files that are open.
    pub(crate) fn changed_files(&mut self) -> Result<Option<Vec<Found>>, WasiError> {
        if self.changes.is_none() {
            return Ok(None);
        }
        let mut open = BTreeSet::new();
        for (fd, descriptor) in self.fds.iter() {
            let Descriptor::File(file) = descriptor else { continue };
            let asking = || doing(format!("asking about fd {fd}, {:?}", self.path_of(&file.place)));
            let meta = file.metadata().map_err(asking())?;
            if meta.is_file() {
                open.insert(self.find(fd, &file.place, file.file.as_fd(), &meta)?);
            }
        }
        let Some(changes) = &mut self.changes else { return Ok(None) };
        changes.places.retain(|place, change| !change.only_read || open.contains(place));
        open.into_iter().for_each(|place| changes.open(place));
        let preopens = &self.preopens;
        changes.strange.retain(|place| {
            preopens.get(place.preopen).is_some_and(|preopen| is_strange(&preopen.dir, &place.path))
        });
        let looked = changes.looks;
        changes.looks += 1;
        let Some(changes) = &self.changes else { return Ok(None) };
        if let Some(place) = changes.strange.first() {
            return Err(
                self.not_carried(place, "it has names that are not UTF-8, or too many levels")
            );
        }
        let mut above = Above::default();
        let mut all = vec![];
        for (place, change) in &changes.places {
            let Some((mut item, signature)) = self.item(place, &mut above)? else { continue };
            if let (What::File { mode, .. }, true) = (&mut item.what, change.only_read) {
                *mode |= ONLY_READ;
            }
            all.push(Found { item, signature, touched: change.touched, looked });
        }
        // Through one name of a file all its names change.
        let mut newest: HashMap<Identity, u64> = HashMap::new();
        let mut changed: HashSet<Identity> = HashSet::new();
        for found in &all {
            if let Some((id, ..)) = found.signature {
                let newest = newest.entry(id).or_default();
                *newest = found.touched.max(*newest);
                if !found.item.is_only_read() {
                    changed.insert(id);
                }
            }
        }
        for found in &mut all {
            if let Some(touched) = found.signature.and_then(|(id, ..)| newest.get(&id)) {
                found.touched = *touched;
            }
            if let (What::File { mode, .. }, Some((id, ..))) =
                (&mut found.item.what, &found.signature)
                && changed.contains(id)
            {
                *mode &= !ONLY_READ;
            }
        }
        Ok(Some(all))
    }

    #[allow(clippy::type_complexity)]
    fn item(
        &self,
        place: &Place,
        above: &mut Above,
    ) -> Result<Option<(Item, Option<(Identity, i64, i64)>)>, WasiError> {
        let Some(preopen) = self.preopens.get(place.preopen) else { return Ok(None) };
        if place.path.is_empty() {
            // The directory itself was given.
            return Ok(None);
        }
        let asking = |e| doing(format!("asking about {:?}", self.path_of(place)))(e);
        let found = match above.is_plain(place.preopen, &preopen.dir, &place.path) {
            true => look(&preopen.dir, &place.path).map_err(asking)?,
            false => None,
        };
        if place.path.split('/').any(|part| part.starts_with(WHITEOUT)) {
            // Nor can it be said that there is nothing.
            return match found {
                None => Ok(None),
                Some(_) => {
                    Err(self
                        .not_carried(place, "names that begin with .wh. mean something else there"))
                }
            };
        }
        let item = |what| Item { dir: place.preopen, path: place.path.clone(), what };
        let Some(meta) = found else { return Ok(Some((item(What::Gone), None))) };
        let mode = PermissionsExt::mode(&meta.permissions()) & 0o777;
        let mut signature = None;
        let what = if meta.is_symlink() {
            let target = preopen.dir.read_link_contents(&place.path).map_err(asking)?;
            match target.to_str().filter(|target| !target.starts_with('/')) {
                Some(target) => What::Link { target: target.to_owned() },
                None => {
                    return Err(
                        self.not_carried(place, "it is a link that leads out, or is not UTF-8")
                    );
                }
            }
        } else if meta.is_dir() {
            What::Dir { mode }
        } else if meta.is_file() {
            let ctime = (MetadataExt::ctime(&meta), MetadataExt::ctime_nsec(&meta));
            signature = Some((identity(&meta), ctime.0, ctime.1));
            What::File { mode, mtime: mtime(&meta), size: meta.len() }
        } else {
            // The program can neither make nor change those.
            return Ok(None);
        };
        Ok(Some((item(what), signature)))
    }

    fn not_carried(&self, place: &Place, why: &'static str) -> WasiError {
        WasiError::NotCarried { path: self.path_of(place), why }
    }

    /// Copies a file to where `into` stands.
    pub(crate) fn copy_file(&self, found: &Found, mut into: &File) -> Result<(), WasiError> {
        let Item { dir, path, what } = &found.item;
        let What::File { size, .. } = what else { return Ok(()) };
        let guest = self.preopens.get(*dir).map_or("", |preopen| &preopen.guest[..]);
        let mut copy = || {
            let preopen = self.preopens.get(*dir).ok_or(io::ErrorKind::NotFound)?;
            let file = open_to_read(&preopen.dir, path)?;
            let meta = Metadata::from_file(&file)?;
            let same = found.signature.is_some_and(|(id, ..)| id == identity(&meta));
            // The system's own copy, which shares blocks where the file system can.
            if !same || io::copy(&mut (&file).take(*size), &mut into)? != *size {
                return Err(io::Error::other("somebody else changed it meanwhile"));
            }
            Ok(())
        };
        let path = guest_path(guest, path);
        copy().map_err(doing(format!("copying {path:?} for the image")))
    }

    /// After something was made, changed or taken away.
    pub(crate) fn note(&mut self, note: impl FnOnce(&mut Changes)) {
        if let Some(changes) = &mut self.changes {
            note(changes);
        }
    }

    /// Before a file's contents change: the files that are open remember when they were noted, so that not every write
    /// looks for its place.
    pub(crate) fn note_write(&mut self, fd: u32) {
        if let (Some(changes), Ok(file)) = (&mut self.changes, self.fds.file_mut(fd))
            && file.noted != Some(changes.looks)
        {
            file.noted = Some(changes.looks);
            if file.place.path.len() < os::LONGEST_PATH {
                changes.touched(&file.place);
            }
        }
    }
}
