//! The memories of a checkpoint that is to be saved, as the caller has them.

use crate::layer::{Runs, WASM_PAGE_SIZE};

/// What a linear memory holds.
#[derive(Clone, Copy, Debug)]
pub struct MemoryPages<'a> {
    /// Index in the original module.
    pub index: u32,
    /// All of it, or what changed.
    pub content: Content<'a>,
}

/// The bytes of a memory.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// All of them, zero pages too.
    Whole(&'a [u8]),
    /// All pages that are not zero, or may not be.
    Base {
        /// The memory's size in pages of 64 KiB.
        wasm_pages: u64,
        /// Those pages.
        runs: &'a Runs<'a>,
    },
    /// The pages that changed since [`NewCheckpoint::parent`](crate::NewCheckpoint::parent), or may have.
    Changed {
        /// The memory's size in pages of 64 KiB.
        wasm_pages: u64,
        /// The pages that changed.
        runs: &'a Runs<'a>,
    },
}

impl<'a> MemoryPages<'a> {
    /// All bytes of a memory.
    pub fn whole(index: u32, bytes: &'a [u8]) -> Self {
        MemoryPages { index, content: Content::Whole(bytes) }
    }

    /// The pages of a memory that are not zero.
    pub fn base(index: u32, wasm_pages: u64, runs: &'a Runs<'a>) -> Self {
        MemoryPages { index, content: Content::Base { wasm_pages, runs } }
    }

    /// The pages of a memory that changed.
    pub fn changed(index: u32, wasm_pages: u64, runs: &'a Runs<'a>) -> Self {
        MemoryPages { index, content: Content::Changed { wasm_pages, runs } }
    }

    /// How many bytes are given.
    pub(crate) fn bytes(&self) -> u64 {
        match self.content {
            Content::Whole(bytes) => bytes.len() as u64,
            Content::Base { runs, .. } | Content::Changed { runs, .. } => {
                runs.iter().map(|(_, bytes)| bytes.len() as u64).sum()
            }
        }
    }

    /// Its size in pages of 64 KiB, and bytes beyond those.
    pub(crate) fn size(&self) -> (u64, usize) {
        match self.content {
            Content::Whole(bytes) => {
                ((bytes.len() / WASM_PAGE_SIZE) as u64, bytes.len() % WASM_PAGE_SIZE)
            }
            Content::Base { wasm_pages, .. } | Content::Changed { wasm_pages, .. } => {
                (wasm_pages, 0)
            }
        }
    }
}
