//! The program as Binaryen's Asyncify instruments it, made so that it can stop in loops and in recursion too.
//!
//! ```text
//!   (loop $l ...)              (loop $l (if (i32.atomic.load offset=16 (i32.const 0)) (then (call $yield))) ...)
//!   (func $f ... (call $f))    (func $f (if ...) ... (call $f))
//!                              $yield: wasi_snapshot_preview1.sched_yield, its result dropped
//!
//!   then: wasm-opt --asyncify --pass-arg=asyncify-imports@wasi_snapshot_preview1.sched_yield -O2
//! ```
//!
//! Asyncify can save the stack in a call of an import that it was told of, and gives everything that may be on the stack then
//! what it needs for that. So there must be such a call wherever the program is to be stopped: at the header of each loop, and at
//! the entry of a function in each cycle of direct calls. The word that is asked is one that programs leave zero, in their own
//! memory below their data; it is loaded as our polls load theirs, for the same reason: a plain load is hoisted out of loops
//! that store nothing.

use crate::guest::{Guest, root};
use anyhow::{Context, Result, bail, ensure};
use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{BlockType, EntityType, Function, Instruction, MemArg, ValType};
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef};

/// What polls call: an import that our WASI has.
const YIELD: (&str, &str) = ("wasi_snapshot_preview1", "sched_yield");
/// The flag's address, in the part of the memory that nothing is put into.
const FLAG: u64 = 16;
const FEATURES: [&str; 9] = [
    "--enable-threads",
    "--enable-bulk-memory",
    "--enable-simd",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-exception-handling",
];

/// Large modules with large functions take it hours.
const PATIENCE: Duration = Duration::from_secs(600);

/// The instrumented module; kept in target/bench-asyncify, for Binaryen takes its time. What it cannot do is kept too.
pub fn instrument(g: &Guest) -> Result<Vec<u8>> {
    let polled = insert_polls(&g.bytes()?)?;
    let tool = root().join("target/guests/wasm-opt");
    let tool = std::fs::read_link(tool).context("`cargo xtask bench overhead` fetches Binaryen")?;
    let mut hash = DefaultHasher::new();
    hash.write(&polled);
    hash.write(tool.as_os_str().as_encoded_bytes());
    let folder = root().join("target/bench-asyncify");
    std::fs::create_dir_all(&folder)?;
    let kept = folder.join(format!("{}-{:016x}.wasm", g.name, hash.finish()));
    let failed = kept.with_extension("failed");
    if let Ok(why) = std::fs::read_to_string(&failed) {
        bail!("{why}");
    }
    if !kept.exists() {
        let dir = tempfile::tempdir_in(&folder)?;
        let (from, to) = (dir.path().join("polled.wasm"), dir.path().join("asyncify.wasm"));
        std::fs::write(&from, polled)?;
        if let Err(e) = wasm_opt(&tool, &from, &to) {
            std::fs::write(&failed, e.to_string())?;
            return Err(e);
        }
        std::fs::rename(to, &kept)?;
    }
    Ok(std::fs::read(kept)?)
}

fn wasm_opt(tool: &Path, from: &Path, to: &Path) -> Result<()> {
    let errors = from.with_extension("errors");
    let mut command = Command::new(tool);
    command.arg(from).args(FEATURES).args(["--asyncify", "-O2"]);
    command.arg(format!("--pass-arg=asyncify-imports@{}.{}", YIELD.0, YIELD.1)).arg("-o").arg(to);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
    let mut child = command.spawn().context("cannot start wasm-opt, a program for node")?;
    let started = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if started.elapsed() < PATIENCE => sleep(Duration::from_millis(50)),
            None => {
                child.kill()?;
                child.wait()?;
                bail!(
                    "wasm-opt was not done after {PATIENCE:?} (to try again, delete target/bench-asyncify)"
                );
            }
        }
    };
    if !status.success() {
        // Between lines of its own source, which node prints.
        let said = std::fs::read_to_string(&errors)?;
        let words = ["Fatal", "RuntimeError", "UNREACHABLE"];
        let why = said.lines().find(|l| l.len() < 300 && words.iter().any(|w| l.contains(w)));
        bail!("wasm-opt: {}", why.unwrap_or("failed"));
    }
    Ok(())
}

/// Polls at loop headers, and at a function's entry in each cycle of calls.
fn insert_polls(module: &[u8]) -> Result<Vec<u8>> {
    let calls = Calls::of(module)?;
    ensure!(calls.imported > 0, "a module without imports");
    let mut polls = Polls {
        imported: calls.imported,
        types: calls.types,
        entries: calls.cycles(),
        next: calls.imported,
    };
    let mut out = wasm_encoder::Module::new();
    polls.parse_core_module(&mut out, Parser::new(0), module).context("inserting polls")?;
    Ok(out.finish())
}

/// Who calls whom.
struct Calls {
    /// Imported functions; they come first.
    imported: u32,
    types: u32,
    /// Of each function that is not imported.
    callees: Vec<Vec<u32>>,
}

impl Calls {
    fn of(module: &[u8]) -> Result<Calls> {
        let mut calls = Calls { imported: 0, types: 0, callees: vec![] };
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(types) => {
                    for group in types {
                        calls.types += group?.types().count() as u32;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        calls.imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let mut callees = vec![];
                    for operator in body.get_operators_reader()? {
                        if let Operator::Call { function_index: f }
                        | Operator::ReturnCall { function_index: f } = operator?
                        {
                            callees.extend(f.checked_sub(calls.imported));
                        }
                    }
                    calls.callees.push(callees);
                }
                _ => {}
            }
        }
        Ok(calls)
    }

    /// At least one function of each cycle: a search, depth first, meets it while it still looks at what it calls.
    fn cycles(&self) -> HashSet<u32> {
        let (mut found, mut seen) = (HashSet::new(), vec![false; self.callees.len()]);
        let mut open = vec![false; self.callees.len()];
        for root in 0..self.callees.len() {
            let mut path = vec![(root, 0)];
            while let Some((f, next)) = path.pop() {
                if next == 0 {
                    if std::mem::replace(&mut seen[f], true) {
                        continue;
                    }
                    open[f] = true;
                }
                let Some(&callee) = self.callees[f].get(next) else {
                    open[f] = false;
                    continue;
                };
                path.push((f, next + 1));
                if open[callee as usize] {
                    found.insert(self.imported + callee);
                } else {
                    path.push((callee as usize, 0));
                }
            }
        }
        found
    }
}

struct Polls {
    imported: u32,
    types: u32,
    /// Functions that poll at their entry.
    entries: HashSet<u32>,
    /// Index of the function whose body comes next.
    next: u32,
}

impl Polls {
    fn poll(&self, f: &mut Function) {
        let flag = MemArg { offset: FLAG, align: 2, memory_index: 0 };
        f.instruction(&Instruction::I32Const(0)).instruction(&Instruction::I32AtomicLoad(flag));
        f.instruction(&Instruction::If(BlockType::Empty));
        f.instruction(&Instruction::Call(self.imported)).instruction(&Instruction::Drop);
        f.instruction(&Instruction::End);
    }
}

impl Reencode for Polls {
    type Error = Infallible;

    /// The new import is the last one.
    fn function_index(&mut self, f: u32) -> Result<u32, Error<Infallible>> {
        Ok(if f < self.imported { f } else { f + 1 })
    }

    fn parse_type_section(
        &mut self,
        types: &mut wasm_encoder::TypeSection,
        section: wasmparser::TypeSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        wasm_encoder::reencode::utils::parse_type_section(self, types, section)?;
        types.ty().function([], [ValType::I32]);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut wasm_encoder::ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        wasm_encoder::reencode::utils::parse_import_section(self, imports, section)?;
        imports.import(YIELD.0, YIELD.1, EntityType::Function(self.types));
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut wasm_encoder::CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut f = self.new_function_with_parsed_locals(&body)?;
        if self.entries.contains(&self.next) {
            self.poll(&mut f);
        }
        self.next += 1;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let instruction = self.parse_instruction(&mut reader)?;
            f.instruction(&instruction);
            if matches!(instruction, Instruction::Loop(_)) {
                self.poll(&mut f);
            }
        }
        code.function(&f);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::{Engine, Linker, Module, Store};

    /// A loop in a loop, a recursion through another function, a call through a table, a loop with a parameter.
    const PROGRAM: &str = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (table funcref (elem $down $exit))
        (func $even (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
                (else (call $odd (i32.sub (local.get 0) (i32.const 1))))))
        (func $odd (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
                (else (call $even (i32.sub (local.get 0) (i32.const 1))))))
        (func $down (param i32) (result i32)
            (local.get 0)
            (loop $l (param i32) (result i32)
                (i32.const 3) (i32.sub) (local.tee 0)
                (local.get 0) (i32.const 0) (i32.gt_s) (br_if $l)))
        (func (export "run") (param i32) (result i32) (local $i i32) (local $j i32) (local $sum i32)
            (loop $outer
                (local.set $j (i32.const 0))
                (loop $inner
                    (local.set $sum (i32.add (local.get $sum) (call $even (local.get $j))))
                    (br_if $inner (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get 0))))
                (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get 0))))
            (i32.add (local.get $sum) (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))))"#;

    /// What `run` gives, and how often it has yielded.
    fn run(module: &[u8], flag: u8) -> (i32, u32) {
        let engine = Engine::default();
        let module = Module::new(&engine, module).unwrap();
        let mut linker = Linker::<u32>::new(&engine);
        linker.func_wrap(YIELD.0, "proc_exit", |_: i32| ()).unwrap();
        let count = |mut caller: wasmtime::Caller<'_, u32>| {
            *caller.data_mut() += 1;
            0i32
        };
        linker.func_wrap(YIELD.0, YIELD.1, count).unwrap();
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        memory.data_mut(&mut store)[FLAG as usize] = flag;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
        (f.call(&mut store, 10).unwrap(), *store.data())
    }

    #[test]
    fn polls_change_nothing_until_the_flag_is_set() {
        let plain = wat::parse_str(PROGRAM).unwrap();
        let polled = insert_polls(&plain).unwrap();
        assert_eq!(run(&plain, 0), (48, 0));
        assert_eq!(run(&polled, 0), (48, 0));
        // 10 of $outer, 100 of $inner, 4 of $down's loop; `even` is entered 1 + 1 + 2 + 2 + ... + 5 + 5 times for each of
        // `even(0)` to `even(9)`.
        assert_eq!(run(&polled, 1), (48, 10 + 100 + 4 + 10 * 30));
    }

    #[test]
    fn each_cycle_of_calls_has_a_poll() {
        let calls = Calls {
            imported: 2,
            types: 0,
            // 0 -> 1 -> 2 -> 0;  3 -> 3;  4 -> 3, 5;  5: a leaf
            callees: vec![vec![1], vec![5, 2], vec![0], vec![5, 3], vec![3, 5], vec![]],
        };
        assert_eq!(calls.cycles(), HashSet::from([2, 5]));
    }
}
