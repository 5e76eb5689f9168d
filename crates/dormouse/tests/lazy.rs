//! `resume --lazy`: the program goes on before its image is read, and what is damaged ends it rather than being seen.
#![allow(missing_docs, clippy::single_range_in_vec_init)]
#![cfg(target_os = "linux")]

mod harness;

use dormouse_store::{Store, write_memory_layer};
use harness::*;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

/// A job that was stopped while it waited for its last byte; and what it prints after that.
fn stopped(p: &Place) -> String {
    let program = p.guest("holds", HOLDS);
    let mut child = p.command(&["run", &program]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"xx").unwrap();
    let plain = Ended::wait(child);
    assert_eq!((plain.code, plain.out.len()), (Some(0), 18), "{}", plain.err);
    let mut child = p.start("sum", &[&program]);
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    read(child.stdout.as_mut().unwrap(), 2);
    p.ok(&["checkpoint", "sum"]);
    p.ok(&["checkpoint", "--stop", "sum"]);
    assert_eq!(Ended::wait(child).code, Some(85));
    plain.out[2..].to_owned()
}

fn resume(p: &Place, args: &[&str]) -> Ended {
    let mut command = p.command(&[&["resume", "sum"], args].concat());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
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

/// A layer that is whole, but not the one that the checkpoint names: no checksum tells it from that, only its digest does.
#[test]
fn another_layer_in_its_place_is_found_too() {
    let p = Place::new();
    // It says when all is filled, and waits then: neither the checkpoint nor the end comes before its time.
    let read = "(import \"wasi_snapshot_preview1\" \"fd_read\" (func $read (param i32 i32 i32 i32) (result i32)))";
    let wait = "(i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 1))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let text = bulky().replacen("(module", &format!("(module {read}"), 1);
    let filled = "(local.set $x (call $deep (i32.const 100)))";
    let waits = p.guest("waits", &text.replacen(filled, &format!("{wait} {filled}"), 1));
    let mut child = p.start("sim", &[&waits]);
    harness::read(child.stdout.as_mut().unwrap(), 1);
    p.ok(&["checkpoint", "--stop", "sim"]);
    assert_eq!(Ended::wait(child).code, Some(85));
    let blob = largest_blob(&p);
    let mut memory = vec![0; 32 << 16];
    let checkpoint = Store::open(&p.store()).unwrap().load("sim", None).unwrap();
    checkpoint.read_memory(0, &mut memory).unwrap();
    memory[500_000] ^= 1;
    let mut other = vec![];
    write_memory_layer(0, &memory, &mut other).unwrap();
    assert_eq!(other.len() as u64, blob.metadata().unwrap().len(), "what cannot be compressed");
    std::fs::write(&blob, other).unwrap();
    let mut command = p.command(&["resume", "sim", "--lazy", "--every", "10ms"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let open = child.stdin.take();
    p.wait_for("the damage to be found", || child.try_wait().unwrap().is_some());
    drop(open);
    let ended = Ended::wait(child);
    assert_eq!(ended.code, Some(125), "{}", ended.err);
    assert!(ended.error().contains("sha256"), "{}", ended.err);
    assert_eq!(p.checkpoints("sim"), 1, "nothing builds on it");
}

/// What was opened is read to its end, whoever removes the checkpoint meanwhile.
#[test]
fn what_is_being_read_may_be_removed() {
    let p = Place::new();
    let expected = stopped(&p);
    let mut command = p.command(&["resume", "sum", "--clone", "lazy", "--lazy"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
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
