//! A set of pages, by number: a bit each.
//!
//! ```text
//!   page   0 1 2 3 4 5 6 ..        runs()
//!          . x x . . x .     ->    1..3, 5..6
//! ```

use std::ops::Range;

/// Pages of one memory, of [`PAGE_SIZE`](crate::PAGE_SIZE) bytes each. It takes a bit for each page up to the last one.
///
/// ```
/// use dormouse_memory::PageSet;
///
/// let mut written = PageSet::default();
/// written.insert(1..3);
/// written.insert(5..6);
/// written.remove(2..4);
/// assert_eq!(written.runs().collect::<Vec<_>>(), [1..2, 5..6]);
/// assert_eq!(written.len(), 2);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PageSet {
    words: Vec<u64>,
    len: u64,
}

impl PageSet {
    /// Adds the pages of a range.
    pub fn insert(&mut self, pages: Range<u64>) {
        let words = pages.end.div_ceil(64) as usize;
        if !pages.is_empty() && self.words.len() < words {
            self.words.resize(words, 0);
        }
        self.change(pages, |word, mask| *word |= mask);
    }

    /// Takes the pages of a range out.
    pub fn remove(&mut self, pages: Range<u64>) {
        let end = pages.end.min(self.words.len() as u64 * 64);
        self.change(pages.start..end, |word, mask| *word &= !mask);
    }

    /// Adds the pages of another set.
    pub fn insert_all(&mut self, other: &PageSet) {
        other.runs().for_each(|run| self.insert(run));
    }

    /// Takes the pages of another set out.
    pub fn remove_all(&mut self, other: &PageSet) {
        other.runs().for_each(|run| self.remove(run));
    }

    /// Takes all pages out; what the set takes stays.
    pub fn clear(&mut self) {
        self.words.fill(0);
        self.len = 0;
    }

    /// How many pages.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a page is in it.
    pub fn contains(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    /// The pages in ascending order, as runs that are as long as they can be.
    pub fn runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let start = self.find(next, true)?;
            let end = self.find(start, false).unwrap_or(self.words.len() as u64 * 64);
            next = end;
            Some(start..end)
        })
    }

    /// The first page from `from` on that is in the set, or is not.
    fn find(&self, from: u64, inside: bool) -> Option<u64> {
        let mut word = (from / 64) as usize;
        let mut mask = u64::MAX << (from % 64);
        while let Some(bits) = self.words.get(word) {
            let bits = if inside { *bits } else { !*bits } & mask;
            if bits != 0 {
                return Some(word as u64 * 64 + u64::from(bits.trailing_zeros()));
            }
            mask = u64::MAX;
            word += 1;
        }
        None
    }

    /// Changes the words of a range of pages, which all exist.
    fn change(&mut self, pages: Range<u64>, how: impl Fn(&mut u64, u64)) {
        let mut at = pages.start;
        while at < pages.end {
            let end = pages.end.min((at / 64 + 1) * 64);
            let mask = (u64::MAX << (at % 64)) & (u64::MAX >> (63 - (end - 1) % 64));
            let word = &mut self.words[(at / 64) as usize];
            let before = word.count_ones();
            how(word, mask);
            self.len = self.len + u64::from(word.count_ones()) - u64::from(before);
            at = end;
        }
    }
}

impl std::fmt::Debug for PageSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_set_is_a_set(deeds in prop::collection::vec((any::<bool>(), 0u64..300, 0u64..150), 0..20)) {
            let (mut set, mut model) = (PageSet::default(), BTreeSet::new());
            for (insert, start, count) in deeds {
                let range = start..start + count;
                if insert {
                    set.insert(range.clone());
                    model.extend(range);
                } else {
                    set.remove(range.clone());
                    model.retain(|page| !range.contains(page));
                }
                prop_assert_eq!(set.len(), model.len() as u64);
            }
            prop_assert_eq!(set.runs().flatten().collect::<BTreeSet<_>>(), model.clone());
            prop_assert!(set.runs().zip(set.runs().skip(1)).all(|(a, b)| a.end < b.start));
            prop_assert!((0..500).all(|page| set.contains(page) == model.contains(&page)));
            let (mut both, mut none) = (PageSet::default(), set.clone());
            both.insert_all(&set);
            prop_assert_eq!(both.runs().collect::<Vec<_>>(), set.runs().collect::<Vec<_>>());
            none.remove_all(&set);
            prop_assert!(none.is_empty());
        }
    }
}
