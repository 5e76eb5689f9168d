//! Which pages of a memory the next checkpoint must have, and copying them.
//!
//! ```text
//!   last checkpoint          rounds, while the program runs                       it stands
//!        │   written: unsaved  │ take: todo ─ copy, or prepare a layer ─┐ take ..  │ take: todo ─ copy
//!        └─────────────────────┴────────────────────────────────────────┘          └─> the image
//! ```
//!
//! `unsaved` is what the last durable checkpoint lacks, and `in_flight` what an image has of that: until it is durable it
//! counts as lacking too, so that a failure loses nothing.
//! `todo` is what of that is not copied as it is now. Pages that the program excluded are zero in an image: they are not
//! copied, and where the image has something else of them (from its parent, or from a round before they were excluded) they
//! are written as zero.

use crate::copies::{Copies, NoRoom};
use dormouse_memory::{PAGE_SIZE, PageSet, Since, Tracking, Watch};
use dormouse_store::{MemoryPages, Parent, Prepared, Store, StoreError, WASM_PAGE_SIZE};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Of what a memory holds so many hundredths changed that all of it is written.
const NEARLY_ALL: u64 = 95;
/// Pages that are read from a running program at a time.
const BATCH: usize = 64;

static ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// One memory of the program.
pub(crate) struct Tracked {
    pub index: u32,
    watch: Watch,
    unsaved: PageSet,
    /// Of that, what an image has that is not durable yet; it may never be.
    in_flight: PageSet,
    /// Pages that may be other than zero in the last durable checkpoint.
    kept: PageSet,
    /// Pages the program said need not be kept, as of the last image.
    excluded: PageSet,
    /// The same, as of now, as far as is known.
    left_out: PageSet,
    /// The checkpoint being made, if one is.
    going: Option<Going>,
}

/// What a checkpoint has of a memory so far.
#[derive(Default)]
struct Going {
    /// It has all pages.
    whole: bool,
    todo: PageSet,
    /// Not copied, as they were excluded then.
    skipped: PageSet,
    copies: Copies,
    prepared: Option<(Prepared, PageSet)>,
}

/// A memory as an image has it.
pub(crate) struct Captured<'a> {
    pub index: u32,
    wasm_pages: u64,
    /// It has all pages.
    whole: bool,
    pages: Pages<'a>,
    /// It stands above a layer that was written before.
    above: bool,
    /// That layer.
    pub prepared: Option<Prepared>,
    /// The pages it has, those of that layer too.
    saved: PageSet,
    /// The pages that are zero in it, whatever they are.
    excluded: PageSet,
}

enum Pages<'a> {
    Copied(Copies),
    /// Of a program that will not go on before they are written.
    Live {
        bytes: &'a [u8],
        pages: PageSet,
    },
}

impl Tracked {
    pub fn new(index: u32, watch: Watch) -> Tracked {
        Tracked {
            index,
            watch,
            unsaved: PageSet::default(),
            in_flight: PageSet::default(),
            kept: PageSet::default(),
            excluded: PageSet::default(),
            left_out: PageSet::default(),
            going: None,
        }
    }

    /// All of it was copied into another memory, in which nobody has followed what was written.
    pub fn moved(&mut self, watch: Watch) {
        self.watch = watch;
        self.going = None;
    }

    /// It was just filled from a checkpoint that has these pages, or is being filled: from now on what is written is not saved. If
    /// that cannot be tracked, all counts as written.
    pub fn filled(&mut self, tracking: Tracking, stored: &[Range<u64>], bytes: &[u8]) {
        stored.iter().for_each(|pages| self.kept.insert(pages.clone()));
        if self.watch.tracking().is_some() {
            // One that is being filled knows it from the beginning.
            return;
        }
        match self.watch.begin(tracking, Since::Now, Some(bytes)) {
            Ok(Tracking::Mprotect) => dormouse_wasi::touch_buffers(),
            Ok(_) => {}
            Err(e) => tracing::debug!("memory {} is not tracked yet: {e}", self.index),
        }
    }

    /// How its pages are tracked, if they are.
    pub fn tracking(&self) -> Option<Tracking> {
        self.watch.tracking()
    }

    /// Pages that are to be copied as they are now.
    pub fn todo(&self) -> u64 {
        self.going.as_ref().map_or(0, |going| going.todo.len())
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.watch.len()
    }

    /// These pages are excluded, as far as is known: until it is known better, they are not copied.
    pub fn leave_out(&mut self, excluded: PageSet) {
        self.left_out = excluded;
    }

    /// Adds what was written. Begins a checkpoint if none is being made; without a parent it will have all pages. `bytes` are
    /// the memory's if the program stands still.
    ///
    /// # Errors
    /// What was written cannot be found out while the program runs.
    pub fn look(
        &mut self,
        tracking: Tracking,
        has_parent: bool,
        bytes: Option<&[u8]>,
    ) -> io::Result<()> {
        let mut written = PageSet::default();
        if self.watch.tracking().is_none() {
            // For the first time, or nobody followed it: any page may have changed.
            self.unsaved.insert_all(&self.kept);
            self.going = None;
            self.watch.begin(tracking, Since::Zero, bytes)?;
        }
        // With mprotect the system could not write into pages that it was given before they became read-only.
        let tracking = self.watch.tracking();
        let running = tracking == Some(Tracking::Userfaultfd) && self.watch.while_running();
        if bytes.is_none() && !running {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the program must stand still"));
        }
        if tracking == Some(Tracking::Mprotect) {
            dormouse_wasi::touch_buffers();
        }
        let taken = match bytes {
            Some(bytes) => self.watch.take(bytes, &mut written),
            None => self.watch.take_running(&mut written),
        };
        if let Err(e) = taken {
            tracing::debug!("memory {} is compared from now on: {e}", self.index);
            self.unsaved.insert_all(&self.kept);
            self.going = None;
            self.watch.begin(Tracking::Compare, Since::Zero, bytes)?;
            self.watch.take(bytes.ok_or(e)?, &mut written)?;
        }
        self.unsaved.insert_all(&written);
        // One that was to be built on what is gone by now would lack pages.
        if self.going.as_ref().is_some_and(|going| !going.whole && !has_parent) {
            self.going = None;
        }
        match &mut self.going {
            Some(going) => going.todo.insert_all(&written),
            None => {
                self.unsaved.insert_all(&self.in_flight);
                let mut todo = self.unsaved.clone();
                todo.remove_all(&self.left_out);
                let nearly = todo.len() * 100 > self.kept.len() * NEARLY_ALL;
                let whole = !has_parent || (todo.len() > 16 && nearly);
                todo.insert_all(&self.unsaved);
                if whole {
                    todo.insert_all(&self.kept);
                }
                self.going = Some(Going { whole, todo, ..Going::default() });
            }
        }
        if let Some(going) = &mut self.going {
            going.skip(&self.left_out);
        }
        Ok(())
    }

    /// Copies what is to be copied while the program runs, until `stop`.
    pub fn copy_running(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let Some(going) = &mut self.going else { return Ok(()) };
        let todo = std::mem::take(&mut going.todo);
        let mut pages = todo.runs().flatten();
        for page in pages.by_ref() {
            let copied = match stop.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::Interrupted.into()),
                false => copy_page(&self.watch, page, &mut going.copies),
            };
            if let Err(e) = copied {
                going.todo.insert(page..page + 1);
                pages.for_each(|page| going.todo.insert(page..page + 1));
                return Err(e);
            }
        }
        Ok(())
    }

    /// Writes what is to be copied into a layer while the program runs, until the first of `stop`; what is left stays to be
    /// copied. The second one ends it with an error.
    pub fn prepare(
        &mut self,
        store: &Store,
        parent: Option<&Parent>,
        deltas: bool,
        stop: (&AtomicBool, &AtomicBool),
    ) -> Result<(), StoreError> {
        let Some(going) = &mut self.going else { return Ok(()) };
        if let Some((_, before)) = going.prepared.take() {
            going.todo.insert_all(&before);
        }
        let todo = going.todo.clone();
        let wasm_pages = (self.watch.len() / WASM_PAGE_SIZE) as u64;
        let mut source = Source {
            watch: &self.watch,
            rest: todo.runs(),
            run: 0..0,
            buffer: Vec::new(),
            first: 0,
            given: PageSet::default(),
        };
        let parent = parent.filter(|_| !going.whole);
        let mut next = |into: &mut _| match stop.1.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::Interrupted.into()),
            false if stop.0.load(Ordering::Relaxed) => Ok(None),
            // What cannot be read while it runs is copied when it stands.
            false => Ok(source.next(into).unwrap_or(None)),
        };
        let prepared = store.prepare(parent, self.index, wasm_pages, deltas, &mut next)?;
        let given = source.given;
        going.todo.remove_all(&given);
        going.prepared = Some((prepared, given));
        Ok(())
    }

    /// What was copied so far is not used.
    pub fn give_up(&mut self) {
        self.going = None;
    }

    /// Room for copying so many pages, made beforehand.
    pub fn reserve(&mut self, pages: usize) {
        if let Some(going) = &mut self.going {
            // What is missing then is missing later.
            let _ = going.copies.reserve(pages);
        }
    }

    /// The program stands still, and `look` has just been called: its pages, copied, so that it can go on before they are
    /// written.
    ///
    /// # Errors
    /// If there is no room for the copies. Nothing is lost then.
    pub fn copy(&mut self, bytes: &[u8], excluded: &PageSet) -> Result<Captured<'static>, String> {
        let Going { whole, todo, mut copies, prepared, .. } = self.end_with(excluded);
        for page in todo.runs().flatten() {
            let slot = copies.slot(page).map_err(|NoRoom| {
                format!("no room for a copy of {} pages of memory {}", todo.len(), self.index)
            })?;
            slot.copy_from_slice(page_of(bytes, page, excluded));
        }
        let changed = copies.pages();
        Ok(self.captured(bytes, whole, prepared, changed, Pages::Copied(copies)))
    }

    /// The same without copies: the program does not go on before they are written.
    pub fn borrow<'a>(&mut self, bytes: &'a [u8], excluded: &PageSet) -> Captured<'a> {
        let Going { whole, todo, copies, prepared, .. } = self.end_with(excluded);
        let mut pages = copies.pages();
        pages.insert_all(&todo);
        let live = Pages::Live { bytes, pages: pages.clone() };
        self.captured(bytes, whole, prepared, pages, live)
    }

    fn captured<'a>(
        &self,
        bytes: &[u8],
        whole: bool,
        prepared: Option<(Prepared, PageSet)>,
        changed: PageSet,
        pages: Pages<'a>,
    ) -> Captured<'a> {
        let wasm_pages = (bytes.len() / WASM_PAGE_SIZE) as u64;
        let (prepared, before) = prepared.unzip();
        let mut saved = changed;
        saved.insert_all(&before.unwrap_or_default());
        let above = prepared.is_some();
        let (index, excluded) = (self.index, self.excluded.clone());
        Captured { index, wasm_pages, whole, pages, above, prepared, saved, excluded }
    }

    /// Now it is known what is excluded: that is to be zero, if it is not yet; what is excluded no more, as it is.
    fn end_with(&mut self, excluded: &PageSet) -> Going {
        let mut going = self.going.take().unwrap_or_default();
        let mut included = std::mem::replace(&mut self.excluded, excluded.clone());
        included.remove_all(excluded);
        self.unsaved.insert_all(&included);
        self.in_flight.insert_all(&std::mem::take(&mut self.unsaved));
        going.todo.insert_all(&included);
        going.todo.insert_all(&going.skipped);
        if excluded.is_empty() {
            return going;
        }
        let mut there = going.copies.pages();
        if let Some((_, given)) = &going.prepared {
            there.insert_all(given);
        }
        if !going.whole {
            there.insert_all(&self.kept);
        }
        going.todo.remove_all(excluded);
        going.todo.insert_all(&both(there, excluded));
        going
    }

    /// What was captured is durable.
    pub fn durable(&mut self, captured: &Captured<'_>) {
        self.in_flight.clear();
        if captured.whole {
            self.kept.clear();
        }
        self.kept.insert_all(&captured.saved);
        self.kept.remove_all(&captured.excluded);
    }
}

impl Going {
    fn skip(&mut self, excluded: &PageSet) {
        if !excluded.is_empty() {
            let skipped = both(self.todo.clone(), excluded);
            self.todo.remove_all(&skipped);
            self.skipped.insert_all(&skipped);
        }
    }
}

/// The pages of `a` that are in `b` too.
fn both(mut a: PageSet, b: &PageSet) -> PageSet {
    let mut others = a.clone();
    others.remove_all(b);
    a.remove_all(&others);
    a
}

fn copy_page(watch: &Watch, page: u64, copies: &mut Copies) -> io::Result<()> {
    let slot = copies.slot(page).map_err(|NoRoom| io::Error::from(io::ErrorKind::OutOfMemory))?;
    watch.copy_running(page as usize * PAGE_SIZE, slot)
}

fn page_of<'a>(bytes: &'a [u8], page: u64, excluded: &PageSet) -> &'a [u8] {
    let at = page as usize * PAGE_SIZE;
    match excluded.contains(page) {
        true => &ZERO_PAGE,
        false => &bytes[at..at + PAGE_SIZE],
    }
}

/// Pages of a running program, read in batches.
struct Source<'a, R> {
    watch: &'a Watch,
    rest: R,
    run: Range<u64>,
    /// Pages from `first` on.
    buffer: Vec<u8>,
    first: u64,
    given: PageSet,
}

impl<R: Iterator<Item = Range<u64>>> Source<'_, R> {
    fn next(&mut self, into: &mut [u8; PAGE_SIZE]) -> io::Result<Option<u64>> {
        if self.run.is_empty() {
            match self.rest.next() {
                Some(run) => self.run = run,
                None => return Ok(None),
            }
            self.buffer.clear();
        }
        let page = self.run.start;
        if self.buffer.is_empty() || page >= self.first + (self.buffer.len() / PAGE_SIZE) as u64 {
            let pages = BATCH.min((self.run.end - page) as usize);
            self.buffer.resize(pages * PAGE_SIZE, 0);
            self.first = page;
            self.watch.copy_running(page as usize * PAGE_SIZE, &mut self.buffer)?;
        }
        let at = (page - self.first) as usize * PAGE_SIZE;
        into.copy_from_slice(&self.buffer[at..at + PAGE_SIZE]);
        self.given.insert(page..page + 1);
        self.run.start += 1;
        Ok(Some(page))
    }
}

impl Captured<'_> {
    /// Whether it cannot be saved: a layer that was to have all pages has not.
    pub fn is_torn(&self) -> bool {
        !self.whole && self.prepared.as_ref().is_some_and(Prepared::is_base)
    }

    /// How many pages it has, with those of a prepared layer.
    pub fn len(&self) -> u64 {
        self.saved.len()
    }

    /// Its pages, in ascending order; those of a prepared layer are not among them.
    pub fn runs(&self) -> Vec<(u64, &[u8])> {
        match &self.pages {
            Pages::Copied(copies) => copies.runs(),
            Pages::Live { bytes, pages } => {
                let page = |page| (page, page_of(bytes, page, &self.excluded));
                pages.runs().flatten().map(page).collect()
            }
        }
    }

    /// As the store wants it.
    pub fn pages<'a>(&self, runs: &'a [(u64, &'a [u8])]) -> MemoryPages<'a> {
        match self.whole && !self.above {
            true => MemoryPages::base(self.index, self.wasm_pages, runs),
            false => MemoryPages::changed(self.index, self.wasm_pages, runs),
        }
    }
}
