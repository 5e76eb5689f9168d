//! A memory as its layers give it: the base, and the changes since, newest last.
//!
//! ```text
//!   page            0      1      2      3      4
//!   layers[0]     whole  whole    -    whole    -       base: what is not there is zero
//!   layers[1]       -    delta  whole  zero     -       changes: what is not there is the parent's
//!   layers[2]       -    delta    -      -      -
//!   the memory   0: [0]  1: [0] + two deltas  2: [1]  3: zero  4: zero
//! ```
//!
//! For each page the layers are asked newest first, until one has it whole; a frame that nobody needs is not read. Read in
//! ascending order, each frame is read once, so the time it takes depends on what is stored, not on how many layers it is in.

use super::{How, Kind, LayerError, MemoryLayer, PAGE_SIZE, ReadAt, Run, WASM_PAGE_SIZE, delta};
use crate::meter::Meter;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

/// From how many bytes on several threads read a memory.
const MANY: u64 = 8 << 20;
/// The meter is told each time so many pages were read.
const COUNTED: u64 = 256;
/// How many at most.
const MAX_THREADS: usize = 8;

/// The layers of one memory.
#[derive(Debug)]
pub struct Overlay<R> {
    layers: Vec<MemoryLayer<R>>,
}

impl<R: ReadAt> Overlay<R> {
    /// The memory that a base and its changes make.
    ///
    /// # Errors
    /// [`LayerError::Chain`] if the first is not a base, another is, or they are not layers of one memory, which never
    /// shrinks.
    pub fn new(layers: Vec<MemoryLayer<R>>) -> Result<Self, LayerError> {
        let Some(base) = layers.first() else {
            return Err(LayerError::Chain("there is none"));
        };
        if base.kind() != Kind::Base {
            return Err(LayerError::Chain("the first holds changes only"));
        }
        for pair in layers.windows(2) {
            let [parent, changes] = pair else { continue };
            if changes.kind() != Kind::Changes {
                return Err(LayerError::Chain("another than the first is a base"));
            }
            if changes.memory_index() != parent.memory_index() {
                return Err(LayerError::Chain("they are of several memories"));
            }
            if changes.wasm_pages() < parent.wasm_pages() {
                return Err(LayerError::Chain("the memory shrinks"));
            }
        }
        Ok(Overlay { layers })
    }

    /// The layers, oldest first; at least one.
    pub fn layers(&self) -> &[MemoryLayer<R>] {
        &self.layers
    }

    /// The memory's index in the original module.
    pub fn memory_index(&self) -> u32 {
        self.layers.first().map_or(0, MemoryLayer::memory_index)
    }

    /// The memory's size in pages of 64 KiB.
    pub fn wasm_pages(&self) -> u64 {
        self.layers.last().map_or(0, MemoryLayer::wasm_pages)
    }

    /// The pages that may be other than zero, in ascending order.
    pub fn stored(&self) -> Vec<Range<u64>> {
        union(self.layers.iter().flat_map(|layer| &layer.runs).filter(|run| run.how != How::Zero))
    }

    /// The pages that are other than zero, but for differences that make one zero, in ascending order.
    pub(crate) fn used(&self) -> Vec<Range<u64>> {
        let mut used = BTreeMap::new();
        for run in self.layers.iter().flat_map(|layer| &layer.runs) {
            cut_out(&mut used, run.first..run.end());
            if run.how != How::Zero {
                used.insert(run.first, run.end());
            }
        }
        used.into_iter().map(|(start, end)| start..end).collect()
    }

    /// The pages that these layers say anything of, in ascending order.
    pub(crate) fn changed(layers: &[MemoryLayer<R>]) -> Vec<Range<u64>> {
        union(layers.iter().flat_map(|layer| &layer.runs))
    }

    /// For reading single pages.
    ///
    /// # Errors
    /// If there is no room for zstd's tables.
    pub fn pages(&self) -> Result<PageReader<'_, R>, LayerError> {
        Self::reader(&self.layers)
    }

    /// For reading single pages of a memory that has these layers only.
    pub(crate) fn reader(layers: &[MemoryLayer<R>]) -> Result<PageReader<'_, R>, LayerError> {
        PageReader::new(layers)
    }

    /// Writes the memory into `into`, which is as long as it and all zero. A large one is read by several threads.
    ///
    /// # Errors
    /// [`LayerError::BufferLength`] if it is not as long; else which layer is bad, and how.
    pub fn read_into(&self, into: &mut [u8]) -> Result<(), BadLayer>
    where
        R: Sync,
    {
        let expected = self.wasm_pages().saturating_mul(WASM_PAGE_SIZE as u64);
        let found = into.len() as u64;
        if expected != found {
            let layer = self.layers.len() - 1;
            return Err(BadLayer { layer, error: LayerError::BufferLength { expected, found } });
        }
        let ranges = self.stored();
        let stored: u64 = ranges.iter().map(|r| r.end - r.start).sum();
        let meter = &Meter::current();
        meter.expect(stored.saturating_mul(PAGE_SIZE as u64));
        let threads = match stored.saturating_mul(PAGE_SIZE as u64) >= MANY {
            true => std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS),
            false => 1,
        };
        if threads == 1 {
            return self.read_ranges(&ranges, 0, into, meter);
        }
        let parts = split(&ranges, stored.div_ceil(threads as u64));
        std::thread::scope(|scope| {
            let mut rest = into;
            let mut at = 0;
            let mut readers = Vec::with_capacity(parts.len());
            for part in &parts {
                let end = part.last().map_or(at, |range| range.end);
                let (mine, others) = rest.split_at_mut((end - at) as usize * PAGE_SIZE);
                let from = at;
                rest = others;
                at = end;
                // Shared, so that this thread can do it where no other is to be had.
                let mine = Arc::new(Mutex::new(mine));
                let theirs = mine.clone();
                let read = move |into: &Mutex<&mut [u8]>| {
                    let mut into = into.lock().unwrap_or_else(PoisonError::into_inner);
                    self.read_ranges(part, from, &mut into, meter)
                };
                let work = move || {
                    let _work = meter.work();
                    read(&theirs)
                };
                match Builder::new().spawn_scoped(scope, work) {
                    Ok(reader) => readers.push(reader),
                    Err(_) => read(&mine)?,
                }
            }
            readers.into_iter().try_for_each(|reader| {
                reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        })
    }

    /// Writes the pages of `ranges` into `into`, which begins with page `from`.
    fn read_ranges(
        &self,
        ranges: &[Range<u64>],
        from: u64,
        into: &mut [u8],
        meter: &Meter,
    ) -> Result<(), BadLayer> {
        let mut pages = self.pages().map_err(|error| BadLayer { layer: 0, error })?;
        let mut count = 0;
        for number in ranges.iter().cloned().flatten() {
            count += 1;
            if count == COUNTED {
                meter.add(std::mem::take(&mut count) * PAGE_SIZE as u64);
            }
            let at = (number - from) as usize * PAGE_SIZE;
            let Some(page) = into.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) else {
                return Err(BadLayer {
                    layer: 0,
                    error: LayerError::Malformed("a page lies outside the memory"),
                });
            };
            pages.page(number, page)?;
        }
        meter.add(count * PAGE_SIZE as u64);
        Ok(())
    }
}

/// Which layer cannot be read, counted from the base, and why.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer}: {error}")]
pub struct BadLayer {
    /// Which.
    pub layer: usize,
    /// Why.
    pub error: LayerError,
}

/// The pages of these runs.
fn union<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<Range<u64>> {
    join(runs.map(|run| run.first..run.end()).collect())
}

/// In ascending order, each page once.
pub(crate) fn join(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
    ranges
}

/// Takes pages out of ranges that do not meet.
fn cut_out(ranges: &mut BTreeMap<u64, u64>, pages: Range<u64>) {
    while let Some((&start, &end)) = ranges.range(..pages.end).next_back() {
        if end <= pages.start {
            return;
        }
        ranges.remove(&start);
        if end > pages.end {
            ranges.insert(pages.end, end);
        }
        if start < pages.start {
            ranges.insert(start, pages.start);
        }
    }
}

/// Cuts ranges into parts of `size` pages, but for the last.
fn split(ranges: &[Range<u64>], size: u64) -> Vec<Vec<Range<u64>>> {
    let mut parts = vec![vec![]];
    let mut room = size;
    for range in ranges {
        let mut range = range.clone();
        while !range.is_empty() {
            if room == 0 {
                parts.push(vec![]);
                room = size;
            }
            let end = range.end.min(range.start + room);
            room -= end - range.start;
            if let Some(part) = parts.last_mut() {
                part.push(range.start..end);
            }
            range.start = end;
        }
    }
    parts
}

/// Reads pages of a memory: any, but fastest in ascending order.
pub struct PageReader<'a, R> {
    layers: &'a [MemoryLayer<R>],
    cursors: Vec<Cursor>,
    decompressor: zstd::bulk::Decompressor<'static>,
    compressed: Vec<u8>,
    /// Layers whose differences apply to the page being read, newest first, and where those lie in the frame.
    deltas: Vec<(usize, Range<usize>)>,
}

/// Where a reader stands in one layer.
#[derive(Default)]
struct Cursor {
    run: usize,
    frame: Option<usize>,
    data: Vec<u8>,
    /// Where in `data` each page or difference ends.
    ends: Vec<u32>,
}

impl<'a, R: ReadAt> PageReader<'a, R> {
    fn new(layers: &'a [MemoryLayer<R>]) -> Result<Self, LayerError> {
        Ok(PageReader {
            layers,
            cursors: layers.iter().map(|_| Cursor::default()).collect(),
            decompressor: zstd::bulk::Decompressor::new()?,
            compressed: Vec::new(),
            deltas: Vec::new(),
        })
    }

    /// Reads page `number`: zero where no layer has it.
    ///
    /// # Errors
    /// Which layer is bad, and how. `into` is undefined then.
    pub fn page(&mut self, number: u64, into: &mut [u8; PAGE_SIZE]) -> Result<(), BadLayer> {
        self.deltas.clear();
        let mut whole = false;
        for at in (0..self.layers.len()).rev() {
            let bad = |error| BadLayer { layer: at, error };
            let layer = &self.layers[at];
            let cursor = &mut self.cursors[at];
            let Some(run) = cursor.find(layer, number) else {
                continue;
            };
            if run.how == How::Zero {
                break;
            }
            let frame = run.frame as usize;
            if cursor.frame != Some(frame) {
                cursor.frame = None;
                layer
                    .read_frame(
                        frame,
                        &mut self.decompressor,
                        &mut self.compressed,
                        &mut cursor.data,
                    )
                    .map_err(bad)?;
                layer.ends(frame, &cursor.data, &mut cursor.ends).map_err(bad)?;
                cursor.frame = Some(frame);
            }
            let slot = run.slot as usize + (number - run.first) as usize;
            let start = slot.checked_sub(1).map_or(0, |before| cursor.ends[before] as usize);
            let found = start..cursor.ends[slot] as usize;
            if run.how == How::Whole {
                into.copy_from_slice(&cursor.data[found]);
                whole = true;
                break;
            }
            self.deltas.push((at, found));
        }
        if !whole {
            into.fill(0);
        }
        for (layer, found) in self.deltas.drain(..).rev() {
            delta::apply(&self.cursors[layer].data[found], into)
                .map_err(|error| BadLayer { layer, error })?;
        }
        Ok(())
    }
}

impl Cursor {
    /// The run that has page `number`.
    fn find<'a, R: ReadAt>(&mut self, layer: &'a MemoryLayer<R>, number: u64) -> Option<&'a Run> {
        let runs = &layer.runs;
        let here = runs.get(self.run);
        let before = self.run.checked_sub(1).and_then(|before| runs.get(before));
        // In ascending order it is this one, one shortly after it, or none.
        if before.is_none_or(|run| run.end() <= number) {
            match here {
                Some(run) if number < run.first => return None,
                Some(run) if number < run.end() => return Some(run),
                Some(_) => self.run += 1,
                None => return None,
            }
        }
        let from =
            if runs.get(self.run).is_some_and(|run| run.first <= number) { self.run } else { 0 };
        let ahead = runs.get(from..)?;
        self.run = from + ahead.partition_point(|run| run.end() <= number);
        runs.get(self.run).filter(|run| run.first <= number)
    }
}
