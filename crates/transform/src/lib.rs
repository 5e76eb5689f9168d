//! Wasm to Wasm: gives a module safepoints, and makes continuations that go on from saved frames.
//!
//! ```text
//!   original ──Program::new──> Program ──instrument()──> main module (run it)
//!                                 │
//!                                 ├──frame()/push()────> frames memory <-> (function, offset), values
//!                                 └──continuations()───> small module per set of safepoints
//! ```
//!
//! Nothing here knows an engine, an operating system or a CPU. The files, in the order a module
//! walks through them: `module` (parse), `features` and `gc` (refusals), `legacy` and `offsets` (the
//! first form of exception handling, rewritten), `rounds` (loops that end soon) and `reach` (who can be stopped),
//! `body` and `liveness` (one function), `layout` (its frames), `emit` (code with safepoints),
//! `helpers`, `segments`, `instrument` (main module), `continuation` (the rest of a function), `frames` (saved bytes),
//! `origin` (backtraces), `standalone` (a state as a module of its own), `checkpointable` (one for other embedders), `coredump`.
//!
//! ```
//! use dormouse_transform::{Options, Program};
//! let wasm = wat::parse_str("(module (func (export \"_start\") (loop (br 0))))").unwrap();
//! let program = Program::new(wasm.into(), &Options::default()).unwrap();
//! let main = program.instrument().unwrap();
//! let continuation = program.continuations(&[0]).unwrap();
//! assert!(main.starts_with(b"\0asm") && continuation.starts_with(b"\0asm"));
//! ```
#![deny(missing_docs)]

mod body;
mod checkpointable;
mod continuation;
mod coredump;
mod dispatch;
mod emit;
mod error;
mod exits;
mod features;
mod frames;
mod gc;
mod helpers;
mod instrument;
mod layout;
mod legacy;
mod limits;
mod liveness;
mod module;
pub mod names;
mod offsets;
mod origin;
mod reach;
mod rounds;
mod segments;
mod standalone;
mod work;

pub use checkpointable::Captured;
pub use continuation::MAIN;
pub use error::{Error, Result};
pub use features::uses_atomics;
pub use frames::{Cell, FramesMemory, SavedFrame};
pub use layout::{Hierarchy, Kind, Layout, Site, Source};
pub use module::Import;
pub use offsets::OffsetMap;
pub use origin::{DebugInfo, Origins};
pub use standalone::{Glue, GlueFunction, GlueImport, Memories, Snapshot, Step};
pub use wasm_encoder::{BlockType, Instruction, MemArg};
pub use wasmparser::ValType;
#[doc(hidden)]
pub use work::work;

use body::Body;
use dispatch::Dispatch;
use dormouse_state::State;
use layout::Sites;
use module::Module;
use reach::Reach;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use wasmparser::RefType;

/// Changes whenever the same module would be instrumented differently: part of cache keys.
pub const VERSION: u32 = 14;

/// How a poll reads the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Poll {
    /// An atomic load: never hoisted out of a loop, a plain load on x86-64.
    Atomic,
    /// A store before a plain load, for engines without atomics (Pulley).
    Store,
    /// Counts safepoints down in the control memory: for chaos testing.
    Counted,
}

/// Functions that have a safepoint at their entry though they need none. Of those that need one everybody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// All that the module defines, and they are polled.
    pub all: bool,
    /// There may be frames of these that wait at their entry, and of their callers; the program does not stop there.
    /// Imported ones may be among them.
    pub known: Arc<[u32]>,
    /// Each time one of these is entered, [`names::control::ENTRIES`] is counted down; the program stops before it does
    /// anything if that comes to 0. Of imported ones it stops before the call.
    pub watched: Arc<[u32]>,
}

/// Options of the transform.
#[derive(Clone, Debug)]
pub struct Options {
    /// How polls look.
    pub poll: Poll,
    /// Which imported functions can be interrupted without effect and be called again:
    /// module name, function name.
    pub restartable: fn(&str, &str) -> bool,
    /// Poll in every loop, also where it ends soon by itself: for tests, which want many safepoints.
    pub every_loop: bool,
    /// Where else the program can be stopped.
    pub entries: Entries,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            poll: Poll::Atomic,
            restartable: |_, _| true,
            every_loop: false,
            entries: Entries::default(),
        }
    }
}

/// An analysed module.
pub struct Program {
    module: Module,
    reach: Reach,
    poll: Poll,
    restartable: Vec<bool>,
    /// Per import: it is so without a debugger's help.
    blocking: Vec<bool>,
    dispatch: Dispatch,
    /// First slot of each function, and the number of all slots.
    first_slot: Vec<u32>,
    /// Sites of functions that have been asked for.
    known: Mutex<HashMap<u32, Arc<Sites>>>,
}

/// What the engine must save of a module besides its frames.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Mutable globals: index and type.
    pub globals: Vec<(u32, ValType)>,
    /// Tables that the program can write.
    pub tables: Vec<u32>,
    /// Number of memories.
    pub memories: u32,
    /// Number of data segments, then of element segments: flags in the control memory.
    pub segments: (u32, u32),
    /// Functions whose references the program can hold.
    pub references: Vec<u32>,
    /// Number of tags: kinds of exceptions.
    pub tags: u32,
}

impl Inventory {
    /// The data segments, and the element segments, whose flags ([`names::control::DROPPED`]) are not 0.
    pub fn dropped(&self, flags: &[u8]) -> (Vec<u32>, Vec<u32>) {
        let (datas, elems) = self.segments;
        let set = |from: u32, n: u32| {
            let is_set = |i: &u32| flags.get((from + i) as usize).is_some_and(|flag| *flag != 0);
            (0..n).filter(is_set).collect()
        };
        (set(0, datas), set(datas, elems))
    }
}

impl Program {
    /// Parses, validates and analyses a module.
    ///
    /// # Errors
    /// Anything that is not a valid module, or uses what cannot be carried, by name.
    pub fn new(bytes: Arc<[u8]>, options: &Options) -> Result<Program> {
        let module = Module::parse(bytes)?;
        let mut restartable: Vec<bool> =
            module.imports.iter().map(|i| (options.restartable)(&i.module, &i.name)).collect();
        let blocking = restartable.clone();
        let Entries { all, known, watched } = &options.entries;
        let marks = |list: &[u32]| {
            let mut marks = vec![false; module.funcs.len()];
            list.iter()
                .for_each(|&f| marks.get_mut(f as usize).into_iter().for_each(|m| *m = true));
            marks
        };
        let (known, watched) = (marks(known), marks(watched));
        // A stub can do it of any import.
        for (i, can) in restartable.iter_mut().enumerate() {
            *can |= known[i] || watched[i];
        }
        let more =
            reach::More { every_loop: options.every_loop, every_entry: *all, known, watched };
        let reach = Reach::compute(&module, &restartable, &more)?;
        let mut first_slot = Vec::with_capacity(module.funcs.len() + 1);
        let mut next = 0u32;
        for f in 0..module.funcs.len() {
            first_slot.push(next);
            next += match restartable.get(f) {
                Some(&import) => u32::from(import),
                None if reach.is_framed(f as u32) => 1 + reach.site_counts[f],
                None => 0,
            };
        }
        first_slot.push(next);
        let (poll, known) = (options.poll, Mutex::default());
        let dispatch = Dispatch::new(&module, &reach);
        Ok(Program { module, reach, poll, restartable, blocking, dispatch, first_slot, known })
    }

    /// The main module: the original with safepoints.
    pub fn instrument(&self) -> Result<Vec<u8>> {
        instrument::instrument(self)
    }

    /// Whether [`Program::instrument`] accepts every function: looks at all safepoints, which
    /// [`Program::new`] leaves until they are needed.
    ///
    /// # Errors
    /// A value that cannot be saved and is alive at a safepoint, or what is too large with safepoints.
    pub fn check(&self) -> Result<()> {
        self.instrument().map(drop)
    }

    /// A module with the continuations of these slots, exported as [`names::continuation`].
    pub fn continuations(&self, slots: &[u32]) -> Result<Vec<u8>> {
        continuation::continuations(self, slots)
    }

    /// Number of safepoints.
    pub fn slots(&self) -> u32 {
        self.first_slot[self.first_slot.len() - 1]
    }

    /// The imported functions.
    pub fn imports(&self) -> &[Import] {
        &self.module.imports
    }

    /// The module that was analysed: the original, or what it was translated to if it uses the first
    /// form of exception handling; then [`OffsetMap::of`] tells its offsets in the original.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.module.bytes
    }

    /// The index of the function exported under this name.
    pub fn exported_function(&self, name: &str) -> Option<u32> {
        let is = |e: &&(String, wasmparser::ExternalKind, u32)| {
            e.0 == name && e.1 == wasmparser::ExternalKind::Func
        };
        self.module.exports.iter().find(is).map(|e| e.2)
    }

    /// All functions that are exported, by name.
    pub fn exported_functions(&self) -> Vec<(String, u32)> {
        let all = self.module.exports.iter().filter(|e| e.1 == wasmparser::ExternalKind::Func);
        all.map(|e| (e.0.clone(), e.2)).collect()
    }

    /// The index of the memory exported under this name.
    pub fn exported_memory(&self, name: &str) -> Option<u32> {
        let is = |e: &&(String, wasmparser::ExternalKind, u32)| {
            e.0 == name && e.1 == wasmparser::ExternalKind::Memory
        };
        self.module.exports.iter().find(is).map(|e| e.2)
    }

    /// A name under which a function is exported.
    pub fn export_of(&self, func: u32) -> Option<&str> {
        let is = |e: &&(String, wasmparser::ExternalKind, u32)| {
            e.2 == func && e.1 == wasmparser::ExternalKind::Func
        };
        self.module.exports.iter().find(is).map(|e| e.0.as_str())
    }

    /// The module's start function.
    pub fn start_function(&self) -> Option<u32> {
        self.module.start
    }

    /// How many functions there are, imports included, and how many cannot be stopped inside.
    pub fn function_counts(&self) -> (usize, usize) {
        let all = self.module.funcs.len();
        (all, self.reach.may_unwind.iter().filter(|u| !**u).count())
    }

    /// What has to be saved besides frames.
    pub fn inventory(&self) -> Inventory {
        let m = &self.module;
        let globals = m
            .globals
            .iter()
            .enumerate()
            .filter(|(_, g)| g.mutable)
            .map(|(i, g)| (i as u32, g.content_type))
            .collect();
        let tables = (0..m.tables.len() as u32).filter(|&t| !self.table_is_fixed(t)).collect();
        let mut references = m.referenced.clone();
        references.extend(&self.reach.uses.ref_func);
        references.sort_unstable();
        references.dedup();
        Inventory {
            globals,
            tables,
            memories: m.memories.len() as u32,
            segments: (m.datas.len() as u32, m.elems.len() as u32),
            references,
            tags: m.tags.len() as u32,
        }
    }

    /// Whether a reference to this function, or null, may stand where the module has this type.
    pub fn function_fits(&self, func: Option<u32>, ty: ValType) -> bool {
        let ValType::Ref(r) = ty else { return false };
        match func {
            None => r.is_nullable() && Hierarchy::of(ty) == Some(Hierarchy::Func),
            Some(f) => {
                let Some(&actual) = self.module.funcs.get(f as usize) else { return false };
                match r.type_index().and_then(|i| i.as_module_index()) {
                    Some(wanted) => self.module.is_subtype(actual, wanted),
                    None => r.nullable() == RefType::FUNCREF,
                }
            }
        }
    }

    /// The functions of a state that wait where this program knows no safepoint, because a debugger stopped them: with these
    /// [known](Entries::known) it does.
    pub fn stopped_elsewhere(&self, state: &State) -> Vec<u32> {
        // Calls that wait have no code to go on from.
        let calls = state.frames.iter().take_while(|f| f.site.offset == 0).count();
        let calls = calls.min(state.frames.len().saturating_sub(1));
        // A deep recursion has the same ones again and again.
        let frames = state.frames[calls..].chunk_by(|a, b| a.site == b.site);
        let sites: BTreeSet<(u32, u32)> =
            frames.map(|same| (same[0].site.func, same[0].site.offset)).collect();
        let knows = |func: u32, offset| {
            let found = self.sites(func);
            found.is_ok_and(|sites| sites.at_offset(offset).is_some())
        };
        let mut unknown: Vec<u32> =
            sites.into_iter().filter(|&(f, offset)| !knows(f, offset)).map(|s| s.0).collect();
        unknown.dedup();
        unknown
    }

    /// Whether a counting program counts the safepoint of a slot when it goes on from there.
    pub fn is_counted(&self, slot: u32) -> Result<bool> {
        let (func, site) = self.site(slot)?;
        Ok(match site.kind {
            Kind::Entry => match self.blocking.get(func as usize) {
                Some(&blocking) => blocking,
                None => self.reach.entry_poll[func as usize],
            },
            _ => true,
        })
    }

    /// Whether a slot is a watched entry.
    pub fn is_watched(&self, slot: u32) -> Result<bool> {
        let (func, site) = self.site(slot)?;
        Ok(site.kind == Kind::Entry && self.reach.watched[func as usize])
    }

    /// The function a slot belongs to.
    pub(crate) fn function_of(&self, slot: u32) -> Result<u32> {
        if slot >= self.slots() {
            return Err(Error::Frames("slot number out of range"));
        }
        Ok(self.first_slot.partition_point(|&s| s <= slot) as u32 - 1)
    }

    /// The safepoint of a slot, and its function.
    pub fn site(&self, slot: u32) -> Result<(u32, Site)> {
        let func = self.function_of(slot)?;
        Ok((func, self.sites(func)?.numbered(slot)?.clone()))
    }

    /// All safepoints of a function.
    pub(crate) fn sites(&self, func: u32) -> Result<Arc<Sites>> {
        if func as usize >= self.module.funcs.len() {
            return Err(Error::NoSuchSite { func, offset: 0 });
        }
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(s) = known.get(&func) {
            return Ok(s.clone());
        }
        let body = if self.module.imported(func) {
            self.stub_body(func)
        } else {
            Body::decode(&self.module, func)?
        };
        let sites = Arc::new(self.sites_of(&body)?);
        known.insert(func, sites.clone());
        Ok(sites)
    }

    pub(crate) fn sites_of(&self, body: &Body<'_>) -> Result<Sites> {
        let f = body.func as usize;
        let first = self.first_slot[f];
        if self.module.imported(body.func) {
            if !self.restartable[f] {
                return Ok(Sites::default());
            }
            let layout =
                Layout::of_params(self.module.func_type(body.func).params()).ok_or_else(|| {
                    Error::unsupported("an import that takes references that cannot be saved", 0)
                })?;
            let site = Site::new(first, Kind::Entry, true, 0, layout);
            let watches_entry = self.reach.watched[f];
            return Ok(Sites { list: vec![site], watches_entry, ..Default::default() }.sharing());
        }
        if !self.reach.is_framed(body.func) {
            return Ok(Sites::default());
        }
        layout::sites(&self.module, &self.reach, first, body)
    }

    /// An imported function seen as a body without instructions.
    pub(crate) fn stub_body(&self, func: u32) -> Body<'_> {
        Body::without_code(func, self.module.func_type(func).params())
    }

    /// The program never writes this table, so its contents follow from the module.
    pub(crate) fn table_is_fixed(&self, table: u32) -> bool {
        !self.reach.uses.written_tables.contains(&table)
    }

    /// Size of the control memory in pages.
    pub(crate) fn control_pages(&self) -> u64 {
        let flags = (self.module.datas.len() + self.module.elems.len()) as u64;
        (names::control::DROPPED + flags).div_ceil(65536)
    }
}
