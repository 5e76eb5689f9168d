//! From nothing to a program's first instruction, or to a whole short program.
//!
//! ```text
//!   warm   whole processes, in turn, the code in each one's cache:
//!            dormouse run   /   the barest embedding that loads the same code without safepoints
//!            dormouse run   /   the stock command, `wasmtime run` with its cache on
//!   cold   in this process, nothing in a cache, until the first instruction could run:
//!            transform, compile, write into the cache   /   compile the module as it is
//! ```
//!
//! Binaries are copied first, as an installation does. As the linker leaves a file its pages lie scattered in the
//! page cache, and a process takes more page faults to start.

use crate::{guest, median};
use anyhow::{Context, Result, ensure};
use dormouse_engine::{Event, Machine, Options};
use dormouse_wasi::{Wasi, WasiConfig};
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// `cargo xtask bench` says here where the stock command lies.
const STOCK: &str = "DORMOUSE_BENCH_WASMTIME";

pub fn run() -> Result<()> {
    warm()?;
    cold(&["hello", "lua-mix", "sqlite", "python-mix"])
}

/// A program that is started, what it is given, and how often.
struct Started {
    name: &'static str,
    guest: &'static str,
    args: &'static [&'static str],
    rounds: usize,
}

/// CPython does nothing but start: to import its library is most of that, and the same for all.
const STARTED: [Started; 2] = [
    Started { name: "hello", guest: "hello", args: &[], rounds: 41 },
    Started { name: "python -c pass", guest: "python-mix", args: &["-c", "pass"], rounds: 11 },
];

/// Runs a file written by [`Plain::save`](dormouse_engine::Plain::save), and nothing else.
pub fn bare(compiled: &Path, args: &[&str]) -> Result<()> {
    let machine = Machine::new(Options::default())?;
    let plain = machine.open_plain(compiled)?;
    let args = std::iter::once("bare").chain(args.iter().copied());
    let args = args.map(|a| a.as_bytes().to_vec()).collect();
    let wasi = Wasi::new(WasiConfig { args, ..WasiConfig::default() })?;
    let end = machine.on_stack(|| plain.run(wasi))??;
    ensure!(end == Event::Exited(0), "{end:?}");
    Ok(())
}

fn warm() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let here = std::env::current_exe()?;
    let install = |from: &Path| -> Result<PathBuf> {
        let to = dir.path().join(from.file_name().context("no file's name")?);
        std::fs::copy(from, &to).with_context(|| format!("no {}", from.display()))?;
        Ok(to)
    };
    let me = install(&here)?;
    let dormouse = install(&here.with_file_name("dormouse"))?;
    let stock = std::env::var_os(STOCK).map(|path| install(path.as_ref())).transpose()?;
    let config = dir.path().join("wasmtime.toml");
    std::fs::write(&config, format!("[cache]\ndirectory = {:?}\n", dir.path().join("stock")))?;

    println!("start with a warm cache: whole processes in turn, wall time, medians\n");
    println!(
        "| program | bare embedding ms | `wasmtime run` ms | `dormouse run` ms | / bare | / `wasmtime run` |"
    );
    println!("|---|---|---|---|---|---|");
    for s in &STARTED {
        let g = guest::all()?.into_iter().find(|g| g.name == s.guest);
        let g = g.with_context(|| format!("no guest `{}`", s.guest))?;
        let wasm = guest::root().join(&g.wasm);
        let compiled = dir.path().join(format!("{}.compiled", g.name));
        Machine::new(Options::default())?.load_plain(&g.bytes()?)?.save(&compiled)?;
        let mut bare = Command::new(&me);
        bare.arg("bare").arg(&compiled).args(s.args);
        let mut ours = Command::new(&dormouse);
        ours.arg("run").arg("--store").arg(dir.path().join("store")).arg("--cache");
        ours.arg(dir.path().join("cache")).arg(&wasm).arg("--").args(s.args);
        let mut stock = stock.as_ref().map(|wasmtime| {
            let mut stock = Command::new(wasmtime);
            stock.args(["run", "-C", "cache=y", "-C"]);
            stock.arg(format!("cache-config={}", config.display())).arg(&wasm).args(s.args);
            stock
        });
        let (mut a, mut b, mut c) = (vec![], vec![], vec![]);
        // The first round fills the caches.
        for round in 0..=s.rounds {
            let times = (time(&mut bare)?, stock.as_mut().map(time).transpose()?, time(&mut ours)?);
            if round > 0 {
                a.push(times.0);
                b.push(times.1.unwrap_or(f64::NAN));
                c.push(times.2);
            }
        }
        let to = |others: &[f64]| median(c.iter().zip(others).map(|(c, o)| c / o).collect());
        let (to_bare, to_stock) = (to(&a), to(&b));
        println!(
            "| {} | {:.1} | {:.1} | {:.1} | {to_bare:.2} | {to_stock:.2} |",
            s.name,
            median(a),
            median(b),
            median(c)
        );
    }
    println!("\ntarget: at most 1.1 of plain wasmtime\n");
    Ok(())
}

/// Milliseconds that a process takes.
fn time(c: &mut Command) -> Result<f64> {
    let t = Instant::now();
    let status = c.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{c:?} failed: {status}");
    Ok(t.elapsed().as_secs_f64() * 1e3)
}

/// Ways to compile, in the order of the table's columns; the first is without safepoints.
const COLUMNS: [&str; 4] = ["plain", "with safepoints", "quickly", "quickly, for the interpreter"];

fn cold(names: &[&str]) -> Result<()> {
    println!("start with a cold cache, until the first instruction: CPU seconds of all threads,");
    println!("in brackets wall seconds, of the better of two rounds in turn\n");
    println!("| program | {} | with safepoints / plain |", COLUMNS.join(" | "));
    println!("|---|---|---|---|---|---|");
    for g in guest::all()?.into_iter().filter(|g| names.contains(&g.name.as_str())) {
        let bytes: Arc<[u8]> = g.bytes()?.into();
        let mut best = [Spent { cpu: f64::MAX, wall: f64::MAX }; COLUMNS.len()];
        for _ in 0..2 {
            for (way, best) in best.iter_mut().enumerate() {
                let spent = compile(way, &bytes)?;
                if spent.cpu < best.cpu {
                    *best = spent;
                }
            }
        }
        let cells = best.map(|s| format!("{:.2} ({:.2})", s.cpu, s.wall)).join(" | ");
        println!("| {} | {cells} | {:.2} |", g.name, best[1].cpu / best[0].cpu);
    }
    println!("\ntarget: at most 1.3\n");
    Ok(())
}

fn compile(way: usize, bytes: &Arc<[u8]>) -> Result<Spent> {
    let dir = tempfile::tempdir()?;
    let cache = Some(dir.path().to_owned());
    let (quick, pulley) = (way >= 2, way == 3);
    let machine = Machine::new(Options { cache, quick, pulley, ..Options::default() })?;
    let before = Spent::now();
    match way {
        0 => machine.load_plain(bytes)?.save(&dir.path().join("plain"))?,
        _ => drop(machine.load(bytes.clone())?),
    }
    Ok(before.since())
}

/// Seconds.
#[derive(Clone, Copy)]
struct Spent {
    cpu: f64,
    wall: f64,
}

impl Spent {
    fn now() -> Spent {
        let read = |clock| {
            let t = clock_gettime(clock);
            t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
        };
        Spent { cpu: read(ClockId::ProcessCPUTime), wall: read(ClockId::Monotonic) }
    }

    fn since(&self) -> Spent {
        let now = Spent::now();
        Spent { cpu: now.cpu - self.cpu, wall: now.wall - self.wall }
    }
}
