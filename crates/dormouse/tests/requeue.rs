//! `run --resume-if-any`: the same command line again and again, until the program has ended.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::io::Write;
use std::process::Stdio;

/// The command line of a script.
fn line<'a>(job: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--resume-if-any", "--name", job], rest].concat()
}

#[test]
fn one_line_to_the_end() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let line = line("sim", &["--every", "1h", &copy]);
    for n in 1..4 {
        let mut job = p.command(&line).stdin(Stdio::piped()).spawn().unwrap();
        p.wait_answering("sim");
        let mut stdin = job.stdin.take().unwrap();
        stdin.write_all(b"more").unwrap();
        assert_eq!(read(job.stdout.as_mut().unwrap(), 4), "more");
        let second = p.dormouse(&line);
        assert_eq!(second.code, Some(125));
        assert!(second.error().starts_with("job sim is running already"), "{}", second.err);
        signal(&job, "TERM");
        let ended = Ended::wait(job);
        assert_eq!(ended.code, Some(85), "{}", ended.err);
        let gone_on = format!("dormouse: going on from sim@{} of 20", n - 1);
        assert_eq!(ended.err.contains(&gone_on), n > 1, "{}", ended.err);
        assert!(ended.err.contains(&format!("stopped at sim@{n};")), "{}", ended.err);
    }
    // To its end; and once more from there, which is the same end.
    for _ in 0..2 {
        let ended = p.dormouse(&line);
        assert_eq!(ended.code, Some(9), "{}", ended.err);
        assert!(ended.err.contains("going on from sim@3"), "{}", ended.err);
    }
    p.ok(&["rm", "--all", "sim"]);
    let anew = p.dormouse(&line);
    assert_eq!((anew.code, anew.err.contains("going on")), (Some(9), false), "{}", anew.err);
}

#[test]
fn only_the_same_program() {
    let p = Place::new();
    let sleep = p.guest("sleep", SLEEP);
    let other = p.guest("exit", EXIT);
    let job = p.start("sim", &[&sleep, "-n", "3"]);
    p.ok(&["checkpoint", "--stop", "sim"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    for (rest, what) in [
        (&[other.as_str(), "-n", "3"][..], "it is of another module"),
        (&[&sleep, "-n", "4"], r#"its arguments are ["-n", "3"]"#),
        (&[&sleep], r#"its arguments are ["-n", "3"]"#),
        (&[&sleep, "-n", "3", ""], r#"its arguments are ["-n", "3"]"#),
    ] {
        let refused = p.dormouse(&line("sim", rest));
        assert_eq!(refused.code, Some(125));
        let error = refused.error();
        assert!(error.starts_with("job sim would go on from sim@1, but"), "{error}");
        assert!(error.contains(what) && error.ends_with("`dormouse rm --all sim`"), "{error}");
    }
    assert_eq!(p.json(&["ps", "--json"]), serde_json::json!([]), "no lease is left");
    // The file's name and where it lies do not matter.
    std::fs::create_dir(p.path("elsewhere")).unwrap();
    std::fs::rename(&sleep, p.path("elsewhere/nap.wasm")).unwrap();
    assert_eq!(p.ok(&line("sim", &["elsewhere/nap.wasm", "-n", "3"])), "awake\n");
    // A checkpoint of a program without arguments.
    let job = p.start("bare", &["elsewhere/nap.wasm"]);
    p.ok(&["checkpoint", "--stop", "bare"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let refused = p.dormouse(&line("bare", &["elsewhere/nap.wasm", "x"]));
    assert!(refused.error().contains("it was run without arguments"), "{}", refused.err);

    let nameless = p.dormouse(&["run", "--resume-if-any", "elsewhere/nap.wasm"]);
    assert_eq!(nameless.code, Some(2));
    assert!(nameless.err.contains("--name <JOB>"), "{}", nameless.err);
}

#[test]
fn only_the_same_function_and_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let p = Place::new();
    // Waits for input, then returns its argument.
    let text =
        COPY.replace("(func (export \"_start\")", "(func (export \"_start\") (export \"other\")");
    let text = text.trim_end().strip_suffix(')').unwrap().to_owned();
    let wait = r#"(func (export "wait") (param i32) (result i32)
        (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))) (local.get 0)))"#;
    let program = p.guest("waits", &(text + wait));
    let invoke = |function| line("sim", &["--invoke", function]);
    let waits = [invoke("wait"), vec![&program, "7"]].concat();
    for n in 1..3 {
        let job = p.command(&waits).stdin(Stdio::piped()).spawn().unwrap();
        p.wait_answering("sim");
        p.ok(&["checkpoint", "--stop", "sim"]);
        let ended = Ended::wait(job);
        assert_eq!(ended.code, Some(85), "{}", ended.err);
        assert_eq!(ended.err.contains("going on from sim@1"), n == 2, "{}", ended.err);
    }
    for (other, what) in [
        ([invoke("other"), vec![&program]].concat(), "it was begun with --invoke \"wait\";"),
        (line("sim", &[&program, "7"]), "it was begun with --invoke \"wait\";"),
        ([invoke("wait"), vec![&program, "8"]].concat(), "its arguments are [\"7\"];"),
    ] {
        let refused = p.dormouse(&other);
        assert_eq!(refused.code, Some(125), "{other:?}");
        assert!(refused.error().contains(what), "{}", refused.err);
    }
    assert_eq!(p.ok(&waits), "7\n");
    // What is no UTF-8 is told apart.
    let other = |bytes: &'static [u8]| {
        let mut command = p.command(&line("bytes", &[&program]));
        command.arg(std::ffi::OsStr::from_bytes(bytes)).stdin(Stdio::piped());
        command
    };
    let job = other(b"a\xff").spawn().unwrap();
    p.wait_answering("bytes");
    p.ok(&["checkpoint", "--stop", "bytes"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let refused = Ended::of(other(b"a\xfe").output().unwrap());
    assert!(refused.error().contains(r#"its arguments are ["a\xFF"]"#), "{}", refused.err);
    let refused = p.dormouse(&[line("bytes", &["--invoke", "other"]), vec![&program]].concat());
    assert!(refused.error().contains("it was begun without --invoke"), "{}", refused.err);
    assert_eq!(Ended::of(other(b"a\xff").stdin(Stdio::null()).output().unwrap()).code, Some(9));
}

/// A log that is appended to is cut back; what was found out before that stays in it.
#[test]
fn damage_is_told_in_a_log() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let line = line("sim", &[&copy]);
    let run = |stdin| {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(p.path("log")).unwrap();
        p.command(&line).stdin(stdin).stderr(log).spawn().unwrap()
    };
    let mut job = run(Stdio::piped());
    p.wait_answering("sim");
    let first = p.json(&["checkpoint", "sim", "--json"]).to_string();
    assert!(first.contains("sim@1"), "{first}");
    // The log grows, and is longer than at the first checkpoint.
    for _ in 0..2 {
        p.ok(&["checkpoint", "sim"]);
    }
    signal(&job, "USR1");
    p.wait_for("it", || p.checkpoints("sim") == 4);
    job.stdin.take();
    assert_eq!(job.wait().unwrap().code(), Some(9));
    let newest = p.json(&["list", "sim", "--json"])[3]["digest"].as_str().unwrap().to_owned();
    flip_a_bit(&p.path("store/blobs/sha256").join(newest.strip_prefix("sha256:").unwrap()));
    assert_eq!(run(Stdio::null()).wait().unwrap().code(), Some(9));
    let log = std::fs::read_to_string(p.path("log")).unwrap();
    let (_, after) = log.split_once("dormouse: going on from sim@3").expect(&log);
    assert!(after.contains("warning: ") && after.contains("sim@4"), "{log}");
    assert!(after.contains("going on from sim@3, the newest that is good"), "{log}");
}

/// The newest is passed over if it is damaged; if none is good, nothing is begun anew.
#[test]
fn damage_is_no_reason_to_begin_anew() {
    let p = Place::new();
    let copy = p.guest("copy", COPY);
    let mut job = p.start("sim", &[&copy]);
    p.ok(&["checkpoint", "sim"]);
    job.stdin.take();
    assert_eq!(Ended::wait(job).code, Some(9));
    let line = line("sim", &[&copy]);
    assert_eq!(p.dormouse(&line).code, Some(9));
    for blob in std::fs::read_dir(p.path("store/blobs/sha256")).unwrap() {
        flip_a_bit(&blob.unwrap().path());
    }
    let refused = p.dormouse(&line);
    assert_eq!(refused.code, Some(125));
    assert!(refused.err.contains("damaged"), "{}", refused.err);
    // Without the list nobody knows whose they are.
    std::fs::remove_file(p.path("store/index.json")).unwrap();
    let refused = p.dormouse(&line);
    assert_eq!(refused.code, Some(125), "{}", refused.err);
}

#[test]
fn directories_and_variables() {
    let p = Place::new();
    let demo = p.guest("demo", include_str!("../src/demo.wat"));
    for dir in ["plain", "first", "second"] {
        std::fs::create_dir(p.path(dir)).unwrap();
    }
    p.ok(&["run", "--dir", "plain::out", &demo]);
    let args = ["--env", "WHEN=1", "--dir", "first::out", &demo];
    let job = p.command(&line("sim", &args)).spawn().unwrap();
    p.wait_for("the file", || p.path("first/progress.txt").exists());
    p.wait_answering("sim");
    signal(&job, "TERM");
    assert_eq!(Ended::wait(job).code, Some(85));
    std::fs::copy(p.path("first/progress.txt"), p.path("second/progress.txt")).unwrap();
    // The directory lies elsewhere by now, and the variable is another.
    let args = ["--env", "WHEN=2", "--dir", "second::out", &demo];
    let job = p.command(&line("sim", &args)).spawn().unwrap();
    p.wait_answering("sim");
    signal(&job, "TERM");
    assert_eq!(Ended::wait(job).code, Some(85));
    let inspected = p.json(&["inspect", "sim", "--json"]);
    assert!(inspected.to_string().contains("WHEN=2"), "{inspected}");
    assert!(!inspected.to_string().contains("WHEN=1"), "{inspected}");
    p.ok(&line("sim", &args));
    let read = |dir: &str| std::fs::read_to_string(p.path(dir).join("progress.txt")).unwrap();
    assert_eq!(read("second"), read("plain"));
}

#[cfg(feature = "encryption")]
#[test]
fn encrypted_checkpoints() {
    use age::secrecy::ExposeSecret;
    let p = Place::new();
    let sleep = p.guest("sleep", SLEEP);
    let identity = age::x25519::Identity::generate();
    std::fs::write(p.path("keys"), identity.to_string().expose_secret()).unwrap();
    let recipient = identity.to_public().to_string();
    let args = ["--encrypt-to", &recipient, "--identity", "keys", &sleep];
    let job = p.command(&line("sim", &args)).spawn().unwrap();
    p.wait_answering("sim");
    signal(&job, "TERM");
    assert_eq!(Ended::wait(job).code, Some(85));
    let without = p.dormouse(&line("sim", &["--encrypt-to", &recipient, &sleep]));
    assert_eq!(without.code, Some(125));
    assert!(without.error().contains("sim@1: state is encrypted"), "{}", without.err);
    assert_eq!(p.ok(&line("sim", &args)), "awake\n");
}
