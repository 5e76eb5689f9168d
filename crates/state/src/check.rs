//! The rules a state must keep before it may be made durable, and after it was decoded.
//!
//! ```text
//!   frames          1 ..= MAX_FRAMES
//!     locals        indices strictly ascending, below MAX_LOCALS
//!     operands      at most MAX_OPERANDS
//!   globals         indices strictly ascending
//!   tables          indices strictly ascending, entries all funcref, all externref or all exnref
//!   exceptions      at most MAX_EXCEPTIONS, each with at most MAX_FIELDS values; those among the
//!                   values come earlier in the list; every other reference names one of the list
//!   memories        indices strictly ascending, at most MAX_MEMORY_PAGES each
//!   dropped_*       strictly ascending
//!   wasi            at most MAX_WASI_LEN bytes
//!   host            at most MAX_HOST_STATES, names of 1 ..= MAX_HOST_NAME bytes strictly ascending,
//!                   together at most MAX_HOST_LEN bytes
//! ```
//!
//! One place holds them: [`State::decode`] calls [`State::check`] on what it has read.

use crate::{State, Value};

/// Bytes an encoded state may have.
pub const MAX_STATE_LEN: usize = 1 << 30;
/// Frames a state may have. A wasm stack of 1 GiB holds fewer.
pub const MAX_FRAMES: usize = 1 << 24;
/// Locals a function may have: the limit engines agreed on for WebAssembly on the web.
pub const MAX_LOCALS: u32 = 50_000;
/// Operands a frame may hold.
pub const MAX_OPERANDS: usize = 1 << 20;
/// Globals a module may have: the limit engines agreed on.
pub const MAX_GLOBALS: u32 = 1_000_000;
/// Tables a module may have: the limit engines agreed on.
pub const MAX_TABLES: u32 = 100_000;
/// Entries of all tables together: six times what engines agreed on for one.
pub const MAX_TABLE_ENTRIES: usize = 1 << 26;
/// Exceptions that values may refer to.
pub const MAX_EXCEPTIONS: usize = 1 << 24;
/// Values an exception may carry: the limit engines agreed on for parameters, which these are.
pub const MAX_FIELDS: usize = 1_000;
/// Memories a module may have; engines agreed on 100.
pub const MAX_MEMORIES: u32 = 1_000;
/// Pages of 64 KiB one memory may have: a full 64-bit address space.
pub const MAX_MEMORY_PAGES: u64 = 1 << 48;
/// Data or element segments a module may have.
pub const MAX_SEGMENTS: u32 = 10_000_000;
/// Bytes of the WASI section.
pub const MAX_WASI_LEN: usize = 1 << 28;
/// States of host functions.
pub const MAX_HOST_STATES: usize = 1_000;
/// Bytes of the name of one.
pub const MAX_HOST_NAME: usize = 256;
/// Bytes of all states of host functions together, without names.
pub const MAX_HOST_LEN: usize = 1 << 28;

/// A part of a state, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum What {
    /// The frames.
    Frames,
    /// A frame's locals.
    Locals,
    /// A frame's operands.
    Operands,
    /// The globals.
    Globals,
    /// The tables.
    Tables,
    /// The entries of the tables.
    TableEntries,
    /// The exceptions.
    Exceptions,
    /// The values of an exception.
    Fields,
    /// The memories.
    Memories,
    /// A memory's pages.
    MemoryPages,
    /// The dropped data segments.
    DroppedData,
    /// The dropped element segments.
    DroppedElems,
    /// The WASI section.
    Wasi,
    /// The states of host functions.
    Host,
    /// The name of one.
    HostName,
    /// Their bytes.
    HostBytes,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            What::Frames => "frames",
            What::Locals => "locals of a frame",
            What::Operands => "operands of a frame",
            What::Globals => "globals",
            What::Tables => "tables",
            What::TableEntries => "table entries",
            What::Exceptions => "exceptions",
            What::Fields => "values of an exception",
            What::Memories => "memories",
            What::MemoryPages => "pages of a memory",
            What::DroppedData => "dropped data segments",
            What::DroppedElems => "dropped element segments",
            What::Wasi => "bytes of WASI state",
            What::Host => "states of host functions",
            What::HostName => "bytes in the name of a host function's state",
            What::HostBytes => "bytes of host functions' states",
        })
    }
}

/// A rule of the state that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidState {
    /// There is no frame to go on from.
    #[error("the state has no frames")]
    NoFrames,
    /// More than this version of the format can carry.
    #[error("the state has {count} {what}; at most {limit} can be carried")]
    TooMany {
        /// Of what.
        what: What,
        /// How many there are; for things named by index, the index plus one.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Indices are not strictly ascending.
    #[error("the {what} are not in strictly ascending order at index {index}")]
    Order {
        /// Of what.
        what: What,
        /// The index that is not greater than the one before it.
        index: u32,
    },
    /// A table holds something other than references of one kind.
    #[error("table {table} holds a value at {entry} that is not of the table's reference type")]
    TableEntry {
        /// The table's index.
        table: u32,
        /// The entry's index.
        entry: usize,
    },
    /// The name of a host function's state is empty, or not greater than the one before it.
    #[error("the state of host functions {name:?} has no name, or is not in ascending order")]
    HostName {
        /// The name.
        name: String,
    },
    /// A value refers to an exception that does not exist, or not before the one that holds it.
    #[error("a value refers to exception {index}, but there are {count} it could refer to")]
    NoException {
        /// The index.
        index: u32,
        /// Exceptions that may be referred to there.
        count: usize,
    },
}

/// References to exceptions are to the first `known`.
fn exceptions<'v>(
    values: impl Iterator<Item = &'v Value>,
    known: usize,
) -> Result<(), InvalidState> {
    for value in values {
        if let Value::ExnRef(Some(index)) = *value
            && index as usize >= known
        {
            return Err(InvalidState::NoException { index, count: known });
        }
    }
    Ok(())
}

fn count(what: What, count: usize, limit: usize) -> Result<(), InvalidState> {
    if count > limit {
        return Err(InvalidState::TooMany { what, count: count as u64, limit: limit as u64 });
    }
    Ok(())
}

/// Strictly ascending and below `limit`; so the count is bounded too.
fn ascending(
    what: What,
    limit: u32,
    indices: impl Iterator<Item = u32>,
) -> Result<(), InvalidState> {
    let mut least = 0u64;
    for index in indices {
        if u64::from(index) < least {
            return Err(InvalidState::Order { what, index });
        }
        if index >= limit {
            let count = u64::from(index) + 1;
            return Err(InvalidState::TooMany { what, count, limit: u64::from(limit) });
        }
        least = u64::from(index) + 1;
    }
    Ok(())
}

impl State {
    /// Checks that the state can be carried: whatever passes is decoded again from its encoding.
    ///
    /// # Errors
    /// The first rule that does not hold.
    pub fn check(&self) -> Result<(), InvalidState> {
        if self.frames.is_empty() {
            return Err(InvalidState::NoFrames);
        }
        count(What::Frames, self.frames.len(), MAX_FRAMES)?;
        let known = self.exceptions.len();
        count(What::Exceptions, known, MAX_EXCEPTIONS)?;
        for (i, exception) in self.exceptions.iter().enumerate() {
            count(What::Fields, exception.fields.len(), MAX_FIELDS)?;
            exceptions(exception.fields.iter(), i)?;
        }
        for frame in &self.frames {
            exceptions(frame.locals.iter().map(|l| &l.1).chain(&frame.operands), known)?;
            ascending(What::Locals, MAX_LOCALS, frame.locals.iter().map(|l| l.0))?;
            count(What::Operands, frame.operands.len(), MAX_OPERANDS)?;
        }
        ascending(What::Globals, MAX_GLOBALS, self.globals.iter().map(|g| g.0))?;
        exceptions(self.globals.iter().map(|g| &g.1), known)?;
        ascending(What::Tables, MAX_TABLES, self.tables.iter().map(|t| t.index))?;
        let mut entries = 0usize;
        for table in &self.tables {
            entries = entries.saturating_add(table.entries.len());
            count(What::TableEntries, entries, MAX_TABLE_ENTRIES)?;
            let first = table.entries.first().map(std::mem::discriminant);
            let wrong = table.entries.iter().position(|entry| match entry {
                Value::FuncRef(_) | Value::ExternRefNull | Value::ExnRef(_) => {
                    Some(std::mem::discriminant(entry)) != first
                }
                _ => true,
            });
            if let Some(entry) = wrong {
                return Err(InvalidState::TableEntry { table: table.index, entry });
            }
            exceptions(table.entries.iter(), known)?;
        }
        ascending(What::Memories, MAX_MEMORIES, self.memories.iter().map(|m| m.index))?;
        for memory in &self.memories {
            if memory.pages > MAX_MEMORY_PAGES {
                return Err(InvalidState::TooMany {
                    what: What::MemoryPages,
                    count: memory.pages,
                    limit: MAX_MEMORY_PAGES,
                });
            }
        }
        ascending(What::DroppedData, MAX_SEGMENTS, self.dropped_data.iter().copied())?;
        ascending(What::DroppedElems, MAX_SEGMENTS, self.dropped_elems.iter().copied())?;
        count(What::Wasi, self.wasi.len(), MAX_WASI_LEN)?;
        count(What::Host, self.host.len(), MAX_HOST_STATES)?;
        let (mut before, mut bytes) = ("", 0usize);
        for state in &self.host {
            count(What::HostName, state.name.len(), MAX_HOST_NAME)?;
            // The empty name is not greater than any.
            if *state.name <= *before {
                return Err(InvalidState::HostName { name: state.name.clone() });
            }
            before = &state.name;
            bytes = bytes.saturating_add(state.bytes.len());
            count(What::HostBytes, bytes, MAX_HOST_LEN)?;
        }
        Ok(())
    }
}
