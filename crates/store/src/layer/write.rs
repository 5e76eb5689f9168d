//! Writing layers: the pages of a memory, or those that changed.
//!
//! ```text
//!   page -> zero?    base: left out      changes: said in the index
//!        -> changed little?              changes: the difference to the parent's page
//!        -> otherwise whole
//!   64 of them, or differences -> one frame, and its entry in the index
//!   16 frames -> compressed, by several threads -> written in order
//! ```

use super::delta;
use super::overlay::PageReader;
use super::{
    END_MAGIC, HEADER_LEN, How, Kind, MAGIC, MAX_RUNS, PAGE_SIZE, ReadAt, VERSION, WASM_PAGE_SIZE,
    checksum_of_index,
};
use crate::meter::Meter;
use std::io::{self, Write};
use std::num::NonZero;
use std::thread::Builder;

/// Pages a frame is filled with: 256 KiB, so that one page can be had without reading much else. Readers accept four times
/// as many.
const FILL: usize = 64;
/// Frames that are compressed at a time: what a writer holds in memory, 4 MiB and what they are compressed to.
const BATCH: usize = 16;
/// The meter is told each time so many bytes were taken in.
const COUNTED: u64 = 1 << 20;
/// How many threads compress at most.
const MAX_THREADS: usize = 8;
/// Fast, and still halves most memories.
const ZSTD_LEVEL: i32 = 1;
static ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// What a layer came to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Pages stored whole.
    pub whole: u64,
    /// Pages stored as their difference to the parent's.
    pub deltas: u64,
    /// Pages that became zero.
    pub zero: u64,
    /// Pages of the parent that could not be read; these are whole here, but others count on the parent.
    pub unread: u64,
    /// Bytes of all frames before compression.
    pub data: u64,
    /// Bytes of the layer.
    pub bytes: u64,
}

/// Pages that changed: the number of the first of each run, and their bytes. Runs are in ascending order and whole pages of
/// [`PAGE_SIZE`].
pub type Runs<'a> = [(u64, &'a [u8])];

/// Writes the layer of memory `index`, whose bytes are `memory`.
///
/// # Errors
/// Those of `out`; and [`io::ErrorKind::InvalidInput`] if `memory` is not whole WebAssembly pages.
///
/// ```
/// use dormouse_store::{MemoryLayer, Overlay, write_memory_layer};
///
/// let mut memory = vec![0; 65536];
/// memory[5000] = 7;
/// let mut layer = vec![];
/// assert_eq!(write_memory_layer(0, &memory, &mut layer)?.whole, 1);
///
/// let mut again = vec![0; 65536];
/// Overlay::new(vec![MemoryLayer::open(&layer[..])?])?.read_into(&mut again)?;
/// assert_eq!(again, memory);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_memory_layer(index: u32, memory: &[u8], out: impl Write) -> io::Result<Stored> {
    if !memory.len().is_multiple_of(WASM_PAGE_SIZE) {
        return Err(invalid("not whole pages of 64 KiB"));
    }
    let wasm_pages = (memory.len() / WASM_PAGE_SIZE) as u64;
    let mut writer = LayerWriter::new(out, Kind::Base, index, wasm_pages)?;
    for (number, page) in memory.chunks_exact(PAGE_SIZE).enumerate() {
        writer.page(number as u64, page, NO_PARENT)?;
    }
    writer.finish()
}

/// Writes the layer of memory `index`, which has `wasm_pages`, given the pages that are not zero, or may not be.
///
/// # Errors
/// Those of `out`; and [`io::ErrorKind::InvalidInput`] if `runs` are not as [`Runs`] says, or lie outside the memory.
pub fn write_base(
    index: u32,
    wasm_pages: u64,
    runs: &Runs<'_>,
    out: impl Write,
) -> io::Result<Stored> {
    write_runs(Kind::Base, index, wasm_pages, runs, NO_PARENT, out)
}

/// Writes a layer of changes to memory `index`, which has `wasm_pages` now. With its parent's pages at hand, those of
/// which little changed are stored as differences.
///
/// # Errors
/// Those of `out`; and [`io::ErrorKind::InvalidInput`] if `runs` are not as [`Runs`] says, or lie outside the memory.
///
/// ```
/// use dormouse_store::{MemoryLayer, Overlay, write_changes, write_memory_layer};
///
/// let mut memory = vec![1; 65536];
/// let (mut base, mut changes) = (vec![], vec![]);
/// write_memory_layer(0, &memory, &mut base)?;
/// let parent = Overlay::new(vec![MemoryLayer::open(&base[..])?])?;
///
/// memory[4096] = 2;
/// let runs = [(1, &memory[4096..8192])];
/// let stored = write_changes(0, 1, &runs, Some(&mut parent.pages()?), &mut changes)?;
/// assert_eq!((stored.deltas, stored.data), (1, 14));
///
/// let both = Overlay::new(vec![MemoryLayer::open(&base[..])?, MemoryLayer::open(&changes[..])?])?;
/// let mut again = vec![0; 65536];
/// both.read_into(&mut again)?;
/// assert_eq!(again, memory);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_changes<R: ReadAt>(
    index: u32,
    wasm_pages: u64,
    runs: &Runs<'_>,
    parent: Option<&mut PageReader<'_, R>>,
    out: impl Write,
) -> io::Result<Stored> {
    write_runs(Kind::Changes, index, wasm_pages, runs, parent, out)
}

fn write_runs<R: ReadAt>(
    kind: Kind,
    index: u32,
    wasm_pages: u64,
    runs: &Runs<'_>,
    mut parent: Option<&mut PageReader<'_, R>>,
    out: impl Write,
) -> io::Result<Stored> {
    let mut writer = LayerWriter::new(out, kind, index, wasm_pages)?;
    let pages = wasm_pages.saturating_mul((WASM_PAGE_SIZE / PAGE_SIZE) as u64);
    let mut least = 0;
    for (first, bytes) in runs {
        let count = (bytes.len() / PAGE_SIZE) as u64;
        if !bytes.len().is_multiple_of(PAGE_SIZE)
            || *first < least
            || first.checked_add(count).is_none_or(|end| end > pages)
        {
            return Err(invalid("pages that are not in order, not whole, or outside the memory"));
        }
        least = first + count;
        for (number, page) in (*first..).zip(bytes.chunks_exact(PAGE_SIZE)) {
            writer.page(number, page, parent.as_deref_mut())?;
        }
    }
    writer.finish()
}

const NO_PARENT: Option<&mut PageReader<'static, &'static [u8]>> = None;

/// A layer being written; pages come in ascending order.
pub(crate) struct LayerWriter<W> {
    out: W,
    kind: Kind,
    header: Vec<u8>,
    /// The frame being filled, and how many pages and differences are in it.
    filling: Frame,
    filled: usize,
    /// Frames to be compressed.
    full: Vec<Frame>,
    compressors: Vec<zstd::bulk::Compressor<'static>>,
    index: Vec<u8>,
    frames: u32,
    offset: u64,
    /// A page of the parent.
    old: Box<[u8; PAGE_SIZE]>,
    stored: Stored,
    meter: Meter,
    /// Bytes taken in that the meter does not know of yet.
    uncounted: u64,
}

#[derive(Default)]
struct Frame {
    data: Vec<u8>,
    runs: Vec<(u64, u32, How)>,
    compressed: Vec<u8>,
}

impl Frame {
    fn compress(&mut self, compressor: &mut zstd::bulk::Compressor<'static>) -> io::Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        self.compressed.reserve(zstd::zstd_safe::compress_bound(self.data.len()));
        compressor.compress_to_buffer(&self.data, &mut self.compressed).map(drop)
    }
}

impl<W: Write> LayerWriter<W> {
    pub(crate) fn new(mut out: W, kind: Kind, index: u32, wasm_pages: u64) -> io::Result<Self> {
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&(kind as u16).to_le_bytes());
        header.extend_from_slice(&index.to_le_bytes());
        header.extend_from_slice(&wasm_pages.to_le_bytes());
        out.write_all(&header)?;
        Ok(LayerWriter {
            out,
            kind,
            header,
            filling: Frame::default(),
            filled: 0,
            full: Vec::new(),
            compressors: Vec::new(),
            index: Vec::new(),
            frames: 0,
            offset: HEADER_LEN as u64,
            old: Box::new(ZERO_PAGE),
            stored: Stored::default(),
            meter: Meter::current(),
            uncounted: 0,
        })
    }

    /// Whether the parent's page can be read.
    fn old_page<R: ReadAt>(&mut self, parent: &mut PageReader<'_, R>, number: u64) -> bool {
        let read = parent.page(number, &mut self.old).is_ok();
        self.stored.unread += u64::from(!read);
        read
    }

    /// Stores a page in the shortest way.
    pub(crate) fn page<R: ReadAt>(
        &mut self,
        number: u64,
        page: &[u8],
        parent: Option<&mut PageReader<'_, R>>,
    ) -> io::Result<()> {
        self.uncounted += PAGE_SIZE as u64;
        if self.uncounted >= COUNTED {
            self.meter.add(std::mem::take(&mut self.uncounted));
        }
        let zero = page == ZERO_PAGE;
        if zero && self.kind == Kind::Base {
            return Ok(());
        }
        let old = parent.is_some_and(|parent| self.old_page(parent, number));
        // It was written, but nothing of it changed.
        if old && page == &self.old[..] {
            return Ok(());
        }
        let how = if zero {
            self.stored.zero += 1;
            How::Zero
        } else if old && delta::append(&self.old[..], page, &mut self.filling.data) {
            self.stored.deltas += 1;
            How::Delta
        } else {
            self.filling.data.extend_from_slice(page);
            self.stored.whole += 1;
            How::Whole
        };
        self.filled += usize::from(how != How::Zero);
        match self.filling.runs.last_mut() {
            Some((first, count, last))
                if *last == how && *first + u64::from(*count) == number && *count < u32::MAX =>
            {
                *count += 1;
            }
            _ => self.filling.runs.push((number, 1, how)),
        }
        if self.filled == FILL || self.filling.runs.len() == MAX_RUNS {
            self.full.push(std::mem::take(&mut self.filling));
            self.filled = 0;
        }
        if self.full.len() == BATCH { self.write_frames() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> io::Result<Stored> {
        if !self.filling.runs.is_empty() {
            self.full.push(std::mem::take(&mut self.filling));
        }
        self.write_frames()?;
        let mut trailer = self.offset.to_le_bytes().to_vec();
        trailer.extend_from_slice(&self.frames.to_le_bytes());
        let checksum = checksum_of_index(&self.header, &self.index, &trailer);
        trailer.extend_from_slice(&checksum.to_le_bytes());
        trailer.extend_from_slice(&END_MAGIC);
        self.out.write_all(&self.index)?;
        self.out.write_all(&trailer)?;
        self.out.flush()?;
        self.meter.add(self.uncounted);
        self.stored.bytes = self.offset + (self.index.len() + trailer.len()) as u64;
        Ok(self.stored)
    }

    /// Compresses the frames that are full, and writes them in their order.
    fn write_frames(&mut self) -> io::Result<()> {
        let mut frames = std::mem::take(&mut self.full);
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(MAX_THREADS).min(frames.len()).max(1);
        while self.compressors.len() < threads {
            self.compressors.push(zstd::bulk::Compressor::new(ZSTD_LEVEL)?);
        }
        let size = frames.len().div_ceil(threads).max(1);
        let meter = &self.meter;
        std::thread::scope(|scope| {
            let mut parts = frames.chunks_mut(size).zip(&mut self.compressors);
            let compress = |(part, compressor): (&mut [Frame], &mut _)| {
                part.iter_mut().try_for_each(|frame| frame.compress(compressor))
            };
            let mine = parts.next();
            let others: Vec<_> = parts
                .map(|part| {
                    Builder::new().spawn_scoped(scope, move || {
                        let _work = meter.work();
                        compress(part)
                    })
                })
                .collect();
            let done = mine.map_or(Ok(()), compress);
            others.into_iter().fold(done, |done, other| match other {
                Ok(other) => {
                    let other = other.join();
                    done.and(other.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                }
                // No thread is to be had: its frames are left for this one, below.
                Err(_) => done,
            })
        })?;
        if let Some(compressor) = self.compressors.first_mut() {
            let mut left = frames.iter_mut().filter(|frame| frame.compressed.is_empty());
            left.try_for_each(|frame| frame.compress(compressor))?;
        }
        frames.iter().try_for_each(|frame| self.write_frame(frame))
    }

    fn write_frame(&mut self, frame: &Frame) -> io::Result<()> {
        self.out.write_all(&frame.compressed)?;
        let length = frame.compressed.len() as u32;
        self.offset += u64::from(length);
        self.stored.data += frame.data.len() as u64;
        self.index.extend_from_slice(&length.to_le_bytes());
        self.index.extend_from_slice(&crc32c::crc32c(&frame.data).to_le_bytes());
        if self.kind == Kind::Changes {
            self.index.extend_from_slice(&(frame.data.len() as u32).to_le_bytes());
        }
        self.index.extend_from_slice(&(frame.runs.len() as u32).to_le_bytes());
        for (first, count, how) in &frame.runs {
            self.index.extend_from_slice(&first.to_le_bytes());
            self.index.extend_from_slice(&count.to_le_bytes());
            if self.kind == Kind::Changes {
                self.index.extend_from_slice(&(*how as u32).to_le_bytes());
            }
        }
        self.frames = self.frames.checked_add(1).ok_or_else(|| invalid("too many frames"))?;
        Ok(())
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
