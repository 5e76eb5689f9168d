//! Programs that are run again from a checkpoint, beside their job, and stopped somewhere: `debug` and `resume --until`.

mod harness;

use harness::Place;
use harness::guests::guests;
use harness::program::program;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Adds up quotients until it divides by zero, in `divide`, when `i` is 777. The bound comes from memory, so that nobody knows how
/// often the loop goes round.
const DIVIDES: &str = r#"(module
  (memory (export "memory") 1)
  (data (i32.const 16) "\00\00\01\00")
  (func $divide (param $of i32) (param $by i32) (result i32)
    (i32.div_u (local.get $of) (local.get $by)))
  (func $step (param $i i32) (result i32)
    (call $divide (i32.const 1000) (i32.sub (i32.const 777) (local.get $i))))
  (func $never)
  (func (export "_start") (local $i i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $step (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.load (i32.const 16)))))))"#;

/// A job with a checkpoint at its `n`th safepoint.
fn stopped(p: &Place, text: &str, n: u32) {
    let wasm = p.guest("sim", text);
    let run = p.dormouse(&["run", "--name", "sim", "--stop-at", &n.to_string(), &wasm]);
    assert_eq!(run.code, Some(85), "{}", run.err);
}

/// A job that writes into the directory `work`, stopped before it does; another, `mine`, is like that one.
fn writing(p: &Place, options: &[&str]) {
    let wasm = p.guest("sim", &writes());
    for dir in ["work", "mine"] {
        fs::create_dir(p.path(dir)).unwrap();
        fs::write(p.path(dir).join("old"), "old").unwrap();
    }
    let run = ["run", "--name", "sim", "--stop-at", "2", "--dir", "work::/"];
    assert_eq!(p.dormouse(&[&run, options, &[&wasm]].concat()).code, Some(85));
}

fn debug(p: &Place, args: &[&str]) -> Value {
    p.json(&[&["debug", "--json"], args].concat())
}

/// Functions, innermost first, each with its locals by name.
fn stack(report: &Value) -> Vec<(String, BTreeMap<String, String>)> {
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let frames = report["frames"].as_array().unwrap().iter();
    let local = |l: &Value| (l["name"].as_str().unwrap_or("?").to_owned(), text(&l["value"]));
    frames
        .map(|f| (text(&f["name"]), f["locals"].as_array().unwrap().iter().map(local).collect()))
        .collect()
}

fn functions(report: &Value) -> Vec<String> {
    stack(report).into_iter().map(|f| f.0).collect()
}

fn jobs(p: &Place) -> Vec<(String, u64)> {
    let all = p.json(&["list", "--json"]);
    let job =
        |j: &Value| (j["job"].as_str().unwrap().to_owned(), j["checkpoints"].as_u64().unwrap());
    all["jobs"].as_array().unwrap().iter().map(job).collect()
}

/// All that is in a directory, with times.
fn tree(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let (path, meta) = {
                let entry = entry.unwrap();
                (entry.path(), entry.metadata().unwrap())
            };
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { vec![] };
            all.insert(name, (bytes, meta.modified().unwrap()));
            if meta.is_dir() {
                open.push(path);
            }
        }
    }
    all
}

/// The copies that a stop has of the program's only directory.
fn copies(p: &Place, stop: &str) -> std::path::PathBuf {
    let seen = p.json(&["inspect", stop, "--json"]);
    let job = seen["job"].as_str().unwrap();
    let copies = seen["annotations"]["io.dormouse.copies"].as_str().unwrap();
    p.store().join("debug").join(job).join(copies).join("0")
}

/// Counts down from a number in memory.
const SPIN: &str = r#"(data (i32.const 16) "\00\00\01\00")
  (func $spin (local $i i32) (local.set $i (i32.load (i32.const 16)))
    (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))"#;

/// Checkpoints that the program asks for itself are no safepoints.
#[test]
fn before_a_trap_after_a_checkpoint_of_its_own() {
    let p = Place::new();
    let text = format!(
        r#"(module (import "dormouse" "checkpoint" (func $ck (result i32))) (memory (export "memory") 1) {SPIN}
        (func $twice (call $spin) (drop (call $ck)) (call $spin) (drop (call $ck)))
        (func (export "_start") (call $spin) (call $twice) (unreachable)))"#
    );
    stopped(&p, &text, 100);
    let stop = debug(&p, &["sim"]);
    assert_eq!(functions(&stop), ["dormouse.checkpoint", "twice", "_start"]);
    assert_eq!(stop["trap"]["message"], "wasm trap: wasm `unreachable` instruction executed");
}

/// A stop in front of a call that is no safepoint of a running job.
#[test]
fn on_from_a_call_that_does_not_wait() {
    let p = Place::new();
    let text = format!(
        r#"(module (import "wasi_snapshot_preview1" "random_get" (func $rg (param i32 i32) (result i32)))
        (memory (export "memory") 1) {SPIN}
        (func (export "_start") (call $spin) (drop (call $rg (i32.const 1) (i32.const 0))) (call $spin) (unreachable)))"#
    );
    stopped(&p, &text, 100);
    debug(&p, &["sim", "--until", "random_get"]);
    let here = debug(&p, &["sim.debug@1", "--until", "safepoint=0"]);
    assert_eq!(functions(&here), ["wasi_snapshot_preview1.random_get", "_start"]);
    let trap = debug(&p, &["sim.debug@1"]);
    assert_eq!(trap["from"], "sim.debug@1");
    assert_eq!(functions(&trap), ["spin", "_start"]);
}

/// Where the stack is at its end there is no room for saving it: it is stopped some frames before.
#[test]
fn before_the_end_of_the_stack() {
    let p = Place::new();
    let text = format!(
        r#"(module (memory (export "memory") 1) {SPIN}
        (func $r (param $n i32) (result i32)
            (i32.add (local.get $n) (call $r (i32.add (local.get $n) (i32.const 1)))))
        (func (export "_start") (call $spin) (drop (call $r (i32.const 0)))))"#
    );
    let wasm = p.guest("sim", &text);
    let run = p.dormouse(&["run", "--name", "sim", "--stack", "1M", "--stop-at", "100", &wasm]);
    assert_eq!(run.code, Some(85), "{}", run.err);
    let e = p.dormouse(&["debug", "sim"]);
    assert_eq!(e.code, Some(0), "{}", e.err);
    assert!(e.out.contains("shortly before its stack is at its end"), "{}", e.out);
    assert!(e.out.contains("call stack exhausted"), "{}", e.out);
}

/// What the program said need not be kept is not in a stop either.
#[test]
fn what_is_excluded_is_in_no_stop() {
    let p = Place::new();
    let text = format!(
        r#"(module (import "dormouse" "exclude" (func $ex (param i32 i32) (result i32)))
        (memory (export "memory") 2) (data (i32.const 65536) "SECRETSECRET") {SPIN}
        (func (export "_start")
            (drop (call $ex (i32.const 65536) (i32.const 65536))) (call $spin)
            (i32.store (i32.const 0) (i32.load (i32.const 65536)))
            (if (i32.eqz (i32.load (i32.const 65536))) (then (unreachable)))))"#
    );
    stopped(&p, &text, 100);
    let strings = |stop: &str| p.ok(&["inspect", stop, "--strings"]);
    assert!(!strings("sim@1").contains("SECRET"));
    debug(&p, &["sim"]);
    assert!(!strings("sim.debug@1").contains("SECRET"));
}

/// Random numbers are others in another run: a step back says so.
#[test]
fn a_step_back_in_another_run_is_told() {
    let p = Place::new();
    let text = format!(
        r#"(module (import "wasi_snapshot_preview1" "random_get" (func $rg (param i32 i32) (result i32)))
        (memory (export "memory") 1) {SPIN}
        (func (export "_start") (call $spin) (drop (call $rg (i32.const 0) (i32.const 8))) (call $spin) (unreachable)))"#
    );
    stopped(&p, &text, 100);
    debug(&p, &["sim"]);
    let e = p.dormouse(&["debug", "sim.debug@1", "--until", "safepoint=-1"]);
    assert_eq!(e.code, Some(0), "{}", e.err);
    assert!(e.err.contains("this is a step back in another run"), "{}", e.err);
}

#[test]
fn before_a_trap_in_a_loop() {
    let p = Place::new();
    stopped(&p, DIVIDES, 100);
    let stop = debug(&p, &["sim"]);
    assert_eq!((&stop["checkpoint"], &stop["from"]), (&"sim.debug@1".into(), &"sim@1".into()));
    assert_eq!(stop["trap"]["message"], "wasm trap: integer divide by zero");
    let places = stop["trap"]["places"].as_array().unwrap();
    assert_eq!(places.len(), 3);
    assert!(places[0].as_str().unwrap().starts_with("divide at 0x"));
    // Values of the call that will trap: 1000 / (777 - i).
    let stack = stack(&stop);
    let locals = |n: usize, name: &str| stack[n].1[name].as_str();
    assert_eq!(functions(&stop), ["divide", "step", "_start"]);
    assert_eq!([locals(0, "of"), locals(0, "by"), locals(2, "i")], ["1000", "0", "777"]);
    // From sim@1, where i is 99: the loop, step and divide, each time.
    assert_eq!(stop["safepoints"], 3 * (777 - 99) + 2);

    // The stop is a checkpoint: it goes on to the trap.
    let end = p.dormouse(&["resume", "sim.debug"]);
    assert_eq!(end.code, Some(134));
    assert!(end.err.contains("divide by zero") && end.err.contains("in step at"), "{}", end.err);
    // The job is as it was.
    assert_eq!(jobs(&p), [("sim".to_owned(), 1), ("sim.debug".to_owned(), 1)]);
    assert_eq!(p.dormouse(&["resume", "sim"]).code, Some(134));
}

#[test]
fn before_a_trap_deep_down() {
    let p = Place::new();
    let deep = r#"(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func $down (param $depth i32) (result i32) (local $twice i32)
        (local.set $twice (i32.mul (local.get $depth) (i32.const 2)))
        (if (i32.eqz (local.get $depth)) (then (unreachable)))
        (i32.add (call $down (i32.sub (local.get $depth) (i32.const 1))) (local.get $twice)))
      (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 8)))
        (drop (call $down (i32.const 1000)))))"#;
    stopped(&p, deep, 1);
    let stop = debug(&p, &["sim"]);
    let stack = stack(&stop);
    assert_eq!(stack.len(), 1002);
    assert_eq!(stack[0].1["depth"], "0");
    for (n, frame) in stack[..1001].iter().enumerate().skip(1) {
        let expected = BTreeMap::from([("twice".to_owned(), (2 * n).to_string())]);
        assert_eq!(frame, &("down".to_owned(), expected));
    }
    let text = p.ok(&["debug", "sim"]);
    assert!(text.contains("1002 frames, innermost first"), "{text}");
    assert!(text.contains("the last before it traps"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_second_and_the_hundredth_time() {
    let p = Place::new();
    stopped(&p, DIVIDES, 100);
    for (until, i, times) in [("step", 99, 1), ("step=2", 100, 2), ("func[1]=100", 198, 100)] {
        let stop = debug(&p, &["sim@1", "--until", until]);
        assert_eq!(stack(&stop)[0].1["i"], i.to_string(), "{until}");
        assert_eq!((&stop["times"], &stop["func"]), (&times.into(), &1.into()));
        assert_eq!(functions(&stop), ["step", "_start"]);
    }
    // From where it stands, the next.
    let next = debug(&p, &["sim.debug@1", "--until", "step"]);
    assert_eq!(next["checkpoint"], "sim.debug@4");
    assert_eq!(stack(&next)[0].1["i"], "100");
    let next = debug(&p, &["sim.debug@1", "--until", "divide"]);
    assert_eq!(stack(&next)[0].1["by"], (777 - 99).to_string());

    let error = |until: &str| p.dormouse(&["debug", "sim", "--until", until]).error().to_owned();
    let again = p.ok(&["debug", "sim", "--until", "step=3"]);
    assert!(again.contains("stands at the 3rd entry of step after sim@1"), "{again}");
    p.ok(&["rm", "sim.debug@6"]);
    let never = error("never");
    assert!(!never.contains("an earlier checkpoint may"), "{never}");
    assert!(never.contains("sim@1 does not lead to `never`: it trapped: wasm trap"), "{never}");
    let unknown = error("stpe");
    assert!(unknown.contains("no function `stpe`; did you mean `step`"), "{unknown}");
    assert_eq!(jobs(&p)[1], ("sim.debug".to_owned(), 5));
}

#[test]
fn steps_on_and_back() {
    let p = Place::new();
    stopped(&p, DIVIDES, 100);
    let at = |target: &str, n: i64| debug(&p, &[target, "--until", &format!("safepoint={n}")]);
    // sim.debug@1, @2: 7 and 7 + 3 from sim@1.
    let seven = at("sim", 7);
    let ten = at("sim.debug", 3);
    assert_eq!(ten["from"], "sim.debug@1");
    assert_eq!(stack(&ten), stack(&at("sim", 10)));
    let back = at("sim.debug@2", -3);
    assert_eq!((&back["from"], &back["safepoints"]), (&"sim@1".into(), &7.into()));
    assert_eq!(stack(&back), stack(&seven));
    assert_eq!(stack(&at("sim.debug@2", -10)), stack(&at("sim", 0)));
    let error = |args: &[&str]| p.dormouse(&[&["debug"], args].concat()).error().to_owned();
    let before = error(&["sim.debug@2", "--until", "safepoint=-11"]);
    assert!(before.contains("no way back"), "{before}");
    assert!(error(&["sim", "--until", "safepoint=-1"]).contains("no way back"));
    let far = error(&["sim", "--until", "safepoint=1000000"]);
    assert!(far.contains("after 2036 it trapped"), "{far}");
    // One line at each step, and what to type next.
    let text = p.ok(&["debug", "sim", "--until", "safepoint=1"]);
    assert!(text.contains("stands 1 safepoint after sim@1"), "{text}");
    assert!(text.contains("--until safepoint=-1"), "{text}");
}

/// A function that is entered before the newest checkpoint only.
#[test]
fn an_earlier_checkpoint_is_found() {
    let p = Place::new();
    let text = r#"(module
      (memory (export "memory") 1)
      (data (i32.const 16) "\e8\03\00\00")
      (func $rounds (param $n i32) (param $i i32)
        (loop $l
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.load (i32.const 16))))))
      (func $early (param $x i32))
      (func (export "_start")
        (call $rounds (i32.const 1) (i32.const 0))
        (call $early (i32.const 42))
        (call $rounds (i32.const 2) (i32.const 0))
        (call $rounds (i32.const 3) (i32.const 0))))"#;
    stopped(&p, text, 10);
    assert_eq!(p.dormouse(&["resume", "sim", "--stop-at", "1500"]).code, Some(85));
    assert_eq!(p.dormouse(&["resume", "sim", "--stop-at", "1000"]).code, Some(85));
    let stop = debug(&p, &["sim", "--until", "early"]);
    assert_eq!(stop["from"], "sim@1");
    assert_eq!(stop["tried"], serde_json::json!(["sim@3", "sim@2"]));
    assert_eq!(stack(&stop)[0], ("early".to_owned(), [("x".to_owned(), "42".to_owned())].into()));
    let told = p.ok(&["debug", "sim", "--until", "early"]);
    assert!(
        told.contains("(it does not come there from sim@3, and 1 checkpoint before it)"),
        "{told}"
    );
    // With a number, only from there.
    let only = p.dormouse(&["debug", "sim@2", "--until", "early"]);
    assert!(only.error().contains("an earlier checkpoint may"), "{}", only.err);
    // Of several that lead there, the newest.
    let rounds = debug(&p, &["sim", "--until", "rounds"]);
    assert_eq!(rounds["from"], "sim@2");
    let none = p.dormouse(&["debug", "sim"]);
    assert!(
        none.error().contains("sim@3 does not lead to a trap: it exited with status 0"),
        "{}",
        none.err
    );
}

/// Writes `begun` into `log`, and after its second safepoint ` later`; then deletes `old`, and traps.
fn writes() -> String {
    program(
        r#"(data (i32.const 1024) "logoldbegun later")"#,
        r#"(local $fd i32)
        (local.set $fd (call $open (i32.const 1024) (i32.const 3) (i32.const 1) (i32.const 0)))
        (drop (call $write (local.get $fd) (i32.const 1030) (i32.const 5)))
        (drop (call $wait))
        (drop (call $write (local.get $fd) (i32.const 1035) (i32.const 6)))
        (call $must (call $path_unlink_file (i32.const 3) (i32.const 1027) (i32.const 3)))
        (unreachable)"#,
    )
}

#[test]
fn files_of_the_job_stay_as_they_are() {
    let p = Place::new();
    writing(&p, &[]);
    // The job goes on to its trap: what it did after the checkpoint is in its files, and in the undo log.
    assert_eq!(p.dormouse(&["resume", "sim"]).code, Some(134));
    let both = || (tree(&p.path("work")), tree(&p.store().join("undo/sim")));
    let before = both();
    assert_eq!(before.0["log"].0, b"begun later");
    assert!(!before.0.contains_key("old"));

    let stop = debug(&p, &["sim"]);
    assert_eq!(stop["trap"]["message"], "wasm trap: wasm `unreachable` instruction executed");
    assert_eq!(functions(&stop)[..2], ["must", "_start"]);
    let at = |n: u32| tree(&copies(&p, &format!("sim.debug@{n}")));
    let files = |n: u32| -> Vec<(String, String)> {
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        at(n).into_iter().map(|(name, (bytes, _))| (name, text(&bytes))).collect()
    };
    let (log, old) =
        (("log".to_owned(), "begun later".to_owned()), ("old".to_owned(), "old".to_owned()));
    assert_eq!(files(1), std::slice::from_ref(&log));
    // Before the call: it is still there.
    let stop = debug(&p, &["sim", "--until", "path_unlink_file"]);
    assert_eq!(functions(&stop), ["wasi_snapshot_preview1.path_unlink_file", "_start"]);
    assert_eq!(files(2), [log, old.clone()]);
    // The checkpoint itself.
    debug(&p, &["sim", "--until", "safepoint=0"]);
    assert_eq!(files(3), [("log".to_owned(), "begun".to_owned()), old]);
    assert_eq!(both(), before);

    // From a stop, with a copy of its copies; then in them.
    let kept = at(2);
    let stop = debug(&p, &["sim.debug@2"]);
    assert_eq!(functions(&stop)[..2], ["must", "_start"]);
    assert_eq!(at(2), kept);
    assert_eq!(p.dormouse(&["resume", "sim.debug@2"]).code, Some(134));
    assert!(!at(2).contains_key("old"));
    assert_eq!(both(), before);
    // They go with their stops.
    p.ok(&["rm", "--all", "sim.debug"]);
    assert!(!p.store().join("debug/sim.debug").exists());
    assert_eq!(both(), before);
}

#[test]
fn which_directories() {
    let p = Place::new();
    writing(&p, &[]);
    let error = |args: &[&str]| p.dormouse(&[&["debug", "sim"], args].concat()).error().to_owned();
    let large = error(&["--max-copy", "5"]);
    assert!(large.contains("more than 5 bytes") && large.contains("--max-copy"), "{large}");
    let own = error(&["--dir", "./work/../work::/"]);
    assert!(own.contains("is the job's own directory"), "{own}");
    fs::create_dir(p.path("work/in")).unwrap();
    let (beneath, above) = (error(&["--dir", "work/in::/"]), error(&["--dir", ".::/"]));
    assert!(beneath.contains("lies in the job's own directory /"), "{beneath}");
    assert!(above.contains("has the job's own directory /"), "{above}");
    fs::remove_dir(p.path("work/in")).unwrap();
    assert!(
        !p.store().join("debug/sim.debug").exists()
            || tree(&p.store().join("debug/sim.debug")).is_empty()
    );
    let before = tree(&p.path("work"));
    // One that is given is used as it is, and is as it was at the stop.
    fs::copy(p.path("work/log"), p.path("mine/log")).unwrap();
    debug(&p, &["sim", "--dir", "mine::/", "--max-copy", "0"]);
    assert_eq!(fs::read(p.path("mine/log")).unwrap(), b"begun later");
    assert!(!p.path("mine/old").exists());
    assert_eq!(tree(&p.path("work")), before);

    // While the job runs, its files cannot be copied.
    let mut job =
        p.command(&["resume", "sim"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    p.wait_answering("sim");
    let runs = error(&["--name", "other"]);
    assert!(runs.contains("job sim is running and may change its files"), "{runs}");
    p.ok(&["kill", "sim"]);
    job.wait().unwrap();
}

/// What goes on from a stop keeps its copies, whatever job it is, and before it has a checkpoint.
#[test]
fn copies_that_are_needed_stay() {
    let p = Place::new();
    writing(&p, &[]);
    debug(&p, &["sim", "--until", "safepoint=0"]);
    let (first, all) = (copies(&p, "sim.debug@1"), p.store().join("debug/sim.debug"));
    // As the same job: it takes stops as before.
    assert_eq!(p.dormouse(&["resume", "sim.debug", "--stop-at", "0"]).code, Some(85));
    assert_eq!(copies(&p, "sim.debug@2"), first);
    assert_eq!(debug(&p, &["sim"])["checkpoint"], "sim.debug@3");
    assert_eq!(debug(&p, &["sim.debug@2"])["checkpoint"], "sim.debug@4");
    // As another.
    let clone = ["resume", "sim.debug@2", "--clone", "x", "--stop-at", "0"];
    let cloned = p.dormouse(&clone);
    assert_eq!(cloned.code, Some(85), "{}", cloned.err);
    let refused = p.dormouse(&["debug", "sim", "--name", "x"]);
    assert!(refused.error().contains("job x has checkpoints of its own"), "{}", refused.err);
    p.ok(&["rm", "sim.debug@1"]);
    assert!(first.exists());
    p.ok(&["rm", "--all", "sim.debug"]);
    assert!(first.exists());
    assert_eq!(fs::read_dir(&all).unwrap().count(), 1);
    // Without a checkpoint.
    let mut job = p.command(&["resume", "x", "--clone", "y"]);
    let mut job = job.stdin(std::process::Stdio::piped()).spawn().unwrap();
    p.wait_answering("y");
    p.ok(&["rm", "--all", "x"]);
    assert!(first.exists());
    p.ok(&["kill", "y"]);
    job.wait().unwrap();
    p.ok(&["gc"]);
    assert!(!all.exists());
}

/// Ctrl-C and SIGTERM leave no copies; what SIGKILL leaves, the next one removes.
#[test]
fn copies_go_when_it_is_ended() {
    let p = Place::new();
    let body = "(drop (call $wait)) (loop $l (br $l)) (call $must (i32.const 1))";
    let wasm = p.guest("sim", &program("", body));
    fs::create_dir(p.path("work")).unwrap();
    fs::write(p.path("work/file"), "file").unwrap();
    let run = ["run", "--name", "sim", "--stop-at", "1", "--dir", "work::/", &wasm];
    assert_eq!(p.dormouse(&run).code, Some(85));
    let all = p.store().join("debug/sim.debug");
    let left = || fs::read_dir(&all).map_or(0, Iterator::count);
    for (name, code) in [("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)] {
        let mut child = p.command(&["debug", "sim"]).spawn().unwrap();
        let is_copied = |dir: fs::DirEntry| dir.path().join("log").exists();
        p.wait_for("the copies", || {
            fs::read_dir(&all).is_ok_and(|mut all| all.any(|dir| dir.is_ok_and(is_copied)))
        });
        let second = p.dormouse(&["debug", "sim"]);
        assert!(
            second.error().contains("give these stops another name with --name"),
            "{}",
            second.err
        );
        harness::signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), code, "{name}");
        assert_eq!(left(), usize::from(code.is_none()), "{name}");
    }
    p.dormouse(&["debug", "sim", "--until", "nothing"]).error();
    assert_eq!(left(), 0);
    assert_eq!(jobs(&p).len(), 1);
}

/// What a checkpoint records of directories is not believed of a stranger's, nor where that is not wanted.
#[test]
fn directories_that_are_not_taken_as_recorded() {
    let p = Place::new();
    writing(&p, &[]);
    p.ok(&["export", "sim", "--archive", "sim.tar"]);
    p.ok(&["import", "sim.tar", "--name", "theirs"]);
    for args in [
        &["debug", "sim", "--no-recorded-dirs"][..],
        &["resume", "sim", "--until", "trap", "--no-recorded-dirs"],
        &["debug", "theirs"],
        &["resume", "theirs", "--until", "trap"],
    ] {
        let refused = p.dormouse(args);
        let named = r#"the program needs a directory for "/""#;
        assert!(refused.error().contains(named), "{args:?}: {}", refused.err);
    }
    fs::copy(p.path("work/log"), p.path("mine/log")).unwrap();
    debug(&p, &["theirs", "--dir", "mine::/"]);
    assert_eq!(fs::read(p.path("mine/log")).unwrap(), b"begun later");
}

/// What means nothing to it is not passed over in silence.
#[test]
fn options_that_mean_nothing_are_refused() {
    let p = Place::new();
    stopped(&p, DIVIDES, 100);
    for option in [
        "--timeout=1s",
        "--stop-after=1s",
        "--every=1s",
        "--stats=f",
        "--lazy",
        "--tier-up",
        "--on=pre-resume=true",
        "--keep-last=1",
        "--no-deltas",
    ] {
        let refused = p.dormouse(&["resume", "sim", "--until", "trap", option]);
        assert_eq!(refused.code, Some(2), "{option}: {}", refused.err);
        assert!(refused.err.contains("cannot be used with"), "{option}: {}", refused.err);
    }
    // Set somewhere, they are for other runs.
    fs::write(p.path("dormouse.toml"), "every = \"1s\"\n").unwrap();
    p.ok(&["resume", "sim", "--until", "trap"]);
}

/// Random numbers and clocks say the same when it is run the second time; times of files do not.
#[test]
fn what_is_not_the_same_each_time() {
    let p = Place::new();
    let loops = |name: &str, number: &str| {
        let body = format!(
            r#"(local $n i32) (local $i i32)
            (drop (call $wait)) {number}
            (local.set $n (i32.and (local.get $n) (i32.const 0xfffff)))
            (loop $l
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br_if $l (i32.le_u (local.get $i) (local.get $n))))
            (unreachable)"#
        );
        let wasm = p.guest(name, &program(r#"(data (i32.const 1024) "log")"#, &body));
        let run = ["run", "--name", name, "--stop-at", "1", "--dir", "work::/", &wasm];
        assert_eq!(p.dormouse(&run).code, Some(85));
    };
    fs::create_dir(p.path("work")).unwrap();
    loops(
        "random",
        "(call $must (call $random_get (i32.const 1100) (i32.const 4)))
         (local.set $n (i32.load (i32.const 1100)))",
    );
    loops("clock", "(local.set $n (i32.wrap_i64 (call $time (i32.const 1))))");
    loops(
        "file",
        "(drop (call $open (i32.const 1024) (i32.const 3) (i32.const 1) (i32.const 0)))
         (call $must (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 3) (i32.const 1104)))
         (local.set $n (i32.wrap_i64 (i64.div_u (i64.load (i32.const 1152)) (i64.const 1000))))",
    );
    let mut seen = vec![];
    for _ in 0..3 {
        for job in ["random", "clock"] {
            let stop = debug(&p, &[job]);
            // Once more, and it is over.
            let locals = &stack(&stop)[0].1;
            let (n, i): (u32, u32) = (locals["n"].parse().unwrap(), locals["i"].parse().unwrap());
            assert_eq!(i, n, "{job}");
            seen.push(n);
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 3, "{seen:?}");
    let told = p.dormouse(&["debug", "file"]);
    assert!(told.error().contains("went another way when it was run again"), "{}", told.err);
    assert!(!jobs(&p).iter().any(|j| j.0 == "file.debug"));
}

#[test]
fn names_of_stops() {
    let p = Place::new();
    stopped(&p, DIVIDES, 100);
    let until = p.ok(&["resume", "sim@1", "--until", "step", "--clone", "look"]);
    assert!(until.contains("look@1 stands at the first entry of step after sim@1"), "{until}");
    let until = p.ok(&["resume", "sim@1", "--until", "trap"]);
    assert!(until.contains("sim.debug@1 stands 2036 safepoints after sim@1"), "{until}");
    p.ok(&["debug", "look", "--until", "step"]);
    let expected = [("look", 2), ("sim", 1), ("sim.debug", 1)];
    assert_eq!(jobs(&p), expected.map(|(job, n)| (job.to_owned(), n)));
    for args in [&["debug", "look", "--name", "sim"][..], &["debug", "sim", "--name", "sim"]] {
        let refused = p.dormouse(args);
        assert!(refused.error().contains("job sim has checkpoints of its own"), "{}", refused.err);
    }
    let long = "s".repeat(128);
    assert_eq!(p.dormouse(&["resume", "sim", "--clone", &long, "--stop-at", "1"]).code, Some(85));
    let refused = p.dormouse(&["debug", &long]);
    assert!(
        refused.error().contains("that name is too long; give them another"),
        "{}",
        refused.err
    );
    p.ok(&["rm", "--all", &long]);
    // The oldest go.
    for n in 0..16 {
        p.ok(&["debug", "sim", "--until", &format!("safepoint={n}")]);
    }
    assert_eq!(jobs(&p)[2], ("sim.debug".to_owned(), 16));
    assert_eq!(fs::read_dir(p.store().join("debug/sim.debug")).unwrap().count(), 16);
    p.dormouse(&["debug", "sim.debug@1"]).error();
    // Copies go with their stops; what a run left that was killed, too.
    fs::create_dir_all(p.store().join("debug/sim.debug/0123456789abcdef/0")).unwrap();
    p.ok(&["rm", "sim.debug@5"]);
    assert_eq!(fs::read_dir(p.store().join("debug/sim.debug")).unwrap().count(), 15);
    p.ok(&["gc", "--keep-last", "1", "sim.debug"]);
    assert_eq!(fs::read_dir(p.store().join("debug/sim.debug")).unwrap().count(), 1);
    let seen = p.ok(&["inspect", "sim.debug"]);
    assert!(seen.contains("stopped     15 safepoints after sim@1\n"), "{seen}");
}

/// What the program writes and reads.
#[test]
fn output_and_input() {
    let p = Place::new();
    let body = "(call $note (call $wait)) (call $note (call $wait)) (call $tell) (unreachable)";
    stopped(&p, &program("", body), 1);
    fs::write(p.path("in"), "12").unwrap();
    let shown = p.dormouse(&["debug", "sim", "--output", "--input", "in"]);
    assert_eq!((shown.code, &shown.err[..3]), (Some(0), ">>a"), "{}", shown.err);
    let quiet = p.dormouse(&["debug", "sim"]);
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""));
    assert!(!quiet.out.contains('>'));
}

/// Stopped where any of its functions is entered, and resumed, a program ends as it does undisturbed.
#[test]
fn kernels_go_on_from_any_function() {
    let p = Place::new();
    let mut stops = 0;
    for name in ["fib", "quicksort", "trees", "lists", "nqueens", "indirect", "strings"] {
        let all = guests();
        let guest = all.iter().find(|g| g.name == name).unwrap_or_else(|| panic!("no {name}"));
        let wasm = guest.wasm.to_str().unwrap();
        let args: Vec<&str> = guest.args.iter().map(String::as_str).collect();
        let full = p.ok(&[&["run", wasm], &args[..]].concat());
        assert!(!full.is_empty());
        let run =
            p.dormouse(&[&["run", "--name", name, "--stop-at", "1", wasm], &args[..]].concat());
        assert_eq!(run.code, Some(85), "{name}: {}", run.err);
        for func in (0..).step_by(5).take(8) {
            let until = format!("{func}=2");
            let stop =
                p.dormouse(&["debug", name, "--until", &until, "--output", "--name", "stop"]);
            if stop.code != Some(0) {
                let known = ["does not lead to", "no function"];
                assert!(known.iter().any(|k| stop.err.contains(k)), "{name} {func}: {}", stop.err);
                continue;
            }
            let rest = p.ok(&["resume", "stop"]);
            assert_eq!([run.out.as_str(), &stop.err, &rest].concat(), full, "{name} {func}");
            stops += 1;
        }
    }
    assert!(stops >= 15, "{stops}");
}

/// An interpreter whose script fails: where, with what on its stack; and from there to its end.
#[test]
fn a_script_that_fails() {
    let p = Place::new();
    let all = guests();
    let lua = all.iter().find(|g| g.name == "lua-mix").expect("no lua-mix").wasm.clone();
    let lua = lua.to_str().unwrap();
    fs::create_dir(p.path("work")).unwrap();
    let script = r#"
        local function weigh(n, round)
          if round == 90 then error("no weight left in round " .. round) end
          local sum = 0
          for i = 1, n do sum = sum + i % 7 end
          return sum
        end
        local total = 0
        for round = 1, 400 do total = total + weigh(2000, round) end"#;
    fs::write(p.path("work/job.lua"), script).unwrap();
    let run = [
        "run",
        "--name",
        "lua",
        "--stop-at",
        "500000",
        "--dir",
        "work::/work",
        lua,
        "/work/job.lua",
    ];
    assert_eq!(p.dormouse(&run).code, Some(85));
    let stop = debug(&p, &["lua", "--until", "luaB_error"]);
    let stack = functions(&stop);
    assert_eq!((stack[0].as_str(), stack.last().unwrap().as_str()), ("luaB_error", "_start"));
    assert!(stack.iter().any(|f| f == "luaV_execute"), "{stack:?}");
    let rest = p.dormouse(&["resume", "lua.debug"]);
    assert_eq!((rest.code, rest.out.as_str()), (Some(1), ""));
    assert!(rest.err.contains("job.lua:3: no weight left in round 90"), "{}", rest.err);
    // One step on, in code that has a safepoint at each entry.
    let step = debug(&p, &["lua.debug@1", "--until", "safepoint=1"]);
    assert_ne!(functions(&step)[0], "luaB_error");
    assert!(functions(&step).contains(&"luaB_error".to_owned()));
    let exit = debug(&p, &["lua", "--until", "proc_exit"]);
    assert_eq!(functions(&exit)[0], "wasi_snapshot_preview1.proc_exit");
    let none = p.dormouse(&["debug", "lua"]);
    assert!(none.error().contains("it exited with status 1; `--until proc_exit`"), "{}", none.err);
}

/// Stops of a job whose checkpoints are encrypted are encrypted, for the same.
#[test]
fn what_is_secret_stays_so() {
    use age::secrecy::ExposeSecret;
    let p = Place::new();
    let identity = age::x25519::Identity::generate();
    fs::write(p.path("key"), identity.to_string().expose_secret()).unwrap();
    let text = DIVIDES.replace("(data", r#"(data (i32.const 64) "what nobody may read") (data"#);
    let wasm = p.guest("sim", &text);
    let to = identity.to_public().to_string();
    let run = [
        "run",
        "--name",
        "sim",
        "--stop-at",
        "100",
        "--encrypt-to",
        &to,
        "--encrypt-module",
        &wasm,
    ];
    assert_eq!(p.dormouse(&run).code, Some(85));
    p.dormouse(&["debug", "sim"]).error();
    let stop = debug(&p, &["sim", "--identity", "key"]);
    assert_eq!(stack(&stop)[0].1["by"], "0");
    p.dormouse(&["inspect", "sim.debug"]).error();
    assert_eq!(p.dormouse(&["resume", "sim.debug", "--identity", "key"]).code, Some(134));
    for blob in fs::read_dir(p.store().join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // Layers are compressed otherwise, and states are plain.
        let sealed = bytes.starts_with(b"age-encryption.org/v1");
        let manifest = bytes.starts_with(b"{");
        assert!(sealed || manifest, "{} is not encrypted", path.display());
    }
    assert_eq!(jobs(&p).len(), 2);
}

/// A program in a section that must not be split is stopped behind it, or not at all.
#[test]
fn sections_that_must_not_be_split() {
    let p = Place::new();
    let text = r#"(module
      (import "dormouse" "disable" (func $disable (result i32)))
      (import "dormouse" "enable" (func $enable (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 16) "\64")
      (func $rounds (local $i i32)
        (loop $l
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.load (i32.const 16))))))
      (func $free)
      (func (export "_start")
        (call $rounds)
        (drop (call $disable)) (call $rounds) (drop (call $enable))
        (call $free)
        (drop (call $disable)) (call $rounds) (unreachable)))"#;
    stopped(&p, text, 50);
    // In the section; the first safepoint behind it is the entry of `free`.
    let behind = debug(&p, &["sim", "--until", "safepoint=60"]);
    assert_eq!(
        (&behind["safepoints"], functions(&behind)),
        (&152.into(), vec!["free".to_owned(), "_start".to_owned()])
    );
    let trap = p.dormouse(&["debug", "sim"]);
    assert!(trap.error().contains("does not want to be split"), "{}", trap.err);
    assert!(trap.error().contains("it traps 253 safepoints after sim@1, and cannot be saved before that: cannot checkpoint now"), "{}", trap.err);
    assert_eq!(jobs(&p)[1], ("sim.debug".to_owned(), 1));
}

/// A stop as a module of its own, and as a core dump.
#[test]
fn stops_are_exported() {
    let p = Place::new();
    stopped(&p, DIVIDES, 100);
    debug(&p, &["sim", "--until", "divide=3"]);
    p.ok(&["export", "sim.debug", "--wasm", "rest.wasm", "--coredump", "core"]);
    let rest = p.dormouse(&["run", "rest.wasm"]);
    assert_eq!(rest.code, Some(134));
    assert!(rest.err.contains("divide by zero"), "{}", rest.err);
    assert!(fs::read(p.path("core")).unwrap().starts_with(b"\0asm"));
    // As files for another store.
    p.ok(&["export", "sim.debug", "--archive", "stop.tar"]);
    let import = p.command(&["import", "stop.tar"]).env("DORMOUSE_STORE", p.path("other")).output();
    assert!(import.unwrap().status.success());
    let mut resume = p.command(&["resume", "sim.debug"]);
    let resumed = resume.env("DORMOUSE_STORE", p.path("other")).output().unwrap();
    assert_eq!(resumed.status.code(), Some(134), "{}", String::from_utf8_lossy(&resumed.stderr));
}

/// Files that travel with a checkpoint are put into the copies, whatever became of the program's directory.
#[test]
fn files_that_travelled() {
    let p = Place::new();
    writing(&p, &["--files", "copy"]);
    fs::remove_dir_all(p.path("work")).unwrap();
    let unlink = debug(&p, &["sim", "--until", "path_unlink_file"]);
    assert_eq!(functions(&unlink)[1], "_start");
    assert_eq!(fs::read(copies(&p, "sim.debug@1").join("log")).unwrap(), b"begun later");
    assert!(!p.path("work").exists());
}
