//! A layer written before the checkpoint it is for: while the program still runs.
//!
//! ```text
//!   program runs     prepare: its pages as they are now, one after the other -> p      with a temporary name
//!   program stands   what was written meanwhile                                -> c
//!   save             parent's layers, p, c:  c has every page of p that is not right any more
//! ```
//!
//! So a memory of any size is written with no more than a batch of frames in memory, and the program stands only for the rest.

use crate::blob::{BlobRef, Staged, Stager};
use crate::error::StoreError;
use crate::layer::{Kind, LayerWriter, PAGE_SIZE, PageReader, Stored, WASM_PAGE_SIZE};
use crate::meter::Meter;
use crate::open::Store;
use crate::parent::Parent;
use crate::seal::{Sink, Source};
use std::io;

/// A memory's layer, written, but with a temporary name, and not yet synced, until a checkpoint is saved with it. Dropped, it is
/// removed.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) index: u32,
    pub(crate) wasm_pages: u64,
    /// What it holds changes to; nothing if it is a base.
    pub(crate) below: Option<Vec<BlobRef>>,
    pub(crate) staged: Staged,
}

impl Prepared {
    /// Whether it is a base: all pages that it has not are zero.
    pub fn is_base(&self) -> bool {
        self.below.is_none()
    }

    /// Bytes it takes in the store.
    pub fn size(&self) -> u64 {
        self.staged.size
    }
}

impl Store {
    /// Writes a layer of memory `index`, which has `wasm_pages` of 64 KiB now: with a parent changes to it, else a base.
    /// `pages` is asked for one page after the other, in ascending order, until it gives none: it writes the page's bytes,
    /// and says its number. With `deltas`, pages of which little changed become differences to the parent's.
    ///
    /// The result is for [`NewCheckpoint::prepared`](crate::NewCheckpoint::prepared), with the same parent.
    ///
    /// # Errors
    /// Those of `pages` and of the system; [`StoreError::NoParent`] if the parent's layers cannot be read. Nothing
    /// is left behind.
    ///
    /// ```
    /// # use dormouse_state::{Frame, Memory, Site, State};
    /// use dormouse_store::{MemoryPages, NewCheckpoint, Store, sha256};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let store = Store::create_or_open(&dir.path().join("store"))?;
    /// # let module = b"\0asm\x01\0\0\0";
    /// # let state = State {
    /// #     module_digest: sha256(module),
    /// #     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
    /// #     globals: vec![], tables: vec![], exceptions: vec![],
    /// #     memories: vec![Memory { index: 0, pages: 1 }],
    /// #     dropped_data: vec![], dropped_elems: vec![], wasi: vec![], host: vec![],
    /// # };
    /// let mut numbers = [3, 7].into_iter();
    /// let prepared = store.prepare(None, 0, 1, true, &mut |page| {
    ///     page.fill(1);
    ///     Ok(numbers.next())
    /// })?;
    ///
    /// // Meanwhile page 7 was written again.
    /// let runs = [(7, &[2; 4096][..])];
    /// let changes = [MemoryPages::changed(0, 1, &runs)];
    /// let new = NewCheckpoint {
    ///     prepared: vec![prepared],
    ///     ..NewCheckpoint::new(module, &state, &changes)
    /// };
    /// store.save("sim", new)?;
    ///
    /// let mut memory = vec![0; 65536];
    /// store.load("sim", None)?.read_memory(0, &mut memory)?;
    /// assert_eq!([2, 3, 7].map(|page| memory[page * 4096]), [0, 1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prepare(
        &self,
        parent: Option<&Parent>,
        index: u32,
        wasm_pages: u64,
        deltas: bool,
        pages: &mut dyn FnMut(&mut [u8; PAGE_SIZE]) -> io::Result<Option<u64>>,
    ) -> Result<Prepared, StoreError> {
        let _writers = self.lock_writers()?;
        let chain = match parent {
            Some(parent) => Some(parent.chain(index).ok_or(StoreError::NoParent)?),
            None => None,
        };
        let older = match chain.filter(|_| deltas) {
            // What cannot be read now cannot be built on either.
            Some(chain) => Some(self.open_chain(chain, None).map_err(|_| StoreError::NoParent)?),
            None => None,
        };
        let older = match &older {
            Some(older) => Some(older.pages().map_err(|_| StoreError::NoParent)?),
            None => None,
        };
        let blobs = self.blobs();
        let kind = if chain.is_some() { Kind::Changes } else { Kind::Base };
        let mut count = 0;
        let next = |into: &mut [u8; PAGE_SIZE]| {
            let number = pages(into).map_err(StoreError::io("copy pages into", &blobs))?;
            count += u64::from(number.is_some());
            Ok(number)
        };
        let (staged, stored) = self.stage_pages(kind, index, wasm_pages, older, next)?;
        // Known only now.
        Meter::current().expect(count * PAGE_SIZE as u64);
        if stored.unread > 0 {
            return Err(StoreError::NoParent);
        }
        // It is synced when it is saved: perhaps the program stands still by now, and waits.
        Ok(Prepared { index, wasm_pages, below: chain.map(|chain| chain.layers.clone()), staged })
    }

    /// Stages a layer of the pages that `next` gives, until it gives none: it writes the page's bytes, and says its number.
    /// The file outlives the caller's lock, and is not synced.
    pub(crate) fn stage_pages(
        &self,
        kind: Kind,
        index: u32,
        wasm_pages: u64,
        mut older: Option<PageReader<'_, Source>>,
        mut next: impl FnMut(&mut [u8; PAGE_SIZE]) -> Result<Option<u64>, StoreError>,
    ) -> Result<(Staged, Stored), StoreError> {
        let stager = Stager::to_be_kept(&self.blobs())?;
        let path = stager.path().to_owned();
        let failed = |e| StoreError::io("write", &path)(e);
        let mut sink = Sink::new(stager, &self.keys, true)?;
        let mut writer = LayerWriter::new(&mut sink, kind, index, wasm_pages).map_err(failed)?;
        let mut numbers = 0..wasm_pages.saturating_mul((WASM_PAGE_SIZE / PAGE_SIZE) as u64);
        let mut page = Box::new([0; PAGE_SIZE]);
        while let Some(number) = next(&mut page)? {
            if !numbers.contains(&number) {
                let why = "pages that are not in order, or outside the memory";
                return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, why)));
            }
            numbers.start = number + 1;
            writer.page(number, &page[..], older.as_mut()).map_err(failed)?;
        }
        let stored = writer.finish().map_err(failed)?;
        Ok((sink.finish_unsynced()?, stored))
    }
}
