//! Runs fuzz targets for a time and reports what they did.
//!
//! ```text
//!   seeds: first, first + 1, ...  ──> workers (--jobs) ──> inputs ──> target
//!                                         │                            └─ panic: keep the input,
//!                                         └─ counts, every minute         print how to repeat it
//! ```
//!
//! What dies or never ends is found as well: each worker writes its seed to a file before it
//! begins, and an input that takes minutes is a failure.

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use dormouse_fuzz::tally::{self, Tally};
use dormouse_fuzz::{TARGETS, Target};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An input that takes longer hangs: they take milliseconds, or a second on a very busy machine.
const HANGS: Duration = Duration::from_secs(300);
/// Failures after which a target is given up.
const MOST_FAILURES: usize = 20;

/// Fuzz Dormouse
#[derive(Parser)]
#[command(name = "cargo xtask fuzz")]
struct Args {
    /// How long, all targets together
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets (may be given again); all if there is none
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// The first seed; the time of day if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Only this seed
    #[arg(long, requires = "seed")]
    once: bool,
    /// Threads; as many as there are processors if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Only the input in this file
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    input: Option<PathBuf>,
    /// Make the module in this file smaller while it fails, and print it as text
    #[arg(long, value_name = "FILE", conflicts_with = "seed")]
    reduce: Option<PathBuf>,
    /// Where inputs that fail are kept
    #[arg(long, value_name = "DIR", default_value = "target/fuzz")]
    out: PathBuf,
    /// List the targets
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well.
fn run(args: &Args) -> Result<bool> {
    if args.list {
        for t in TARGETS {
            println!("{:16} {}", t.name, t.about);
        }
        return Ok(true);
    }
    let mut targets: Vec<&Target> = TARGETS.iter().collect();
    if !args.target.is_empty() {
        targets.retain(|t| args.target.iter().any(|name| name == t.name));
        let known = |name: &&String| TARGETS.iter().all(|t| t.name != **name);
        if let Some(name) = args.target.iter().find(known) {
            bail!("there is no target {name}; `cargo xtask fuzz --list` shows them");
        }
    }
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    if let Some(path) = &args.input {
        let [target] = targets[..] else { bail!("name the --target that the input is for") };
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        (target.run)(&bytes);
        println!("{}: {}: {}", target.name, path.display(), show(&tally::take()));
        return Ok(true);
    }
    if let Some(path) = &args.reduce {
        let [target] = targets[..] else { bail!("name the --target that the module is for") };
        return reduce(target, path).map(|()| true);
    }
    let now = std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_secs());
    let first = args.seed.unwrap_or(now * 1_000_000);
    let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
    let jobs = if args.once { 1 } else { args.jobs.unwrap_or(processors) };
    ensure!(jobs > 0, "--jobs must be at least 1");
    let shares: u32 = targets.iter().map(|t| t.share).sum();
    let mut good = true;
    for target in targets {
        let time = Duration::from_secs(args.seconds) * target.share / shares;
        good &= Fuzzing::new(target, args, first).run(jobs, time)?;
    }
    Ok(good)
}

/// What a failure says, without numbers: the same failure of a smaller module.
fn failure(target: &Target, bytes: &[u8]) -> Option<String> {
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let text = message(&*result.err()?).to_owned();
    // Nor with which gap it failed.
    let text = text.rsplit_once("): ").map_or(&*text, |t| t.1);
    Some(text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect())
}

fn reduce(target: &Target, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let wasm = wat::parse_bytes(&bytes)?.into_owned();
    std::panic::set_hook(Box::new(|_| {}));
    let Some(first) = failure(target, &wasm) else {
        bail!("{} does not fail", path.display());
    };
    let small = dormouse_fuzz::reduce::reduce(&wasm, |candidate| {
        failure(target, candidate).as_ref() == Some(&first)
    });
    eprintln!("{} bytes of {}: {first}", small.len(), wasm.len());
    println!("{}", wasmprinter::print_bytes(&small)?);
    Ok(())
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("panicked")
}

/// One target being fuzzed.
struct Fuzzing<'a> {
    target: &'static Target,
    args: &'a Args,
    first: u64,
    next: AtomicU64,
    stop: AtomicBool,
    total: Mutex<Tally>,
    failed: Mutex<Vec<u64>>,
    /// What each worker does, since when.
    at: Mutex<Vec<Option<(u64, Instant)>>>,
}

impl Fuzzing<'_> {
    fn new<'a>(target: &'static Target, args: &'a Args, first: u64) -> Fuzzing<'a> {
        Fuzzing {
            target,
            args,
            first,
            next: AtomicU64::new(first),
            stop: AtomicBool::new(false),
            total: Mutex::default(),
            failed: Mutex::default(),
            at: Mutex::default(),
        }
    }

    fn run(&self, jobs: usize, time: Duration) -> Result<bool> {
        let started = Instant::now();
        let cpu = cpu_time();
        *lock(&self.at) = vec![None; jobs];
        let out = &self.args.out;
        let notes = File::create(out.join(format!("{}.running", self.target.name)))
            .with_context(|| out.display().to_string())?;
        std::thread::scope(|threads| {
            let workers: Vec<_> = (0..jobs)
                .map(|job| {
                    threads.spawn({
                        let notes = &notes;
                        move || self.work(job, notes)
                    })
                })
                .collect();
            let mut told = started;
            while !workers.iter().all(|w| w.is_finished()) {
                std::thread::sleep(Duration::from_millis(20));
                if started.elapsed() >= time {
                    self.stop.store(true, Relaxed);
                }
                let hangs = |at: &Option<(u64, Instant)>| at.filter(|a| a.1.elapsed() > HANGS);
                if let Some((seed, _)) = lock(&self.at).iter().find_map(hangs) {
                    self.fail(seed, "does not end");
                    std::process::exit(1);
                }
                if told.elapsed() > Duration::from_secs(60) {
                    told = Instant::now();
                    self.tell(started, cpu);
                }
            }
        });
        self.tell(started, cpu);
        let failed = lock(&self.failed);
        if let Some(seed) = failed.first() {
            println!(
                "{}: {} inputs failed; the first: {}",
                self.target.name,
                failed.len(),
                self.repeat(*seed)
            );
        }
        Ok(failed.is_empty())
    }

    fn work(&self, job: usize, notes: &File) {
        let mut tally = Tally::new();
        let mut told = Instant::now();
        while !self.stop.load(Relaxed) {
            let seed = self.next.fetch_add(1, Relaxed);
            // Should this input be the end of the process, its seed can be read.
            let _ = notes.write_all_at(format!("{seed:<24}\n").as_bytes(), 25 * job as u64);
            lock(&self.at)[job] = Some((seed, Instant::now()));
            let input = (self.target.input)(seed);
            let result = catch_unwind(AssertUnwindSafe(|| (self.target.run)(&input)));
            lock(&self.at)[job] = None;
            *tally.entry("executions").or_default() += 1;
            for (what, n) in tally::take() {
                *tally.entry(what).or_default() += n;
            }
            if let Err(payload) = result {
                self.fail(seed, message(&*payload));
            }
            if self.args.once {
                self.stop.store(true, Relaxed);
            }
            if told.elapsed() > Duration::from_millis(200) || self.stop.load(Relaxed) {
                told = Instant::now();
                let mut total = lock(&self.total);
                for (what, n) in std::mem::take(&mut tally) {
                    *total.entry(what).or_default() += n;
                }
            }
        }
    }

    fn fail(&self, seed: u64, why: &str) {
        let (bytes, extension) = (self.target.keep)(&(self.target.input)(seed));
        let path = self.args.out.join(format!("{}-{seed}.{extension}", self.target.name));
        let kept = write(&path, &bytes);
        let mut failed = lock(&self.failed);
        failed.push(seed);
        println!("FAILED {} seed {seed}: {why}", self.target.name);
        println!("  repeat it: {}", self.repeat(seed));
        match kept {
            Ok(()) => println!("  its input: {}", path.display()),
            Err(e) => println!("  its input cannot be kept: {}: {e}", path.display()),
        }
        if failed.len() >= MOST_FAILURES {
            self.stop.store(true, Relaxed);
        }
    }

    fn repeat(&self, seed: u64) -> String {
        format!("cargo xtask fuzz --target {} --seed {seed} --once", self.target.name)
    }

    fn tell(&self, started: Instant, cpu: Duration) {
        println!(
            "{:16} {:.0} s, CPU {:.0} s, seeds {}..{}: {}",
            self.target.name,
            started.elapsed().as_secs_f64(),
            (cpu_time() - cpu).as_secs_f64(),
            self.first,
            self.next.load(Relaxed),
            show(&lock(&self.total))
        );
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    File::create(path)?.write_all(bytes)
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

/// `executions 12, captures 3, ...`
fn show(t: &Tally) -> String {
    let first = t.get_key_value("executions");
    let rest = t.iter().filter(|(what, _)| **what != "executions");
    let all: Vec<String> = first.into_iter().chain(rest).map(|(w, n)| format!("{w} {n}")).collect();
    all.join(", ")
}
