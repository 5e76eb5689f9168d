//! Random modules, plain against transformed against captured. Each run must end in the same way
//! and leave the same globals, tables and memories behind.
//!
//! ```text
//!   input ──generate──> module ─┬─ plain ───────────────────────────────────┐
//!                               ├─ transformed, never stopped               │
//!                               ├─ stopped at every safepoint,              ├─ the same end,
//!                               │    in a fresh instance each time          │    the same exports
//!                               └─ stopped at random, half of them in place,┘
//!                                    on Cranelift and Pulley by turns
//! ```
//!
//! Each of these is run with different numbers of arguments, which change what the module does.
//! Where the module is in the first form of exception handling, which the engine does not know, the
//! plain run is of the same module in the standard form. The engines make NaNs canonical,
//! so values are compared bit for bit. What cannot be compared is passed over and counted: modules
//! that are refused, and runs that exhaust the stack, which is deeper or shallower with safepoints.

mod generate;

use crate::random::Random;
use crate::tally;
use dormouse_engine::{Code, Error, Event, Gap, Machine, Observed, Options, Run};
use dormouse_state::State;
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use generate::Made;
use std::sync::{Arc, LazyLock};

/// Captures after which a run goes on without any.
const MOST_CAPTURES: u64 = 150;
/// So that fuel, not the stack, is what ends recursion.
const STACK: usize = 4 << 20;

/// The engines. Compiling takes most of the time, so most of them do it quickly.
struct Machines {
    /// Counts safepoints, and has them in every loop.
    quick: Machine,
    /// Counts those that are needed, optimising as for users.
    optimised: Machine,
    /// Other engines to resume on: Pulley, and such as do not count; with polls in every loop or where they are needed.
    others: [Machine; 3],
}

static MACHINES: LazyLock<Machines> = LazyLock::new(|| {
    let machine = |counted, every_loop, pulley, quick| {
        // One NaN, so that it can be compared, and relaxed SIMD that does not depend on the engine.
        let deterministic = true;
        let options = Options {
            counted,
            every_loop,
            pulley,
            quick,
            alone: quick,
            deterministic,
            stack: STACK,
            ..Options::default()
        };
        Machine::new(options).expect("an engine")
    };
    Machines {
        quick: machine(true, true, false, true),
        optimised: machine(true, false, false, false),
        others: [
            machine(true, false, true, true),
            machine(false, false, false, true),
            machine(false, true, true, true),
        ],
    }
});

/// Runs the module that `data` is, or that is generated from it.
///
/// # Panics
/// If the runs do not agree, or anything of ours fails.
pub fn run(data: &[u8]) {
    let made = match data.starts_with(b"\0asm") {
        true => Made { wasm: data.to_vec(), legacy: None },
        false => match generate::module(data) {
            Some(made) => made,
            None => return tally::add("no module", 1),
        },
    };
    let ours = made.legacy.as_ref().unwrap_or(&made.wasm);
    if made.legacy.is_some() {
        tally::add("legacy exceptions", 1);
    }
    let plan = Plan::of(data);
    if let Err(e) = compare_runs(&made.wasm, ours, &plan) {
        panic!("{e}");
    }
}

/// The module that is made of an input; none if nothing can be made of it.
pub fn module(input: &[u8]) -> Option<Vec<u8>> {
    generate::module(input).map(|made| made.legacy.unwrap_or(made.wasm))
}

/// The engine of programs that count their safepoints.
pub fn counting() -> &'static Machine {
    &MACHINES.quick
}

/// How a module is run.
struct Plan {
    random: Random,
    /// Numbers of arguments.
    arguments: usize,
    /// Runs with random gaps for each of them.
    random_gaps: usize,
    optimised: bool,
    others: bool,
}

impl Plan {
    fn of(data: &[u8]) -> Plan {
        if data.starts_with(b"\0asm") {
            // A module that is kept has been interesting: try more.
            let random = Random(7);
            return Plan { random, arguments: 4, random_gaps: 8, optimised: true, others: true };
        }
        let mut random = Random::from_input(data).0;
        let (optimised, others) = (random.chance(16), random.chance(8));
        Plan { random, arguments: 3, random_gaps: 2, optimised, others }
    }
}

type End = (String, Option<Observed>);

fn wasi(arguments: usize) -> Wasi {
    let (args, stdio) = (vec![b"fuzz".to_vec(); arguments], StdioConfig::null());
    Wasi::new(WasiConfig { args, stdio, ..WasiConfig::default() }).expect("no directories")
}

/// Compares runs of `wasm`, plain, with runs of `ours`, transformed: the same module, or one in an
/// older form.
fn compare_runs(wasm: &[u8], ours: &[u8], plan: &Plan) -> Result<(), String> {
    let machines = &*MACHINES;
    let machine = if plan.optimised { &machines.optimised } else { &machines.quick };
    let code = match machine.load(ours.into()) {
        Ok(c) => Arc::new(c),
        Err(Error::Module(dormouse_transform::Error::Unsupported { feature, .. })) => {
            if std::env::var_os("FUZZ_REFUSED").is_some() {
                println!("refused: {feature}");
            }
            tally::add("refused", 1);
            return Ok(());
        }
        Err(e) => return Err(format!("cannot be loaded: {e}")),
    };
    // A module that was kept may be in the first form only: then what it is translated to will do.
    let translated = || machine.load_plain(code.program()?.bytes());
    let plain = machine.load_plain(wasm).or_else(|_| translated());
    let plain = plain.map_err(|e| format!("plain: {e}"))?;
    let mut codes = vec![code];
    if plan.others {
        for m in &machines.others {
            codes.push(Arc::new(m.load(ours.into()).map_err(|e| format!("elsewhere: {e}"))?));
        }
    }
    // Programs need a deep stack; counts go to the thread that asks for them.
    let (result, counted) = machine
        .on_stack(|| {
            let mut random = plan.random.clone();
            let all = (1..=plan.arguments).try_for_each(|n| {
                compare_with_arguments(&plain, &codes, n, plan.random_gaps, &mut random)
                    .map_err(|e| format!("with {n} arguments: {e}"))
            });
            tally::add("continuations", codes[0].continuations_compiled());
            (all, tally::take())
        })
        .map_err(|e| e.to_string())?;
    for (what, n) in counted {
        tally::add(what, n);
    }
    tally::add("modules", 1);
    result
}

fn compare_with_arguments(
    plain: &dormouse_engine::Plain,
    codes: &[Arc<Code>],
    arguments: usize,
    random_gaps: usize,
    random: &mut Random,
) -> Result<(), String> {
    let plain = plain.run_observed(wasi(arguments)).map_err(|e| e.to_string())?;
    let plain = (kind(&plain.0), plain.1);
    tally::add("runs", 1);
    if exhausted(&plain.0) {
        tally::add("stack exhausted", 1);
        return Ok(());
    }
    if !plain.0.starts_with("Exited") {
        tally::add("trapped", 1);
    }
    let mut gaps = vec![None, Some(Gap::Every(1))];
    gaps.extend((0..random_gaps).map(|_| {
        let most = 2 + random.below(60) as u32;
        Some(Gap::Random { seed: random.bits(), most })
    }));
    for gap in gaps {
        let mut captures = 0;
        let end =
            captured(codes, gap, arguments, &mut captures).map_err(|e| format!("{gap:?}: {e}"))?;
        tally::add("runs", 1);
        tally::add("captures", captures);
        match compare(&plain, &end) {
            None => tally::add("stack exhausted", 1),
            Some(r) => r.map_err(|e| format!("{gap:?}: {e}"))?,
        }
        if matches!(gap, Some(Gap::Every(1))) && captures == 0 {
            return Ok(());
        }
    }
    Ok(())
}

/// Runs to the end, with captures. With random gaps half of the captures go on in place; all others
/// go on in a fresh instance of any of `codes`, and some are checked to give the same state again.
/// On a machine that does not count it runs to its end.
fn captured(
    codes: &[Arc<Code>],
    gap: Option<Gap>,
    arguments: usize,
    captures: &mut u64,
) -> Result<End, Error> {
    let mut random = match gap {
        Some(Gap::Random { seed, .. }) => Random(seed),
        _ => Random(arguments as u64),
    };
    let in_place = matches!(gap, Some(Gap::Random { .. }));
    let mut run = Run::start(codes[0].clone(), wasi(arguments))?;
    loop {
        run.stop_after(match gap {
            Some(Gap::Every(n)) if *captures < MOST_CAPTURES => n,
            Some(Gap::Random { most, .. }) if *captures < MOST_CAPTURES => {
                1 + random.below(most as usize) as u32
            }
            _ => i32::MAX as u32,
        });
        let event = run.advance()?;
        if event != Event::Stopped {
            return Ok((kind(&event), Some(run.observe())));
        }
        *captures += 1;
        if in_place && random.chance(2) {
            continue;
        }
        let encoded = run.state()?.encode();
        let memories: Vec<Pages> = run.memories()?.into_iter().map(|m| pages(m.1)).collect();
        drop(run);
        let state = State::decode(&encoded).map_err(|e| Error::State(e.to_string()))?;
        let restore = RestoreOptions { stdio: StdioConfig::null(), ..RestoreOptions::default() };
        let wasi = Wasi::restore(&state.wasi, restore)?;
        run = Run::resume(random.pick(codes).clone(), &state, wasi, |index, into| {
            for (at, page) in &memories[index as usize] {
                into[*at..*at + PAGE].copy_from_slice(page);
            }
            Ok(())
        })?;
        if *captures < 20 || captures.is_multiple_of(16) {
            let again = State { wasi: state.wasi.clone(), ..run.state()? };
            if again.encode() != encoded {
                return Err(Error::State("a resumed run has another state".into()));
            }
        }
    }
}

const PAGE: usize = 4096;
type Pages = Vec<(usize, Vec<u8>)>;

/// Where a memory is not zero, and what is there.
fn pages(memory: &[u8]) -> Pages {
    let at = (0..).step_by(PAGE);
    let all = at.zip(memory.chunks_exact(PAGE));
    all.filter(|p| *p.1 != [0; PAGE]).map(|(at, p)| (at, p.to_vec())).collect()
}

/// The kind of an end, without the names of functions.
fn kind(e: &Event) -> String {
    match e {
        Event::Trapped(t) => {
            let of = |l: &&str| ["trap", "exception", "exhausted"].iter().any(|w| l.contains(w));
            let line = t.lines().rev().find(of).unwrap_or(t).trim();
            line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == ' ').into()
        }
        Event::Aborted(t) => t.to_string(),
        other => format!("{other:?}"),
    }
}

fn exhausted(e: &str) -> bool {
    e.contains("call stack exhausted")
}

/// `None` if the run cannot be compared.
fn compare(plain: &End, other: &End) -> Option<Result<(), String>> {
    if exhausted(&other.0) {
        return None;
    }
    if plain.0 != other.0 {
        return Some(Err(format!("plain: {}, transformed: {}", plain.0, other.0)));
    }
    let (Some(a), Some(b)) = (&plain.1, &other.1) else { return Some(Ok(())) };
    for (name, value) in a {
        if b.get(name) != Some(value) {
            let show = |v: Option<&Vec<u8>>| match v {
                Some(v) if v.len() <= 16 => format!("{v:02x?}"),
                Some(v) if v.len() < 400 => String::from_utf8_lossy(v).into_owned(),
                Some(v) => format!("{} bytes", v.len()),
                None => "nothing".into(),
            };
            return Some(Err(format!(
                "{name}: plain {}, transformed {}",
                show(Some(value)),
                show(b.get(name))
            )));
        }
    }
    Some(Ok(()))
}
