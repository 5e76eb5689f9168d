//! Which pages of a memory changed since it was last looked at: found by comparing a fingerprint of each page, on any host,
//! with no help from the system.
//!
//! ```text
//!   at a checkpoint     page 0: 9c1f..   page 1: zero    page 2: 0b72..      16 bytes a page
//!   at the next         page 0: 9c1f..   page 1: 5e90..  page 2: 0b72..      -> page 1 changed
//! ```
//!
//! A fingerprint is XXH3-128 with a seed that no program knows: that two pages have the same one is not to be expected, nor can it be brought about.

use crate::{PAGE_SIZE, pages::is_zero};
use std::ops::Range;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Of a page without content; no other page has it.
const ZERO: u128 = 0;

/// What the pages of a memory were.
#[derive(Clone, Debug)]
pub struct Fingerprints {
    seed: u64,
    pages: Vec<u128>,
}

/// Pages that differ from what they were, in ascending order, and what they are now.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pages: Vec<(u64, u128)>,
}

impl Fingerprints {
    /// Of a memory all zero, of any length. `seed` is drawn anew for every run.
    ///
    /// ```
    /// use dormouse_memory::{Fingerprints, PAGE_SIZE};
    ///
    /// let mut memory = vec![0; 4 * PAGE_SIZE];
    /// let mut seen = Fingerprints::new(4711);
    /// memory[PAGE_SIZE] = 1;
    /// memory[2 * PAGE_SIZE] = 1;
    /// let changes = seen.changes(&memory);
    /// assert_eq!(changes.runs(), [1..3]);
    ///
    /// seen.apply(&changes);
    /// memory[2 * PAGE_SIZE] = 0;
    /// assert_eq!(seen.changes(&memory).runs(), [2..3]);
    /// ```
    pub fn new(seed: u64) -> Self {
        Fingerprints { seed, pages: Vec::new() }
    }

    /// The pages of `memory` that are not what they were.
    pub fn changes(&self, memory: &[u8]) -> Changes {
        let mut changes = Changes::default();
        for (number, page) in memory.chunks(PAGE_SIZE).enumerate() {
            let now = self.of(page);
            if now != self.pages.get(number).copied().unwrap_or(ZERO) {
                changes.pages.push((number as u64, now));
            }
        }
        changes
    }

    /// From now on they are what they changed to.
    pub fn apply(&mut self, changes: &Changes) {
        if let Some((last, _)) = changes.pages.last() {
            self.pages.resize(self.pages.len().max(*last as usize + 1), ZERO);
        }
        for (number, now) in &changes.pages {
            self.pages[*number as usize] = *now;
        }
    }

    /// From now on `memory`'s pages in `range` are what they are now.
    pub fn look_at(&mut self, memory: &[u8], range: Range<u64>) {
        let byte = |page: u64| (page as usize).saturating_mul(PAGE_SIZE).min(memory.len());
        let pages = memory[byte(range.start)..byte(range.end)].chunks(PAGE_SIZE);
        let pages = (range.start..).zip(pages).map(|(number, page)| (number, self.of(page)));
        let seen = Changes { pages: pages.collect() };
        self.apply(&seen);
    }

    /// How many pages had content.
    pub fn used(&self) -> usize {
        self.pages.iter().filter(|page| **page != ZERO).count()
    }

    fn of(&self, page: &[u8]) -> u128 {
        match is_zero(page) {
            true => ZERO,
            false => xxh3_128_with_seed(page, self.seed).max(1),
        }
    }
}

impl Changes {
    /// How many pages.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The pages, as runs that are as long as they can be.
    pub fn runs(&self) -> Vec<Range<u64>> {
        let runs = self.pages.chunk_by(|(a, _), (b, _)| a + 1 == *b);
        runs.filter_map(|run| Some(run.first()?.0..run.last()?.0 + 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 128 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_changed_is_found(
            rounds in prop::collection::vec(
                (0usize..3, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12)),
                1..8,
            ),
        ) {
            let mut memory = vec![0; 8 * PAGE_SIZE];
            let mut before = memory.clone();
            let mut seen = Fingerprints::new(1);
            for (growth, writes) in rounds {
                memory.resize(memory.len() + growth * PAGE_SIZE, 0);
                for (at, byte) in writes {
                    let at = at.index(memory.len());
                    memory[at] = byte;
                }
                before.resize(memory.len(), 0);
                let page = |bytes: &[u8], n: usize| bytes[n * PAGE_SIZE..(n + 1) * PAGE_SIZE].to_vec();
                let expected: Vec<u64> = (0..memory.len() / PAGE_SIZE)
                    .filter(|n| page(&memory, *n) != page(&before, *n))
                    .map(|n| n as u64)
                    .collect();
                let changes = seen.changes(&memory);
                prop_assert_eq!(changes.runs().into_iter().flatten().collect::<Vec<_>>(), expected);
                seen.apply(&changes);
                before.clone_from(&memory);
                let mut anew = Fingerprints::new(1);
                anew.look_at(&memory, 0..memory.len() as u64);
                prop_assert!(anew.changes(&memory).is_empty());
                prop_assert_eq!(anew.used(), seen.used());
            }
        }
    }
}
