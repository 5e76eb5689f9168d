//! What a checkpoint holds, and how two of them differ: for people who look into a saved program.
//!
//! ```text
//!   checkpoint ──> module    Symbols   names of functions, locals, globals, tables, memories
//!              │             dwarf     lines of source code, variables; bounded, as it may be a stranger's
//!              ├─> state     Frame     the stack: name, lines, variables, locals, operands
//!              │             globals, tables, open files, clocks
//!              └─> layers    Heat      zero pages, and those that changed since another checkpoint
//!                            Bytes     what a memory holds, and the texts in it
//!   two checkpoints ──────── Changes   frames, globals, tables, pages, open files, files
//! ```
//!
//! An [`Inspection`] is all of it, and as JSON is what `dormouse inspect --json` prints. Nothing here runs the program or needs
//! an engine.
//!
//! ```
//! # use dormouse::{Job, Outcome, look::Inspection};
//! # use dormouse_store::Store;
//! # let dir = tempfile::tempdir()?;
//! let module = wat::parse_str(r#"(module (memory (export "memory") 1)
//!     (func $count (export "_start") (local $n i32)
//!         (loop (br_if 0 (i32.lt_u
//!             (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 50000000))))))"#)?;
//! let job = Job::new(dir.path()).name("count").stop_at(500);
//! assert!(matches!(job.run("count.wasm", module.into(), vec![])?, Outcome::Stopped { .. }));
//!
//! let checkpoint = Store::open(dir.path())?.load("count", None)?;
//! let seen = Inspection::of(&checkpoint, None)?;
//! let frame = &seen.frames[0];
//! assert_eq!(&*frame.name, "count");
//! assert_eq!(frame.locals[0].name.as_deref(), Some("n"));
//! assert_eq!(frame.locals[0].value.to_string(), "499");
//! assert_eq!(seen.memories[0].heat.total.zero, 16);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod changes;
mod demangle;
mod dwarf;
mod files;
mod frames;
mod heat;
mod memory;
mod symbols;
mod values;

pub use changes::{
    Addresses, Change, Changes, ElementChange, FrameChange, FrameChanges, GlobalChange,
    MemoryChange, Pair, TableChange, changes,
};
pub use demangle::demangled;
pub use files::File;
pub use frames::{Frame, Line, Local, Variable};
pub use heat::{CELLS, Cell, Heat};
pub use memory::{Bytes, Text};
pub use symbols::Symbols;
pub use values::Typed;

use crate::{Result, annotations};
use dormouse_state::Value;
use dormouse_store::{Checkpoint, CheckpointInfo, Store};
use dormouse_wasi::{Description, Wasi};
use dwarf::Source;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// Entries of a table that are told, of those that are not null.
const ENTRIES: usize = 65_536;
/// Data segments of a memory that are told.
const SEGMENTS: usize = 1_000;

/// All that a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// Which checkpoint.
    #[serde(flatten)]
    pub checkpoint: Summary,
    /// The stack, innermost first.
    pub frames: Vec<Frame>,
    /// What became of the module's debugging information.
    pub dwarf: Dwarf,
    /// Its linear memories.
    pub memories: Vec<Memory>,
    /// The checkpoint that memories were compared with, as `job@N`.
    pub compared_with: Option<String>,
    /// Globals that can be set.
    pub globals: Vec<Global>,
    /// Tables that the program can write.
    pub tables: Vec<Table>,
    /// Data segments that have been dropped.
    pub dropped_data: Vec<u32>,
    /// Element segments that have been dropped.
    pub dropped_elems: Vec<u32>,
    /// Arguments, environment, directories, open files, clocks.
    pub wasi: Description,
    /// Imports that only an embedder has, as `module.name`.
    pub host_functions: Vec<String>,
    /// What those remember.
    pub host_states: Vec<HostState>,
    /// What a resume does for each file.
    pub files: Vec<File>,
}

/// A checkpoint as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// `job@N`.
    pub name: String,
    /// Its job.
    pub job: String,
    /// Its number.
    pub number: u64,
    /// When it was saved: RFC 3339, UTC.
    pub created: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Digest of the module.
    pub module_digest: String,
    /// Bytes of the state.
    pub state_size: u64,
    /// Bytes of the module.
    pub module_size: u64,
    /// Bytes of the memory layers, compressed.
    pub memory_size: u64,
    /// Bytes of the layers of files, compressed.
    pub files_size: u64,
    /// What else it remembers: see [`annotations`].
    pub annotations: BTreeMap<String, String>,
}

/// What became of a module's debugging information (DWARF).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dwarf {
    /// There is none.
    None,
    /// It was read.
    Read,
    /// Some of it is damaged, and not told.
    Damaged,
    /// It is so large that not all of it was read.
    Large,
}

/// A linear memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Index in the module.
    pub index: u32,
    /// From the name section, else as it is exported or imported.
    pub name: Option<String>,
    /// Pages of 64 KiB.
    pub pages: u64,
    /// Its size.
    pub bytes: u64,
    /// Which of its pages hold anything and which changed.
    pub heat: Heat,
    /// What the module puts there at the beginning; at most a thousand segments.
    pub segments: Vec<Segment>,
}

/// A data segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// From the name section.
    pub name: Option<String>,
    /// Its address.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
}

/// A global that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Global {
    /// Index in the module.
    pub index: u32,
    /// From the name section, else as it is exported or imported.
    pub name: Option<String>,
    /// What it holds.
    #[serde(flatten)]
    pub value: Typed,
}

/// A table that the program can write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Table {
    /// Index in the module.
    pub index: u32,
    /// From the name section, else as it is exported or imported.
    pub name: Option<String>,
    /// How many entries it has.
    pub entries: usize,
    /// How many of them are not null.
    pub set: usize,
    /// The first 65,536 of those.
    pub elements: Vec<Element>,
}

/// An entry of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Element {
    /// Its index.
    pub at: usize,
    /// What it holds.
    #[serde(flatten)]
    pub value: Typed,
}

/// What a host function of an embedder's own remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostState {
    /// What the embedder calls it.
    pub name: String,
    /// Bytes of it.
    pub bytes: usize,
}

impl Inspection {
    /// Looks into a checkpoint. Its memories are compared with those of `before`, if one is given; [`previous`] finds one.
    ///
    /// # Errors
    /// If pages or WASI objects cannot be read. What is wrong with names or debugging information is no error.
    pub fn of(checkpoint: &Checkpoint, before: Option<&Checkpoint>) -> Result<Inspection> {
        let state = &checkpoint.state;
        let funcs: HashSet<u32> = state.frames.iter().map(|frame| frame.site.func).collect();
        let symbols = Symbols::of(&checkpoint.module, &funcs);
        let source = Source::of(checkpoint);
        let frames = frames::stack(checkpoint, &symbols, &source);
        let before = before.filter(|before| before.state.module_digest == state.module_digest);
        let heats = |before| -> Result<Vec<Heat>> {
            let memories = state.memories.iter();
            memories.map(|m| Heat::of(checkpoint, before, m.index, CELLS)).collect()
        };
        // Damage of another checkpoint does not hide this one.
        let (heats, before) = match (heats(before), before) {
            (Err(_), Some(_)) => (heats(None)?, None),
            (heats, before) => (heats?, before),
        };
        let memories = state.memories.iter().zip(heats).map(|(m, heat)| Memory {
            index: m.index,
            name: symbols.memory(m.index).map(str::to_owned),
            pages: m.pages,
            bytes: m.pages.saturating_mul(65536),
            heat,
            segments: segments(&symbols, m.index),
        });
        let memories = memories.collect();
        let wasi = Wasi::describe(&state.wasi)?;
        let rule = checkpoint.info.annotations.get(annotations::FILES);
        let host = state.host.iter();
        Ok(Inspection {
            checkpoint: Summary::of(&checkpoint.info),
            frames,
            dwarf: source.dwarf(),
            memories,
            compared_with: before.map(|before| before.info.name()),
            globals: state.globals.iter().map(|&(g, value)| global(&symbols, g, value)).collect(),
            tables: state.tables.iter().map(|t| table(&symbols, t)).collect(),
            dropped_data: state.dropped_data.clone(),
            dropped_elems: state.dropped_elems.clone(),
            host_functions: symbols.host_functions().to_vec(),
            host_states: host
                .map(|s| HostState { name: s.name.clone(), bytes: s.bytes.len() })
                .collect(),
            files: files::files(checkpoint.files(), rule, &wasi),
            wasi,
        })
    }
}

/// The stack of a checkpoint, innermost first: what [`Inspection::frames`] has.
pub fn stack(checkpoint: &Checkpoint) -> Vec<Frame> {
    let frames = &checkpoint.state.frames;
    let funcs: HashSet<u32> = frames.iter().map(|frame| frame.site.func).collect();
    let symbols = Symbols::of(&checkpoint.module, &funcs);
    frames::stack(checkpoint, &symbols, &Source::of(checkpoint))
}

/// The checkpoint of the same job that was saved before this one, if there is one and it can be read.
pub fn previous(store: &Store, info: &CheckpointInfo) -> Option<Checkpoint> {
    let all = store.list(&info.job).ok()?;
    let before = all.iter().map(|c| c.number).filter(|n| *n < info.number).max()?;
    store.load_lazily(&info.job, Some(before)).ok()
}

impl Summary {
    /// A checkpoint's.
    pub fn of(info: &CheckpointInfo) -> Summary {
        Summary {
            name: info.name(),
            job: info.job.clone(),
            number: info.number,
            created: info.created.clone(),
            digest: info.digest.clone(),
            module_digest: info.module_digest.clone(),
            state_size: info.state_size,
            module_size: info.module_size,
            memory_size: info.memory_size,
            files_size: info.files_size,
            annotations: info.annotations.clone(),
        }
    }
}

fn segments(symbols: &Symbols<'_>, memory: u32) -> Vec<Segment> {
    let data = symbols.data(memory).take(SEGMENTS);
    let segment = |data: &symbols::Data<'_>| Segment {
        name: data.name.map(str::to_owned),
        start: data.start,
        bytes: data.length,
    };
    data.map(segment).collect()
}

fn global(symbols: &Symbols<'_>, index: u32, value: Value) -> Global {
    let name = symbols.global(index).map(str::to_owned);
    Global { index, name, value: Typed::of(value, symbols) }
}

fn table(symbols: &Symbols<'_>, table: &dormouse_state::Table) -> Table {
    let null = [Value::FuncRef(None), Value::ExternRefNull, Value::ExnRef(None)];
    let set = || table.entries.iter().enumerate().filter(|(_, value)| !null.contains(value));
    let element = |(at, &value): (usize, &Value)| Element { at, value: Typed::of(value, symbols) };
    Table {
        index: table.index,
        name: symbols.table(table.index).map(str::to_owned),
        entries: table.entries.len(),
        set: set().count(),
        elements: set().take(ENTRIES).map(element).collect(),
    }
}
