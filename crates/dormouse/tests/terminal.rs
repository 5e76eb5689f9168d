//! Programs on a terminal: what is typed reaches them, also after a resume on another terminal, and Ctrl-C puts them to sleep.
//!
//! `script` (of util-linux; every Debian has it) runs a command on a terminal of its own. What it is given is typed there, and it
//! prints what is to be seen.
#![allow(missing_docs)]

mod harness;

use harness::program::program;
use harness::*;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A command on a terminal.
struct Terminal<'a> {
    place: &'a Place,
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<String>>,
}

impl Terminal<'_> {
    fn open<'a>(place: &'a Place, args: &[&str]) -> Terminal<'a> {
        Terminal::redirected(place, args, "")
    }

    /// With a redirection in the shell's words.
    fn redirected<'a>(place: &'a Place, args: &[&str], to: &str) -> Terminal<'a> {
        let plain = place.command(args);
        let words = plain.get_args().map(|a| format!(" '{}'", a.to_str().unwrap()));
        let words: String = words.collect();
        let line = format!("'{}'{words} {to}", env!("CARGO_BIN_EXE_dormouse"));
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).current_dir(place.dir.path());
        script.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().expect("`script` of util-linux makes the terminal");
        let keys = child.stdin.take().unwrap();
        let mut out = child.stdout.take().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let into = seen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut bytes) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Terminal { place, child, keys, seen }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn seen(&self) -> String {
        self.seen.lock().unwrap().clone()
    }

    fn shows(&self, what: &str) {
        self.place.wait_for(&format!("{what:?} on the terminal"), || self.seen().contains(what));
    }

    /// Its exit status.
    fn ends(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        drop(self.keys);
        code
    }
}

/// Says what its standard streams are; then echoes lines, numbered and in brackets, until one is empty, and exits with 9.
fn brackets() -> String {
    let line = "(local $n i32)
      (call $must (call $fd_fdstat_get (i32.const 0) (i32.const 1024)))
      (call $note (i32.load8_u (i32.const 1024)))
      (call $must (call $fd_fdstat_get (i32.const 1) (i32.const 1024)))
      (call $note (i32.load8_u (i32.const 1024)))
      (call $tell)
      (loop $l
        (i32.store8 (i32.const 1100) (i32.add (i32.load8_u (i32.const 1100)) (i32.const 1)))
        (drop (call $write (i32.const 1) (i32.const 1100) (i32.const 2)))
        (local.set $n (call $read (i32.const 0) (i32.const 2048) (i32.const 100)))
        (drop (call $write (i32.const 1) (i32.const 2048) (i32.sub (local.get $n) (i32.const 1))))
        (drop (call $write (i32.const 1) (i32.const 1102) (i32.const 2)))
        (br_if $l (i32.gt_u (local.get $n) (i32.const 1))))
      (call $proc_exit (i32.const 9))";
    program("(data (i32.const 1100) \"0[]\\0a\")", line)
}

#[test]
fn lines_are_read_from_one_terminal_and_from_the_next() {
    let p = Place::new();
    let brackets = p.guest("brackets", &brackets());
    let mut one = Terminal::open(&p, &["run", "--name", "job", &brackets]);
    // Two character devices.
    one.shows("221[");
    one.types("first\n");
    // What is typed is echoed.
    one.shows("1[first\r\nfirst]\r\n2[");
    p.ok(&["checkpoint", "job"]);
    one.types("second\n");
    one.shows("second\r\nsecond]\r\n3[");
    p.ok(&["checkpoint", "job", "--stop"]);
    assert_eq!(one.ends(), Some(85));
    let report = p.json(&["inspect", "job", "--json"]);
    assert_eq!(report["frames"][0]["name"], "wasi_snapshot_preview1.fd_read");

    let mut two = Terminal::open(&p, &["resume", "job"]);
    p.wait_answering("job");
    two.types("third\n");
    two.shows("third]\r\n4[");
    two.types("\n");
    assert_eq!(two.ends(), Some(9));

    // From a terminal to a pipe.
    let mut pipe = p.command(&["resume", "job"]).stdin(Stdio::piped()).spawn().unwrap();
    pipe.stdin.take().unwrap().write_all(b"\n").unwrap();
    let ended = Ended::wait(pipe);
    assert_eq!((ended.code, ended.out.as_str()), (Some(9), "]\n"), "{}", ended.err);
}

#[test]
fn ctrl_c_puts_to_sleep_and_resumes() {
    let p = Place::new();
    let brackets = p.guest("brackets", &brackets());
    let mut one = Terminal::open(&p, &["run", "--name", "job", &brackets]);
    one.shows("221[");
    p.wait_answering("job");
    one.types("\x03");
    one.shows("go on with: dormouse resume job");
    assert_eq!(one.ends(), Some(130));

    let mut two = Terminal::open(&p, &["resume", "job"]);
    p.wait_answering("job");
    two.types("still\n");
    two.shows("still]\r\n2[");
    two.types("\x03");
    two.shows("stopped at job@2");
    assert_eq!(two.ends(), Some(130));
}

/// The terminal is closed, and so the job ends (SIGHUP), without a checkpoint: the program stands before its second line again, as at
/// the checkpoint, not before its third, where it was.
#[test]
fn a_terminal_that_is_closed() {
    let p = Place::new();
    let brackets = p.guest("brackets", &brackets());
    let mut one = Terminal::open(&p, &["run", "--name", "job", &brackets]);
    one.shows("221[");
    p.wait_answering("job");
    one.types("kept\n");
    one.shows("kept]\r\n2[");
    p.ok(&["checkpoint", "job"]);
    one.types("lost\n");
    one.shows("lost]\r\n3[");
    one.child.kill().unwrap();
    one.child.wait().unwrap();
    p.wait_for("the job to end", || p.json(&["ps", "--json"]).as_array().unwrap().is_empty());
    assert_eq!(p.checkpoints("job"), 1);

    let mut two = Terminal::open(&p, &["resume", "job"]);
    p.wait_answering("job");
    two.types("found\n");
    two.shows("found]\r\n3[");
    two.types("\n");
    assert_eq!(two.ends(), Some(9));
}

/// Ctrl-S: the terminal takes no more output, and the program waits for it in a write. (What Dormouse itself says would wait there as
/// well, and so would its answers; so that goes elsewhere.)
#[test]
fn output_that_is_held_up() {
    let p = Place::new();
    // Prints `A`; has read a line; prints lines from B to E.
    let letters = "(local $i i32)
      (drop (call $write (i32.const 1) (i32.const 1024) (i32.const 2)))
      (drop (call $read (i32.const 0) (i32.const 2048) (i32.const 100)))
      (loop $l
        (i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
        (drop (call $write (i32.const 1) (i32.const 1024) (i32.const 2)))
        (br_if $l (i32.lt_u (i32.load8_u (i32.const 1024)) (i32.const 69))))";
    let letters = p.guest("letters", &program("(data (i32.const 1024) \"A\\0a\")", letters));
    let mut one = Terminal::redirected(&p, &["run", "--name", "job", &letters], "2>said");
    one.shows("A\r\n");
    p.wait_answering("job");
    one.types("\x13go\n");
    blocked_in(&p, "fd_write");
    p.ok(&["checkpoint", "job", "--stop"]);
    assert_eq!(stopped_in(&p, "job"), "fd_write");
    assert!(!one.seen().contains("B\r\n"), "{}", one.seen());
    assert_eq!(one.ends(), Some(85));
    assert_eq!(p.ok(&["resume", "job"]), "B\nC\nD\nE\n");
}
