//! The sections that hold what a module begins with.

use super::{Glue, Standing, Writer, constant, unfit};
use crate::emit::{Space, ref_type, val_type};
use crate::module::Module;
use crate::{Error, Result};
use dormouse_state::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder, utils};
use wasm_encoder::{
    ConstExpr, DataCountSection, DataSection, ElementSection, Elements, Encode, EntityType,
    ExportKind, ExportSection, GlobalSection, GlobalType, ImportSection, Instruction as I,
    MemorySection, Module as Out, NameSection, TableSection, TagSection,
};
use wasmparser::{
    DataKind, ElementItems, ElementKind, ExternalKind, KnownCustom, Parser, Payload, TableInit,
    ValType,
};

/// Sections, but for types and functions.
pub(super) struct Parts {
    imports: ImportSection,
    tables: TableSection,
    memories: MemorySection,
    tags: TagSection,
    globals: GlobalSection,
    exports: ExportSection,
    elems: ElementSection,
    counted: bool,
    datas: DataSection,
    /// Tables that hold something from the beginning, which is not null.
    filled: Vec<u32>,
    names: Option<NameSection>,
}

impl Parts {
    pub fn read(w: &mut Writer<'_, '_>, start: u32) -> Result<Parts> {
        let m = w.m;
        let mut parts = Parts {
            imports: ImportSection::new(),
            tables: TableSection::new(),
            memories: MemorySection::new(),
            tags: TagSection::new(),
            globals: GlobalSection::new(),
            exports: ExportSection::new(),
            elems: ElementSection::new(),
            counted: false,
            datas: DataSection::new(),
            filled: vec![],
            names: None,
        };
        for payload in Parser::new(0).parse_all(&m.bytes) {
            match payload.map_err(Error::invalid)? {
                Payload::ImportSection(r) => {
                    let mut as_it_is = RoundtripReencoder;
                    utils::parse_import_section(&mut as_it_is, &mut parts.imports, r)
                        .map_err(broken)?;
                }
                Payload::TableSection(r) => parts.read_tables(w, r)?,
                Payload::TagSection(r) => {
                    utils::parse_tag_section(&mut w.space, &mut parts.tags, r).map_err(broken)?;
                }
                Payload::GlobalSection(r) => parts.read_globals(w, r)?,
                Payload::ElementSection(r) => parts.read_elems(w, r)?,
                Payload::DataCountSection { .. } => parts.counted = true,
                Payload::DataSection(r) => parts.read_datas(w, r)?,
                Payload::CustomSection(c) => {
                    if let KnownCustom::Name(names) = c.as_known() {
                        // What is damaged in it is of no consequence.
                        parts.names = w.space.custom_name_section(names).ok();
                    }
                }
                _ => {}
            }
        }
        parts.add_memories(w)?;
        parts.add_globals(w);
        parts.add_exports(w, start);
        parts.add_tables(w)?;
        let referred: Vec<u32> = w.space.referred.iter().copied().collect();
        if !referred.is_empty() {
            parts.elems.declared(Elements::Functions(referred.into()));
        }
        parts.add_contents(w)?;
        Ok(parts)
    }

    /// The imports, with those of the glue.
    pub fn imports(&self, glue: &Glue, types: &[u32]) -> ImportSection {
        let mut imports = self.imports.clone();
        for (import, &ty) in glue.imports.iter().zip(types) {
            imports.import(&import.module, &import.name, EntityType::Function(ty));
        }
        imports
    }

    pub fn write_before_code(&mut self, out: &mut Out) {
        out.section(&self.tables);
        out.section(&self.memories);
        if !self.tags.is_empty() {
            out.section(&self.tags);
        }
        out.section(&self.globals);
        out.section(&self.exports);
        if !self.elems.is_empty() {
            out.section(&self.elems);
        }
        if self.counted {
            out.section(&DataCountSection { count: self.datas.len() });
        }
    }

    pub fn write_after_code(&mut self, out: &mut Out) {
        out.section(&self.datas);
        if let Some(names) = &self.names {
            out.section(names);
        }
    }

    fn read_tables(
        &mut self,
        w: &mut Writer<'_, '_>,
        r: wasmparser::TableSectionReader<'_>,
    ) -> Result<()> {
        for (n, table) in (0..).zip(r) {
            let table = table.map_err(Error::invalid)?;
            let mut ty = w.space.table_type(table.ty).map_err(broken)?;
            if let Some(saved) = w.snapshot.state.tables.iter().find(|t| t.index == n) {
                ty.minimum = saved.entries.len() as u64;
            }
            match &table.init {
                TableInit::RefNull => self.tables.table(ty),
                TableInit::Expr(e) => {
                    self.filled.push(n);
                    let init = w.space.const_expr(e.clone()).map_err(broken)?;
                    self.tables.table_with_init(ty, &init)
                }
            };
        }
        Ok(())
    }

    fn read_globals(
        &mut self,
        w: &mut Writer<'_, '_>,
        r: wasmparser::GlobalSectionReader<'_>,
    ) -> Result<()> {
        let saved: HashMap<u32, Value> = w.snapshot.state.globals.iter().copied().collect();
        for (n, global) in (0..).zip(r) {
            let global = global.map_err(Error::invalid)?;
            let ty = w.space.global_type(global.ty).map_err(broken)?;
            let of = global.ty.content_type;
            let init = match saved.get(&n).filter(|_| global.ty.mutable) {
                None => w.space.const_expr(global.init_expr).map_err(broken)?,
                // Set when the program begins; meanwhile it is as good as any.
                Some(Value::ExnRef(Some(_))) => {
                    w.space.const_expr(global.init_expr).map_err(broken)?
                }
                Some(&v) => {
                    let bad = || Error::Frames("a global has another type");
                    expression(&[constant(&mut w.space, v, of).ok_or_else(bad)?])
                }
            };
            self.globals.global(ty, &init);
        }
        Ok(())
    }

    fn add_globals(&mut self, w: &Writer<'_, '_>) {
        for &ty in &w.globals {
            let init = match ty {
                ValType::I32 => I::I32Const(0),
                ValType::I64 => I::I64Const(0),
                ValType::F32 => I::F32Const(0f32.into()),
                ValType::F64 => I::F64Const(0f64.into()),
                ValType::V128 => I::V128Const(0),
                ValType::Ref(r) => I::RefNull(crate::emit::heap_type(r)),
            };
            let ty = GlobalType { val_type: val_type(ty), mutable: true, shared: false };
            self.globals.global(ty, &expression(&[init]));
        }
    }

    fn add_memories(&mut self, w: &mut Writer<'_, '_>) -> Result<()> {
        for (n, &ty) in (0..).zip(&w.m.memories) {
            let mut ty = w.space.memory_type(ty).map_err(broken)?;
            let saved = w.snapshot.state.memories.iter().find(|m| m.index == n);
            ty.minimum = saved.ok_or(Error::Frames("a memory is missing"))?.pages;
            self.memories.memory(ty);
        }
        Ok(())
    }

    /// What the program is begun with is not there any more: it has begun.
    fn add_exports(&mut self, w: &Writer<'_, '_>, start: u32) {
        let own = &w.snapshot.export;
        let begins = |name: &str| name == own || name == "_start" || name == "_initialize";
        for (name, kind, index) in w.m.exports.iter().filter(|e| !begins(&e.0)) {
            let (kind, index) = match kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    (ExportKind::Func, w.space.itself(*index))
                }
                ExternalKind::Table => (ExportKind::Table, *index),
                ExternalKind::Memory => (ExportKind::Memory, *index),
                ExternalKind::Global => (ExportKind::Global, *index),
                ExternalKind::Tag => (ExportKind::Tag, *index),
            };
            self.exports.export(name, kind, index);
        }
        self.exports.export(own, ExportKind::Func, start);
    }

    /// Segments keep their indices, and what they are to `table.init`: applied and dropped ones are empty for it.
    fn read_elems(
        &mut self,
        w: &mut Writer<'_, '_>,
        r: wasmparser::ElementSectionReader<'_>,
    ) -> Result<()> {
        for (n, e) in (0..).zip(r) {
            let e = e.map_err(Error::invalid)?;
            let items = items(&mut w.space, e.items)?;
            let is_dropped = w.snapshot.state.dropped_elems.contains(&n);
            match e.kind {
                ElementKind::Active { table_index, offset_expr } => {
                    let table = table_index.unwrap_or(0);
                    let offset = w.space.const_expr(offset_expr).map_err(broken)?;
                    if w.p.table_is_fixed(table) {
                        self.elems.active(table_index, &offset, items);
                    } else {
                        self.elems.active(table_index, &zero(w, table), nothing(&items));
                    }
                }
                ElementKind::Passive if !is_dropped => {
                    self.elems.passive(items);
                }
                ElementKind::Passive | ElementKind::Declared => {
                    self.elems.declared(items);
                }
            }
        }
        Ok(())
    }

    /// What tables hold.
    fn add_tables(&mut self, w: &mut Writer<'_, '_>) -> Result<()> {
        for saved in &w.snapshot.state.tables {
            let ty = *w.m.tables.get(saved.index as usize).ok_or(Error::Frames("no such table"))?;
            let bad = || Error::Frames("a table's entry has another type");
            let is_set = |v: &Value| {
                !matches!(v, Value::FuncRef(None) | Value::ExternRefNull | Value::ExnRef(_))
            };
            let is_filled = self.filled.contains(&saved.index);
            let is_plain = ty.element_type == wasmparser::RefType::FUNCREF;
            let mut at = 0;
            for run in saved.entries.chunk_by(|a, b| is_set(a) == is_set(b)) {
                let first = at;
                at += run.len() as u64;
                if !is_set(&run[0]) && !is_filled {
                    continue;
                }
                let offset = match ty.table64 {
                    true => ConstExpr::i64_const(first as i64),
                    false => ConstExpr::i32_const(first as i32),
                };
                let functions: Option<Vec<u32>> = run
                    .iter()
                    .map(|v| match *v {
                        Value::FuncRef(Some(f)) if (f as usize) < w.m.funcs.len() => {
                            Some(w.space.function(f))
                        }
                        _ => None,
                    })
                    .collect();
                let table = (saved.index > 0).then_some(saved.index);
                match functions.filter(|_| is_plain) {
                    Some(functions) => {
                        self.elems.active(table, &offset, Elements::Functions(functions.into()));
                    }
                    None => {
                        let of = ValType::Ref(ty.element_type);
                        let mut exprs = vec![];
                        for &v in run {
                            let v = if let Value::ExnRef(_) = v { Value::ExnRef(None) } else { v };
                            exprs.push(expression(&[
                                constant(&mut w.space, v, of).ok_or_else(bad)?
                            ]));
                        }
                        let elements =
                            Elements::Expressions(ref_type(ty.element_type), exprs.into());
                        self.elems.active(Some(saved.index), &offset, elements);
                    }
                }
            }
        }
        Ok(())
    }

    /// As for elements.
    fn read_datas(
        &mut self,
        w: &mut Writer<'_, '_>,
        r: wasmparser::DataSectionReader<'_>,
    ) -> Result<()> {
        // Without an instruction that names one, they are not needed at all.
        if !self.counted {
            return Ok(());
        }
        for (n, data) in (0..).zip(r) {
            let data = data.map_err(Error::invalid)?;
            let is_dropped = w.snapshot.state.dropped_data.contains(&n);
            match data.kind {
                DataKind::Passive if !is_dropped => {
                    self.datas.passive(data.data.iter().copied());
                }
                DataKind::Active { memory_index, .. } => {
                    let zero = address(w.m, memory_index, 0);
                    self.datas.active(memory_index, &zero, []);
                }
                DataKind::Passive if w.m.memories.is_empty() => {
                    self.datas.passive([]);
                }
                DataKind::Passive => {
                    self.datas.active(0, &address(w.m, 0, 0), []);
                }
            }
        }
        Ok(())
    }

    /// What memories hold.
    fn add_contents(&mut self, w: &Writer<'_, '_>) -> Result<()> {
        for (n, runs) in (0..).zip(&w.snapshot.memories) {
            if n as usize >= w.m.memories.len() {
                return Err(Error::Frames("there is no such memory"));
            }
            for (at, bytes) in runs {
                self.datas.active(n, &address(w.m, n, *at), bytes.iter().copied());
            }
        }
        if self.datas.len() > MOST_SEGMENTS {
            return Err(unfit(format!(
                "its memory takes {} segments of data; engines accept {MOST_SEGMENTS}",
                self.datas.len()
            )));
        }
        Ok(())
    }
}

/// What engines accept (the WebAssembly JavaScript Interface's implementation limits).
const MOST_SEGMENTS: u32 = 100_000;

impl Writer<'_, '_> {
    /// The types of the glue's imports.
    pub(super) fn glue_import_types(&mut self) -> Vec<u32> {
        let imports = &self.snapshot.glue.imports;
        imports.iter().map(|i| self.signature(&i.params, &i.results)).collect()
    }

    /// The index of a type: the program's, where it has such a one.
    pub(super) fn signature(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        self.space.signature(params, results)
    }
}

pub(crate) fn broken<E: std::fmt::Display>(e: wasm_encoder::reencode::Error<E>) -> Error {
    Error::NotWasm(e.to_string())
}

/// A constant expression of these instructions.
fn expression(code: &[I<'_>]) -> ConstExpr {
    let mut bytes = vec![];
    code.iter().for_each(|i| i.encode(&mut bytes));
    ConstExpr::raw(bytes)
}

/// Where in a memory something lies, as an expression.
pub(crate) fn address(m: &Module, memory: u32, at: u64) -> ConstExpr {
    match m.memories.get(memory as usize).is_some_and(|m| m.memory64) {
        true => ConstExpr::i64_const(at as i64),
        false => ConstExpr::i32_const(at as i32),
    }
}

fn zero(w: &Writer<'_, '_>, table: u32) -> ConstExpr {
    match w.m.tables.get(table as usize).is_some_and(|t| t.table64) {
        true => ConstExpr::i64_const(0),
        false => ConstExpr::i32_const(0),
    }
}

fn items(space: &mut Standing<'_>, items: ElementItems<'_>) -> Result<Elements<'static>> {
    Ok(match items {
        ElementItems::Functions(f) => {
            let functions: Result<Vec<u32>> = f
                .into_iter()
                .map(|f| space.function_index(f.map_err(Error::invalid)?).map_err(broken))
                .collect();
            Elements::Functions(Cow::Owned(functions?))
        }
        ElementItems::Expressions(ty, x) => {
            let exprs: Result<Vec<ConstExpr>> = x
                .into_iter()
                .map(|x| space.const_expr(x.map_err(Error::invalid)?).map_err(broken))
                .collect();
            Elements::Expressions(ref_type(ty), Cow::Owned(exprs?))
        }
    })
}

fn nothing(like: &Elements<'_>) -> Elements<'static> {
    match like {
        Elements::Functions(_) => Elements::Functions(Cow::Borrowed(&[])),
        Elements::Expressions(ty, _) => Elements::Expressions(*ty, Cow::Borrowed(&[])),
    }
}
