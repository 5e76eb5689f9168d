//! Run time with safepoints over run time without, on the same engine with the same WASI.

pub mod instructions;
mod valgrind;
mod variant;

use crate::guest::{self, Guest};
use crate::median;
use anyhow::{Context, Result, ensure};
use dormouse_engine::{Event, Machine, Options, Run};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;

/// Counted rounds, after one that warms up.
const ROUNDS: usize = 3;

pub fn run(names: &[&str]) -> Result<()> {
    println!("run time with safepoints / plain wasmtime: CPU seconds of the program's thread,");
    println!("A and B in turn, one warm-up, median of {ROUNDS} rounds\n");
    println!("| program | plain s | ratio | least | most |");
    println!("|---|---|---|---|---|");
    let cache = guest::root().join("target/bench-cache");
    let machine = Machine::new(Options { cache: Some(cache), ..Options::default() })?;
    let mut logs = vec![];
    for g in guest::chosen(names)? {
        let (plain, ratios) = measure(&machine, &g).with_context(|| g.name.clone())?;
        let ratio = median(ratios.clone());
        let (least, most) = ratios.iter().fold((f64::MAX, 0f64), |(l, m), &r| (l.min(r), m.max(r)));
        println!("| {} | {plain:.2} | {ratio:.3} | {least:.3} | {most:.3} |", g.name);
        logs.push(ratio.ln());
    }
    let geomean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    println!("\ngeomean of {} programs: {geomean:.3} (target: at most 1.12)\n", logs.len());
    Ok(())
}

fn measure(machine: &Machine, g: &Guest) -> Result<(f64, Vec<f64>)> {
    let bytes = g.bytes()?;
    let args = &g.large.as_ref().unwrap_or(&g.small).args;
    let plain = machine.load_plain(&bytes)?;
    let code = Arc::new(machine.load(bytes.into())?);
    let (mut times, mut ratios) = (vec![], vec![]);
    for round in 0..=ROUNDS {
        let (wasi, work, a_out) = g.wasi(args)?;
        let (a, a_end) = machine.on_stack(|| timed(|| Ok(plain.run(wasi)?)))??;
        drop(work);
        let (wasi, work, b_out) = g.wasi(args)?;
        let (b, b_end) =
            machine.on_stack(|| timed(|| Ok(Run::start(code.clone(), wasi)?.advance()?)))??;
        drop(work);
        ensure!(a_end == b_end, "the two runs end differently: {a_end:?}, {b_end:?}");
        ensure!(
            *a_out.lock().unwrap_or_else(|e| e.into_inner())
                == *b_out.lock().unwrap_or_else(|e| e.into_inner()),
            "the two runs print different things"
        );
        if round > 0 {
            times.push(a);
            ratios.push(b / a);
        }
    }
    Ok((median(times), ratios))
}

/// CPU seconds of this thread.
fn timed(f: impl FnOnce() -> Result<Event>) -> Result<(f64, Event)> {
    let now = || {
        let t = clock_gettime(ClockId::ThreadCPUTime);
        t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
    };
    let before = now();
    let e = f()?;
    Ok((now() - before, e))
}
