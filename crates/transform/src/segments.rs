//! What becomes of segments: all are passive in the main module, and applied or dropped by functions.

use crate::helpers;
use crate::module::Module;
use crate::names;
use crate::{Error, Program, Result};
use std::collections::HashSet;
use wasm_encoder::{BlockType, Instruction as I, MemArg};
use wasmparser::Operator;

/// Applies active segments, in the order instantiation would: for tables that the program never
/// writes (`fixed`), or for all others and the memories.
pub(crate) fn init(p: &Program, fixed: bool) -> Result<Vec<u8>> {
    let m = &p.module;
    let mut code = vec![];
    for (e, seg) in m.elems.iter().enumerate() {
        if let Some((table, offset)) = &seg.active
            && p.table_is_fixed(*table) == fixed
        {
            code.extend(constant(m, offset)?);
            code.extend([I::I32Const(0), I::I32Const(seg.len as i32)]);
            code.push(I::TableInit { elem_index: e as u32, table: *table });
            code.push(I::ElemDrop(e as u32));
        } else if seg.declared && fixed {
            code.push(I::ElemDrop(e as u32));
        }
    }
    if !fixed {
        for (d, seg) in m.datas.iter().enumerate() {
            if let Some((mem, offset)) = &seg.active {
                code.extend(constant(m, offset)?);
                code.extend([I::I32Const(0), I::I32Const(seg.len as i32)]);
                code.push(I::MemoryInit { mem: *mem, data_index: d as u32 });
                code.push(I::DataDrop(d as u32));
            }
        }
    }
    Ok(helpers::encode(&[], &code))
}

/// A constant expression as code.
fn constant(m: &Module, range: &std::ops::Range<usize>) -> Result<Vec<I<'static>>> {
    let mut code = vec![];
    for op in m.const_expr(range).get_operators_reader() {
        code.push(match op.map_err(Error::invalid)? {
            Operator::I32Const { value } => I::I32Const(value),
            Operator::I64Const { value } => I::I64Const(value),
            Operator::GlobalGet { global_index } => I::GlobalGet(global_index),
            Operator::I32Add => I::I32Add,
            Operator::I32Sub => I::I32Sub,
            Operator::I32Mul => I::I32Mul,
            Operator::I64Add => I::I64Add,
            Operator::I64Sub => I::I64Sub,
            Operator::I64Mul => I::I64Mul,
            Operator::End => break,
            other => {
                return Err(Error::unsupported(
                    format!("{other:?} in a segment's offset"),
                    range.start,
                ));
            }
        });
    }
    Ok(code)
}

/// Drops the segments that the flags in the memory `control` name.
pub(crate) fn drop_segments(p: &Program, control: u32) -> Vec<u8> {
    let m = &p.module;
    let mut code = vec![];
    let mut guarded = |flag: usize, always: bool, drop: I<'static>| {
        if always {
            code.push(drop);
            return;
        }
        let offset = names::control::DROPPED + flag as u64;
        let arg = MemArg { offset, align: 0, memory_index: control };
        code.extend([I::I32Const(0), I::I32Load8U(arg)]);
        code.extend([I::If(BlockType::Empty), drop, I::End]);
    };
    // Only segments that an instruction can still name matter.
    let uses = &p.reach.uses;
    let used = |by: &HashSet<(u32, u32)>| by.iter().map(|u| u.0).collect::<HashSet<u32>>();
    let (datas, elems) = (used(&uses.memory_init), used(&uses.table_init));
    for d in 0..m.datas.len() {
        if datas.contains(&(d as u32)) {
            guarded(d, m.datas[d].active.is_some(), I::DataDrop(d as u32));
        }
    }
    for e in 0..m.elems.len() {
        if elems.contains(&(e as u32)) {
            let always = m.elems[e].active.is_some() || m.elems[e].declared;
            guarded(m.datas.len() + e, always, I::ElemDrop(e as u32));
        }
    }
    helpers::encode(&[], &code)
}
