//! A module with safepoints that embedders of any engine can stop, and what they read out of it as a state.
//!
//! ```text
//!   main module                  as `instrument` makes it,
//!   start                        but nothing is to be called before: init_tables, init, start
//!   "dormouse.save_globals"      for embedders that cannot read the bits of a number, or a vector
//!   "dormouse.original"          a custom section: the module without safepoints
//! ```
//!
//! ```text
//!   embedder   i32 at 0 of the memory "dormouse.control" = 1          at any time, or in a call of the program's
//!   program    saves its frames and leaves: what was called returns, "dormouse.unwinding" is 1
//!   embedder   reads "dormouse.frames" up to "dormouse.sp", memories, tables, globals      = Captured
//! ```

use crate::frames::number;
use crate::helpers::encode;
use crate::instrument::{Form, write};
use crate::{Error, Hierarchy, Program, Result};
use dormouse_state::{Memory, State, Table, Value};
use wasm_encoder::{Instruction as I, MemArg};
use wasmparser::ValType;

/// What an embedder found in a stopped program. A function is its index in the original module; none is null.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// The frames memory, up to `sp`.
    pub frames: Vec<u8>,
    /// The functions in their table of references, up to its `sp`.
    pub functions: Vec<Option<u32>>,
    /// How many references to objects of the host are in theirs. All of them are null.
    pub objects: u32,
    /// Bits of the mutable globals, in their order; those of references do not count.
    pub globals: Vec<u128>,
    /// Functions that globals refer to, by their indices; those of others do not count.
    pub references: Vec<Option<u32>>,
    /// The tables, by their indices; those that the program cannot write do not count.
    pub tables: Vec<Vec<Option<u32>>>,
    /// Sizes of the memories, in pages of 64 KiB.
    pub memories: Vec<u64>,
    /// For each data segment, then for each element segment: not 0 if it was dropped.
    pub dropped: Vec<u8>,
}

impl Program {
    /// The module that embedders of any engine can stop. It wants an engine with multiple memories and tail calls.
    ///
    /// # Errors
    /// As [`Program::instrument`].
    pub fn checkpointable(&self) -> Result<Vec<u8>> {
        Ok(write(self, Form::Alone, &|_| false)?.0)
    }

    /// The state of a program that an embedder stopped; `digest` is that of the original module.
    ///
    /// # Errors
    /// What no such program can have left; references to objects of the host, and to caught exceptions.
    pub fn state(&self, captured: &Captured, digest: [u8; 32], wasi: Vec<u8>) -> Result<State> {
        if self.slots_of(&captured.frames)?.len() > dormouse_state::MAX_FRAMES {
            return Err(Error::Frames("too many frames"));
        }
        let fill = [captured.functions.len() as u32, captured.objects, 0];
        let mut frames = vec![];
        for saved in self.read_frames(&captured.frames, fill)? {
            frames.push(saved.into_frame(|hierarchy, n| match hierarchy {
                Hierarchy::Func => {
                    let function = captured.functions.get(n as usize);
                    Ok(Value::FuncRef(*function.ok_or(Error::Frames("too few references"))?))
                }
                Hierarchy::Extern => Ok(Value::ExternRefNull),
                Hierarchy::Exn => Ok(Value::ExnRef(None)),
            })?);
        }
        let inventory = self.inventory();
        let (dropped_data, dropped_elems) = inventory.dropped(&captured.dropped);
        let reference = |ty: ValType, function: Option<u32>| match Hierarchy::of(ty) {
            Some(Hierarchy::Func) => Value::FuncRef(function),
            Some(Hierarchy::Exn) => Value::ExnRef(None),
            _ => Value::ExternRefNull,
        };
        let mut bits = captured.globals.iter();
        let mut globals = vec![];
        for (index, ty) in inventory.globals {
            let bits = bits.next().ok_or(Error::Frames("too few globals"))?;
            let function = captured.references.get(index as usize).copied().flatten();
            let value = match ty {
                ValType::Ref(_) => reference(ty, function),
                _ => number(ty, *bits),
            };
            globals.push((index, value));
        }
        let mut tables = vec![];
        for index in inventory.tables {
            let entries = captured.tables.get(index as usize);
            let entries = entries.ok_or(Error::Frames("too few tables"))?.iter();
            let ty = ValType::Ref(self.module.tables[index as usize].element_type);
            let entries = entries.map(|function| reference(ty, *function)).collect();
            tables.push(Table { index, entries });
        }
        if captured.memories.len() != inventory.memories as usize {
            return Err(Error::Frames("memories are missing"));
        }
        let memories = (0..).zip(&captured.memories);
        Ok(State {
            module_digest: digest,
            frames,
            globals,
            tables,
            exceptions: vec![],
            memories: memories.map(|(index, &pages)| Memory { index, pages }).collect(),
            dropped_data,
            dropped_elems,
            wasi,
            host: vec![],
        })
    }
}

/// Calls what the engine would call first.
pub(crate) fn start(first_init: u32, start: Option<u32>) -> Vec<u8> {
    let calls = [first_init, first_init + 1].into_iter().chain(start);
    encode(&[], &calls.map(I::Call).collect::<Vec<_>>())
}

/// Writes the globals into new pages of the memory `frames`.
pub(crate) fn save_globals(p: &Program, frames: u32) -> Vec<u8> {
    let globals = p.inventory().globals;
    let pages = (globals.len() as u64 * 16).div_ceil(65536).max(1);
    let at = 0;
    let mut code = vec![
        I::I32Const(pages as i32),
        I::MemoryGrow(frames),
        I::LocalTee(at),
        I::I32Const(-1),
        I::I32Eq,
        I::If(wasm_encoder::BlockType::Empty),
        I::Unreachable,
        I::End,
        I::LocalGet(at),
        I::I32Const(16),
        I::I32Shl,
        I::LocalSet(at),
    ];
    for (offset, (index, ty)) in (0..).step_by(16).zip(globals) {
        let arg = MemArg { offset, align: 0, memory_index: frames };
        let store = match ty {
            ValType::I32 => I::I32Store(arg),
            ValType::I64 => I::I64Store(arg),
            ValType::F32 => I::F32Store(arg),
            ValType::F64 => I::F64Store(arg),
            ValType::V128 => I::V128Store(arg),
            ValType::Ref(_) => continue,
        };
        code.extend([I::LocalGet(at), I::GlobalGet(index), store]);
    }
    code.push(I::LocalGet(at));
    encode(&[ValType::I32], &code)
}
