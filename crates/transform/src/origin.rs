//! Where the instructions of an instrumented function come from, for backtraces.
//!
//! ```text
//!   instrumented module                    original module
//!   0x102  local.get 0                     0x31  local.get 0
//!   0x104  local.set $s0 ... call $f  <──  0x33  call $f        a trap or a call anywhere in here
//!   0x11b  i32.add                         0x35  i32.add        happened at 0x33
//! ```
//!
//! Nothing of this is stored: the transform is deterministic, so the module is written once more with
//! a note of each instruction's place.

use crate::{Error, OffsetMap, Program, Result, continuation, instrument};
use std::collections::HashMap;
use wasmparser::{Parser, Payload};

/// The places of one instrumented function's instructions.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// Where the original's body begins.
    pub(crate) body: u32,
    /// Offset in the instrumented module (while it is being written, in the body), offset in the
    /// original module; ascending.
    pub(crate) marks: Vec<(u32, u32)>,
}

impl Origins {
    /// The offset in the original module of what stands at `offset` in the instrumented one.
    pub fn original(&self, offset: u32) -> u32 {
        match self.marks.partition_point(|m| m.0 <= offset) {
            0 => self.body,
            n => self.marks[n - 1].1,
        }
    }
}

/// The sections with debugging information of the original module.
pub struct DebugInfo<'m> {
    /// Where the contents of the code section begin: addresses are counted from there.
    pub code: u32,
    /// The `.debug_*` sections by name.
    pub sections: HashMap<&'m str, &'m [u8]>,
}

/// Where the bodies of a module begin.
fn bodies(wasm: &[u8]) -> impl Iterator<Item = u32> {
    Parser::new(0).parse_all(wasm).flatten().filter_map(|payload| match payload {
        Payload::CodeSectionEntry(body) => Some(body.range().start as u32),
        _ => None,
    })
}

/// `start` is where the body begins; `map` leads from a translated module to the one that was given.
fn shift(origins: Option<&mut Origins>, start: u32, map: Option<&OffsetMap>) {
    let Some(origins) = origins else { return };
    let original = |offset| map.map_or(offset, |m| m.original(offset));
    origins.body = original(origins.body);
    for (at, from) in &mut origins.marks {
        *at += start;
        *from = original(*from);
    }
}

impl Program {
    /// The origins of some functions of the main module, in the order of `funcs`.
    ///
    /// # Errors
    /// As [`Program::instrument`].
    pub fn origins(&self, funcs: &[u32]) -> Result<Vec<Origins>> {
        let (wasm, mut found) =
            instrument::write(self, instrument::Form::Ours, &|f| funcs.contains(&f))?;
        let map = OffsetMap::of(&self.module.bytes);
        let first = self.module.imports.len() as u32;
        for (f, start) in (first..).zip(bodies(&wasm)) {
            shift(found.get_mut(&f), start, map.as_ref());
        }
        let missing = Error::Frames("a function that the module does not define");
        let all: Option<Vec<_>> = funcs.iter().map(|f| found.remove(f)).collect();
        all.ok_or(missing)
    }

    /// The origins of the continuations that [`Program::continuations`] writes for the same slots.
    ///
    /// # Errors
    /// As [`Program::continuations`].
    pub fn continuation_origins(&self, slots: &[u32]) -> Result<HashMap<u32, Origins>> {
        let (wasm, mut found) = continuation::write(self, slots, true)?;
        let map = OffsetMap::of(&self.module.bytes);
        let mut slots = slots.to_vec();
        slots.sort_unstable();
        slots.dedup();
        for (slot, start) in slots.iter().zip(bodies(&wasm)) {
            shift(found.get_mut(slot), start, map.as_ref());
        }
        Ok(found)
    }

    /// DWARF, if the original has any.
    pub fn debug_info(&self) -> DebugInfo<'_> {
        let mut info = DebugInfo { code: 0, sections: HashMap::new() };
        for payload in Parser::new(0).parse_all(&self.module.bytes).flatten() {
            match payload {
                Payload::CodeSectionStart { range, .. } => info.code = range.start as u32,
                Payload::CustomSection(c) if c.name().starts_with(".debug_") => {
                    info.sections.insert(c.name(), c.data());
                }
                _ => {}
            }
        }
        if let Some(map) = OffsetMap::of(&self.module.bytes) {
            info.code = map.code();
        }
        info
    }

    /// What a function is called: in the name section, else as it is exported.
    pub fn function_names(&self, funcs: &[u32]) -> Vec<Option<String>> {
        self.module.function_names(funcs)
    }
}
