//! A memory layer: pages of one linear memory, compressed; all that are not zero, or those that changed.
//!
//! ```text
//!   header    "DMPAGES\0"  version:u16  kind:u16  memory:u32  pages:u64          24 bytes
//!   frame*    zstd( up to 256 pages of 4 KiB, or differences )  each readable on its own
//!   index     base:     per frame { length:u32  crc32c:u32  runs:u32  { page:u64  count:u32 }* }
//!             changes:  per frame { length:u32  crc32c:u32  bytes:u32  runs:u32
//!                                   { page:u64  count:u32  how:u32 }* }
//!   trailer   index offset:u64  frames:u32  crc32c:u32  "DMINDEX\0"              24 bytes
//! ```
//!
//! `docs/format.md` describes it byte for byte. Reading is bounded: what a frame decompresses to is
//! known from the index (at most 1 MiB), pages are in range and strictly ascending.

mod delta;
mod overlay;
mod read_at;
mod write;

pub(crate) use overlay::join;
pub use overlay::{BadLayer, Overlay, PageReader};
pub use read_at::ReadAt;
pub(crate) use write::LayerWriter;
pub use write::{Runs, Stored, write_base, write_changes, write_memory_layer};

use std::io;
use std::ops::Range;

/// Bytes of a page of a layer.
pub const PAGE_SIZE: usize = 4096;
/// Bytes of a WebAssembly page.
pub const WASM_PAGE_SIZE: usize = 65536;
/// Pages a frame may hold: 1 MiB of them.
pub const FRAME_PAGES: usize = 256;

const MAGIC: [u8; 8] = *b"DMPAGES\0";
const END_MAGIC: [u8; 8] = *b"DMINDEX\0";
const VERSION: u16 = 1;
const HEADER_LEN: usize = 24;
const TRAILER_LEN: usize = 24;
/// Runs a frame may have; those of zero pages take no room in it.
const MAX_RUNS: usize = 4096;
/// What zstd may need for a frame of 1 MiB that does not compress.
const MAX_STORED_FRAME: u32 = (1 << 20) + (1 << 12);
/// Pages a memory may have: a full 64-bit address space.
const MAX_PAGES: u64 = 1 << 52;

/// What a layer's pages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// All pages of the memory; those not listed are zero.
    Base = 0,
    /// The pages that differ from the parent's; those not listed are the same.
    Changes = 1,
}

/// How the pages of a run are stored. In a base all are whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum How {
    Whole = 0,
    /// Nothing of them is in the frame.
    Zero = 1,
    /// As differences to the parent's pages.
    Delta = 2,
}

/// Why a memory layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// Not a memory layer.
    #[error("not a memory layer")]
    NotALayer,
    /// A version this reader does not know.
    #[error(
        "a memory layer of format version {version}, where this dormouse reads version {VERSION}"
    )]
    UnsupportedVersion {
        /// The version found.
        version: u16,
    },
    /// A kind this reader does not know.
    #[error("a memory layer of kind {kind}, which this dormouse does not know")]
    UnsupportedKind {
        /// The kind found.
        kind: u16,
    },
    /// A rule of the format is broken.
    #[error("the memory layer is malformed: {0}")]
    Malformed(&'static str),
    /// A frame's pages are not what was written.
    #[error("frame {frame} of the memory layer is damaged")]
    Frame {
        /// Which frame.
        frame: usize,
    },
    /// The layers do not make a memory.
    #[error("the layers of the memory do not fit each other: {0}")]
    Chain(&'static str),
    /// The buffer is not as long as the memory.
    #[error("the memory is {expected} bytes long, but the buffer for it has {found}")]
    BufferLength {
        /// The memory's length.
        expected: u64,
        /// The buffer's.
        found: u64,
    },
    /// The source cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Over header, index, index offset and number of frames.
fn checksum_of_index(header: &[u8], index: &[u8], trailer: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(header), index), trailer)
}

/// A memory layer whose index has been read and checked; its pages are read when asked for.
#[derive(Debug)]
pub struct MemoryLayer<R> {
    source: R,
    kind: Kind,
    index: u32,
    wasm_pages: u64,
    frames: Vec<FrameEntry>,
    runs: Vec<Run>,
}

#[derive(Debug)]
struct FrameEntry {
    offset: u64,
    length: u32,
    checksum: u32,
    /// What it decompresses to.
    bytes: u32,
    runs: Range<usize>,
}

/// Pages that follow each other and are stored in one way.
#[derive(Debug)]
struct Run {
    first: u64,
    count: u32,
    how: How,
    frame: u32,
    /// How many pages and differences lie before it in its frame.
    slot: u32,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

impl<R: ReadAt> MemoryLayer<R> {
    /// Reads header and index of the layer that `source` holds.
    ///
    /// # Errors
    /// `source` does not hold a memory layer, or one whose index breaks a rule of the format.
    /// Memory allocated meanwhile is less than eight times the source's length.
    pub fn open(source: R) -> Result<Self, LayerError> {
        let len = source.size()?;
        if len < (HEADER_LEN + TRAILER_LEN) as u64 {
            return Err(LayerError::NotALayer);
        }
        let mut header = [0; HEADER_LEN];
        source.read_at(&mut header, 0)?;
        let mut fields = Fields(&header);
        if fields.take::<8>()? != MAGIC {
            return Err(LayerError::NotALayer);
        }
        let version = u16::from_le_bytes(fields.take()?);
        if version != VERSION {
            return Err(LayerError::UnsupportedVersion { version });
        }
        let kind = match u16::from_le_bytes(fields.take()?) {
            0 => Kind::Base,
            1 => Kind::Changes,
            kind => return Err(LayerError::UnsupportedKind { kind }),
        };
        let index = u32::from_le_bytes(fields.take()?);
        let wasm_pages = u64::from_le_bytes(fields.take()?);
        let pages = wasm_pages
            .checked_mul((WASM_PAGE_SIZE / PAGE_SIZE) as u64)
            .filter(|pages| *pages <= MAX_PAGES)
            .ok_or(LayerError::Malformed("the memory is too large"))?;

        let mut trailer = [0; TRAILER_LEN];
        let trailer_offset = len - TRAILER_LEN as u64;
        source.read_at(&mut trailer, trailer_offset)?;
        let mut fields = Fields(&trailer);
        let index_offset = u64::from_le_bytes(fields.take()?);
        let frame_count = u32::from_le_bytes(fields.take()?);
        let checksum = u32::from_le_bytes(fields.take()?);
        if fields.take::<8>()? != END_MAGIC {
            return Err(LayerError::Malformed("it does not end with an index"));
        }
        if index_offset < HEADER_LEN as u64 || index_offset > trailer_offset {
            return Err(LayerError::Malformed("the index lies outside"));
        }
        let index_len = usize::try_from(trailer_offset - index_offset)
            .map_err(|_| LayerError::Malformed("the index is too large"))?;
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(index_len)
            .map_err(|_| LayerError::Malformed("the index is larger than this host can hold"))?;
        bytes.resize(index_len, 0);
        source.read_at(&mut bytes, index_offset)?;
        if checksum_of_index(&header, &bytes, &trailer[..12]) != checksum {
            return Err(LayerError::Malformed("the index is damaged"));
        }
        let (frames, runs) = read_index(&bytes, kind, frame_count, index_offset, pages)?;
        Ok(MemoryLayer { source, kind, index, wasm_pages, frames, runs })
    }

    /// Whether it is a base, or holds changes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The memory's index in the original module.
    pub fn memory_index(&self) -> u32 {
        self.index
    }

    /// The memory's size in pages of 64 KiB.
    pub fn wasm_pages(&self) -> u64 {
        self.wasm_pages
    }

    /// How many pages of 4 KiB it has, whole or as differences.
    pub fn stored_pages(&self) -> u64 {
        let stored = self.runs.iter().filter(|run| run.how != How::Zero);
        stored.map(|run| u64::from(run.count)).sum()
    }

    /// Bytes of all frames before compression.
    pub fn data_len(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.bytes)).sum()
    }

    /// Reads every frame, and compares it with its checksum and the index.
    ///
    /// # Errors
    /// Which frame is bad.
    pub fn verify(&self) -> Result<(), LayerError> {
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        let (mut compressed, mut data, mut ends) = (vec![], vec![], vec![]);
        for number in 0..self.frames.len() {
            self.read_frame(number, &mut decompressor, &mut compressed, &mut data)?;
            self.ends(number, &data, &mut ends)?;
        }
        Ok(())
    }

    /// Decompresses a frame into `data` and compares its checksum.
    fn read_frame(
        &self,
        number: usize,
        decompressor: &mut zstd::bulk::Decompressor<'_>,
        compressed: &mut Vec<u8>,
        data: &mut Vec<u8>,
    ) -> Result<(), LayerError> {
        let frame = &self.frames[number];
        compressed.resize(frame.length as usize, 0);
        self.source.read_at(compressed, frame.offset)?;
        data.clear();
        let expected = frame.bytes as usize;
        if expected > 0 {
            data.reserve_exact(expected);
            let len = decompressor.decompress_to_buffer(&compressed[..], data);
            if !matches!(len, Ok(len) if len == expected) {
                return Err(LayerError::Frame { frame: number });
            }
        }
        match crc32c::crc32c(data) == frame.checksum {
            true => Ok(()),
            false => Err(LayerError::Frame { frame: number }),
        }
    }

    /// Where each page and difference of a frame ends in its `data`.
    fn ends(&self, number: usize, data: &[u8], ends: &mut Vec<u32>) -> Result<(), LayerError> {
        ends.clear();
        let mut at = 0;
        for run in &self.runs[self.frames[number].runs.clone()] {
            for _ in 0..if run.how == How::Zero { 0 } else { run.count } {
                at += match run.how {
                    How::Delta => delta::length(data.get(at..).unwrap_or_default())?,
                    _ => PAGE_SIZE,
                };
                ends.push(at as u32);
            }
        }
        match at == data.len() {
            true => Ok(()),
            false => Err(LayerError::Malformed("a frame does not hold what its runs say")),
        }
    }
}

type Index = (Vec<FrameEntry>, Vec<Run>);

fn read_index(
    bytes: &[u8],
    kind: Kind,
    frame_count: u32,
    frames_end: u64,
    pages: u64,
) -> Result<Index, LayerError> {
    let (entry_len, run_len) = match kind {
        Kind::Base => (12, 12),
        Kind::Changes => (16, 16),
    };
    if bytes.len() / (entry_len + run_len) < frame_count as usize {
        return Err(LayerError::Malformed("the index is too short"));
    }
    let mut fields = Fields(bytes);
    let mut frames = Vec::with_capacity(frame_count as usize);
    let run_bytes = bytes.len() - frame_count as usize * entry_len;
    let mut runs = Vec::with_capacity(run_bytes / run_len);
    let mut offset = HEADER_LEN as u64;
    let mut least = 0u64;
    for number in 0..frame_count {
        let length = fields.u32()?;
        let checksum = fields.u32()?;
        let said = if kind == Kind::Changes { Some(fields.u32()?) } else { None };
        let run_count = fields.u32()?;
        if length > MAX_STORED_FRAME || u64::from(length) > frames_end - offset {
            return Err(LayerError::Malformed("a frame is too long"));
        }
        if run_count == 0 || run_count as usize > MAX_RUNS {
            return Err(LayerError::Malformed("a frame has no runs or too many"));
        }
        let first_run = runs.len();
        let (mut slot, mut whole, mut deltas) = (0u32, 0u32, 0u32);
        for _ in 0..run_count {
            let first = u64::from_le_bytes(fields.take()?);
            let count = fields.u32()?;
            let how = match said.map(|_| fields.u32()).transpose()? {
                None | Some(0) => How::Whole,
                Some(1) => How::Zero,
                Some(2) => How::Delta,
                Some(_) => return Err(LayerError::Malformed("pages are stored in an unknown way")),
            };
            if first < least {
                return Err(LayerError::Malformed("pages are not in ascending order"));
            }
            let stored = if how == How::Zero { 0 } else { count };
            if count == 0 || stored > FRAME_PAGES as u32 - slot {
                return Err(LayerError::Malformed("a run has no pages or too many"));
            }
            if first >= pages || u64::from(count) > pages - first {
                return Err(LayerError::Malformed("a page lies outside the memory"));
            }
            least = first + u64::from(count);
            runs.push(Run { first, count, how, frame: number, slot });
            slot += stored;
            match how {
                How::Whole => whole += count,
                How::Zero => {}
                How::Delta => deltas += count,
            }
        }
        let least_bytes = whole * PAGE_SIZE as u32;
        let bytes = said.unwrap_or(least_bytes);
        if bytes < least_bytes || bytes - least_bytes > deltas * delta::MAX_LEN as u32 {
            return Err(LayerError::Malformed("a frame is too long or too short for its runs"));
        }
        if (bytes == 0) != (length == 0) {
            return Err(LayerError::Malformed("a frame without pages has bytes"));
        }
        frames.push(FrameEntry { offset, length, checksum, bytes, runs: first_run..runs.len() });
        offset += u64::from(length);
    }
    if !fields.0.is_empty() {
        return Err(LayerError::Malformed("bytes follow the index"));
    }
    if offset != frames_end {
        return Err(LayerError::Malformed("bytes lie between the frames and the index"));
    }
    Ok((frames, runs))
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], LayerError> {
        let (field, rest) =
            self.0.split_first_chunk().ok_or(LayerError::Malformed("the index is too short"))?;
        self.0 = rest;
        Ok(*field)
    }

    fn u32(&mut self) -> Result<u32, LayerError> {
        self.take().map(u32::from_le_bytes)
    }
}
