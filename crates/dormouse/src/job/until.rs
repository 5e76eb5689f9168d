//! Running a program again from a checkpoint, and stopping it somewhere: see `travel`.
//!
//! ```text
//!   trap          from sim@4: safepoints are counted until it traps: 1207
//!                 from sim@4: stopped at the 1207th, saved; and on: it must trap before the next
//!   safepoint=K   from sim@4: stopped at the Kth, saved
//!   a function    from sim@4, else from sim@3, ..: stopped where it is entered, saved
//! ```
//!
//! Safepoints are counted in code that has one in every loop and at every entry of a function, so that the one before a trap is
//! near. A function is looked for in code that stops nowhere else, and is as fast as any.

use super::{Job, undo_log};
use crate::carrying::carried;
use crate::lease::Lease;
use crate::outcome::{Notice, Outcome};
use crate::travel::{self, Ending, Given, Scene, Stop, Unfinished, Until, Where, origin};
use crate::upkeep::Standing;
use crate::writer::Writer;
use crate::{Error, Files, Result, Target, annotations, running};
use dormouse_engine::{Code, Entries, Event, Machine, Options, Run};
use dormouse_memory::PAGE_SIZE;
use dormouse_store::{
    Care, Checkpoint, CheckpointInfo, Guard, MemoryPages, NewCheckpoint, Retention, Store,
    StoreError,
};
use dormouse_transform::{Options as TransformOptions, Program};
use dormouse_wasi::{Mark, RestoreOptions, Stdio, StdioConfig, Tape, Wasi};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Safepoints that are counted at once: the word for it has 32 bits.
const AT_ONCE: u32 = 1 << 30;
/// How many stops of a job are kept.
const KEPT: u32 = 16;
/// How much longer than the first time it may take to come to the next checkpoint.
const SLOWER: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// How a program is run again.
pub(super) struct Again {
    /// Bytes of files that are copied.
    pub most: u64,
    pub output: bool,
    pub input: Option<PathBuf>,
    /// It is a step back.
    back: bool,
    unfinished: Unfinished,
}

impl Default for Again {
    fn default() -> Again {
        Again {
            most: 1 << 30,
            output: false,
            input: None,
            back: false,
            unfinished: Unfinished::default(),
        }
    }
}

/// What a run comes to: a stop, or what it did instead.
type Came = std::result::Result<Stop, String>;

impl Job {
    /// How many bytes of the program's directories [`Job::until`] copies; by default 1 GiB. If they have more, it refuses.
    pub fn max_copy(mut self, bytes: u64) -> Job {
        self.again.most = bytes;
        self
    }

    /// Whether what the program writes, when [`Job::until`] runs it to where it stops, goes to the standard error of this
    /// process; by default it vanishes.
    pub fn show_output(mut self, show: bool) -> Job {
        self.again.output = show;
        self
    }

    /// A file that [`Job::until`] gives the program as standard input, from where it was if it is the same file; by
    /// default there is nothing to read.
    pub fn input(mut self, file: impl Into<PathBuf>) -> Job {
        self.again.input = Some(file.into());
        self
    }

    /// Runs a program again from a checkpoint, beside the job, and stops it somewhere: all of its state there is a checkpoint of
    /// a job of stops, [`Job::name`], or by default `JOB.debug`. The job itself, its checkpoints and its files stay as they
    /// are: the program works on copies of its directories, but for those of [`Job::dir`].
    ///
    /// Without a number, `from` is the newest good checkpoint; if a function is looked for and not entered from there, the
    /// one before it, and so on.
    ///
    /// # Errors
    /// As [`Job::resume`]; [`Error::NotReached`] if the program did not come to that place.
    ///
    /// ```
    /// use dormouse::{Job, Outcome, Target, Until, store::Store};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let module = wat::parse_str(r#"(module (memory (export "memory") 1)
    ///     (func $divide (param $by i32) (result i32) (i32.div_u (i32.const 100) (local.get $by)))
    ///     (func (export "_start") (local $i i32)
    ///         (local.set $i (i32.const 1000))
    ///         (loop (drop (call $divide (local.get $i)))
    ///             (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br 0))))"#)?;
    /// let job = || Job::new(dir.path());
    /// job().name("sim").stop_at(10).run("sim.wasm", module.into(), vec![])?;
    ///
    /// let stop = job().until(&"sim@1".parse()?, &Until::Trap)?;
    /// assert_eq!(stop.checkpoint.name(), "sim.debug@1");
    /// assert!(matches!(stop.next, Some(Outcome::Trapped { .. })));
    /// let innermost = Store::open(dir.path())?.load("sim.debug", None)?.state.frames.pop().unwrap();
    /// assert_eq!((innermost.site.func, &innermost.locals[..]), (0, &[(0, dormouse_state::Value::I32(0))][..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn until(mut self, from: &Target, until: &Until) -> Result<Stop> {
        let store = self.sealing.unlock(Store::open(&self.store)?)?;
        self.again.back = matches!(until, Until::Safepoint(..=-1));
        let (from, until) = counted_back(&store, from, until)?;
        let known = store.list(&from.job)?;
        let Some(newest) = known.last() else {
            // Says whether there is no such job or it is damaged.
            store.load(&from.job, from.number)?;
            return Err(StoreError::NoJob { job: from.job }.into());
        };
        let program = newest.annotations.get(annotations::PROGRAM).unwrap_or(&from.job).clone();
        let name = self.name.take().unwrap_or_else(|| match travel::are_stops(&known) {
            true => from.job.clone(),
            false => format!("{}.debug", from.job),
        });
        let stops = store.list(&name).map_err(|e| match e {
            StoreError::BadJobName { name } if name.ends_with(".debug") => {
                Error::NoNameForStops { name }
            }
            e => e.into(),
        })?;
        if !stops.is_empty() && !travel::are_stops(&stops) {
            return Err(Error::NotOfStops { job: name });
        }
        let watch = || Ending::watch(self.again.unfinished.clone(), self.report.clone());
        let _ending = self.signals.then(watch).transpose()?;
        let lease = self.take_lease(&name, &program).map_err(|e| match e {
            Error::Running { job, .. } => Error::DebuggedTwice { job },
            e => e,
        })?;
        // Copies of runs that were killed.
        let _ = travel::sweep(&store, &name);
        let all = match (from.number, &until) {
            (None, Until::Function(_)) => known.iter().rev().map(|c| Some(c.number)).collect(),
            (number, _) => vec![number],
        };
        self.forget_what_a_job_does();
        let mut tried: Vec<(String, String)> = vec![];
        let mut newer: Option<u64> = None;
        for (n, &number) in all.iter().enumerate() {
            let target = Target { job: from.job.clone(), number };
            let checkpoint = match self.checkpoint(&store, &target) {
                Ok(checkpoint) => Arc::new(checkpoint),
                Err(damaged) if n + 1 < all.len() => {
                    self.tell(Notice::Warning(damaged.to_string()));
                    continue;
                }
                Err(e) => return Err(e),
            };
            let awake = Wasi::describe(&checkpoint.state.wasi)?.awake_ns;
            // What comes after the next checkpoint was looked at already.
            // But where the job went back in between, nobody has looked.
            let limit = newer
                .and_then(|newer| newer.checked_sub(awake))
                .map(|between| Duration::from_nanos(between) * SLOWER + PATIENCE);
            newer = Some(awake);
            self.tell(Notice::RunsAgain { checkpoint: checkpoint.info.clone(), back: false });
            let came = self.run_again(&lease, &program, &checkpoint, &until, limit);
            self.tell(Notice::ProgressEnds);
            match came? {
                Ok(stop) => {
                    let tried = tried.into_iter().map(|t| t.0).collect();
                    self.tidy(&store, &name);
                    return Ok(Stop { tried, ..stop });
                }
                Err(how) => tried.push((checkpoint.info.name(), how)),
            }
        }
        let is_earlier = |c: &CheckpointInfo| from.number.is_some_and(|n| c.number < n);
        Err(not_reached(&tried, &until, known.iter().any(is_earlier)))
    }

    /// What it remembers of the job that it is run from is not for stops.
    fn forget_what_a_job_does(&mut self) {
        self.lazy = false;
        self.tier_up = false;
        self.stop_at = None;
        self.change_retention = None;
    }

    fn run_again(
        &mut self,
        lease: &Lease,
        program: &str,
        checkpoint: &Arc<Checkpoint>,
        until: &Until,
        limit: Option<Duration>,
    ) -> Result<Came> {
        let (files, name) = (self.files, lease.keeper.job().to_owned());
        (self.pace, self.retention) = Default::default();
        // Copies are a stop's own, and do not travel.
        self.files = files.filter(|files| *files == Files::None);
        let store = self.sealing.unlock(Store::open(&self.store)?)?;
        self.tell(Notice::Loading);
        let (code, entry) = self.code_until(checkpoint, until)?;
        let writer = self.writer(store, lease, program, &code);
        self.files = files;
        let scene = self.scene(checkpoint, &name)?;
        for warning in &scene.warnings {
            self.tell(Notice::Warning(warning.clone()));
        }
        self.tell(Notice::RunsAgain { checkpoint: checkpoint.info.clone(), back: false });
        let replay = Replay { job: self, code: &code, checkpoint, writer: &writer, scene };
        let go = || match (until, entry) {
            (Until::Trap, _) => replay.until_trap(),
            (&Until::Safepoint(n), _) => replay.until_safepoint(n.max(0) as u64),
            (Until::Function(_), Some(entry)) => replay.until_entry(entry, limit),
            (Until::Function(text), None) => {
                Err(Error::NoFunction { text: text.clone(), like: vec![] })
            }
        };
        code.machine().on_stack(go)?
    }

    /// Code that can be stopped there; and, if that is a function, which, and how often it is to be entered.
    fn code_until(
        &self,
        checkpoint: &Checkpoint,
        until: &Until,
    ) -> Result<(Arc<Code>, Option<Entry>)> {
        let module: Arc<[u8]> = checkpoint.module.as_slice().into();
        let load = |options: Options| {
            let machine = Machine::new(options)?;
            machine.load_for(module.clone(), &self.host, &checkpoint.state)
        };
        let (loaded, entry) = match until {
            Until::Function(text) => {
                let program = Program::new(module.clone(), &TransformOptions::default());
                let program = program.map_err(dormouse_engine::Error::from)?;
                let (func, name, times) = travel::find(&program, text)?;
                let entries = Entries { watched: [func].into(), ..Entries::default() };
                (load(Options { entries, ..self.options() }), Some(Entry { func, name, times }))
            }
            _ => {
                let counted = Options { counted: true, ..self.options() };
                let entries = Entries { all: true, ..Entries::default() };
                let fine = load(Options { every_loop: true, entries, ..counted.clone() });
                // A module that is too large with so many may do with fewer.
                (fine.or_else(|e| load(counted).map_err(|_| e)), None)
            }
        };
        match loaded {
            Ok(code) => Ok((Arc::new(code), entry)),
            Err(dormouse_engine::Error::Imports { names }) => {
                Err(Error::NeedsHost { checkpoint: checkpoint.info.name(), names })
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Copies of the program's directories.
    fn scene(&self, checkpoint: &Checkpoint, name: &str) -> Result<Scene> {
        let info = &checkpoint.info;
        let preopens = Wasi::describe(&checkpoint.state.wasi)?.preopens;
        let is_given = |guest: &str| self.dirs.iter().any(|(_, given)| given == guest);
        // A stranger is not to say what is copied.
        let recorded_dirs = self.recorded_dirs && !info.pulled;
        let copied = recorded_dirs && preopens.iter().any(|p| !is_given(&p.guest));
        if copied && info.job != name && running::is_running(&self.store, &info.job) {
            return Err(Error::FilesInUse { job: info.job.clone() });
        }
        let log = undo_log(&self.store, &info.job);
        let mark = info.annotations.get(annotations::MARK);
        let mark = mark.and_then(|mark| Mark::from_str_radix(mark, 16).ok());
        Scene::make(&Given {
            store: &self.store,
            name,
            checkpoint,
            dirs: &self.dirs,
            recorded_dirs,
            undo: mark.filter(|_| self.undoes()).map(|mark| (log.as_path(), mark)),
            most: self.again.most,
            carried: self.files == Some(Files::Copy) && checkpoint.files().is_some(),
            unfinished: self.again.unfinished.clone(),
        })
    }

    /// Removes the oldest stops, and copies that no stop has.
    fn tidy(&self, store: &Store, name: &str) {
        let rules = Retention { last: Some(KEPT), ..Retention::default() };
        let care = Care::Brief(Duration::from_secs(2));
        // The next one does it.
        let _ = store.retain(&[name.to_owned()], &rules, care);
        let _ = travel::sweep(store, name);
    }
}

/// So many safepoints before a stop are fewer after the checkpoint that it came from.
fn counted_back(store: &Store, from: &Target, until: &Until) -> Result<(Target, Until)> {
    let &Until::Safepoint(n @ ..=-1) = until else { return Ok((from.clone(), until.clone())) };
    let known = store.list(&from.job)?;
    let is = |c: &&CheckpointInfo| from.number.is_none_or(|number| c.number == number);
    let Some(stop) = known.iter().rev().find(is) else {
        store.load(&from.job, from.number)?;
        return Err(StoreError::NoJob { job: from.job.clone() }.into());
    };
    match origin(stop) {
        Some((root, Some(safepoints))) if safepoints >= n.unsigned_abs() => {
            Ok((root, Until::Safepoint((safepoints - n.unsigned_abs()) as i64)))
        }
        _ => Err(Error::NoWayBack { checkpoint: stop.name() }),
    }
}

fn not_reached(tried: &[(String, String)], until: &Until, has_earlier: bool) -> Error {
    let names: Vec<&str> = tried.iter().map(|t| t.0.as_str()).collect();
    let from = match names[..] {
        [one] => one.to_owned(),
        [newest, .., oldest] => format!("each checkpoint from {newest} back to {oldest}"),
        [] => "no checkpoint".to_owned(),
    };
    let what = match until {
        Until::Trap => "does not lead to a trap".to_owned(),
        Until::Safepoint(n) => format!("does not lead to {n} safepoints"),
        Until::Function(name) => format!("does not lead to `{name}`"),
    };
    let how = tried.first().map_or("it could not be read".to_owned(), |t| t.1.clone());
    let hint = match until {
        Until::Trap => "; `--until proc_exit` stops it where it ends by itself",
        Until::Function(_) if has_earlier => {
            "; an earlier checkpoint may (`dormouse debug JOB --until FUNCTION` tries all)"
        }
        _ => "",
    };
    Error::NotReached { from, what, how, hint: hint.to_owned() }
}

/// A function's entry.
struct Entry {
    func: u32,
    name: String,
    times: u32,
}

/// A program that is run again, once or twice, on its thread.
struct Replay<'a> {
    job: &'a Job,
    code: &'a Arc<Code>,
    checkpoint: &'a Arc<Checkpoint>,
    writer: &'a Arc<Writer>,
    scene: Scene,
}

impl Replay<'_> {
    fn until_trap(self) -> Result<Came> {
        let tape = Tape::default();
        let (mut run, mark) = self.begin(&tape, false)?;
        let (safepoints, event) = go(&mut run, u64::MAX)?;
        let trapped = self.outcome(&event);
        drop(run);
        if !matches!(event, Event::Trapped(_) | Event::Aborted(_)) {
            return Ok(Err(format!("it {}", trapped.words())));
        }
        self.scene.back(mark)?;
        tape.rewind();
        // Where the stack is at its end, there is no room for saving it, nor is it as deep when it was built up again.
        let exhausted = is_exhausted(&trapped);
        let safepoints = if exhausted { safepoints.saturating_sub(SPARE) } else { safepoints };
        let info = self.checkpoint.info.clone();
        self.job.tell(Notice::RunsAgain { checkpoint: info, back: true });
        let (mut run, _) = self.begin(&tape, true)?;
        let other =
            |how: String| Error::OtherWay { from: self.checkpoint.info.name(), safepoints, how };
        let (reached, event) = go(&mut run, safepoints)?;
        if event != Event::Stopped {
            let words = self.outcome(&event).words();
            return Err(other(format!("{words} after {reached}")));
        }
        let at = Where::Safepoint(safepoints);
        let saved = self.save(&mut run, &at);
        let (saved, mark) = saved.map_err(|e| Error::NotSaved {
            from: self.checkpoint.info.name(),
            safepoints,
            why: e.to_string().replace("; the program goes on", ""),
        })?;
        let (_, event) = go(&mut run, if exhausted { u64::MAX } else { 1 })?;
        let again = self.outcome(&event);
        drop(run);
        self.scene.back(mark)?;
        if again != trapped && !(exhausted && is_exhausted(&again)) {
            let how = match event {
                Event::Stopped => "came to another safepoint".to_owned(),
                _ => again.words(),
            };
            self.writer.store.remove(&[(saved.job.clone(), saved.number)], Care::Thorough)?;
            return Err(other(how));
        }
        Ok(Ok(self.stop(saved, at, Some(again))))
    }

    fn until_safepoint(self, n: u64) -> Result<Came> {
        let tape = Tape::default();
        let (mut run, _) = self.begin(&tape, true)?;
        let (mut reached, mut event) = go(&mut run, n)?;
        // The first one from there that may be captured.
        while event == Event::Stopped && run.is_disabled() {
            let (more, next) = go(&mut run, 1)?;
            reached += more;
            event = next;
        }
        if event != Event::Stopped {
            let words = self.outcome(&event).words();
            return Ok(Err(format!("after {reached} it {words}")));
        }
        if self.job.again.back && tape.was_asked() {
            self.job.tell(Notice::Warning(format!(
                "the program asked for times or random numbers since {}, and got others than before: this is a step \
                 back in another run",
                self.checkpoint.info.name()
            )));
        }
        let at = Where::Safepoint(reached);
        let (saved, _) = self.save(&mut run, &at)?;
        drop(run);
        Ok(Ok(self.stop(saved, at, None)))
    }

    fn until_entry(self, entry: Entry, limit: Option<Duration>) -> Result<Came> {
        let (mut run, _) = self.begin(&Tape::default(), true)?;
        run.stop_at_entry(entry.times)?;
        let (ended, end) = mpsc::channel::<()>();
        if let Some(limit) = limit {
            let requester = run.requester();
            let wait = move || {
                if end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                    requester.request_end();
                }
            };
            let spawned = std::thread::Builder::new().name("limit".into()).spawn(wait);
            spawned.map_err(Error::io("start the clock of", "this run"))?;
        }
        let event = loop {
            let event = run.advance()?;
            if event == Event::Stopped && run.asks_for_checkpoint() && !run.has_entered() {
                run.answer_checkpoint(true);
                continue;
            }
            break event;
        };
        drop(ended);
        match event {
            Event::Stopped if run.has_entered() => {}
            Event::Stopped => {
                let limit = humantime::format_duration(Duration::from_secs(
                    limit.map_or(0, |l| l.as_secs()),
                ));
                return Ok(Err(format!("it did not come there within {limit}")));
            }
            event => return Ok(Err(format!("it {}", self.outcome(&event).words()))),
        }
        let Entry { func, name, times } = entry;
        let at = Where::Entry { func, name, times };
        let (saved, _) = self.save(&mut run, &at)?;
        drop(run);
        Ok(Ok(self.stop(saved, at, None)))
    }

    /// The program as it was at the checkpoint; and where its files can go back to.
    fn begin(&self, tape: &Tape, last: bool) -> Result<(Run, Option<Mark>)> {
        let Replay { job, checkpoint, .. } = self;
        let copied = job.files == Some(Files::Copy);
        let options = RestoreOptions {
            dirs: self.scene.dirs.clone(),
            recorded_dirs: false,
            env: job.env.clone(),
            stdio: job.streams(last)?,
            check_files: job.undoes(),
            // The streams are not the job's.
            clone: true,
            undo: Some(self.scene.log()),
            carry: false,
            carried: Some(*checkpoint).filter(|_| copied).and_then(carried),
            mark: None,
            unnoticed: false,
        };
        let state = &checkpoint.state;
        let fill =
            |index, into: &mut [u8]| checkpoint.read_memory(index, into).map_err(|e| e.to_string());
        let wasi = || Ok(Wasi::restore(&state.wasi, options)?);
        let mut run = Run::resume_with(self.code.clone(), state, wasi, fill)?;
        run.wasi().use_tape(tape.clone());
        let mark = run.mark_files()?;
        Ok((run, mark))
    }

    /// Saves the program where it stands.
    fn save(&self, run: &mut Run, at: &Where) -> Result<(CheckpointInfo, Option<Mark>)> {
        let state = run.state()?;
        let mark = run.mark_files()?;
        run.unsynced()?.sync()?;
        let info = &self.checkpoint.info;
        let from = match (at, origin(info)) {
            (Where::Safepoint(n), Some((root, Some(m)))) => format!("{root}+{}", m + n),
            (Where::Safepoint(n), _) => format!("{}+{n}", info.name()),
            (Where::Entry { .. }, _) => info.name(),
        };
        let mut remember = self.writer.annotations.clone();
        remember.insert(annotations::STOP.to_owned(), from);
        remember.insert(annotations::COPIES.to_owned(), self.scene.name());
        let unsaved = Unsaved::take(run)?;
        let memories = run.memories()?;
        let pages: Vec<_> =
            memories.iter().map(|(i, bytes)| MemoryPages::whole(*i, bytes)).collect();
        let keeper = &self.writer.keeper;
        let may_write = || match keeper.check() {
            Ok(Standing::Ours) => Ok(()),
            Ok(Standing::Lost(why)) => {
                Err(format!("the lease of {} was lost: {why}", keeper.job()))
            }
            Err(e) => Err(format!("the lease of {} cannot be read: {e}", keeper.job())),
        };
        let new = NewCheckpoint {
            annotations: remember,
            guard: Some(Guard(&may_write)),
            ..NewCheckpoint::new(&self.writer.module, &state, &pages)
        };
        let save = || Ok(self.writer.store.save(&self.writer.job, new)?);
        let saved = self.scene.finish(save);
        unsaved.put_back(run)?;
        Ok((saved?, mark))
    }

    fn stop(self, checkpoint: CheckpointInfo, at: Where, next: Option<Outcome>) -> Stop {
        self.scene.keep();
        let from = self.checkpoint.info.clone();
        Stop { checkpoint, from, at, next, tried: vec![] }
    }

    fn outcome(&self, event: &Event) -> Outcome {
        match event {
            Event::Exited(code) => Outcome::Exited(*code),
            Event::Returned(values) => Outcome::Returned(values.clone()),
            Event::Trapped(trap) => Outcome::trapped(self.code, trap),
            Event::Aborted(trap) => Outcome::aborted(self.code, trap),
            Event::Stopped => Outcome::Killed,
        }
    }
}

impl Job {
    /// The standard streams of a run; the last one may be seen.
    fn streams(&self, last: bool) -> Result<StdioConfig> {
        let mut streams = StdioConfig::null();
        if let Some(path) = &self.again.input {
            let file = File::open(path).map_err(Error::io("open the input", path))?;
            streams.stdin = Stdio::Fd(file.into());
        }
        if self.again.output && last {
            let stderr = || {
                let fd = std::io::stderr().as_fd().try_clone_to_owned();
                fd.map(Stdio::Fd).map_err(Error::io("write to", "standard error"))
            };
            (streams.stdout, streams.stderr) = (stderr()?, stderr()?);
        }
        Ok(streams)
    }
}

/// What a program said need not be kept, while its memory is saved with zeros there.
struct Unsaved(Vec<(u32, usize, Vec<u8>)>);

impl Unsaved {
    fn take(run: &mut Run) -> Result<Unsaved> {
        let mut taken = vec![];
        let Some((index, exclusions)) = run.exclusions() else { return Ok(Unsaved(taken)) };
        let bytes = run.memory_mut(index)?;
        for pages in exclusions.pages() {
            let end = (pages.end as usize).saturating_mul(PAGE_SIZE).min(bytes.len());
            let start = (pages.start as usize).saturating_mul(PAGE_SIZE).min(end);
            taken.push((index, start, bytes[start..end].to_vec()));
            bytes[start..end].fill(0);
        }
        Ok(Unsaved(taken))
    }

    fn put_back(self, run: &mut Run) -> Result<()> {
        for (index, start, bytes) in self.0 {
            run.memory_mut(index)?[start..start + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

/// So many safepoints before a stack is exhausted there is room for saving it.
const SPARE: u64 = 256;

fn is_exhausted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Trapped { message, .. } if message.contains("stack exhausted"))
}

/// Goes on for so many safepoints, or until the program ends; how many it passed.
fn go(run: &mut Run, safepoints: u64) -> Result<(u64, Event)> {
    go_by(run, safepoints, AT_ONCE)
}

fn go_by(run: &mut Run, safepoints: u64, at_once: u32) -> Result<(u64, Event)> {
    let mut passed = 0;
    if safepoints == 0 {
        return Ok((0, Event::Stopped));
    }
    loop {
        let step = (safepoints - passed).min(at_once.into()) as u32;
        run.stop_after(step);
        let event = run.advance()?;
        passed += u64::from(step.saturating_sub(run.left()));
        if event != Event::Stopped {
            return Ok((passed, event));
        }
        if run.asks_for_checkpoint() {
            run.answer_checkpoint(true);
        } else if passed >= safepoints {
            return Ok((passed, event));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_wasi::WasiConfig;

    /// However many are counted at once, it stands at the same place, and traps after as many.
    #[test]
    fn counted_in_parts() {
        let module: Arc<[u8]> = wat::parse_str(
            r#"(module (func $f (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
                (func (export "_start") (local i32) (local.set 0 (i32.const 100))
                    (loop (drop (call $f (local.get 0)))
                        (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br 0))))"#,
        )
        .unwrap()
        .into();
        let entries = Entries { all: true, ..Entries::default() };
        let options = Options { counted: true, every_loop: true, entries, ..Options::default() };
        let code = Arc::new(Machine::new(options).unwrap().load(module).unwrap());
        let run = |safepoints, at_once| {
            let config = WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() };
            let mut run = Run::start(code.clone(), Wasi::new(config).unwrap()).unwrap();
            let (passed, event) = go_by(&mut run, safepoints, at_once).unwrap();
            let stopped = event == Event::Stopped;
            (passed, stopped.then(|| run.state().unwrap().frames))
        };
        let all = || {
            // _start, and 101 times the loop and the function.
            assert_eq!(run(u64::MAX, AT_ONCE), (203, None));
            assert_eq!(run(u64::MAX, 7), (203, None));
            for n in [1, 6, 7, 8, 100, 203] {
                let (passed, frames) = run(n, AT_ONCE);
                assert_eq!((passed, frames.is_some()), (n, true));
                for at_once in [1, 2, 7] {
                    assert!(run(n, at_once) == (n, frames.clone()), "{n} by {at_once}");
                }
            }
        };
        code.machine().on_stack(all).unwrap();
    }
}
