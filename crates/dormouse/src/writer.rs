//! A stopped program copied out, and made durable while it goes on.
//!
//! ```text
//!   program stands   what changed since the last checkpoint? -> copied
//!   program goes on  written, synced, reported: now that is the last checkpoint
//!                    .. and its layers are squashed, if they became many
//! ```
//!
//! The first checkpoint has all pages, and so has one that comes after layers that are gone or damaged.

use crate::desk::{Answer, Desk};
use crate::retain::Retain;
use crate::upkeep::{Keeper, Standing};
use crate::{annotations, one_line};
use dormouse_engine::Run;
use dormouse_memory::{Changes, Fingerprints, Layout, LinearMemory, PAGE_SIZE, nonzero_pages};
use dormouse_state::State;
use dormouse_store::{
    Checkpoint, CheckpointInfo, Guard, MemoryPages, NewCheckpoint, Parent, Squashed, Store,
    StoreError, WASM_PAGE_SIZE,
};
use dormouse_wasi::Mark;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of what a memory holds so many hundredths changed that all of it is written.
const NEARLY_ALL: usize = 95;

/// A stopped program, copied out.
pub(crate) struct Image {
    state: State,
    memories: Vec<Copied>,
    /// What its files can go back to.
    mark: Option<Mark>,
}

/// A memory, copied out.
enum Copied {
    Whole { index: u32, bytes: LinearMemory },
    Changed { index: u32, wasm_pages: u64, bytes: Vec<u8>, changes: Changes },
}

/// The last checkpoint, and what the memories were then.
struct Last {
    parent: Parent,
    seen: Vec<(u32, Fingerprints)>,
}

/// What all checkpoints of a job share.
pub(crate) struct Writer {
    pub store: Store,
    pub job: String,
    pub module: Arc<[u8]>,
    pub annotations: BTreeMap<String, String>,
    pub layering: Layering,
    /// What happens to older ones once a new one is durable.
    pub retain: Retain,
    pub keeper: Arc<Keeper>,
    last: Mutex<Option<Last>>,
    /// Layers that were squashed, whenever that was; the next checkpoint takes those that fit.
    squashed: Mutex<Vec<Squashed>>,
    /// Held by the one that squashes.
    squashing: Mutex<()>,
    stop: AtomicBool,
}

/// How checkpoints build on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layering {
    /// Layers of changes a memory may have before they are squashed; with 0, every checkpoint has all pages.
    pub max_layers: usize,
    /// Whether pages of which little changed are stored as differences.
    pub deltas: bool,
}

/// What became of a checkpoint.
pub(crate) enum Written {
    Done(Answer),
    /// What it was to build on is gone: copied again, it will have all pages.
    Again,
}

impl Writer {
    pub fn new(
        store: Store,
        keeper: Arc<Keeper>,
        module: Arc<[u8]>,
        annotations: BTreeMap<String, String>,
        layering: Layering,
    ) -> Writer {
        Writer {
            store,
            job: keeper.job().to_owned(),
            keeper,
            module,
            annotations,
            layering,
            retain: Retain::by(Default::default()),
            last: Mutex::default(),
            squashed: Mutex::default(),
            squashing: Mutex::default(),
            stop: AtomicBool::default(),
        }
    }

    /// Goes on from a checkpoint whose memories were just read.
    pub fn goes_on_from(&self, checkpoint: &Checkpoint, seen: Vec<(u32, Fingerprints)>) {
        *self.last() = Some(Last { parent: checkpoint.as_parent(), seen });
    }

    /// Copies a stopped program.
    ///
    /// # Errors
    /// If it holds what cannot be carried now, or there is no room for the copy. The program is
    /// as it was.
    pub fn copy(&self, run: &mut Run) -> Result<Image, String> {
        let state = run.state().map_err(|e| e.to_string())?;
        run.sync_files().map_err(|e| e.to_string())?;
        // One that no checkpoint comes to name does no harm.
        let mark = run.mark_files().map_err(|e| e.to_string())?;
        let last = self.last();
        let mut memories = vec![];
        for (index, bytes) in run.memories().map_err(|e| e.to_string())? {
            let seen = last.as_ref().filter(|_| self.layering.max_layers > 0);
            let seen = seen.and_then(|last| last.seen.iter().find(|(i, _)| *i == index));
            memories.push(match seen {
                Some((_, seen)) => copy_changes(index, bytes, seen)?,
                None => copy_whole(index, bytes)?,
            });
        }
        Ok(Image { state, memories, mark })
    }

    /// Whether the lease still is this process's; if not, the program's end is ordered.
    ///
    /// # Errors
    /// If it is not, or nobody can tell now.
    pub fn may_write(&self, desk: &Desk) -> Result<(), String> {
        match self.keeper.check() {
            Ok(Standing::Ours) => Ok(()),
            Ok(Standing::Lost(why)) => {
                let message = format!("the lease of job {} was lost: {why}", self.job);
                desk.lose(why);
                Err(message)
            }
            Err(e) => Err(format!("the lease of job {} cannot be read: {e}", self.job)),
        }
    }

    /// Lets old checkpoints go by the job's rules, now that this one is durable; those of a job that is another's by now
    /// are left to that one.
    pub fn tidy(&self, saved: &CheckpointInfo, desk: &Desk) {
        if self.may_write(desk).is_ok() {
            self.retain.after(saved, &self.store, desk);
        }
    }

    /// Writes one; returns when it is durable.
    pub fn write(&self, image: &Image, desk: &Desk) -> Written {
        let last = self.last().take();
        // A bug in here must not take the program with it.
        match catch_unwind(AssertUnwindSafe(|| self.save(image, last, desk))) {
            Ok((Err(StoreError::NoParent), _)) => Written::Again,
            Ok((saved, last)) => {
                *self.last() = last;
                Written::Done(saved.map_err(|e| one_line(&e.to_string())))
            }
            Err(_) => {
                let why = "the writer failed (a bug of dormouse's: please report it)";
                Written::Done(Err(why.to_owned()))
            }
        }
    }

    /// Saves it; gives what the next one builds on.
    fn save(
        &self,
        image: &Image,
        last: Option<Last>,
        desk: &Desk,
    ) -> (Result<CheckpointInfo, StoreError>, Option<Last>) {
        let mut annotations = self.annotations.clone();
        if let Some(mark) = image.mark {
            annotations.insert(annotations::MARK.to_owned(), format!("{mark:016x}"));
        }
        let runs: Vec<Vec<(u64, &[u8])>> = image.memories.iter().map(Copied::runs).collect();
        let pairs = image.memories.iter().zip(&runs);
        let memories: Vec<_> = pairs.map(|(memory, runs)| memory.pages(runs)).collect();
        let (parent, mut seen) = match last {
            Some(Last { parent, seen }) => (Some(parent), seen),
            None => (None, vec![]),
        };
        let squashed = std::mem::take(&mut *self.squashed());
        let may_write = || self.may_write(desk);
        let new = NewCheckpoint {
            annotations,
            parent: parent.as_ref(),
            squashed,
            deltas: self.layering.deltas,
            guard: Some(Guard(&may_write)),
            ..NewCheckpoint::new(&self.module, &image.state, &memories)
        };
        match self.store.save_as_parent(&self.job, new) {
            Ok((saved, parent)) => {
                if self.layering.max_layers > 0 {
                    image.memories.iter().for_each(|memory| memory.look_at(&mut seen));
                }
                (Ok(saved), Some(Last { parent, seen }))
            }
            Err(e) => (Err(e), parent.map(|parent| Last { parent, seen })),
        }
    }

    /// Squashes the layers of the last checkpoint, if they are many, until [`Writer::finish`]. The program goes on, and
    /// so may other checkpoints.
    pub fn squash(&self) {
        let Ok(_only) = self.squashing.try_lock() else {
            return;
        };
        let Some(parent) = self.last().as_ref().map(|last| last.parent.clone()) else {
            return;
        };
        let Layering { max_layers, deltas } = self.layering;
        let squash = || self.store.squash(&parent, max_layers, deltas, &self.stop);
        match catch_unwind(AssertUnwindSafe(squash)) {
            Ok(Ok(done)) => {
                self.squashed().extend(done);
            }
            // What is wrong with its layers is told when they are read. The next checkpoint needs none of them.
            Ok(Err(StoreError::Damaged(_))) => *self.last() = None,
            // It was for tidiness only, and is tried again after the next checkpoint.
            Ok(Err(_)) | Err(_) => {}
        }
    }

    /// Nothing is worth squashing any more.
    pub fn finish(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn squashed(&self) -> MutexGuard<'_, Vec<Squashed>> {
        self.squashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the pages of a memory are that was read from `checkpoint`.
pub(crate) fn seen(
    checkpoint: &Checkpoint,
    index: u32,
    memory: &[u8],
) -> Result<Fingerprints, StoreError> {
    let mut seen = fresh();
    for range in checkpoint.stored_pages(index)? {
        seen.look_at(memory, range);
    }
    Ok(seen)
}

fn fresh() -> Fingerprints {
    Fingerprints::new(RandomState::new().hash_one(0))
}

fn copy_whole(index: u32, bytes: &[u8]) -> Result<Copied, String> {
    // The pages that are not copied take no memory.
    let layout = Layout { minimum: bytes.len(), ..Layout::default() };
    let mut copy = LinearMemory::new(layout)
        .map_err(|_| format!("no room for a copy of memory {index}, {} bytes", bytes.len()))?;
    for (page, run) in nonzero_pages(bytes) {
        let start = page as usize * PAGE_SIZE;
        copy.bytes_mut()[start..start + run.len()].copy_from_slice(run);
    }
    Ok(Copied::Whole { index, bytes: copy })
}

fn copy_changes(index: u32, bytes: &[u8], seen: &Fingerprints) -> Result<Copied, String> {
    let changes = seen.changes(bytes);
    if changes.len() > 16 && changes.len() * 100 > seen.used() * NEARLY_ALL {
        return copy_whole(index, bytes);
    }
    let mut copy = Vec::new();
    copy.try_reserve_exact(changes.len() * PAGE_SIZE)
        .map_err(|_| format!("no room for a copy of {} pages of memory {index}", changes.len()))?;
    for run in changes.runs() {
        copy.extend_from_slice(
            &bytes[run.start as usize * PAGE_SIZE..run.end as usize * PAGE_SIZE],
        );
    }
    let wasm_pages = (bytes.len() / WASM_PAGE_SIZE) as u64;
    Ok(Copied::Changed { index, wasm_pages, bytes: copy, changes })
}

impl Copied {
    /// What was copied; nothing of a whole memory.
    fn runs(&self) -> Vec<(u64, &[u8])> {
        let Copied::Changed { bytes, changes, .. } = self else {
            return vec![];
        };
        let mut rest = &bytes[..];
        let mut runs = vec![];
        for run in changes.runs() {
            let (pages, others) = rest.split_at((run.end - run.start) as usize * PAGE_SIZE);
            runs.push((run.start, pages));
            rest = others;
        }
        runs
    }

    fn pages<'a>(&'a self, runs: &'a [(u64, &'a [u8])]) -> MemoryPages<'a> {
        match self {
            Copied::Whole { index, bytes } => MemoryPages::whole(*index, bytes.bytes()),
            Copied::Changed { index, wasm_pages, .. } => {
                MemoryPages::changed(*index, *wasm_pages, runs)
            }
        }
    }

    /// It is durable: from now on this is what the memory was.
    fn look_at(&self, seen: &mut Vec<(u32, Fingerprints)>) {
        match self {
            Copied::Whole { index, bytes } => {
                let mut all = fresh();
                let changes = all.changes(bytes.bytes());
                all.apply(&changes);
                seen.retain(|(i, _)| i != index);
                seen.push((*index, all));
            }
            Copied::Changed { index, changes, .. } => {
                if let Some((_, seen)) = seen.iter_mut().find(|(i, _)| i == index) {
                    seen.apply(changes);
                }
            }
        }
    }
}
