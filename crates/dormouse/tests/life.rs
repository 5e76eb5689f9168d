//! A running job is paused, waited for and looked at, through the real binary.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Prints a dot, again and again, for ever.
const TICK: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (data (i32.const 16) ".")
  (func (export "_start") (local $n i32)
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 1))
    (loop $l
      (local.set $n (i32.const 20000))
      (loop $spin (br_if $spin (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $l))))"#;

/// Sleeps for an hour.
const LONG_SLEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 3600000000000))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))))"#;

/// A job that prints into the file `dots`.
fn ticking(p: &Place, options: &[&str]) -> Child {
    let tick = p.guest("tick", TICK);
    let mut command = p.command(&["run", "--name", "tick"]);
    let dots = std::fs::File::create(p.path("dots")).unwrap();
    let job = command.args(options).arg(&tick).stdout(Stdio::from(dots)).spawn().unwrap();
    p.wait_answering("tick");
    p.wait_for("some dots", || dots_of(p) > 10);
    job
}

fn dots_of(p: &Place) -> u64 {
    std::fs::metadata(p.path("dots")).unwrap().len()
}

/// Fails if anything is printed in this time; a program that runs prints thousands.
fn stands(p: &Place) {
    let before = dots_of(p);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(dots_of(p), before, "it does not stand still");
}

fn runs(p: &Place) {
    let before = dots_of(p);
    p.wait_for("more dots", || dots_of(p) > before);
}

fn row(p: &Place) -> serde_json::Value {
    p.json(&["ps", "--json"])[0].clone()
}

#[test]
fn a_paused_program_stands_still_and_takes_checkpoints() {
    let p = Place::new();
    let job = ticking(&p, &[]);
    p.ok(&["pause", "tick"]);
    stands(&p);
    let at = dots_of(&p);
    assert_eq!(row(&p)["state"], "paused");
    let again = p.dormouse(&["pause", "tick"]);
    assert_eq!(again.code, Some(0));
    assert!(again.err.contains("job tick was paused already"), "{}", again.err);

    for n in 1..4 {
        let saved = p.json(&["checkpoint", "tick", "--json"]);
        assert_eq!(saved["name"], format!("tick@{n}"));
        assert_eq!(dots_of(&p), at, "a checkpoint moves nothing");
        assert_eq!(row(&p)["state"], "paused");
    }
    stands(&p);
    let frames = |n: u32| p.json(&["inspect", &format!("tick@{n}"), "--json"])["frames"].clone();
    assert_eq!(frames(1), frames(3), "all of them are of the same place");

    p.ok(&["unpause", "tick"]);
    runs(&p);
    assert_ne!(row(&p)["state"], "paused");
    let again = p.dormouse(&["unpause", "tick"]);
    assert_eq!(again.code, Some(0));
    assert!(again.err.contains("job tick was not paused"), "{}", again.err);
    // Again and again, at whatever it is.
    for _ in 0..20 {
        p.ok(&["pause", "tick"]);
        let at = dots_of(&p);
        p.ok(&["unpause", "tick"]);
        p.wait_for("more dots", || dots_of(&p) > at);
    }
    p.ok(&["kill", "tick"]);
    assert_eq!(Ended::wait(job).code, Some(137));
}

#[test]
fn what_comes_out_is_the_same() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let job = p.start("sim", &[&spin]);
    p.ok(&["pause", "sim"]);
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["unpause", "sim"]);
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected.as_str()), "{}", ended.err);
    for target in ["sim@1", "sim@2"] {
        assert_eq!(p.ok(&["resume", target]), expected);
    }
}

#[test]
fn a_paused_program_can_be_stopped_and_killed() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    for (name, code) in [("TERM", 85), ("INT", 130)] {
        let job = p.start(name, &[&spin]);
        p.ok(&["pause", name]);
        signal(&job, name);
        let ended = Ended::wait(job);
        assert_eq!((ended.code, ended.out.as_str()), (Some(code), ""), "{}", ended.err);
        assert_eq!(p.ok(&["resume", name]), expected, "{name}: a resumed job is not paused");
    }
    let job = p.start("stop", &[&spin]);
    p.ok(&["pause", "stop"]);
    p.ok(&["checkpoint", "--stop", "stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let job = p.start("kill", &[&spin]);
    p.ok(&["pause", "kill"]);
    p.ok(&["kill", "kill"]);
    assert_eq!(Ended::wait(job).code, Some(137));
    let job = p.start("time", &["--timeout", "1s", &spin]);
    p.ok(&["pause", "time"]);
    assert_eq!(Ended::wait(job).code, Some(124), "the time counts while it is paused");
}

#[test]
fn a_blocked_program_is_paused_too() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job = p.start("copy", &[&copy]);
    let mut stdin = job.stdin.take().unwrap();
    p.wait_for("it to wait for input", || row(&p)["state"] == "waiting");
    p.ok(&["pause", "copy"]);
    stdin.write_all(b"meanwhile").unwrap();
    drop(stdin);
    // All its input is there, and it does not end.
    std::thread::sleep(Duration::from_millis(300));
    assert!(job.try_wait().unwrap().is_none());
    p.ok(&["unpause", "copy"]);
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out.as_str()), (Some(9), "meanwhile"));
}

#[test]
fn no_checkpoint_by_itself_while_it_is_paused() {
    let p = Place::new();
    std::fs::write(p.path("hooked"), "").unwrap();
    let hook = "pre-checkpoint=echo >> hooked";
    let mut job = ticking(&p, &["--every", "20ms", "--on", hook]);
    p.wait_for("two checkpoints", || p.checkpoints("tick") >= 2);
    assert!(row(&p)["next_seconds"].as_f64().unwrap() <= 0.02);
    p.ok(&["pause", "tick"]);
    // One that was ordered before is still taken.
    p.wait_for("an end of checkpoints", || {
        let before = p.checkpoints("tick");
        std::thread::sleep(Duration::from_millis(300));
        p.checkpoints("tick") == before
    });
    assert_eq!(row(&p)["next_seconds"], serde_json::Value::Null);
    let before = p.checkpoints("tick");
    let hooks = || std::fs::read(p.path("hooked")).unwrap().len();
    let hooked = hooks();
    p.ok(&["checkpoint", "tick"]);
    assert_eq!((p.checkpoints("tick"), hooks()), (before + 1, hooked + 1), "hooks run as ever");
    stands(&p);
    p.ok(&["unpause", "tick"]);
    p.wait_for("another", || p.checkpoints("tick") > before + 2);
    job.kill().unwrap();
    job.wait().unwrap();
}

/// `wait` for a job that was begun, before its end.
fn waiting(p: &Place, job: &str) -> Child {
    let child = p.command(&["wait", "--json", job]).spawn().unwrap();
    // It is sure to wait when it has connected; sooner or later makes no difference to what it says.
    std::thread::sleep(Duration::from_millis(100));
    child
}

fn told(child: Child) -> (Option<i32>, serde_json::Value) {
    let ended = Ended::wait(child);
    let json = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err));
    (ended.code, json)
}

#[test]
fn wait_has_the_exit_status_of_run() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let start = || p.start("copy", &[&copy]);

    let mut job = start();
    let both = [waiting(&p, "copy"), waiting(&p, "copy")];
    drop(job.stdin.take());
    for child in both {
        let (code, json) = told(child);
        assert_eq!(code, Some(9));
        let expected = serde_json::json!({
            "ok": "ended", "status": 9, "how": "exited with status 9", "checkpoint": null,
        });
        assert_eq!(json, expected);
    }
    assert_eq!(Ended::wait(job).code, Some(9));

    let job = start();
    let child = waiting(&p, "copy");
    p.ok(&["kill", "copy"]);
    assert_eq!(told(child).0, Some(137));
    assert_eq!(Ended::wait(job).code, Some(137));

    let job = start();
    let child = p.command(&["wait", "copy"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    signal(&job, "TERM");
    let ended = Ended::wait(child);
    assert_eq!(ended.code, Some(85));
    assert_eq!(ended.err, "dormouse: job copy was stopped at copy@1\n");
    assert_eq!(p.dormouse(&["resume", "copy"]).code, Some(9), "it can be resumed at once");
    assert_eq!(Ended::wait(job).code, Some(85));

    let job = start();
    let child = waiting(&p, "copy");
    p.ok(&["checkpoint", "--stop", "copy"]);
    let (code, json) = told(child);
    assert_eq!((code, &json["checkpoint"]), (Some(85), &"copy@2".into()));
    assert_eq!(Ended::wait(job).code, Some(85));

    let job = start();
    p.ok(&["pause", "copy"]);
    let child = waiting(&p, "copy");
    signal(&job, "INT");
    assert_eq!(told(child).0, Some(130));
    assert_eq!(Ended::wait(job).code, Some(130));
}

#[test]
fn wait_for_one_that_traps_and_one_that_is_not_there() {
    let p = Place::new();
    let trap = "(if (i32.eqz (i32.load8_u (i32.const 16))) (then (unreachable)))";
    // Reads until its end, then traps.
    let text = COPY.replace("(call $exit (i32.const 9))", trap);
    let guest = p.guest("trap", &text);
    let mut job = p.start("trap", &[&guest]);
    let child = waiting(&p, "trap");
    drop(job.stdin.take());
    let (code, json) = told(child);
    assert_eq!(code, Some(134));
    assert!(json["how"].as_str().unwrap().starts_with("trapped: "), "{json}");
    assert_eq!(Ended::wait(job).code, Some(134));
    for command in ["wait", "pause", "unpause", "kill"] {
        let ended = p.dormouse(&[command, "trap"]);
        assert_eq!(ended.code, Some(125));
        assert!(ended.error().starts_with("job trap is not running;"), "{}", ended.err);
    }
}

#[test]
fn a_process_that_died_is_recognised() {
    let p = Place::new();
    let mut job = ticking(&p, &[]);
    p.ok(&["pause", "tick"]);
    p.ok(&["checkpoint", "tick"]);
    let child = p.command(&["wait", "tick"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    job.kill().unwrap();
    job.wait().unwrap();
    let ended = Ended::wait(child);
    assert_eq!(ended.code, Some(125));
    let line = "job tick ended and did not say how: its process was killed;";
    assert!(ended.error().starts_with(line), "{}", ended.err);

    let socket = p.path("store/run/tick.sock");
    for command in ["pause", "unpause", "wait", "kill", "checkpoint"] {
        // As a dead process leaves it: nobody listens.
        let _ = std::fs::remove_file(&socket);
        drop(UnixListener::bind(&socket).unwrap());
        let ended = p.dormouse(&[command, "tick"]);
        assert_eq!(ended.code, Some(125), "{command}");
        assert!(ended.error().starts_with("job tick is not running;"), "{command}: {}", ended.err);
    }
    assert_eq!(p.json(&["ps", "--json"]), serde_json::json!([]));
}

#[test]
fn ps_tells_what_each_is_at() {
    let p = Place::new();
    let (copy, sleep) = (p.guest("copy", COPY), p.guest("sleep", LONG_SLEEP));
    let mut jobs = vec![p.start("reads", &[&copy]), p.start("sleeps", &["--every", "1h", &sleep])];
    jobs.push(ticking(&p, &["--every", "2h"]));
    let state = |job: &str| {
        let all = p.json(&["ps", "--json"]);
        all.as_array().unwrap().iter().find(|row| row["job"] == job).unwrap()["state"].clone()
    };
    for (job, expected) in [("reads", "waiting"), ("sleeps", "sleeping"), ("tick", "running")] {
        p.wait_for(expected, || state(job) == expected);
    }
    p.ok(&["pause", "tick"]);
    p.ok(&["checkpoint", "tick"]);
    p.wait_for("it to be written", || state("tick") == "paused");

    let all = p.json(&["ps", "--json"]);
    let number = |row: usize, key: &str| {
        all[row][key].as_f64().unwrap_or_else(|| panic!("{row} {key}: {all:#}"))
    };
    let names: Vec<_> = (0..3).map(|i| all[i]["job"].as_str().unwrap()).collect();
    assert_eq!(names, ["reads", "sleeps", "tick"]);
    assert_eq!(all[2]["pid"], jobs[2].id());
    assert_eq!((number(0, "memory_bytes"), number(2, "memory_bytes")), (65536.0, 3.0 * 65536.0));
    if cfg!(target_os = "linux") {
        assert!(number(2, "resident_bytes") > 65536.0);
    }
    assert!(number(2, "cpu_seconds") > 0.0 && number(2, "seconds") > 0.0);
    assert!(number(2, "paused_seconds") >= 0.0 && number(2, "pause_us") > 0.0);
    assert_eq!(all[2]["newest"], "tick@1");
    assert!(number(2, "newest_age_seconds") < number(2, "seconds"));
    let next = number(1, "next_seconds");
    assert!(next > 0.0 && next < 3600.0, "{next}");
    for (row, key) in
        [(2, "next_seconds"), (0, "next_seconds"), (0, "newest"), (0, "paused_seconds")]
    {
        assert!(all[row][key].is_null(), "{row} {key}: {all:#}");
    }

    let table = p.ok(&["ps"]);
    let lines: Vec<&str> = table.lines().collect();
    let heading: Vec<_> = lines[0].split_whitespace().collect();
    let columns = ["JOB", "PID", "STATE", "TIME", "CPU", "MEMORY", "LAST", "PAUSE", "NEXT"];
    assert_eq!(heading, columns);
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{table}");
    assert!(lines[3].starts_with("tick ") && lines[3].contains(" paused "), "{table}");
    assert!(lines[2].trim_end().ends_with("59m") || lines[2].contains("m"), "{table}");
    let long = p.ok(&["ps", "--long"]);
    assert!(long.contains("PROGRAM") && long.contains("tick.wasm"), "{long}");
    for mut job in jobs {
        job.kill().unwrap();
        job.wait().unwrap();
    }
}

/// What a resume would go on from is the last checkpoint, whoever took it.
#[test]
fn ps_of_a_resumed_job() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let job = p.start("copy", &[&copy]);
    p.ok(&["checkpoint", "--stop", "copy"]);
    Ended::wait(job);
    let mut command = p.command(&["resume", "copy"]);
    let mut job = command.stdin(Stdio::piped()).spawn().unwrap();
    p.wait_answering("copy");
    let row = row(&p);
    assert_eq!((&row["newest"], &row["checkpoints"]), (&"copy@1".into(), &0.into()));
    assert!(row["newest_age_seconds"].as_f64().is_some(), "{row}");
    job.kill().unwrap();
    job.wait().unwrap();
}
