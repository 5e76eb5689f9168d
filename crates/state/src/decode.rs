//! Bytes -> state. The bytes may be anything: reading is bounded, and never panics.
//!
//! ```text
//!   n { item }   room for min(n, bytes left / least bytes of an item) items, then item by item
//! ```
//!
//! So a count that lies costs no more than [`MAX_EXPANSION`] times the input's length.

use crate::check::MAX_STATE_LEN;
use crate::encode::{
    MAGIC, TAG_EXN, TAG_F32, TAG_F64, TAG_FUNC, TAG_I32, TAG_I64, TAG_NULL_EXN, TAG_NULL_EXTERN,
    TAG_NULL_FUNC, TAG_V128, VERSION, VERSION_WITHOUT_HOST,
};
use crate::leb::{self, LebError};
use crate::{Exception, Frame, HostState, InvalidState, Memory, Site, State, Table, Value};

/// Decoding allocates at most this many bytes for each byte of its input (a null reference is one
/// byte encoded, and a [`Value`] in memory).
pub const MAX_EXPANSION: usize = 64;

/// Why bytes are not a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not the magic number: something else altogether.
    #[error("not a dormouse state (it does not begin with \"DMSTATE\")")]
    NotAState,
    /// A version this reader does not know.
    #[error(
        "the state has format version {version}, but this dormouse reads versions up to {VERSION}; \
         use a newer dormouse"
    )]
    UnsupportedVersion {
        /// The version found.
        version: u32,
    },
    /// Longer than [`MAX_STATE_LEN`].
    #[error("the state is {len} bytes long; at most {MAX_STATE_LEN} can be read")]
    TooLong {
        /// The input's length.
        len: usize,
    },
    /// The input ends too early.
    #[error("the state is truncated: it ends at byte {offset}, where more was expected")]
    Truncated {
        /// Where the value begins that is cut off.
        offset: usize,
    },
    /// A number that is not in its shortest form or too large for its field.
    #[error("malformed number at byte {offset} of the state")]
    Number {
        /// Where it begins.
        offset: usize,
    },
    /// No value begins with this byte.
    #[error("unknown value type {tag:#04x} at byte {offset} of the state")]
    UnknownValue {
        /// The byte.
        tag: u8,
        /// Where it is.
        offset: usize,
    },
    /// A name that is not UTF-8.
    #[error("the name at byte {offset} of the state is not UTF-8")]
    Name {
        /// Where its bytes begin.
        offset: usize,
    },
    /// A newer version than is needed for what it holds: no writer does that.
    #[error(
        "the state has format version {version}, but holds nothing that version \
         {VERSION_WITHOUT_HOST} does not have"
    )]
    NeedlessVersion {
        /// The version found.
        version: u32,
    },
    /// Bytes after the end.
    #[error("the state ends at byte {offset}, but {extra} more bytes follow")]
    TrailingBytes {
        /// Where the state ends.
        offset: usize,
        /// How many bytes follow.
        extra: usize,
    },
    /// Well-formed, but it breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidState),
}

impl State {
    /// Reads a state that [`State::encode`] wrote, in this or any released version.
    ///
    /// What is accepted passes [`State::check`] and encodes to the same bytes again.
    ///
    /// # Errors
    /// The input is not a state, not of a known version, or breaks a rule of the format. Memory
    /// allocated meanwhile is less than [`MAX_EXPANSION`] times the input's length.
    pub fn decode(bytes: &[u8]) -> Result<State, DecodeError> {
        let mut reader = Reader { bytes, at: 0 };
        if !bytes.starts_with(&MAGIC) {
            return Err(DecodeError::NotAState);
        }
        if bytes.len() > MAX_STATE_LEN {
            return Err(DecodeError::TooLong { len: bytes.len() });
        }
        reader.at = MAGIC.len();
        let version = u32::from_le_bytes(reader.array()?);
        if !(VERSION_WITHOUT_HOST..=VERSION).contains(&version) {
            return Err(DecodeError::UnsupportedVersion { version });
        }
        let state = reader.state(version)?;
        if version != VERSION_WITHOUT_HOST && state.host.is_empty() {
            return Err(DecodeError::NeedlessVersion { version });
        }
        if reader.at != bytes.len() {
            return Err(DecodeError::TrailingBytes {
                offset: reader.at,
                extra: bytes.len() - reader.at,
            });
        }
        state.check()?;
        Ok(state)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn state(&mut self, version: u32) -> Result<State, DecodeError> {
        Ok(State {
            module_digest: self.array()?,
            frames: self.list(4, Self::frame)?,
            globals: self.list(2, Self::indexed)?,
            tables: self
                .list(2, |r| Ok(Table { index: r.u32()?, entries: r.list(1, Self::value)? }))?,
            exceptions: self
                .list(2, |r| Ok(Exception { tag: r.u32()?, fields: r.list(1, Self::value)? }))?,
            memories: self.list(2, |r| Ok(Memory { index: r.u32()?, pages: r.u64()? }))?,
            dropped_data: self.list(1, Self::u32)?,
            dropped_elems: self.list(1, Self::u32)?,
            wasi: self.byte_string()?,
            host: match version {
                VERSION_WITHOUT_HOST => vec![],
                _ => self.list(2, Self::host)?,
            },
        })
    }

    fn host(&mut self) -> Result<HostState, DecodeError> {
        let name = self.byte_string()?;
        let offset = self.at - name.len();
        let name = String::from_utf8(name).map_err(|_| DecodeError::Name { offset })?;
        Ok(HostState { name, bytes: self.byte_string()? })
    }

    fn frame(&mut self) -> Result<Frame, DecodeError> {
        Ok(Frame {
            site: Site { func: self.u32()?, offset: self.u32()? },
            locals: self.list(2, Self::indexed)?,
            operands: self.list(1, Self::value)?,
        })
    }

    fn indexed(&mut self) -> Result<(u32, Value), DecodeError> {
        Ok((self.u32()?, self.value()?))
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        let offset = self.at;
        let [tag] = self.array()?;
        Ok(match tag {
            TAG_I32 => Value::I32(u32::from_le_bytes(self.array()?)),
            TAG_I64 => Value::I64(u64::from_le_bytes(self.array()?)),
            TAG_F32 => Value::F32(u32::from_le_bytes(self.array()?)),
            TAG_F64 => Value::F64(u64::from_le_bytes(self.array()?)),
            TAG_V128 => Value::V128(u128::from_le_bytes(self.array()?)),
            TAG_FUNC => Value::FuncRef(Some(self.u32()?)),
            TAG_NULL_FUNC => Value::FuncRef(None),
            TAG_NULL_EXTERN => Value::ExternRefNull,
            TAG_EXN => Value::ExnRef(Some(self.u32()?)),
            TAG_NULL_EXN => Value::ExnRef(None),
            _ => return Err(DecodeError::UnknownValue { tag, offset }),
        })
    }

    /// A count and that many items of at least `least` bytes each.
    fn list<T>(
        &mut self,
        least: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let offset = self.at;
        let count = self.u64()?;
        let room = (self.rest().len() / least) as u64;
        if count > room {
            return Err(DecodeError::Truncated { offset });
        }
        let mut items = Vec::with_capacity(count as usize);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn byte_string(&mut self) -> Result<Vec<u8>, DecodeError> {
        let offset = self.at;
        let len = self.u64()?;
        let rest = self.rest();
        if len > rest.len() as u64 {
            return Err(DecodeError::Truncated { offset });
        }
        let bytes = rest[..len as usize].to_vec();
        self.at += bytes.len();
        Ok(bytes)
    }

    #[inline]
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(array) = self.rest().first_chunk::<N>().copied() else {
            return Err(DecodeError::Truncated { offset: self.at });
        };
        self.at += N;
        Ok(array)
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        match leb::read(self.rest()) {
            Ok((value, len)) => {
                self.at += len;
                Ok(value)
            }
            Err(LebError::Truncated) => Err(DecodeError::Truncated { offset: self.at }),
            Err(LebError::Malformed) => Err(DecodeError::Number { offset: self.at }),
        }
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, DecodeError> {
        let offset = self.at;
        u32::try_from(self.u64()?).map_err(|_| DecodeError::Number { offset })
    }
}
