//! The functions of our own that the main module gets, and their bodies.
//!
//! ```wat
//!   (func $end_frame (param $slot i32) (param $at i32)
//!     local.get $at  local.get $slot  i32.store $frames
//!     local.get $at  i32.const 4  i32.add  global.set $sp
//!     ;; there is always room for one more frame
//!     i32.const 1  global.set $unwinding)
//! ```

use crate::Program;
use crate::emit::{Part, Space, heap_type, val_type};
use crate::layout::Hierarchy;
use crate::module::Module;
use crate::names::{self, control};
use wasm_encoder::{BlockType, Encode, HeapType, Instruction as I, MemArg};
use wasmparser::{RefType, ValType};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Helper {
    SaveReference(Hierarchy),
    /// Ends a frame: stores the slot, makes room for the next one, and starts unwinding.
    EndFrame,
    /// The same, with so many words of arguments that nobody looks at: vectors where more than wasm allows parameters.
    EndLargeFrame(u32),
    /// Counts a safepoint; 1 if it is the one to stop at.
    CountedPoll,
    /// The same of entries that are watched.
    CountedEntry,
    /// Calls functions of the type at this index, for continuations; its number (`dispatch`).
    Call(u32, u32),
    MemoryInit(u32, u32),
    TableInit(u32, u32),
    DataDrop(u32),
    ElemDrop(u32),
    RefFunc(u32),
    /// Some reference of a type that null does not belong to, to be returned while unwinding.
    Dummy(RefType),
    /// A function of the type at this index that is never called.
    Never(u32),
}

impl Helper {
    pub fn export_name(self) -> String {
        let p = names::PREFIX;
        match self {
            Helper::SaveReference(h) => format!("{p}save_{}", h.name()),
            Helper::EndFrame => format!("{p}end_frame"),
            Helper::EndLargeFrame(words) => format!("{p}end_large_frame_{words}"),
            Helper::CountedPoll => format!("{p}counted_poll"),
            Helper::CountedEntry => format!("{p}counted_entry"),
            Helper::Call(_, n) => format!("{p}call_{n}"),
            Helper::MemoryInit(d, m) => format!("{p}memory_init_{d}_{m}"),
            Helper::TableInit(e, t) => format!("{p}table_init_{e}_{t}"),
            Helper::DataDrop(d) => format!("{p}data_drop_{d}"),
            Helper::ElemDrop(e) => format!("{p}elem_drop_{e}"),
            Helper::RefFunc(f) => format!("{p}ref_func_{f}"),
            Helper::Dummy(r) => match r.type_index().and_then(|i| i.as_module_index()) {
                Some(i) => format!("{p}dummy_{i}"),
                None => format!("{p}dummy_{r}"),
            },
            Helper::Never(t) => format!("{p}never_{t}"),
        }
    }

    /// Only code of the main module leaves frames that are much larger than native ones.
    pub fn is_exported(self) -> bool {
        !matches!(self, Helper::EndLargeFrame(_))
    }

    pub fn ty(self, m: &Module) -> (Vec<ValType>, Vec<ValType>) {
        use ValType::I32;
        match self {
            Helper::SaveReference(h) => (vec![ValType::Ref(h.top())], vec![]),
            Helper::EndFrame => (vec![I32, I32], vec![]),
            Helper::EndLargeFrame(words) => {
                let (ty, n) = match words as usize {
                    n @ ..=512 => (ValType::I64, n),
                    n => (ValType::V128, (n / 2).min(990)),
                };
                ([I32, I32].into_iter().chain(std::iter::repeat_n(ty, n)).collect(), vec![])
            }
            Helper::CountedPoll | Helper::CountedEntry => (vec![], vec![I32]),
            Helper::Call(t, _) => {
                let t = &m.types[t as usize];
                (t.params().iter().copied().chain([I32]).collect(), t.results().to_vec())
            }
            // Only the destination is an address; a segment has fewer than 2^32 items.
            Helper::MemoryInit(_, mem) => {
                (vec![m.memories[mem as usize].index_type(), I32, I32], vec![])
            }
            Helper::TableInit(_, t) => (vec![m.table_index(t), I32, I32], vec![]),
            Helper::DataDrop(_) | Helper::ElemDrop(_) => (vec![], vec![]),
            Helper::RefFunc(f) => (vec![], vec![m.reference_to(f)]),
            Helper::Dummy(r) => (vec![], vec![ValType::Ref(r)]),
            Helper::Never(t) => {
                let t = &m.types[t as usize];
                (t.params().to_vec(), t.results().to_vec())
            }
        }
    }
}

/// Body bytes of a helper. `largest` is the size of the largest frame in bytes.
pub(crate) fn body<S: Space>(h: Helper, s: &mut S, p: &Program, largest: u32) -> Vec<u8> {
    let m = &p.module;
    let (mut locals, mut c) = (vec![], vec![]);
    let (sp, frames, unwinding) = (s.own(Part::Sp), s.own(Part::Frames), s.own(Part::Unwinding));
    let control = s.own(Part::Control);
    match h {
        Helper::SaveReference(h) => {
            let (rsp, table) = (s.own(Part::ReferencesSp(h)), s.own(Part::References(h)));
            let heap = heap_type(h.top());
            c.extend([I::GlobalGet(rsp), I::TableSize(table), I::I32Eq]);
            c.push(I::If(BlockType::Empty));
            c.extend([I::RefNull(heap), I::TableSize(table), I::I32Const(64), I::I32Add]);
            c.extend([I::TableGrow(table), I::Drop, I::End]);
            c.extend([I::GlobalGet(rsp), I::LocalGet(0), I::TableSet(table)]);
            c.extend([I::GlobalGet(rsp), I::I32Const(1), I::I32Add, I::GlobalSet(rsp)]);
        }
        Helper::EndFrame => {
            let arg = MemArg { offset: 0, align: 0, memory_index: frames };
            c.extend([I::LocalGet(1), I::LocalGet(0), I::I32Store(arg)]);
            c.extend([I::LocalGet(1), I::I32Const(4), I::I32Add, I::GlobalSet(sp)]);
            c.extend([I::I32Const(1), I::GlobalSet(unwinding)]);
            // There is always room for one more frame, whatever its size; near the end of all addresses the sum is small again.
            c.extend([I::GlobalGet(sp), I::I32Const(largest as i32), I::I32Add]);
            c.extend([I::I32Const(16), I::I32ShrU, I::MemorySize(frames), I::I32GeU]);
            c.extend([I::GlobalGet(sp), I::I32Const((largest as i32 + 1).wrapping_neg())]);
            c.extend([I::I32GtU, I::I32Or, I::If(BlockType::Empty)]);
            // A quarter more, at least what a frame needs; on failure fall back to the least.
            c.extend([I::MemorySize(frames), I::I32Const(2), I::I32ShrU]);
            c.extend([I::I32Const((largest >> 16) as i32 + 1), I::I32Add]);
            c.extend([I::MemoryGrow(frames), I::I32Const(-1), I::I32Eq]);
            c.push(I::If(BlockType::Empty));
            c.extend([I::I32Const((largest >> 16) as i32 + 1), I::MemoryGrow(frames)]);
            c.extend([I::I32Const(-1), I::I32Eq, I::If(BlockType::Empty)]);
            c.extend([I::Unreachable, I::End, I::End, I::End]);
        }
        Helper::EndLargeFrame(_) => {
            let end = s.helper(Helper::EndFrame);
            c.extend([I::LocalGet(0), I::LocalGet(1), I::Call(end)]);
        }
        Helper::CountedPoll | Helper::CountedEntry => {
            let offset = if h == Helper::CountedPoll { control::COUNT } else { control::ENTRIES };
            let count = MemArg { offset, align: 2, memory_index: control };
            locals.push(ValType::I32);
            c.extend([I::I32Const(0), I::I32Const(0), I::I32Load(count)]);
            c.extend([I::I32Const(1), I::I32Sub, I::LocalTee(0), I::I32Store(count)]);
            c.extend([I::LocalGet(0), I::I32Eqz]);
        }
        Helper::Call(_, n) => return p.dispatch.body(m, n),
        Helper::MemoryInit(d, mem) => {
            c.extend([I::LocalGet(0), I::LocalGet(1), I::LocalGet(2)]);
            c.push(I::MemoryInit { mem, data_index: d });
        }
        Helper::TableInit(e, table) => {
            c.extend([I::LocalGet(0), I::LocalGet(1), I::LocalGet(2)]);
            c.push(I::TableInit { elem_index: e, table });
        }
        Helper::DataDrop(d) => drop_and_note(&mut c, I::DataDrop(d), d, control),
        Helper::ElemDrop(e) => {
            drop_and_note(&mut c, I::ElemDrop(e), m.datas.len() as u32 + e, control);
        }
        Helper::RefFunc(f) => {
            let f = s.function(f);
            c.push(I::RefFunc(f));
        }
        Helper::Dummy(r) => match heap_type(r) {
            HeapType::Concrete(t) => {
                let never = s.helper(Helper::Never(t));
                c.push(I::RefFunc(never));
            }
            t if t == HeapType::FUNC => {
                let any = s.helper(Helper::EndFrame);
                c.push(I::RefFunc(any));
            }
            t if t == HeapType::EXTERN => {
                c.extend([I::I32Const(0), I::RefI31, I::ExternConvertAny]);
            }
            t if t == heap_type(RefType::EXN) => {
                let tag = s.own(Part::Tag);
                let result = BlockType::Result(val_type(ValType::Ref(r)));
                let catch = vec![wasm_encoder::Catch::AllRef { label: 0 }];
                c.extend([I::Block(result), I::TryTable(BlockType::Empty, catch.into())]);
                c.extend([I::Throw(tag), I::End, I::Unreachable, I::End]);
            }
            // There is no value of this type, so nothing returns one.
            _ => c.push(I::Unreachable),
        },
        Helper::Never(_) => c.push(I::Unreachable),
    }
    encode(&locals, &c)
}

fn drop_and_note(c: &mut Vec<I<'static>>, drop: I<'static>, flag: u32, control: u32) {
    let arg =
        MemArg { offset: control::DROPPED + u64::from(flag), align: 0, memory_index: control };
    c.extend([drop, I::I32Const(0), I::I32Const(1), I::I32Store8(arg)]);
}

/// Local declarations, code, and the final `end`.
pub(crate) fn encode(locals: &[ValType], code: &[I<'_>]) -> Vec<u8> {
    let mut out = vec![];
    (locals.len() as u32).encode(&mut out);
    for &t in locals {
        1u32.encode(&mut out);
        val_type(t).encode(&mut out);
    }
    for i in code {
        i.encode(&mut out);
    }
    I::End.encode(&mut out);
    out
}
