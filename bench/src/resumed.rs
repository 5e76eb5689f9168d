//! Is a program as fast after a resume as it was before? What was on the stack runs in continuations from then on, until
//! it returns: of an interpreter, its main loop for ever.
//!
//! ```text
//!   never     start ──────────────────────────────────────────> end                all: the CPU time of that
//!   resumed   start ──> stopped at a time drawn by lot, early
//!                         fresh instance, resumed ─────────────> end                first + rest
//!
//!   ratio = rest / (all - first)        in turn, median of the rounds
//! ```
//!
//! `--longer N` multiplies the last argument of each program, which says how much it has to do.
//!
//! Compiling continuations is not counted: it is done by other threads, once for all times.

use crate::guest::{self, Guest};
use crate::{cpu_seconds, median};
use anyhow::{Context, Result, ensure};
use dormouse_engine::{Code, Event, Machine, Options, Run};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// After one that warms up.
const ROUNDS: usize = 5;

/// Loops, recursion, memory, and programs whose main loop is on the stack all the time.
const CHOSEN: [&str; 12] = [
    "gemm",
    "jacobi-2d",
    "floyd-warshall",
    "mix",
    "fib",
    "nqueens",
    "quicksort",
    "sieve",
    "strings",
    "sqlite",
    "lua-mix",
    "python-mix",
];

pub fn run(args: &[&str]) -> Result<()> {
    let (longer, names) = match args {
        ["--longer", times, names @ ..] => {
            (times.parse().context("--longer takes a number")?, names)
        }
        names => (1u64, names),
    };
    println!("speed after resume: CPU time of the rest of the work, resumed / never stopped,");
    println!("in turn, one warm-up, median of {ROUNDS} rounds\n");
    println!("| program | all s | frames | ratio | least | most |");
    println!("|---|---|---|---|---|---|");
    let cache = guest::root().join("target/bench-cache");
    let machine = Machine::new(Options { cache: Some(cache), ..Options::default() })?;
    let mut logs = vec![];
    for g in guest::chosen(if names.is_empty() { &CHOSEN } else { names })? {
        let rounds = measure(&machine, &g, longer).with_context(|| g.name.clone())?;
        let of = |f: fn(&Round) -> f64| rounds.iter().map(f).collect::<Vec<f64>>();
        let ratios = of(|r| r.ratio);
        let (least, most) = ratios.iter().fold((f64::MAX, 0f64), |(l, m), &r| (l.min(r), m.max(r)));
        let ratio = median(ratios);
        println!(
            "| {} | {:.2} | {} | {ratio:.3} | {least:.3} | {most:.3} |",
            g.name,
            median(of(|r| r.all)),
            median(of(|r| r.frames)),
        );
        logs.push(ratio.ln());
    }
    let geomean = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
    println!("\ngeomean of {} programs: {geomean:.3} (target: at most 1.05 each)\n", logs.len());
    Ok(())
}

struct Round {
    /// Seconds.
    all: f64,
    frames: f64,
    ratio: f64,
}

fn measure(machine: &Machine, g: &Guest, longer: u64) -> Result<Vec<Round>> {
    let code = Arc::new(machine.load(g.bytes()?.into())?);
    // What a capture needs would else be made on the program's thread.
    code.program()?;
    let mut args = g.large.as_ref().unwrap_or(&g.small).args.clone();
    if longer > 1 {
        let work = args.last_mut().context("it takes no arguments")?;
        let amount: u64 = work.parse().with_context(|| format!("its last argument is {work:?}"))?;
        *work = amount.saturating_mul(longer).to_string();
    }
    let mut rounds = vec![];
    for round in 0..=ROUNDS {
        let began = Instant::now();
        let (wasi, _work, never) = g.wasi(&args)?;
        let (all, end) = machine.on_stack(|| timed(&mut Run::start(code.clone(), wasi)?))??;
        let took = began.elapsed();
        // Other times in each round, from a tenth of the run to a third.
        let after = took * (10 + 5 * (round as u32 % 6)) / 100;
        let (wasi, _work, resumed) = g.wasi(&args)?;
        let (first, rest, frames, again) =
            machine.on_stack(|| interrupted(&code, wasi, after))??;
        ensure!(end == again, "the two runs end differently: {end:?}, {again:?}");
        let text = |out: &guest::Output| out.lock().unwrap_or_else(|e| e.into_inner()).clone();
        ensure!(text(&never) == text(&resumed), "the two runs print different things");
        if round > 0 {
            rounds.push(Round { all, frames: frames as f64, ratio: rest / (all - first) });
        }
    }
    Ok(rounds)
}

/// CPU seconds before and after, how many frames there were, and the end.
fn interrupted(
    code: &Arc<Code>,
    wasi: dormouse_wasi::Wasi,
    after: Duration,
) -> Result<(f64, f64, usize, Event)> {
    let mut run = Run::start(code.clone(), wasi)?;
    let requester = run.requester();
    let (over, is_over) = mpsc::channel::<()>();
    let (first, event) = std::thread::scope(|threads| {
        threads.spawn(move || {
            // Either it is time, or the program has ended.
            let _ = is_over.recv_timeout(after);
            requester.request();
        });
        let done = timed(&mut run);
        drop(over);
        done
    })?;
    ensure!(event == Event::Stopped, "it ended before it was stopped: {event:?}");
    let frames = run.state()?.frames.len();
    run.move_to(code.clone())?;
    let (rest, end) = timed(&mut run)?;
    Ok((first, rest, frames, end))
}

/// CPU seconds of this thread until the program stops or ends.
fn timed(run: &mut Run) -> Result<(f64, Event)> {
    let before = cpu_seconds();
    let event = run.advance()?;
    Ok((cpu_seconds() - before, event))
}
