//! A state as a WebAssembly core dump, which debuggers open: a module that is only looked at.
//!
//! ```text
//!   core            the program's name
//!   coremodules     one
//!   coreinstances   one, and which memories and globals are its
//!   memories, globals, data      as they are
//!   corestack       frames, innermost first: function, offset in its body, locals, operands
//! ```
//!
//! The format is that of the [tool conventions](https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md). Locals that nobody
//! reads any more are missing, and so is what it has no form for: vectors and references.

use crate::body::Body;
use crate::emit::{heap_type, val_type};
use crate::standalone::{Memories, address};
use crate::{Error, Program, Result};
use dormouse_state::{State, Value};
use std::collections::HashMap;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{
    ConstExpr, CoreDumpInstancesSection, CoreDumpModulesSection, CoreDumpSection,
    CoreDumpStackSection, CoreDumpValue, DataSection, GlobalSection, GlobalType, Ieee32, Ieee64,
    MemorySection, Module as Out,
};
use wasmparser::{Parser, Payload, ValType};

impl Program {
    /// The core dump of a state; `name` is the program's.
    ///
    /// # Errors
    /// A state that is not of this module.
    pub fn core_dump(&self, name: &str, state: &State, memories: &Memories) -> Result<Vec<u8>> {
        let m = &self.module;
        let mut modules = CoreDumpModulesSection::new();
        modules.module(name);
        let mut instances = CoreDumpInstancesSection::new();
        instances.instance(0, 0..m.memories.len() as u32, 0..m.globals.len() as u32);
        let mut stack = CoreDumpStackSection::new("main");
        let mut locals = HashMap::new();
        for frame in state.frames.iter().rev() {
            let (func, offset) = (frame.site.func, frame.site.offset);
            if func as usize >= m.funcs.len() {
                return Err(Error::NoSuchSite { func, offset });
            }
            let (start, count) = match locals.get(&func) {
                Some(&known) => known,
                None if m.imported(func) => (offset, m.func_type(func).params().len()),
                None => (m.body(func).range().start as u32, Body::decode(m, func)?.locals.len()),
            };
            locals.insert(func, (start, count));
            let mut all = vec![CoreDumpValue::Missing; count];
            for &(local, v) in &frame.locals {
                all.get_mut(local as usize).into_iter().for_each(|l| *l = value(v));
            }
            let operands: Vec<CoreDumpValue> = frame.operands.iter().map(|&v| value(v)).collect();
            stack.frame(0, func, offset.saturating_sub(start), all, operands);
        }
        let mut out = Out::new();
        out.section(&CoreDumpSection::new(name));
        out.section(&modules);
        out.section(&instances);
        let mut sizes = MemorySection::new();
        for (n, &ty) in (0..).zip(&m.memories) {
            let saved = state.memories.iter().find(|memory| memory.index == n);
            let mut ty = RoundtripReencoder.memory_type(ty).map_err(crate::standalone::broken)?;
            ty.minimum = saved.ok_or(Error::Frames("a memory is missing"))?.pages;
            sizes.memory(ty);
        }
        out.section(&sizes);
        out.section(&self.dumped_globals(state)?);
        let mut datas = DataSection::new();
        for (n, runs) in (0..).zip(memories) {
            for (at, bytes) in runs {
                datas.active(n, &address(m, n, *at), bytes.iter().copied());
            }
        }
        out.section(&datas);
        out.section(&stack);
        Ok(out.finish())
    }

    fn dumped_globals(&self, state: &State) -> Result<GlobalSection> {
        let saved: HashMap<u32, Value> = state.globals.iter().copied().collect();
        let mut globals = GlobalSection::new();
        for payload in Parser::new(0).parse_all(&self.module.bytes) {
            let Payload::GlobalSection(section) = payload.map_err(Error::invalid)? else {
                continue;
            };
            for (n, global) in (0..).zip(section) {
                let global = global.map_err(Error::invalid)?;
                let (of, mutable) = (global.ty.content_type, global.ty.mutable);
                let init = match (saved.get(&n), of) {
                    // There are no functions here that they could refer to.
                    (_, ValType::Ref(r)) => ConstExpr::ref_null(heap_type(r)),
                    (Some(Value::I32(v)), ValType::I32) => ConstExpr::i32_const(*v as i32),
                    (Some(Value::I64(v)), ValType::I64) => ConstExpr::i64_const(*v as i64),
                    (Some(Value::F32(v)), ValType::F32) => ConstExpr::f32_const(Ieee32::new(*v)),
                    (Some(Value::F64(v)), ValType::F64) => ConstExpr::f64_const(Ieee64::new(*v)),
                    (Some(Value::V128(v)), ValType::V128) => ConstExpr::v128_const(*v as i128),
                    (Some(_), _) => return Err(Error::Frames("a global has another type")),
                    (None, _) => RoundtripReencoder
                        .const_expr(global.init_expr)
                        .map_err(crate::standalone::broken)?,
                };
                let ty = GlobalType { val_type: val_type(of), mutable, shared: false };
                globals.global(ty, &init);
            }
        }
        Ok(globals)
    }
}

fn value(v: Value) -> CoreDumpValue {
    match v {
        Value::I32(v) => CoreDumpValue::I32(v as i32),
        Value::I64(v) => CoreDumpValue::I64(v as i64),
        Value::F32(v) => CoreDumpValue::F32(Ieee32::new(v)),
        Value::F64(v) => CoreDumpValue::F64(Ieee64::new(v)),
        Value::V128(_) | Value::FuncRef(_) | Value::ExternRefNull | Value::ExnRef(_) => {
            CoreDumpValue::Missing
        }
    }
}
