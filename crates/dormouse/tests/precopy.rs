//! Checkpoints of a program that goes on writing while it is copied: each of them is one moment of it, however its pages are
//! tracked.
#![allow(missing_docs)]

mod harness;

use harness::*;

/// Fills 96 MiB, then changes words all over it, most of them in few pages, and keeps their sum; at last it adds them all up
/// and prints the difference, which is nothing, and the sum. A checkpoint that is not of one moment gives another.
const CHURN: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1700)
  (global $at i32 (i32.const 1048576))
  (global $end i32 (i32.const 101711872))
  (func $next (param $x i64) (result i64)
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
  (func $letters (param $to i32) (param $x i64) (local $i i32)
    (loop $l
      (i32.store8 (i32.add (local.get $to) (local.get $i))
        (i32.add (i32.const 97) (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 15))))
      (local.set $x (i64.shr_u (local.get $x) (i64.const 4)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16)))))
  (func (export "_start") (local $x i64) (local $i i32) (local $n i32) (local $sum i64) (local $new i64)
    (local.set $x (i64.const 88172645463325252))
    (local.set $i (global.get $at))
    (loop $fill
      (local.set $x (call $next (local.get $x)))
      (i64.store (local.get $i) (local.get $x))
      (local.set $sum (i64.add (local.get $sum) (local.get $x)))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 512))) (global.get $end))))
    (loop $churn
      (local.set $x (call $next (local.get $x)))
      ;; One of 64 anywhere, the others in 1 MiB.
      (local.set $i (i32.and (i32.wrap_i64 (local.get $x))
        (select (i32.const 0x3fffff8) (i32.const 0xffff8) (i32.eqz (i32.and (local.get $n) (i32.const 63))))))
      (local.set $i (i32.add (local.get $i) (global.get $at)))
      (local.set $new (i64.add (i64.load (local.get $i)) (local.get $x)))
      (i64.store (local.get $i) (local.get $new))
      (local.set $sum (i64.add (local.get $sum) (local.get $x)))
      (br_if $churn (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const STEPS))))
    (call $letters (i32.const 33) (local.get $sum))
    (local.set $i (global.get $at))
    (loop $add
      (local.set $sum (i64.sub (local.get $sum) (i64.load (local.get $i))))
      (br_if $add (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (global.get $end))))
    (call $letters (i32.const 16) (local.get $sum))
    (i32.store8 (i32.const 32) (i32.const 32))
    (i32.store8 (i32.const 49) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 34))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// What checkpoints cost a job: pauses in microseconds, sorted; and rounds of all of them.
fn costs(p: &Place, job: &str) -> (Vec<u64>, u64) {
    let told = p.json(&["stats", job, "--json"]);
    let records = told["records"].as_array().unwrap();
    let mut pauses: Vec<u64> = records.iter().map(|r| r["pause"].as_u64().unwrap()).collect();
    pauses.sort_unstable();
    (pauses, records.iter().map(|r| r["rounds"].as_u64().unwrap()).sum())
}

/// Where pages are copied while it runs it stands for a shorter time, unless it writes as fast as it is copied: in one run, on
/// one machine.
#[test]
#[cfg(target_os = "linux")]
fn it_stands_for_less() {
    let p = Place::new();
    let seldom = CHURN.replace("(i32.const 63)", "(i32.const 65535)");
    let churn = p.guest("churn", &seldom.replace("STEPS", "300000000"));
    let ways = [("standing", &["--no-precopy", "--tracking", "compare"][..]), ("running", &[])];
    let [standing, running] = ways.map(|(job, how)| {
        let ended =
            p.dormouse(&[&["run", "--name", job, "--every", "50ms"], how, &[&churn]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        costs(&p, job)
    });
    assert_eq!(standing.1, 0, "no rounds");
    let listed = p.json(&["list", "running", "--json"]);
    if listed[0]["annotations"]["io.dormouse.tracking"] != "userfaultfd" {
        return eprintln!("pages cannot be copied here while a program runs");
    }
    assert!(running.1 > 0, "rounds");
    let median = |pauses: &[u64]| pauses[pauses.len() / 2];
    assert!(median(&running.0) * 2 < median(&standing.0), "{running:?} {standing:?}");
}

/// Checkpoints as fast as they come, a kill, and every checkpoint goes on to the same end.
fn every_checkpoint_is_one_moment(how: &[&str]) {
    let p = Place::new();
    let churn = p.guest("churn", &CHURN.replace("STEPS", "200000000"));
    let expected = p.ok(&["run", &churn]);
    assert!(expected.starts_with("aaaaaaaaaaaaaaaa "), "{expected}");
    let args = [how, &["--every", "20ms", &churn]].concat();
    let mut job = p.start("sim", &args);
    p.wait_for("some checkpoints", || {
        p.checkpoints("sim") >= 6 || job.try_wait().unwrap().is_some()
    });
    job.kill().unwrap();
    job.wait().unwrap();
    let count = p.checkpoints("sim");
    // On a machine that is busy with other things there are fewer in its whole life.
    assert!(count > 0);
    p.ok(&["verify"]);
    for n in [1, 2, count].into_iter().take(count) {
        // Goes on from what it was told, and takes one more that is also right.
        let target = format!("sim@{n}");
        let clone = format!("clone{n}");
        let again = p.dormouse(&["resume", &target, "--clone", &clone, "--every", "200ms"]);
        assert_eq!((again.code, &again.out), (Some(0), &expected), "{target}: {}", again.err);
        if p.checkpoints(&clone) > 0 {
            assert_eq!(p.ok(&["resume", &clone, "--every", "never"]), expected, "{clone}");
        }
    }
}

#[test]
fn as_it_comes() {
    every_checkpoint_is_one_moment(&[]);
}

#[test]
fn without_precopy() {
    every_checkpoint_is_one_moment(&["--no-precopy", "--max-layers", "2"]);
}

#[test]
#[cfg(target_os = "linux")]
fn with_mprotect() {
    every_checkpoint_is_one_moment(&["--tracking", "mprotect"]);
}

#[test]
fn with_comparing() {
    every_checkpoint_is_one_moment(&["--tracking", "compare"]);
}

#[test]
fn with_all_pages_every_time() {
    every_checkpoint_is_one_moment(&["--max-layers", "0"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let p = Place::new();
    let exit = p.guest("exit", EXIT);
    let refused = p.dormouse(&["run", "--tracking", "guess", &exit]);
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.err.contains("none of auto, userfaultfd, mprotect and compare"),
        "{}",
        refused.err
    );
}

/// A first round that cannot be written is told, and the program was not stopped for it.
#[test]
#[cfg(unix)]
fn a_layer_that_cannot_be_written_stops_nothing() {
    let p = Place::new();
    let churn = p.guest("churn", &CHURN.replace("STEPS", "100000000"));
    let expected = p.ok(&["run", &churn]);
    // No file may become larger than this.
    let dormouse = env!("CARGO_BIN_EXE_dormouse");
    let script = format!(
        "trap '' XFSZ; ulimit -f 2000; exec {dormouse} run --name sim --every 100ms {churn}"
    );
    let settings = p.command(&[]);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", &script]).current_dir(p.dir.path()).stdin(std::process::Stdio::null());
    limited.envs(settings.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let ended = Ended::of(limited.output().unwrap());
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
    assert!(ended.err.contains("warning: no checkpoint: "), "{}", ended.err);
    let (pauses, rounds) = costs(&p, "sim");
    // Elsewhere it stands while it is copied, before anything is written.
    assert!(
        rounds > 0 || pauses.iter().all(|p| *p == 0) || cfg!(not(target_os = "linux")),
        "{pauses:?}"
    );
    let blobs = std::fs::read_dir(p.store().join("blobs/sha256")).unwrap();
    let left: Vec<_> = blobs.map(|b| b.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

/// What was copied for a checkpoint that was refused is still to be saved: also if the next one has much to write.
#[test]
fn a_refused_checkpoint_takes_nothing_from_the_next() {
    use std::io::Write;
    let p = Place::new();
    let holds = p.guest("holds", HOLDS);
    let mut plain = p.command(&["run", "--dir", ".", &holds]);
    let mut plain = plain.stdin(std::process::Stdio::piped()).spawn().unwrap();
    plain.stdin.take().unwrap().write_all(b"ab").unwrap();
    let expected = Ended::wait(plain).out;
    assert_eq!(expected.len(), 18, "{expected}");

    let mut job = p.start("sim", &["--dir", ".", &holds]);
    assert_eq!(read(job.stdout.as_mut().unwrap(), 1), ">");
    let refused = p.dormouse(&["checkpoint", "sim"]);
    assert!(refused.code == Some(125) && refused.error().contains("held"), "{}", refused.err);
    job.stdin.as_mut().unwrap().write_all(b"a").unwrap();
    assert_eq!(read(job.stdout.as_mut().unwrap(), 1), ">");
    p.ok(&["checkpoint", "sim"]);
    p.ok(&["kill", "sim"]);
    job.wait().unwrap();
    let mut again = p.command(&["resume", "sim"]);
    let mut again = again.stdin(std::process::Stdio::piped()).spawn().unwrap();
    again.stdin.take().unwrap().write_all(b"b").unwrap();
    let again = Ended::wait(again);
    assert_eq!((again.code, &again.out[..]), (Some(0), &expected[2..]), "{}", again.err);
}
