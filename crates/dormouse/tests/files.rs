//! `--files copy`, through the real binary: the contents of files travel with checkpoints.
//!
//! A program changes its files in all the ways there are, waits, and looks at what it finds. Killed while it waits, its
//! directory damaged, wiped or another one, it must find the same as a program that nobody disturbed.
#![allow(missing_docs)]

mod harness;

use harness::program::program;
use harness::{Ended, Place};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;

/// Names and contents, 16 bytes each from 1024 on.
const DATA: &str = r#"
  (data (i32.const 1024) "a") (data (i32.const 1040) "d") (data (i32.const 1056) "d/x") (data (i32.const 1072) "l")
  (data (i32.const 1088) "old") (data (i32.const 1104) "r1") (data (i32.const 1120) "r2") (data (i32.const 1136) "in")
  (data (i32.const 1152) "HELLO!") (data (i32.const 1168) "m") (data (i32.const 1184) "m2")
  (data (i32.const 1200) "m2/deep/y") (data (i32.const 1216) "end") (data (i32.const 1232) "temp")
  (func $show (param $at i32) (param $len i32) (local $fd i32) (local $n i32)
    (local.set $fd (call $open (local.get $at) (local.get $len) (i32.const 0) (i32.const 0)))
    (local.set $n (call $read (local.get $fd) (i32.const 2048) (i32.const 20)))
    (drop (call $write (i32.const 1) (i32.const 2048) (local.get $n)))
    (call $must (call $fd_close (local.get $fd))))
  (func $ask (param $at i32) (param $len i32)
    (call $note (call $path_filestat_get (i32.const 3) (i32.const 0) (local.get $at) (local.get $len) (i32.const 2048))))"#;

/// Overwrites, makes, links, deletes, renames, and leaves a file open that it only reads; waits; looks.
fn changes() -> String {
    program(
        DATA,
        r#"(local $a i32) (local $x i32) (local $in i32)
    (local.set $a (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
    (drop (call $write (local.get $a) (i32.const 1152) (i32.const 3)))
    (call $must (call $path_create_directory (i32.const 3) (i32.const 1040) (i32.const 1)))
    (local.set $x (call $open (i32.const 1056) (i32.const 3) (i32.const 1) (i32.const 0)))
    (drop (call $write (local.get $x) (i32.const 1152) (i32.const 6)))
    (call $must (call $fd_close (local.get $x)))
    (local.set $x (call $open (i32.const 1232) (i32.const 4) (i32.const 1) (i32.const 0)))
    (call $must (call $fd_close (local.get $x)))
    (call $must (call $path_unlink_file (i32.const 3) (i32.const 1232) (i32.const 4)))
    (call $must (call $path_symlink (i32.const 1056) (i32.const 3) (i32.const 3) (i32.const 1072) (i32.const 1)))
    (call $must (call $path_unlink_file (i32.const 3) (i32.const 1088) (i32.const 3)))
    (call $must (call $path_rename (i32.const 3) (i32.const 1104) (i32.const 2) (i32.const 3) (i32.const 1120) (i32.const 2)))
    (call $must (call $path_rename (i32.const 3) (i32.const 1168) (i32.const 1) (i32.const 3) (i32.const 1184) (i32.const 2)))
    (call $must (call $path_open (i32.const 3) (i32.const 0) (i32.const 1136) (i32.const 2) (i32.const 0)
      (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))
    (local.set $in (i32.load (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 2048) (call $read (local.get $in) (i32.const 2048) (i32.const 3))))
    (drop (call $wait))
    (drop (call $write (local.get $a) (i32.const 1155) (i32.const 3)))
    (drop (call $write (i32.const 1) (i32.const 2048) (call $read (local.get $in) (i32.const 2048) (i32.const 9))))
    (call $show (i32.const 1024) (i32.const 1)) (call $show (i32.const 1056) (i32.const 3))
    (call $show (i32.const 1120) (i32.const 2)) (call $show (i32.const 1200) (i32.const 9))
    (call $ask (i32.const 1088) (i32.const 3)) (call $ask (i32.const 1104) (i32.const 2))
    (call $ask (i32.const 1168) (i32.const 1)) (call $ask (i32.const 1072) (i32.const 1))
    (local.set $x (call $open (i32.const 1216) (i32.const 3) (i32.const 1) (i32.const 0)))"#,
    )
}

/// What there is when the program begins.
fn furnish(dir: &Path) {
    std::fs::create_dir_all(dir.join("m/deep")).unwrap();
    for (name, text) in
        [("a", "hello world"), ("old", "old"), ("r1", "renamed"), ("in", "input!"), ("m/deep/y", "deep")]
    {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// What the program shows after it waited.
const SEEN: &str = "ut!HELLO! worldHELLO!renameddeep\\\\\\0";

/// Names beneath a directory, and what they are.
fn tree(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let what = if meta.is_symlink() {
                format!("-> {}", path.read_link().unwrap().display())
            } else if meta.is_dir() {
                todo.push(path.clone());
                "directory".to_owned()
            } else {
                format!("{:o} {:?}", meta.permissions().mode(), std::fs::read_to_string(&path).unwrap())
            };
            all.insert(path.strip_prefix(dir).unwrap().to_owned(), what);
        }
    }
    all
}

/// A place where the program waits, with `options`; its directory is `work`.
fn waits(p: &Place, options: &[&str]) -> (String, Child) {
    let work = p.path("work");
    furnish(&work);
    let guest = p.guest("changes", &changes());
    let dir = format!("{}::/w", work.display());
    let args = [&["--dir", &dir, "--files", "copy"], options, &[&guest]].concat();
    let mut child = p.start("job", &args);
    assert_eq!(harness::read(child.stdout.as_mut().unwrap(), 4), "inp>");
    (guest, child)
}

/// Takes a checkpoint and kills the program.
fn killed(p: &Place, mut child: Child) {
    p.ok(&["checkpoint", "job"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Resumes it; it need not wait any more.
fn resume(p: &Place, args: &[&str]) -> Ended {
    let args = [&["resume"], args].concat();
    let mut child = p.command(&args).stdin(std::process::Stdio::piped()).spawn().unwrap();
    // It may have been refused.
    let _ = child.stdin.as_mut().unwrap().write_all(b"x");
    Ended::wait(child)
}

fn goes_on(p: &Place, args: &[&str]) {
    let e = resume(p, args);
    assert_eq!((e.out.as_str(), e.code), (SEEN, Some(0)), "{}", e.err);
}

/// What is there when it was not disturbed.
fn undisturbed() -> BTreeMap<PathBuf, String> {
    let p = Place::new();
    let (_, mut child) = waits(&p, &[]);
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    let e = Ended::wait(child);
    assert_eq!((e.out.as_str(), e.code), (SEEN, Some(0)), "{}", e.err);
    tree(&p.path("work"))
}

#[test]
fn a_directory_that_was_wiped_is_as_it_was() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    std::fs::remove_dir_all(p.path("work")).unwrap();
    goes_on(&p, &["job"]);
    assert_eq!(tree(&p.path("work")), undisturbed());
}

#[test]
fn what_others_damaged_is_mended_and_theirs_stays() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    let work = p.path("work");
    std::fs::write(work.join("a"), "XXXlo world").unwrap();
    std::fs::write(work.join("in"), "other").unwrap();
    std::fs::write(work.join("d/theirs"), "theirs").unwrap();
    std::fs::write(work.join("old"), "again").unwrap();
    std::fs::remove_file(work.join("l")).unwrap();
    std::fs::create_dir(work.join("l")).unwrap();
    std::fs::remove_file(work.join("d/x")).unwrap();
    symlink("/etc/passwd", work.join("d/x")).unwrap();
    std::fs::remove_dir_all(work.join("m2")).unwrap();
    goes_on(&p, &["job"]);
    let mut expected = undisturbed();
    expected.insert("d/theirs".into(), "100644 \"theirs\"".to_owned());
    assert_eq!(tree(&work), expected);
}

#[test]
fn elsewhere_the_tree_is_made() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    let other = Place::new();
    let copied = std::process::Command::new("cp").arg("-r").args([p.store(), other.store()]).status();
    assert!(copied.unwrap().success());
    // Nobody could find it there.
    std::fs::rename(p.path("work"), p.path("hidden")).unwrap();
    let dir = format!("{}::/w", other.path("new/place").display());
    goes_on(&other, &["job", "--dir", &dir]);
    assert_eq!(tree(&other.path("new/place")), undisturbed());
}

#[test]
fn a_resume_says_what_it_would_do() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    let names = |key: &str, found: &serde_json::Value| -> Vec<String> {
        let list = found[key].as_array().unwrap();
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let dry = |args: &[&str]| p.json(&[&["resume", "job", "--dry-run", "--json"], args].concat());
    let nothing = dry(&[]);
    for key in ["files_written", "files_made", "files_removed"] {
        assert_eq!(names(key, &nothing), [""; 0], "{key}");
    }
    let work = p.path("work");
    std::fs::remove_file(work.join("l")).unwrap();
    std::fs::write(work.join("a"), "XXXlo world").unwrap();
    std::fs::write(work.join("old"), "again").unwrap();
    let before = tree(&work);
    let some = dry(&[]);
    assert_eq!(names("files_written", &some), ["/w/a"]);
    assert_eq!(names("files_made", &some), ["/w/l"]);
    assert_eq!(names("files_removed", &some), ["/w/old"]);
    let text = p.ok(&["resume", "job", "--dry-run"]);
    assert!(text.contains("/w/a   will be written from the image\n"), "{text}");
    let dir = format!("{}::/w", p.path("nowhere").display());
    let all = dry(&["--dir", &dir]);
    assert_eq!(names("files_written", &all), ["/w/a", "/w/d/x", "/w/in", "/w/m2/deep/y", "/w/r2"]);
    assert!(!p.path("nowhere").exists());
    assert_eq!(tree(&work), before);
}

#[test]
fn the_rule_for_each_file_is_told() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    let report = p.json(&["inspect", "job", "--json"]);
    let line = |file: &serde_json::Value| {
        let text = |key: &str| file[key].as_str().unwrap().to_owned();
        format!("{} {} {} {}", text("path"), text("rule"), text("kind"), file["size"])
    };
    let lines: Vec<_> = report["files"].as_array().unwrap().iter().map(line).collect();
    let expected = [
        "/w/a copied file 11", "/w/d copied directory null", "/w/d/x copied file 6", "/w/in copied file 6",
        "/w/l copied link null", "/w/m copied gone null", "/w/m/deep copied gone null", "/w/m/deep/y copied gone null",
        "/w/m2 copied directory null", "/w/m2/deep copied directory null", "/w/m2/deep/y copied file 4",
        "/w/old copied gone null", "/w/r1 copied gone null", "/w/r2 copied file 7",
    ];
    assert_eq!(lines, expected);
    let text = p.ok(&["inspect", "job"]);
    assert!(text.contains("files       /w/a copied (11 B)\n            /w/d copied (directory)\n"), "{text}");
    assert!(text.contains("            /w/old deleted\n"), "{text}");
}
