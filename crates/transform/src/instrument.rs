//! The main module: the original with safepoints.
//!
//! ```text
//!   types      original | ours
//!   imports    original                          index spaces keep their order, so original
//!   functions  original | stubs | helpers        indices, names and offsets stay meaningful
//!   tables     original | funcrefs externrefs continuations (exnrefs)
//!   memories   original | control frames
//!   tags       original | (one of ours)
//!   globals    original | unwinding sp funcref_sp externref_sp (exnref_sp)
//!   exports    original | everything a continuation or the engine needs, as "dormouse.*"
//!   start      taken out: the engine calls `dormouse.init`, then `dormouse.start`
//!   segments   active ones become passive: `dormouse.init` applies them once in a program's life
//! ```

use crate::body::Body;
use crate::emit::{Code, Emitter, Part, Space, ref_type, val_type};
use crate::helpers::{self, Helper};
use crate::layout::Hierarchy;
use crate::limits;
use crate::names;
use crate::{Error, Origins, Program, Result, checkpointable, continuation, segments};
use std::collections::HashMap;
use wasm_encoder::reencode::{Reencode, RoundtripReencoder, utils};
use wasm_encoder::{
    BranchHint, BranchHints, CodeSection, ConstExpr, CustomSection, DataCountSection,
    ElementSection, Elements, ExportKind, ExportSection, FunctionSection, GlobalSection,
    GlobalType, MemorySection, MemoryType, Module as Out, RefType, StartSection, TableSection,
    TableType, TagKind, TagType, TypeSection,
};
use wasmparser::{
    DataKind, ElementItems, ElementKind, ExternalKind, Operator, Parser, Payload, ValType,
};

/// Index spaces of the main module: the original's, with ours after it.
struct Main<'p> {
    p: &'p Program,
    helpers: HashMap<Helper, u32>,
    /// The same in the order of their indices, which begin here.
    helper_list: Vec<Helper>,
    first_helper: u32,
    /// Stub of each restartable import.
    stubs: Vec<Option<u32>>,
    /// Type of the tag of ours, once it is needed.
    tag: Option<u32>,
    types: HashMap<(Vec<ValType>, Vec<ValType>), u32>,
    new_types: Vec<(Vec<ValType>, Vec<ValType>)>,
}

impl Main<'_> {
    /// Whether any frame holds exception references: only then the module gets a table for them.
    fn saves_exceptions(&self) -> bool {
        self.helpers.contains_key(&Helper::SaveReference(Hierarchy::Exn))
    }
}

impl Space for Main<'_> {
    fn helper(&mut self, h: Helper) -> u32 {
        let (first, list) = (self.first_helper, &mut self.helper_list);
        *self.helpers.entry(h).or_insert_with(|| {
            list.push(h);
            first + list.len() as u32 - 1
        })
    }
    fn callee(&mut self, f: u32) -> (Option<u32>, u32) {
        (None, self.function(f))
    }
    fn function(&mut self, f: u32) -> u32 {
        self.stubs.get(f as usize).copied().flatten().unwrap_or(f)
    }
    fn own(&mut self, part: Part) -> u32 {
        let m = &self.p.module;
        let (t, g, mem) = (m.tables.len() as u32, m.globals.len() as u32, m.memories.len() as u32);
        match part {
            Part::References(Hierarchy::Func) => t,
            Part::References(Hierarchy::Extern) => t + 1,
            Part::Continuations => t + 2,
            Part::References(Hierarchy::Exn) => t + 3,
            Part::Control => mem,
            Part::Frames => mem + 1,
            Part::Unwinding => g,
            Part::Sp => g + 1,
            Part::ReferencesSp(Hierarchy::Func) => g + 2,
            Part::ReferencesSp(Hierarchy::Extern) => g + 3,
            Part::ReferencesSp(Hierarchy::Exn) => g + 4,
            Part::Tag => {
                let tags = m.tags.len() as u32;
                self.tag = Some(self.signature(&[], &[]));
                tags
            }
        }
    }
    fn signature(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let next = (self.p.module.types.len() + self.new_types.len()) as u32;
        let key = (params.to_vec(), results.to_vec());
        let new_types = &mut self.new_types;
        *self.types.entry(key.clone()).or_insert_with(|| {
            new_types.push(key);
            next
        })
    }
    fn tag(&mut self, tag: u32) -> u32 {
        tag
    }
    fn plain(&mut self, raw: &[u8], _: &Operator<'_>, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(raw);
        Ok(())
    }
}

/// References to restartable imports go to their stubs.
struct Stubbed<'s>(&'s [Option<u32>]);

impl Reencode for Stubbed<'_> {
    type Error = std::convert::Infallible;
    fn function_index(
        &mut self,
        f: u32,
    ) -> std::result::Result<u32, wasm_encoder::reencode::Error<Self::Error>> {
        Ok(self.0.get(f as usize).copied().flatten().unwrap_or(f))
    }
}

fn broken<E: std::fmt::Display>(e: wasm_encoder::reencode::Error<E>) -> Error {
    Error::NotWasm(e.to_string())
}

pub(crate) fn instrument(p: &Program) -> Result<Vec<u8>> {
    Ok(write(p, Form::Ours, &|_| false)?.0)
}

/// Who runs the main module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Our engine, which calls what must be called first.
    Ours,
    /// Any: see [`checkpointable`].
    Alone,
}

/// The module, and where the instructions of `marked` functions come from.
pub(crate) fn write(
    p: &Program,
    form: Form,
    marked: &dyn Fn(u32) -> bool,
) -> Result<(Vec<u8>, HashMap<u32, Origins>)> {
    let m = &p.module;
    let original_funcs = m.funcs.len() as u32;
    let mut next = original_funcs;
    let stubs: Vec<Option<u32>> = (0..m.imports.len())
        .map(|i| {
            p.restartable[i].then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let mut s = Main {
        p,
        helpers: HashMap::new(),
        helper_list: vec![],
        first_helper: next,
        stubs,
        tag: None,
        types: HashMap::new(),
        new_types: vec![],
    };

    // Bodies first: they tell which types are needed and how large a frame can be.
    let mut codes: Vec<Code> = Vec::with_capacity(m.funcs.len());
    let (mut largest, mut origins) = (0, HashMap::new());
    for func in m.imports.len() as u32..original_funcs {
        let body = Body::decode(m, func)?;
        let sites = p.sites_of(&body)?;
        largest = sites.list.iter().map(|x| x.layout.size).fold(largest, u32::max);
        let emitter = Emitter::new(&mut s, m, &body, &sites, p.poll).marking(marked(func));
        let mut code = emitter.whole()?;
        continuation::check_size(p, &body, &sites, code.bytes.len())?;
        if marked(func) {
            let body = m.body(func).range().start as u32;
            origins.insert(func, Origins { body, marks: std::mem::take(&mut code.marks) });
        }
        codes.push(code);
    }
    let mut types_of_ours = vec![];
    for import in 0..m.imports.len() as u32 {
        if p.restartable[import as usize] {
            let body = p.stub_body(import);
            let sites = p.sites_of(&body)?;
            let site = sites.entry().ok_or(Error::Frames("stub"))?;
            largest = largest.max(site.layout.size);
            codes.push(Emitter::new(&mut s, m, &body, &sites, p.poll).stub(site)?);
            types_of_ours.push(m.funcs[import as usize]);
        }
    }
    // For continuations, whatever is active here.
    if p.slots() > 0 {
        s.helper(Helper::EndFrame);
    }
    for (h, _) in &p.dispatch.functions {
        s.helper(*h);
    }
    // A helper's body may ask for another helper, which is then appended.
    let mut done = 0;
    while let Some(&h) = s.helper_list.get(done) {
        let (params, results) = h.ty(m);
        types_of_ours.push(match h {
            Helper::Never(t) => t,
            _ => s.signature(&params, &results),
        });
        codes.push(Code {
            bytes: helpers::body(h, &mut s, p, largest),
            unlikely: vec![],
            marks: vec![],
        });
        done += 1;
    }
    let first_init = s.first_helper + s.helper_list.len() as u32;
    let drop = segments::drop_segments(p, s.own(Part::Control));
    let mut ours = vec![(&[][..], segments::init(p, true)?), (&[], segments::init(p, false)?)];
    ours.push((&[], drop));
    if form == Form::Alone {
        let start = m.start.map(|f| s.function(f));
        ours.push((&[], checkpointable::start(first_init, start)));
        ours.push((&[ValType::I32], checkpointable::save_globals(p, s.own(Part::Frames))));
    }
    for (results, code) in ours {
        types_of_ours.push(s.signature(&[], results));
        codes.push(Code { bytes: code, unlikely: vec![], marks: vec![] });
    }

    let mut out = Out::new();
    let mut re = RoundtripReencoder;
    let mut types = TypeSection::new();
    original_types(m, &mut types)?;
    for (params, results) in &s.new_types {
        let f = |v: &[ValType]| v.iter().map(|&t| val_type(t)).collect::<Vec<_>>();
        types.ty().function(f(params), f(results));
    }
    out.section(&types);

    let stubs = s.stubs.clone();
    let parts = Sections::read(m, &stubs)?;
    if let Some(imports) = &parts.imports {
        out.section(imports);
    }
    let mut functions = FunctionSection::new();
    for &t in &m.funcs[m.imports.len()..] {
        functions.function(t);
    }
    for &t in &types_of_ours {
        functions.function(t);
    }
    out.section(&functions);
    out.section(&tables(parts.tables, p.slots(), s.saves_exceptions()));
    out.section(&memories(m, p.control_pages(), largest, &mut re)?);
    let mut tags = parts.tags;
    if let Some(func_type_idx) = s.tag {
        let ours = TagType { kind: TagKind::Exception, func_type_idx };
        tags.get_or_insert_default().tag(ours);
    }
    if let Some(tags) = &tags {
        out.section(tags);
    }
    out.section(&globals(parts.globals, s.saves_exceptions()));
    let mut exports = exports(&mut s, first_init);
    if form == Form::Alone {
        exports.export(names::SAVE_GLOBALS, ExportKind::Func, first_init + 4);
        out.section(&exports);
        out.section(&StartSection { function_index: first_init + 3 });
    } else {
        out.section(&exports);
    }
    if !m.elems.is_empty() {
        out.section(&parts.elems);
    }
    if !m.datas.is_empty() {
        out.section(&DataCountSection { count: m.datas.len() as u32 });
    }
    let mut hints = BranchHints::new();
    let mut code = CodeSection::new();
    for (i, c) in codes.iter().enumerate() {
        code.raw(&c.bytes);
        if !c.unlikely.is_empty() {
            let list = c
                .unlikely
                .iter()
                .map(|&o| BranchHint { branch_func_offset: o, branch_hint_value: 0 });
            hints.function_hints((m.imports.len() + i) as u32, list);
        }
    }
    out.section(&hints);
    out.section(&code);
    if !m.datas.is_empty() {
        out.section(&parts.datas);
    }
    if let Some(name) = parts.names {
        out.section(&CustomSection { name: "name".into(), data: name.into() });
    }
    if form == Form::Alone {
        let data = (&m.bytes[..]).into();
        out.section(&CustomSection { name: names::ORIGINAL.into(), data });
    }
    let wasm = out.finish();
    limits::check(&wasm)?;
    Ok((wasm, origins))
}

/// The types of the original, at their indices and in their groups.
pub(crate) fn original_types(m: &crate::module::Module, types: &mut TypeSection) -> Result<()> {
    for payload in Parser::new(0).parse_all(&m.bytes) {
        if let Payload::TypeSection(r) = payload.map_err(Error::invalid)? {
            utils::parse_type_section(&mut RoundtripReencoder, types, r).map_err(broken)?;
            break;
        }
    }
    Ok(())
}

/// Sections taken over from the original.
struct Sections<'m> {
    imports: Option<wasm_encoder::ImportSection>,
    tables: TableSection,
    tags: Option<wasm_encoder::TagSection>,
    globals: GlobalSection,
    elems: ElementSection,
    datas: wasm_encoder::DataSection,
    names: Option<&'m [u8]>,
}

impl<'m> Sections<'m> {
    fn read(m: &'m crate::module::Module, stubs: &[Option<u32>]) -> Result<Sections<'m>> {
        let mut re = Stubbed(stubs);
        let mut s = Sections {
            imports: None,
            tables: TableSection::new(),
            tags: None,
            globals: GlobalSection::new(),
            elems: ElementSection::new(),
            datas: wasm_encoder::DataSection::new(),
            names: None,
        };
        for payload in Parser::new(0).parse_all(&m.bytes) {
            match payload.map_err(Error::invalid)? {
                Payload::ImportSection(r) => {
                    let mut x = wasm_encoder::ImportSection::new();
                    utils::parse_import_section(&mut RoundtripReencoder, &mut x, r)
                        .map_err(broken)?;
                    s.imports = Some(x);
                }
                Payload::TableSection(r) => {
                    utils::parse_table_section(&mut re, &mut s.tables, r).map_err(broken)?;
                }
                Payload::TagSection(r) => {
                    let mut x = wasm_encoder::TagSection::new();
                    utils::parse_tag_section(&mut re, &mut x, r).map_err(broken)?;
                    s.tags = Some(x);
                }
                Payload::GlobalSection(r) => {
                    utils::parse_global_section(&mut re, &mut s.globals, r).map_err(broken)?;
                }
                Payload::ElementSection(r) => {
                    for e in r {
                        let e = e.map_err(Error::invalid)?;
                        let items: Elements<'_> = match e.items {
                            ElementItems::Functions(f) => Elements::Functions(
                                f.into_iter()
                                    .map(|f| {
                                        re.function_index(f.map_err(Error::invalid)?)
                                            .map_err(broken)
                                    })
                                    .collect::<Result<Vec<_>>>()?
                                    .into(),
                            ),
                            ElementItems::Expressions(ty, x) => Elements::Expressions(
                                re.ref_type(ty).map_err(broken)?,
                                x.into_iter()
                                    .map(|x| {
                                        re.const_expr(x.map_err(Error::invalid)?).map_err(broken)
                                    })
                                    .collect::<Result<Vec<_>>>()?
                                    .into(),
                            ),
                        };
                        match e.kind {
                            ElementKind::Declared => s.elems.declared(items),
                            _ => s.elems.passive(items),
                        };
                    }
                }
                Payload::DataSection(r) => {
                    for d in r {
                        let d = d.map_err(Error::invalid)?;
                        match d.kind {
                            DataKind::Active { .. } | DataKind::Passive => {
                                s.datas.passive(d.data.iter().copied());
                            }
                        }
                    }
                }
                Payload::CustomSection(c) if c.name() == "name" => s.names = Some(c.data()),
                _ => {}
            }
        }
        Ok(s)
    }
}

fn tables(mut t: TableSection, slots: u32, exceptions: bool) -> TableSection {
    let ours = |element_type, minimum: u32| TableType {
        element_type,
        table64: false,
        minimum: minimum.into(),
        maximum: None,
        shared: false,
    };
    t.table(ours(RefType::FUNCREF, 0));
    t.table(ours(RefType::EXTERNREF, 0));
    t.table(ours(RefType::FUNCREF, slots));
    if exceptions {
        t.table(ours(ref_type(Hierarchy::Exn.top()), 0));
    }
    t
}

fn memories(
    m: &crate::module::Module,
    control: u64,
    largest: u32,
    re: &mut RoundtripReencoder,
) -> Result<MemorySection> {
    let mut s = MemorySection::new();
    for &t in &m.memories {
        s.memory(re.memory_type(t).map_err(broken)?);
    }
    let ours = |minimum: u64, maximum| MemoryType {
        minimum,
        maximum,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    s.memory(ours(control, Some(control)));
    // Room for the first frame; each frame that is saved makes room for the next.
    s.memory(ours(u64::from(largest >> 16) + 16, None));
    Ok(s)
}

fn globals(mut s: GlobalSection, exceptions: bool) -> GlobalSection {
    for _ in 0..4 + u32::from(exceptions) {
        let ty = GlobalType { val_type: wasm_encoder::ValType::I32, mutable: true, shared: false };
        s.global(ty, &ConstExpr::i32_const(0));
    }
    s
}

fn exports(s: &mut Main<'_>, first_init: u32) -> ExportSection {
    let p = s.p;
    let m = &p.module;
    let mut x = ExportSection::new();
    for (name, kind, index) in &m.exports {
        let (kind, index) = match kind {
            ExternalKind::Func | ExternalKind::FuncExact => (ExportKind::Func, s.function(*index)),
            ExternalKind::Table => (ExportKind::Table, *index),
            ExternalKind::Memory => (ExportKind::Memory, *index),
            ExternalKind::Global => (ExportKind::Global, *index),
            ExternalKind::Tag => (ExportKind::Tag, *index),
        };
        x.export(name, kind, index);
    }
    for f in 0..m.funcs.len() as u32 {
        let exported = p.reach.exported[f as usize] && p.dispatch.of(f).is_none();
        if exported || s.function(f) != f {
            let i = s.function(f);
            x.export(&names::function(f), ExportKind::Func, i);
        }
    }
    for &h in s.helper_list.iter().filter(|h| h.is_exported()) {
        x.export(&h.export_name(), ExportKind::Func, s.helpers[&h]);
    }
    for (n, name) in [names::INIT_TABLES, names::INIT, names::DROP_SEGMENTS].iter().enumerate() {
        x.export(name, ExportKind::Func, first_init + n as u32);
    }
    if let Some(start) = m.start {
        let i = s.function(start);
        x.export(names::START, ExportKind::Func, i);
    }
    for i in 0..m.memories.len() as u32 {
        x.export(&names::memory(i), ExportKind::Memory, i);
    }
    for i in 0..m.tables.len() as u32 {
        x.export(&names::table(i), ExportKind::Table, i);
    }
    for i in 0..m.globals.len() as u32 {
        x.export(&names::global(i), ExportKind::Global, i);
    }
    for i in 0..m.tags.len() as u32 {
        x.export(&names::tag(i), ExportKind::Tag, i);
    }
    use Hierarchy::{Exn, Extern, Func};
    use Part::{Continuations, Control, Frames, References, ReferencesSp, Sp, Unwinding};
    let mut parts = vec![Control, Frames, References(Func), References(Extern), Continuations];
    parts.extend([Unwinding, Sp, ReferencesSp(Func), ReferencesSp(Extern)]);
    if s.saves_exceptions() {
        parts.extend([References(Exn), ReferencesSp(Exn)]);
    }
    for part in parts {
        let kind = part_kind(part);
        x.export(part_name(part), kind, s.own(part));
    }
    x
}

pub(crate) fn part_name(part: Part) -> &'static str {
    match part {
        Part::Control => names::CONTROL,
        Part::Frames => names::FRAMES,
        Part::References(h) => names::REFERENCES[h as usize],
        Part::Continuations => names::CONTINUATIONS,
        Part::Unwinding => names::UNWINDING,
        Part::Sp => names::SP,
        Part::ReferencesSp(h) => names::REFERENCES_SP[h as usize],
        Part::Tag => "",
    }
}

pub(crate) fn part_kind(part: Part) -> ExportKind {
    match part {
        Part::Control | Part::Frames => ExportKind::Memory,
        Part::References(_) | Part::Continuations => ExportKind::Table,
        Part::Tag => ExportKind::Tag,
        _ => ExportKind::Global,
    }
}
