//! Two live copies of a job, also where locks do not reach from one host to the other: played by another lock file, by
//! the name of another host in it, and by what that host would do with it.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn lock_file(p: &Place) -> PathBuf {
    p.path("store/run/sim.lock")
}

fn lease(p: &Place) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(lock_file(p)).unwrap()).unwrap()
}

/// A file of its own, so nobody's lock is on it.
fn put_lease(p: &Place, lease: &serde_json::Value) {
    let new = p.path("store/run/new");
    std::fs::write(&new, lease.to_string()).unwrap();
    std::fs::rename(new, lock_file(p)).unwrap();
}

fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> =
        entries.filter(|p| p.is_file()).map(|p| (p.clone(), std::fs::read(p).unwrap())).collect();
    all.sort();
    all
}

/// A program that waits for its input, with a checkpoint.
fn copying(p: &Place, args: &[&str], ttl: &str) -> Child {
    let copy = p.guest("copy", COPY);
    let mut run = p.command(&["run", "--name", "sim"]);
    let child = run.args(args).arg(&copy).env("DORMOUSE_LEASE", ttl).stdin(Stdio::piped());
    let child = child.spawn().unwrap();
    p.wait_answering("sim");
    p.ok(&["checkpoint", "sim"]);
    child
}

fn resumed(p: &Place) -> Child {
    let child = p.command(&["resume", "sim"]).stdin(Stdio::piped()).spawn().unwrap();
    let pid = u64::from(child.id());
    p.wait_for("the second to run", || {
        let jobs = p.json(&["ps", "--json"]);
        jobs.as_array().unwrap().iter().any(|j| j["pid"] == pid && j["answers"] == true)
    });
    child
}

/// The order for a checkpoint finds out, long before a renewal would.
#[test]
fn who_lost_the_lease_writes_no_checkpoint() {
    let p = Place::new();
    // With a directory there is an undo log, which is durable too.
    std::fs::create_dir(p.path("out")).unwrap();
    let mut first = copying(&p, &["--dir", "out"], "1h");
    // It must not come to an end by itself.
    let _input = first.stdin.take();
    std::fs::remove_file(lock_file(&p)).unwrap();
    let mut second = resumed(&p);
    assert_eq!(p.checkpoints("sim"), 1);
    let before = (files(&p.store()), files(&p.path("store/blobs/sha256")), lease(&p));
    let chain = std::fs::read(p.path("store/undo/sim/chain")).unwrap();

    signal(&first, "USR1");
    let ended = Ended::wait(first);
    assert_eq!(ended.code, Some(137), "{}", ended.err);
    let last = ended.err.lines().last().unwrap();
    let expected = format!("error: the lease was lost: process {} on ", second.id());
    assert!(last.starts_with(&expected) && last.contains("took it over;"), "{}", ended.err);
    assert!(!ended.err.contains("the program goes on"), "{}", ended.err);
    assert_eq!((files(&p.store()), files(&p.path("store/blobs/sha256")), lease(&p)), before);
    assert_eq!(std::fs::read(p.path("store/undo/sim/chain")).unwrap(), chain);

    assert!(p.ok(&["checkpoint", "sim"]).starts_with("sim@2 "), "the socket is the second's");
    drop(second.stdin.take());
    let ended = Ended::wait(second);
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    assert!(p.ok(&["verify"]).contains("checkpoints are good"));
    assert!(!lock_file(&p).exists());
}

/// Its host slept for longer than its lease was good for; when it wakes up nobody tells it.
#[test]
fn who_sleeps_is_taken_over_and_ends_when_it_wakes() {
    let p = Place::new();
    let mut first = copying(&p, &[], "2s");
    let _input = first.stdin.take();
    signal(&first, "STOP");
    let mut stranger = lease(&p);
    stranger["host"] = "elsewhere".into();
    stranger["boot"] = "another".into();
    put_lease(&p, &stranger);

    let hasty = p.dormouse(&["resume", "sim", "--no-wait"]);
    let pid = first.id();
    let expected = format!("job sim may be running: process {pid} on elsewhere has its lease,");
    assert!(hasty.error().starts_with(&expected), "{}", hasty.err);
    assert_eq!(hasty.code, Some(125));

    let mut second = resumed(&p);
    assert_ne!(lease(&p)["token"], stranger["token"]);
    signal(&first, "CONT");
    let ended = Ended::wait(first);
    assert_eq!(ended.code, Some(137), "{}", ended.err);
    assert!(ended.err.contains("error: the lease was lost: "), "{}", ended.err);

    assert!(p.ok(&["checkpoint", "sim"]).starts_with("sim@2 "));
    second.stdin = None;
    let ended = Ended::wait(second);
    assert_eq!(ended.code, Some(9), "{}", ended.err);
    let told = format!("process {pid} on elsewhere; watching for up to 2s");
    assert!(ended.err.contains(&told), "{}", ended.err);
}

/// The same, but nobody has taken the job over meanwhile: it goes on.
#[test]
fn who_sleeps_and_is_left_alone_goes_on_when_it_wakes() {
    let p = Place::new();
    let mut job = copying(&p, &[], "1s");
    signal(&job, "STOP");
    p.wait_for("it to sleep", || p.json(&["ps", "--json"])[0]["answers"] == false);
    // Longer than its lease is good for.
    std::thread::sleep(Duration::from_secs(2));
    signal(&job, "CONT");
    p.wait_answering("sim");
    assert!(p.ok(&["checkpoint", "sim"]).starts_with("sim@2 "));
    job.stdin.take().unwrap().write_all(b"on").unwrap();
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out.as_str()), (Some(9), "on"), "{}", ended.err);
}

#[test]
fn a_job_of_another_host_is_shown_and_left_alone() {
    let p = Place::new();
    let mut job = copying(&p, &[], "30s");
    let mut theirs = lease(&p);
    assert_eq!(p.dormouse(&["kill", "sim"]).code, Some(0));
    job.wait().unwrap();
    theirs["host"] = "nodeb".into();
    theirs["boot"] = "another".into();
    theirs["pid"] = 4711.into();
    put_lease(&p, &theirs);

    let shown = &p.json(&["ps", "--json"])[0];
    assert_eq!((&shown["host"], &shown["answers"]), (&"nodeb".into(), &false.into()));
    assert!(p.ok(&["ps"]).contains(" nodeb "));
    assert!(p.ok(&["list"]).contains(" on nodeb "));
    assert_eq!(p.json(&["list", "--json"])["jobs"][0]["host"], "nodeb");
    for command in ["checkpoint", "kill"] {
        let refused = p.dormouse(&[command, "sim"]);
        let expected =
            "job sim runs elsewhere: process 4711 on nodeb has its lease; say this there.";
        assert!(refused.error().starts_with(expected), "{}", refused.err);
    }

    // It lives.
    let done = AtomicBool::new(false);
    let refused = std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                theirs["renewed"] = n.into();
                put_lease(&p, &theirs);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let refused = p.dormouse(&["resume", "sim"]);
        done.store(true, Ordering::Relaxed);
        refused
    });
    assert_eq!(refused.code, Some(125));
    let last = refused.err.lines().last().unwrap();
    let expected = "error: job sim is running already (process 4711 on nodeb);";
    assert!(last.starts_with(expected), "{}", refused.err);
    assert_eq!(lease(&p)["host"], "nodeb");
    assert_eq!(std::fs::read_dir(p.path("store/run")).unwrap().count(), 1);
}

#[test]
fn a_running_job_renews_its_lease_and_nobody_notices() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let expected = p.ok(&["run", &spin]);
    let mut run = p.command(&["run", "--name", "sim", "--every", "50ms", &spin]);
    let job = run.env("DORMOUSE_LEASE", "300ms").spawn().unwrap();
    p.wait_for("renewals", || {
        let text = std::fs::read(lock_file(&p)).unwrap_or_default();
        serde_json::from_slice(&text)
            .is_ok_and(|l: serde_json::Value| l["renewed"].as_u64() > Some(3))
    });
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out), (Some(0), expected), "{}", ended.err);
    assert!(!ended.err.contains("lease"), "{}", ended.err);
    assert_eq!(std::fs::read_dir(p.path("store/run")).unwrap().count(), 0);
}

/// What cannot be renewed is told, and the program goes on: a full disk must not end it.
#[cfg(target_os = "linux")]
#[test]
fn a_lease_that_cannot_be_written_stops_nothing() {
    let p = Place::new();
    let spin = p.guest("spin", &spin());
    let dormouse = env!("CARGO_BIN_EXE_dormouse");
    let mut run = p.command(&[]);
    let script = format!("trap '' XFSZ; exec {dormouse} run --name sim {spin}");
    let settings: Vec<_> = run.get_envs().map(|(k, v)| (k.to_owned(), v.map(Into::into))).collect();
    run = std::process::Command::new("sh");
    run.args(["-c", &script]).current_dir(p.dir.path()).stdin(Stdio::null());
    run.envs(
        settings.into_iter().filter_map(|(k, v): (_, Option<std::ffi::OsString>)| Some((k, v?))),
    );
    run.env("DORMOUSE_LEASE", "300ms").stdout(Stdio::piped()).stderr(Stdio::piped());
    let job = run.spawn().unwrap();
    p.wait_answering("sim");
    // From now on no file may be written.
    let pid = rustix::process::Pid::from_child(&job);
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, none).unwrap();
    let ended = Ended::wait(job);
    assert!(
        ended.err.contains("warning: the lease of job sim cannot be renewed ("),
        "{}",
        ended.err
    );
    assert_eq!(ended.err.matches("cannot be renewed").count(), 1, "{}", ended.err);
    assert!(!ended.err.contains("was lost"), "{}", ended.err);
}

/// Prints 16 letters drawn at random.
const RANDOM: &str = r#"(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $i i32)
    (drop (call $random (i32.const 16) (i32.const 16)))
    (loop $l
      (i32.store8 offset=16 (local.get $i)
        (i32.add (i32.const 97) (i32.and (i32.load8_u offset=16 (local.get $i)) (i32.const 15))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16))))
    (i64.store (i32.const 0) (i64.const 0x1000000010))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn every_copy_draws_other_numbers() {
    let p = Place::new();
    let random = p.guest(
        "random",
        &RANDOM.replace(
            "(func (export \"_start\") (local $i i32)
    (drop (call $random",
            "(data (i32.const 512) \"\\09\") (func (export \"_start\") (local $i i32)
    (loop $n (br_if $n
      (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.load8_u (i32.const 512)))))
    (local.set $i (i32.const 0)) (drop (call $random",
        ),
    );
    let stopped = p.dormouse(&["run", "--name", "dice", "--stop-at", "3", &random]);
    assert_eq!((stopped.code, stopped.out.as_str()), (Some(85), ""), "{}", stopped.err);
    let mut drawn: Vec<String> = [
        vec!["resume", "dice"],
        vec!["resume", "dice"],
        vec!["resume", "dice@1", "--clone", "one"],
        vec!["resume", "dice@1", "--clone", "two"],
        vec!["resume", "dice@1", "--clone", "two"],
    ]
    .iter()
    .map(|args| p.ok(args))
    .collect();
    assert!(drawn.iter().all(|letters| letters.len() == 16), "{drawn:?}");
    drawn.sort();
    drawn.dedup();
    assert_eq!(drawn.len(), 5, "{drawn:?}");
}

/// A clone is given the directories of the job it comes from, but not the right to cut that one's files.
#[test]
fn a_clone_cuts_nothing_of_the_first() {
    let p = Place::new();
    std::fs::create_dir(p.path("out")).unwrap();
    let demo = p.guest("demo", include_str!("../src/demo.wat"));
    let mut job = p.start("first", &["--dir", "out", &demo]);
    let progress = p.path("out/progress.txt");
    let length = || std::fs::metadata(&progress).map_or(0, |m| m.len());
    p.wait_for("the file", || length() > 0);
    p.ok(&["checkpoint", "first"]);
    std::fs::copy(&progress, p.path("copy")).unwrap();
    let then = length();
    p.wait_for("more of it", || length() > then);
    for dry in [&["--dry-run"][..], &[]] {
        let refused = p.dormouse(&[&["resume", "first", "--clone", "second"], dry].concat());
        assert!(refused.err.contains("a clone does not cut it off"), "{}", refused.err);
        assert_eq!(refused.code, Some(125));
    }
    assert!(length() > then);
    // In a directory of its own.
    std::fs::create_dir(p.path("own")).unwrap();
    std::fs::rename(p.path("copy"), p.path("own/progress.txt")).unwrap();
    let args = ["resume", "first", "--clone", "second", "--dir", "own::out"];
    let mut second = p.command(&args).spawn().unwrap();
    p.wait_answering("second");
    let leases = std::fs::read_dir(p.path("store/run")).unwrap();
    assert_eq!(leases.count(), 4, "two leases, two sockets");
    for child in [&mut job, &mut second] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let undo: Vec<_> = std::fs::read_dir(p.path("store/undo")).unwrap().collect();
    assert_eq!(undo.len(), 2, "and what either can undo");
    let mode = std::fs::metadata(p.path("store/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
