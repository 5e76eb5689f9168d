//! The original module, parsed and validated once: index spaces, segments, and where each body lies.

use crate::{Error, Result, features, gc, legacy};
use std::collections::HashMap;
use std::sync::Arc;
use wasmparser::{
    BinaryReader, CompositeInnerType, ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind,
    FuncType, FuncValidator, FuncValidatorAllocations, FunctionBody, GlobalType, HeapType,
    KnownCustom, MemoryType, Name, Operator, Parser, Payload, RefType, TableInit, TableType,
    TypeRef, UnpackedIndex, ValType, ValidPayload, Validator, ValidatorResources, WasmFeatures,
    types::{CoreTypeId, TypesRef},
};

/// One imported function.
#[derive(Debug, Clone)]
pub struct Import {
    /// Module name.
    pub module: String,
    /// Field name.
    pub name: String,
}

/// An element segment.
#[derive(Debug)]
pub(crate) struct Elem {
    /// Table and offset expression of an active segment.
    pub active: Option<(u32, std::ops::Range<usize>)>,
    pub declared: bool,
    pub len: u32,
}

#[derive(Debug)]
pub(crate) struct Data {
    pub active: Option<(u32, std::ops::Range<usize>)>,
    pub len: u32,
}

pub(crate) struct Module {
    pub bytes: Arc<[u8]>,
    pub types: Vec<FuncType>,
    /// It needs typed function references: types are written as they stand, references saved by
    /// their exact types. Without them, a `funcref` is all a reference to a function can be used as.
    pub typed: bool,
    /// Per type: the first one that is equal to it.
    pub classes: Vec<u32>,
    /// Per type: the one it was declared a subtype of.
    pub supertypes: Vec<Option<u32>>,
    /// The validator's names of types.
    ids: HashMap<CoreTypeId, u32>,
    pub imports: Vec<Import>,
    /// Type index of every function, imports first.
    pub funcs: Vec<u32>,
    pub tables: Vec<TableType>,
    pub memories: Vec<MemoryType>,
    pub globals: Vec<GlobalType>,
    pub tags: Vec<u32>,
    pub elems: Vec<Elem>,
    pub datas: Vec<Data>,
    pub start: Option<u32>,
    /// (name, kind, index)
    pub exports: Vec<(String, ExternalKind, u32)>,
    /// Functions whose reference the program can hold, in the order found.
    pub referenced: Vec<u32>,
    /// Body ranges of the defined functions.
    pub bodies: Vec<std::ops::Range<usize>>,
    resources: Option<ValidatorResources>,
    features: WasmFeatures,
}

impl Module {
    pub fn parse(bytes: Arc<[u8]>) -> Result<Module> {
        features::check(&bytes)?;
        match Module::parse_handled(bytes.clone()) {
            Err(Failure::Wasm(_)) if features::is_legacy(&bytes) => {
                let translated = legacy::translate(&bytes)?.into();
                Module::parse_handled(translated).map_err(|e| match e {
                    // The original is valid; its translation is longer.
                    Failure::Wasm(e) => Error::ModuleTooLarge { what: e.message().to_owned() },
                    Failure::Own(e) => e,
                })
            }
            Err(Failure::Wasm(e)) => Err(features::explain(&bytes, e)),
            Err(Failure::Own(e)) => Err(e),
            Ok(m) => Ok(m),
        }
    }

    fn parse_handled(bytes: Arc<[u8]>) -> std::result::Result<Module, Failure> {
        match Module::parse_with(bytes.clone(), features::supported()) {
            Err(Failure::Wasm(_)) => {
                let m = Module::parse_with(bytes, features::typed())?;
                gc::refuse(&m)?;
                Ok(m)
            }
            parsed => parsed,
        }
    }

    fn parse_with(
        bytes: Arc<[u8]>,
        features: WasmFeatures,
    ) -> std::result::Result<Module, Failure> {
        let mut m = Module {
            bytes: bytes.clone(),
            types: vec![],
            typed: features.contains(WasmFeatures::FUNCTION_REFERENCES),
            classes: vec![],
            supertypes: vec![],
            ids: HashMap::new(),
            imports: vec![],
            funcs: vec![],
            tables: vec![],
            memories: vec![],
            globals: vec![],
            tags: vec![],
            elems: vec![],
            datas: vec![],
            start: None,
            exports: vec![],
            referenced: vec![],
            bodies: vec![],
            resources: None,
            features,
        };
        let mut validator = Validator::new_with_features(features);
        let mut allocs = FuncValidatorAllocations::default();
        for payload in Parser::new(0).parse_all(&bytes) {
            let payload = payload?;
            match &payload {
                Payload::CodeSectionEntry(body) => {
                    let f = validator.code_section_entry(body)?;
                    if m.resources.is_none() {
                        m.resources = Some(f.resources.clone());
                    }
                    let mut v = f.into_validator(allocs);
                    v.validate(body)?;
                    allocs = v.into_allocations();
                    m.bodies.push(body.range());
                    continue;
                }
                other => {
                    if let ValidPayload::End(types) = validator.payload(other)? {
                        m.classify(types.as_ref());
                    }
                }
            }
            m.section(payload)?;
        }
        m.scan_referenced()?;
        Ok(m)
    }

    fn section(&mut self, payload: Payload<'_>) -> std::result::Result<(), Failure> {
        match payload {
            Payload::TypeSection(s) => {
                for group in s {
                    for t in group?.into_types() {
                        self.supertypes.push(t.supertype_idx.and_then(|i| i.as_module_index()));
                        self.types.push(match t.composite_type.inner {
                            CompositeInnerType::Func(f) => f,
                            // Refused by `gc`; meanwhile something must stand in its place.
                            _ => FuncType::new([], []),
                        });
                    }
                }
            }
            Payload::ImportSection(s) => {
                for i in s.into_imports() {
                    let i = i?;
                    let kind = match i.ty {
                        TypeRef::Func(t) => {
                            self.funcs.push(t);
                            self.imports
                                .push(Import { module: i.module.into(), name: i.name.into() });
                            continue;
                        }
                        TypeRef::Table(_) => "table",
                        TypeRef::Memory(_) => "memory",
                        TypeRef::Global(_) => "global",
                        _ => "tag",
                    };
                    let (module, name) = (i.module.into(), i.name.into());
                    return Err(Error::Import { kind, module, name }.into());
                }
            }
            Payload::FunctionSection(s) => {
                for t in s {
                    self.funcs.push(t?);
                }
            }
            Payload::TableSection(s) => {
                for t in s {
                    let t = t?;
                    self.tables.push(t.ty);
                    if let TableInit::Expr(e) = &t.init {
                        self.refs_of(e)?;
                    }
                }
            }
            Payload::MemorySection(s) => {
                for t in s.into_iter_with_offsets() {
                    let (offset, t) = t?;
                    if t.shared {
                        let what = "the WebAssembly feature threads (a shared memory)";
                        return Err(Error::unsupported(what, offset).into());
                    }
                    self.memories.push(t);
                }
            }
            Payload::GlobalSection(s) => {
                for g in s {
                    let g = g?;
                    self.globals.push(g.ty);
                    self.refs_of(&g.init_expr)?;
                }
            }
            Payload::TagSection(s) => {
                for t in s {
                    self.tags.push(t?.func_type_idx);
                }
            }
            Payload::ExportSection(s) => {
                for e in s.into_iter_with_offsets() {
                    let (offset, e) = e?;
                    if e.name.starts_with(crate::names::PREFIX) {
                        let what = format!("the export name `{}`, which is reserved", e.name);
                        return Err(Error::unsupported(what, offset).into());
                    }
                    self.exports.push((e.name.into(), e.kind, e.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(s) => {
                for e in s {
                    let e = e?;
                    let len = match &e.items {
                        ElementItems::Functions(f) => {
                            for f in f.clone() {
                                self.referenced.push(f?);
                            }
                            f.count()
                        }
                        ElementItems::Expressions(_, x) => {
                            for x in x.clone() {
                                self.refs_of(&x?)?;
                            }
                            x.count()
                        }
                    };
                    let (active, declared) = match e.kind {
                        ElementKind::Active { table_index, offset_expr } => {
                            (Some((table_index.unwrap_or(0), expr_range(&offset_expr))), false)
                        }
                        ElementKind::Passive => (None, false),
                        ElementKind::Declared => (None, true),
                    };
                    self.elems.push(Elem { active, declared, len });
                }
            }
            Payload::DataSection(s) => {
                for d in s {
                    let d = d?;
                    let active = match d.kind {
                        DataKind::Active { memory_index, offset_expr } => {
                            Some((memory_index, expr_range(&offset_expr)))
                        }
                        DataKind::Passive => None,
                    };
                    self.datas.push(Data { active, len: d.data.len() as u32 });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn refs_of(&mut self, e: &ConstExpr<'_>) -> std::result::Result<(), Failure> {
        for op in e.get_operators_reader() {
            if let Operator::RefFunc { function_index } = op? {
                self.referenced.push(function_index);
            }
        }
        Ok(())
    }

    fn scan_referenced(&mut self) -> std::result::Result<(), Failure> {
        for e in &self.exports {
            if e.1 == ExternalKind::Func {
                self.referenced.push(e.2);
            }
        }
        self.referenced.sort_unstable();
        self.referenced.dedup();
        Ok(())
    }

    fn classify(&mut self, types: TypesRef<'_>) {
        for i in 0..self.types.len() as u32 {
            let id = types.core_type_at_in_module(i);
            self.classes.push(*self.ids.entry(id).or_insert(i));
        }
    }

    /// An operand's type, of which the validator has its own notion, as one that can be declared.
    pub fn declared(&self, t: ValType) -> ValType {
        let ValType::Ref(r) = t else { return t };
        let HeapType::Concrete(i) = r.heap_type() else { return t };
        let index = match i {
            UnpackedIndex::Id(id) => self.ids.get(&id).copied(),
            i => i.as_module_index(),
        };
        match index.filter(|_| self.typed) {
            Some(i) => concrete(r.is_nullable(), i),
            None => ValType::FUNCREF,
        }
    }

    /// Whether a function of type `a` is one of type `b`.
    pub fn is_subtype(&self, a: u32, b: u32) -> bool {
        let class = |t: u32| self.classes.get(t as usize).copied();
        let mut at = class(a);
        // A chain is at most as long as there are types.
        for _ in 0..=self.types.len() {
            match at {
                None => return false,
                Some(t) if Some(t) == class(b) => return true,
                Some(t) => at = self.supertypes[t as usize].and_then(class),
            }
        }
        false
    }

    /// The type of a reference to this function, as `ref.func` makes it.
    pub fn reference_to(&self, func: u32) -> ValType {
        if self.typed { concrete(false, self.funcs[func as usize]) } else { ValType::FUNCREF }
    }

    pub fn func_type(&self, func: u32) -> &FuncType {
        &self.types[self.funcs[func as usize] as usize]
    }

    /// What a function is called: in the name section, else as it is exported.
    pub fn function_names(&self, funcs: &[u32]) -> Vec<Option<String>> {
        let mut names: HashMap<u32, String> = HashMap::new();
        for payload in Parser::new(0).parse_all(&self.bytes).flatten() {
            let Payload::CustomSection(custom) = payload else { continue };
            let KnownCustom::Name(subsections) = custom.as_known() else { continue };
            for subsection in subsections.into_iter().flatten() {
                let Name::Function(functions) = subsection else { continue };
                for naming in functions.into_iter().flatten() {
                    if funcs.contains(&naming.index) {
                        names.insert(naming.index, naming.name.to_owned());
                    }
                }
            }
        }
        let exported = |f: u32| {
            let is = |e: &&(String, ExternalKind, u32)| e.1 == ExternalKind::Func && e.2 == f;
            self.exports.iter().find(is).map(|e| e.0.clone())
        };
        funcs.iter().map(|&f| names.get(&f).cloned().or_else(|| exported(f))).collect()
    }

    /// The type of this table's indices.
    pub fn table_index(&self, table: u32) -> wasmparser::ValType {
        self.tables[table as usize].index_type()
    }

    pub fn imported(&self, func: u32) -> bool {
        (func as usize) < self.imports.len()
    }

    pub fn body(&self, func: u32) -> FunctionBody<'_> {
        let r = self.bodies[func as usize - self.imports.len()].clone();
        FunctionBody::new(BinaryReader::new_features(
            &self.bytes[r.clone()],
            r.start,
            self.features,
        ))
    }

    /// A validator for `func`, to learn the operand types at each instruction.
    pub fn validator(&self, func: u32) -> Option<FuncValidator<ValidatorResources>> {
        let f = wasmparser::FuncToValidate {
            resources: self.resources.clone()?,
            index: func,
            ty: self.funcs[func as usize],
            features: self.features,
        };
        Some(f.into_validator(FuncValidatorAllocations::default()))
    }

    pub fn const_expr(&self, range: &std::ops::Range<usize>) -> ConstExpr<'_> {
        ConstExpr::new(BinaryReader::new_features(
            &self.bytes[range.clone()],
            range.start,
            self.features,
        ))
    }
}

/// A reference to functions of the type at this index.
pub(crate) fn concrete(nullable: bool, index: u32) -> ValType {
    let heap = HeapType::Concrete(UnpackedIndex::Module(index));
    RefType::new(nullable, heap).map_or(ValType::FUNCREF, ValType::Ref)
}

fn expr_range(e: &ConstExpr<'_>) -> std::ops::Range<usize> {
    e.get_binary_reader().range()
}

enum Failure {
    Wasm(wasmparser::Error),
    Own(Error),
}

impl From<wasmparser::Error> for Failure {
    fn from(e: wasmparser::Error) -> Self {
        Failure::Wasm(e)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Failure::Own(e)
    }
}
