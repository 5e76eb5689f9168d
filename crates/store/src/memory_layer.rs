//! A memory layer: the pages of one linear memory that are not zero, compressed.
//!
//! ```text
//!   header    "DMPAGES\0"  version:u16  kind:u16  memory:u32  pages:u64          24 bytes
//!   frame*    zstd( up to 256 pages of 4 KiB )                  each readable on its own
//!   index     per frame { length:u32  crc32c:u32  runs:u32  { page:u64  count:u32 }* }
//!   trailer   index offset:u64  frames:u32  crc32c:u32  "DMINDEX\0"              24 bytes
//! ```
//!
//! `docs/format.md` describes it byte for byte. Reading is bounded: what a frame decompresses to is
//! known from the index (at most 1 MiB), pages are in range and strictly ascending.

use std::fs::File;
use std::io::{self, Write};
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
/// All pages of the memory; those not listed are zero. Other kinds (changes to a parent) will follow.
const KIND_BASE: u16 = 0;
const HEADER_LEN: usize = 24;
const TRAILER_LEN: usize = 24;
const FRAME_ENTRY_LEN: usize = 12;
const RUN_LEN: usize = 12;
/// What zstd may need for a frame of 1 MiB that does not compress.
const MAX_STORED_FRAME: u32 = (1 << 20) + (1 << 12);
/// Pages a memory may have: a full 64-bit address space.
const MAX_PAGES: u64 = 1 << 52;
/// Fast, and still halves most memories.
const ZSTD_LEVEL: i32 = 1;
static ZERO_PAGE: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// Why a memory layer cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// Not a memory layer.
    #[error("not a memory layer")]
    NotALayer,
    /// A version this reader does not know.
    #[error("a memory layer of format version {version}")]
    UnsupportedVersion {
        /// The version found.
        version: u16,
    },
    /// A kind this reader does not know.
    #[error("a memory layer of kind {kind}")]
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

/// Writes the layer of memory `index`, whose bytes are `memory`, and gives the number of pages that
/// were not zero.
///
/// # Errors
/// Those of `out`; and [`io::ErrorKind::InvalidInput`] if `memory` is not whole WebAssembly pages.
///
/// ```
/// use dormouse_store::{MemoryLayer, write_memory_layer};
///
/// let mut memory = vec![0; 65536];
/// memory[5000] = 7;
/// let mut layer = vec![];
/// assert_eq!(write_memory_layer(0, &memory, &mut layer)?, 1);
///
/// let mut again = vec![0; 65536];
/// MemoryLayer::open(&layer[..])?.read_into(&mut again)?;
/// assert_eq!(again, memory);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_memory_layer(index: u32, memory: &[u8], mut out: impl Write) -> io::Result<u64> {
    if !memory.len().is_multiple_of(WASM_PAGE_SIZE) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not whole pages of 64 KiB"));
    }
    let mut header = Vec::with_capacity(HEADER_LEN);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&KIND_BASE.to_le_bytes());
    header.extend_from_slice(&index.to_le_bytes());
    header.extend_from_slice(&((memory.len() / WASM_PAGE_SIZE) as u64).to_le_bytes());
    out.write_all(&header)?;

    let mut writer = FrameWriter {
        out,
        compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
        compressed: Vec::new(),
        data: Vec::with_capacity(FRAME_PAGES * PAGE_SIZE),
        runs: Vec::new(),
        index: Vec::new(),
        frames: 0,
        offset: HEADER_LEN as u64,
    };
    let mut stored = 0;
    for (number, page) in memory.chunks_exact(PAGE_SIZE).enumerate() {
        if *page != ZERO_PAGE {
            writer.page(number as u64, page)?;
            stored += 1;
        }
    }
    writer.frame()?;

    let FrameWriter { mut out, index, frames, offset, .. } = writer;
    let mut trailer = offset.to_le_bytes().to_vec();
    trailer.extend_from_slice(&frames.to_le_bytes());
    let checksum = checksum_of_index(&header, &index, &trailer);
    trailer.extend_from_slice(&checksum.to_le_bytes());
    trailer.extend_from_slice(&END_MAGIC);
    out.write_all(&index)?;
    out.write_all(&trailer)?;
    out.flush()?;
    Ok(stored)
}

/// Over header, index, index offset and number of frames.
fn checksum_of_index(header: &[u8], index: &[u8], trailer: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(header), index), trailer)
}

struct FrameWriter<W> {
    out: W,
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
    /// Pages of the frame being filled.
    data: Vec<u8>,
    /// Their numbers: first page, count.
    runs: Vec<(u64, u32)>,
    index: Vec<u8>,
    frames: u32,
    offset: u64,
}

impl<W: Write> FrameWriter<W> {
    fn page(&mut self, number: u64, page: &[u8]) -> io::Result<()> {
        match self.runs.last_mut() {
            Some((first, count)) if *first + u64::from(*count) == number => *count += 1,
            _ => self.runs.push((number, 1)),
        }
        self.data.extend_from_slice(page);
        if self.data.len() == FRAME_PAGES * PAGE_SIZE {
            self.frame()?;
        }
        Ok(())
    }

    fn frame(&mut self) -> io::Result<()> {
        if self.data.is_empty() {
            return Ok(());
        }
        self.compressed.clear();
        self.compressed.reserve(MAX_STORED_FRAME as usize);
        self.compressor.compress_to_buffer(&self.data, &mut self.compressed)?;
        self.out.write_all(&self.compressed)?;
        let length = self.compressed.len() as u32;
        self.offset += u64::from(length);
        self.index.extend_from_slice(&length.to_le_bytes());
        self.index.extend_from_slice(&crc32c::crc32c(&self.data).to_le_bytes());
        self.index.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        for (first, count) in self.runs.drain(..) {
            self.index.extend_from_slice(&first.to_le_bytes());
            self.index.extend_from_slice(&count.to_le_bytes());
        }
        self.data.clear();
        self.frames = self
            .frames
            .checked_add(1)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too many frames"))?;
        Ok(())
    }
}

/// Bytes that can be read at any offset, by any number of threads.
pub trait ReadAt {
    /// How many bytes there are.
    ///
    /// # Errors
    /// Those of the system.
    fn size(&self) -> io::Result<u64>;
    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] if there are not as many bytes; those of the system.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, into, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut into: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !into.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, into, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    into = &mut into[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }
}

impl ReadAt for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..)?.get(..into.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(from);
        Ok(())
    }
}

/// A memory layer whose index has been read and checked; its pages are read when asked for.
#[derive(Debug)]
pub struct MemoryLayer<R> {
    source: R,
    index: u32,
    wasm_pages: u64,
    frames: Vec<FrameEntry>,
    runs: Vec<(u64, u32)>,
}

#[derive(Debug)]
struct FrameEntry {
    offset: u64,
    length: u32,
    checksum: u32,
    pages: u32,
    runs: Range<usize>,
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
        let kind = u16::from_le_bytes(fields.take()?);
        if kind != KIND_BASE {
            return Err(LayerError::UnsupportedKind { kind });
        }
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
        let mut bytes = vec![0; index_len];
        source.read_at(&mut bytes, index_offset)?;
        if checksum_of_index(&header, &bytes, &trailer[..12]) != checksum {
            return Err(LayerError::Malformed("the index is damaged"));
        }
        let (frames, runs) = read_index(&bytes, frame_count, index_offset, pages)?;
        Ok(MemoryLayer { source, index, wasm_pages, frames, runs })
    }

    /// The memory's index in the original module.
    pub fn memory_index(&self) -> u32 {
        self.index
    }

    /// The memory's size in pages of 64 KiB.
    pub fn wasm_pages(&self) -> u64 {
        self.wasm_pages
    }

    /// How many pages of 4 KiB are stored; the others are zero.
    pub fn stored_pages(&self) -> u64 {
        self.frames.iter().map(|f| u64::from(f.pages)).sum()
    }

    /// Writes the stored pages into `into`, which is the whole memory and all zero.
    ///
    /// # Errors
    /// `into` is not as long as the memory (nothing is written then), or a frame is damaged (pages
    /// before it have been written).
    pub fn read_into(&self, into: &mut [u8]) -> Result<(), LayerError> {
        // No overflow: `wasm_pages` is at most 2^48, so this is at most 2^64.
        let expected = u128::from(self.wasm_pages) * WASM_PAGE_SIZE as u128;
        if into.len() as u128 != expected {
            return Err(LayerError::BufferLength {
                expected: u64::try_from(expected).unwrap_or(u64::MAX),
                found: into.len() as u64,
            });
        }
        self.frames(|page, data| {
            let start = page as usize * PAGE_SIZE;
            into[start..start + data.len()].copy_from_slice(data);
        })
    }

    /// Reads and checks every frame, and drops the pages.
    ///
    /// # Errors
    /// A frame is damaged.
    pub fn verify(&self) -> Result<(), LayerError> {
        self.frames(|_, _| {})
    }

    /// Calls `run` with every run of pages: number of the first, and their bytes.
    fn frames(&self, mut run: impl FnMut(u64, &[u8])) -> Result<(), LayerError> {
        let mut decompressor = zstd::bulk::Decompressor::new()?;
        let mut compressed = Vec::new();
        let mut data = Vec::with_capacity(FRAME_PAGES * PAGE_SIZE);
        for (number, frame) in self.frames.iter().enumerate() {
            compressed.resize(frame.length as usize, 0);
            self.source.read_at(&mut compressed, frame.offset)?;
            data.clear();
            let expected = frame.pages as usize * PAGE_SIZE;
            let len = decompressor.decompress_to_buffer(&compressed, &mut data);
            if !matches!(len, Ok(len) if len == expected) || crc32c::crc32c(&data) != frame.checksum
            {
                return Err(LayerError::Frame { frame: number });
            }
            let mut rest = &data[..];
            for (first, count) in &self.runs[frame.runs.clone()] {
                let (pages, others) = rest.split_at(*count as usize * PAGE_SIZE);
                run(*first, pages);
                rest = others;
            }
        }
        Ok(())
    }
}

type Index = (Vec<FrameEntry>, Vec<(u64, u32)>);

fn read_index(
    bytes: &[u8],
    frame_count: u32,
    frames_end: u64,
    pages: u64,
) -> Result<Index, LayerError> {
    if bytes.len() / (FRAME_ENTRY_LEN + RUN_LEN) < frame_count as usize {
        return Err(LayerError::Malformed("the index is too short"));
    }
    let mut fields = Fields(bytes);
    let mut frames = Vec::with_capacity(frame_count as usize);
    let run_bytes = bytes.len() - frame_count as usize * FRAME_ENTRY_LEN;
    let mut runs = Vec::with_capacity(run_bytes / RUN_LEN);
    let mut offset = HEADER_LEN as u64;
    let mut least = 0u64;
    for _ in 0..frame_count {
        let length = u32::from_le_bytes(fields.take()?);
        let checksum = u32::from_le_bytes(fields.take()?);
        let run_count = u32::from_le_bytes(fields.take()?);
        if length > MAX_STORED_FRAME || u64::from(length) > frames_end - offset {
            return Err(LayerError::Malformed("a frame is too long"));
        }
        if run_count == 0 || run_count as usize > FRAME_PAGES {
            return Err(LayerError::Malformed("a frame has no runs or too many"));
        }
        let first_run = runs.len();
        let mut in_frame = 0u32;
        for _ in 0..run_count {
            let first = u64::from_le_bytes(fields.take()?);
            let count = u32::from_le_bytes(fields.take()?);
            if first < least {
                return Err(LayerError::Malformed("pages are not in ascending order"));
            }
            if count == 0 || count > FRAME_PAGES as u32 - in_frame {
                return Err(LayerError::Malformed("a run has no pages or too many"));
            }
            if first >= pages || u64::from(count) > pages - first {
                return Err(LayerError::Malformed("a page lies outside the memory"));
            }
            least = first + u64::from(count);
            in_frame += count;
            runs.push((first, count));
        }
        frames.push(FrameEntry {
            offset,
            length,
            checksum,
            pages: in_frame,
            runs: first_run..runs.len(),
        });
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
}
