//! A running job of the real binary, asked for checkpoints on its socket, and read line by line.

use super::guest::Shape;
use anyhow::{Context, Result, bail, ensure};
use dormouse::control::{Request, Response, ask};
use dormouse::stats::Record;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A store and a cache of its own.
pub struct Place {
    dir: tempfile::TempDir,
}

pub struct Job {
    child: Child,
    lines: Receiver<(Instant, String)>,
    name: String,
    store: PathBuf,
    stats: PathBuf,
    begun: Instant,
    last: Instant,
}

impl Place {
    pub fn new() -> Result<Place> {
        Ok(Place { dir: tempfile::tempdir()? })
    }

    fn command(&self, command: &str) -> Result<Command> {
        let binary = std::env::current_exe()?.with_file_name("dormouse");
        ensure!(binary.exists(), "no {}; run `cargo build --release` first", binary.display());
        let mut c = Command::new(binary);
        c.arg(command).arg("--store").arg(self.dir.path().join("store"));
        c.arg("--cache").arg(self.dir.path().join("cache"));
        c.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(c)
    }

    /// Bytes of all blobs.
    pub fn stored(&self) -> Result<u64> {
        let blobs = std::fs::read_dir(self.dir.path().join("store/blobs/sha256"))?;
        blobs.map(|blob| Ok(blob?.metadata()?.len())).sum()
    }
}

impl Job {
    pub fn start(place: &Place, name: &str, shape: Shape, args: &[&str]) -> Result<Job> {
        let module = place.dir.path().join("guest.wasm");
        std::fs::write(&module, shape.module()?)?;
        let stats = place.dir.path().join("stats.jsonl");
        let mut command = place.command("run")?;
        command.args(["--name", name]).arg("--stats").arg(&stats).args(args).arg(module);
        Job::of(place, name, command, stats)
    }

    pub fn resume(place: &Place, name: &str, args: &[&str]) -> Result<Job> {
        let mut command = place.command("resume")?;
        command.args(args).arg(name);
        Job::of(place, name, command, PathBuf::new())
    }

    fn of(place: &Place, name: &str, mut command: Command, stats: PathBuf) -> Result<Job> {
        let begun = Instant::now();
        let mut child = command.spawn()?;
        let out = child.stdout.take().context("no standard output")?;
        let (send, lines) = channel();
        let read = |out: ChildStdout| BufReader::new(out).lines().map_while(std::io::Result::ok);
        std::thread::spawn(move || {
            read(out).try_for_each(|line| send.send((Instant::now(), line)))
        });
        let store = place.dir.path().join("store");
        Ok(Job { child, lines, name: name.to_owned(), store, stats, begun, last: begun })
    }

    fn line(&self) -> Result<(Instant, char, u64)> {
        let (at, line) = self.lines.recv().context("the program ended")?;
        let mut letters = line.chars();
        let what = letters.next().context("an empty line")?;
        Ok((at, what, letters.as_str().parse()?))
    }

    /// Its heap is filled.
    pub fn ready(&mut self) -> Result<()> {
        while self.line()?.1 != 'r' {}
        Ok(())
    }

    /// What it gets done until the next window ends.
    pub fn window(&mut self) -> Result<u64> {
        loop {
            match self.line()? {
                (_, 'w', units) => return Ok(units),
                (_, 'd', _) => bail!("the program ended"),
                _ => {}
            }
        }
    }

    pub fn checkpoint(&mut self) -> Result<()> {
        self.last = Instant::now();
        match ask(&self.store, &self.name, Request::Checkpoint { stop: false })? {
            Response::Checkpoint { .. } => Ok(()),
            other => bail!("{other:?}"),
        }
    }

    /// Waits until so much has passed since the last checkpoint was ordered.
    pub fn rest(&mut self, time: Duration) -> Result<()> {
        std::thread::sleep((self.last + time).saturating_duration_since(Instant::now()));
        Ok(())
    }

    /// One, and then what is left of the time.
    pub fn checkpoint_every(&mut self, time: Duration) -> Result<()> {
        self.checkpoint()?;
        // The window ends a little later than the last of them.
        self.rest(time.mul_f64(0.98))
    }

    pub fn records(&self) -> Result<Vec<Record>> {
        let text = std::fs::read_to_string(&self.stats)?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// When it was awake, and when it was as fast as ever, from its start.
    pub fn awake(&mut self, full_speed: f64) -> Result<(Duration, Duration)> {
        let awake = loop {
            if let (at, 'a', _) = self.line()? {
                break at;
            }
        };
        // Two windows in a row, so that it is not by chance.
        let mut fast = 0;
        let at = loop {
            if let (at, 'w', units) = self.line()? {
                fast = if units as f64 >= full_speed * 0.9 { fast + 1 } else { 0 };
                if fast == 2 {
                    break at;
                }
            }
        };
        Ok((awake - self.begun, at - self.begun))
    }

    /// Stopped with a checkpoint.
    pub fn stop(mut self) -> Result<()> {
        ask(&self.store, &self.name, Request::Checkpoint { stop: true })?;
        self.child.wait()?;
        Ok(())
    }

    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Seconds from when its heap was filled to its end, and its checkpoints.
    pub fn run_to_end(mut self) -> Result<(f64, Vec<Record>)> {
        let (mut ready, mut done) = (None, None);
        while let Ok((at, what, _)) = self.line() {
            match what {
                'r' => ready = Some(at),
                'd' => done = Some(at),
                _ => {}
            }
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "{status}");
        let (Some(ready), Some(done)) = (ready, done) else {
            bail!("it did not say that it was done")
        };
        let records = self.records().unwrap_or_default();
        Ok(((done - ready).as_secs_f64(), records))
    }
}

/// How many units the usual program gets done in so much time here.
pub fn units_in(time: Duration) -> Result<u64> {
    let place = Place::new()?;
    let shape = Shape { heap: 64 << 20, ..super::USUAL };
    let mut job = Job::start(&place, "units", shape, &[])?;
    job.ready()?;
    job.window()?;
    let units = job.window()?;
    job.kill()?;
    Ok(units * time.as_secs())
}
