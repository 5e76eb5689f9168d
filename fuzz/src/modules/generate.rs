//! A random module that the engine can run: one of wasm-smith's, with a `_start` that calls some of
//! its functions, and with its globals, tables and memories exported under plain names. Calls that
//! wasm-smith cannot make safely are put in: some of its direct calls go through a table; in modules
//! with exceptions some calls catch, and there are throws that depend on the fuel left.

mod insert;

use crate::random::Random;
use arbitrary::Unstructured;
use std::sync::LazyLock;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    BlockType, Catch, CodeSection, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, HeapType, ImportSection,
    Instruction as I, RefType, SectionId, TableSection, TableType, TagKind, TagSection, TagType,
    TypeSection, ValType,
};
use wasm_smith::{Config, MemoryOffsetChoices};
use wasmparser::Parser;

/// What the transform accepts besides what it always did: asked of it, so that nothing is generated
/// that would be refused, and what is accepted tomorrow is generated tomorrow.
struct Accepted {
    memory64: bool,
    relaxed_simd: bool,
    /// Typed function references, alive across safepoints.
    typed_references: bool,
    /// References to exceptions, alive across safepoints.
    exnref: bool,
    /// The first form of exception handling.
    legacy: bool,
}

static ACCEPTED: LazyLock<Accepted> = LazyLock::new(|| Accepted {
    memory64: accepts("(memory i64 1) (table i64 1 funcref)"),
    relaxed_simd: accepts(
        "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0))))",
    ),
    typed_references: accepts(
        "(type $t (func)) (func $f (export \"f\") (local (ref null $t))
           (local.set 0 (ref.func $f)) (loop (call_ref $t (local.get 0)) (br 0)))",
    ),
    exnref: accepts(
        "(func (local exnref) (loop (drop (local.get 0)) (local.set 0 (ref.null exn)) (br 0)))",
    ),
    legacy: accepts("(func try catch_all end)"),
});

fn accepts(fields: &str) -> bool {
    let wasm = wat::parse_str(format!("(module {fields})")).expect("text");
    if cfg!(test) {
        return true;
    }
    let program = dormouse_transform::Program::new(wasm.into(), &Default::default());
    program.is_ok_and(|p| p.check().is_ok())
}

/// Calls that give the same answers each time; some can be interrupted and made again.
const IMPORTS: &str = r#"(module
  (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
  (import "wasi_snapshot_preview1" "fd_datasync" (func (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func (param i32 i32) (result i32))))"#;

/// A module made of `input`: the first eight bytes choose its features and what is put in, the rest
/// is wasm-smith's. If there is no rest, it follows from them. `None` if wasm-smith makes nothing of
/// it.
pub fn module(input: &[u8]) -> Option<Made> {
    let (mut state, rest) = Random::from_input(input);
    let size = 512 << state.below(5);
    let expanded: Vec<u8>;
    let bytes = match rest.is_empty() {
        true => {
            expanded = (0..size / 8).flat_map(|_| state.bits().to_le_bytes()).collect();
            &expanded
        }
        false => rest,
    };
    let mut u = Unstructured::new(bytes);
    let available_imports = state.chance(3).then(|| wat::parse_str(IMPORTS).expect("text"));
    let max_imports = if available_imports.is_some() { 4 } else { 0 };
    // Where references to exceptions are refused, so are most of its uses of exceptions.
    let exceptions_enabled = state.chance(if ACCEPTED.exnref { 4 } else { 8 });
    let memory64_enabled = state.chance(4) && ACCEPTED.memory64;
    let relaxed_simd_enabled = state.chance(4) && ACCEPTED.relaxed_simd;
    let config = Config {
        available_imports,
        allow_start_export: state.chance(4),
        bulk_memory_enabled: true,
        canonicalize_nans: false,
        disallow_traps: !state.chance(4),
        exceptions_enabled,
        min_tags: usize::from(exceptions_enabled),
        min_element_segments: 1,
        min_data_segments: 1,
        export_everything: true,
        extended_const_enabled: true,
        gc_enabled: false,
        max_data_segments: 6,
        max_element_segments: 6,
        max_elements: 12,
        max_funcs: 12,
        min_funcs: 3,
        min_types: 3,
        min_globals: 2,
        max_globals: 10,
        max_imports,
        max_instructions: 20 << state.below(5),
        max_memories: 3,
        min_memories: 1,
        max_memory32_bytes: (1 + state.below(2) as u64) << 16,
        max_memory64_bytes: (1 + state.below(2) as u128) << 16,
        memory_max_size_required: true,
        memory_offset_choices: MemoryOffsetChoices(90, 9, 1),
        max_nesting_depth: 8,
        max_table_elements: 40,
        max_tables: 4,
        min_tables: 1,
        max_tags: 3,
        max_type_size: 100,
        max_types: 12,
        memory64_enabled,
        multi_value_enabled: true,
        reference_types_enabled: true,
        relaxed_simd_enabled,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        simd_enabled: state.chance(2) || relaxed_simd_enabled,
        table_max_size_required: true,
        tail_call_enabled: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    };
    let mut module = wasm_smith::Module::new(config, &mut u).ok()?;
    let fuel = 30 << state.below(6);
    module.ensure_termination(fuel).ok()?;
    let original = module.to_bytes();
    let encode = |legacy: bool| {
        let mut w = Wrap::of(&original, state.clone())?;
        let legacy_too = w.catches && w.state.chance(3) && ACCEPTED.legacy;
        w.legacy = legacy && legacy_too;
        let mut out = wasm_encoder::Module::new();
        w.parse_core_module(&mut out, Parser::new(0), &original).expect("was just made");
        (legacy_too || !legacy).then(|| out.finish())
    };
    Some(Made { wasm: encode(false)?, legacy: encode(true) })
}

/// A module, and the same one with its handlers in the first form of exception handling.
pub struct Made {
    pub wasm: Vec<u8>,
    pub legacy: Option<Vec<u8>>,
}

/// Adds `_start` and the exports.
struct Wrap {
    state: Random,
    types: Vec<wasmparser::FuncType>,
    /// First of our types: of `_start`, of the second tag, of its payload as results, of our import.
    own_types: u32,
    funcs: Vec<u32>,
    globals: u32,
    tables: u32,
    memories: u32,
    tags: u32,
    /// Index of our passive element segment.
    elems: u32,
    datas: u32,
    /// How our second table is written.
    writes: u64,
    /// Calls catch.
    catches: bool,
    /// Handlers are those of the first form of exception handling.
    legacy: bool,
    /// Reaching `unreachable` throws our tag.
    throws: bool,
    /// All functions are exported, or just those that `_start` takes references of.
    all: bool,
    named: Vec<u32>,
    /// Index of the function whose body comes next.
    body: usize,
    /// Index of our own import, the last one: `args_sizes_get`.
    args: u32,
    imports: bool,
    small_memory: bool,
}

impl Wrap {
    fn of(bytes: &[u8], mut state: Random) -> Option<Wrap> {
        let bits = state.bits();
        let mut w = Wrap {
            state,
            types: vec![],
            own_types: 0,
            funcs: vec![],
            globals: 0,
            tables: 0,
            memories: 0,
            tags: 0,
            elems: 0,
            datas: 0,
            writes: (bits >> 8) & 3,
            catches: false,
            legacy: false,
            throws: false,
            all: bits & 16 == 0,
            named: vec![],
            body: 0,
            args: 0,
            imports: false,
            small_memory: false,
        };
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.ok()? {
                wasmparser::Payload::TypeSection(s) => {
                    w.types = s.into_iter_err_on_gc_types().collect::<Result<_, _>>().ok()?;
                }
                wasmparser::Payload::ImportSection(s) => {
                    for i in s.into_imports() {
                        match i.ok()?.ty {
                            wasmparser::TypeRef::Func(t) => {
                                w.funcs.push(t);
                            }
                            _ => return None,
                        }
                    }
                    w.imports = true;
                    w.args = w.funcs.len() as u32;
                }
                wasmparser::Payload::FunctionSection(s) => {
                    for t in s {
                        w.funcs.push(t.ok()?);
                    }
                }
                wasmparser::Payload::GlobalSection(s) => w.globals = s.count(),
                wasmparser::Payload::TableSection(s) => w.tables = s.count(),
                wasmparser::Payload::ElementSection(s) => w.elems = s.count() + 1,
                wasmparser::Payload::DataSection(s) => w.datas = s.count(),
                wasmparser::Payload::TagSection(s) => w.tags = s.count(),
                wasmparser::Payload::MemorySection(s) => {
                    w.memories = s.count();
                    w.small_memory = !s.into_iter().next()?.ok()?.memory64;
                }
                _ => {}
            }
        }
        if w.funcs.len() == w.args as usize {
            return None;
        }
        // Types are added in `parse_type_section`.
        let i32 = wasmparser::ValType::I32;
        w.own_types = w.types.len() as u32;
        w.types.push(wasmparser::FuncType::new([], []));
        w.types.push(wasmparser::FuncType::new(PAYLOAD_PARSED, []));
        w.types.push(wasmparser::FuncType::new([], PAYLOAD_PARSED));
        w.types.push(wasmparser::FuncType::new([i32, i32], [i32]));
        w.funcs.insert(w.args as usize, w.own_types + 3);
        w.body = w.args as usize + 1;
        w.catches = w.tags > 0 || bits & 32 != 0;
        w.throws = w.catches && bits & 64 != 0;
        w.named = (0..2).map(|_| w.state.below(w.funcs.len()) as u32).collect();
        Some(w)
    }

    /// Calls some functions.
    fn start(&mut self) -> Function {
        let mut f = Function::new([]);
        if self.small_memory {
            self.read_arguments(&mut f);
        }
        let n = self.funcs.len();
        for _ in 0..1 + self.state.below(6) {
            let func = self.state.below(n) as u32;
            self.call(&mut f, func);
        }
        f.instruction(&I::End);
        f
    }

    /// The number of arguments takes fuel, and is in our first global: it decides which branches are
    /// taken and who throws.
    fn read_arguments(&self, f: &mut Function) {
        let (fuel, acc) = (self.globals - 1, self.globals);
        let at = wasm_encoder::MemArg { offset: 0, align: 2, memory_index: 0 };
        f.instruction(&I::MemorySize(0)).instruction(&I::If(BlockType::Empty));
        f.instruction(&I::I32Const(0)).instruction(&I::I32Const(4));
        f.instruction(&I::Call(self.args)).instruction(&I::Drop);
        f.instruction(&I::I32Const(0)).instruction(&I::I32Load(at)).instruction(&I::GlobalSet(acc));
        let operands = |f: &mut Function| {
            f.instruction(&I::GlobalGet(fuel)).instruction(&I::GlobalGet(acc));
            f.instruction(&I::I32Const(7)).instruction(&I::I32Mul);
        };
        operands(f);
        f.instruction(&I::I32Sub).instruction(&I::I32Const(0));
        // The start function may have left less: fuel below nothing would be four thousand millions.
        operands(f);
        f.instruction(&I::I32GtU).instruction(&I::Select);
        f.instruction(&I::GlobalSet(fuel)).instruction(&I::End);
    }

    /// References to the two functions that are named, and to an exception, as far as accepted.
    fn own_locals(&self) -> Vec<(u32, ValType)> {
        let mut all = vec![];
        if ACCEPTED.typed_references {
            for func in &self.named {
                let heap_type = HeapType::Concrete(self.funcs[*func as usize]);
                all.push((1, ValType::Ref(RefType { nullable: true, heap_type })));
            }
        }
        if ACCEPTED.exnref {
            all.push((1, ValType::EXNREF));
        }
        all
    }

    /// What makes a run differ from another: the number of arguments.
    fn own_import(&self, out: &mut ImportSection) {
        let ty = EntityType::Function(self.own_types + 3);
        out.import("wasi_snapshot_preview1", "args_sizes_get", ty);
    }

    /// One without values, then one with.
    fn own_tags(&self, out: &mut TagSection) {
        for func_type_idx in [self.own_types, self.own_types + 1] {
            out.tag(TagType { kind: TagKind::Exception, func_type_idx });
        }
    }

    /// What a branch to a construct takes along.
    fn label(&self, t: BlockType, is_loop: bool) -> Vec<wasmparser::ValType> {
        use wasmparser::ValType as V;
        match t {
            BlockType::Result(t) if !is_loop => vec![match t {
                ValType::I32 => V::I32,
                ValType::I64 => V::I64,
                ValType::F32 => V::F32,
                ValType::F64 => V::F64,
                ValType::V128 => V::V128,
                ValType::FUNCREF => V::FUNCREF,
                ValType::EXTERNREF => V::EXTERNREF,
                ValType::Ref(_) => V::EXNREF,
            }],
            BlockType::FunctionType(i) if is_loop => self.types[i as usize].params().to_vec(),
            BlockType::FunctionType(i) => self.types[i as usize].results().to_vec(),
            _ => vec![],
        }
    }

    fn constant(&mut self, f: &mut Function, t: wasmparser::ValType) {
        use wasmparser::ValType as V;
        let r = self.state.bits();
        let small = if r & 3 == 0 { r >> 2 } else { (r >> 2) % 8 };
        let vector = u128::from(self.state.bits()) << 64 | u128::from(r);
        f.instruction(&match t {
            V::I32 if r & 60 == 0 => I::GlobalGet(self.globals),
            V::I32 => I::I32Const(small as i32),
            V::I64 => I::I64Const(small as i64),
            V::F32 => I::F32Const((small as f32 / 4.0).into()),
            V::F64 => I::F64Const((small as f64 / 4.0).into()),
            V::V128 => I::V128Const(vector as i128),
            V::Ref(t) if t.is_extern_ref() => I::RefNull(HeapType::EXTERN),
            V::Ref(t) if t.is_func_ref() => {
                if r & 1 == 0 {
                    I::RefNull(HeapType::FUNC)
                } else {
                    I::RefFunc(self.named[(r >> 1) as usize % 2])
                }
            }
            V::Ref(_) => I::RefNull(HeapType::Abstract {
                shared: false,
                ty: wasm_encoder::AbstractHeapType::Exn,
            }),
        });
    }
}

const RESULTS: [ValType; 6] =
    [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128, ValType::FUNCREF];

/// What our second tag carries.
const PAYLOAD: [ValType; 2] = [ValType::I32, ValType::I64];
const PAYLOAD_PARSED: [wasmparser::ValType; 2] =
    [wasmparser::ValType::I32, wasmparser::ValType::I64];

type Re = Result<(), Error<std::convert::Infallible>>;

impl Reencode for Wrap {
    type Error = std::convert::Infallible;

    fn parse_type_section(
        &mut self,
        out: &mut TypeSection,
        s: wasmparser::TypeSectionReader<'_>,
    ) -> Re {
        utils::parse_type_section(self, out, s)?;
        out.ty().function([], []);
        out.ty().function(PAYLOAD, []);
        out.ty().function([], PAYLOAD);
        out.ty().function([ValType::I32, ValType::I32], [ValType::I32]);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        out: &mut ImportSection,
        s: wasmparser::ImportSectionReader<'_>,
    ) -> Re {
        utils::parse_import_section(self, out, s)?;
        self.own_import(out);
        Ok(())
    }

    fn function_index(&mut self, func: u32) -> Result<u32, Error<Self::Error>> {
        Ok(func + u32::from(func >= self.args))
    }

    fn parse_function_section(
        &mut self,
        out: &mut FunctionSection,
        s: wasmparser::FunctionSectionReader<'_>,
    ) -> Re {
        utils::parse_function_section(self, out, s)?;
        out.function(self.own_types);
        Ok(())
    }

    // There is always one: the fuel.
    fn parse_global_section(
        &mut self,
        out: &mut GlobalSection,
        s: wasmparser::GlobalSectionReader<'_>,
    ) -> Re {
        utils::parse_global_section(self, out, s)?;
        for t in RESULTS {
            use wasm_encoder::ConstExpr as C;
            let init = match t {
                ValType::I32 => C::i32_const(0),
                ValType::I64 => C::i64_const(0),
                ValType::F32 => C::f32_const(0.0.into()),
                ValType::F64 => C::f64_const(0.0.into()),
                ValType::V128 => C::v128_const(0),
                _ => C::ref_null(HeapType::FUNC),
            };
            out.global(GlobalType { val_type: t, mutable: true, shared: false }, &init);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        out: &mut ExportSection,
        _: wasmparser::ExportSectionReader<'_>,
    ) -> Re {
        let n = self.funcs.len() as u32;
        out.export("_start", ExportKind::Func, n);
        // `_start` names functions in `ref.func`: an export is what allows that.
        for i in (0..n).filter(|&i| self.all || self.named.contains(&i)) {
            out.export(&format!("f{i}"), ExportKind::Func, i);
        }
        for i in 0..self.globals + RESULTS.len() as u32 {
            out.export(&format!("g{i}"), ExportKind::Global, i);
        }
        for i in 0..self.tables + 2 {
            out.export(&format!("t{i}"), ExportKind::Table, i);
        }
        for i in 0..self.memories {
            out.export(&format!("m{i}"), ExportKind::Memory, i);
        }
        out.export("memory", ExportKind::Memory, 0);
        Ok(())
    }

    // There is always a table and an element segment. Of ours the first
    // holds every function at its index, and the second is written by the code we insert.
    fn parse_table_section(
        &mut self,
        out: &mut TableSection,
        s: wasmparser::TableSectionReader<'_>,
    ) -> Re {
        utils::parse_table_section(self, out, s)?;
        let minimum = self.funcs.len() as u64;
        let element_type = RefType::FUNCREF;
        for minimum in [minimum, 8] {
            let (table64, maximum, shared) = (false, None, false);
            out.table(TableType { element_type, table64, minimum, maximum, shared });
        }
        Ok(())
    }

    fn parse_element_section(
        &mut self,
        out: &mut ElementSection,
        s: wasmparser::ElementSectionReader<'_>,
    ) -> Re {
        utils::parse_element_section(self, out, s)?;
        let all: Vec<u32> = (0..self.funcs.len() as u32).collect();
        let zero = wasm_encoder::ConstExpr::i32_const(0);
        out.active(Some(self.tables), &zero, Elements::Functions(all.clone().into()));
        out.passive(Elements::Functions(all.into()));
        Ok(())
    }

    fn parse_tag_section(
        &mut self,
        out: &mut TagSection,
        s: wasmparser::TagSectionReader<'_>,
    ) -> Re {
        utils::parse_tag_section(self, out, s)?;
        self.own_tags(out);
        Ok(())
    }

    fn intersperse_section_hook(
        &mut self,
        out: &mut wasm_encoder::Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Re {
        if before == Some(SectionId::Function) && !self.imports {
            let mut imports = ImportSection::new();
            self.own_import(&mut imports);
            out.section(&imports);
        }
        if before == Some(SectionId::Global) && self.tags == 0 {
            let mut tags = TagSection::new();
            self.own_tags(&mut tags);
            out.section(&tags);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        out: &mut CodeSection,
        body: wasmparser::FunctionBody<'_>,
    ) -> Re {
        let mut reader = body.get_operators_reader()?;
        let ty = self.types[self.funcs[self.body] as usize].clone();
        self.body += 1;
        let mut locals = ty.params().to_vec();
        let mut declared = vec![];
        for group in body.get_locals_reader()? {
            let (n, t) = group?;
            locals.extend(std::iter::repeat_n(t, n as usize));
            declared.push((n, self.val_type(t)?));
        }
        // Behind them are ours, for references: see `insert`.
        declared.extend(self.own_locals());
        let mut f = Function::new(declared);
        let mut labels = vec![ty.results().to_vec()];
        // A function and a loop begin with taking fuel; nothing may come before.
        let mut charged = false;
        while !reader.eof() {
            if charged && self.state.chance(5) {
                self.insert(&mut f, &labels, &locals);
            }
            let caught = labels.iter().rev().position(|l| l.is_empty());
            let caught = caught.filter(|_| self.catches && self.state.chance(2));
            let i = self.parse_instruction(&mut reader)?;
            match i {
                I::GlobalSet(g) if g == self.globals - 1 => charged = true,
                I::Loop(_) => charged = false,
                _ => {}
            }
            if let (I::Call(callee), Some(label)) = (&i, caught) {
                let catch = [Catch::All { label: label as u32 }];
                let ty = BlockType::FunctionType(self.funcs[*callee as usize]);
                f.instruction(&match self.legacy {
                    true => I::Try(ty),
                    false => I::TryTable(ty, catch.as_slice().into()),
                });
            }
            let indirect = self.state.chance(3);
            match &i {
                &I::Call(callee) if indirect => {
                    let type_index = self.funcs[callee as usize];
                    f.instruction(&I::I32Const(callee as i32));
                    f.instruction(&I::CallIndirect { type_index, table_index: self.tables });
                }
                &I::ReturnCall(callee) if indirect => {
                    let type_index = self.funcs[callee as usize];
                    f.instruction(&I::I32Const(callee as i32));
                    f.instruction(&I::ReturnCallIndirect { type_index, table_index: self.tables });
                }
                I::Unreachable if self.throws => {
                    f.instruction(&I::Throw(self.tags));
                }
                i => {
                    f.instruction(i);
                }
            }
            match i {
                I::Block(t) | I::If(t) | I::TryTable(t, _) => labels.push(self.label(t, false)),
                I::Loop(t) => labels.push(self.label(t, true)),
                I::End => drop(labels.pop()),
                I::Call(_) => {
                    if let Some(label) = caught {
                        if self.legacy {
                            f.instruction(&I::CatchAll).instruction(&I::Br(label as u32 + 1));
                        }
                        f.instruction(&I::End);
                    }
                }
                _ => {}
            }
        }
        out.function(&f);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        out: &mut CodeSection,
        s: wasmparser::CodeSectionReader<'_>,
    ) -> Re {
        utils::parse_code_section(self, out, s)?;
        let start = self.start();
        out.function(&start);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Validator, WasmFeatures};

    /// Also with what is not accepted yet.
    #[test]
    fn what_is_generated_is_valid() {
        let (mut made, mut old) = (0, 0);
        for seed in 0..400u64 {
            let Some(Made { wasm, legacy }) = module(&seed.to_le_bytes()) else { continue };
            made += 1;
            old += usize::from(legacy.is_some());
            for wasm in [Some(wasm), legacy].iter().flatten() {
                let mut validator = Validator::new_with_features(WasmFeatures::all());
                if let Err(e) = validator.validate_all(wasm) {
                    panic!("seed {seed}: {e}");
                }
            }
        }
        assert!(made > 300 && old > 30, "only {made} modules, {old} of them in both forms");
    }
}
