//! `--files copy`, through the real binary: the contents of files travel with checkpoints.
//!
//! A program changes its files in all the ways there are, waits, and looks at what it finds. Killed while it waits, its
//! directory damaged, wiped or another one, it must find the same as a program that nobody disturbed.
#![allow(missing_docs)]

mod harness;
#[cfg(feature = "registry")]
mod servers;

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
    for (name, text) in [
        ("a", "hello world"),
        ("old", "old"),
        ("r1", "renamed"),
        ("in", "input!"),
        ("m/deep/y", "deep"),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// What the program shows after it waited.
const SEEN: &str = "ut!HELLO!worldHELLO!renameddeep\\\\\\0";

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
                format!(
                    "{:o} {:?}",
                    meta.permissions().mode(),
                    std::fs::read_to_string(&path).unwrap()
                )
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
    std::fs::write(work.join("d/theirs"), "theirs").unwrap();
    std::fs::write(work.join("old"), "again").unwrap();
    std::fs::remove_file(work.join("l")).unwrap();
    std::fs::create_dir(work.join("l")).unwrap();
    std::fs::remove_file(work.join("d/x")).unwrap();
    symlink("/etc/passwd", work.join("d/x")).unwrap();
    std::fs::remove_dir_all(work.join("m2")).unwrap();
    std::fs::write(work.join(".dormouse-resume.tmp"), "theirs").unwrap();
    // What the program has only read is not its own.
    let input = std::fs::metadata(work.join("in")).unwrap().modified().unwrap();
    std::fs::write(work.join("in"), "other").unwrap();
    let refused = resume(&p, &["job"]);
    assert!(refused.error().contains("\"/w/in\" was changed"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(work.join("in")).unwrap(), "other");
    std::fs::write(work.join("in"), "input!").unwrap();
    let file = std::fs::File::options().write(true).open(work.join("in")).unwrap();
    file.set_modified(input).unwrap();
    std::fs::write(work.join("a"), "XXXlo world").unwrap();
    let e = resume(&p, &["job"]);
    assert_eq!((e.out.as_str(), e.code), (SEEN, Some(0)), "{}", e.err);
    assert!(e.err.contains("1 were put back from the image, 0 removed"), "{}", e.err);
    let mut expected = undisturbed();
    expected.insert("d/theirs".into(), "100644 \"theirs\"".to_owned());
    expected.insert(".dormouse-resume.tmp".into(), "100644 \"theirs\"".to_owned());
    assert_eq!(tree(&work), expected);
}

#[test]
fn elsewhere_the_tree_is_made() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    let other = Place::new();
    let copied =
        std::process::Command::new("cp").arg("-r").args([p.store(), other.store()]).status();
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
        "/w/a copied file 11",
        "/w/d copied directory null",
        "/w/d/x copied file 6",
        "/w/in copied file 6",
        "/w/l copied link null",
        "/w/m copied gone null",
        "/w/m/deep copied gone null",
        "/w/m/deep/y copied gone null",
        "/w/m2 copied directory null",
        "/w/m2/deep copied directory null",
        "/w/m2/deep/y copied file 4",
        "/w/old copied gone null",
        "/w/r1 copied gone null",
        "/w/r2 copied file 7",
    ];
    assert_eq!(lines, expected);
    let text = p.ok(&["inspect", "job"]);
    assert!(
        text.contains("files       /w/a copied (11 B)\n            /w/d copied (directory)\n"),
        "{text}"
    );
    assert!(text.contains("            /w/old deleted\n"), "{text}");
}

/// Reads the manifest of a checkpoint.
fn manifest(p: &Place, name: &str) -> serde_json::Value {
    let report = p.json(&["inspect", name, "--json"]);
    let digest = report["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let bytes = std::fs::read(p.store().join("blobs/sha256").join(digest)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Digests of its layers of files.
fn layers(p: &Place, name: &str) -> Vec<String> {
    let manifest = manifest(p, name);
    let layers = manifest["layers"].as_array().unwrap().iter();
    let files = layers.filter(|l| {
        l["mediaType"].as_str().unwrap().starts_with("application/vnd.oci.image.layer.v1.tar+zstd")
    });
    files.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

/// Has a file open that it reads, and writes `HELLO!` to another at each byte `w` that it reads; at the end it shows that.
fn ticks() -> String {
    program(
        DATA,
        r#"(local $log i32) (local $byte i32)
    (call $must (call $path_open (i32.const 3) (i32.const 0) (i32.const 1136) (i32.const 2) (i32.const 0)
      (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))
    (local.set $log (call $open (i32.const 1024) (i32.const 1) (i32.const 1) (i32.const 0)))
    (block $end
      (loop $l
        (local.set $byte (call $wait))
        (br_if $end (i32.eqz (local.get $byte)))
        (if (i32.eq (local.get $byte) (i32.const 119))
          (then (drop (call $write (local.get $log) (i32.const 1152) (i32.const 6)))))
        (br $l)))
    (call $show (i32.const 1024) (i32.const 1))"#,
    )
}

#[test]
fn only_what_changed_is_stored_and_layers_stay_few() {
    let p = Place::new();
    let work = p.path("work");
    std::fs::create_dir(&work).unwrap();
    let mut x = 1u32;
    let mut noise = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + (x >> 26) as u8)
    };
    let large: String = (0..100_000).map(|_| noise()).collect();
    std::fs::write(work.join("in"), &large).unwrap();
    let guest = p.guest("ticks", &ticks());
    let dir = format!("{}::/w", work.display());
    let mut child =
        p.start("job", &["--dir", &dir, "--files", "copy", "--max-layers", "2", &guest]);
    let mut out = child.stdout.take().unwrap();
    assert_eq!(harness::read(&mut out, 1), ">");
    let mut step = |child: &mut Child, byte: &[u8]| {
        child.stdin.as_mut().unwrap().write_all(byte).unwrap();
        assert_eq!(harness::read(&mut out, 1), ">");
        p.ok(&["checkpoint", "job"]);
        let report = p.json(&["inspect", "job", "--json"]);
        (report["files_size"].as_u64().unwrap(), layers(&p, "job"))
    };
    let (first, base) = step(&mut child, b"w");
    assert!(first > 60_000 && base.len() == 1, "{first} {base:?}");
    assert_eq!(step(&mut child, b"-"), (first, base.clone()), "nothing changed");
    let (second, two) = step(&mut child, b"w");
    assert!(second - first < 1000, "{first} {second}");
    assert_eq!((two.len(), &two[0]), (2, &base[0]));
    for _ in 0..4 {
        let (size, layers) = step(&mut child, b"w");
        assert!(layers.len() <= 3 && size < first + 2000, "{size} {layers:?}");
    }
    let before = layers(&p, "job");
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(&work).unwrap();

    // Resumed, it knows what the image has.
    let mut child =
        p.command(&["resume", "job"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    p.wait_answering("job");
    p.ok(&["checkpoint", "job"]);
    assert_eq!(layers(&p, "job"), before);
    child.stdin.as_mut().unwrap().write_all(b"w").unwrap();
    let e = Ended::wait(child);
    assert_eq!((e.code, e.out.as_str()), (Some(0), ">HELLO!HELLO!HELLO!HE"), "{}", e.err);
    assert_eq!(std::fs::read_to_string(work.join("a")).unwrap(), "HELLO!".repeat(7));
    assert_eq!(std::fs::read_to_string(work.join("in")).unwrap(), large);
    // Each of them, whatever layers it has.
    std::fs::remove_dir_all(&work).unwrap();
    let e = p.command(&["resume", "job@4"]).output().unwrap();
    assert!(e.status.success(), "{}", String::from_utf8_lossy(&e.stderr));
    assert_eq!(std::fs::read_to_string(work.join("a")).unwrap(), "HELLO!".repeat(3));
}

#[test]
fn a_clone_writes_nothing_of_the_first() {
    let p = Place::new();
    let (_, mut child) = waits(&p, &[]);
    p.ok(&["checkpoint", "job"]);
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    assert_eq!(Ended::wait(child).code, Some(0));
    let after = tree(&p.path("work"));
    let refused = resume(&p, &["job", "--clone", "twin"]);
    assert!(refused.error().contains("name one with --dir HOST::/w"), "{}", refused.err);
    assert_eq!(tree(&p.path("work")), after);
    let dir = format!("{}::/w", p.path("twin").display());
    let stopped =
        p.dormouse(&["resume", "job", "--clone", "twin", "--dir", &dir, "--stop-at", "0"]);
    assert_eq!(stopped.code, Some(85), "{}", stopped.err);
    // Its own checkpoints lead to its own.
    goes_on(&p, &["twin"]);
    assert_eq!(tree(&p.path("twin")), undisturbed());
    assert_eq!(tree(&p.path("work")), after);
}

#[test]
fn the_rule_is_remembered_and_can_be_another() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    let said = manifest(&p, "job")["annotations"]["io.dormouse.files"].clone();
    assert_eq!(said, "copy");
    let work = p.path("work");
    std::fs::write(work.join("r2"), "changed by others").unwrap();
    let e = resume(&p, &["job", "--files", "check"]);
    assert_eq!(
        (e.code, e.out.replace("changed by others", "renamed")),
        (Some(0), SEEN.to_owned()),
        "{}",
        e.err
    );
    goes_on(&p, &["job"]);
    // What happened before is not known any more to a job that went on without.
    let p = Place::new();
    furnish(&p.path("work"));
    let guest = p.guest("changes", &changes());
    let dir = format!("{}::/w", p.path("work").display());
    let child = p.start("job", &["--dir", &dir, "--files", "none", &guest]);
    p.wait_for("it to wait", || p.path("work/m2").exists());
    harness::blocked_in(&p, "fd_read");
    killed(&p, child);
    assert_eq!(manifest(&p, "job")["annotations"]["io.dormouse.files"], "none");
    let report = p.json(&["inspect", "job", "--json"]);
    assert_eq!(report["files"][0]["rule"], "left alone");
    std::fs::write(p.path("work/in"), "another").unwrap();
    let refused = resume(&p, &["job", "--files", "check", "--dry-run"]);
    assert!(refused.error().contains("was changed after the checkpoint"), "{}", refused.err);
    let e = resume(&p, &["job", "--files", "copy", "--dry-run"]);
    assert!(e.err.contains("what the program changed in its files before job@"), "{}", e.err);
}

#[test]
fn encrypted_files_travel() {
    use age::secrecy::ExposeSecret;
    let p = Place::new();
    let identity = age::x25519::Identity::generate();
    std::fs::write(p.path("keys"), identity.to_string().expose_secret()).unwrap();
    let recipient = identity.to_public().to_string();
    let (_, child) = waits(&p, &["--encrypt-to", &recipient]);
    killed(&p, child);
    std::fs::remove_dir_all(p.path("work")).unwrap();
    assert!(p.ok(&["verify"]).contains("1 of them are encrypted: only digests were checked"));
    for blob in std::fs::read_dir(p.store().join("blobs/sha256")).unwrap() {
        let bytes = std::fs::read(blob.unwrap().path()).unwrap();
        assert!(
            bytes.starts_with(b"age-") || bytes.starts_with(b"{") || bytes.starts_with(b"\0asm")
        );
    }
    goes_on(&p, &["job", "--identity", "keys"]);
    assert_eq!(tree(&p.path("work")), undisturbed());
}

/// What cannot be copied is named, nothing is left behind, and the program goes on.
#[test]
fn a_copy_that_fails_leaves_the_program_running() {
    let p = Place::new();
    let work = p.path("work");
    std::fs::create_dir(&work).unwrap();
    std::fs::write(work.join("in"), vec![7; 4 << 20]).unwrap();
    let guest = p.guest("ticks", &ticks());
    let dir = format!("{}::/w", work.display());
    // No file may become longer than 2 MiB, and that is no reason to die.
    let limited = format!(
        "trap '' XFSZ; ulimit -f 4096; exec {} run --name job --no-cache --dir {dir} --files copy {guest}",
        env!("CARGO_BIN_EXE_dormouse")
    );
    let command = p.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &limited]).current_dir(p.dir.path());
    command.get_envs().for_each(|(key, value)| {
        value.map(|value| shell.env(key, value));
    });
    shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = shell.stderr(std::process::Stdio::piped()).spawn().unwrap();
    p.wait_answering("job");
    harness::read(child.stdout.as_mut().unwrap(), 1);
    let failed = p.dormouse(&["checkpoint", "job"]);
    assert!(
        failed.error().contains("copying \"/w/in\" for the image: File too large"),
        "{}",
        failed.err
    );
    assert_eq!(p.checkpoints("job"), 0);
    assert_eq!(std::fs::read_dir(p.store().join("blobs/sha256")).unwrap().count(), 0);
    std::fs::write(work.join("in"), "small").unwrap();
    child.stdin.as_mut().unwrap().write_all(b"w").unwrap();
    p.ok(&["checkpoint", "job"]);
    let e = Ended::wait(child);
    assert_eq!((e.code, e.out.as_str()), (Some(0), ">HELLO!"), "{}", e.err);
}

#[test]
fn names_that_mean_something_else_are_refused() {
    let p = Place::new();
    std::fs::create_dir(p.path("work")).unwrap();
    let name = "(data (i32.const 1024) \".wh.x\")";
    let body = r#"(drop (call $open (i32.const 1024) (i32.const 5) (i32.const 1) (i32.const 0))) (drop (call $wait))"#;
    let guest = p.guest("strange", &program(name, body));
    let dir = format!("{}::/w", p.path("work").display());
    let child = p.start("job", &["--dir", &dir, "--files", "copy", &guest]);
    p.wait_for("it to wait", || p.path("work/.wh.x").exists());
    let failed = p.dormouse(&["checkpoint", "job"]);
    assert!(
        failed
            .error()
            .contains("\"/w/.wh.x\" cannot be carried in the image: names that begin with .wh."),
        "{}",
        failed.err
    );
    // Once it is gone nothing is in the way any more.
    std::fs::remove_file(p.path("work/.wh.x")).unwrap();
    std::fs::write(p.path("work/other"), "").unwrap();
    let failed = p.dormouse(&["checkpoint", "job"]);
    assert!(!failed.err.contains("names that begin with .wh."), "{}", failed.err);
    let e = Ended::wait(child);
    assert_eq!((e.code, e.out.as_str()), (Some(0), ">"), "{}", e.err);
}

/// What stands in the way and leads elsewhere is not followed.
#[test]
fn links_of_others_are_not_followed() {
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    let place = p.path("place");
    std::fs::create_dir_all(place.join("elsewhere/deep")).unwrap();
    symlink("elsewhere", place.join("m2")).unwrap();
    let dir = format!("{}::/w", place.display());
    goes_on(&p, &["job", "--dir", &dir]);
    assert_eq!(std::fs::read_dir(place.join("elsewhere/deep")).unwrap().count(), 0);
    assert!(place.join("m2").symlink_metadata().unwrap().is_dir());
}

/// A database in the middle of a transaction, moved to a directory where there is nothing.
#[test]
fn a_database_goes_on_elsewhere() {
    let wasm = harness::root().join("target/guests/sqlite.wasm");
    if !wasm.exists() {
        return;
    }
    let wasm = wasm.to_str().unwrap();
    let p = Place::new();
    std::fs::create_dir(p.path("plain")).unwrap();
    let dir = |name: &str| format!("{}::/work", p.path(name).display());
    let args = ["/work/test.db", "1"];
    let plain = p.ok(&[&["run", "--dir", &dir("plain"), wasm][..], &args].concat());
    let mut journals = 0;
    for stop in ["3000", "30000"] {
        let (from, to) = (format!("from-{stop}"), format!("to-{stop}"));
        std::fs::create_dir(p.path(&from)).unwrap();
        let begin = [
            "run",
            "--name",
            &from,
            "--dir",
            &dir(&from),
            "--files",
            "copy",
            "--stop-at",
            stop,
            wasm,
        ];
        let stopped = p.dormouse(&[&begin[..], &args].concat());
        if stopped.code != Some(85) {
            continue;
        }
        let files = p.json(&["inspect", &from, "--json"])["files"].to_string();
        journals += usize::from(files.contains("test.db-journal\",\"rule\":\"copied\",\"size\""));
        std::fs::remove_dir_all(p.path(&from)).unwrap();
        let rest = p.ok(&["resume", &from, "--dir", &dir(&to)]);
        assert_eq!(stopped.out + &rest, plain, "stopped at {stop}");
        let database = |name: &str| std::fs::read(p.path(name).join("test.db")).unwrap();
        assert!(database(&to) == database("plain"), "stopped at {stop}");
    }
    assert!(journals > 0, "none was in a transaction");
}

/// `contrib/read-image.py` unpacks the layers with the tar of Python's library, and finds the same.
#[test]
fn another_reader_finds_the_same_files() {
    let has = |program: &str| std::process::Command::new(program).arg("--version").output().is_ok();
    if !has("python3") || !has("zstd") {
        return eprintln!("SKIPPED: python3 or zstd is not installed here");
    }
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    p.ok(&["checkpoint", "job"]);
    std::fs::write(p.path("work/d/x"), "changed").unwrap();
    killed(&p, child);
    assert_eq!(layers(&p, "job").len(), 2);
    let script = harness::root().join("contrib/read-image.py");
    let mut command = std::process::Command::new("python3");
    let output = command.arg(script).arg(p.store()).arg("job@2").output().unwrap();
    let read: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let files = read["files"].as_object().unwrap();
    let line = |(name, file): (&String, &serde_json::Value)| {
        format!("/w{} {} {}", &name[1..], file["kind"].as_str().unwrap(), file["size"])
    };
    let lines: Vec<_> = files.iter().map(line).collect();
    let report = p.json(&["inspect", "job", "--json"]);
    let ours = report["files"].as_array().unwrap().iter();
    let ours: Vec<_> = ours
        .map(|file| {
            let text = |key: &str| file[key].as_str().unwrap().to_owned();
            format!("{} {} {}", text("path"), text("kind"), file["size"])
        })
        .collect();
    assert_eq!(lines, ours);
    assert_eq!(files["0/l"]["target"], "d/x");
    let digest = dormouse_store::hex(&dormouse_store::sha256(b"changed"));
    assert_eq!(files["0/d/x"]["sha256"], digest);
    let modified = std::fs::metadata(p.path("work/a")).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(files["0/a"]["mtime"], format!("{}.{:09}", since.as_secs(), since.subsec_nanos()));
}

/// What the program did after the checkpoint is undone, though the directories it was done in are gone.
#[test]
fn deeds_after_the_checkpoint_are_undone_where_all_was_wiped() {
    let p = Place::new();
    let work = p.path("work");
    std::fs::create_dir(&work).unwrap();
    let body = r#"(local $x i32)
    (call $must (call $path_create_directory (i32.const 3) (i32.const 1040) (i32.const 1)))
    (local.set $x (call $open (i32.const 1056) (i32.const 3) (i32.const 1) (i32.const 0)))
    (drop (call $write (local.get $x) (i32.const 1152) (i32.const 6)))
    (call $must (call $fd_close (local.get $x)))
    (drop (call $wait))
    (call $must (call $path_rename (i32.const 3) (i32.const 1056) (i32.const 3) (i32.const 3) (i32.const 1024) (i32.const 1)))
    (call $must (call $path_remove_directory (i32.const 3) (i32.const 1040) (i32.const 1)))
    (call $must (call $path_unlink_file (i32.const 3) (i32.const 1024) (i32.const 1)))
    (drop (call $wait))
    (call $ask (i32.const 1024) (i32.const 1))"#;
    let guest = p.guest("deeds", &program(DATA, body));
    let dir = format!("{}::/w", work.display());
    let mut child = p.start("job", &["--dir", &dir, "--files", "copy", &guest]);
    harness::read(child.stdout.as_mut().unwrap(), 1);
    p.ok(&["checkpoint", "job"]);
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    harness::read(child.stdout.as_mut().unwrap(), 1);
    assert_eq!(tree(&work).len(), 0);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_dir_all(&work).unwrap();
    // Stopped where the checkpoint was: there they are again.
    assert_eq!(p.dormouse(&["resume", "job", "--stop-at", "0"]).code, Some(85));
    let names: Vec<_> = tree(&work).into_keys().collect();
    assert_eq!(names, [Path::new("d"), Path::new("d/x")]);
    let e = resume(&p, &["job"]);
    assert_eq!((e.out.as_str(), e.code), (">\\", Some(0)), "{}", e.err);
}

/// What was pulled does not say where its files are written.
#[cfg(feature = "registry")]
#[test]
fn pulled_files_go_where_they_are_told_to() {
    if !servers::have(&["docker-registry"]) {
        return;
    }
    let p = Place::new();
    let (_, child) = waits(&p, &[]);
    killed(&p, child);
    std::fs::remove_dir_all(p.path("work")).unwrap();
    let registry = servers::Registry::start();
    let to = registry.at("jobs/job");
    p.ok(&["push", "job@1", &to]);
    let other = Place::new();
    other.ok(&["pull", &format!("{to}:1")]);
    let refused = resume(&other, &["job"]);
    assert!(refused.error().contains("name one with --dir HOST::/w"), "{}", refused.err);
    assert!(!p.path("work").exists());
    let dir = format!("{}::/w", other.path("here").display());
    goes_on(&other, &["job", "--dir", &dir]);
    assert_eq!(tree(&other.path("here")), undisturbed());
}
