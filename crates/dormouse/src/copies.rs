//! Copies of a memory's pages, each the newest that was taken.
//!
//! ```text
//!   page    7   2   9   7'         slots are given out as pages come; a page that comes again takes its slot again
//!   slot    0   1   2   0          256 slots make a chunk of 1 MiB
//! ```
//!
//! While a program stands still nothing should have to wait for memory from the system, so chunks can be made beforehand
//! ([`Copies::reserve`]).

use dormouse_memory::{PAGE_SIZE, PageSet};
use std::collections::HashMap;

const CHUNK_PAGES: usize = 256;

/// See the module.
#[derive(Default)]
pub(crate) struct Copies {
    slots: HashMap<u64, u32>,
    chunks: Vec<Box<[u8]>>,
}

/// There is no memory for another chunk.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl Copies {
    /// Makes room for so many more pages, if there is.
    pub fn reserve(&mut self, pages: usize) -> Result<(), NoRoom> {
        self.slots.try_reserve(pages).map_err(|_| NoRoom)?;
        self.chunks.try_reserve(pages / CHUNK_PAGES + 1).map_err(|_| NoRoom)?;
        while self.chunks.len() * CHUNK_PAGES < self.slots.len() + pages {
            let mut chunk = Vec::new();
            chunk.try_reserve_exact(CHUNK_PAGES * PAGE_SIZE).map_err(|_| NoRoom)?;
            // Other than zero, so that each page of it is really there.
            chunk.resize(CHUNK_PAGES * PAGE_SIZE, 0xd0);
            self.chunks.push(chunk.into_boxed_slice());
        }
        Ok(())
    }

    /// Where the copy of a page is to be written.
    pub fn slot(&mut self, page: u64) -> Result<&mut [u8], NoRoom> {
        let slot = match self.slots.get(&page) {
            Some(slot) => *slot,
            None => {
                self.reserve(1)?;
                let slot = u32::try_from(self.slots.len()).map_err(|_| NoRoom)?;
                self.slots.insert(page, slot);
                slot
            }
        };
        let (chunk, at) = place(slot);
        Ok(&mut self.chunks[chunk][at..at + PAGE_SIZE])
    }

    /// Which pages.
    pub fn pages(&self) -> PageSet {
        let mut pages = PageSet::default();
        self.slots.keys().for_each(|page| pages.insert(*page..*page + 1));
        pages
    }

    /// The copies, in ascending order of their pages.
    pub fn runs(&self) -> Vec<(u64, &[u8])> {
        let mut slots: Vec<_> = self.slots.iter().collect();
        slots.sort_unstable();
        let copy = |(page, slot): (&u64, &u32)| {
            let (chunk, at) = place(*slot);
            (*page, &self.chunks[chunk][at..at + PAGE_SIZE])
        };
        slots.into_iter().map(copy).collect()
    }
}

fn place(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    (slot / CHUNK_PAGES, slot % CHUNK_PAGES * PAGE_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_copy_counts() {
        let mut copies = Copies::default();
        copies.reserve(3).unwrap();
        for (page, byte) in [(7, 1), (2, 2), (900, 3), (7, 4)] {
            copies.slot(page).unwrap().fill(byte);
        }
        let runs: Vec<_> = copies.runs().iter().map(|(page, bytes)| (*page, bytes[0])).collect();
        assert_eq!(runs, [(2, 2), (7, 4), (900, 3)]);
        assert_eq!(copies.pages().runs().collect::<Vec<_>>(), [2..3, 7..8, 900..901]);
    }

    #[test]
    fn many_chunks() {
        let mut copies = Copies::default();
        let pages = CHUNK_PAGES as u64 * 3 + 1;
        for page in (0..pages).rev() {
            copies.slot(page).unwrap()[..8].copy_from_slice(&page.to_le_bytes());
        }
        assert_eq!((copies.slots.len() as u64, copies.chunks.len()), (pages, 4));
        for (at, (page, bytes)) in (0..).zip(copies.runs()) {
            assert_eq!((page, &bytes[..8]), (at, &page.to_le_bytes()[..]));
        }
    }
}
