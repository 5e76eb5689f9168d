//! What the parts of a module are called, and where its code lies.
//!
//! ```text
//!   function   `module.name` of an import; else its name in the name section, else as it is exported, else func[12]
//!   local      its name in the name section
//!   global     its name in the name section, else as it is exported or imported; tables and memories likewise
//! ```
//!
//! Modules may be a stranger's: what cannot be parsed is left out, and nothing is kept but names of what is there.

use super::demangle::demangled;
use dormouse_wasi::Call;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use wasmparser::{
    DataKind, ExternalKind, FunctionBody, KnownCustom, Name, Naming, Operator, Parser, Payload,
    TypeRef,
};

/// Names of the parts of a module.
#[derive(Default)]
pub struct Symbols<'m> {
    functions: HashMap<u32, Cow<'m, str>>,
    globals: HashMap<u32, Cow<'m, str>>,
    tables: HashMap<u32, Cow<'m, str>>,
    memories: HashMap<u32, Cow<'m, str>>,
    locals: BTreeMap<(u32, u32), &'m str>,
    /// Of each function type, how many parameters it has; none of types that are no functions'.
    params: Vec<Option<u32>>,
    /// The type of each function.
    types: Vec<u32>,
    /// How many functions are imported.
    imports: u32,
    /// Of each other memory that there is.
    counts: [u32; 3],
    bodies: Vec<FunctionBody<'m>>,
    host: Vec<String>,
    data: Vec<Data<'m>>,
}

/// A data segment that is put into a memory at the beginning.
pub(super) struct Data<'m> {
    pub memory: u32,
    pub start: u64,
    pub length: u64,
    pub name: Option<&'m str>,
}

const GLOBALS: usize = 0;
const TABLES: usize = 1;
const MEMORIES: usize = 2;

impl<'m> Symbols<'m> {
    /// The names of a module's parts; those of locals for these functions only.
    pub fn of(module: &'m [u8], funcs: &HashSet<u32>) -> Symbols<'m> {
        let mut s = Symbols::default();
        // The name section comes last, and says how many there may be of each.
        for payload in Parser::new(0).parse_all(module) {
            match payload {
                Ok(Payload::TypeSection(types)) => {
                    for group in types.into_iter().flatten() {
                        s.params.extend(group.types().map(|ty| match &ty.composite_type.inner {
                            wasmparser::CompositeInnerType::Func(f) => {
                                Some(f.params().len() as u32)
                            }
                            _ => None,
                        }));
                    }
                }
                Ok(Payload::ImportSection(imports)) => {
                    for import in imports.into_imports().flatten() {
                        s.import(&import);
                    }
                }
                Ok(Payload::FunctionSection(types)) => s.types.extend(types.into_iter().flatten()),
                Ok(Payload::TableSection(all)) => s.counts[TABLES] += all.count(),
                Ok(Payload::MemorySection(all)) => s.counts[MEMORIES] += all.count(),
                Ok(Payload::GlobalSection(all)) => s.counts[GLOBALS] += all.count(),
                Ok(Payload::ExportSection(exports)) => {
                    for export in exports.into_iter().flatten() {
                        let names = match export.kind {
                            ExternalKind::Func => &mut s.functions,
                            ExternalKind::Global => &mut s.globals,
                            ExternalKind::Table => &mut s.tables,
                            ExternalKind::Memory => &mut s.memories,
                            _ => continue,
                        };
                        names.entry(export.index).or_insert(Cow::Borrowed(export.name));
                    }
                }
                Ok(Payload::CodeSectionEntry(body)) => s.bodies.push(body),
                Ok(Payload::DataSection(segments)) => {
                    for segment in segments.into_iter().flatten() {
                        s.data.push(placed(&segment).unwrap_or_else(Data::none));
                    }
                }
                Ok(Payload::CustomSection(custom)) => {
                    let KnownCustom::Name(subsections) = custom.as_known() else { continue };
                    for subsection in subsections.into_iter().flatten() {
                        s.named(subsection, funcs);
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        s
    }

    /// What a function is called, demangled.
    pub fn function(&self, func: u32) -> String {
        self.symbol(func).map_or_else(|| format!("func[{func}]"), |name| demangled(name).into())
    }

    /// What a function is called in the module.
    pub fn symbol(&self, func: u32) -> Option<&str> {
        self.functions.get(&func).map(|name| &**name)
    }

    /// What a local of one of the functions asked for is called.
    pub fn local(&self, func: u32, local: u32) -> Option<&'m str> {
        self.locals.get(&(func, local)).copied()
    }

    /// What a global is called.
    pub fn global(&self, global: u32) -> Option<&str> {
        self.globals.get(&global).map(|name| &**name)
    }

    /// What a table is called.
    pub fn table(&self, table: u32) -> Option<&str> {
        self.tables.get(&table).map(|name| &**name)
    }

    /// What a memory is called.
    pub fn memory(&self, memory: u32) -> Option<&str> {
        self.memories.get(&memory).map(|name| &**name)
    }

    /// How far into the function's body an offset in the module is.
    pub fn within(&self, func: u32, offset: u32) -> Option<u32> {
        offset.checked_sub(u32::try_from(self.body(func)?.range().start).ok()?)
    }

    /// How many locals a function has, parameters among them.
    pub fn local_count(&self, func: u32) -> Option<u32> {
        let ty = *self.types.get(func as usize)?;
        let mut count = self.params.get(ty as usize).copied().flatten()?;
        if func >= self.imports {
            for group in self.body(func)?.get_locals_reader().ok()? {
                count = count.checked_add(group.ok()?.0)?;
            }
        }
        Some(count)
    }

    /// Imports that are neither WASI's nor Dormouse's, as `module.name`.
    pub fn host_functions(&self) -> &[String] {
        &self.host
    }

    /// What is put into a memory at the beginning, in the module's order.
    pub(super) fn data(&self, memory: u32) -> impl Iterator<Item = &Data<'m>> {
        self.data.iter().filter(move |data| data.memory == memory && data.length > 0)
    }

    fn body(&self, func: u32) -> Option<&FunctionBody<'m>> {
        self.bodies.get(func.checked_sub(self.imports)? as usize)
    }

    fn import(&mut self, import: &wasmparser::Import<'m>) {
        let name = format!("{}.{}", import.module, import.name);
        let (names, index) = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                if Call::imported(import.module, import.name).is_none() {
                    self.host.push(name.clone());
                }
                self.types.push(ty);
                self.imports += 1;
                (&mut self.functions, self.imports - 1)
            }
            TypeRef::Global(_) => {
                self.counts[GLOBALS] += 1;
                (&mut self.globals, self.counts[GLOBALS] - 1)
            }
            TypeRef::Table(_) => {
                self.counts[TABLES] += 1;
                (&mut self.tables, self.counts[TABLES] - 1)
            }
            TypeRef::Memory(_) => {
                self.counts[MEMORIES] += 1;
                (&mut self.memories, self.counts[MEMORIES] - 1)
            }
            TypeRef::Tag(_) => return,
        };
        names.insert(index, Cow::Owned(name));
    }

    /// A part of the name section.
    fn named(&mut self, subsection: Name<'m>, funcs: &HashSet<u32>) {
        let functions = self.types.len() as u32;
        let there = |name: &Naming<'_>, from: u32, to: u32| {
            (from..to).contains(&name.index) && !name.name.is_empty()
        };
        match subsection {
            // An import is better known by what it is than by what its caller calls it.
            Name::Function(names) => {
                let names = names.into_iter().flatten();
                for name in names.filter(|n| there(n, self.imports, functions)) {
                    self.functions.insert(name.index, Cow::Borrowed(name.name));
                }
            }
            Name::Global(names) => {
                for name in
                    names.into_iter().flatten().filter(|n| there(n, 0, self.counts[GLOBALS]))
                {
                    self.globals.insert(name.index, Cow::Borrowed(name.name));
                }
            }
            Name::Table(names) => {
                for name in names.into_iter().flatten().filter(|n| there(n, 0, self.counts[TABLES]))
                {
                    self.tables.insert(name.index, Cow::Borrowed(name.name));
                }
            }
            Name::Memory(names) => {
                for name in
                    names.into_iter().flatten().filter(|n| there(n, 0, self.counts[MEMORIES]))
                {
                    self.memories.insert(name.index, Cow::Borrowed(name.name));
                }
            }
            Name::Data(names) => {
                for name in names.into_iter().flatten() {
                    if let Some(data) = self.data.get_mut(name.index as usize) {
                        data.name = Some(name.name);
                    }
                }
            }
            Name::Local(all) => {
                for of in all.into_iter().flatten().filter(|of| funcs.contains(&of.index)) {
                    let names = of.names.into_iter().flatten().filter(|n| !n.name.is_empty());
                    self.locals.extend(names.map(|n| ((of.index, n.index), n.name)));
                }
            }
            _ => {}
        }
    }
}

impl Data<'_> {
    /// Of a segment that is not put anywhere, or to where is not known.
    fn none() -> Self {
        Data { memory: u32::MAX, start: 0, length: 0, name: None }
    }
}

fn placed<'m>(segment: &wasmparser::Data<'m>) -> Option<Data<'m>> {
    let DataKind::Active { memory_index, offset_expr } = &segment.kind else { return None };
    let start = match offset_expr.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => u64::from(value as u32),
        Operator::I64Const { value } => value as u64,
        _ => return None,
    };
    let length = segment.data.len() as u64;
    Some(Data { memory: *memory_index, start, length, name: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name() {
        let text = r#"(module
            (import "env" "f" (func)) (import "env" "g" (global $ours (mut i32)))
            (memory $main 1) (memory (export "second") 1) (table $t 1 funcref)
            (global $stack (mut i32) (i32.const 0)) (global (export "out") (mut i32) (i32.const 0))
            (func $named (param $n i32) (local $x i64) (local f32))
            (func (export "out")) (func nop)
            (data $words (memory $main) (i32.const 16) "hello"))"#;
        let module = wat::parse_str(text).unwrap();
        let s = Symbols::of(&module, &HashSet::from([1]));
        let names: Vec<String> = (0..4).map(|f| s.function(f)).collect();
        assert_eq!(names, ["env.f", "named", "out", "func[3]"]);
        assert_eq!([0, 1, 2].map(|g| s.global(g)), [Some("ours"), Some("stack"), Some("out")]);
        assert_eq!([0, 1].map(|m| s.memory(m)), [Some("main"), Some("second")]);
        assert_eq!((s.table(0), s.table(1)), (Some("t"), None));
        assert_eq!([0, 1, 2].map(|l| s.local(1, l)), [Some("n"), Some("x"), None]);
        assert_eq!([0, 1, 2, 4].map(|f| s.local_count(f)), [Some(0), Some(3), Some(0), None]);
        let data: Vec<_> = s.data(0).map(|d| (d.start, d.length, d.name)).collect();
        assert_eq!(data, [(16, 5, Some("words"))]);
        assert_eq!(s.host_functions(), ["env.f"]);
        assert_eq!(s.within(0, 50), None);
        assert_eq!(s.within(1, s.bodies[0].range().start as u32 + 1), Some(1));
        // Cut anywhere, it says what it can.
        for end in 0..module.len() {
            let s = Symbols::of(&module[..end], &HashSet::from([1]));
            let _ = (s.function(1), s.local_count(1), s.data(0).count());
        }
    }
}
