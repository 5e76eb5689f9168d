//! One program, run in each way; what it leaves must always be what the stock wasmtime's run left.

use super::{Place, fetch, guests, list::Program};
use crate::oracle::{self, WORK};
use crate::setup::{sha256, sha256_file};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What one run leaves.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Left {
    /// Exit status; none if a signal ended it.
    exit: Option<i32>,
    /// SHA-256 of standard output.
    stdout: String,
    /// SHA-256 of each file that belongs to the result.
    files: BTreeMap<String, String>,
}

impl Left {
    /// The SHA-256 of `exit 0`, `stdout SHA`, `file NAME SHA`, ..., each in its line.
    pub fn digest(&self) -> String {
        let mut text = format!("exit {}\nstdout {}\n", self.exit.unwrap_or(-1), self.stdout);
        for (name, digest) in &self.files {
            text += &format!("file {name} {digest}\n");
        }
        sha256(text.as_bytes())
    }
}

/// What was found out about a program: a row of the table.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Outcome {
    /// Of the .wasm file.
    pub size: u64,
    /// Of the .wasm file.
    pub sha256: String,
    /// WebAssembly beyond version 1, found by `dormouse check`.
    pub features: Vec<String>,
    /// Functions, and places where it can be stopped.
    pub functions: u64,
    /// Places where it can be stopped.
    pub safepoints: u64,
    /// Why `dormouse check` says that it cannot be run.
    pub problems: Vec<String>,
    /// Processor seconds of `dormouse run` with its code in the cache.
    pub plain: Option<f64>,
    /// Processor seconds that the first run took more: transform and compilation.
    pub compile: Option<f64>,
    /// How long the plain run took by the clock.
    wall: Duration,
    /// Captures under chaos.
    pub captures: u64,
    /// Most frames in one of them.
    pub deepest: u64,
    /// How often it was killed and resumed.
    pub kills: u32,
    /// Refused, as the list says it is.
    pub refused: bool,
    /// What is not as it should be.
    pub wrong: Vec<String>,
    /// Everything together.
    pub seconds: f64,
}

impl Outcome {
    /// Nothing is wrong.
    pub fn good(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Much longer than any of them takes; then it is ended.
const PATIENCE: Duration = Duration::from_secs(900);
/// What the stock command gets, and what `dormouse run` gives by default.
const STACK: u64 = 64 << 20;
/// Kills of one run, at most.
const KILLS: u32 = 2;

/// `dormouse check`: what the module uses, and whether it can be run.
pub fn check(place: &Place, wasm: &Path, outcome: &mut Outcome) -> Result<()> {
    #[derive(Deserialize)]
    struct Report {
        features: Vec<String>,
        functions: u64,
        safepoints: u64,
        problems: Vec<String>,
    }
    let output = Command::new(&place.dormouse).args(["check", "--json"]).arg(wasm).output()?;
    let report: Report = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("dormouse check said: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    outcome.features = report.features;
    outcome.functions = report.functions;
    outcome.safepoints = report.safepoints;
    outcome.problems = report.problems;
    Ok(())
}

/// What the stock wasmtime's run leaves; asked once.
pub fn stock(
    place: &Place,
    program: &Program,
    wasm: &Path,
    wasm_sha256: &str,
    anew: bool,
) -> Result<Left> {
    let mut key = format!("v1 {} {:?}", wasm_sha256, program);
    for input in program.inputs.iter().chain(&program.stdin) {
        key += &sha256_file(&input_file(place, program, input)?)?;
    }
    let key = &sha256(key.as_bytes())[..16];
    let kept = place.path(&format!("oracle/{}-{key}.json", program.name));
    let results = place.path(&format!("runs/{}/stock", program.name));
    if !anew
        && results.exists() // may be another program's input
        && let Ok(text) = fs::read(&kept)
        && let Ok(left) = serde_json::from_slice(&text)
    {
        return Ok(left);
    }
    let desk = Desk::new(place, program, wasm)?;
    let mut command = oracle::command(&desk.work(), Some(STACK))?;
    command.args(desk.options()?).arg(wasm).args(&program.args);
    let run = desk.run(command)?;
    let left = run.left(&desk)?;
    if left.exit != Some(program.exit) {
        desk.keep("stock")?;
        bail!(
            "the stock wasmtime ended it with {:?}, not {}; {}",
            left.exit,
            program.exit,
            last_words(&run.errors)
        );
    }
    desk.keep("stock")?;
    fs::write(&kept, serde_json::to_vec_pretty(&left)?)?;
    Ok(left)
}

/// `dormouse run`, twice: the first one may have to compile.
pub fn plain(
    place: &Place,
    program: &Program,
    wasm: &Path,
    expected: &Left,
    outcome: &mut Outcome,
) -> Result<()> {
    let mut first = None;
    for _ in 0..2 {
        let desk = Desk::new(place, program, wasm)?;
        let run = desk.run(desk.dormouse(&[])?)?;
        desk.compare("plain", &run, expected)?;
        outcome.plain = Some(run.processor);
        outcome.wall = run.wall;
        outcome.compile = Some((*first.get_or_insert(run.processor) - run.processor).max(0.0));
    }
    Ok(())
}

/// `dormouse run --chaos`: captured again and again, each time going on in a fresh instance.
pub fn chaos(
    place: &Place,
    program: &Program,
    wasm: &Path,
    expected: &Left,
    outcome: &mut Outcome,
) -> Result<()> {
    let desk = Desk::new(place, program, wasm)?;
    let (gap, seed) = (program.gap.to_string(), program.seed.to_string());
    let run = desk.run(desk.dormouse(&["--chaos", &gap, "--seed", &seed])?)?;
    desk.compare("chaos", &run, expected)?;
    // "dormouse: chaos: 71 captures, 0 passed over, deepest 12 frames, 40 continuations compiled"
    let line = run.errors.lines().find_map(|l| l.strip_prefix("dormouse: chaos: "));
    let mut words = line.context("chaos did not say what it did")?.split([' ', ',']);
    let mut after = |word: Option<&str>| {
        if let Some(word) = word {
            words.find(|w| *w == word)?;
        }
        words.find_map(|w| w.parse().ok())
    };
    outcome.captures = after(None).context("no number of captures")?;
    outcome.deepest = after(Some("deepest")).context("no depth")?;
    ensure!(
        outcome.captures >= 10,
        "only {} captures under chaos; make `gap` smaller",
        outcome.captures
    );
    Ok(())
}

/// `dormouse run --every`, SIGKILL some time after a checkpoint, `dormouse resume`.
pub fn killed(
    place: &Place,
    program: &Program,
    wasm: &Path,
    expected: &Left,
    outcome: &mut Outcome,
) -> Result<()> {
    // Short programs get checkpoints more often, so that there is one before they end.
    let plain = outcome.wall;
    let every = (plain / 20).clamp(Duration::from_millis(5), Duration::from_millis(200));
    let every = format!("{}ms", every.as_millis());
    let desk = Desk::new(place, program, wasm)?;
    let started = Instant::now();
    let mut job = desk.start(desk.dormouse(&["--name", "job", "--every", &every])?)?;
    let mut seen = 0;
    let status = loop {
        let saved = desk.checkpoints();
        if let Some(status) = job.try_wait()? {
            break status;
        }
        if outcome.kills < KILLS && saved > seen {
            // A little later than the checkpoint, so that something is lost and done again.
            sleep(plain / 20);
            if let Some(status) = job.try_wait()? {
                break status;
            }
            job.kill()?;
            job.wait()?;
            outcome.kills += 1;
            seen = desk.checkpoints();
            job = desk.start(desk.resume(&["--every", &every])?)?;
        }
        if started.elapsed() > PATIENCE {
            job.kill()?;
            desk.keep("killed")?;
            bail!("killed and resumed: not done after {} s", PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(2));
    };
    let run = desk.ended(status.code(), started, 0.0)?;
    desk.compare("killed", &run, expected)?;
    ensure!(
        outcome.kills > 0 || program.brief,
        "it ended before its first checkpoint; give it more to do"
    );
    Ok(())
}

/// A program that is refused must be so by these words.
pub fn refused(
    place: &Place,
    program: &Program,
    wasm: &Path,
    words: &str,
    outcome: &mut Outcome,
) -> Result<()> {
    let desk = Desk::new(place, program, wasm)?;
    let run = desk.run(desk.dormouse(&[])?)?;
    let message = run.errors.lines().last().unwrap_or_default().to_owned();
    if run.exit != Some(125) || !message.contains(words) {
        bail!("should be refused by the words `{words}`; exit {:?}, {message}", run.exit);
    }
    outcome.refused = true;
    Ok(())
}

/// A file of guests/, or with `NAME:FILE` what the stock wasmtime's run of another program left.
fn input_file(place: &Place, program: &Program, input: &str) -> Result<PathBuf> {
    let Some((name, file)) = input.split_once(':') else { return Ok(guests(input)) };
    if name == "built" {
        return Ok(fetch::built_beside(place, program).join(file));
    }
    let other = place.programs.iter().find(|p| p.name == name);
    let other = other.with_context(|| format!("{input}: the catalogue has no {name}"))?;
    let wasm = fetch::program(place, other)?;
    stock(place, other, &wasm, &sha256_file(&wasm)?, false)?;
    let path = place.path(&format!("runs/{name}/stock/work/{file}"));
    ensure!(path.exists(), "{input}: {name} does not leave {file}");
    Ok(path)
}

/// One run's directories: /work with the inputs, one for temporary files, a store, and files for the standard streams.
struct Desk<'a> {
    place: &'a Place,
    program: &'a Program,
    wasm: &'a Path,
    folder: TempDir,
}

/// A run that has ended.
struct Run {
    exit: Option<i32>,
    errors: String,
    /// Of processor time, its threads' together: that is what a busy machine leaves as it is.
    processor: f64,
    wall: Duration,
}

impl Run {
    fn left(&self, desk: &Desk<'_>) -> Result<Left> {
        let file = |name: &String| {
            let path = desk.work().join(name);
            let digest = if path.exists() { sha256_file(&path)? } else { "not there".to_owned() };
            Ok((name.clone(), digest))
        };
        Ok(Left {
            exit: self.exit,
            stdout: sha256_file(&desk.path("out"))?,
            files: desk.program.files.iter().map(file).collect::<Result<_>>()?,
        })
    }
}

impl Desk<'_> {
    fn new<'a>(place: &'a Place, program: &'a Program, wasm: &'a Path) -> Result<Desk<'a>> {
        let desk = Desk { place, program, wasm, folder: tempfile::tempdir_in(place.path("part"))? };
        fs::create_dir(desk.work())?;
        fs::create_dir(desk.path("scratch"))?;
        for input in &program.inputs {
            let from = input_file(place, program, input)?;
            fs::copy(&from, desk.work().join(from.file_name().context("an input has no name")?))
                .with_context(|| from.display().to_string())?;
        }
        Ok(desk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// `--dir` and `--env`, which both commands have.
    fn options(&self) -> Result<Vec<String>> {
        let mut options = vec![];
        for dir in &self.program.dirs {
            let (from, to) = dir.split_once("::").context("write PATH::GUEST in `dirs`")?;
            let from = match from.strip_prefix("guests/") {
                Some(ours) => guests(ours),
                None if from == "scratch" => self.path("scratch"),
                None => fetch::package(&self.program.package)?.join(from),
            };
            options.extend(["--dir".to_owned(), format!("{}::{to}", from.display())]);
        }
        for variable in &self.program.env {
            options.extend(["--env".to_owned(), variable.clone()]);
        }
        Ok(options)
    }

    /// `dormouse run` with options, not started yet.
    fn dormouse(&self, options: &[&str]) -> Result<Command> {
        let mut command = self.command("run");
        command.arg("--dir").arg(format!("{}::{WORK}", self.work().display()));
        command.args(self.options()?).args(options).arg("--").arg(self.wasm);
        command.args(&self.program.args);
        Ok(command)
    }

    /// `dormouse resume`, not started yet.
    fn resume(&self, options: &[&str]) -> Result<Command> {
        let mut command = self.command("resume");
        command.args(options).arg("job");
        Ok(command)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.place.dormouse);
        command
            .arg(what)
            .env("DORMOUSE_STORE", self.path("store"))
            .env("DORMOUSE_CACHE", self.place.path("cache"))
            .env_remove("RUST_BACKTRACE");
        command
    }

    /// How many checkpoints are durable.
    fn checkpoints(&self) -> usize {
        // The store adds one manifest for each to the list in index.json: the name stands in it once.
        let index = fs::read_to_string(self.path("store/index.json")).unwrap_or_default();
        index.matches("\"digest\"").count()
    }

    /// Streams go to files: those of standard output survive a kill, and are cut back at the resume.
    fn start(&self, mut command: Command) -> Result<Child> {
        let append =
            |name| File::options().create(true).append(true).open(self.path(name)).context("part");
        let stdin = match &self.program.stdin {
            Some(file) => Stdio::from(
                File::open(input_file(self.place, self.program, file)?).context("stdin")?,
            ),
            None => Stdio::null(),
        };
        command.stdin(stdin).stdout(append("out")?).stderr(append("err")?);
        command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))
    }

    /// From its start to its end.
    fn run(&self, command: Command) -> Result<Run> {
        let (started, before) = (Instant::now(), processor_of_children()?);
        let mut child = self.start(command)?;
        loop {
            if let Some(status) = child.try_wait()? {
                return self.ended(status.code(), started, before);
            }
            if started.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("{}: not done after {} s", self.program.name, PATIENCE.as_secs());
            }
            sleep(Duration::from_millis(2));
        }
    }

    fn ended(&self, exit: Option<i32>, started: Instant, before: f64) -> Result<Run> {
        let wall = started.elapsed();
        let processor = processor_of_children()? - before;
        let errors = fs::read(self.path("err"))?;
        let errors = String::from_utf8_lossy(&errors).into_owned();
        Ok(Run { exit, errors, processor, wall })
    }

    /// The result must be the expected one; if not, it is kept for a look.
    fn compare(&self, way: &str, run: &Run, expected: &Left) -> Result<()> {
        let left = run.left(self)?;
        if left == *expected {
            return Ok(());
        }
        let kept = self.keep(way)?;
        let mut differ = vec![];
        if left.exit != expected.exit {
            differ.push(format!("exit status {:?}, not {:?}", left.exit, expected.exit));
        }
        if left.stdout != expected.stdout {
            differ.push("standard output differs".to_owned());
        }
        for (name, digest) in &expected.files {
            if left.files.get(name) != Some(digest) {
                differ.push(format!("{name} differs"));
            }
        }
        bail!("{way}: {}; {}; see {}", differ.join(", "), last_words(&run.errors), kept.display())
    }

    /// Puts what a run left into target/catalogue/runs/NAME/WAY.
    fn keep(&self, way: &str) -> Result<PathBuf> {
        let to = self.place.path(&format!("runs/{}/{way}", self.program.name));
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(to.join("work"))?;
        for stream in ["out", "err"] {
            fs::copy(self.path(stream), to.join(stream))?;
        }
        for name in &self.program.files {
            let from = self.work().join(name);
            let path = to.join("work").join(name);
            if from.is_file() {
                fs::create_dir_all(path.parent().expect("in a folder"))?;
                fs::copy(from, path)?;
            }
        }
        Ok(to)
    }
}

/// Processor seconds of all children that have been waited for: `cutime` and `cstime` of proc(5), in 1/100 s.
fn processor_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").context("/proc/self/stat")?.1;
    let ticks = fields.split(' ').skip(13).take(2).map(|t| t.parse::<f64>());
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// The end of what it said on standard error, in one line.
fn last_words(errors: &str) -> String {
    let lines: Vec<&str> = errors.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    match lines.as_slice() {
        [] => "it said nothing".to_owned(),
        lines => format!("it said: {}", lines[lines.len().saturating_sub(4)..].join(" | ")),
    }
}
