//! Unsigned LEB128, shortest form only.
//!
//! ```text
//!   300 = 0b10_0101100   ->   1_0101100 0_0000010   =   ac 02
//! ```
//!
//! A longer form of the same number (`ac 82 00`) is refused, so that a number has one encoding.

/// Why a number could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LebError {
    /// The input ended inside the number.
    Truncated,
    /// Not the shortest form, or more than 64 bits.
    Malformed,
}

/// Appends `value`.
pub(crate) fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number from the front of `input`; gives it and the bytes it took.
pub(crate) fn read(input: &[u8]) -> Result<(u64, usize), LebError> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && byte > 1 {
            return Err(LebError::Malformed);
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            // The last byte of a longer number must add something.
            return if byte == 0 && i > 0 { Err(LebError::Malformed) } else { Ok((value, i + 1)) };
        }
    }
    if input.len() < 10 { Err(LebError::Truncated) } else { Err(LebError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_round_trips() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = vec![];
                write(&mut out, value);
                assert_eq!(read(&out), Ok((value, out.len())), "{value:#x}");
                for cut in 0..out.len() {
                    assert_eq!(read(&out[..cut]), Err(LebError::Truncated));
                }
            }
        }
    }

    #[test]
    fn long_forms_are_refused() {
        assert_eq!(read(&[0x80, 0x00]), Err(LebError::Malformed));
        assert_eq!(read(&[0xac, 0x82, 0x00]), Err(LebError::Malformed));
        assert_eq!(read(&[0xff; 10]), Err(LebError::Malformed));
        let mut too_big = [0x80; 10];
        too_big[9] = 0x02;
        assert_eq!(read(&too_big), Err(LebError::Malformed));
    }
}
