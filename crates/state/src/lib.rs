//! The abstract machine of a sleeping program: everything a fresh engine needs to go on,
//! and nothing that belongs to an engine, an operating system or a CPU.
//!
//! ```text
//!   State
//!    ├─ module     digest of the ORIGINAL module
//!    ├─ frames     outermost first; (function, code offset) + locals + operand stack
//!    ├─ globals    the mutable ones, by index
//!    ├─ tables     entries as function indices (only tables the program can write)
//!    ├─ exceptions caught ones that are still referred to: tag and payload
//!    ├─ memories   sizes; their pages travel beside the state (`dormouse-store`'s memory layers)
//!    ├─ dropped    data and element segments that were dropped
//!    ├─ wasi       an opaque, versioned section owned by `dormouse-wasi`
//!    └─ host       what host functions of an embedder's own remember, by name
//! ```
//!
//! [`State::encode`] writes it as bytes, [`State::decode`] reads them; `docs/format.md` describes
//! them byte for byte. The encoding is canonical: a state has exactly one, and whatever `decode`
//! accepts, `encode` gives back unchanged.
//!
//! ```
//! use dormouse_state::{Frame, Site, State, Value};
//!
//! let state = State {
//!     module_digest: [0xab; 32],
//!     frames: vec![Frame {
//!         site: Site { func: 3, offset: 0x51 },
//!         locals: vec![(0, Value::I32(7))],
//!         operands: vec![Value::F64(1.5f64.to_bits())],
//!     }],
//!     globals: vec![(0, Value::I32(65536))],
//!     tables: vec![],
//!     exceptions: vec![],
//!     memories: vec![],
//!     dropped_data: vec![],
//!     dropped_elems: vec![],
//!     wasi: vec![],
//!     host: vec![],
//! };
//! state.check()?;
//! let bytes = state.encode();
//! assert_eq!(State::decode(&bytes)?, state);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod check;
mod decode;
mod encode;
mod leb;

pub use check::{
    InvalidState, MAX_EXCEPTIONS, MAX_FIELDS, MAX_FRAMES, MAX_GLOBALS, MAX_HOST_LEN, MAX_HOST_NAME,
    MAX_HOST_STATES, MAX_LOCALS, MAX_MEMORIES, MAX_MEMORY_PAGES, MAX_OPERANDS, MAX_SEGMENTS,
    MAX_STATE_LEN, MAX_TABLE_ENTRIES, MAX_TABLES, MAX_WASI_LEN, What,
};
pub use decode::{DecodeError, MAX_EXPANSION};
pub use encode::{MAGIC, VERSION, VERSION_WITHOUT_HOST};

/// One WebAssembly value, as bits: two values are equal if their bits are, so NaNs survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// `i32`
    I32(u32),
    /// `i64`
    I64(u64),
    /// `f32`, as its bits
    F32(u32),
    /// `f64`, as its bits
    F64(u64),
    /// `v128`, lane 0 in the least significant bits
    V128(u128),
    /// `funcref`: an index in the original module's function space, or null
    FuncRef(Option<u32>),
    /// `externref`: only null can leave the process
    ExternRefNull,
    /// `exnref`: an index in [`State::exceptions`], or null
    ExnRef(Option<u32>),
}

/// Where a frame waits. Sites are named by the original code, so they do not depend on the
/// version of the transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Function index in the original module (imports count).
    pub func: u32,
    /// Byte offset of the instruction in the original module file; of the body's first byte for
    /// a function that waits at its entry; 0 for an imported function that is to be called again.
    pub offset: u32,
}

/// One activation of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it waits.
    pub site: Site,
    /// Live locals, ascending by index (parameters are the first locals).
    pub locals: Vec<(u32, Value)>,
    /// The operand stack, bottom first.
    pub operands: Vec<Value>,
}

/// A table the program can write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Index in the original module.
    pub index: u32,
    /// All entries.
    pub entries: Vec<Value>,
}

/// A caught exception: what a new one is made of. Nobody can tell it from the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Index of its tag in the original module.
    pub tag: u32,
    /// Its payload. An exception among it comes earlier in [`State::exceptions`], since it was
    /// there before this one.
    pub fields: Vec<Value>,
}

/// A linear memory's size; the pages are stored beside the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Index in the original module.
    pub index: u32,
    /// Size in WebAssembly pages of 64 KiB.
    pub pages: u64,
}

/// What host functions of an embedder's own remember: the state does not look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostState {
    /// What the embedder calls it.
    pub name: String,
    /// Whatever is needed to make it again.
    pub bytes: Vec<u8>,
}

/// The abstract machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// SHA-256 of the original module.
    pub module_digest: [u8; 32],
    /// Frames, outermost first. Never empty.
    pub frames: Vec<Frame>,
    /// Mutable globals, ascending by index in the original module.
    pub globals: Vec<(u32, Value)>,
    /// Writable tables, ascending by index.
    pub tables: Vec<Table>,
    /// Exceptions that values refer to, by index.
    pub exceptions: Vec<Exception>,
    /// All memories, ascending by index.
    pub memories: Vec<Memory>,
    /// Data segments that have been dropped (active ones, once applied, are always dropped and
    /// not listed), ascending.
    pub dropped_data: Vec<u32>,
    /// Element segments that have been dropped, as for data.
    pub dropped_elems: Vec<u32>,
    /// The WASI objects, in `dormouse-wasi`'s own versioned encoding.
    pub wasi: Vec<u8>,
    /// What the embedder's own host functions remember, strictly ascending by name (as bytes). A state that has any is
    /// of version 2 of the format, and one that has none of version 1.
    pub host: Vec<HostState>,
}
