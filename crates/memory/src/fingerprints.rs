//! Which pages of a memory changed since it was last looked at: found by comparing a fingerprint of each page, on any host,
//! with no help from the system.
//!
//! ```text
//!   at a checkpoint     page 0: 9c1f..   page 1: zero    page 2: 0b72..      16 bytes a page
//!   at the next         page 0: 9c1f..   page 1: 5e90..  page 2: 0b72..      -> page 1 changed
//! ```
//!
//! A fingerprint is XXH3-128 with a seed that no program knows: that two pages have the same one is not to be expected, nor can it be brought about.

use crate::{PAGE_SIZE, PageSet, pages::is_zero};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Of a page without content; no other page has it.
const ZERO: u128 = 0;

/// What the pages of a memory were.
#[derive(Debug)]
pub struct Fingerprints {
    seed: u64,
    pages: Vec<u128>,
}

impl Fingerprints {
    /// Of a memory all zero, of any length. `seed` is drawn anew for every run.
    ///
    /// ```
    /// use dormouse_memory::{Fingerprints, PAGE_SIZE, PageSet};
    ///
    /// let mut memory = vec![0; 4 * PAGE_SIZE];
    /// let mut seen = Fingerprints::new(4711);
    /// memory[PAGE_SIZE] = 1;
    /// memory[2 * PAGE_SIZE] = 1;
    /// let mut changed = PageSet::default();
    /// seen.take(&memory, &mut changed);
    /// assert_eq!(changed.runs().collect::<Vec<_>>(), vec![1..3]);
    ///
    /// memory[2 * PAGE_SIZE] = 0;
    /// changed.clear();
    /// seen.take(&memory, &mut changed);
    /// assert_eq!(changed.runs().collect::<Vec<_>>(), vec![2..3]);
    /// ```
    pub fn new(seed: u64) -> Self {
        Fingerprints { seed, pages: Vec::new() }
    }

    /// Adds the pages of `memory` that are not what they were; from now on they are what they are now.
    pub fn take(&mut self, memory: &[u8], into: &mut PageSet) {
        for (number, page) in memory.chunks(PAGE_SIZE).enumerate() {
            let now = self.of(page);
            if now == self.pages.get(number).copied().unwrap_or(ZERO) {
                continue;
            }
            if self.pages.len() <= number {
                self.pages.resize(number + 1, ZERO);
            }
            self.pages[number] = now;
            into.insert(number as u64..number as u64 + 1);
        }
    }

    fn of(&self, page: &[u8]) -> u128 {
        match is_zero(page) {
            true => ZERO,
            false => xxh3_128_with_seed(page, self.seed).max(1),
        }
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
                let mut changed = PageSet::default();
                seen.take(&memory, &mut changed);
                prop_assert_eq!(changed.runs().flatten().collect::<Vec<_>>(), expected);
                before.clone_from(&memory);
            }
        }
    }
}
