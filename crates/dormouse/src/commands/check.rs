//! `check`: what a module uses, and whether it can be checkpointed.

use super::Done;
use crate::{cli, size, ui};
use dormouse::exit;
use dormouse_engine::restartable;
use dormouse_store::{hex, sha256};
use dormouse_transform::{Options, Poll, Program};
use dormouse_wasi::{Call, ValType};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use wasmparser::{CompositeInnerType, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef};

#[derive(Default, Serialize)]
struct Report {
    module: String,
    digest: String,
    size: usize,
    /// SHA-256 of what is run and stored in its place, if the module is translated first.
    #[serde(skip_serializing_if = "Option::is_none")]
    translated: Option<String>,
    can_be_checkpointed: bool,
    /// Why not.
    problems: Vec<String>,
    /// WebAssembly beyond version 1, by proposal.
    features: BTreeSet<String>,
    /// Imported functions, as `module.name`.
    imports: Vec<String>,
    /// Exported functions: `_start` is a program's own, others are called with `run --invoke`.
    exports: Vec<String>,
    functions: usize,
    /// Functions that end so soon that they are never stopped inside.
    atomic_functions: usize,
    safepoints: u32,
    memories: u32,
    globals: usize,
    /// Tables that are state; those the program never changes are not.
    tables: usize,
}

pub fn check(args: cli::Check) -> Done {
    let bytes = super::read_module(&args.program)?;
    let digest = |bytes: &[u8]| format!("sha256:{}", hex(&sha256(bytes)));
    let mut report = Report {
        module: args.program.display().to_string(),
        digest: digest(&bytes),
        size: bytes.len(),
        ..Report::default()
    };
    let facts = Facts::of(&bytes);
    report.features = facts.features;
    report.imports = facts.imports;
    let options = Options { poll: Poll::Atomic, restartable, ..Options::default() };
    match Program::new(bytes.clone(), &options) {
        Err(e) => report.problems.push(dormouse::one_line(&e.to_string())),
        Ok(program) => {
            report.problems.extend(facts.problems);
            if **program.bytes() != *bytes {
                report.translated = Some(digest(program.bytes()));
            }
            if let Err(e) = program.check() {
                report.problems.push(dormouse::one_line(&e.to_string()));
            }
            report.exports = facts.exports;
            if report.exports.is_empty() {
                report.problems.push("it exports no function that could be called".to_owned());
            }
            let inventory = program.inventory();
            let (functions, atomic) = program.function_counts();
            report.functions = functions - program.imports().len();
            report.atomic_functions = atomic
                - program.imports().iter().filter(|i| !restartable(&i.module, &i.name)).count();
            report.safepoints = program.slots();
            report.memories = inventory.memories;
            report.globals = inventory.globals.len();
            report.tables = inventory.tables.len();
        }
    }
    report.can_be_checkpointed = report.problems.is_empty();
    if args.json {
        ui::print_json(&report);
    } else {
        ui::print(&text(&report));
    }
    Ok(if report.can_be_checkpointed { 0 } else { exit::FOUND })
}

/// Functions for `run --invoke` that are shown to people.
const MOST_EXPORTS: usize = 20;

fn text(r: &Report) -> String {
    let mut out = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(out, "{what:12}{value}");
    };
    line("module", format!("{} ({}, {})", r.module, r.digest, size::text(r.size as u64)));
    if let Some(digest) = &r.translated {
        line("translated", "from the legacy form of exception handling to try_table;".to_owned());
        line("", format!("what is run and stored is {digest}"));
    }
    let features: Vec<&str> = r.features.iter().map(String::as_str).collect();
    line("features", if features.is_empty() { "Wasm 1.0".to_owned() } else { features.join(", ") });
    if r.functions > 0 {
        line(
            "functions",
            format!("{}, of which {} are never stopped inside", r.functions, r.atomic_functions),
        );
        line("safepoints", r.safepoints.to_string());
        line(
            "state",
            format!("{} memories, {} globals, {} tables", r.memories, r.globals, r.tables),
        );
    }
    for (i, import) in r.imports.iter().enumerate() {
        line(if i == 0 { "imports" } else { "" }, import.clone());
    }
    let exports: Vec<&String> = r.exports.iter().filter(|e| *e != "_start").collect();
    for (i, export) in exports.iter().take(MOST_EXPORTS).enumerate() {
        line(if i == 0 { "--invoke" } else { "" }, export.to_string());
    }
    if let Some(more) = exports.len().checked_sub(MOST_EXPORTS + 1) {
        line("", format!("and {} more, see --json", more + 1));
    }
    match r.problems.as_slice() {
        [] => line("verdict", "can be checkpointed".to_owned()),
        problems => {
            line("verdict", "cannot be run and checkpointed:".to_owned());
            for problem in problems {
                line("", problem.clone());
            }
        }
    }
    out
}

/// What a pass over the module tells; of a broken one, what comes before the break.
#[derive(Default)]
struct Facts {
    features: BTreeSet<String>,
    imports: Vec<String>,
    exports: Vec<String>,
    problems: Vec<String>,
}

impl Facts {
    fn of(module: &[u8]) -> Facts {
        let mut facts = Facts::default();
        let mut types: Vec<FuncType> = vec![];
        let mut memories = 0;
        for payload in Parser::new(0).parse_all(module) {
            match payload {
                Ok(Payload::TypeSection(section)) => {
                    // Types that are not of functions keep their place.
                    let all = section.into_iter().flatten().flat_map(|group| group.into_types());
                    types.extend(all.map(|t| match t.composite_type.inner {
                        CompositeInnerType::Func(f) => f,
                        _ => FuncType::new([], []),
                    }));
                    if types.iter().any(|t| t.results().len() > 1) {
                        facts.features.insert("multi-value".to_owned());
                    }
                }
                Ok(Payload::ImportSection(section)) => {
                    for import in section.into_imports().flatten() {
                        facts.import(import.module, import.name, &import.ty, &types);
                    }
                }
                Ok(Payload::ExportSection(section)) => {
                    let functions = section.into_iter().flatten();
                    let functions = functions.filter(|e| e.kind == ExternalKind::Func);
                    facts.exports.extend(functions.map(|e| e.name.to_owned()));
                }
                Ok(Payload::MemorySection(section)) => memories += section.count(),
                Ok(Payload::TagSection(_)) => {
                    facts.features.insert("exceptions".to_owned());
                }
                Ok(Payload::CodeSectionEntry(body)) => {
                    let Ok(operators) = body.get_operators_reader() else {
                        break;
                    };
                    for operator in operators.into_iter().flatten() {
                        let proposal = proposal(&operator);
                        if proposal != "mvp" && !facts.features.contains(proposal) {
                            facts.features.insert(proposal.replace('_', "-"));
                        }
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        if memories > 1 {
            facts.features.insert("multi-memory".to_owned());
        }
        facts
    }

    fn import(&mut self, module: &str, name: &str, ty: &TypeRef, types: &[FuncType]) {
        let full = format!("{module}.{name}");
        self.imports.push(full.clone());
        let TypeRef::Func(ty) = ty else { return };
        let Some(call) = Call::imported(module, name) else {
            let names = format!("`{full}`");
            self.problems.push(dormouse_engine::Error::Imports { names }.to_string());
            return;
        };
        let same = |a: &[wasmparser::ValType], b: &[ValType]| {
            let b = b.iter().map(|t| match t {
                ValType::I32 => wasmparser::ValType::I32,
                ValType::I64 => wasmparser::ValType::I64,
            });
            a.iter().copied().eq(b)
        };
        if let Some(ty) = types.get(*ty as usize)
            && !(same(ty.params(), call.params) && same(ty.results(), call.results))
        {
            self.problems.push(dormouse_engine::Error::ImportType { name: full }.to_string());
        }
    }
}

/// The proposal an instruction came with; `mvp` for those of Wasm 1.0.
fn proposal(operator: &Operator<'_>) -> &'static str {
    macro_rules! proposals {
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
            match operator {
                $(Operator::$op { .. } => stringify!($proposal),)*
                _ => "unknown",
            }
        };
    }
    wasmparser::for_each_operator!(proposals)
}
