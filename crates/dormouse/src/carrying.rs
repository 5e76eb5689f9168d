//! Files that travel with checkpoints: what of them goes into the next one.
//!
//! ```text
//!   program stands   found now - known from the last = changed, gone
//!                    changed files: copied to a spool          blocks are shared where the file system can
//!   program goes on  spool -> a layer                          all anew where layers became many
//!   durable          known = what was found
//! ```

use dormouse_engine::Run;
use dormouse_store::{Checkpoint, FileKind, MAX_FILE_NAMES, MAX_FILES, NewFiles, Parent, Store};
use dormouse_wasi::{Carried, Contents, Each, Found, Item, What};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where copies begin in a spool: at multiples of what file systems share blocks in.
const ALIGNED: u64 = 64 << 10;

/// What is done for a program's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// As [`Files::Check`]; and the contents of all that the program changes, and of open files, travel with its checkpoints.
    Copy,
    /// What the program does to them after a checkpoint is undone by a resume from it, and open files must be as they were.
    #[default]
    Check,
    /// Nothing; open ones only must be there.
    None,
}

impl Files {
    /// As it is said and remembered: `copy`, `check`, `none`.
    pub fn word(self) -> &'static str {
        match self {
            Files::Copy => "copy",
            Files::Check => "check",
            Files::None => "none",
        }
    }
}

impl FromStr for Files {
    type Err = String;

    fn from_str(text: &str) -> Result<Files, String> {
        let all = [Files::Copy, Files::Check, Files::None];
        all.into_iter()
            .find(|files| files.word() == text)
            .ok_or_else(|| format!("no such rule: {text}"))
    }
}

/// What the last durable checkpoint holds of files.
#[derive(Default)]
pub(crate) struct Carrying {
    known: Mutex<Option<Known>>,
}

struct Known {
    found: BTreeMap<String, Found>,
    stored: Stored,
}

/// What all its layers have together, with what newer ones replace.
#[derive(Clone, Copy, Default)]
struct Stored {
    /// Bytes of files.
    bytes: u64,
    names: usize,
    /// Bytes of names.
    name_bytes: usize,
}

impl Stored {
    fn add(&mut self, name: &str, what: &What) {
        if let What::File { size, .. } = what {
            self.bytes += size;
        }
        self.names += 1;
        self.name_bytes += name.len();
    }

    /// Whether it may be more names than can be read.
    fn is_too_much(&self) -> bool {
        self.names > MAX_FILES || self.name_bytes > MAX_FILE_NAMES
    }
}

/// What a checkpoint is to hold of them.
pub(crate) struct Copied {
    items: Vec<(String, FileKind, u64)>,
    spool: Option<File>,
    whole: bool,
    next: Known,
}

impl Copied {
    /// For the store.
    pub fn new_files(&self) -> NewFiles<'_> {
        NewFiles { items: &self.items, spool: self.spool.as_ref(), whole: self.whole }
    }
}

impl Carrying {
    /// Copies what changed of a stopped program's files since its last durable checkpoint; nothing if none travel.
    ///
    /// # Errors
    /// If a file cannot be copied, with its name. The program is as it was.
    pub fn copy(
        &self,
        run: &mut Run,
        store: &Store,
        parent: Option<&Parent>,
        max_layers: usize,
    ) -> Result<Option<Copied>, String> {
        let wasi = run.wasi();
        let Some(found) = wasi.changed_files().map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        let found: BTreeMap<_, _> = found.into_iter().map(|f| (name(&f.item), f)).collect();
        let known = self.known();
        let base = known.as_ref().zip(parent);
        let changed = |known: &Known| -> Vec<(&String, &Found)> {
            let is_new = |(name, found): &(&String, &Found)| {
                !known.found.get(*name).is_some_and(|known| found.is_still(known))
            };
            found.iter().filter(is_new).collect()
        };
        let (mut items, mut whole) = (found.iter().collect::<Vec<_>>(), true);
        let mut all = Stored::default();
        items.iter().for_each(|(name, found)| all.add(name, &found.item.what));
        if all.is_too_much() {
            return Err(format!(
                "the program changed {} files, more than an image can have",
                all.names
            ));
        }
        let (mut stored, mut gone) = (all, vec![]);
        if let Some((known, parent)) = base {
            let changed = changed(known);
            // What was only read, and is closed, is still there; a resume passes over it.
            let is_gone = |(name, was): &(&String, &Found)| {
                was.item.what != What::Gone
                    && !was.item.is_only_read()
                    && !found.contains_key(*name)
            };
            gone.extend(known.found.iter().filter(is_gone).map(|(name, _)| name.clone()));
            let mut more = known.stored;
            changed.iter().for_each(|(name, found)| more.add(name, &found.item.what));
            gone.iter().for_each(|name| more.add(name, &What::Gone));
            let something = !changed.is_empty() || !gone.is_empty();
            let many = parent.file_layers() > max_layers
                || more.is_too_much()
                || more.bytes > 2 * all.bytes;
            if !(something && many) {
                (items, whole, stored) = (changed, false, more);
            }
        }
        let mut copied = Copied {
            items: Vec::with_capacity(items.len()),
            spool: None,
            whole,
            next: Known { found: BTreeMap::new(), stored },
        };
        if !whole {
            copied.items.extend(gone.into_iter().map(|name| (name, FileKind::Gone, 0)));
        }
        let mut at = 0;
        for (name, found) in items {
            let (name, kind) = (name.clone(), kind(&found.item.what));
            if let FileKind::File { size, .. } = kind {
                if copied.spool.is_none() {
                    copied.spool = Some(store.spool().map_err(|e| e.to_string())?);
                }
                if let Some(mut spool) = copied.spool.as_ref() {
                    spool.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
                    wasi.copy_file(found, spool).map_err(|e| e.to_string())?;
                }
                copied.items.push((name, kind, at));
                at = (at + size).next_multiple_of(ALIGNED);
            } else {
                copied.items.push((name, kind, 0));
            }
        }
        drop(known);
        copied.next.found = found;
        Ok(Some(copied))
    }

    /// A checkpoint with these is durable.
    pub fn durable(&self, copied: Option<Copied>) {
        *self.known() = copied.map(|copied| copied.next);
    }

    /// Goes on from a checkpoint, whose files were put back just now.
    pub fn goes_on_from(&self, checkpoint: &Checkpoint, run: &mut Run) {
        let Some(tree) = checkpoint.files() else { return };
        // What cannot be looked at now is told when the next checkpoint is taken.
        let Ok(Some(found)) = run.wasi().changed_files() else { return };
        let found = found.into_iter().map(|found| (name(&found.item), found));
        let same =
            |(name, found): &(String, Found)| tree.get(name) == Some(&kind(&found.item.what));
        let found = found.filter(same).collect();
        let (names, name_bytes) = tree.names();
        let stored = Stored { bytes: tree.written(), names, name_bytes };
        *self.known() = Some(Known { found, stored });
    }

    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(item: &Item) -> String {
    format!("{}/{}", item.dir, item.path)
}

fn kind(what: &What) -> FileKind {
    match what.clone() {
        What::Gone => FileKind::Gone,
        What::Dir { mode } => FileKind::Dir { mode },
        What::Link { target } => FileKind::Link { target },
        What::File { mode, mtime, size } => FileKind::File { mode, mtime, size },
    }
}

/// A checkpoint's files, to be put back.
pub(crate) fn carried(checkpoint: &Arc<Checkpoint>) -> Option<Carried> {
    let item = |(name, kind): (&str, &FileKind)| {
        let (dir, path) = split(name)?;
        let what = match kind.clone() {
            FileKind::Gone => What::Gone,
            FileKind::Dir { mode } => What::Dir { mode },
            FileKind::Link { target } => What::Link { target },
            FileKind::File { mode, mtime, size } => What::File { mode, mtime, size },
        };
        Some(Item { dir, path: path.to_owned(), what })
    };
    let items = checkpoint.files()?.iter().filter_map(item).collect();
    let contents = Arc::new(FromImage(checkpoint.clone()));
    Some(Carried { items, contents })
}

/// Directory and path of a name in a layer.
pub fn split(name: &str) -> Option<(usize, &str)> {
    let (dir, path) = name.split_once('/')?;
    Some((dir.parse().ok()?, path))
}

#[derive(Debug)]
struct FromImage(Arc<Checkpoint>);

impl Contents for FromImage {
    fn read(&self, each: &mut Each<'_>) -> io::Result<()> {
        self.0.read_files(&mut |name, bytes| match split(name) {
            Some((dir, path)) => each(dir, path, bytes),
            None => Ok(()),
        })
    }
}
