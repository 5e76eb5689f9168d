//! How two checkpoints of a program differ.
//!
//! ```text
//!   older   main  step  relax              newer   main  step  print  fd_write
//!            same │    │     └ returned             same  │      └──────┴ called
//!                 └────┴── another place, other values ───┘
//! ```
//!
//! Stacks are compared from the outermost frame on: as long as it is the same function, it is the same call. (A call that
//! returned, and was made again, looks the same.) What time does by itself, clocks and how often it was resumed, is no difference.

use super::{File, Frame, Heat, Summary, Symbols, Typed, files, heat};
use crate::{Error, Result, annotations};
use dormouse_state::{State, Value};
use dormouse_store::{Checkpoint, FileKind, FileTree};
use dormouse_wasi::{Description, FdDescription, PreopenDescription, Wasi};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Range;

/// Entries of a table that are told.
const ENTRIES: usize = 65_536;

/// What changed from one checkpoint to another of the same module.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    /// The one.
    pub before: Summary,
    /// The other.
    pub after: Summary,
    /// Whether there is nothing but what time does by itself.
    pub same: bool,
    /// The stack.
    pub frames: FrameChanges,
    /// Globals that were set.
    pub globals: Vec<GlobalChange>,
    /// Tables that were written.
    pub tables: Vec<TableChange>,
    /// All memories, those too that did not change.
    pub memories: Vec<MemoryChange>,
    /// Data segments that were dropped since.
    pub dropped_data: Vec<u32>,
    /// Element segments that were dropped since.
    pub dropped_elems: Vec<u32>,
    /// File descriptors that were opened, closed, or moved.
    pub fds: Vec<Change<FdDescription>>,
    /// Directories that are others.
    pub preopens: Vec<Change<PreopenDescription>>,
    /// Files whose contents travel with either, and that were written, made or removed; or that are to be checked and are of another length.
    pub files: Vec<Change<File>>,
    /// What host functions remember, where it is not the same: their names.
    pub host_states: Vec<String>,
    /// How long the program was awake, in nanoseconds.
    pub awake_ns: Pair<u64>,
    /// How often it had been resumed.
    pub restored: Pair<u32>,
}

/// Something that was one thing, and is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Pair<T> {
    /// What it was.
    pub before: T,
    /// What it is.
    pub after: T,
}

/// Something that changed; nothing before where it is new, nothing after where it is gone.
pub type Change<T> = Pair<Option<T>>;

/// How a stack differs from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameChanges {
    /// How many frames, from the outermost on, are the same function in both.
    pub shared: usize,
    /// Those among them that stand elsewhere or hold something else, innermost first.
    pub changed: Vec<FrameChange>,
    /// Only in the one, innermost first: they returned.
    pub returned: Vec<Frame>,
    /// Only in the other, innermost first: they were called.
    pub called: Vec<Frame>,
}

/// A frame that goes on elsewhere, or holds something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FrameChange {
    /// How many frames are outside of it.
    pub depth: usize,
    /// As it was.
    pub before: Frame,
    /// As it is.
    pub after: Frame,
}

/// A global that was set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GlobalChange {
    /// Index in the module.
    pub index: u32,
    /// From the name section, else as it is exported or imported.
    pub name: Option<String>,
    /// What it held, and holds.
    #[serde(flatten)]
    pub value: Change<Typed>,
}

/// A table that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableChange {
    /// Index in the module.
    pub index: u32,
    /// From the name section, else as it is exported or imported.
    pub name: Option<String>,
    /// How many entries it has.
    pub entries: Pair<usize>,
    /// How many of them are others.
    pub changed: usize,
    /// The first 65,536 of those.
    pub elements: Vec<ElementChange>,
}

/// An entry of a table that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ElementChange {
    /// Its index.
    pub at: usize,
    /// What it held, and holds; nothing where there was no such entry.
    #[serde(flatten)]
    pub value: Change<Typed>,
}

/// A memory, and what of it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryChange {
    /// Index in the module.
    pub index: u32,
    /// From the name section, else as it is exported or imported.
    pub name: Option<String>,
    /// Pages of 64 KiB.
    pub pages: Pair<u64>,
    /// Where it changed, in whole pages of 4 KiB.
    pub ranges: Vec<Addresses>,
    /// The same in cells, with what is zero.
    pub heat: Heat,
}

/// A part of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Its first address.
    pub start: u64,
    /// The address after its last.
    pub end: u64,
}

/// What changed from one checkpoint to another. They may be of different jobs.
///
/// # Errors
/// [`Error::OtherModule`] if they are of different modules; if pages, files or WASI objects cannot be read.
pub fn changes(before: &Checkpoint, after: &Checkpoint) -> Result<Changes> {
    let (old, new) = (&before.state, &after.state);
    if old.module_digest != new.module_digest {
        return Err(Error::OtherModule { before: before.info.name(), after: after.info.name() });
    }
    let frames = frame_changes(super::stack(before), super::stack(after));
    let symbols = Symbols::of(&after.module, &HashSet::new());
    let memories =
        new.memories.iter().map(|memory| memory_changes(before, after, memory, &symbols));
    let (told, tells) = (Wasi::describe(&old.wasi)?, Wasi::describe(&new.wasi)?);
    let mut changes = Changes {
        before: Summary::of(&before.info),
        after: Summary::of(&after.info),
        same: false,
        frames,
        globals: global_changes(old, new, &symbols),
        tables: table_changes(old, new, &symbols),
        memories: memories.collect::<Result<_>>()?,
        dropped_data: added(&old.dropped_data, &new.dropped_data),
        dropped_elems: added(&old.dropped_elems, &new.dropped_elems),
        fds: paired(&told.fds, &tells.fds, |fd| fd.fd),
        preopens: paired(&told.preopens, &tells.preopens, |preopen| preopen.guest.clone()),
        files: file_changes(before, after, &told, &tells)?,
        host_states: host_changes(old, new),
        awake_ns: Pair { before: told.awake_ns, after: tells.awake_ns },
        restored: Pair { before: told.restored, after: tells.restored },
    };
    let stack = &changes.frames;
    let moved = stack.changed.len() + stack.returned.len() + stack.called.len();
    let memory = |m: &MemoryChange| m.pages.before == m.pages.after && m.ranges.is_empty();
    changes.same = moved == 0
        && changes.globals.is_empty()
        && changes.tables.is_empty()
        && changes.memories.iter().all(memory)
        && [&changes.dropped_data, &changes.dropped_elems].iter().all(|all| all.is_empty())
        && (old.dropped_data.len(), old.dropped_elems.len())
            == (new.dropped_data.len(), new.dropped_elems.len())
        && changes.fds.is_empty()
        && changes.preopens.is_empty()
        && changes.files.is_empty()
        && changes.host_states.is_empty();
    Ok(changes)
}

fn frame_changes(mut before: Vec<Frame>, mut after: Vec<Frame>) -> FrameChanges {
    // Outermost first, as they are paired.
    before.reverse();
    after.reverse();
    let mut shared = 0;
    for (old, new) in before.iter().zip(&after) {
        if old.func != new.func {
            break;
        }
        shared += 1;
        if old.offset != new.offset {
            break;
        }
    }
    let mut returned = before.split_off(shared);
    let mut called = after.split_off(shared);
    returned.reverse();
    called.reverse();
    let pairs = before.into_iter().zip(after).enumerate().filter(|(_, (old, new))| old != new);
    let changed = pairs.map(|(depth, (before, after))| FrameChange { depth, before, after });
    let mut changed: Vec<FrameChange> = changed.collect();
    changed.reverse();
    FrameChanges { shared, changed, returned, called }
}

fn global_changes(old: &State, new: &State, symbols: &Symbols<'_>) -> Vec<GlobalChange> {
    let held: BTreeMap<u32, Value> = old.globals.iter().copied().collect();
    let typed = |value| Typed::of(value, symbols);
    let changed = new.globals.iter().filter(|(index, value)| held.get(index) != Some(value));
    let change = |&(index, value): &(u32, Value)| GlobalChange {
        index,
        name: symbols.global(index).map(str::to_owned),
        value: Pair { before: held.get(&index).copied().map(typed), after: Some(typed(value)) },
    };
    changed.map(change).collect()
}

fn table_changes(old: &State, new: &State, symbols: &Symbols<'_>) -> Vec<TableChange> {
    let mut all = vec![];
    for table in &new.tables {
        let was = old.tables.iter().find(|t| t.index == table.index);
        let was = was.map_or(&[][..], |table| &table.entries);
        let longest = was.len().max(table.entries.len());
        let at = |at: &usize| (was.get(*at), table.entries.get(*at));
        let changed = || (0..longest).filter(|n| at(n).0 != at(n).1);
        let count = changed().count();
        if count == 0 {
            continue;
        }
        let typed = |value: Option<&Value>| value.map(|value| Typed::of(*value, symbols));
        let elements = changed().take(ENTRIES).map(|n| {
            let (before, after) = at(&n);
            ElementChange { at: n, value: Pair { before: typed(before), after: typed(after) } }
        });
        all.push(TableChange {
            index: table.index,
            name: symbols.table(table.index).map(str::to_owned),
            entries: Pair { before: was.len(), after: table.entries.len() },
            changed: count,
            elements: elements.collect(),
        });
    }
    all
}

fn memory_changes(
    before: &Checkpoint,
    after: &Checkpoint,
    memory: &dormouse_state::Memory,
    symbols: &Symbols<'_>,
) -> Result<MemoryChange> {
    let index = memory.index;
    let was = before.state.memories.iter().find(|memory| memory.index == index);
    let changed = heat::changed(before, after, index)?;
    let address = |page: u64| page.saturating_mul(dormouse_store::PAGE_SIZE as u64);
    let range =
        |pages: &Range<u64>| Addresses { start: address(pages.start), end: address(pages.end) };
    Ok(MemoryChange {
        index,
        name: symbols.memory(index).map(str::to_owned),
        pages: Pair { before: was.map_or(0, |memory| memory.pages), after: memory.pages },
        ranges: changed.iter().map(range).collect(),
        heat: Heat::with(after, &changed, index, super::CELLS)?,
    })
}

fn host_changes(old: &State, new: &State) -> Vec<String> {
    let by_name = |state: &State| -> BTreeMap<String, Vec<u8>> {
        state.host.iter().map(|host| (host.name.clone(), host.bytes.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed.cloned().collect()
}

/// What is in `after` and not in `before`; both ascending.
fn added(before: &[u32], after: &[u32]) -> Vec<u32> {
    after.iter().filter(|n| before.binary_search(n).is_err()).copied().collect()
}

/// What is not the same in both, by what it is known by.
fn paired<T: Clone + PartialEq, K: Ord>(
    before: &[T],
    after: &[T],
    key: impl Fn(&T) -> K,
) -> Vec<Change<T>> {
    let mut all: BTreeMap<K, Change<T>> = BTreeMap::new();
    for (one, old) in
        before.iter().map(|one| (one, true)).chain(after.iter().map(|one| (one, false)))
    {
        let change = all.entry(key(one)).or_insert(Pair { before: None, after: None });
        let side = if old { &mut change.before } else { &mut change.after };
        *side = Some(one.clone());
    }
    all.into_values().filter(|change| change.before != change.after).collect()
}

fn file_changes(
    before: &Checkpoint,
    after: &Checkpoint,
    told: &Description,
    tells: &Description,
) -> Result<Vec<Change<File>>> {
    let of = |checkpoint: &Checkpoint, wasi| {
        let rule = checkpoint.info.annotations.get(annotations::FILES);
        files::files(checkpoint.files(), rule, wasi)
    };
    let mut all = paired(&of(before, told), &of(after, tells), |file| file.path.clone());
    // Of the same length, but perhaps not the same contents.
    if let (Some(old), Some(new)) = (before.files(), after.files()) {
        let written = rewritten(before, after, old, new)?;
        for name in written {
            let Some((dir, path)) = crate::split(&name) else { continue };
            let path = tells.path_of(dir, path);
            let is = |change: &Change<File>| {
                [&change.before, &change.after]
                    .iter()
                    .any(|f| f.as_ref().is_some_and(|f| f.path == path))
            };
            if all.iter().any(is) {
                continue;
            }
            let size = match new.get(&name) {
                Some(FileKind::File { size, .. }) => Some(*size),
                _ => None,
            };
            let file = File { path, rule: "copied", kind: "file", size };
            all.push(Pair { before: Some(file.clone()), after: Some(file) });
        }
    }
    Ok(all)
}

/// Names that both have, of the same kind and length, with other contents, rights, or another target of a link.
fn rewritten(
    before: &Checkpoint,
    after: &Checkpoint,
    old: &FileTree,
    new: &FileTree,
) -> Result<Vec<String>> {
    let length = |tree: &FileTree, name: &str| match tree.get(name) {
        Some(FileKind::File { size, .. }) => Some(*size),
        _ => None,
    };
    let hashes = RandomState::new();
    let read = |checkpoint: &Checkpoint| -> Result<BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        let mut buffer = vec![0; 1 << 16];
        let mut each = |name: &str, data: &mut dyn std::io::Read| {
            if length(old, name).is_none() || length(old, name) != length(new, name) {
                return Ok(());
            }
            let mut hash = hashes.build_hasher();
            loop {
                match data.read(&mut buffer)? {
                    0 => break,
                    n => hash.write(&buffer[..n]),
                }
            }
            all.insert(name.to_owned(), hash.finish());
            Ok(())
        };
        let failed = Error::io("read the files of", checkpoint.info.name());
        checkpoint.read_files(&mut each).map_err(failed)?;
        Ok(all)
    };
    let (was, is) = (read(before)?, read(after)?);
    let other = new.iter().filter(|(name, kind)| match (old.get(name), kind) {
        (Some(FileKind::File { mode: was, .. }), FileKind::File { mode: is, .. })
        | (Some(FileKind::Dir { mode: was }), FileKind::Dir { mode: is })
            if was != is =>
        {
            true
        }
        (Some(FileKind::Link { target: was }), FileKind::Link { target: is }) => was != is,
        _ => was.get(*name) != is.get(*name),
    });
    Ok(other.map(|(name, _)| name.to_owned()).collect())
}
