//! A page as its difference to the parent's page, where little of it changed.
//!
//! ```text
//!   pieces:u16  { offset:u16  length:u16  bytes }*      ascending; they neither overlap nor touch
//! ```
//!
//! A writer compares words of 8 bytes, so that a piece is never shorter than the 4 bytes that say where it lies are
//! worth. The idea is that of optimistic deltas: tried on every changed page, kept where it is short.

use super::{LayerError, PAGE_SIZE};

/// Bytes a difference may have; a page of which more changed is stored whole.
pub(super) const MAX_LEN: usize = PAGE_SIZE / 2;
const WORD: usize = 8;

/// Appends the difference from `old` to `new`, two pages. `false`, and nothing is appended, if there is none or it is too
/// long to be worth it.
pub(super) fn append(old: &[u8], new: &[u8], into: &mut Vec<u8>) -> bool {
    let (old, _) = old.as_chunks::<WORD>();
    let (new, _) = new.as_chunks::<WORD>();
    let before = into.len();
    into.extend_from_slice(&[0, 0]);
    let mut pieces = 0u16;
    // Where the length of the piece being written lies.
    let mut open: Option<usize> = None;
    for (at, (old, new)) in old.iter().zip(new).enumerate() {
        if old == new {
            open = None;
            continue;
        }
        if into.len() - before + 4 + WORD > MAX_LEN {
            into.truncate(before);
            return false;
        }
        let length_at = *open.get_or_insert_with(|| {
            pieces += 1;
            into.extend_from_slice(&((at * WORD) as u16).to_le_bytes());
            into.extend_from_slice(&[0, 0]);
            into.len() - 2
        });
        into.extend_from_slice(new);
        let length = (into.len() - length_at - 2) as u16;
        into[length_at..length_at + 2].copy_from_slice(&length.to_le_bytes());
    }
    if pieces == 0 {
        into.truncate(before);
        return false;
    }
    into[before..before + 2].copy_from_slice(&pieces.to_le_bytes());
    true
}

/// The length of the difference at the beginning of `bytes`, which follows all rules.
pub(super) fn length(bytes: &[u8]) -> Result<usize, LayerError> {
    let mut last_end = None;
    pieces(bytes, |offset, piece| {
        let apart = last_end.is_none_or(|end| offset > end);
        let end = offset + piece.len();
        last_end = Some(end);
        apart && !piece.is_empty() && end <= PAGE_SIZE
    })
}

/// Applies a difference whose length was checked.
pub(super) fn apply(delta: &[u8], page: &mut [u8; PAGE_SIZE]) -> Result<(), LayerError> {
    pieces(delta, |offset, piece| match page.get_mut(offset..offset + piece.len()) {
        Some(into) => {
            into.copy_from_slice(piece);
            true
        }
        None => false,
    })
    .map(drop)
}

/// Calls `piece` with each until it says `false`; how many bytes they take.
fn pieces(bytes: &[u8], mut piece: impl FnMut(usize, &[u8]) -> bool) -> Result<usize, LayerError> {
    const BAD: LayerError = LayerError::Malformed("a difference to a page breaks its rules");
    let number = |rest: &mut &[u8]| {
        let (number, others) = rest.split_first_chunk().ok_or(BAD)?;
        *rest = others;
        Ok::<_, LayerError>(usize::from(u16::from_le_bytes(*number)))
    };
    let mut rest = bytes;
    let count = number(&mut rest)?;
    for _ in 0..count {
        let (offset, length) = (number(&mut rest)?, number(&mut rest)?);
        let (data, others) = rest.split_at_checked(length).ok_or(BAD)?;
        rest = others;
        if !piece(offset, data) {
            return Err(BAD);
        }
    }
    let length = bytes.len() - rest.len();
    if count == 0 || length > MAX_LEN { Err(BAD) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_applied_gives_the_new_page(
            writes in prop::collection::vec((0..PAGE_SIZE, any::<u8>(), 1usize..40), 0..60),
            first in any::<u8>(),
        ) {
            let old = [first; PAGE_SIZE];
            let mut new = old;
            for (at, byte, len) in writes {
                new[at..PAGE_SIZE.min(at + len)].fill(byte);
            }
            let mut delta = b"before".to_vec();
            if append(&old, &new, &mut delta) {
                let delta = &delta[6..];
                prop_assert!(delta.len() <= MAX_LEN);
                prop_assert_eq!(length(&[delta, b"after"].concat()).unwrap(), delta.len());
                let mut page = old;
                apply(delta, &mut page).unwrap();
                prop_assert!(page == new);
            } else {
                prop_assert_eq!(delta, b"before");
                let words = old.chunks(8).zip(new.chunks(8)).filter(|(a, b)| a != b).count();
                prop_assert!(words == 0 || words * 12 > MAX_LEN - 16, "{} words", words);
            }
        }

        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(len) = length(&bytes) {
                apply(&bytes[..len], &mut [0; PAGE_SIZE]).unwrap();
            }
        }
    }

    #[test]
    fn rules() {
        let good = [1, 0, 255, 15, 1, 0, 7];
        assert_eq!(length(&good).unwrap(), 7);
        for (what, bad) in [
            ("no pieces", &[0, 0][..]),
            ("cut off", &good[..6]),
            ("outside", &[1, 0, 0, 16, 1, 0, 7]),
            ("empty", &[1, 0, 0, 0, 0, 0]),
            ("touching", &[2, 0, 0, 0, 1, 0, 7, 1, 0, 1, 0, 7]),
            ("descending", &[2, 0, 4, 0, 1, 0, 7, 0, 0, 1, 0, 7]),
        ] {
            assert!(length(bad).is_err(), "{what}");
        }
    }
}
