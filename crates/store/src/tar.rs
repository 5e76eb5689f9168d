//! As much of tar as an archive of a checkpoint needs: regular files, one after the other, in a stream.
//!
//! ```text
//!   0    name, 100 bytes       124  size, 12: octal, or \x80 and big-endian
//!   148  checksum, 8: octal    156  what it is: '0' a file, '5' a directory
//!   257  "ustar"               345  prefix of the name, 155
//!   512  the bytes, filled up to a multiple of 512 .. and in the end two blocks of zeros
//! ```
//!
//! Links, devices and extended headers are refused: nobody needs them here.

use std::io::{self, Read, Write};

const BLOCK: usize = 512;
/// What lies in a header as octal digits.
const MAX_OCTAL: u64 = 1 << 33;

/// A file of an archive; its bytes follow in the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) size: u64,
}

/// The header of a file.
pub(crate) fn header(name: &str, size: u64) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    if name.len() > 100 {
        return Err(io::Error::other("a name that is too long for the archive"));
    }
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000600\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    if size < MAX_OCTAL {
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    } else {
        block[124] = 0x80;
        block[128..136].copy_from_slice(&size.to_be_bytes());
    }
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum = format!("{:06o}\0 ", checksum(&block));
    block[148..156].copy_from_slice(sum.as_bytes());
    Ok(block)
}

/// What fills a file up.
pub(crate) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The end of an archive.
pub(crate) fn end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// The next file, or `None` at the end of the archive. What is before it has been read, with its padding.
pub(crate) fn next(from: &mut impl Read) -> io::Result<Option<Entry>> {
    loop {
        let mut block = [0; BLOCK];
        from.read_exact(&mut block)?;
        if block == [0; BLOCK] {
            // The second one, so that whoever sends is not cut short.
            from.read_exact(&mut block)?;
            return Ok(None);
        }
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
        if octal(&block[148..156]) != Some(checksum(&block)) {
            return Err(bad("it is not a tar archive, or damaged"));
        }
        let (size, kind) = (number(&block[124..136]), block[156]);
        let size = size.ok_or_else(|| bad("a file in it has no size"))?;
        let text = |bytes: &[u8]| {
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            String::from_utf8(bytes[..end].to_vec()).map_err(|_| bad("a name in it is not UTF-8"))
        };
        let mut name = text(&block[..100])?;
        if &block[257..262] == b"ustar" && block[345] != 0 && block[262] == 0 {
            name = format!("{}/{name}", text(&block[345..500])?);
        }
        match kind {
            b'0' | 0 => {
                let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
                return Ok(Some(Entry { name, size }));
            }
            b'5' if size == 0 => {}
            _ => return Err(bad("it holds something other than files and directories")),
        }
    }
}

/// The sum of a header's bytes, those of the sum itself counted as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
    sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}

fn number(bytes: &[u8]) -> Option<u64> {
    match bytes {
        [0x80, 0, 0, 0, rest @ ..] => Some(u64::from_be_bytes(rest.try_into().ok()?)),
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let digits = text.trim_matches(|c| c == ' ' || c == '\0');
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    u64::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        for size in [0, 1, 511, 512, MAX_OCTAL - 1, MAX_OCTAL, u64::MAX] {
            let header = header("blobs/sha256/00", size).unwrap();
            let entry = next(&mut &header[..]).unwrap().unwrap();
            assert_eq!(entry, Entry { name: "blobs/sha256/00".into(), size });
        }
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let good = header("x", 5).unwrap();
        for at in 0..BLOCK {
            let mut bad = good;
            bad[at] ^= 1;
            assert!(next(&mut &bad[..]).is_err(), "byte {at}");
        }
        for kind in [b'1', b'2', b'3', b'L', b'x', b'5'] {
            let mut link = good;
            link[156] = kind;
            let sum = format!("{:06o}\0 ", checksum(&link));
            link[148..156].copy_from_slice(sum.as_bytes());
            assert!(next(&mut &link[..]).is_err(), "{kind}");
        }
        assert!(next(&mut &good[..100]).is_err());
        assert_eq!(next(&mut &[0; 2 * BLOCK][..]).unwrap(), None);
    }
}
