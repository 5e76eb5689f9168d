//! `cargo xtask hetero`: one image, every kind of host.
//!
//! ```text
//!   x86-64   little endian, 64 bits   compiled       runs here
//!   pulley   little endian, 64 bits   interpreted    the same program, with --interpret
//!   i686     little endian, 32 bits   interpreted    runs here
//!   s390x    big endian,    64 bits   compiled       qemu-user
//!   aarch64  little endian, 64 bits   compiled       qemu-user
//!   armv7    little endian, 32 bits   interpreted    qemu-user
//! ```
//!
//! Each program is stopped on every host at random safepoints (`run --stop-at N`), and each of these checkpoints goes
//! on, on every host, to its end: output, exit status and files must be what the stock engine gave. Before it goes on it
//! is saved again (`resume --stop-at 0`), and that state and its memories must be the same bytes. Then each program goes
//! round: from host to host, a part of its way on each. At last every host wakes the images that are kept in the
//! repository, which hosts of every kind wrote once; what processors do not agree on must be the same with
//! `--deterministic`; and hosts of 32 bits must refuse, in words, a memory that is too large for them.

mod hosts;
mod images;
mod ocaml;
mod trip;

use crate::guests;
use crate::setup::root;
use anyhow::{Context, Result, bail, ensure};
use hosts::Host;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use trip::{Program, Tripped};

/// What hosts are compared with: integers, floating point, vectors, recursion, tables, files, interpreters.
const PROGRAMS: [&str; 10] = [
    "sha256",
    "quicksort",
    "nbody",
    "simd",
    "deep",
    "indirect",
    "append",
    "lua-files",
    "lua-mix",
    "sqlite",
];
/// Those that emulators and interpreters are quick with.
const QUICK: [&str; 7] = ["sha256", "nbody", "simd", "deep", "indirect", "append", "lua-files"];

/// Options of `cargo xtask hetero`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these hosts, with commas
    #[arg(long, value_delimiter = ',')]
    hosts: Vec<String>,
    /// Only these programs, with commas
    #[arg(long, value_delimiter = ',')]
    programs: Vec<String>,
    /// Checkpoints of each program on each host
    #[arg(long, default_value_t = 2)]
    points: usize,
    /// Where the checkpoints are
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Build nothing: with what was built the last time
    #[arg(long)]
    no_build: bool,
    /// Only the table of OCaml's heaps
    #[arg(long)]
    ocaml: bool,
    /// Only write the images that are kept in the repository, anew
    #[arg(long)]
    images: bool,
    /// What continuous integration runs: the hosts that take the least time, quick programs, one checkpoint
    #[arg(long, conflicts_with_all = ["hosts", "programs", "points"])]
    ci: bool,
}

/// Builds what is needed, makes all trips, prints the matrix.
pub fn run(args: &Args) -> Result<()> {
    let named = !args.hosts.is_empty();
    let args = match args.ci {
        false => args,
        true => &Args {
            hosts: ["x86-64", "pulley", "i686", "s390x"].map(String::from).to_vec(),
            programs: QUICK.map(String::from).to_vec(),
            points: 1,
            ..*args
        },
    };
    let started = Instant::now();
    if !args.no_build {
        guests::build_all()?;
    }
    let hosts = hosts::ready(&args.hosts, !args.no_build, named)?;
    if args.images {
        return hosts.iter().try_for_each(images::write);
    }
    if args.ocaml {
        return ocaml::table(&hosts);
    }
    let names = match args.programs.is_empty() {
        true => PROGRAMS.map(String::from).to_vec(),
        false => args.programs.clone(),
    };
    let programs = trip::programs(&names)?;
    println!(
        "{} programs, {} checkpoints of each on each of {} hosts",
        names.len(),
        args.points,
        hosts.len()
    );
    let built = started.elapsed();

    let mut results = Results::default();
    for program in &programs {
        let one = Instant::now();
        let before = results.counts();
        results.add(each(program, &hosts, args)?);
        let (passed, tried) = results.counts();
        println!(
            "  {:<10} {:>9} safepoints   {} of {} trips   {:.0} s",
            program.name,
            program.safepoints(&hosts[0])?,
            passed - before.0,
            tried - before.1,
            one.elapsed().as_secs_f64()
        );
    }
    for host in &hosts {
        let mut must = |what: &str, end: Result<()>| {
            results.failures.extend(end.err().map(|e| format!("{what} on {}: {e:#}", host.name)));
        };
        must("--deterministic", images::agrees(host));
        if host.narrow && !hosts[0].narrow {
            must("3 GiB", images::refuses_what_is_too_large(&hosts[0], host));
        }
        for image in images::all()? {
            results.images.1 += 1;
            match images::wake(host, &image) {
                Ok(()) => results.images.0 += 1,
                Err(e) => {
                    results.failures.push(format!("{} on {}: {e:#}", image.display(), host.name))
                }
            }
        }
    }
    results.print(&hosts);
    println!(
        "building took {:.0} s, all of it {:.0} s",
        built.as_secs_f64(),
        started.elapsed().as_secs_f64()
    );
    ensure!(results.failures.is_empty(), "{} trips failed", results.failures.len());
    Ok(())
}

/// All trips of one program, as many at once as there are processors.
fn each(program: &Program, hosts: &[Host], args: &Args) -> Result<Results> {
    let safepoints = program.safepoints(&hosts[0])?;
    // The point is a matter of program, host and number alone, so that a failure can be repeated by itself.
    let point = |what: &str, n: usize, most: u64| {
        let digest =
            crate::setup::sha256(format!("{} {} {what} {n}", args.seed, program.name).as_bytes());
        1 + u64::from_str_radix(&digest[..15], 16).unwrap_or(0) % most.max(1)
    };
    let mut work: Vec<(usize, Vec<u64>)> = vec![];
    for (index, host) in hosts.iter().enumerate() {
        for n in 0..args.points {
            work.push((index, vec![point(host.name, n, safepoints - 1)]));
        }
        // Once round from here.
        if hosts.len() > 2 {
            let share = (safepoints - 1) / hosts.len() as u64;
            let legs = (0..hosts.len()).map(|leg| point(host.name, 100 + leg, share)).collect();
            work.push((index, legs));
        }
    }
    let (next, results) = (Mutex::new(work.into_iter()), Mutex::new(Results::default()));
    let worker = || -> Result<()> {
        loop {
            let Some((from, points)) = next.lock().expect("no panic").next() else { return Ok(()) };
            let found = match points[..] {
                [point] => star(program, hosts, from, point),
                _ => round(program, hosts, from, &points),
            }?;
            results.lock().expect("no panic").add(found);
        }
    };
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..jobs).map(|_| threads.spawn(worker)).collect();
        workers.into_iter().try_for_each(|w| w.join().expect("no panic"))
    })?;
    Ok(results.into_inner().expect("no panic"))
}

/// One checkpoint, and on from it on every host.
fn star(program: &Program, hosts: &[Host], from: usize, point: u64) -> Result<Results> {
    let mut results = Results::default();
    let repeat = format!("{} at {point} on {}", program.name, hosts[from].name);
    let begun = match program.begin(&hosts[from], point) {
        Ok(begun) => begun,
        Err(e) => {
            for to in 0..hosts.len() {
                results.note((from, to), Err(format!("{repeat}: {e:#}")));
            }
            return Ok(results);
        }
    };
    for (to, host) in hosts.iter().enumerate() {
        let began = Instant::now();
        let end = begun.same(host).and_then(|()| {
            let took = began.elapsed();
            begun.copy()?.finish(host).map(|()| took)
        });
        let end = end.map_err(|e| format!("{repeat}, then {}: {e:#}", host.name));
        if let Ok(took) = &end {
            results.resumes.entry(host.name).or_default().push(*took);
        }
        results.note((from, to), end.map(drop));
    }
    results.sizes.push(begun.size()?);
    Ok(results)
}

/// From host to host, a part of the way on each.
fn round(program: &Program, hosts: &[Host], from: usize, points: &[u64]) -> Result<Results> {
    let path: Vec<usize> = (0..=hosts.len()).map(|leg| (from + leg) % hosts.len()).collect();
    let go = || -> Result<()> {
        let mut here = program.begin(&hosts[from], points[0])?;
        for (leg, &host) in path.iter().enumerate().skip(1) {
            match points.get(leg) {
                Some(&point) => match here.stop_again(&hosts[host], point)? {
                    Tripped::Stopped(there) => here = there,
                    Tripped::Ended => bail!("it ended on {}, before its time", hosts[host].name),
                },
                None => here.finish(&hosts[host])?,
            }
        }
        Ok(())
    };
    let names: Vec<&str> = path.iter().map(|&h| hosts[h].name).collect();
    let mut results = Results::default();
    results.rounds.1 += 1;
    match go() {
        Ok(()) => results.rounds.0 += 1,
        Err(e) => results.failures.push(format!(
            "{} {} at {points:?}: {e:#}",
            program.name,
            names.join(" > ")
        )),
    }
    Ok(results)
}

/// How trips ended.
#[derive(Default)]
struct Results {
    /// From host, to host: passed, tried.
    matrix: BTreeMap<(usize, usize), (u64, u64)>,
    rounds: (u64, u64),
    /// Images of the repository that were woken, on all hosts together.
    images: (u64, u64),
    failures: Vec<String>,
    /// To come back to life and be saved again, by host.
    resumes: BTreeMap<&'static str, Vec<Duration>>,
    /// Bytes of checkpoints.
    sizes: Vec<u64>,
}

impl Results {
    fn note(&mut self, pair: (usize, usize), end: Result<(), String>) {
        let cell = self.matrix.entry(pair).or_default();
        cell.1 += 1;
        match end {
            Ok(()) => cell.0 += 1,
            Err(e) => {
                println!("FAILED {e}");
                self.failures.push(e);
            }
        }
    }

    fn add(&mut self, other: Results) {
        for (pair, (passed, tried)) in other.matrix {
            let cell = self.matrix.entry(pair).or_default();
            *cell = (cell.0 + passed, cell.1 + tried);
        }
        self.rounds = (self.rounds.0 + other.rounds.0, self.rounds.1 + other.rounds.1);
        self.failures.extend(other.failures);
        self.sizes.extend(other.sizes);
        for (host, times) in other.resumes {
            self.resumes.entry(host).or_default().extend(times);
        }
    }

    fn counts(&self) -> (u64, u64) {
        let add = |a: (u64, u64), b: &(u64, u64)| (a.0 + b.0, a.1 + b.1);
        self.matrix.values().fold(self.rounds, add)
    }

    fn print(&mut self, hosts: &[Host]) {
        println!("\ncheckpoints taken on (rows) and resumed on (columns): passed/tried");
        print!("{:<9}", "");
        hosts.iter().for_each(|h| print!("{:>9}", h.name));
        println!();
        for (from, host) in hosts.iter().enumerate() {
            print!("{:<9}", host.name);
            for to in 0..hosts.len() {
                let (passed, tried) = self.matrix.get(&(from, to)).copied().unwrap_or_default();
                print!("{:>9}", format!("{passed}/{tried}"));
            }
            println!();
        }
        println!("once round, through all hosts: {}/{}", self.rounds.0, self.rounds.1);
        let (passed, tried) = self.counts();
        println!("images of the repository woken: {}/{}", self.images.0, self.images.1);
        println!("all: {passed} of {tried} trips");
        self.sizes.sort();
        if let [least, .., most] = self.sizes[..] {
            let median = self.sizes[self.sizes.len() / 2];
            println!("checkpoints: {least} to {most} bytes, median {median}, without the module");
        }
        for (host, times) in &mut self.resumes {
            times.sort();
            println!(
                "{host:<9} resume and save again, whole process: median {:.2} s",
                times[times.len() / 2].as_secs_f64()
            );
        }
        for failure in &self.failures {
            println!("FAILED {failure}");
        }
    }
}

/// What continuous integration runs; a machine that cannot is told, loudly, and is no failure.
pub fn quick() -> Result<()> {
    run(&Args {
        hosts: vec![],
        programs: vec![],
        points: 1,
        seed: 1,
        no_build: false,
        ocaml: false,
        images: false,
        ci: true,
    })
}

/// Where all of it is kept.
fn folder() -> Result<std::path::PathBuf> {
    let folder = root().join("target/hetero");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
