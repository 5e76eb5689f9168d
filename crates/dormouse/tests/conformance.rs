//! WASI preview 1, call by call: the programs of guests/wasi leave what they leave under stock wasmtime, also when they
//! are stopped and resumed at every safepoint.
//!
//! `cargo xtask guests` builds the programs and writes down, for each check, what stock wasmtime prints to standard
//! output and error, exits with, and leaves in its directories. Here the same is done with the real binary. Where we
//! mean to differ, [`DIFFERENCES`] says why, and what ours is.
#![allow(missing_docs)]
#![cfg_attr(debug_assertions, allow(dead_code))]

mod harness;
#[path = "../../../xtask/src/place.rs"]
mod place;

use harness::{Place, root};
use place::{Check, Left};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A check that does not end as under stock wasmtime.
struct Difference {
    check: &'static str,
    why: &'static str,
    /// Whether what stock wasmtime does is not the same each time.
    unsteady: bool,
    /// What ours prints; all else is as under stock wasmtime.
    stdout: &'static str,
}

const DIFFERENCES: [Difference; 5] = [
    Difference {
        check: "fd_filestat_set_times.directories",
        why: "stock wasmtime opens preopened directories only as paths (O_PATH), so that futimens is EBADF for them, and \
              for no other directory; nothing in preview 1 says so",
        unsteady: false,
        stdout: "directory: success\natime: 8\nmtime: 9\npreopen: success\natime: 10\nmtime: 11\n",
    },
    Difference {
        check: "fd_read.nothing_to_fill_from_stdin",
        why: "stock wasmtime takes a read of nothing from standard input for an interrupted one; a C library would try \
              again for ever. To read nothing succeeds, as from a file",
        unsteady: false,
        stdout: "no buffers: success\nbytes: 0\nan empty buffer: success\nbytes: 0\nthen some: success\nit: first\n",
    },
    Difference {
        check: "poll_oneoff.file_with_a_clock",
        why: "stock wasmtime polls its files on other threads and reports those that have answered by then; all that are \
              ready are reported here",
        unsteady: true,
        stdout: "poll: success\nevents: 1\nevent 100 type 1 bytes 1 flags 0 error: success\n\
                 poll: success\nevents: 1\nevent 101 type 1 bytes 1 flags 0 error: success\n\
                 poll: success\nevents: 3\n\
                 event 100 type 1 bytes 1 flags 0 error: success\n\
                 event 101 type 0 bytes 0 flags 0 error: success\n\
                 event 102 type 2 bytes 1 flags 0 error: success\n",
    },
    Difference {
        check: "poll_oneoff.many",
        why: "the same",
        unsteady: true,
        stdout: "poll: success\nevents: 64\nlast: 163\n",
    },
    Difference {
        check: "fd_readdir.changed_while_reading",
        why: "stock wasmtime lists the directory anew at each call, in the order of the file system, so cookies move; here \
              a listing that was begun stays as it was, also over a checkpoint",
        unsteady: true,
        stdout: "go on: success\nletters: 1023\nused: 250\n",
    },
];

fn checks() -> Vec<Check> {
    let path = root().join("target/guests/conformance.json");
    let text = fs::read(&path)
        .unwrap_or_else(|e| panic!("no {}: {e}; run `cargo xtask guests` first", path.display()));
    serde_json::from_slice(&text).unwrap()
}

impl Check {
    fn name(&self) -> String {
        format!("{}.{}", self.program, self.check)
    }

    /// What it has to leave, and whether stock wasmtime says so.
    fn expected(&self) -> (Left, bool) {
        let mut expected = self.expected.clone().unwrap_or_else(|| {
            panic!("{}: nobody asked stock wasmtime; run `cargo xtask guests`", self.name())
        });
        let Some(difference) = DIFFERENCES.iter().find(|d| d.check == self.name()) else {
            return (expected, true);
        };
        if !difference.unsteady {
            let why = difference.why;
            assert_ne!(
                expected.stdout,
                difference.stdout,
                "{} is as in stock wasmtime now: {why}",
                self.name()
            );
        }
        expected.stdout = difference.stdout.to_owned();
        (expected, false)
    }

    fn run(&self, options: &[&str]) -> (Left, String) {
        let desk = Place::new();
        let at = desk.path("place");
        fs::create_dir(&at).unwrap();
        place::make(&at).unwrap();
        fs::write(desk.path("stdin"), &self.stdin).unwrap();
        let mut command = desk.command(&["run"]);
        command.env("DORMOUSE_CACHE", root().join("target/test-cache")).args(options);
        for (host, guest) in place::DIRS {
            command.arg("--dir").arg(format!("{}::{guest}", at.join(host).display()));
        }
        for env in &self.env {
            command.args(["--env", env]);
        }
        command.arg("--").arg(root().join(&self.wasm)).arg(&self.check).args(&self.args);
        let ended = command.stdin(File::open(desk.path("stdin")).unwrap()).output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        // What the program wrote; the rest is ours.
        let ours = ["error: ", "dormouse: "].iter().filter_map(|o| errors.find(o)).min();
        let left = Left {
            exit: ended.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&ended.stdout).into_owned(),
            stderr: errors[..ours.unwrap_or(errors.len())].to_owned(),
            files: place::left(&at).unwrap(),
        };
        (left, errors)
    }

    /// What is wrong with a run, if anything is.
    fn wrong(&self, options: &[&str]) -> Option<String> {
        // Rust's library goes through so many loops that a stop at each would take minutes.
        let options = match options {
            ["--chaos", "1"] if self.program.starts_with("rust_") => &["--chaos", "7"],
            _ => options,
        };
        let (expected, stock) = self.expected();
        let (left, errors) = self.run(options);
        if left == expected {
            return None;
        }
        let by = if stock { "stock wasmtime" } else { "DIFFERENCES" };
        let mut text = format!("{} {}: not as {by} has it\n", self.name(), options.join(" "));
        for (what, is, was) in [
            ("exit", left.exit.to_string(), expected.exit.to_string()),
            ("stdout", left.stdout, expected.stdout),
            ("stderr", left.stderr, expected.stderr),
            ("files", format!("{:#?}", left.files), format!("{:#?}", expected.files)),
        ] {
            if is != was {
                text += &format!("  {what}:\n{is}\n  instead of:\n{was}\n");
            }
        }
        Some(text + &errors)
    }
}

/// Every check in one way, on two threads.
fn all(options: &[&str]) {
    let checks = checks();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while let Some(check) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(what) = check.wrong(options) {
                        wrong.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    println!("{} checks, {} wrong", checks.len(), wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {} are wrong\n{}",
        wrong.len(),
        checks.len(),
        wrong.join("\n")
    );
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unless built with --release")]
fn plain() {
    all(&[]);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unless built with --release")]
fn stopped_at_every_safepoint() {
    all(&["--chaos", "1"]);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unless built with --release")]
fn stopped_at_random_safepoints() {
    all(&["--chaos", "9", "--seed", "20260910"]);
}

/// Each call has a program of its name, which calls it, and checks more than one thing about it.
#[test]
#[cfg_attr(debug_assertions, ignore = "needs the guests")]
fn every_call_is_checked() {
    let checks = checks();
    for call in dormouse_wasi::CALLS {
        let of: Vec<&Check> = checks.iter().filter(|c| c.program == call.name).collect();
        assert!(!of.is_empty(), "guests/wasi/{}.c is missing: nothing checks this call", call.name);
        let wasm = fs::read(root().join(&of[0].wasm)).unwrap();
        let mut imported = false;
        for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
            if let wasmparser::Payload::ImportSection(imports) = payload.unwrap() {
                let mut imports = imports.into_imports();
                imported |= imports.any(|import| import.unwrap().name == call.name);
            }
        }
        assert!(imported, "guests/wasi/{0}.c does not call {0}", call.name);
        // All but the two that take nothing or never come back can be given something wrong.
        let bad = of.iter().filter(|c| c.expected.as_ref().is_some_and(|e| e.exit == 1)).count();
        let fd_only =
            call.params.len() == 1 || call.name == "fd_allocate" || call.name == "fd_renumber";
        let size_only = call.name == "fd_filestat_set_size";
        assert!(
            bad > 0 || call.params.is_empty() || fd_only || size_only,
            "{}: no check of a bad address or number",
            call.name
        );
    }
}

/// A difference that no check has any more is not known to be one.
#[test]
#[cfg_attr(debug_assertions, ignore = "needs the guests")]
fn every_difference_is_checked() {
    let names: BTreeSet<String> = checks().iter().map(Check::name).collect();
    for difference in &DIFFERENCES {
        assert!(names.contains(difference.check), "there is no check {}", difference.check);
    }
}
