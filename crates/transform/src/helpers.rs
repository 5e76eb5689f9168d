//! The functions of our own that the main module gets, and their bodies.
//!
//! ```wat
//!   (func $save_i32_2 (param i32 i32)          (func $save_site (param $slot i32)
//!     (local $at i32)                            local.get $slot
//!     global.get $sp  local.tee $at              call $save_goto
//!     local.get 0  i32.store $frames 0           i32.const 1
//!     local.get $at                              global.set $unwinding)
//!     local.get 1  i32.store $frames 4
//!     local.get $at  i32.const 8  i32.add
//!     global.set $sp)
//! ```

use crate::emit::{Part, Space, val_type};
use crate::layout::CLASSES;
use crate::module::Module;
use crate::names::{self, control};
use wasm_encoder::{BlockType, Encode, HeapType, Instruction as I, MemArg};
use wasmparser::{RefType, ValType};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Helper {
    /// Stores that many values of a class (index in `CLASSES`).
    Save(u8, u8),
    SaveFuncref,
    SaveExternref,
    /// Ends a frame: stores the slot and makes room for the next one.
    SaveGoto,
    /// The same, and starts unwinding.
    SaveSite,
    /// Counts a safepoint; 1 if it is the one to stop at.
    CountedPoll,
    MemoryInit(u32, u32),
    TableInit(u32, u32),
    DataDrop(u32),
    ElemDrop(u32),
    RefFunc(u32),
}

impl Helper {
    pub fn export_name(self) -> String {
        let p = names::PREFIX;
        match self {
            Helper::Save(c, n) => format!("{p}save_{}_{n}", CLASSES[c as usize].1),
            Helper::SaveFuncref => format!("{p}save_funcref"),
            Helper::SaveExternref => format!("{p}save_externref"),
            Helper::SaveGoto => format!("{p}save_goto"),
            Helper::SaveSite => format!("{p}save_site"),
            Helper::CountedPoll => format!("{p}counted_poll"),
            Helper::MemoryInit(d, m) => format!("{p}memory_init_{d}_{m}"),
            Helper::TableInit(e, t) => format!("{p}table_init_{e}_{t}"),
            Helper::DataDrop(d) => format!("{p}data_drop_{d}"),
            Helper::ElemDrop(e) => format!("{p}elem_drop_{e}"),
            Helper::RefFunc(f) => format!("{p}ref_func_{f}"),
        }
    }

    pub fn ty(self) -> (Vec<ValType>, Vec<ValType>) {
        use ValType::I32;
        match self {
            Helper::Save(c, n) => (vec![CLASSES[c as usize].0; n as usize], vec![]),
            Helper::SaveFuncref => (vec![ValType::Ref(RefType::FUNCREF)], vec![]),
            Helper::SaveExternref => (vec![ValType::Ref(RefType::EXTERNREF)], vec![]),
            Helper::SaveGoto | Helper::SaveSite => (vec![I32], vec![]),
            Helper::CountedPoll => (vec![], vec![I32]),
            Helper::MemoryInit(..) | Helper::TableInit(..) => (vec![I32; 3], vec![]),
            Helper::DataDrop(_) | Helper::ElemDrop(_) => (vec![], vec![]),
            Helper::RefFunc(_) => (vec![], vec![ValType::Ref(RefType::FUNCREF)]),
        }
    }
}

/// All helpers a module needs, in a fixed order.
pub(crate) fn all(uses: &crate::reach::Uses) -> Vec<Helper> {
    let mut v = vec![Helper::SaveGoto, Helper::SaveSite, Helper::CountedPoll];
    for c in 0..CLASSES.len() as u8 {
        v.extend((1..=8).map(|n| Helper::Save(c, n)));
    }
    v.extend([Helper::SaveFuncref, Helper::SaveExternref]);
    let first = v.len();
    v.extend(uses.memory_init.iter().map(|&(d, m)| Helper::MemoryInit(d, m)));
    v.extend(uses.table_init.iter().map(|&(e, t)| Helper::TableInit(e, t)));
    v.extend(uses.data_drop.iter().map(|&d| Helper::DataDrop(d)));
    v.extend(uses.elem_drop.iter().map(|&e| Helper::ElemDrop(e)));
    v.extend(uses.ref_func.iter().map(|&f| Helper::RefFunc(f)));
    // Sets have no order; the same module must always give the same bytes.
    v[first..].sort_by_key(|h| h.export_name());
    v
}

/// Body bytes of a helper. `largest` is the size of the largest frame in bytes.
pub(crate) fn body<S: Space>(h: Helper, s: &mut S, m: &Module, largest: u32) -> Vec<u8> {
    let (mut locals, mut c) = (vec![], vec![]);
    let (sp, frames, unwinding) = (s.own(Part::Sp), s.own(Part::Frames), s.own(Part::Unwinding));
    let control = s.own(Part::Control);
    match h {
        Helper::Save(class, n) => {
            let (_, _, bytes) = CLASSES[class as usize];
            let at = n as u32;
            locals.push(ValType::I32);
            c.extend([I::GlobalGet(sp), I::LocalSet(at)]);
            for i in 0..n as u32 {
                let arg =
                    MemArg { offset: u64::from(i * bytes), align: 0, memory_index: frames };
                c.extend([I::LocalGet(at), I::LocalGet(i)]);
                c.push(match class {
                    0 => I::I32Store(arg),
                    1 => I::I64Store(arg),
                    2 => I::F32Store(arg),
                    3 => I::F64Store(arg),
                    _ => I::V128Store(arg),
                });
            }
            c.extend([I::LocalGet(at), I::I32Const((n as u32 * bytes) as i32)]);
            c.extend([I::I32Add, I::GlobalSet(sp)]);
        }
        Helper::SaveFuncref | Helper::SaveExternref => {
            let (rsp, table, heap) = if h == Helper::SaveFuncref {
                (s.own(Part::FuncrefSp), s.own(Part::Funcrefs), HeapType::FUNC)
            } else {
                (s.own(Part::ExternrefSp), s.own(Part::Externrefs), HeapType::EXTERN)
            };
            c.extend([I::GlobalGet(rsp), I::TableSize(table), I::I32Eq]);
            c.push(I::If(BlockType::Empty));
            c.extend([I::RefNull(heap), I::TableSize(table), I::I32Const(64), I::I32Add]);
            c.extend([I::TableGrow(table), I::Drop, I::End]);
            c.extend([I::GlobalGet(rsp), I::LocalGet(0), I::TableSet(table)]);
            c.extend([I::GlobalGet(rsp), I::I32Const(1), I::I32Add, I::GlobalSet(rsp)]);
        }
        Helper::SaveGoto => {
            let arg = MemArg { offset: 0, align: 0, memory_index: frames };
            c.extend([I::GlobalGet(sp), I::LocalGet(0), I::I32Store(arg)]);
            c.extend([I::GlobalGet(sp), I::I32Const(4), I::I32Add, I::GlobalSet(sp)]);
            // There is always room for one more frame, whatever its size.
            c.extend([I::GlobalGet(sp), I::I32Const(largest as i32), I::I32Add]);
            c.extend([I::I32Const(16), I::I32ShrU, I::MemorySize(frames), I::I32GeU]);
            c.push(I::If(BlockType::Empty));
            // A quarter more, at least what a frame needs; on failure fall back to the least.
            c.extend([I::MemorySize(frames), I::I32Const(2), I::I32ShrU]);
            c.extend([I::I32Const((largest >> 16) as i32 + 1), I::I32Add]);
            c.extend([I::MemoryGrow(frames), I::I32Const(-1), I::I32Eq]);
            c.push(I::If(BlockType::Empty));
            c.extend([I::I32Const((largest >> 16) as i32 + 1), I::MemoryGrow(frames)]);
            c.extend([I::I32Const(-1), I::I32Eq, I::If(BlockType::Empty)]);
            c.extend([I::Unreachable, I::End, I::End, I::End]);
        }
        Helper::SaveSite => {
            let goto = s.helper(Helper::SaveGoto);
            c.extend([I::LocalGet(0), I::Call(goto), I::I32Const(1), I::GlobalSet(unwinding)]);
        }
        Helper::CountedPoll => {
            let count = MemArg { offset: control::COUNT, align: 2, memory_index: control };
            locals.push(ValType::I32);
            c.extend([I::I32Const(0), I::I32Const(0), I::I32Load(count)]);
            c.extend([I::I32Const(1), I::I32Sub, I::LocalTee(0), I::I32Store(count)]);
            c.extend([I::LocalGet(0), I::I32Eqz]);
        }
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
