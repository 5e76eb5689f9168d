//! Changes bytes in ways that decoders find hard: counts that lie, cuts, repetitions, parts of
//! another input.

use crate::random::Random;

/// Numbers at the edges of what fields hold.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    u64::MAX,
];

/// One to eight changes, few being likely.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], r: &mut Random) {
    for _ in 0..1 << r.below(4) {
        change(bytes, other, r);
    }
}

fn change(bytes: &mut Vec<u8>, other: &[u8], r: &mut Random) {
    if bytes.is_empty() {
        bytes.extend_from_slice(&other[..r.below(other.len() + 1)]);
        return;
    }
    let len = bytes.len();
    let at = r.below(len);
    match r.below(12) {
        0..=2 => bytes[at] ^= 1 << r.below(8),
        3..=4 => bytes[at] = r.bits() as u8,
        5 => {
            let by = r.below(16) as u8;
            bytes[at] = bytes[at].wrapping_add(by).wrapping_sub(8);
        }
        6 => {
            let width = *r.pick(&[1, 2, 4, 8]);
            let number = r.pick(&EDGES).to_le_bytes();
            let width = width.min(len - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        7 => {
            // The same in LEB128, in place of as many bytes as the old number had.
            let end = bytes[at..].iter().position(|b| b & 0x80 == 0).map_or(len, |n| at + n + 1);
            let number = leb(*r.pick(&EDGES));
            bytes.splice(at..end, number);
        }
        8 => drop(bytes.drain(at..(at + 1 + r.below(32)).min(len))),
        9 => bytes.truncate(at),
        10 => {
            let part = bytes[at..(at + 1 + r.below(32)).min(len)].to_vec();
            let to = r.below(len);
            bytes.splice(to..to, part);
        }
        _ if other.is_empty() => bytes.push(r.bits() as u8),
        _ => {
            let from = r.below(other.len());
            let part = &other[from..(from + 1 + r.below(64)).min(other.len())];
            let end = if r.chance(2) { at } else { (at + part.len()).min(len) };
            bytes.splice(at..end, part.iter().copied());
        }
    }
}

fn leb(mut n: u64) -> Vec<u8> {
    let mut out = vec![];
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}
