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

mod replay;

use super::{Job, undo_log};
use crate::lease::Lease;
use crate::outcome::Notice;
use crate::travel::{self, Ending, Given, Scene, Stop, Unfinished, Until, origin};
use crate::{Error, Files, Result, Target, annotations, running};
use dormouse_engine::{Code, Entries, Machine, Options};
use dormouse_store::{Care, Checkpoint, CheckpointInfo, Retention, Store, StoreError};
use dormouse_transform::{Options as TransformOptions, Program};
use dormouse_wasi::{Mark, Wasi};
use replay::{Entry, Replay};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
