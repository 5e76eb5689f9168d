//! Differential fuzzing: random modules, plain against transformed against chaos. Each must end in
//! the same way and leave the same globals, tables and memories behind.
//!
//! ```text
//!   FUZZ_SECONDS=600 FUZZ_SEED=1   how long, and the first seed
//!   FUZZ_ONE=42                    one seed, verbosely; its module goes to $FUZZ_OUT (a directory)
//! ```

#[path = "fuzz/generate.rs"]
mod generate;

use dormouse_engine::{Code, Error, Event, Gap, Machine, Observed, Options, Run};
use dormouse_state::State;
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Captures after which a run is given up, as good as passed.
const MOST_CAPTURES: u64 = 2_000;

#[derive(Default, Debug)]
struct Count {
    seeds: u64,
    executions: u64,
    captures: u64,
    refused: u64,
    trapped: u64,
    captured: u64,
    exhausted: u64,
    cut_short: u64,
    deepest: usize,
}

type End = (String, Option<Observed>);

fn wasi() -> Wasi {
    let stdio = StdioConfig::null();
    Wasi::new(WasiConfig { args: vec![b"fuzz".to_vec()], stdio, ..WasiConfig::default() }).unwrap()
}

/// The kind of an end, without the names of functions.
fn kind(e: &Event) -> String {
    match e {
        Event::Trapped(t) => {
            let of = |l: &&str| ["trap", "exception", "exhausted"].iter().any(|w| l.contains(w));
            let line = t.lines().rev().find(of).unwrap_or(t).trim();
            line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == ' ').into()
        }
        other => format!("{other:?}"),
    }
}

fn exhausted(e: &str) -> bool {
    e.contains("call stack exhausted")
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        (generate::next(&mut self.0) >> 11) % n
    }
}

/// Runs to the end, with captures. With random gaps half of the captures go on in place; all others
/// go on in a fresh instance of any of `codes`, and some are checked to give the same state again.
/// On a machine that does not count it runs to its end. `None`: given up.
fn captured(
    codes: &[Arc<Code>],
    gap: Option<Gap>,
    seed: u64,
    count: &mut Count,
) -> Result<Option<End>, Error> {
    let mut random = Random(seed);
    let mut captures = 0;
    let mut run = Run::start(codes[0].clone(), wasi())?;
    loop {
        run.stop_after(match gap {
            None => i32::MAX as u32,
            Some(Gap::Every(n)) => n,
            Some(Gap::Random { most, .. }) => 1 + random.below(most.into()) as u32,
        });
        let event = run.advance()?;
        if event != Event::Stopped {
            return Ok(Some((kind(&event), Some(run.observe()))));
        }
        captures += 1;
        count.captures += 1;
        if captures == MOST_CAPTURES {
            count.cut_short += 1;
            return Ok(None);
        }
        if matches!(gap, Some(Gap::Random { .. })) && random.below(2) == 0 {
            continue;
        }
        let encoded = run.state()?.encode();
        let memories: Vec<Vec<u8>> = run.memories()?.into_iter().map(|m| m.1.to_vec()).collect();
        drop(run);
        let state = State::decode(&encoded).map_err(|e| Error::State(e.to_string()))?;
        count.deepest = count.deepest.max(state.frames.len());
        let restore = RestoreOptions { stdio: StdioConfig::null(), ..RestoreOptions::default() };
        let wasi = Wasi::restore(&state.wasi, restore)?;
        let code = &codes[random.below(codes.len() as u64) as usize];
        run = Run::resume(code.clone(), &state, wasi, |index, into| {
            into.copy_from_slice(&memories[index as usize]);
            Ok(())
        })?;
        if captures < 20 || captures % 16 == 0 {
            let again = State { wasi: state.wasi.clone(), ..run.state()? };
            assert_eq!(again.encode(), encoded, "a resumed run has another state");
        }
    }
}

/// `None` if the run cannot be compared.
fn compare(plain: &End, other: &End) -> Option<Result<(), String>> {
    if exhausted(&plain.0) || exhausted(&other.0) {
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

fn one(
    machines: &[Machine],
    seed: u64,
    wasm: &[u8],
    count: &mut Count,
    verbose: bool,
) -> Result<(), String> {
    count.seeds += 1;
    let machine = &machines[0];
    let code = match machine.load(wasm.into()) {
        Ok(c) => Arc::new(c),
        Err(Error::Module(dormouse_transform::Error::Unsupported { feature, .. })) => {
            if verbose || std::env::var_os("FUZZ_REFUSED").is_some() {
                println!("refused: {seed} {feature}");
            }
            count.refused += 1;
            return Ok(());
        }
        Err(e) => return Err(format!("cannot be loaded: {e}")),
    };
    let p = machine.load_plain(wasm).map_err(|e| format!("plain: {e}"))?;
    let plain = machine.on_stack(|| p.run_observed(wasi())).unwrap().map_err(|e| e.to_string())?;
    let plain = (kind(&plain.0), plain.1);
    if verbose {
        println!("plain: {}", plain.0);
    }
    if exhausted(&plain.0) {
        count.exhausted += 1;
        return Ok(());
    }
    if !plain.0.starts_with("Exited") {
        if std::env::var_os("FUZZ_REFUSED").is_some() {
            println!("trapped: {} inst {}", plain.0, plain.1.is_some());
        }
        count.trapped += 1;
    }
    let mut codes = vec![code];
    if seed.is_multiple_of(8) {
        for m in &machines[1..] {
            codes.push(Arc::new(m.load(wasm.into()).map_err(|e| format!("elsewhere: {e}"))?));
        }
    }
    let most = 3 + (seed % 60) as u32;
    let gaps = [None, Some(Gap::Every(1)), Some(Gap::Random { seed, most })];
    for gap in gaps {
        let before = count.captures;
        let end = machine
            .on_stack(|| captured(&codes, gap, seed, count))
            .unwrap()
            .map_err(|e| format!("{gap:?}: {e}"))?;
        count.executions += 1;
        let Some(end) = end else { continue };
        match compare(&plain, &end) {
            None => count.exhausted += 1,
            Some(r) => r.map_err(|e| format!("{gap:?}: {e}"))?,
        }
        let captures = count.captures - before;
        if verbose {
            println!("{gap:?}: {} after {captures} captures", end.0);
        }
        if matches!(gap, Some(Gap::Every(1))) && captures == 0 {
            return Ok(());
        }
    }
    count.captured += 1;
    Ok(())
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

#[test]
fn random_modules() {
    let machine = |counted, pulley| {
        Machine::new(Options { counted, pulley, stack: 8 << 20, ..Options::default() }).unwrap()
    };
    let machines =
        [machine(true, false), machine(true, true), machine(false, false), machine(false, true)];
    let out = std::env::var_os("FUZZ_OUT").map(std::path::PathBuf::from);
    let keep = |seed: u64, wasm: &[u8]| {
        if let Some(dir) = &out {
            std::fs::write(dir.join(format!("{seed}.wasm")), wasm).unwrap();
        }
    };
    let mut count = Count::default();
    let one_only = from_env("FUZZ_ONE");
    let first = one_only.or(from_env("FUZZ_SEED")).unwrap_or(1);
    let limit = Duration::from_secs(from_env("FUZZ_SECONDS").unwrap_or(10));
    let started = Instant::now();
    let mut failed = vec![];
    for seed in first.. {
        if let Some(wasm) = generate::module(seed) {
            if one_only.is_some() {
                keep(seed, &wasm);
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                one(&machines, seed, &wasm, &mut count, one_only.is_some())
            }));
            let why = match result {
                Ok(Ok(())) => None,
                Ok(Err(e)) => Some(e),
                Err(_) => Some("panicked".into()),
            };
            if let Some(e) = why {
                println!("seed {seed}: {e}");
                keep(seed, &wasm);
                failed.push(seed);
            }
        }
        if one_only.is_some() || started.elapsed() > limit || failed.len() >= 20 {
            println!("seeds {first} to {seed}");
            break;
        }
    }
    println!("{count:?}");
    assert!(failed.is_empty(), "failed: {failed:?}; try FUZZ_ONE={}", failed[0]);
    assert!(one_only.is_some() || count.captures > 0, "nothing was captured");
}
