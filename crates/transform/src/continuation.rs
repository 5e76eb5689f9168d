//! A module of continuations: functions that go on from frames.
//!
//! ```wat
//!   (import "main" "dormouse.call_3" (func $g (param i32 i32) (result i32)))    ;; what the rest needs
//!   (import "main" "dormouse.sp" (global $sp (mut i32)))  ...
//!   (func (export "dormouse.c42") (result i32)
//!     global.get $sp  i32.const 16  i32.sub  local.tee $base  global.set $sp   ;; pop the frame
//!     local.get $base  i32.load $frames 0  local.set $s0                       ;; its values
//!     local.get $base  i32.load $frames 4  local.set $i  ...
//!     block (result i32)            ;; each construct round the site: only its rest
//!       local.get $s0               ;; operands of outer levels
//!       global.get $sp i32.const 4 i32.sub i32.load $frames
//!       call_indirect $continuations (result i32)   ;; the next inner frame goes on
//!       ...check, then the code after the call, instrumented like all code
//!     end)
//! ```
//!
//! Everything is imported from the main instance, which is never recompiled.

use crate::body::Body;
use crate::emit::{Emitter, Part, Space, beside, ref_type, val_type};
use crate::helpers::Helper;
use crate::instrument::{original_types, part_kind, part_name};
use crate::layout::{Sites, erased};
use crate::limits;
use crate::names;
use crate::{Error, Origins, Program, Result};
use std::collections::HashMap;
use std::hash::Hash;
use wasm_encoder::reencode::{Error as ReError, Reencode};
use wasm_encoder::{
    BranchHint, BranchHints, CodeSection, Encode, EntityType, ExportKind, ExportSection,
    FunctionSection, GlobalType, ImportSection, MemoryType, Module as Out, RefType, TableType,
    TagKind, TagType, TypeSection,
};
use wasmparser::{Operator, ValType};

/// The module in which continuations import the main instance's exports.
pub const MAIN: &str = "main";

/// Index spaces that hold just what has been asked for, in that order.
struct Needs<'p> {
    p: &'p Program,
    types: Seen<(Vec<ValType>, Vec<ValType>)>,
    functions: Seen<Callee>,
    globals: Seen<Item>,
    memories: Seen<Item>,
    tables: Seen<Item>,
    tags: Seen<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Callee {
    Original(u32),
    Helper(Helper),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    Original(u32),
    Own(Part),
}

/// Numbers things in the order they are first asked for.
struct Seen<K> {
    first: u32,
    index: HashMap<K, u32>,
    order: Vec<K>,
}

impl<K: Hash + Eq + Clone> Seen<K> {
    fn new(first: u32) -> Self {
        Seen { first, index: HashMap::new(), order: vec![] }
    }
    fn get(&mut self, k: K) -> u32 {
        let (first, order) = (self.first, &mut self.order);
        *self.index.entry(k.clone()).or_insert_with(|| {
            order.push(k);
            first + order.len() as u32 - 1
        })
    }
}

impl Space for Needs<'_> {
    fn helper(&mut self, h: Helper) -> u32 {
        self.functions.get(Callee::Helper(h))
    }
    fn callee(&mut self, f: u32) -> (Option<u32>, u32) {
        match self.p.dispatch.of(f) {
            Some((ours, place)) => (Some(place), self.helper(ours)),
            None => (None, self.function(f)),
        }
    }
    fn function(&mut self, f: u32) -> u32 {
        self.functions.get(Callee::Original(f))
    }
    fn own(&mut self, part: Part) -> u32 {
        match part_kind(part) {
            ExportKind::Memory => self.memories.get(Item::Own(part)),
            ExportKind::Table => self.tables.get(Item::Own(part)),
            _ => self.globals.get(Item::Own(part)),
        }
    }
    fn signature(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        self.original_types() + self.types.get((params.to_vec(), results.to_vec()))
    }
    fn tag(&mut self, tag: u32) -> u32 {
        self.tags.get(tag)
    }
    fn plain(&mut self, _: &[u8], op: &Operator<'_>, out: &mut Vec<u8>) -> Result<()> {
        let i = self.instruction(op.clone()).map_err(|e| Error::NotWasm(e.to_string()))?;
        i.encode(out);
        Ok(())
    }
}

type Re<T> = std::result::Result<T, ReError<std::convert::Infallible>>;

impl Reencode for Needs<'_> {
    type Error = std::convert::Infallible;
    fn function_index(&mut self, f: u32) -> Re<u32> {
        Ok(self.function(f))
    }
    fn global_index(&mut self, g: u32) -> Re<u32> {
        Ok(self.globals.get(Item::Original(g)))
    }
    fn memory_index(&mut self, m: u32) -> Re<u32> {
        Ok(self.memories.get(Item::Original(m)))
    }
    fn table_index(&mut self, t: u32) -> Re<u32> {
        Ok(self.tables.get(Item::Original(t)))
    }
    fn tag_index(&mut self, t: u32) -> Re<u32> {
        Ok(self.tag(t))
    }
    fn type_index(&mut self, t: u32) -> Re<u32> {
        Ok(self.original_type(t))
    }
}

impl<'p> Needs<'p> {
    /// Numbers begin at `many`, or at `few` where there cannot be more than a hundred.
    fn new(p: &'p Program, many: u32, few: u32) -> Needs<'p> {
        Needs {
            p,
            types: Seen::new(many),
            functions: Seen::new(many),
            globals: Seen::new(many),
            memories: Seen::new(few),
            tables: Seen::new(few),
            tags: Seen::new(many),
        }
    }

    /// How many types of the original come first: all of them if any may refer to others, since
    /// equal is only what stands in equal groups; else types are written as they are needed.
    fn original_types(&self) -> u32 {
        if self.p.module.typed { self.p.module.types.len() as u32 } else { 0 }
    }

    fn original_type(&mut self, t: u32) -> u32 {
        if self.p.module.typed {
            return t;
        }
        let t = &self.p.module.types[t as usize];
        self.signature(t.params(), t.results())
    }
}

/// One module with the continuations of `slots`, each exported as [`names::continuation`].
pub(crate) fn continuations(p: &Program, slots: &[u32]) -> Result<Vec<u8>> {
    Ok(write(p, slots, false)?.0)
}

/// Whether engines will accept every continuation of a function: what is captured must be able to go
/// on, so this is asked before anything runs. Only what is large already is looked at.
pub(crate) fn check_size(p: &Program, body: &Body<'_>, sites: &Sites, main: usize) -> Result<()> {
    let is_small = main < limits::BODY / 32 && body.locals.len() < limits::LOCALS / 4;
    if is_small && beside(sites, body) < limits::BODY / 2 {
        return Ok(());
    }
    // No index in a continuation takes more bytes than these: there are a million of each at most.
    let mut n = Needs::new(p, 1 << 20, 100);
    Emitter::new(&mut n, &p.module, body, sites, p.poll).check_continuations()
}

/// The module and, if wanted, where the instructions of each slot's continuation come from.
pub(crate) fn write(
    p: &Program,
    slots: &[u32],
    marked: bool,
) -> Result<(Vec<u8>, HashMap<u32, Origins>)> {
    let m = &p.module;
    let mut origins = HashMap::new();
    let mut n = Needs::new(p, 0, 0);
    let mut codes = vec![];
    let mut functions = FunctionSection::new();
    let mut slots = slots.to_vec();
    slots.sort_unstable();
    slots.dedup();
    let mut at = 0;
    while at < slots.len() {
        // Slots of one function share its analysis.
        let func = p.function_of(slots[at])?;
        let body = if m.imported(func) { p.stub_body(func) } else { Body::decode(m, func)? };
        let sites = p.sites_of(&body)?;
        while at < slots.len() && p.function_of(slots[at])? == func {
            let site = sites.numbered(slots[at])?;
            let emitter = Emitter::new(&mut n, m, &body, &sites, p.poll).marking(marked);
            let mut code = emitter.continuation(site)?;
            if marked {
                let marks = std::mem::take(&mut code.marks);
                origins.insert(slots[at], Origins { body: site.offset, marks });
            }
            codes.push(code);
            let results = m.func_type(func).results();
            let results: Vec<ValType> = results.iter().map(|&t| erased(t)).collect();
            let ty = n.signature(&[], &results);
            functions.function(ty);
            at += 1;
        }
    }

    let mut imports = ImportSection::new();
    for f in n.functions.order.clone() {
        let (name, ty) = match f {
            Callee::Original(f) => (names::function(f), n.original_type(m.funcs[f as usize])),
            Callee::Helper(h) => {
                let (params, results) = h.ty(m);
                (h.export_name(), n.signature(&params, &results))
            }
        };
        imports.import(MAIN, &name, EntityType::Function(ty));
    }
    let name_of = part_name;
    for item in n.tables.order.clone() {
        let (name, ty) = match item {
            Item::Original(t) => {
                let ty = n
                    .table_type(m.tables[t as usize])
                    .map_err(|e| Error::NotWasm(e.to_string()))?;
                (names::table(t), ty)
            }
            Item::Own(part) => {
                let element_type = match part {
                    Part::References(h) => ref_type(h.top()),
                    _ => RefType::FUNCREF,
                };
                let ty = TableType {
                    element_type,
                    table64: false,
                    minimum: 0,
                    maximum: None,
                    shared: false,
                };
                (name_of(part).to_string(), ty)
            }
        };
        imports.import(MAIN, &name, ty);
    }
    for item in n.memories.order.clone() {
        let (name, ty) = match item {
            Item::Original(i) => {
                let ty = n
                    .memory_type(m.memories[i as usize])
                    .map_err(|e| Error::NotWasm(e.to_string()))?;
                (names::memory(i), ty)
            }
            Item::Own(part) => {
                let max = (part == Part::Control).then(|| p.control_pages());
                let ty = MemoryType {
                    minimum: max.unwrap_or(0),
                    maximum: max,
                    memory64: false,
                    shared: false,
                    page_size_log2: None,
                };
                (name_of(part).to_string(), ty)
            }
        };
        imports.import(MAIN, &name, ty);
    }
    for item in n.globals.order.clone() {
        let (name, ty) = match item {
            Item::Original(g) => {
                let t = m.globals[g as usize];
                let ty = GlobalType {
                    val_type: val_type(t.content_type),
                    mutable: t.mutable,
                    shared: false,
                };
                (names::global(g), ty)
            }
            Item::Own(part) => {
                let val_type = wasm_encoder::ValType::I32;
                (name_of(part).to_string(), GlobalType { val_type, mutable: true, shared: false })
            }
        };
        imports.import(MAIN, &name, ty);
    }
    for t in n.tags.order.clone() {
        let func_type_idx = n.original_type(m.tags[t as usize]);
        imports.import(MAIN, &names::tag(t), TagType { kind: TagKind::Exception, func_type_idx });
    }

    let mut types = TypeSection::new();
    if m.typed {
        original_types(m, &mut types)?;
    }
    for (params, results) in &n.types.order {
        let f = |v: &[ValType]| v.iter().map(|&t| val_type(t)).collect::<Vec<_>>();
        types.ty().function(f(params), f(results));
    }
    let mut exports = ExportSection::new();
    let mut hints = BranchHints::new();
    let mut code = CodeSection::new();
    let first = n.functions.order.len() as u32;
    for (i, (c, slot)) in codes.iter().zip(&slots).enumerate() {
        let index = first + i as u32;
        exports.export(&names::continuation(*slot), ExportKind::Func, index);
        let list =
            c.unlikely.iter().map(|&o| BranchHint { branch_func_offset: o, branch_hint_value: 0 });
        hints.function_hints(index, list);
        code.raw(&c.bytes);
    }
    let mut out = Out::new();
    out.section(&types);
    out.section(&imports);
    out.section(&functions);
    out.section(&exports);
    out.section(&hints);
    out.section(&code);
    Ok((out.finish(), origins))
}
