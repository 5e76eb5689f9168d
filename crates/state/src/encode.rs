//! State -> bytes. `docs/format.md` has the same layout, byte for byte.
//!
//! ```text
//!   "DMSTATE\0"  version:u32  module_digest:[32]
//!   n { func offset  n { index value }  n { value } }     frames, each with locals and operands
//!   n { index value }                                     globals
//!   n { index  n { value } }                              tables
//!   n { tag  n { value } }                                exceptions
//!   n { index pages }                                     memories
//!   n { index }   n { index }                             dropped data, dropped elements
//!   n byte*                                               wasi
//!   n { n byte*  n byte* }                                host: names and bytes; version 2 only
//!
//!   value = 7f i32 | 7e i64 | 7d f32 | 7c f64 | 7b v128 | 70 func | 73 | 72
//!         | 69 exception | 74
//! ```
//!
//! Numbers without a width are LEB128; the others are fixed-width and little-endian.

use crate::{State, Value, leb};

/// The first bytes of every encoded state.
pub const MAGIC: [u8; 8] = *b"DMSTATE\0";
/// The newest version this crate reads and writes.
pub const VERSION: u32 = 2;
/// The version of states without [`State::host`], so that whoever knows no other can read them.
pub const VERSION_WITHOUT_HOST: u32 = 1;

// The bytes WebAssembly itself uses for these types.
pub(crate) const TAG_I32: u8 = 0x7f;
pub(crate) const TAG_I64: u8 = 0x7e;
pub(crate) const TAG_F32: u8 = 0x7d;
pub(crate) const TAG_F64: u8 = 0x7c;
pub(crate) const TAG_V128: u8 = 0x7b;
pub(crate) const TAG_FUNC: u8 = 0x70;
/// `nofunc`: the type whose only value is the null funcref.
pub(crate) const TAG_NULL_FUNC: u8 = 0x73;
/// `noextern`: the type whose only value is the null externref.
pub(crate) const TAG_NULL_EXTERN: u8 = 0x72;
pub(crate) const TAG_EXN: u8 = 0x69;
/// `noexn`: the type whose only value is the null exnref.
pub(crate) const TAG_NULL_EXN: u8 = 0x74;

impl State {
    /// The state's one encoding.
    ///
    /// Never fails; but only a state that passes [`State::check`] can be decoded again, so check
    /// first what is to be made durable.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_len_hint());
        out.extend_from_slice(&MAGIC);
        let version = if self.host.is_empty() { VERSION_WITHOUT_HOST } else { VERSION };
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&self.module_digest);
        count(&mut out, self.frames.len());
        for frame in &self.frames {
            leb::write(&mut out, frame.site.func.into());
            leb::write(&mut out, frame.site.offset.into());
            indexed(&mut out, &frame.locals);
            values(&mut out, &frame.operands);
        }
        indexed(&mut out, &self.globals);
        count(&mut out, self.tables.len());
        for table in &self.tables {
            leb::write(&mut out, table.index.into());
            values(&mut out, &table.entries);
        }
        count(&mut out, self.exceptions.len());
        for exception in &self.exceptions {
            leb::write(&mut out, exception.tag.into());
            values(&mut out, &exception.fields);
        }
        count(&mut out, self.memories.len());
        for memory in &self.memories {
            leb::write(&mut out, memory.index.into());
            leb::write(&mut out, memory.pages);
        }
        for dropped in [&self.dropped_data, &self.dropped_elems] {
            count(&mut out, dropped.len());
            for &segment in dropped {
                leb::write(&mut out, segment.into());
            }
        }
        byte_string(&mut out, &self.wasi);
        if !self.host.is_empty() {
            count(&mut out, self.host.len());
            for state in &self.host {
                byte_string(&mut out, state.name.as_bytes());
                byte_string(&mut out, &state.bytes);
            }
        }
        out
    }

    /// About how many bytes [`State::encode`] writes, so that it seldom grows its buffer.
    fn encoded_len_hint(&self) -> usize {
        let frames: usize =
            self.frames.iter().map(|f| 10 + 8 * f.locals.len() + 6 * f.operands.len()).sum();
        let entries: usize = self.tables.iter().map(|t| 8 + 3 * t.entries.len()).sum();
        let payloads: usize = self.exceptions.iter().map(|e| 4 + 6 * e.fields.len()).sum();
        let host: usize = self.host.iter().map(|h| 16 + h.name.len() + h.bytes.len()).sum();
        128 + frames + 8 * self.globals.len() + entries + payloads + self.wasi.len() + host
    }
}

fn count(out: &mut Vec<u8>, count: usize) {
    leb::write(out, count as u64);
}

fn byte_string(out: &mut Vec<u8>, bytes: &[u8]) {
    count(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn indexed(out: &mut Vec<u8>, list: &[(u32, Value)]) {
    count(out, list.len());
    for (index, v) in list {
        leb::write(out, (*index).into());
        value(out, v);
    }
}

fn values(out: &mut Vec<u8>, list: &[Value]) {
    count(out, list.len());
    for v in list {
        value(out, v);
    }
}

#[inline]
fn value(out: &mut Vec<u8>, value: &Value) {
    match *value {
        Value::I32(bits) => fixed(out, TAG_I32, bits.to_le_bytes()),
        Value::I64(bits) => fixed(out, TAG_I64, bits.to_le_bytes()),
        Value::F32(bits) => fixed(out, TAG_F32, bits.to_le_bytes()),
        Value::F64(bits) => fixed(out, TAG_F64, bits.to_le_bytes()),
        Value::V128(bits) => fixed(out, TAG_V128, bits.to_le_bytes()),
        Value::FuncRef(Some(func)) => {
            out.push(TAG_FUNC);
            leb::write(out, func.into());
        }
        Value::FuncRef(None) => out.push(TAG_NULL_FUNC),
        Value::ExternRefNull => out.push(TAG_NULL_EXTERN),
        Value::ExnRef(Some(exception)) => {
            out.push(TAG_EXN);
            leb::write(out, exception.into());
        }
        Value::ExnRef(None) => out.push(TAG_NULL_EXN),
    }
}

#[inline]
fn fixed<const N: usize>(out: &mut Vec<u8>, tag: u8, bytes: [u8; N]) {
    // One capacity check for both.
    out.reserve(N + 1);
    out.push(tag);
    out.extend_from_slice(&bytes);
}
