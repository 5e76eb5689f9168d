//! The bytes of a memory, and the texts in them.
//!
//! ```text
//!   let mut memory = Bytes::of(&checkpoint, 0)?;
//!   memory.read(0x400, &mut buffer)?                any part of it
//!   memory.texts(0..memory.len(), 8, |text| ..)?    runs of at least 8 printable characters
//! ```
//!
//! Zero pages are not read: a memory may be a thousand times larger than what it holds.

use crate::Result;
use dormouse_store::{Checkpoint, CheckpointPages, PAGE_SIZE, StoreError};
use std::ops::Range;

/// Characters of a text that are given; of a longer one, the rest is the next.
const LONGEST: usize = 4096;

/// A memory of a checkpoint, for reading.
pub struct Bytes<'a> {
    pages: CheckpointPages<'a>,
    used: Vec<Range<u64>>,
    page: Box<[u8; PAGE_SIZE]>,
    number: Option<u64>,
    len: u64,
}

/// A text that was found in a memory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Text {
    /// Where it begins.
    pub address: u64,
    /// Printable characters of ASCII, spaces and tabs; at most 4,096: a longer one goes on in the next.
    pub text: String,
}

impl<'a> Bytes<'a> {
    /// Memory `index` of a checkpoint.
    ///
    /// # Errors
    /// If there is none.
    pub fn of(checkpoint: &'a Checkpoint, index: u32) -> Result<Bytes<'a>> {
        let memory = checkpoint.state.memories.iter().find(|memory| memory.index == index);
        let memory = memory.ok_or(StoreError::NoMemory { index })?;
        Ok(Bytes {
            pages: checkpoint.pages(index)?,
            used: checkpoint.used_pages(index)?,
            page: Box::new([0; PAGE_SIZE]),
            number: None,
            len: memory.pages.saturating_mul(65536),
        })
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the next page that holds anything begins, from an address on.
    pub fn next_held(&self, address: u64) -> Option<u64> {
        let page = address / PAGE_SIZE as u64;
        let after = self.used.partition_point(|range| range.end <= page);
        let range = self.used.get(after)?;
        Some(address.max(range.start.saturating_mul(PAGE_SIZE as u64)))
    }

    /// Reads from an address on; says how much there was, which is less at the end.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn read(&mut self, address: u64, into: &mut [u8]) -> Result<usize> {
        let end = address.saturating_add(into.len() as u64).min(self.len);
        let mut at = address;
        while at < end {
            let done = (at - address) as usize;
            let (from, count) = self.load(at)?;
            let count = count.min((end - at) as usize);
            into[done..done + count].copy_from_slice(&self.page[from..from + count]);
            at += count as u64;
        }
        Ok(end.saturating_sub(address) as usize)
    }

    /// Gives the texts of at least so many characters, in order of their addresses.
    ///
    /// # Errors
    /// If a page cannot be read.
    pub fn texts(
        &mut self,
        range: Range<u64>,
        least: usize,
        mut each: impl FnMut(Text),
    ) -> Result<()> {
        let least = least.clamp(1, LONGEST);
        let end = range.end.min(self.len);
        let mut open = Text { address: range.start, text: String::new() };
        let mut at = range.start;
        let mut close = |open: &mut Text, next: u64| {
            let text = std::mem::take(&mut open.text);
            if text.len() >= least {
                each(Text { address: open.address, text });
            }
            open.address = next;
        };
        while let Some(held) = self.next_held(at).filter(|held| *held < end) {
            if held > at {
                close(&mut open, held);
                at = held;
            }
            let (from, count) = self.load(at)?;
            let count = count.min((end - at) as usize);
            for byte in &self.page[from..from + count] {
                at += 1;
                if matches!(byte, b' '..=b'~' | b'\t') {
                    open.text.push(*byte as char);
                    if open.text.len() < LONGEST {
                        continue;
                    }
                }
                close(&mut open, at);
            }
        }
        close(&mut open, at);
        Ok(())
    }

    /// Has the page of an address at hand; says where in it the address is, and how much follows.
    fn load(&mut self, address: u64) -> Result<(usize, usize)> {
        let number = address / PAGE_SIZE as u64;
        if self.number != Some(number) {
            self.number = None;
            self.pages.page(number, &mut self.page)?;
            self.number = Some(number);
        }
        let from = (address % PAGE_SIZE as u64) as usize;
        Ok((from, PAGE_SIZE - from))
    }
}
