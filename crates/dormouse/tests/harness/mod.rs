//! The real binary in a directory of its own, and small programs for it.
#![allow(dead_code, missing_docs)]

pub mod guests;
pub mod program;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

pub struct Place {
    pub dir: tempfile::TempDir,
}

pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Assembles a program.
    pub fn guest(&self, name: &str, text: &str) -> String {
        let path = self.path(&format!("{name}.wasm"));
        std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut c = Command::new(env!("CARGO_BIN_EXE_dormouse"));
        c.args(args).current_dir(self.dir.path());
        // Nothing of what is set for whoever runs the tests.
        let set = std::env::vars_os().map(|(name, _)| name);
        for name in set.filter(|name| name.to_string_lossy().starts_with("DORMOUSE_")) {
            c.env_remove(name);
        }
        c.env("HOME", self.path("home")).env_remove("XDG_CONFIG_HOME");
        c.env("DORMOUSE_SYSTEM_CONFIG", self.path("system.toml"));
        c.env("DORMOUSE_NO_CONFIG", "1");
        c.env("DORMOUSE_STORE", self.store()).env("DORMOUSE_CACHE", self.path("cache"));
        c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        c
    }

    pub fn dormouse(&self, args: &[&str]) -> Ended {
        Ended::of(self.command(args).output().unwrap())
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let e = self.dormouse(args);
        assert_eq!(e.code, Some(0), "{args:?}: {}", e.err);
        e.out
    }

    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Starts `run --name JOB ...` and waits until it answers.
    pub fn start(&self, job: &str, args: &[&str]) -> Child {
        let mut command = self.command(&["run", "--name", job]);
        let child = command.args(args).stdin(Stdio::piped()).spawn().unwrap();
        self.wait_answering(job);
        child
    }

    pub fn wait_answering(&self, job: &str) {
        self.wait_for(&format!("job {job} to answer"), || {
            let jobs = self.json(&["ps", "--json"]);
            jobs.as_array().unwrap().iter().any(|j| j["job"] == job && j["answers"] == true)
        });
    }

    pub fn wait_for(&self, what: &str, mut done: impl FnMut() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn checkpoints(&self, job: &str) -> usize {
        let listed = self.dormouse(&["list", job, "--json"]);
        let found: serde_json::Value = serde_json::from_str(&listed.out).unwrap_or_default();
        found.as_array().map_or(0, Vec::len)
    }
}

impl Ended {
    pub fn of(o: Output) -> Ended {
        let text = |b| String::from_utf8_lossy(b).into_owned();
        Ended { code: o.status.code(), out: text(&o.stdout), err: text(&o.stderr) }
    }

    /// Of a child that was started.
    pub fn wait(child: Child) -> Ended {
        Ended::of(child.wait_with_output().unwrap())
    }

    /// One line that begins with `error: `.
    pub fn error(&self) -> &str {
        let line = self.err.trim_end();
        assert!(line.starts_with("error: ") && !line.contains('\n'), "{:?}", self.err);
        &line["error: ".len()..]
    }
}

/// The innermost function of the newest checkpoint.
pub fn stopped_in(p: &Place, job: &str) -> String {
    let report = p.json(&["inspect", job, "--json"]);
    let name = report["frames"][0]["name"].as_str().unwrap_or("nothing").to_owned();
    name.strip_prefix("wasi_snapshot_preview1.").map_or(name.clone(), str::to_owned)
}

/// Waits until the job `job` is blocked in this call, by taking checkpoints with which it goes on.
pub fn blocked_in(p: &Place, call: &str) {
    p.wait_for(&format!("it to be blocked in {call}"), || {
        p.ok(&["checkpoint", "job"]);
        stopped_in(p, "job") == call
    });
}

/// Stops the job `job` while it is blocked in this call; false if it came to its end before.
pub fn stop_in(p: &Place, call: &str) -> bool {
    let checkpoint = |args: &[&str]| {
        let asked = p.dormouse(&[&["checkpoint", "job"], args].concat());
        let over = ["is not running", "does not answer", "the program ended first"];
        assert!(
            asked.code == Some(0) || over.iter().any(|why| asked.err.contains(why)),
            "{}",
            asked.err
        );
        asked.code == Some(0)
    };
    while checkpoint(&[]) {
        if stopped_in(p, "job") == call {
            return checkpoint(&["--stop"]);
        }
    }
    false
}

pub fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

/// What a child has written so far, at least `n` bytes.
pub fn read(from: &mut impl Read, n: usize) -> String {
    let mut bytes = vec![0; n];
    from.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

pub fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Computes for a second or two, in a recursion 100 deep, and prints 8 letters that depend on
/// every step.
pub fn spin() -> String {
    spin_with("(i64.const 600000000)", "")
}

pub fn spin_with(steps: &str, before: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 32)
  (func $spin (param $n i64) (result i64) (local $x i64)
    (loop $l
      (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (local.get $n)))
      (br_if $l (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
    (local.get $x))
  (func $deep (param $d i32) (result i64)
    (if (result i64) (local.get $d)
      (then (i64.xor (call $deep (i32.sub (local.get $d) (i32.const 1))) (i64.extend_i32_u (local.get $d))))
      (else (call $spin {steps}))))
  (func (export "_start") (local $x i64) (local $i i32)
    {before}
    (local.set $x (call $deep (i32.const 100)))
    (loop $l
      (i32.store8 (i32.add (local.get $i) (i32.const 16))
        (i32.add (i32.const 97) (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 15))))
      (local.set $x (i64.shr_u (local.get $x) (i64.const 8)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
    (i32.store8 (i32.const 24) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 9))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

/// Fills a megabyte with what cannot be compressed, then spins. (The mask keeps the transform from seeing that the loop ends
/// soon: there is a safepoint at each word.)
pub fn bulky() -> String {
    let fill = r#"
    (local.set $x (i64.const 88172645463325252))
    (loop $fill
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
      (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
      (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
      (i64.store offset=65536 (i32.and (local.get $i) (i32.const -8)) (local.get $x))
      (br_if $fill
        (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 1048576))))
    (local.set $i (i32.const 0))"#;
    spin_with("(i64.const 600000000)", fill)
}

/// Copies stdin to stdout, a byte at a time; then exits with status 9.
pub const COPY: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 1))
    (block $end
      (loop $l
        (br_if $end (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $end (i32.eqz (i32.load (i32.const 8))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br $l)))
    (call $exit (i32.const 9))))"#;

/// Sleeps for 1.5 seconds, then prints `awake`.
pub const SLEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "awake\n")
  (func (export "_start")
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.const 1500000000))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

/// Exits at once, with status 42.
pub const EXIT: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const 42))))"#;

/// Divides by zero, two calls deep.
pub const TRAP: &str = r#"(module
  (memory (export "memory") 1)
  (func $divide (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
  (func (export "_start") (drop (call $divide (i32.const 0)))))"#;

/// Holds a deleted file open while it fills 96 MiB, and at each byte it reads: closes it; writes 80 MiB anew; adds up all of
/// its memory and prints the sum. (Without a directory there is no such file.) Before each byte it prints `>`.
pub const HOLDS: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1700)
  (data (i32.const 128) "held")
  (data (i32.const 140) ">")
  (func $wait
    (i32.store (i32.const 0) (i32.const 140)) (i32.store (i32.const 4) (i32.const 1))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 144)) (i32.store (i32.const 4) (i32.const 1))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $fill (param $x i64) (param $at i32) (param $end i32)
    (loop $l
      (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (i64.const 1442695040888963407)))
      (i64.store (local.get $at) (local.get $x))
      (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64))) (local.get $end)))))
  (func (export "_start") (local $sum i64) (local $at i32)
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 4) (i32.const 1)
      (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 160)))
    (drop (call $unlink (i32.const 3) (i32.const 128) (i32.const 4)))
    (call $fill (i64.const 1) (i32.const 1048576) (i32.const 101711872))
    (call $wait)
    (if (i32.load (i32.const 160)) (then (drop (call $close (i32.load (i32.const 160))))))
    (call $fill (i64.const 2) (i32.const 1048576) (i32.const 84934656))
    (call $wait)
    (local.set $at (i32.const 1048576))
    (loop $l
      (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 1)) (i64.load (local.get $at))))
      (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64))) (i32.const 101711872))))
    (local.set $at (i32.const 200))
    (loop $l
      (i32.store8 (local.get $at) (i32.add (i32.const 97) (i32.and (i32.wrap_i64 (local.get $sum)) (i32.const 15))))
      (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
      (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 216))))
    (i32.store (i32.const 0) (i32.const 200)) (i32.store (i32.const 4) (i32.const 16))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
