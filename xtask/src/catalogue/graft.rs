//! A library and a driver become a command: modules that only export functions get a `_start` that calls them.
//!
//! ```text
//!   program.wasm                          driver.wat
//!     (import "host" "call" ...)            (import "program" "memory" (memory 1))
//!     (func (export "render") ...)          (import "program" "render" (func $render ...))
//!                                           (func (export "host.call") ...)
//!                                           (func (export "_start") (call $render ...))
//!
//!   the command: functions | WASI's imports of both | program's own | traps | driver's own |
//!                memory and `_start` exported; types, globals and data of the driver after the program's
//! ```
//!
//! Imports of the program that are not WASI's go to the driver's export `MODULE.NAME`, or to a function
//! that traps. The driver has no tables, no memory and only passive data: it takes memory from the program.

use anyhow::{Context, Result, bail, ensure};
use std::collections::HashMap;
use std::convert::Infallible;
use wasm_encoder::reencode::{Error as ReError, Reencode};
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, ImportSection, Instruction,
    MemorySection, Module, TableSection, TagSection, TypeSection,
};
use wasmparser::{ExternalKind, FunctionBody, Parser, Payload, TypeRef};

const WASI: &str = "wasi_snapshot_preview1";

/// One of the two modules, section by section.
#[derive(Default)]
struct Parts<'a> {
    types: Option<wasmparser::TypeSectionReader<'a>>,
    imports: Vec<(&'a str, &'a str, u32)>,
    /// Type of each function, imports first.
    functions: Vec<u32>,
    tables: Option<wasmparser::TableSectionReader<'a>>,
    memories: Option<wasmparser::MemorySectionReader<'a>>,
    tags: Option<wasmparser::TagSectionReader<'a>>,
    globals: Option<wasmparser::GlobalSectionReader<'a>>,
    exports: HashMap<&'a str, u32>,
    elements: Option<wasmparser::ElementSectionReader<'a>>,
    data: Option<wasmparser::DataSectionReader<'a>>,
    bodies: Vec<FunctionBody<'a>>,
    start: bool,
}

/// New indices of one module's items.
struct Moved {
    functions: Vec<u32>,
    types: u32,
    globals: u32,
    data: u32,
}

impl Reencode for Moved {
    type Error = Infallible;
    fn function_index(&mut self, f: u32) -> Result<u32, ReError<Infallible>> {
        Ok(self.functions[f as usize])
    }
    fn type_index(&mut self, t: u32) -> Result<u32, ReError<Infallible>> {
        Ok(self.types + t)
    }
    fn global_index(&mut self, g: u32) -> Result<u32, ReError<Infallible>> {
        Ok(self.globals + g)
    }
    fn data_index(&mut self, d: u32) -> Result<u32, ReError<Infallible>> {
        Ok(self.data + d)
    }
}

/// The command that program and driver make together.
pub fn graft(program: &[u8], driver: &[u8]) -> Result<Vec<u8>> {
    let p = Parts::of(program).context("the program")?;
    let d = Parts::of(driver).context("the driver")?;
    ensure!(!p.start && !d.start, "start functions are not provided for");
    ensure!(d.tables.is_none() && d.elements.is_none(), "the driver has tables");
    let start = *d.exports.get("_start").context("the driver exports no _start")?;

    let count = |s: Option<u32>| s.unwrap_or(0);
    let types_of_program = count(p.types.as_ref().map(|s| s.count()));
    // The functions' new places: first the imports that stay, then everything else.
    let mut imports = ImportSection::new();
    let mut kept = 0;
    let mut keep = |(module, name, ty): (&str, &str, u32), first_type: u32| {
        imports.import(module, name, EntityType::Function(first_type + ty));
        kept += 1;
        kept - 1
    };
    let wasi = |i: &(&str, &str, u32)| i.0 == WASI;
    let mut new_p: Vec<Option<u32>> =
        p.imports.iter().map(|i| wasi(i).then(|| keep(*i, 0))).collect();
    let mut new_d: Vec<Option<u32>> =
        d.imports.iter().map(|i| wasi(i).then(|| keep(*i, types_of_program))).collect();
    let own_p = (p.functions.len() - p.imports.len()) as u32;
    let traps: Vec<usize> = (0..p.imports.len())
        .filter(|&i| !wasi(&p.imports[i]) && given(&d, &p.imports[i]).is_none())
        .collect();
    let first_trap = kept + own_p;
    let first_driver = first_trap + traps.len() as u32;
    new_p.extend((0..own_p).map(|i| Some(kept + i)));
    new_d.extend((0..d.bodies.len() as u32).map(|i| Some(first_driver + i)));
    for (i, &import) in traps.iter().enumerate() {
        new_p[import] = Some(first_trap + i as u32);
    }
    for (i, import) in p.imports.iter().enumerate() {
        if new_p[i].is_none() {
            new_p[i] = new_d[given(&d, import).expect("not a trap") as usize];
        }
    }
    for (i, (module, name, _)) in d.imports.iter().enumerate() {
        if new_d[i].is_none() {
            ensure!(*module == "program", "the driver imports {module}.{name}");
            let exported = p.exports.get(name);
            let exported = exported.with_context(|| format!("the program has no {name}"))?;
            new_d[i] = new_p[*exported as usize];
        }
    }
    let all = |new: Vec<Option<u32>>| new.into_iter().collect::<Option<Vec<_>>>().context("index");
    let mut re_p = Moved { functions: all(new_p)?, types: 0, globals: 0, data: 0 };
    let mut re_d = Moved {
        functions: all(new_d)?,
        types: types_of_program,
        globals: count(p.globals.as_ref().map(|s| s.count())),
        data: count(p.data.as_ref().map(|s| s.count())),
    };

    let mut out = Module::new();
    let mut types = TypeSection::new();
    for (part, re) in [(&p, &mut re_p), (&d, &mut re_d)] {
        if let Some(section) = &part.types {
            re.parse_type_section(&mut types, section.clone())?;
        }
    }
    out.section(&types).section(&imports);
    let mut functions = FunctionSection::new();
    for f in &p.functions[p.imports.len()..] {
        functions.function(*f);
    }
    for &import in &traps {
        functions.function(p.imports[import].2);
    }
    for f in &d.functions[d.imports.len()..] {
        functions.function(types_of_program + f);
    }
    out.section(&functions);
    if let Some(section) = p.tables.clone() {
        let mut tables = TableSection::new();
        re_p.parse_table_section(&mut tables, section)?;
        out.section(&tables);
    }
    if let Some(section) = p.memories.clone() {
        let mut memories = MemorySection::new();
        re_p.parse_memory_section(&mut memories, section)?;
        out.section(&memories);
    }
    if let Some(section) = p.tags.clone() {
        let mut tags = TagSection::new();
        re_p.parse_tag_section(&mut tags, section)?;
        out.section(&tags);
    }
    let mut globals = GlobalSection::new();
    for (part, re) in [(&p, &mut re_p), (&d, &mut re_d)] {
        if let Some(section) = part.globals.clone() {
            re.parse_global_section(&mut globals, section)?;
        }
    }
    out.section(&globals);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("_start", ExportKind::Func, re_d.functions[start as usize]);
    out.section(&exports);
    if let Some(section) = p.elements.clone() {
        let mut elements = ElementSection::new();
        re_p.parse_element_section(&mut elements, section)?;
        out.section(&elements);
    }
    let segments = re_d.data + count(d.data.as_ref().map(|s| s.count()));
    out.section(&DataCountSection { count: segments });
    let mut code = CodeSection::new();
    for body in &p.bodies {
        re_p.parse_function_body(&mut code, body.clone())?;
    }
    for _ in &traps {
        let mut f = Function::new([]);
        f.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
        code.function(&f);
    }
    for body in &d.bodies {
        re_d.parse_function_body(&mut code, body.clone())?;
    }
    out.section(&code);
    let mut data = DataSection::new();
    for (part, re) in [(&p, &mut re_p), (&d, &mut re_d)] {
        if let Some(section) = part.data.clone() {
            re.parse_data_section(&mut data, section)?;
        }
    }
    out.section(&data);
    let bytes = out.finish();
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&bytes)
        .context("grafted")?;
    Ok(bytes)
}

/// The driver's function for an import of the program.
fn given(driver: &Parts<'_>, (module, name, _): &(&str, &str, u32)) -> Option<u32> {
    driver.exports.get(format!("{module}.{name}").as_str()).copied()
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Parts<'a>> {
        let mut parts = Parts::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(s) => parts.types = Some(s),
                Payload::ImportSection(s) => {
                    for import in s.into_imports() {
                        let import = import?;
                        match import.ty {
                            TypeRef::Func(ty) => {
                                parts.imports.push((import.module, import.name, ty));
                                parts.functions.push(ty);
                            }
                            // the driver's view of the program's memory: both mean memory 0
                            TypeRef::Memory(_) if import.module == "program" => {}
                            other => bail!("imports {other:?} {}.{}", import.module, import.name),
                        }
                    }
                }
                Payload::FunctionSection(s) => {
                    for ty in s {
                        parts.functions.push(ty?);
                    }
                }
                Payload::TableSection(s) => parts.tables = Some(s),
                Payload::MemorySection(s) => parts.memories = Some(s),
                Payload::TagSection(s) => parts.tags = Some(s),
                Payload::GlobalSection(s) => parts.globals = Some(s),
                Payload::ExportSection(s) => {
                    for export in s {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            parts.exports.insert(export.name, export.index);
                        }
                    }
                }
                Payload::ElementSection(s) => parts.elements = Some(s),
                Payload::DataSection(s) => parts.data = Some(s),
                Payload::StartSection { .. } => parts.start = true,
                Payload::CodeSectionEntry(body) => parts.bodies.push(body),
                _ => {}
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::graft;

    #[test]
    fn a_driver_calls_and_is_called() {
        let program = r#"(module
            (import "host" "twice" (func $twice (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "host" "unknown" (func $unknown (param i64)))
            (memory (export "memory") 1) (data (i32.const 8) "program")
            (global $g (mut i32) (i32.const 5))
            (table 2 funcref) (elem (i32.const 0) func $exit $unknown)
            (func (export "work") (param i32) (result i32)
                (i32.add (global.get $g) (call $twice (local.get 0)))))"#;
        let driver = r#"(module
            (import "program" "work" (func $work (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "program" "memory" (memory 1))
            (global $two i32 (i32.const 2)) (data $d "driver")
            (func (export "host.twice") (param i32) (result i32)
                (i32.mul (local.get 0) (global.get $two)))
            (func (export "_start")
                (memory.init $d (i32.const 64) (i32.const 0) (i32.const 6))
                (call $exit (call $work (i32.const 7)))))"#;
        let parse = |text: &str| wat::parse_str(text).unwrap();
        let command = graft(&parse(program), &parse(driver)).unwrap();
        let text = wasmprinter::print_bytes(&command).unwrap();
        for line in [
            // work: the driver's function is called, the program's global read
            "(func (;2;) (type 0) (param i32) (result i32)\n    global.get 0\n    local.get 0\n    call 4\n    i32.add",
            // what nobody gives traps
            "(func (;3;) (type 2) (param i64)\n    unreachable",
            "(func (;4;) (type 3) (param i32) (result i32)\n    local.get 0\n    global.get 1\n    i32.mul",
            "memory.init 1\n    i32.const 7\n    call 2\n    call 1",
            "(elem (;0;) (i32.const 0) func 0 3)",
            "(export \"_start\" (func 5))",
        ] {
            let squeezed = |s: &str| s.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(squeezed(&text).contains(&squeezed(line)), "no {line} in {text}");
        }
    }
}
