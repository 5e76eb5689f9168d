//! A checkpoint as the parent of the next one, and its layers squashed meanwhile.
//!
//! ```text
//!   sim@1   base                                written:  base
//!   sim@2   base  c2                                      c2
//!   sim@3   base  c2  c3                                  c3
//!            \_________/  squashed while the program goes on
//!   sim@4   base'         c4                              base', c4
//! ```
//!
//! Every checkpoint names all of its layers, so what was saved is never changed by squashing: a squashed layer stands in
//! the checkpoints that come after. It has a temporary name until one of them is saved.
//!
//! The rule: squash when a memory has more than so many layers of changes, or when they are together larger than the base.
//! The layers squashed are the newest ones, from the oldest that is no larger than all that came after it. So each byte
//! is written again only some logarithm of times, and a memory of any age is read from a few layers, which are at most twice
//! as large as the memory, and one save's changes.

use crate::blob::{self, BlobRef, Staged};
use crate::error::{Bad, StoreError, Subject};
use crate::layer::{Kind, MemoryLayer, Overlay, PAGE_SIZE};
use crate::manifest::Manifest;
use crate::open::Store;
use crate::seal::{self, Source};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many layers of changes a memory may have before they are squashed, if nobody says otherwise.
pub const MAX_LAYERS: usize = 8;

/// A saved checkpoint, for the next one to hold only what changed since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The original module's digest, and where it lies.
    pub(crate) module: ([u8; 32], BlobRef),
    pub(crate) memories: Vec<Chain>,
    pub(crate) files: Vec<BlobRef>,
}

/// The layers of a memory, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) index: u32,
    pub(crate) layers: Vec<BlobRef>,
}

/// Layers made one; durable, but with a temporary name until a checkpoint is saved with it. Dropped, it is removed.
#[derive(Debug)]
pub struct Squashed {
    /// The memory.
    index: u32,
    /// Where in its chain they stand, and which they are.
    at: usize,
    layers: Vec<BlobRef>,
    staged: Staged,
}

impl Parent {
    pub(crate) fn of(manifest: &Manifest, module: [u8; 32]) -> Parent {
        let chain =
            |(index, layers): &(u32, Vec<BlobRef>)| Chain { index: *index, layers: layers.clone() };
        Parent {
            module: (module, manifest.module),
            memories: manifest.memories.iter().map(chain).collect(),
            files: manifest.files.clone(),
        }
    }

    pub(crate) fn chain(&self, index: u32) -> Option<&Chain> {
        self.memories.iter().find(|chain| chain.index == index)
    }

    /// How many layers of files it has.
    pub fn file_layers(&self) -> usize {
        self.files.len()
    }

    /// How many layers its longest chain has.
    pub fn layers(&self) -> usize {
        self.memories.iter().map(|chain| chain.layers.len()).max().unwrap_or(0)
    }
}

impl Squashed {
    /// Puts it into the chain that it was made from, if it is there still; gives what is to be published.
    pub(crate) fn adopt(self, chain: &mut Chain) -> Option<Staged> {
        if !self.is_of(chain) || !self.staged.exists() {
            return None;
        }
        chain.layers.splice(self.at..self.at + self.layers.len(), [self.staged.blob()]);
        Some(self.staged)
    }

    /// Whether `chain` has the layers that it was made from.
    pub(crate) fn is_of(&self, chain: &Chain) -> bool {
        let range = self.at..self.at + self.layers.len();
        chain.index == self.index && chain.layers.get(range) == Some(&self.layers[..])
    }
}

impl Store {
    /// Squashes the layers of `parent`'s memories where the rule wants it: for a background thread. With `deltas`, pages
    /// of which little changed become differences. It changes no checkpoint; the result is for
    /// [`NewCheckpoint::squashed`](crate::NewCheckpoint::squashed). `stop` ends it early, with what is done.
    ///
    /// # Errors
    /// What the system says; [`StoreError::Damaged`] if a layer is. Nothing is left behind.
    pub fn squash(
        &self,
        parent: &Parent,
        max_layers: usize,
        deltas: bool,
        stop: &AtomicBool,
    ) -> Result<Vec<Squashed>, StoreError> {
        let mut done = vec![];
        for chain in &parent.memories {
            let sizes: Vec<u64> = chain.layers.iter().map(|blob| blob.size).collect();
            if let Some(from) = rule(&sizes, max_layers) {
                done.extend(self.squash_chain(chain, from, deltas, stop)?);
            }
        }
        Ok(done)
    }

    fn squash_chain(
        &self,
        chain: &Chain,
        from: usize,
        deltas: bool,
        stop: &AtomicBool,
    ) -> Result<Option<Squashed>, StoreError> {
        let _writers = self.lock_writers()?;
        let memory = self.open_chain(chain, None)?;
        let (kept, squashed) = memory.layers().split_at(from);
        let read = |layer: usize, error| {
            let subject = layer_subject(None, chain, layer);
            StoreError::from(subject.layer(error))
        };
        let mut pages = memory.pages().map_err(|e| read(0, e))?;
        let older = match deltas && from > 0 {
            true => Some(Overlay::reader(kept).map_err(|e| read(0, e))?),
            false => None,
        };
        let kind = if from == 0 { Kind::Base } else { Kind::Changes };
        let mut numbers = Overlay::changed(squashed).into_iter().flatten();
        let mut stopped = false;
        let next = |into: &mut [u8; PAGE_SIZE]| {
            stopped = stop.load(Ordering::Relaxed);
            let Some(number) = numbers.next().filter(|_| !stopped) else {
                return Ok(None);
            };
            pages.page(number, into).map_err(|bad| read(bad.layer, bad.error))?;
            Ok(Some(number))
        };
        let (index, wasm_pages) = (chain.index, memory.wasm_pages());
        let (staged, _) = self.stage_pages(kind, index, wasm_pages, older, next)?;
        if stopped {
            return Ok(None);
        }
        staged.sync()?;
        Ok(Some(Squashed {
            index: chain.index,
            at: from,
            layers: chain.layers[from..].to_vec(),
            staged,
        }))
    }

    /// Opens the layers of a memory. Their digests are not checked: frames have checksums of their own.
    pub(crate) fn open_chain(
        &self,
        chain: &Chain,
        checkpoint: Option<String>,
    ) -> Result<Overlay<Source>, Bad> {
        let subject = |layer| layer_subject(checkpoint.clone(), chain, layer);
        let open = |(at, blob): (usize, &BlobRef)| {
            let subject = subject(at);
            let file = blob::open_sized(&self.dir, &subject, blob.size)?;
            let source = seal::source(file, blob.sealed, &self.keys, &subject)?;
            MemoryLayer::open(source).map_err(|error| subject.layer(error))
        };
        let layers = chain.layers.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        let newest = chain.layers.len().saturating_sub(1);
        Overlay::new(layers).map_err(|error| subject(newest).layer(error))
    }
}

/// One layer of a memory, for messages.
pub(crate) fn layer_subject(checkpoint: Option<String>, chain: &Chain, layer: usize) -> Subject {
    let what = match chain.layers.len() {
        1 => format!("memory {}", chain.index),
        n => format!("memory {} (layer {} of {n})", chain.index, layer + 1),
    };
    let digest = chain.layers.get(layer).map_or([0; 32], |blob| blob.digest);
    Subject { checkpoint, what, path: blob::relative_path(&digest) }
}

/// From which layer on a chain with these sizes is to be squashed, if it is.
fn rule(sizes: &[u64], max_layers: usize) -> Option<usize> {
    let (base, changes) = sizes.split_first()?;
    let total: u64 = changes.iter().fold(0, |sum, size| sum.saturating_add(*size));
    if changes.len() <= max_layers && total <= *base {
        return None;
    }
    let mut newer = total.saturating_add(*base);
    let first = sizes.iter().position(|size| {
        newer = newer.saturating_sub(*size);
        *size <= newer
    });
    // Each larger than all that came after it: the last two.
    Some(first.unwrap_or(sizes.len().saturating_sub(2)))
}

#[cfg(test)]
mod tests {
    use super::rule;

    #[test]
    fn what_is_squashed() {
        assert_eq!(rule(&[], 8), None);
        assert_eq!(rule(&[100], 8), None);
        assert_eq!(rule(&[100, 50, 50], 8), None);
        assert_eq!(rule(&[100, 50, 51], 8), Some(0), "changes are larger than the base");
        assert_eq!(rule(&[100, 1, 1, 1], 3), None);
        assert_eq!(rule(&[100, 1, 1, 1, 1], 3), Some(1), "too many, alike");
        assert_eq!(rule(&[100, 4, 1, 1, 1], 3), Some(2), "the first is large already");
        assert_eq!(rule(&[100, 8, 4, 2, 1], 3), Some(3), "none is: the last two");
        assert_eq!(rule(&[0, 0], 0), Some(0));
        assert_eq!(rule(&[u64::MAX, u64::MAX], 1), None);
    }

    /// Each save adds one unit to a base of `base` units.
    #[test]
    fn chains_stay_short_and_little_is_written_again() {
        for base in [10u64, 100, 1000] {
            let (mut sizes, mut written, mut longest) = (vec![base], base, 1);
            for _ in 0..1000 {
                sizes.push(1);
                written += 1;
                if let Some(from) = rule(&sizes, 8) {
                    // At worst nothing overlaps but in the base.
                    let sum: u64 = sizes[from..].iter().sum();
                    let merged = if from == 0 { base } else { sum };
                    sizes.truncate(from);
                    sizes.push(merged);
                    written += merged;
                }
                longest = longest.max(sizes.len());
                assert!(sizes[1..].iter().sum::<u64>() <= base);
            }
            assert!(longest <= 10, "{longest} layers");
            // The best that any rule could do with as many layers is about 6 times.
            assert!(written < 8 * 1000, "{written} written for 1000, base {base}");
        }
    }
}
