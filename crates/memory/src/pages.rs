//! Which pages of a memory hold anything: most of a program's memory was never written, and zero
//! pages are never stored.
//!
//! ```text
//!   bytes   | 0000 | 0x00 | xxxx | 0000 | 0000 | 00x0 | x    (the last one may be short)
//!             0      1      2      3      4      5      6
//!   runs           (1, [-----------])         (5, [---------])
//! ```

/// Bytes of a page as images know it, whatever the host's own pages are.
pub const PAGE_SIZE: usize = 4096;

/// Bytes looked at between two tests whether to stop: few enough that a page in use is left early,
/// enough that an empty one is read at full width.
const BLOCK: usize = 512;

/// The runs of pages of [`PAGE_SIZE`] that are not all zero, each as the number of its first page
/// and its bytes.
///
/// Runs come in ascending order, do not overlap or touch, and are as long as they can be. If
/// `bytes` ends within a page, the last run may end there too.
///
/// This reads every byte. Where `bytes` is a mapping of which little was ever touched, the host
/// maps its zero page there: that takes no memory but page tables, 1/512 of what is read.
///
/// ```
/// use dormouse_memory::{PAGE_SIZE, nonzero_pages};
///
/// let mut bytes = vec![0; 10 * PAGE_SIZE];
/// bytes[PAGE_SIZE] = 1;
/// bytes[3 * PAGE_SIZE - 1] = 1;
/// bytes[9 * PAGE_SIZE] = 1;
/// let runs: Vec<_> = nonzero_pages(&bytes).map(|(page, run)| (page, run.len())).collect();
/// assert_eq!(runs, [(1, 2 * PAGE_SIZE), (9, PAGE_SIZE)]);
/// ```
pub fn nonzero_pages(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let count = bytes.len().div_ceil(PAGE_SIZE);
    let pages = move |first: usize, end: usize| {
        &bytes[first * PAGE_SIZE..bytes.len().min(end.saturating_mul(PAGE_SIZE))]
    };
    let mut next = 0;
    std::iter::from_fn(move || {
        let first = (next..count).find(|&page| !is_zero(pages(page, page + 1)));
        let Some(first) = first else {
            next = count;
            return None;
        };
        let end = (first + 1..count).find(|&page| is_zero(pages(page, page + 1))).unwrap_or(count);
        // The page at `end` is known to be zero.
        next = end + 1;
        Some((first as u64, pages(first, end)))
    })
}

/// Without branches within a block, so that the compiler turns it into vector instructions.
pub(crate) fn is_zero(page: &[u8]) -> bool {
    let (blocks, rest) = page.as_chunks::<BLOCK>();
    blocks.iter().all(|block| {
        let (words, _) = block.as_chunks::<8>();
        words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word)) == 0
    }) && rest.iter().all(|&byte| byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut runs: Vec<(u64, Vec<u8>)> = vec![];
        let mut open = false;
        for (number, page) in bytes.chunks(PAGE_SIZE).enumerate() {
            let used = page.iter().any(|&byte| byte != 0);
            match runs.last_mut() {
                Some((_, run)) if used && open => run.extend_from_slice(page),
                _ if used => runs.push((number as u64, page.to_vec())),
                _ => {}
            }
            open = used;
        }
        runs
    }

    fn collected(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        nonzero_pages(bytes).map(|(page, run)| (page, run.to_vec())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 4 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn runs_are_those_of_the_naive_way(
            len in 0usize..12 * PAGE_SIZE,
            whole in any::<bool>(),
            writes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..10),
        ) {
            let len = if whole { len.next_multiple_of(PAGE_SIZE) } else { len };
            let mut bytes = vec![0; len];
            for (at, value) in writes {
                if len > 0 {
                    bytes[at.index(len)] = value;
                }
            }
            prop_assert_eq!(collected(&bytes), naive(&bytes));
        }
    }

    #[test]
    fn one_byte_anywhere_in_a_page_is_seen() {
        let step = if cfg!(miri) { 97 } else { 1 };
        let mut bytes = vec![0; 3 * PAGE_SIZE - 5];
        for at in (0..bytes.len()).step_by(step) {
            bytes[at] = 0x80;
            let page = at / PAGE_SIZE;
            let end = bytes.len().min((page + 1) * PAGE_SIZE);
            let mut runs = nonzero_pages(&bytes);
            assert_eq!(runs.next(), Some((page as u64, &bytes[page * PAGE_SIZE..end])));
            assert_eq!(runs.next(), None);
            assert_eq!(runs.next(), None, "and stays at the end");
            drop(runs);
            bytes[at] = 0;
        }
    }

    #[test]
    fn all_or_nothing() {
        assert_eq!(nonzero_pages(&[]).count(), 0);
        assert_eq!(nonzero_pages(&[0; 5 * PAGE_SIZE]).count(), 0);
        let full = [1; 5 * PAGE_SIZE];
        assert_eq!(collected(&full), [(0, full.to_vec())]);
    }
}
