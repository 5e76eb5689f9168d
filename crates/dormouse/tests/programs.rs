//! Real programs through the real binary: what they print, write and end with, plain, under chaos,
//! killed and resumed, stopped and resumed.
//!
//! The programs are those of `cargo xtask guests`. At the small scale they are compared with what the
//! stock wasmtime command did with them; the longer runs with an uninterrupted run of ours.
//!
//! Kills come at random times. `DORMOUSE_TEST_SEED` repeats the times of a run (as well as a busy
//! machine lets it); the seed is printed.
#![allow(missing_docs)]
#![cfg_attr(debug_assertions, allow(dead_code))]

mod harness;

use harness::guests::{Guest, digest, guest, guests};
use harness::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a run leaves: exit status, standard output, and the digest of each file.
#[derive(Debug, PartialEq)]
struct Left {
    exit: Option<i32>,
    out: String,
    files: BTreeMap<String, String>,
}

/// A directory for one guest, its /work in it, its store, and the file its output goes to.
struct Desk<'a> {
    guest: &'a Guest,
    place: Place,
}

/// Random numbers: of `DORMOUSE_TEST_SEED`, or others each time.
struct Random(u64);

impl Random {
    fn new(what: &str) -> Random {
        let seed = match std::env::var("DORMOUSE_TEST_SEED") {
            Ok(seed) => seed.parse().expect("DORMOUSE_TEST_SEED is a number"),
            Err(_) => RandomState::new().build_hasher().finish() >> 32,
        };
        println!("{what}: DORMOUSE_TEST_SEED={seed}");
        Random(seed)
    }

    fn below(&mut self, n: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

impl Desk<'_> {
    fn new(guest: &Guest) -> Desk<'_> {
        let place = Place::new();
        fs::create_dir(place.path("work")).unwrap();
        for input in &guest.inputs {
            let to = place.path("work").join(input.file_name().unwrap());
            fs::copy(input, to).unwrap();
        }
        Desk { guest, place }
    }

    /// A command of ours, with this place's store, and the cache that all tests here share.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        command.env("DORMOUSE_CACHE", root().join("target/test-cache"));
        command
    }

    /// `run`, not started yet.
    fn run(&self, options: &[&str]) -> Command {
        let mut command = self.command(&["run", "--dir", "work::/work"]);
        if let Some(stack) = self.guest.stack {
            command.args(["--stack", &stack.to_string()]);
        }
        command.args(options).arg("--").arg(&self.guest.wasm).args(&self.guest.args);
        command
    }

    /// Gives it the guest's whole input, and waits for its end; what it left, and its last words.
    fn to_the_end(&self, mut command: Command) -> (Left, String) {
        // A file rather than a pipe: nobody has to feed it while its output is read.
        let input = self.place.path("stdin");
        fs::write(&input, &self.guest.stdin).unwrap();
        let ended = command.stdin(File::open(input).unwrap()).output().unwrap();
        let out = String::from_utf8_lossy(&ended.stdout).into_owned();
        (self.left(ended.status.code(), out), String::from_utf8_lossy(&ended.stderr).into_owned())
    }

    fn left(&self, exit: Option<i32>, out: String) -> Left {
        let file = |name: &String| {
            let found = fs::read(self.place.path("work").join(name));
            (name.clone(), found.map_or("not there".to_owned(), |bytes| digest(&bytes)))
        };
        Left { exit, out, files: self.guest.files.iter().map(file).collect() }
    }

    /// The output file so far.
    fn output(&self) -> String {
        fs::read_to_string(self.place.path("out.txt")).unwrap()
    }

    /// Starts it with its output going to a regular file, as by `>out.txt` or `>>out.txt`.
    fn start(&self, mut command: Command, append: bool) -> Child {
        let mut options = File::options();
        options.create(true).write(true).truncate(!append).append(append);
        let out = options.open(self.place.path("out.txt")).unwrap();
        let errors =
            File::options().create(true).append(true).open(self.place.path("err.txt")).unwrap();
        command.stdout(out).stderr(errors).spawn().unwrap()
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.place.path("err.txt")).unwrap()
    }

    /// Waits for something that happens unless the job ends before; whether it happened.
    fn unless_ended(&self, job: &mut Child, mut what: impl FnMut() -> bool) -> bool {
        let mut running = true;
        self.place.wait_for("the job to get on", || {
            running = job.try_wait().unwrap().is_none();
            !running || what()
        });
        running
    }

    /// What the uninterrupted run leaves, in a place of its own.
    fn uninterrupted(&self) -> Left {
        let desk = Desk::new(self.guest);
        let started = Instant::now();
        let (left, errors) = desk.to_the_end(desk.run(&[]));
        println!("{}: uninterrupted in {:.1} s", self.guest.name, started.elapsed().as_secs_f64());
        assert_eq!(left.exit, Some(0), "{}: {errors}", self.guest.name);
        left
    }
}

/// Every guest of this kind at the small scale, plain and under chaos, against stock wasmtime.
fn small(kind: &str) {
    let mut random = Random::new(kind);
    let mut tried = 0;
    let mut wrong = vec![];
    for guest in guests().iter().filter(|g| g.kind == kind) {
        tried += 1;
        let seed = random.below(1000).to_string();
        let ways: [&[&str]; 3] = [&[], &["--chaos"], &["--seed", &seed, "--chaos"]];
        let mut gap = gap(guest);
        let mut ways = ways.into_iter().peekable();
        while let Some(&way) = ways.peek() {
            let started = Instant::now();
            let desk = Desk::new(guest);
            let n = gap.to_string();
            let options = if way.is_empty() { vec![] } else { [way, &[&n]].concat() };
            let (left, errors) = desk.to_the_end(desk.run(&options));
            if !way.is_empty() && captures(&errors) == 0 && gap > 1 {
                gap = gap.div_ceil(30);
                continue;
            }
            ways.next();
            let what = format!("{} {}", guest.name, options.join(" "));
            let expected = &guest.expected;
            let files: BTreeMap<String, String> =
                serde_json::from_value(expected["files"].clone()).unwrap();
            let same = left.exit.map(i64::from) == expected["exit"].as_i64()
                && digest(left.out.as_bytes()) == expected["stdout_sha256"]
                && left.files == files;
            if !same {
                wrong.push(format!("{what}: {left:?}, {errors}; expected {expected}"));
            } else if !options.is_empty() && captures(&errors) == 0 {
                wrong.push(format!("{what}: no captures; {errors}"));
            }
            println!("{what}: {:.2} s, {errors}", started.elapsed().as_secs_f64());
        }
    }
    assert!(tried > 0, "target/guests/guests.json has no {kind}; run `cargo xtask guests`");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How far apart the captures are at most, so that there are some dozens to some hundreds of them. Those of
/// an empty program are counted too: every call of the C library's start has safepoints.
fn gap(guest: &Guest) -> u32 {
    match (guest.name.as_str(), guest.kind.as_str()) {
        ("wat-memory", _) => 5000,
        ("wat-deep", _) => 50,
        (_, "wat") | ("hello" | "echo" | "sleeper", _) => 1,
        ("nqueens", _) => 50,
        ("deep", _) => 100,
        ("directed", _) => 500_000,
        ("jacobi-2d" | "strings" | "mix" | "sieve", _) => 5000,
        ("lua-mix", _) => 200_000,
        (_, "python") => 200_000,
        (_, "lua" | "sqlite") => 20_000,
        _ => 1000,
    }
}

/// Of chaos's line on stderr.
fn captures(errors: &str) -> u64 {
    let line = errors.lines().find_map(|l| l.strip_prefix("dormouse: chaos: "));
    let count = line.and_then(|l| l.split_once(" captures")).map(|(n, _)| n.parse().unwrap());
    count.unwrap_or(0)
}

/// Kills it with SIGKILL at random times, up to three times, and resumes it each time in a new
/// process; in the end nothing shows it.
fn killed(name: &str, args: &[&str]) {
    let guest = guest(name, args);
    let desk = Desk::new(&guest);
    let expected = desk.uninterrupted();
    let mut random = Random::new(name);
    let mut kills = 0;
    let mut job =
        desk.start(desk.run(&["--name", "job", "--every", "300ms"]), random.below(2) == 0);
    while kills < 3 {
        let before = desk.place.checkpoints("job");
        let wait = Duration::from_millis(random.below(900));
        if !desk.unless_ended(&mut job, || desk.place.checkpoints("job") > before) {
            break;
        }
        sleep(wait);
        if job.try_wait().unwrap().is_some() {
            break;
        }
        job.kill().unwrap();
        // If it ended by itself in this very moment, its exit status is that of its own.
        let code = job.wait().unwrap().code();
        assert_eq!(code, None, "{name} ended before it could be killed");
        kills += 1;
        let there = desk.place.checkpoints("job");
        println!("{name}: killed {wait:?} after checkpoint {} of {there}", before + 1);
        // Output that is in the file already, beyond the checkpoint, is taken back.
        job = desk.start(desk.command(&["resume", "job"]), true);
    }
    assert!(kills > 0, "{name} ended before it could be killed: {}", desk.errors());
    let code = job.wait().unwrap().code();
    assert_eq!(desk.left(code, desk.output()), expected, "{kills} kills; {}", desk.errors());
}

/// Stops it with a checkpoint at random times, by SIGTERM and by `checkpoint --stop`, and resumes it.
fn stopped(name: &str, args: &[&str]) {
    let guest = guest(name, args);
    let desk = Desk::new(&guest);
    let expected = desk.uninterrupted();
    let mut random = Random::new(name);
    let mut job = desk.start(desk.run(&["--name", "job"]), false);
    for stop in ["SIGTERM", "checkpoint --stop", "SIGTERM"] {
        desk.place.wait_answering("job");
        let wait = Duration::from_millis(random.below(900));
        sleep(wait);
        match stop {
            "SIGTERM" => signal(&job, "TERM"),
            _ => {
                let done =
                    Ended::of(desk.command(&["checkpoint", "--stop", "job"]).output().unwrap());
                assert_eq!(done.code, Some(0), "{}", done.err);
            }
        }
        assert_eq!(job.wait().unwrap().code(), Some(85), "{name} {stop}: {}", desk.errors());
        println!("{name}: {stop} after {wait:?}");
        job = desk.start(desk.command(&["resume", "job"]), true);
    }
    let code = job.wait().unwrap().code();
    assert_eq!(desk.left(code, desk.output()), expected, "{}", desk.errors());
}

/// So that it is compiled twice each time, and says when it has moved.
fn tier_up(mut command: Command) -> Command {
    command.env("DORMOUSE_LOG", "debug");
    command
}

const TIERS: [&str; 2] = ["--tier-up", "--no-cache"];

impl Desk<'_> {
    fn wait_moved(&self, job: &mut Child) {
        let moved = || self.errors().contains("goes on in better code");
        assert!(self.unless_ended(job, moved), "it ended before: {}", self.errors());
    }

    /// `checkpoint`, which must succeed.
    fn checkpoint(&self, options: &[&str]) {
        let args = [&["checkpoint", "job"], options].concat();
        let done = Ended::of(self.command(&args).output().unwrap());
        assert_eq!(done.code, Some(0), "{} {}", done.err, self.errors());
    }
}

/// Begins in code that was compiled quickly and has checkpoints there and where it has moved to; stopped, it does the same again, and
/// is stopped by a signal before it has moved. In the end nothing shows it.
fn in_tiers(name: &str, args: &[&str]) {
    let guest = guest(name, args);
    let desk = Desk::new(&guest);
    let expected = desk.uninterrupted();
    let run = desk.run(&[&["--name", "job"], &TIERS[..]].concat());
    let mut job = desk.start(tier_up(run), false);
    desk.place.wait_answering("job");
    desk.checkpoint(&[]);
    desk.wait_moved(&mut job);
    desk.checkpoint(&[]);
    desk.checkpoint(&["--stop"]);
    assert_eq!(job.wait().unwrap().code(), Some(85), "{}", desk.errors());
    let again = desk.command(&[&["resume"], &TIERS[..], &["job"]].concat());
    let mut job = desk.start(tier_up(again), true);
    desk.place.wait_answering("job");
    signal(&job, "TERM");
    assert_eq!(job.wait().unwrap().code(), Some(85), "{}", desk.errors());
    let code = desk.start(desk.command(&["resume", "job"]), true).wait().unwrap().code();
    assert_eq!(desk.left(code, desk.output()), expected, "{}", desk.errors());
}

/// Moves while it waits for input, of which nothing is lost.
fn in_tiers_in_a_read() {
    let mut guest = guest("echo", &[]);
    guest.stdin = (1..=3).map(|n| format!("line {n} of some\n")).collect();
    let desk = Desk::new(&guest);
    let expected = desk.uninterrupted();
    let mut run = tier_up(desk.run(&TIERS));
    let mut job = desk.start(
        {
            run.stdin(Stdio::piped());
            run
        },
        false,
    );
    desk.wait_moved(&mut job);
    job.stdin.take().unwrap().write_all(guest.stdin.as_bytes()).unwrap();
    let code = job.wait().unwrap().code();
    assert_eq!(desk.left(code, desk.output()), expected, "{}", desk.errors());
}

macro_rules! tests {
    ($($name:ident: $body:expr;)*) => { $(
        #[test]
        #[cfg_attr(debug_assertions, ignore = "takes long unless built with --release")]
        fn $name() {
            $body;
        }
    )* };
}

tests! {
    small_polybench: small("polybench");
    small_kernels: small("kernel");
    small_interactive: small("interactive");
    small_wat: small("wat");
    small_sqlite: small("sqlite");
    small_lua: small("lua");
    small_python: small("python");
    no_guest_is_forgotten: {
        for g in guests() {
            let tested = ["polybench", "kernel", "interactive", "wat", "sqlite", "lua", "python"];
            assert!(tested.contains(&g.kind.as_str()), "{}: {}", g.name, g.kind);
        }
    };

    killed_python: killed("python-mix", &["/work/mix.py", "/work", "60"]);
    killed_lua: killed("lua-mix", &["/work/mix.lua", "200"]);
    // SQLite changes its file in place, and a checkpoint does not hold the contents of files: what was
    // written after it stays written, and a resumed SQLite would find a database from its future.
    // So it is only killed with its databases in memory; with one in a file it is stopped below, so
    // that nothing is written after the checkpoint.
    killed_sqlite: killed("sqlite", &["/work/test.db", "50"]);
    killed_sqlite_in_memory: killed("sqlite", &[":memory:", "50"]);
    killed_mix: killed("mix", &["80000"]);
    killed_indirect: killed("indirect", &["350000"]);
    killed_writer: killed("writer", &["/work/log.txt", "120000"]);

    stopped_sqlite: stopped("sqlite", &["/work/test.db", "50"]);
    stopped_python: stopped("python-mix", &["/work/mix.py", "/work", "60"]);
    stopped_lua: stopped("lua-mix", &["/work/mix.lua", "200"]);

    tiers_lua: in_tiers("lua-mix", &["/work/mix.lua", "200"]);
    tiers_mix: in_tiers("mix", &["80000"]);
    tiers_in_a_read: in_tiers_in_a_read();

    stopped_in_a_read: in_a_read();
    stopped_in_a_sleep: in_a_sleep();
}

fn in_a_read() {
    let mut guest = guest("echo", &[]);
    guest.stdin = (1..=6).map(|n| format!("line {n} of some\n")).collect();
    let desk = Desk::new(&guest);
    let expected = desk.uninterrupted();
    let mut command = desk.run(&["--name", "job"]);
    let mut whole = "ready\n".len();
    for (n, line) in guest.stdin.lines().enumerate() {
        let mut job = desk.start(
            {
                command.stdin(Stdio::piped());
                command
            },
            n > 0,
        );
        let mut stdin = job.stdin.take().unwrap();
        writeln!(stdin, "{line}").unwrap();
        whole += format!("{} 0123456789abcdef {line}\n", n + 1).len();
        // It has answered, so it waits for more; the pipe stays open.
        desk.place.wait_for("the answer", || desk.output().len() >= whole);
        let done = Ended::of(desk.command(&["checkpoint", "--stop", "job"]).output().unwrap());
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert_eq!(job.wait().unwrap().code(), Some(85), "{}", desk.errors());
        let report = desk.place.json(&["inspect", "job", "--json"]);
        assert_eq!(report["frames"][0]["name"], "wasi_snapshot_preview1.fd_read");
        command = desk.command(&["resume", "job"]);
    }
    // At its end of input, as by </dev/null.
    let code = desk.start(command, true).wait().unwrap().code();
    assert_eq!(desk.left(code, desk.output()), expected, "{}", desk.errors());
}

fn in_a_sleep() {
    let guest = guest("sleeper", &["4", "1"]);
    let desk = Desk::new(&guest);
    let started = Instant::now();
    let mut job = desk.start(desk.run(&["--name", "job"]), false);
    desk.place.wait_for("the first line", || desk.output() == "falling asleep 1\n");
    let asleep = Instant::now();
    sleep(Duration::from_millis(700));
    let done = Ended::of(desk.command(&["checkpoint", "--stop", "job"]).output().unwrap());
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert_eq!(job.wait().unwrap().code(), Some(85), "{}", desk.errors());
    let slept = asleep.elapsed();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "it was stopped in its sleep, not after it"
    );
    // While it is stopped its clock stands still.
    sleep(Duration::from_secs(1));
    let resumed = Instant::now();
    let code = desk.start(desk.command(&["resume", "job"]), true).wait().unwrap().code();
    assert_eq!((code, desk.output().as_str()), (Some(0), "falling asleep 1\nawake 1\n"));
    let rest = Duration::from_secs(4).saturating_sub(slept + Duration::from_millis(100));
    assert!(resumed.elapsed() >= rest, "slept {slept:?}, then only {:?}", resumed.elapsed());
}
