//! Programs that direct their own checkpoints: in C through `include/dormouse.h`, in Rust through the crate
//! `dormouse-guest`, and in text through the module `dormouse`. What `guests/interactive/directed.c` does under the stock
//! engine, where nobody serves it, `tests/programs.rs` compares.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The C program.
fn directed() -> String {
    let path = root().join("target/guests/directed.wasm");
    assert!(path.exists(), "no {}; run `cargo xtask guests` first", path.display());
    path.to_str().unwrap().to_owned()
}

/// A job whose lines are read and which is given lines.
struct Job {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Job {
    fn of(mut child: Child) -> Job {
        let out = BufReader::new(child.stdout.take().unwrap());
        Job { child, out }
    }

    /// `run --name sim ...`
    fn run(p: &Place, args: &[&str]) -> Job {
        Job::of(p.start("sim", args))
    }

    fn resume(p: &Place, args: &[&str]) -> Job {
        let mut command = p.command(&[&["resume"], args].concat());
        Job::of(command.stdin(Stdio::piped()).spawn().unwrap())
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The rest of what it prints, and its end.
    fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.out, &mut rest).unwrap();
        let ended = Ended::wait(self.child);
        Ended { out: rest, ..ended }
    }
}

fn durable(p: &Place, n: usize) {
    p.wait_for(&format!("checkpoint {n}"), || p.checkpoints("sim") == n);
}

fn size_if_any(p: &Place) -> u64 {
    if p.store().join("blobs/sha256").exists() { size(p) } else { 0 }
}

/// Bytes of all blobs.
fn size(p: &Place) -> u64 {
    let blobs = std::fs::read_dir(p.store().join("blobs/sha256")).unwrap();
    blobs.map(|e| e.unwrap().metadata().unwrap().len()).sum()
}

/// Killed after each of its checkpoints and resumed: each resume begins inside the call, which says so.
#[test]
fn a_program_takes_its_own_checkpoints() {
    let p = Place::new();
    let mut job = Job::run(&p, &[&directed(), "steps"]);
    assert_eq!(job.line(), "step: 0, resumed 0");
    durable(&p, 1);
    job.kill();

    let mut job = Job::resume(&p, &["sim"]);
    assert_eq!(job.line(), "step: 1, resumed 1");
    job.go_on();
    assert_eq!(job.line(), "step: 0, resumed 1", "another call takes another one");
    durable(&p, 2);
    job.kill();

    let mut job = Job::resume(&p, &["sim"]);
    assert_eq!(job.line(), "step: 1, resumed 2");
    // One that somebody else wants, where the program waits for its line.
    p.ok(&["checkpoint", "sim"]);
    job.kill();

    // Resumed there, nothing is said again, and the next call is a new one.
    let mut job = Job::resume(&p, &["sim"]);
    job.go_on();
    assert_eq!(job.line(), "step: 0, resumed 3");
    job.go_on();
    let ended = job.end();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "done\n"), "{}", ended.err);
    p.ok(&["verify"]);
    let all = p.json(&["stats", "sim", "--json"]);
    let why: Vec<_> =
        all["records"].as_array().unwrap().iter().map(|r| r["why"].as_str().unwrap()).collect();
    // Some were killed before they could enter theirs.
    assert!(
        why.contains(&"program") && why.iter().all(|w| ["program", "asked"].contains(w)),
        "{why:?}"
    );
    let saved = p.json(&["inspect", "sim@2", "--json"]);
    assert_eq!(
        (&saved["wasi"]["restored"], &saved["wasi"]["in_checkpoint"]),
        (&1.into(), &true.into())
    );
}

/// What is wanted from outside while a program stands in its own checkpoint, and an interval.
#[test]
fn others_want_checkpoints_too() {
    let p = Place::new();
    let often = p.guest("often", &looping("(i32.const 60)", "(call $checkpoint)"));
    let expected = p.ok(&["run", &often]);
    let job = p.start("sim", &["--every", "5ms", "--keep-last", "3", &often]);
    let asked = p.dormouse(&["checkpoint", "sim"]);
    let ended = Ended::wait(job);
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    if asked.code != Some(0) {
        assert!(asked.error().contains("the program ended first"), "{}", asked.err);
    }
    let list = p.json(&["list", "sim", "--json"]);
    let newest = list.as_array().unwrap().last().unwrap()["number"].as_u64().unwrap();
    assert!(newest >= 60, "every call takes one: {newest}");
    // The sum of what the calls answered: 1 of one of them, if it stands in one.
    for n in [newest - 2, newest - 1, newest] {
        let target = format!("sim@{n}");
        let inside = p.json(&["inspect", &target, "--json"])["wasi"]["in_checkpoint"] == true;
        let resumed = p.ok(&["resume", &target, "--clone", &format!("c{n}"), "--every", "never"]);
        assert_eq!(resumed, if inside { "b\n" } else { "a\n" }, "{target}");
    }
}

/// Excluded pages are not in the image and zero after a resume, also after the next; others are there.
#[test]
fn excluded_memory_is_not_kept() {
    let p = Place::new();
    let mut job = Job::run(&p, &["--no-deltas", &directed(), "exclude"]);
    let inside = 8u64 << 20;
    let all = |n: u64| format!("{n} inside, 4096 before, 8192 after");
    assert_eq!(job.line(), format!("excluded: 0, {}", all(inside)));
    durable(&p, 1);
    let first = size(&p);
    assert!(first < 1 << 20, "{first} bytes, with 8 MiB that are excluded");
    job.kill();

    let mut job = Job::resume(&p, &["sim"]);
    assert_eq!(job.line(), format!("excluded: 1, {}", all(0)));
    job.go_on();
    assert_eq!(job.line(), format!("still excluded: 0, {}", all(inside)));
    durable(&p, 2);
    assert!(size(&p) < 1 << 20, "{} bytes", size(&p));
    job.go_on();
    assert_eq!(job.line(), format!("included: 0, {}", all(inside)));
    assert_eq!(job.end().code, Some(0));
    durable(&p, 3);
    assert!(size(&p) > inside / 2, "{} bytes", size(&p));

    for (n, answer) in [
        (3, format!("included: 1, {}", all(inside))),
        (2, format!("still excluded: 1, {}", all(0))),
        (1, format!("excluded: 1, {}", all(0))),
    ] {
        let mut job = Job::resume(&p, &[&format!("sim@{n}"), "--clone", &format!("c{n}")]);
        assert_eq!(job.line(), answer);
        job.kill();
    }
    assert_eq!(p.json(&["inspect", "sim@2", "--json"])["wasi"]["excluded"], inside + 300);
    let told = p.ok(&["inspect", "sim@2"]);
    for line in [
        "resumed     once before\n",
        "taken by    the program itself, with dormouse_checkpoint\n",
        "excluded    8.0 MiB of memory\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
    p.ok(&["verify"]);
    the_second_implementation(&p);
}

/// `contrib/read-image.py` reads what such a program leaves, and agrees.
fn the_second_implementation(p: &Place) {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !has("python3") || !has("zstd") {
        return eprintln!("SKIPPED: python3 or zstd is not installed here");
    }
    let mut command = Command::new("python3");
    command.arg(root().join("contrib/read-image.py")).arg(p.store()).arg("sim@1");
    let ended = Ended::of(command.output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let read: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let wasi = &read["state"]["wasi"];
    assert_eq!((&wasi["restored"], &wasi["in_checkpoint"]), (&0.into(), &1.into()));
    let excluded = &wasi["excluded"][0];
    let (start, end) = (excluded["start"].as_u64().unwrap(), excluded["end"].as_u64().unwrap());
    assert_eq!((end - start, start % 4096), ((8 << 20) + 300, 4096 - 100));
}

/// Excluded pages are not copied while the program runs either, however often they are written; nor is the whole memory
/// written because they are.
#[test]
fn excluded_memory_that_is_always_written() {
    let p = Place::new();
    let region = 1 << 20..5 << 20;
    // Noise all over the region, over and over; the counter of rounds and a line lie elsewhere.
    let busy = p.guest(
        "busy",
        &text(
            r#"(local $x i64) (local $i i32)
    (drop (call $exclude (i32.const 1048576) (i32.const 4194304)))
    (local.set $x (i64.const 88172645463325252))
    (loop $rounds
      (local.set $i (i32.const 1048576))
      (loop $fill
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
        (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
        (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
        (i64.store (local.get $i) (local.get $x))
        (br_if $fill
          (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 5242880))))
      (i32.store (i32.const 65536) (local.tee $n (i32.add (local.get $n) (i32.const 1))))
      (if (i32.eq (local.get $n) (i32.const 1)) (then (call $say (i32.const 97))))
      (br $rounds))"#,
        ),
    );
    for tracking in ["userfaultfd", "mprotect", "compare"] {
        let options = ["--tracking", tracking, "--max-layers", "50", &busy];
        let mut job = Job::run(&p, &options);
        assert_eq!(job.line(), "a");
        let before = size_if_any(&p);
        for _ in 0..3 {
            p.ok(&["checkpoint", "sim"]);
        }
        job.kill();
        assert!(size(&p) < before + (1 << 20), "{tracking}: {} bytes", size(&p) - before);
        let resumed = Job::resume(&p, &["sim"]);
        p.wait_answering("sim");
        p.ok(&["checkpoint", "sim"]);
        resumed.kill();
        let copied = p.json(&["stats", "sim", "--json"]);
        for record in copied["records"].as_array().unwrap() {
            let pages = record["pages"].as_u64().unwrap() + record["precopied"].as_u64().unwrap();
            assert!((1..300).contains(&pages), "more than the 256 others: {record}");
        }
        let store = dormouse_store::Store::open(&p.store()).unwrap();
        for info in store.list("sim").unwrap() {
            let checkpoint = store.load("sim", Some(info.number)).unwrap();
            let mut memory = vec![0; (checkpoint.state.memories[0].pages as usize) << 16];
            checkpoint.read_memory(0, &mut memory).unwrap();
            assert!(memory[region.clone()].iter().all(|b| *b == 0), "{tracking}: {}", info.name());
            assert!(memory[65536..65540].iter().any(|b| *b != 0), "{tracking}: {}", info.name());
        }
    }
}

/// Memory that was kept, is excluded, and kept again, in layers of changes.
#[test]
fn exclusion_in_layers() {
    let p = Place::new();
    // Page 16 holds `k` at first, `x` while it is excluded, and `x` when it is not any more.
    let layers = p.guest(
        "layers",
        &text(
            r#"
    (i32.store8 (i32.const 65536) (i32.const 107))
    (drop (call $checkpoint))
    (drop (call $exclude (i32.const 65536) (i32.const 4096)))
    (i32.store8 (i32.const 65536) (i32.const 120))
    (drop (call $checkpoint))
    (call $say (i32.load8_u (i32.const 65536)))
    (drop (call $checkpoint))
    (drop (call $include (i32.const 65536) (i32.const 1)))
    (drop (call $checkpoint))
    (call $say (i32.load8_u (i32.const 65536)))"#,
        ),
    );
    assert_eq!(p.ok(&["run", "--name", "sim", &layers]), "x\nx\n");
    assert_eq!(p.checkpoints("sim"), 4);
    for (n, prints) in [(1, "x\nx\n"), (2, "\0\n\0\n"), (3, "\0\n"), (4, "x\n")] {
        let clone = format!("c{n}");
        assert_eq!(p.ok(&["resume", &format!("sim@{n}"), "--clone", &clone]), prints, "sim@{n}");
    }
    p.ok(&["verify"]);
}

/// A checkpoint that is asked for in a section is taken when it has ended: what goes on from it begins behind it.
#[test]
fn a_section_is_not_split() {
    for stop in [None, Some("--stop"), Some("TERM")] {
        let p = Place::new();
        let mut job = Job::run(&p, &["--every", "20ms", &directed(), "section"]);
        assert_eq!(job.line(), "inside: 0, resumed 0");
        let asked = match stop {
            Some("TERM") => {
                signal(&job.child, "TERM");
                None
            }
            _ => {
                let args: Vec<&str> = ["checkpoint", "sim"].into_iter().chain(stop).collect();
                Some(p.command(&args).spawn().unwrap())
            }
        };
        // Blocked in a read; then computing.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(p.checkpoints("sim"), 0);
        assert!(job.child.try_wait().unwrap().is_none());
        job.go_on();
        assert_eq!(job.line(), "still inside: -1, resumed 0");
        if let Some(asked) = asked {
            let asked = Ended::wait(asked);
            assert_eq!(asked.code, Some(0), "{}", asked.err);
        }
        if stop.is_some() {
            let ended = job.end();
            assert_eq!(ended.code, Some(85), "{}", ended.err);
        } else {
            job.kill();
        }
        assert!(p.checkpoints("sim") > 0);
        for n in 1..=p.checkpoints("sim") {
            let mut job = Job::resume(&p, &[&format!("sim@{n}"), "--every", "never"]);
            job.go_on();
            let ended = job.end();
            assert_eq!(ended.code, Some(0), "{}", ended.err);
            assert!(
                ["outside: 0, resumed 1\ndone\n", "done\n"].contains(&&ended.out[..]),
                "{:?}",
                ended.out
            );
        }
    }
}

/// An end without a checkpoint does not wait for a section's end.
#[test]
fn a_kill_does_not_wait() {
    let p = Place::new();
    let mut job = Job::run(&p, &[&directed(), "section"]);
    assert_eq!(job.line(), "inside: 0, resumed 0");
    let asked = p.command(&["checkpoint", "sim"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    p.ok(&["kill", "sim"]);
    let ended = job.end();
    assert_eq!(ended.code, Some(137), "{}", ended.err);
    // It has none, whether it came before the kill or after.
    assert_eq!(Ended::wait(asked).code, Some(125));
    assert_eq!(p.checkpoints("sim"), 0);

    // One that never ends its section, and computes.
    let never = p.guest("never", &text("(drop (call $disable)) (loop $l (br $l))"));
    let job = Job::run(&p, &[&never]);
    signal(&job.child, "INT");
    std::thread::sleep(Duration::from_millis(300));
    signal(&job.child, "INT");
    assert_eq!(job.end().code, Some(130));
    assert_eq!(p.checkpoints("sim"), 0);
}

/// A safepoint by its number that lies in a section: the first one after it.
#[test]
fn stopped_by_count() {
    let p = Place::new();
    let body = "(drop (call $disable)) (call $say (i32.const 97)) (call $say (i32.const 98))
        (drop (call $enable)) (call $say (i32.const 99))";
    let guest = p.guest("count", &text(body));
    assert_eq!(p.ok(&["run", &guest]), "a\nb\nc\n");
    // The writes are safepoints.
    for (n, before, after) in
        [("1", "a\nb\n", "c\n"), ("2", "a\nb\n", "c\n"), ("3", "a\nb\n", "c\n")]
    {
        let stopped = p.dormouse(&["run", "--name", "sim", "--stop-at", n, &guest]);
        assert_eq!((stopped.code, &stopped.out[..]), (Some(85), before), "{n}: {}", stopped.err);
        assert_eq!(p.ok(&["resume", "sim"]), after, "{n}");
    }
    let out = p.dormouse(&["run", "--chaos", "1", &guest]);
    assert_eq!((out.code, &out.out[..]), (Some(0), "a\nb\nc\n"), "{}", out.err);
}

/// Whoever saves a resumed program where it stands gets the same state; whoever lets it go on, one more resume.
#[test]
fn a_resume_counts_when_the_program_goes_on() {
    let p = Place::new();
    let guest = p.guest(
        "twice",
        &text("(call $say (i32.const 97)) (call $say (i32.const 98)) (call $say (call $count))"),
    );
    let state = |n: usize| {
        let store = dormouse_store::Store::open(&p.store()).unwrap();
        store.load("sim", Some(n as u64)).unwrap().state
    };
    assert_eq!(p.dormouse(&["run", "--name", "sim", "--stop-at", "1", &guest]).code, Some(85));
    assert_eq!(p.dormouse(&["resume", "sim", "--stop-at", "0"]).code, Some(85));
    assert_eq!(state(1), state(2));
    assert_eq!(p.dormouse(&["resume", "sim", "--stop-at", "1"]).code, Some(85));
    let restored = |n| dormouse_wasi::Wasi::describe(&state(n).wasi).unwrap().restored;
    assert_eq!((restored(2), restored(3)), (0, 1));
    assert_eq!(p.ok(&["resume", "sim"]), "b\n\u{2}\n");
}

#[test]
fn what_is_wrong_is_answered() {
    let p = Place::new();
    let out = p.ok(&["run", "--name", "sim", &directed(), "errors"]);
    let expected = [
        "enable: -5",
        "disable: 0",
        "checkpoint: -1",
        "enable: 0",
        "exclude: -3",
        "include: -3",
        "exclude nothing: 0",
        "one more: -4",
        "two in one: 0",
    ];
    let expected: String = expected.map(|line| format!("{line}, resumed 0\n")).concat();
    assert_eq!(out, expected);
    assert_eq!(p.checkpoints("sim"), 0);

    // A file that is open and deleted cannot be carried: told here and there.
    std::fs::create_dir(p.path("out")).unwrap();
    let refused = p.guest("refused", REFUSED);
    let ended = p.dormouse(&["run", "--name", "lost", "--dir", "out::/out", &refused]);
    assert_eq!(ended.code, Some(2), "the negative answer is its status: {}", ended.err);
    assert!(ended.err.contains("no checkpoint: fd 4 is open on"), "{}", ended.err);
}

/// Another type than the module's, and a name that it does not have.
#[test]
fn imports_that_there_are_not() {
    let p = Place::new();
    for (import, said) in [
        (
            r#"(import "dormouse" "checkpoint" (func (param i32) (result i32)))"#,
            "dormouse.checkpoint",
        ),
        (
            r#"(import "dormouse" "exclude" (func (param i64 i64) (result i32)))"#,
            "dormouse.exclude",
        ),
        (r#"(import "dormouse" "dance" (func))"#, "dormouse.dance"),
    ] {
        let text =
            format!(r#"(module {import} (memory (export "memory") 1) (func (export "_start")))"#);
        let guest = p.guest("guest", &text);
        let refused = p.dormouse(&["run", &guest]);
        assert_eq!(refused.code, Some(125));
        assert!(refused.error().contains(said), "{}", refused.err);
        let checked = p.dormouse(&["check", &guest]);
        assert!(checked.code != Some(0) && checked.out.contains(said), "{}", checked.out);
    }
    assert!(p.ok(&["check", &p.guest("good", &text(""))]).contains("can be checkpointed"));
}

/// Node.js has another engine and another WASI.
#[test]
fn elsewhere_nothing_happens() {
    let p = Place::new();
    let expected = p.ok(&["run", &directed()]);
    let script = "const { WASI } = require('wasi'); const fs = require('fs');
        const wasi = new WASI({ version: 'preview1', args: ['directed'], returnOnExit: true });
        WebAssembly.instantiate(fs.readFileSync(process.argv[1]), wasi.getImportObject())
          .then((program) => process.exit(wasi.start(program.instance)));";
    let mut node = Command::new("node");
    node.args(["--no-warnings", "-e", script, &directed()]);
    match node.output() {
        Err(_) => eprintln!("SKIPPED: node is not installed here"),
        Ok(output) => {
            let ended = Ended::of(output);
            assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
        }
    }
}

/// The header as C99 and C++ for this machine, without a warning: nothing happens.
#[test]
fn the_header_is_c_and_cxx() {
    let p = Place::new();
    let text = r#"#include "dormouse.h"
        int main(void) {
          static char bytes[1 << 16];
          return dormouse_checkpoint() + dormouse_exclude(bytes, sizeof bytes) + dormouse_include(bytes, 1) +
                 dormouse_disable() + dormouse_enable() + (int)dormouse_restored_count();
        }"#;
    std::fs::write(p.path("program"), text).unwrap();
    for (compiler, language, standard) in [("cc", "c", "-std=c99"), ("c++", "c++", "-std=c++11")] {
        let mut command = Command::new(compiler);
        command.args([
            standard,
            "-Wall",
            "-Wextra",
            "-pedantic",
            "-Werror",
            "-x",
            language,
            "program",
            "-o",
            language,
        ]);
        command.arg("-I").arg(root().join("include")).current_dir(p.dir.path());
        let Ok(compiled) = command.output().map(Ended::of) else {
            eprintln!("SKIPPED: {compiler} is not installed here");
            continue;
        };
        assert_eq!(compiled.code, Some(0), "{}", compiled.err);
        assert!(Command::new(p.path(language)).status().unwrap().success());
    }
}

/// The same from Rust: resumed in its own checkpoint, it says so.
#[test]
fn a_program_in_rust() {
    let p = Place::new();
    let Some(program) = rust(&p) else {
        return eprintln!(
            "SKIPPED: rustc has no library for wasm32-wasip1 here (rustup target add wasm32-wasip1)"
        );
    };
    let expected = p.ok(&["run", &program]);
    assert_eq!(expected, "Ok(Taken), 0 resumes, 1048576 kept\nErr(Disabled)\nErr(Outside)\n");
    let ended = p.dormouse(&["run", "--chaos", "5000", &program]);
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    p.ok(&["run", "--name", "sim", &program]);
    let resumed = p.ok(&["resume", "sim"]);
    let answer = resumed.lines().next().unwrap();
    assert!(answer.starts_with("Ok(Resumed), 1 resumes, "), "{answer}");
    let kept: usize = answer.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(kept < 2 * 4096, "{kept} bytes at both ends");
}

const RUST: &str = r#"
use dormouse_guest::*;
fn main() {
    let mut memory = vec![1u8; 1 << 20];
    memory[5] = std::hint::black_box(1);
    // SAFETY: bytes may be zero.
    unsafe { exclude(memory.as_ptr(), memory.len()) }.unwrap();
    let answer = checkpoint();
    let kept = std::hint::black_box(&memory).iter().filter(|b| **b != 0).count();
    println!("{answer:?}, {} resumes, {kept} kept", restored_count());
    include(memory.as_ptr(), memory.len()).unwrap();
    let section = disable();
    println!("{:?}", checkpoint());
    drop(section);
    println!("{:?}", include(memory.as_ptr(), usize::MAX));
}
"#;

/// Compiles it, if that can be done here.
fn rust(p: &Place) -> Option<String> {
    let rustc = |args: &[&str]| {
        let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
        command.args(args).args(["--target", "wasm32-wasip1"]).current_dir(p.dir.path());
        command.output().map(Ended::of).ok()
    };
    let libraries = rustc(&["--print", "target-libdir"])?;
    if libraries.code != Some(0) || !Path::new(libraries.out.trim()).exists() {
        return None;
    }
    let library = root().join("crates/guest/src/lib.rs");
    let build = |args: &[&str]| {
        let built = rustc(&[&["--edition", "2024", "-O"], args].concat()).unwrap();
        assert_eq!(built.code, Some(0), "{}", built.err);
    };
    build(&["--crate-type", "rlib", "--crate-name", "dormouse_guest", library.to_str().unwrap()]);
    std::fs::write(p.path("guest.rs"), RUST).unwrap();
    build(&["--extern", "dormouse_guest=libdormouse_guest.rlib", "-o", "rust.wasm", "guest.rs"]);
    Some(p.path("rust.wasm").to_str().unwrap().to_owned())
}

/// A program in text: all calls, `$say` prints a character and a newline.
fn text(body: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
  (import "dormouse" "exclude" (func $exclude (param i32 i32) (result i32)))
  (import "dormouse" "include" (func $include (param i32 i32) (result i32)))
  (import "dormouse" "disable" (func $disable (result i32)))
  (import "dormouse" "enable" (func $enable (result i32)))
  (import "dormouse" "restored_count" (func $count (result i32)))
  (memory (export "memory") 80)
  (func $say (param i32)
    (i32.store16 (i32.const 16) (i32.or (local.get 0) (i32.const 0xa00)))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 2))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") (local $n i32) (local $sum i32)
    {body}))"#
    )
}

/// Does something that gives a number so often, and says the sum, `a` for 0.
fn looping(times: &str, body: &str) -> String {
    text(&format!(
        "(local.set $n {times})
        (loop $l
          (local.set $sum (i32.add (local.get $sum) {body}))
          (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (call $say (i32.add (local.get $sum) (i32.const 97)))"
    ))
}

/// Makes a file, deletes it while it is open, and exits with what `checkpoint` answers, without its sign.
const REFUSED: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "f")
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 1) (i64.const 66) (i64.const 0)
      (i32.const 0) (i32.const 32)))
    (drop (call $unlink (i32.const 3) (i32.const 16) (i32.const 1)))
    (call $exit (i32.sub (i32.const 0) (call $checkpoint)))))"#;
