//! Checkpoints of a program: copied while it runs as far as can be, then for a moment while it stands, and made durable
//! while it goes on.
//!
//! ```text
//!   program runs     rounds: what was written is copied, and what was written meanwhile, until that is little
//!   program stands   state; the rest is copied, and files that travel (see `carrying`)
//!   program goes on  written, synced, reported: now that is the last checkpoint
//!                    .. and its layers are squashed, if they became many
//! ```
//!
//! The first round may have much to copy: that is not kept in memory but written at once, as a layer of its own
//! ([`Store::prepare`]). So what a checkpoint needs in memory is what the program writes meanwhile, and [`MANY`] at most.
//! The first checkpoint has all pages, and so has one that comes after layers that are gone or damaged. A program that
//! will not go on is not copied at all.

use crate::books::{Ahead, Measured};
use crate::carrying::{Carrying, Copied, Files};
use crate::depot::Carry;
use crate::desk::{Answer, Desk};
use crate::lazy::Lazy;
use crate::pages::{Captured, Tracked};
use crate::retain::Retain;
use crate::upkeep::{Keeper, Standing};
use crate::{annotations, one_line};
use dormouse_engine::Run;
use dormouse_memory::{PAGE_SIZE, PageSet, Tracking, Watch};
use dormouse_state::State;
use dormouse_store::{
    Checkpoint, CheckpointInfo, Guard, NewCheckpoint, Parent, Squashed, Store, StoreError,
};
use dormouse_wasi::{Digests, Exclusions, Mark, Unsynced};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Rounds at most. Each is to have less to copy than the one before.
const ROUNDS: u32 = 10;
/// How long open files are read before a checkpoint.
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// Pages that are left for when the program stands: 1 MiB, copied in less time than a round takes.
const FEW: u64 = 256;
/// From so many pages on, 64 MiB, the first round writes instead of copying.
const MANY: u64 = 16 << 10;

/// A stopped program.
pub(crate) struct Image<'a> {
    state: State,
    memories: Vec<Captured<'a>>,
    /// What it took.
    pub measured: Measured,
    /// What its files can go back to.
    mark: Option<Mark>,
    /// What must be on the disk first.
    unsynced: Option<Unsynced>,
    /// Files that travel with it.
    files: Option<Copied>,
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
    /// Where they go besides.
    pub carry: Carry,
    pub keeper: Arc<Keeper>,
    pub copying: Copying,
    /// What the last one holds of files.
    files: Carrying,
    /// What its open files hold, if that is to be known.
    digests: OnceLock<Arc<Digests>>,
    last: Mutex<Option<Parent>>,
    memories: Mutex<Vec<Tracked>>,
    /// The same, for who only wants to know how large they are: the others may be locked for long.
    sizes: Mutex<Vec<Watch>>,
    /// What the program says need not be kept, and of which memory.
    exclusions: Mutex<Option<(u32, Exclusions)>>,
    /// What was done for the next one while the program runs. Locked after the memories.
    ahead: Mutex<Ahead>,
    /// The program stands still and waits for the rounds to end.
    hurry: AtomicBool,
    /// Images that were made: rounds that come after the image they were meant for do nothing.
    images: AtomicU64,
    /// What the program was resumed from is still being read.
    lazy: OnceLock<Lazy>,
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

/// How memories are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copying {
    /// How it is found out which pages were written.
    pub tracking: Tracking,
    /// Whether pages are copied while the program runs, where that can be done.
    pub precopy: bool,
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
            carry: Carry::default(),
            copying: Copying { tracking: Tracking::Auto, precopy: true },
            files: Carrying::default(),
            digests: OnceLock::new(),
            last: Mutex::default(),
            memories: Mutex::default(),
            sizes: Mutex::default(),
            exclusions: Mutex::default(),
            ahead: Mutex::default(),
            hurry: AtomicBool::default(),
            images: AtomicU64::default(),
            lazy: OnceLock::new(),
            squashed: Mutex::default(),
            squashing: Mutex::default(),
            stop: AtomicBool::default(),
        }
    }

    /// The program that this is about, at its beginning or gone on from a checkpoint.
    pub fn watch(&self, run: &mut Run) {
        if self.annotations.get(annotations::FILES).is_none_or(|rule| rule != Files::None.word()) {
            let _ = self.digests.set(run.wasi().digests());
        }
        *self.exclusions() = run.exclusions();
        let mut memories = self.memories();
        if memories.is_empty() {
            let watches = run.watches();
            *self.sizes() = watches.iter().map(|(_, watch)| watch.clone()).collect();
            *memories = watches.into_iter().map(|(i, watch)| Tracked::new(i, watch)).collect();
        }
    }

    /// Bytes of all its memories, as they are now.
    pub fn size(&self) -> u64 {
        self.sizes().iter().map(|watch| watch.len() as u64).sum()
    }

    /// The program has moved into another instance. What rounds have copied of it is not used.
    pub fn moves(&self, run: &mut Run) {
        self.hurry.store(true, Ordering::Relaxed);
        let watches = run.watches();
        *self.sizes() = watches.iter().map(|(_, watch)| watch.clone()).collect();
        for (index, watch) in watches {
            if let Some(memory) = self.memories().iter_mut().find(|memory| memory.index == index) {
                memory.moved(watch);
            }
        }
        self.give_up();
        self.watch(run);
    }

    /// Goes on from a checkpoint whose memories were just read.
    ///
    /// # Errors
    /// Only failures of ours.
    pub fn goes_on_from(&self, checkpoint: &Checkpoint, run: &mut Run) -> crate::Result<()> {
        self.watch(run);
        let bytes = run.memories()?;
        let mut memories = self.memories();
        for memory in memories.iter_mut() {
            let stored = checkpoint.stored_pages(memory.index)?;
            if let Some((_, bytes)) = bytes.iter().find(|(index, _)| *index == memory.index) {
                memory.filled(self.copying.tracking, &stored, bytes);
            }
        }
        self.files.goes_on_from(checkpoint, run);
        *self.last() = Some(checkpoint.as_parent());
        Ok(())
    }

    /// The image that the program was resumed from is read while it runs: nothing is durable before that is whole.
    pub fn reads_lazily(&self, lazy: Lazy) {
        let _ = self.lazy.set(lazy);
    }

    /// Which image the next one is.
    pub fn next_image(&self) -> u64 {
        self.images.load(Ordering::SeqCst)
    }

    /// Copies what was written while the program runs, round by round, until little is left; if the next image still is that
    /// one.
    ///
    /// # Errors
    /// If a layer cannot be written: the program need not be stopped, there will be no checkpoint.
    pub fn rounds(&self, image: u64) -> Result<(), String> {
        let mut memories = self.memories();
        if self.next_image() != image {
            return Ok(());
        }
        let mut ahead = self.ahead();
        let _work = ahead.meter.work();
        // What is not known of its open files by then is for the next time.
        let end = Instant::now() + LONGEST_LOOK;
        let enough = || self.hurry.load(Ordering::Relaxed) || Instant::now() > end;
        self.digests.get().into_iter().for_each(|digests| digests.catch_up(enough));
        let done = self.rounds_of(&mut memories, &mut ahead).or_else(|e| {
            memories.iter_mut().for_each(Tracked::give_up);
            match e {
                // What it was to build on is gone; so it has all pages.
                StoreError::NoParent => {
                    *self.last() = None;
                    self.rounds_of(&mut memories, &mut ahead)
                }
                e => Err(e),
            }
        });
        done.map_err(|e| {
            memories.iter_mut().for_each(Tracked::give_up);
            one_line(&e.to_string())
        })
    }

    fn rounds_of(&self, memories: &mut [Tracked], ahead: &mut Ahead) -> Result<(), StoreError> {
        let parent = self.parent();
        let hurry = || self.hurry.load(Ordering::Relaxed);
        let mut before = u64::MAX;
        for round in 0..ROUNDS {
            let look = |memory: &mut Tracked| {
                memory.leave_out(self.excluded(memory.index, memory.len()));
                memory.look(self.copying.tracking, parent.is_some(), None)
            };
            if memories.iter_mut().try_for_each(look).is_err() {
                // All is done while it stands.
                return Ok(());
            }
            let todo: u64 = memories.iter().map(Tracked::todo).sum();
            // It writes as fast as it is copied.
            let in_vain = todo > before / 4 * 3;
            if todo <= FEW || in_vain || hurry() {
                break;
            }
            before = todo;
            let mut all = true;
            let mut written = false;
            for memory in memories.iter_mut() {
                if round == 0 && memory.todo() > MANY {
                    let (deltas, stop) = (self.layering.deltas, (&self.hurry, &self.stop));
                    memory.prepare(&self.store, parent.as_ref(), deltas, stop)?;
                    written = true;
                } else {
                    all &= memory.copy_running(&self.hurry).is_ok();
                }
            }
            if written {
                // Writing is slower than copying: that says nothing of the rounds to come.
                before = u64::MAX;
            }
            let left: u64 = memories.iter().map(Tracked::todo).sum();
            ahead.rounds += 1;
            ahead.pages += todo - left;
            if !all {
                break;
            }
        }
        // As much as there is, and will be by the time it stands.
        if !hurry() {
            for memory in memories {
                let todo = memory.todo();
                memory.reserve((todo + todo.min(FEW) + FEW) as usize);
            }
        }
        Ok(())
    }

    /// Copies a stopped program.
    ///
    /// # Errors
    /// If it holds what cannot be carried now, or there is no room for the copy. The program is
    /// as it was.
    pub fn copy(&self, run: &mut Run) -> Result<Image<'static>, String> {
        self.image(run, |memory, bytes, excluded| memory.copy(bytes, excluded))
    }

    /// A stopped program that will not go on before the image is written.
    ///
    /// # Errors
    /// If it holds what cannot be carried now.
    pub fn borrow<'a>(&self, run: &'a mut Run) -> Result<Image<'a>, String> {
        self.image(run, |memory, bytes, excluded| Ok(memory.borrow(bytes, excluded)))
    }

    fn image<'a, 'i>(
        &self,
        run: &'a mut Run,
        capture: impl Fn(&mut Tracked, &'a [u8], &PageSet) -> Result<Captured<'i>, String>,
    ) -> Result<Image<'i>, String> {
        // From here on somebody waits.
        self.hurry.store(true, Ordering::Relaxed);
        let image = self.image_of(run, capture);
        if image.is_err() {
            self.give_up();
        }
        image
    }

    /// What rounds have copied for an image that is not made is not used: it is all still to be saved.
    pub fn give_up(&self) {
        let mut memories = self.memories();
        memories.iter_mut().for_each(Tracked::give_up);
        *self.ahead() = Ahead::default();
        self.hurry.store(self.stop.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn image_of<'a, 'i>(
        &self,
        run: &'a mut Run,
        capture: impl Fn(&mut Tracked, &'a [u8], &PageSet) -> Result<Captured<'i>, String>,
    ) -> Result<Image<'i>, String> {
        let pause = run.pause();
        let state = run.state().map_err(|e| e.to_string())?;
        let max_layers = self.layering.max_layers;
        let files = self.files.copy(run, &self.store, self.parent().as_ref(), max_layers)?;
        // One that no checkpoint comes to name does no harm.
        let mark = run.mark_files().map_err(|e| e.to_string())?;
        let unsynced = Some(run.unsynced().map_err(|e| e.to_string())?);
        self.watch(run);
        let mut tracked = self.memories();
        self.images.fetch_add(1, Ordering::SeqCst);
        self.hurry.store(self.stop.load(Ordering::Relaxed), Ordering::Relaxed);
        let has_parent = self.parent().is_some();
        let mut memories = vec![];
        for (index, bytes) in run.memories().map_err(|e| e.to_string())? {
            let memory = tracked.iter_mut().find(|memory| memory.index == index);
            let memory = memory.ok_or_else(|| format!("memory {index} is not known"))?;
            let excluded = self.excluded(index, bytes.len());
            memory.leave_out(excluded.clone());
            memory
                .look(self.copying.tracking, has_parent, Some(bytes))
                .map_err(|e| format!("memory {index} cannot be looked at: {e}"))?;
            memories.push(capture(memory, bytes, &excluded)?);
        }
        let tracking = tracked.iter().find_map(Tracked::tracking);
        let ahead = std::mem::take(&mut *self.ahead());
        let pages = memories.iter().map(Captured::len).sum();
        let measured = Measured::now(pause, ahead, pages, tracking);
        Ok(Image { state, memories, measured, mark, unsynced, files })
    }

    /// The pages of a memory of `len` bytes that the program said need not be kept.
    fn excluded(&self, index: u32, len: usize) -> PageSet {
        let mut set = PageSet::default();
        if let Some((_, exclusions)) = self.exclusions().as_ref().filter(|(of, _)| *of == index) {
            let pages = (len / PAGE_SIZE) as u64;
            exclusions
                .pages()
                .into_iter()
                .for_each(|run| set.insert(run.start.min(pages)..run.end.min(pages)));
        }
        set
    }

    /// What the next checkpoint can build on.
    fn parent(&self) -> Option<Parent> {
        self.last().clone().filter(|_| self.layering.max_layers > 0)
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

    /// Carries it into the depot and lets old checkpoints go by the job's rules, now that this one is durable; those of a job that is another's by now
    /// are left to that one.
    pub fn tidy(&self, saved: &CheckpointInfo, desk: &Desk) {
        if self.may_write(desk).is_ok() {
            self.carry.after(saved, &self.store, desk);
            self.retain.after(saved, &self.store, desk);
        }
    }

    /// Writes one; returns when it is durable.
    pub fn write(&self, mut image: Image<'_>, desk: &Desk) -> Written {
        if let Some(Err(why)) = self.lazy.get().map(Lazy::wait) {
            return Written::Done(Err(why));
        }
        let _work = image.measured.meter().work();
        let unsynced = image.unsynced.take();
        let save = || match unsynced.map(Unsynced::sync) {
            Some(Err(e)) => Err(one_line(&e.to_string())),
            _ => Ok(self.save(&mut image, desk)),
        };
        // A bug in here must not take the program with it.
        match catch_unwind(AssertUnwindSafe(save)) {
            Ok(Ok(Err(StoreError::NoParent))) => {
                *self.last() = None;
                Written::Again
            }
            Ok(Ok(saved)) => Written::Done(saved.map_err(|e| one_line(&e.to_string()))),
            Ok(Err(why)) => Written::Done(Err(why)),
            Err(_) => {
                *self.last() = None;
                let why = "the writer failed (a bug of dormouse's: please report it)";
                Written::Done(Err(why.to_owned()))
            }
        }
    }

    fn save(&self, image: &mut Image<'_>, desk: &Desk) -> Result<CheckpointInfo, StoreError> {
        if image.memories.iter().any(Captured::is_torn) {
            return Err(StoreError::NoParent);
        }
        let mut annotations = self.annotations.clone();
        if let Some(mark) = image.mark {
            annotations.insert(annotations::MARK.to_owned(), format!("{mark:016x}"));
        }
        if let Some(tracking) = image.measured.tracking {
            annotations.insert(annotations::TRACKING.to_owned(), tracking.to_string());
        }
        let prepared = image.memories.iter_mut().filter_map(|m| m.prepared.take()).collect();
        let runs: Vec<Vec<(u64, &[u8])>> = image.memories.iter().map(Captured::runs).collect();
        let pairs = image.memories.iter().zip(&runs);
        let memories: Vec<_> = pairs.map(|(memory, runs)| memory.pages(runs)).collect();
        let parent = self.parent();
        let squashed = std::mem::take(&mut *self.squashed());
        let may_write = || self.may_write(desk);
        let new = NewCheckpoint {
            annotations,
            parent: parent.as_ref(),
            squashed,
            prepared,
            files: image.files.as_ref().map(Copied::new_files),
            deltas: self.layering.deltas,
            guard: Some(Guard(&may_write)),
            ..NewCheckpoint::new(&self.module, &image.state, &memories)
        };
        let (saved, parent) = self.store.save_as_parent(&self.job, new)?;
        *self.last() = Some(parent);
        self.files.durable(image.files.take());
        for tracked in self.memories().iter_mut() {
            if let Some(captured) = image.memories.iter().find(|m| m.index == tracked.index) {
                tracked.durable(captured);
            }
        }
        Ok(saved)
    }

    /// Squashes the layers of the last checkpoint, if they are many, until [`Writer::finish`]. The program goes on, and
    /// so may other checkpoints.
    pub fn squash(&self) {
        let Ok(_only) = self.squashing.try_lock() else {
            return;
        };
        let Some(parent) = self.last().clone() else {
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
        self.hurry.store(true, Ordering::Relaxed);
    }

    fn exclusions(&self) -> MutexGuard<'_, Option<(u32, Exclusions)>> {
        self.exclusions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memories(&self) -> MutexGuard<'_, Vec<Tracked>> {
        self.memories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sizes(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn squashed(&self) -> MutexGuard<'_, Vec<Squashed>> {
        self.squashed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Option<Parent>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
