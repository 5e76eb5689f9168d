//! Every call of WASI that can wait: a checkpoint is taken in it, and the program goes on from there as if nothing had been.
//!
//! - [`stopped_in_every_call_that_can_wait`] goes through the list of them in the sources, and stops a program at each of its
//!   safepoints, the call's among them. That also reaches calls that nothing from outside can hold up (a sync, a file).
//! - The others really block: nothing comes from a pipe, a named pipe or a socket, or nobody takes what is written there.
//!   (terminal.rs has the same for terminals.)
#![allow(missing_docs)]

mod harness;

use dormouse_wasi::{CALLS, DIRECTED};
use harness::program::program;
use harness::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

/// For each call that can wait, a program that makes it and notes what comes of it. It has a directory with a file `f` that
/// holds `0123456789`.
const CALLING: &[(&str, &str)] = &[
    (
        "fd_datasync",
        "(local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
         (call $note (call $write (local.get $fd) (i32.const 1025) (i32.const 3)))
         (call $note (call $fd_datasync (local.get $fd)))",
    ),
    (
        "fd_pread",
        "(local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
         (i64.store (i32.const 0) (i64.const 0x400000400))
         (call $note (call $fd_pread (local.get $fd) (i32.const 0) (i32.const 1) (i64.const 5) (i32.const 8)))
         (call $note (i32.sub (i32.load8_u (i32.const 1024)) (i32.const 48)))
         (call $note (call $fd_pread (local.get $fd) (i32.const 0) (i32.const 1) (i64.const 8) (i32.const 8)))
         (call $note (i32.load (i32.const 8)))",
    ),
    (
        "fd_pwrite",
        "(local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
         (i64.store (i32.const 0) (i64.const 0x300000401))
         (call $note (call $fd_pwrite (local.get $fd) (i32.const 0) (i32.const 1) (i64.const 9) (i32.const 8)))
         (call $note (i32.load (i32.const 8)))",
    ),
    (
        "fd_read",
        "(local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
         (call $note (call $read (local.get $fd) (i32.const 1040) (i32.const 4)))
         (call $note (call $read (local.get $fd) (i32.const 1040) (i32.const 2)))
         (call $note (i32.sub (i32.load8_u (i32.const 1041)) (i32.const 48)))",
    ),
    (
        "fd_sync",
        "(local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
         (call $note (call $write (local.get $fd) (i32.const 1025) (i32.const 3)))
         (call $note (call $fd_sync (local.get $fd)))",
    ),
    (
        "fd_write",
        "(local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 1)))
         (call $note (call $write (local.get $fd) (i32.const 1025) (i32.const 3)))
         (call $note (call $write (local.get $fd) (i32.const 1025) (i32.const 2)))",
    ),
    (
        "poll_oneoff",
        "(i32.store (i32.const 1056) (i32.const 1)) (i64.store (i32.const 1064) (i64.const 20000000))
         (i64.store (i32.const 1040) (i64.const 7))
         (call $note (call $poll_oneoff (i32.const 1040) (i32.const 1104) (i32.const 1) (i32.const 8)))
         (call $note (i32.load (i32.const 8)))
         (call $note (i32.load (i32.const 1104)))",
    ),
    ("sock_accept", "(call $note (call $sock_accept (i32.const 0) (i32.const 0) (i32.const 8)))"),
    (
        "sock_recv",
        "(i64.store (i32.const 0) (i64.const 0x400000400))
         (call $note (call $sock_recv (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8) (i32.const 12)))",
    ),
    (
        "sock_send",
        "(i64.store (i32.const 0) (i64.const 0x400000400))
         (call $note (call $sock_send (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8)))",
    ),
];

#[test]
fn stopped_in_every_call_that_can_wait() {
    let waiting: Vec<&str> = CALLS.iter().filter(|c| c.blocking).map(|c| c.name).collect();
    let tried: Vec<&str> = CALLING.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        tried, waiting,
        "there is a program here for each call that can wait, in their order"
    );
    // Of the module `dormouse`, only this waits; directed.rs takes checkpoints in it.
    let directed: Vec<&str> = DIRECTED.iter().filter(|c| c.blocking).map(|c| c.name).collect();
    assert_eq!(directed, ["checkpoint"]);
    for (call, body) in CALLING {
        in_every_place(call, body);
    }
}

/// Stops a program at its first safepoint, then, begun anew, at its second and so on, and resumes it each time; it stops in
/// this call at least once.
fn in_every_place(call: &str, body: &str) {
    let p = Place::new();
    let body = format!("(local $fd i32) {body}");
    let program = p.guest(call, &program("(data (i32.const 1024) \"fabc\")", &body));
    let fresh = |name: &str| {
        fs::create_dir(p.path(name)).unwrap();
        fs::write(p.path(name).join("f"), "0123456789").unwrap();
        format!("{name}::/d")
    };
    let expected = p.ok(&["run", "--dir", &fresh("plain"), &program]);
    let file = fs::read(p.path("plain/f")).unwrap();
    let mut places = BTreeSet::new();
    for n in 1.. {
        let job = format!("job{n}");
        let (dir, at) = (fresh(&job), n.to_string());
        let stopped =
            p.dormouse(&["run", "--name", &job, "--stop-at", &at, "--dir", &dir, &program]);
        let rest = match stopped.code {
            Some(0) => String::new(),
            Some(85) => {
                places.insert(stopped_in(&p, &job));
                p.ok(&["resume", &job])
            }
            _ => panic!("{call} at {n}: {}", stopped.err),
        };
        assert_eq!(stopped.out + &rest, expected, "{call} at {n}");
        assert_eq!(fs::read(p.path(&job).join("f")).unwrap(), file, "{call} at {n}");
        if stopped.code == Some(0) {
            break;
        }
    }
    assert!(places.contains(call), "{call} was stopped in {places:?}");
}

/// What a stream of the program is connected to.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Pipe,
    NamedPipe,
    Socket,
}

const KINDS: [Kind; 3] = [Kind::Pipe, Kind::NamedPipe, Kind::Socket];

impl Kind {
    /// The end to read from and the one to write to.
    fn ends(self, p: &Place) -> (File, File) {
        let file = |fd: OwnedFd| File::from(fd);
        match self {
            Kind::Pipe => {
                let (read, write) = std::io::pipe().unwrap();
                (file(read.into()), file(write.into()))
            }
            Kind::NamedPipe => {
                let path = p.path("fifo");
                if !path.exists() {
                    let made = std::process::Command::new("mkfifo").arg(&path).status();
                    assert!(made.unwrap().success());
                }
                // Each of them waits for the other to be opened.
                let other = path.clone();
                let read = std::thread::spawn(move || File::open(other).unwrap());
                let write = File::options().write(true).open(path).unwrap();
                (read.join().unwrap(), write)
            }
            Kind::Socket => {
                let (read, write) = UnixStream::pair().unwrap();
                (file(OwnedFd::from(read)), file(OwnedFd::from(write)))
            }
        }
    }
}

/// How a program is asked to take a checkpoint and stop.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Term,
    Command,
}

/// Stops a program, and says where it was.
fn stop(p: &Place, job: &mut Child, how: Stop) -> String {
    match how {
        Stop::Term => signal(job, "TERM"),
        Stop::Command => drop(p.ok(&["checkpoint", "--stop", "job"])),
    }
    assert_eq!(job.wait().unwrap().code(), Some(85));
    stopped_in(p, "job")
}

/// Copies standard input to standard output as it comes; polls before each read if it is to.
fn copying(poll: bool) -> String {
    let wait = "(i64.store (i32.const 1032) (i64.const 1)) (i32.store (i32.const 1040) (i32.const 0))
      (call $must (call $poll_oneoff (i32.const 1024) (i32.const 1088) (i32.const 1) (i32.const 8)))";
    let wait = if poll { wait } else { "" };
    program(
        "",
        &format!(
            "(local $n i32)
             (block $end (loop $l {wait}
               (local.set $n (call $read (i32.const 0) (i32.const 2048) (i32.const 100)))
               (br_if $end (i32.eqz (local.get $n)))
               (drop (call $write (i32.const 1) (i32.const 2048) (local.get $n)))
               (br $l)))"
        ),
    )
}

fn blocked_reading(call: &str, poll: bool) {
    for kind in KINDS {
        for how in [Stop::Term, Stop::Command] {
            let p = Place::new();
            let program = p.guest("copy", &copying(poll));
            let (read_end, mut feed) = kind.ends(&p);
            let mut job = p.command(&["run", "--name", "job", &program]);
            let mut job = job.stdin(Stdio::from(read_end)).spawn().unwrap();
            let mut out = job.stdout.take().unwrap();
            feed.write_all(b"one ").unwrap();
            assert_eq!(read(&mut out, 4), "one ", "{kind:?} {how:?}");
            p.wait_answering("job");
            blocked_in(&p, call);
            assert_eq!(stop(&p, &mut job, how), call, "{kind:?} {how:?}");
            drop(feed);

            let (read_end, mut feed) = kind.ends(&p);
            let mut job = p.command(&["resume", "job"]);
            let job = job.stdin(Stdio::from(read_end)).spawn().unwrap();
            feed.write_all(b"two ").unwrap();
            drop(feed);
            let ended = Ended::wait(job);
            assert_eq!(
                (ended.code, ended.out.as_str()),
                (Some(0), "two "),
                "{kind:?} {how:?}: {}",
                ended.err
            );
        }
    }
}

#[test]
fn blocked_in_fd_read() {
    blocked_reading("fd_read", false);
}

#[test]
fn blocked_in_poll_oneoff_for_input() {
    blocked_reading("poll_oneoff", true);
}

/// More than a pipe or a socket holds.
const MUCH: usize = 300_000;

/// Writes numbers, four bytes each, as many as make [`MUCH`] bytes, at most so many at a time; polls before each write if it
/// is to.
fn writing(most: usize, poll: bool) -> String {
    let wait = "(i32.store8 (i32.const 1032) (i32.const 2)) (i32.store (i32.const 1040) (i32.const 1))
      (call $must (call $poll_oneoff (i32.const 1024) (i32.const 1088) (i32.const 1) (i32.const 8)))";
    let wait = if poll { wait } else { "" };
    program(
        "",
        &format!(
            "(local $i i32) (local $n i32)
             (loop $l
               (i32.store offset=2048 (local.get $i) (local.get $i))
               (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const {MUCH}))))
             (local.set $i (i32.const 0))
             (loop $l {wait}
               (local.set $n (i32.sub (i32.const {MUCH}) (local.get $i)))
               (if (i32.gt_u (local.get $n) (i32.const {most})) (then (local.set $n (i32.const {most}))))
               (local.set $i (i32.add (local.get $i)
                 (call $write (i32.const 1) (i32.add (local.get $i) (i32.const 2048)) (local.get $n))))
               (br_if $l (i32.lt_u (local.get $i) (i32.const {MUCH}))))"
        ),
    )
}

fn blocked_writing(within: &str, most: usize, poll: bool) {
    let whole: Vec<u8> = (0..MUCH as u32).step_by(4).flat_map(u32::to_le_bytes).collect();
    for kind in KINDS {
        for how in [Stop::Term, Stop::Command] {
            let p = Place::new();
            let program = p.guest("much", &writing(most, poll));
            let (mut taken, write_end) = kind.ends(&p);
            let mut command = p.command(&["run", "--name", "job", &program]);
            let mut job = command.stdout(Stdio::from(write_end)).spawn().unwrap();
            // This process has no end to write to any more.
            drop(command);
            let mut out = vec![0; 4];
            taken.read_exact(&mut out).unwrap();
            p.wait_answering("job");
            if within != "_start" {
                blocked_in(&p, within);
            }
            assert_eq!(stop(&p, &mut job, how), within, "{kind:?} {how:?}");
            taken.read_to_end(&mut out).unwrap();
            assert!(out.len() < MUCH, "{kind:?} {how:?}: it was not held up");

            let (mut taken, write_end) = kind.ends(&p);
            let mut command = p.command(&["resume", "job"]);
            let job = command.stdout(Stdio::from(write_end)).spawn().unwrap();
            drop(command);
            taken.read_to_end(&mut out).unwrap();
            let ended = Ended::wait(job);
            assert_eq!(ended.code, Some(0), "{kind:?} {how:?}: {}", ended.err);
            assert!(out == whole, "{kind:?} {how:?}: not every byte once: {} of {MUCH}", out.len());
        }
    }
}

#[test]
fn blocked_in_fd_write() {
    blocked_writing("fd_write", 1000, false);
}

/// Part of what a call was to write is out already and cannot be taken back: the call ends with that part, and the program is
/// stopped after it.
#[test]
fn blocked_in_the_middle_of_fd_write() {
    blocked_writing("_start", MUCH, false);
}

#[test]
fn blocked_in_poll_oneoff_for_output() {
    blocked_writing("poll_oneoff", 1000, true);
}

/// A sleep, for an hour: what was left of it is waited for, in the process that resumed it too, until it is stopped.
#[test]
fn blocked_in_poll_oneoff_for_time() {
    let p = Place::new();
    let body = "(i32.store (i32.const 1056) (i32.const 1)) (i64.store (i32.const 1064) (i64.const 3600000000000))
      (call $must (call $poll_oneoff (i32.const 1040) (i32.const 1104) (i32.const 1) (i32.const 8)))";
    let program = p.guest("hour", &program("", body));
    let left =
        || p.json(&["inspect", "job", "--json"])["wasi"]["waiting"]["left_ns"].as_u64().unwrap();
    let mut job = p.start("job", &[&program]);
    blocked_in(&p, "poll_oneoff");
    assert_eq!(stop(&p, &mut job, Stop::Term), "poll_oneoff");
    let first = left();
    assert!(first < 3_600_000_000_000);
    let mut job = p.command(&["resume", "job"]).spawn().unwrap();
    p.wait_answering("job");
    assert_eq!(stop(&p, &mut job, Stop::Command), "poll_oneoff");
    assert!(left() < first && left() > 0);
}
