//! `demo`: a computation is killed, and arrives at its result all the same.
//!
//! ```text
//!   plain/     run ──────────────────────────────────────────────> checksum, progress.txt
//!   asleep/    run --every 400ms ──── SIGKILL        resume ─────> the same
//!                     └─> checkpoints ─────────────────┘
//! ```
//!
//! Every run is a process of its own, started from this program's file.

use super::Done;
use crate::cli;
use crate::ui;
use dormouse::{Error, exit};
use dormouse_store::Store;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = include_str!("../demo.wat");
const JOB: &str = "demo";
const EVERY: &str = "400ms";
/// Checkpoints to wait for before the kill.
const ENOUGH: usize = 3;
/// The computation takes some seconds; on a machine where it takes this long something is wrong.
const PATIENCE: Duration = Duration::from_secs(300);

pub fn demo(args: cli::Demo) -> Done {
    let dir = tempfile::Builder::new().prefix("dormouse-demo-").tempdir();
    let dir = dir.map_err(io_error("make a directory in", &std::env::temp_dir()))?;
    let result = Demo::new(dir.path())?.play();
    if args.keep {
        say(&format!("   kept: {}", dir.keep().display()));
    }
    result
}

struct Demo {
    dir: PathBuf,
    dormouse: PathBuf,
    module: PathBuf,
}

impl Demo {
    fn new(dir: &Path) -> dormouse::Result<Demo> {
        let dormouse = std::env::current_exe().map_err(io_error("find", Path::new("dormouse")))?;
        let module = dir.join("demo.wat");
        std::fs::write(&module, PROGRAM).map_err(io_error("write", &module))?;
        for sub in ["plain", "asleep"] {
            let sub = dir.join(sub);
            std::fs::create_dir(&sub).map_err(io_error("create", &sub))?;
        }
        Ok(Demo { dir: dir.to_owned(), dormouse, module })
    }

    fn play(&self) -> Done {
        say(
            "1. A program: 24 rounds of search (12 queens) and floating point, each 2,000 calls deep;",
        );
        say("   it writes every round's result into a file, and a checksum of all at the end.");

        let started = Instant::now();
        let plain = self.run("plain", &["--name", "plain"]).output().map_err(self.io())?;
        let expected = self.result("plain", plain)?;
        let took = started.elapsed();
        say(&format!(
            "2. Run without interruption: {:.1} s, checksum {}",
            took.as_secs_f64(),
            expected.checksum
        ));

        let mut command = self.run("asleep", &["--name", JOB, "--every", EVERY]);
        let mut child = command.stderr(Stdio::null()).spawn().map_err(self.io())?;
        let pid = child.id();
        say(&format!(
            "3. Run again as job \"{JOB}\" (process {pid}), with a checkpoint every {EVERY}."
        ));
        let saved = self.wait_for_checkpoints(&mut child);
        // SIGKILL: the program gets no chance to say anything.
        let killed = child.kill().and_then(|()| child.wait());
        let saved = saved?;
        killed.map_err(self.io())?;
        let rounds = self.progress("asleep")?.lines().count();
        say(&format!("4. Killed with SIGKILL after {saved} checkpoints, in round {}.", rounds + 1));

        let checkpoint = self.store()?.load(JOB, None)?;
        say(&format!(
            "5. What is left: {}, {} bytes in the store, {} frames deep in the computation.",
            checkpoint.info.name(),
            checkpoint.info.size(),
            checkpoint.state.frames.len()
        ));
        drop(checkpoint);

        let started = Instant::now();
        let resumed = self.command(&["resume", JOB, "--every", "never"]);
        let resumed = { resumed }.output().map_err(self.io())?;
        let found = self.result("asleep", resumed)?;
        let took = started.elapsed();
        say(&format!(
            "6. Resumed in a new process: {:.1} s more, checksum {}",
            took.as_secs_f64(),
            found.checksum
        ));

        let same = found == expected;
        if same {
            say(
                "7. The same checksum, and the same file byte for byte: nothing was lost or done twice.",
            );
        } else {
            say("7. NOT the same: this is a bug of dormouse's, please report it (with --keep).");
        }
        Ok(if same { 0 } else { exit::FOUND })
    }

    fn run(&self, out: &str, options: &[&str]) -> Command {
        let mut command = self.command(&["run", "--dir"]);
        command.arg(format!("{}::out", self.dir.join(out).display())).args(options);
        command.arg(&self.module);
        command
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.dormouse);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // It is the same for all, whatever is set here.
        let own = std::env::vars_os().map(|(name, _)| name);
        for name in own.filter(|name| name.as_encoded_bytes().starts_with(b"DORMOUSE_")) {
            command.env_remove(name);
        }
        command.env("DORMOUSE_NO_CONFIG", "1");
        command.env("DORMOUSE_STORE", self.dir.join("store"));
        command.env("DORMOUSE_CACHE", self.dir.join("cache"));
        command
    }

    fn store(&self) -> dormouse::Result<Store> {
        Ok(Store::open(&self.dir.join("store"))?)
    }

    fn wait_for_checkpoints(&self, child: &mut Child) -> dormouse::Result<usize> {
        let started = Instant::now();
        loop {
            let saved = self.store()?.list(JOB)?.len();
            if saved >= ENOUGH {
                return Ok(saved);
            }
            let ended = child.try_wait().map_err(self.io())?.is_some();
            if ended || started.elapsed() > PATIENCE {
                return Err(self.failed(format!(
                    "it ended after {saved} checkpoints, too early to be killed"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn result(&self, out: &str, output: Output) -> dormouse::Result<Outcome> {
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(self.failed(format!("{}: {}", output.status, dormouse::one_line(&why))));
        }
        let checksum = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Outcome { checksum, progress: self.progress(out)? })
    }

    fn progress(&self, out: &str) -> dormouse::Result<String> {
        let path = self.dir.join(out).join("progress.txt");
        std::fs::read_to_string(&path).map_err(io_error("read", &path))
    }

    fn io(&self) -> impl FnOnce(io::Error) -> Error {
        io_error("run", &self.dormouse)
    }

    fn failed(&self, why: String) -> Error {
        self.io()(io::Error::other(why))
    }
}

#[derive(PartialEq)]
struct Outcome {
    checksum: String,
    progress: String,
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}

fn say(line: &str) {
    ui::print(&format!("{line}\n"));
}
