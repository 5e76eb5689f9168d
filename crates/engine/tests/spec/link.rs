//! What modules of a script import. Functions become host functions that call the other instance.
//! Dormouse refuses all other imports; so where such an import cannot be told from a definition, it
//! is made one:
//!
//! ```wat
//!   (import "spectest" "global_i32" (global i32))     (global i32 (i32.const 666))
//!   (import "spectest" "memory" (memory 1))           (memory 1 2)
//!   (import "M" "g" (global i32))                     (global i32 (i32.const 7))    ;; M's g is immutable
//! ```
//!
//! A constant expression that reads such a global gets the constant itself.

use std::collections::HashMap;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{ConstExpr, Encode, Function, Instruction as I, RawSection};
use wasmparser::{Operator, Parser, Payload, TypeRef, ValType};

type Re<T> = Result<T, reencode::Error>;

/// `module.name` of an immutable global to its value, if it has one.
pub type Constants<'a> = dyn Fn(&str, &str) -> Option<(ValType, I<'static>)> + 'a;

/// The module with those imports defined that can be.
pub fn define_imports(wasm: &[u8], constants: &Constants<'_>) -> Result<Vec<u8>, String> {
    let mut kept = wasm_encoder::ImportSection::new();
    let mut found = Found::default();
    let mut globals = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(Payload::ImportSection(section)) = payload else { continue };
        for import in section.into_imports() {
            let import = import.map_err(|e| e.to_string())?;
            let index = globals;
            globals += u32::from(matches!(import.ty, TypeRef::Global(_)));
            if found.define(import.module, import.name, &import.ty, index, constants) {
                continue;
            }
            let ty = reencode::RoundtripReencoder.entity_type(import.ty);
            kept.import(import.module, import.name, ty.map_err(|e| e.to_string())?);
        }
    }
    if found.count == 0 {
        return Ok(wasm.to_vec());
    }
    // A definition comes after all imports: an import of its kind that stays would change places.
    let mut replaced = wasm_encoder::Module::new();
    let mut re = Substitute(&found.values);
    re.parse_core_module(&mut replaced, Parser::new(0), wasm).map_err(|e| e.to_string())?;
    Ok(found.sections(&replaced.finish(), &kept))
}

#[derive(Default)]
struct Found {
    count: usize,
    /// Entries for the table, memory and global sections.
    tables: (u32, Vec<u8>),
    memories: (u32, Vec<u8>),
    globals: (u32, Vec<u8>),
    values: HashMap<u32, I<'static>>,
}

impl Found {
    fn define(
        &mut self,
        module: &str,
        name: &str,
        ty: &TypeRef,
        index: u32,
        constants: &Constants<'_>,
    ) -> bool {
        let mut re = reencode::RoundtripReencoder;
        let holds = |min: u64, max: Option<u64>, imported_min: u64, imported_max: Option<u64>| {
            imported_min <= min && imported_max.is_none_or(|m| max.is_some_and(|max| max <= m))
        };
        let section = match (ty, module, name) {
            (TypeRef::Memory(m), "spectest", "memory") => {
                if m.memory64
                    || m.shared
                    || m.page_size_log2.is_some()
                    || !holds(1, Some(2), m.initial, m.maximum)
                {
                    return false;
                }
                let mut ty = *m;
                (ty.initial, ty.maximum) = (1, Some(2));
                let Ok(ty) = re.memory_type(ty) else { return false };
                ty.encode(&mut self.memories.1);
                &mut self.memories.0
            }
            (TypeRef::Table(t), "spectest", "table" | "table64") => {
                if t.table64 != (name == "table64")
                    || t.element_type != wasmparser::RefType::FUNCREF
                    || !holds(10, Some(20), t.initial, t.maximum)
                {
                    return false;
                }
                let mut ty = *t;
                (ty.initial, ty.maximum) = (10, Some(20));
                let Ok(ty) = re.table_type(ty) else { return false };
                ty.encode(&mut self.tables.1);
                &mut self.tables.0
            }
            (TypeRef::Global(g), ..) if !g.mutable && !g.shared => {
                let Some((found, value)) = constants(module, name) else { return false };
                if found != g.content_type {
                    return false;
                }
                let Ok(ty) = re.global_type(*g) else { return false };
                ty.encode(&mut self.globals.1);
                value.encode(&mut self.globals.1);
                I::End.encode(&mut self.globals.1);
                self.values.insert(index, value);
                &mut self.globals.0
            }
            _ => return false,
        };
        *section += 1;
        self.count += 1;
        true
    }

    /// The module's sections, with ours before what they hold.
    fn sections(&self, wasm: &[u8], imports: &wasm_encoder::ImportSection) -> Vec<u8> {
        let mut old: HashMap<u8, &[u8]> = HashMap::new();
        for payload in Parser::new(0).parse_all(wasm).flatten() {
            if let Some((id, range)) = payload.as_section() {
                old.insert(id, &wasm[range]);
            }
        }
        let mut out = wasm_encoder::Module::new();
        // In the order of a module; custom sections are left out.
        for id in [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11] {
            let ours = match id {
                4 => &self.tables,
                5 => &self.memories,
                6 => &self.globals,
                _ => &(0, vec![]),
            };
            if id == 2 {
                if !imports.is_empty() {
                    out.section(imports);
                }
                continue;
            }
            let Some(data) = old.get(&id).copied().or((ours.0 > 0).then_some(&[0])) else {
                continue;
            };
            if ours.0 == 0 {
                out.section(&RawSection { id, data });
                continue;
            }
            let mut reader = wasmparser::BinaryReader::new(data, 0);
            let count = reader.read_var_u32().unwrap_or(0);
            let mut section = vec![];
            (count + ours.0).encode(&mut section);
            section.extend(&ours.1);
            section.extend(&data[reader.original_position()..]);
            out.section(&RawSection { id, data: &section });
        }
        out.finish()
    }
}

/// Puts constants where constant expressions read a global.
struct Substitute<'v>(&'v HashMap<u32, I<'static>>);

impl Reencode for Substitute<'_> {
    type Error = std::convert::Infallible;

    fn const_expr(&mut self, e: wasmparser::ConstExpr<'_>) -> Re<ConstExpr> {
        let mut bytes = vec![];
        let mut ops = e.get_operators_reader();
        while !ops.is_end_then_eof() {
            let op = ops.read()?;
            match &op {
                Operator::GlobalGet { global_index } if self.0.contains_key(global_index) => {
                    self.0[global_index].encode(&mut bytes);
                }
                _ => self.instruction(op)?.encode(&mut bytes),
            }
        }
        Ok(ConstExpr::raw(bytes))
    }
}

/// Puts safepoints into each function: an empty loop between two instructions, if there are few of
/// them, else at places spread over the function.
pub fn safepoints_everywhere(wasm: &[u8]) -> Option<Vec<u8>> {
    let mut out = wasm_encoder::Module::new();
    Loops.parse_core_module(&mut out, Parser::new(0), wasm).ok()?;
    Some(out.finish())
}

/// How many a function gets.
const MOST: usize = 24;

struct Loops;

impl Reencode for Loops {
    type Error = std::convert::Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut wasm_encoder::CodeSection,
        func: wasmparser::FunctionBody<'_>,
    ) -> Re<()> {
        let ops: Vec<Operator<'_>> =
            func.get_operators_reader()?.into_iter().collect::<Result<_, _>>()?;
        let every = ops.len().div_ceil(MOST);
        let mut f: Function = self.new_function_with_parsed_locals(&func)?;
        for (i, op) in ops.into_iter().enumerate() {
            if i % every == every / 2 {
                f.instruction(&I::Loop(wasm_encoder::BlockType::Empty)).instruction(&I::End);
            }
            f.instruction(&self.instruction(op)?);
        }
        code.function(&f);
        Ok(())
    }
}
