//! `resume --lazy`: the program goes on before its image is read, and what is damaged ends it rather than being seen.
#![allow(missing_docs, clippy::single_range_in_vec_init)]
#![cfg(target_os = "linux")]

mod harness;

use harness::*;
use std::path::PathBuf;

/// Fills 64 MiB, says so, waits for a byte, then adds everything up and prints the sum's letters.
fn adds_up() -> String {
    let wait = r#"
    (local.set $x (i64.const 88172645463325252))
    (loop $fill
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (i64.store offset=1048576 (local.get $i) (local.get $x))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 67108864))))
    (i32.store8 (i32.const 64) (i32.const 62))
    (i32.store (i32.const 32) (i32.const 64))
    (i32.store (i32.const 36) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40)))
    (i32.store (i32.const 32) (i32.const 5000000))
    (drop (call $read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 40)))
    (local.set $i (i32.const 0))
    (loop $add
      (local.set $y (i64.add (i64.rotl (local.get $y) (i64.const 1)) (i64.load offset=1048576 (local.get $i))))
      (br_if $add
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 67108864))))
    (i64.store (i32.const 0) (local.get $y))
    (local.set $i (i32.const 0))"#;
    spin_with("(i64.add (i64.and (i64.load (i32.const 0)) (i64.const 255)) (i64.const 1))", wait)
        .replace("(memory (export \"memory\") 32)", "(memory (export \"memory\") 1056)")
        .replace("(local $x i64) (local $i i32)\n", "(local $x i64) (local $y i64) (local $i i32)\n")
        .replace(
            "(import \"wasi_snapshot_preview1\" \"fd_write\"",
            "(import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))
  (import \"wasi_snapshot_preview1\" \"fd_write\"",
        )
}

/// A job that was stopped while it waited for its byte; and what it prints after that.
fn stopped(p: &Place) -> String {
    let program = p.guest("adds", &adds_up());
    let feed = |mut child: std::process::Child| {
        use std::io::Write;
        child.stdin.take().unwrap().write_all(b"x").unwrap();
        Ended::wait(child)
    };
    let plain =
        feed(p.command(&["run", &program]).stdin(std::process::Stdio::piped()).spawn().unwrap());
    assert_eq!(plain.code, Some(0), "{}", plain.err);
    let mut child = p.start("sum", &[&program]);
    read(child.stdout.as_mut().unwrap(), 1);
    p.ok(&["checkpoint", "sum"]);
    p.ok(&["checkpoint", "--stop", "sum"]);
    assert_eq!(Ended::wait(child).code, Some(85));
    plain.out[1..].to_owned()
}

fn resume(p: &Place, args: &[&str]) -> Ended {
    use std::io::Write;
    let mut command = p.command(&[&["resume", "sum"], args].concat());
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(b"x");
    Ended::wait(child)
}

fn largest_blob(p: &Place) -> PathBuf {
    let blobs = std::fs::read_dir(p.store().join("blobs/sha256")).unwrap();
    blobs.map(|b| b.unwrap().path()).max_by_key(|b| b.metadata().unwrap().len()).unwrap()
}

#[test]
fn it_comes_to_the_same_end() {
    let p = Place::new();
    let expected = stopped(&p);
    let eager = resume(&p, &["--clone", "eager"]);
    assert_eq!((eager.code, &eager.out), (Some(0), &expected), "{}", eager.err);
    // Checkpoints on the way build on what is being read.
    let lazy = resume(&p, &["--lazy", "--every", "10ms", "--clone", "lazy"]);
    assert_eq!((lazy.code, &lazy.out), (Some(0), &expected), "{}", lazy.err);
    if p.checkpoints("lazy") > 0 {
        // Pages that are filled do not count as written, so there is one way only.
        let listed = p.json(&["list", "lazy", "--json"]);
        assert_eq!(listed[0]["annotations"]["io.dormouse.tracking"], "userfaultfd");
        p.ok(&["verify"]);
        let again = p.dormouse(&["resume", "lazy", "--every", "never"]);
        assert_eq!(again.code, Some(0), "{}", again.err);
        assert!(expected.ends_with(&again.out));
    }
}

#[test]
fn damage_ends_it_and_the_next_resume_knows() {
    let p = Place::new();
    let expected = stopped(&p);
    flip_a_bit(&largest_blob(&p));
    let lazy = resume(&p, &["--lazy"]);
    assert_eq!((lazy.code, lazy.out.as_str()), (Some(125), ""), "{}", lazy.err);
    assert!(
        lazy.error().contains("damaged") && lazy.err.contains("without --lazy"),
        "{}",
        lazy.err
    );
    let eager = p.dormouse(&["resume", "sum"]);
    assert_eq!(eager.code, Some(125), "both checkpoints need that blob");
    assert!(!expected.is_empty());
}

#[test]
fn damage_that_nothing_touches_is_found_too() {
    let p = Place::new();
    let spin = p.guest("bulky", &bulky());
    let child = p.start("sim", &[&spin]);
    p.ok(&["checkpoint", "--stop", "sim"]);
    assert_eq!(Ended::wait(child).code, Some(85));
    // Neither in a frame nor in the index: digests only know.
    let blob = largest_blob(&p);
    let mut bytes = std::fs::read(&blob).unwrap();
    let end = bytes.len();
    bytes[end / 3] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let ended = p.dormouse(&["resume", "sim", "--lazy", "--every", "10ms"]);
    assert_eq!(ended.code, Some(125), "{}", ended.err);
    assert_eq!(p.checkpoints("sim"), 1, "nothing builds on it");
}

/// What was opened is read to its end, whoever removes the checkpoint meanwhile.
#[test]
fn what_is_being_read_may_be_removed() {
    use std::io::Write;
    let p = Place::new();
    let expected = stopped(&p);
    let mut command = p.command(&["resume", "sum", "--clone", "lazy", "--lazy"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    p.wait_answering("lazy");
    p.ok(&["rm", "--all", "sum"]);
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    let ended = Ended::wait(child);
    assert_eq!((ended.code, &ended.out), (Some(0), &expected), "{}", ended.err);
}

#[test]
fn a_memory_without_a_byte_needs_no_filling() {
    let p = Place::new();
    let text = spin().replace(
        "(memory (export \"memory\") 32)",
        "(memory (export \"memory\") 32) (memory $none 0)",
    );
    let spin = p.guest("two", &text);
    let expected = p.ok(&["run", &spin]);
    let child = p.start("two", &[&spin]);
    p.ok(&["checkpoint", "--stop", "two"]);
    assert_eq!(Ended::wait(child).code, Some(85));
    assert_eq!(p.ok(&["resume", "two", "--lazy"]), expected);
}
