//! Where the code of a translated module (see [`crate::legacy`]) comes from: its custom section
//! `dormouse.original`.
//!
//! ```text
//!   version: u8 = 1
//!   code: u32                 offset of the contents of the original's code section
//!   n { new: u32  old: i64 }  ascending; each number is the difference to the one before it
//! ```
//!
//! Numbers are LEB128. From `new` to the next entry's, an instruction's offset in the original is
//! `old` and as many bytes more. Addresses in DWARF sections, which a translation keeps as they are,
//! count from the contents of the code section: an address is [`OffsetMap::original`] less
//! [`OffsetMap::code`].

use wasm_encoder::Encode;
use wasmparser::{BinaryReader, Parser, Payload};

/// Name of the custom section.
pub(crate) const SECTION: &str = "dormouse.original";

const VERSION: u8 = 1;

/// Offsets of a translated module, and those of the original it was made of.
///
/// ```
/// use dormouse_transform::{OffsetMap, Options, Program};
/// let original = wat::parse_str("(module (func nop try nop catch_all end))").unwrap();
/// let program = Program::new(original.as_slice().into(), &Options::default()).unwrap();
/// let map = OffsetMap::of(program.bytes()).expect("it was translated");
/// let nop = |module: &[u8]| module.iter().rposition(|&byte| byte == 1).unwrap() as u32;
/// let at = program.bytes().windows(3).position(|w| w == [1, 0x0b, 0x0c]).unwrap() as u32;
/// assert_eq!(map.original(at), nop(&original), "the second nop");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMap {
    code: u32,
    /// Offset here, offset there.
    entries: Vec<(u32, u32)>,
}

impl OffsetMap {
    /// The map a module carries; none if it was not translated, or the section is damaged.
    pub fn of(module: &[u8]) -> Option<OffsetMap> {
        let mut found = None;
        for payload in Parser::new(0).parse_all(module) {
            if let Payload::CustomSection(c) = payload.ok()?
                && c.name() == SECTION
            {
                found = OffsetMap::decode(c.data());
            }
        }
        found
    }

    /// The offset in the original of the instruction at `offset` in the translation; of one that
    /// the translation added, that of the construct it was added for. Offsets before the code stay.
    pub fn original(&self, offset: u32) -> u32 {
        match self.entries[..self.entries.partition_point(|e| e.0 <= offset)].last() {
            Some(&(new, old)) => old.saturating_add(offset - new),
            None => offset,
        }
    }

    /// Where the contents of the original's code section began.
    pub fn code(&self) -> u32 {
        self.code
    }

    pub(crate) fn new(code: u32) -> OffsetMap {
        OffsetMap { code, entries: vec![] }
    }

    /// `new` is not less than all before it.
    pub(crate) fn push(&mut self, new: u32, old: u32) {
        if self.entries.is_empty() || self.original(new) != old {
            match self.entries.last_mut() {
                Some(last) if last.0 == new => last.1 = old,
                _ => self.entries.push((new, old)),
            }
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.code.encode(out);
        self.entries.len().encode(out);
        let mut last = (0, 0);
        for &(new, old) in &self.entries {
            (new - last.0).encode(out);
            (i64::from(old) - i64::from(last.1)).encode(out);
            last = (new, old);
        }
    }

    fn decode(bytes: &[u8]) -> Option<OffsetMap> {
        let mut r = BinaryReader::new(bytes, 0);
        if r.read_u8().ok()? != VERSION {
            return None;
        }
        let code = r.read_var_u32().ok()?;
        let count = r.read_var_u32().ok()? as usize;
        // An entry has two bytes at least.
        let mut entries = Vec::with_capacity(count.min(r.bytes_remaining() / 2));
        let mut last = (0u32, 0u32);
        for n in 0..count {
            let new = last.0.checked_add(r.read_var_u32().ok()?)?;
            let old = i64::from(last.1).checked_add(r.read_var_i64().ok()?)?;
            if n > 0 && new == last.0 {
                return None;
            }
            last = (new, u32::try_from(old).ok()?);
            entries.push(last);
        }
        r.eof().then_some(OffsetMap { code, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let mut map = OffsetMap::new(40);
        for (new, old) in [(50, 45), (52, 47), (53, 47), (54, 47), (60, 48), (61, 30), (70, 39)] {
            map.push(new, old);
        }
        let entries = [(50, 45), (53, 47), (54, 47), (60, 48), (61, 30)];
        assert_eq!(map.entries, entries, "what follows from the entry before is left out");
        for (new, old) in [(7, 7), (50, 45), (51, 46), (53, 47), (54, 47), (60, 48), (65, 34)] {
            assert_eq!(map.original(new), old);
        }
        let mut bytes = vec![];
        map.encode(&mut bytes);
        assert_eq!(OffsetMap::decode(&bytes), Some(map));
        for end in 0..bytes.len() {
            assert_eq!(OffsetMap::decode(&bytes[..end]), None);
        }
        bytes.push(0);
        assert_eq!(OffsetMap::decode(&bytes), None);
        // Counts and differences that lie.
        for bad in [&[1, 0, 0xff, 0xff, 0xff, 0xff, 15][..], &[1, 0, 1, 0, 0x7f], &[2, 0, 0]] {
            assert_eq!(OffsetMap::decode(bad), None);
        }
    }
}
