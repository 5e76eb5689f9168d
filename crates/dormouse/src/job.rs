//! One named program and its checkpoints: how it is to run, and running it.

mod either;
mod life;
mod settings;
mod trial;
mod until;

use crate::beginning::{argv, called, first};
use crate::books::Books;
use crate::carrying::{Files, carried};
use crate::depot::{self, Carry};
use crate::desk::Report;
use crate::drive::Manner;
use crate::held::Held;
use crate::interval::Pace;
use crate::lazy::Lazy;
use crate::lease::{Lease, Terms};
use crate::live::{Live, live};
use crate::outcome::{Activity, Notice, Outcome};
use crate::progress::Progress;
use crate::retain::Retain;
use crate::sealing::Sealing;
use crate::stats::Log;
use crate::writer::{Copying, Layering, Writer};
use crate::{Error, Result, Target, annotations, travel};
use dormouse_engine::{Better, Code, HostFunctions, Machine, Options, Run};
use dormouse_memory::Tracking;
use dormouse_store::{Checkpoint, Depot, MAX_LAYERS, Retention, Store, StoreError, hex, sha256};
use dormouse_transform::Program;
use dormouse_wasi::{Mark, RestoreOptions, StdioConfig, Wasi, WasiConfig};
use life::Life;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use until::Again;

/// The stacks that a checkpoint can remember: those of `--stack`.
const STACKS: std::ops::RangeInclusive<u64> = 64 << 10..=64 << 30;

/// What is said of rules that a checkpoint may remember.
type Change = Box<dyn FnOnce(&mut Retention) + Send + Sync>;

/// How a program is to run. [`Job::run`] and [`Job::resume`] do it and return when it has ended.
pub struct Job {
    store: PathBuf,
    name: Option<String>,
    cache: Option<PathBuf>,
    cache_size: Option<u64>,
    tier_up: bool,
    stack: Option<usize>,
    deterministic: bool,
    pace: Pace,
    stats: Option<PathBuf>,
    retention: Retention,
    change_retention: Option<Change>,
    dirs: Vec<(PathBuf, String)>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    stdio: StdioConfig,
    host: HostFunctions,
    depot: Option<Arc<dyn Depot>>,
    files: Option<Files>,
    recorded_dirs: bool,
    module: Option<Arc<[u8]>>,
    /// The arguments that its checkpoint must have.
    expected: Option<Vec<Vec<u8>>>,
    signals: bool,
    life: Life,
    one_shot: bool,
    stop_at: Option<u32>,
    layering: Layering,
    copying: Copying,
    lazy: bool,
    sealing: Sealing,
    interpret: bool,
    invoke: Option<String>,
    again: Again,
    /// Those of a stop, in which it goes on.
    copies: Option<String>,
    lease: Terms,
    report: Report,
}

impl Job {
    /// A job whose checkpoints lie in `store`.
    pub fn new(store: impl Into<PathBuf>) -> Job {
        Job {
            store: store.into(),
            name: None,
            cache: None,
            cache_size: None,
            tier_up: false,
            stack: None,
            deterministic: false,
            pace: Pace::default(),
            stats: None,
            retention: Retention::default(),
            change_retention: None,
            dirs: vec![],
            env: vec![],
            stdio: StdioConfig::default(),
            host: HostFunctions::new(),
            depot: None,
            files: None,
            recorded_dirs: true,
            module: None,
            expected: None,
            signals: false,
            life: Life::default(),
            one_shot: false,
            stop_at: None,
            layering: Layering { max_layers: MAX_LAYERS, deltas: true },
            copying: Copying { tracking: Tracking::Auto, precopy: true },
            lazy: false,
            sealing: Sealing::default(),
            interpret: false,
            invoke: None,
            again: Again::default(),
            copies: None,
            lease: Terms::default(),
            report: Arc::new(|_| {}),
        }
    }

    /// Runs a module from its beginning. `program` is `argv[0]`; `args` are the others.
    ///
    /// # Errors
    /// Only failures of ours and bad input; how the program ends is an [`Outcome`].
    pub fn run(self, program: &str, module: Arc<[u8]>, args: Vec<Vec<u8>>) -> Result<Outcome> {
        let store = self.sealing.unlock(Store::create_or_open(&self.store)?)?;
        let (name, earlier) = match &self.name {
            Some(name) => (name.clone(), store.list(name)?),
            None => (new_name(&store, program)?, vec![]),
        };
        let lease = self.take_lease(&name, program)?;
        if let Some(newest) = earlier.last() {
            self.tell(Notice::Warning(format!(
                "job {name} has checkpoints of an earlier run, up to {}; new ones follow them",
                newest.name()
            )));
        }
        self.begin(store, lease, program, module, args)
    }

    /// Runs it from its beginning, with the lease.
    fn begin(
        mut self,
        store: Store,
        lease: Lease,
        program: &str,
        module: Arc<[u8]>,
        args: Vec<Vec<u8>>,
    ) -> Result<Outcome> {
        let machine = Machine::new(self.options())?;
        let (code, better) = self.load(&machine, module)?;
        let writer = self.writer(store, &lease, program, &code);
        let name = writer.job.clone();
        let books = self.books(&name)?;
        let report = self.report.clone();
        let (signals, grace) = (self.signals, self.life.grace);
        let manner = Manner { stop_at: self.stop_at.map(|n| n.max(1)), ..self.manner(&name) };
        let called = called(&code, self.invoke.take(), &args)?;
        let undo = self.undoes().then(|| undo_log(&self.store, &name));
        let wasi = self.given(program, args, undo);
        let begin = |code| first(code, Wasi::new(wasi)?, called);
        live(
            Live {
                machine,
                code,
                better,
                lease,
                writer,
                books,
                signals,
                early: None,
                grace,
                manner,
                report,
            },
            begin,
        )
    }

    /// Goes on from a checkpoint, as the same job or, with another [`Job::name`], as a clone.
    ///
    /// # Errors
    /// As [`Job::run`]. A checkpoint that cannot be resumed is as it was; nothing has been run.
    pub fn resume(self, from: &Target) -> Result<Outcome> {
        let store = match self.depot {
            Some(_) => Store::create_or_open(&self.store)?,
            None => Store::open(&self.store)?,
        };
        let store = self.sealing.unlock(store)?;
        self.fetch(&store, from)?;
        let name = self.name.clone().unwrap_or_else(|| from.job.clone());
        // The lease comes first: while somebody else has it, the newest checkpoint changes.
        let known = store.list(&from.job)?;
        let Some(newest) = known.last() else {
            // Says whether there is no such job or it is damaged.
            store.load(&from.job, from.number)?;
            return Err(StoreError::NoJob { job: from.job.clone() }.into());
        };
        let program = newest.annotations.get(annotations::PROGRAM).unwrap_or(&from.job).clone();
        store.list(&name)?;
        let lease = self.take_lease(&name, &program)?;
        self.go_on(store, lease, &program, from)
    }

    /// What the depot has and the store does not.
    fn fetch(&self, store: &Store, from: &Target) -> Result<()> {
        let Some(depot) = &self.depot else { return Ok(()) };
        depot::fetch(store, &from.job, from.number, &**depot, |notice| self.tell(notice))
    }

    /// Goes on from it, with the lease.
    fn go_on(
        mut self,
        store: Store,
        mut lease: Lease,
        program: &str,
        from: &Target,
    ) -> Result<Outcome> {
        let held = Held::new(self.report.clone());
        self.report = held.report();
        let checkpoint = Arc::new(self.checkpoint(&store, from)?);
        let hooks = self.hooks_of(lease.keeper.job());
        let (early, ended) = hooks.before_resume(&checkpoint.info, &mut lease, self.signals)?;
        if let Some(why) = ended {
            // As if it had been stopped there, which it was.
            return Ok(Outcome::Stopped { checkpoint: checkpoint.info.clone(), why });
        }
        let machine = Machine::new(self.options())?;
        let (code, better) = self.load_of(&machine, &checkpoint)?;
        let store = self.sealing.unlock(store)?;
        let _held = self.copies.as_ref().and_then(|copies| travel::work_in(&self.store, copies));
        let writer = self.writer(store, &lease, program, &code);
        let name = writer.job.clone();
        let report = self.report.clone();
        let (signals, grace) = (self.signals, self.life.grace);
        let from = Some(checkpoint.info.clone());
        let manner = Manner { from, ..self.manner(&name) };
        let told = self.report.clone();
        let either = self.expected.is_some();
        let books = self.books(&name)?;
        let restore = self.restoring(&checkpoint, &name);
        let keeper = writer.clone();
        let lazy = self.is_lazy();
        let begin = move |code| {
            let state = &checkpoint.state;
            let fill = |index, into: &mut [u8]| match lazy {
                true => Ok(()),
                false => checkpoint.read_memory(index, into).map_err(|e| e.to_string()),
            };
            // Files are cut back when WASI objects are made: only once all else is known to be good.
            let wasi = || {
                let wasi = Wasi::restore(&state.wasi, restore)?;
                if wasi.is_stranded() {
                    told(Notice::Warning(format!(
                        "the files are not put back to what they were at {}: the job went on from an earlier \
                         checkpoint since, or elsewhere",
                        checkpoint.info.name()
                    )));
                }
                let (written, removed) = wasi.put_back();
                if written + removed > 0 {
                    told(Notice::Warning(format!(
                        "files were not as they were at {}: {written} were put back from the image, {removed} removed",
                        checkpoint.info.name()
                    )));
                }
                Ok(wasi)
            };
            let shown = (!lazy).then(|| Progress::begin(&told, Activity::Reading));
            let mut run = Run::resume_with(code, state, wasi, fill)?;
            drop(shown);
            // Now: what stood in a log after the checkpoint is cut off it.
            if either {
                told(Notice::GoesOn { checkpoint: checkpoint.info.clone() });
            }
            drop(held);
            if lazy && let Some(lazy) = Lazy::begin(checkpoint.clone(), &mut run, told)? {
                keeper.reads_lazily(lazy);
            }
            keeper.goes_on_from(&checkpoint, &mut run)?;
            Ok(run)
        };
        live(
            Live {
                machine,
                code,
                better,
                lease,
                writer,
                books,
                signals,
                early,
                grace,
                manner,
                report,
            },
            begin,
        )
    }

    /// The checkpoint to go on from; what it remembers of how it was run holds where nothing else is said.
    fn checkpoint(&mut self, store: &Store, from: &Target) -> Result<Checkpoint> {
        let checkpoint = {
            let _shown = Progress::begin(&self.report, Activity::Checking);
            match self.is_lazy() {
                true => store.load_lazily(&from.job, from.number)?,
                false => store.load(&from.job, from.number)?,
            }
        };
        for damage in &checkpoint.warnings {
            self.tell(Notice::Warning(damage.to_string()));
        }
        if from.number.is_none() && checkpoint.warnings.iter().any(|d| d.checkpoint.is_some()) {
            let good = checkpoint.info.name();
            self.tell(Notice::Warning(format!("going on from {good}, the newest that is good")));
        }
        self.same_program(&checkpoint)?;
        if let Some(module) = &self.module {
            same_module(&checkpoint.state.module_digest, module)?;
        }
        let remembered = &checkpoint.info.annotations;
        let stack = remembered.get(annotations::STACK).and_then(|stack| stack.parse::<u64>().ok());
        let stack = stack.filter(|stack| STACKS.contains(stack));
        self.stack = self.stack.or_else(|| usize::try_from(stack?).ok());
        self.copies = travel::copies(&checkpoint.info).map(str::to_owned);
        self.sealing.recall(&checkpoint)?;
        self.deterministic |= remembered.contains_key(annotations::DETERMINISTIC);
        self.invoke = remembered.get(annotations::INVOKE).cloned();
        let files = remembered.get(annotations::FILES).and_then(|files| files.parse().ok());
        let files = files.unwrap_or(Files::Check);
        if self.files == Some(Files::Copy) && files != Files::Copy {
            self.tell(Notice::Warning(format!(
                "what the program changed in its files before {} is not known, so only what it changes from here on, and open \
                 files, will be in the image",
                checkpoint.info.name()
            )));
        }
        self.files = self.files.or(Some(files));
        self.pace = self.pace.or_recalled(remembered);
        let rules = remembered.get(annotations::KEEP).map(|rules| rules.parse::<Retention>());
        match rules.transpose() {
            Ok(Some(rules)) if checkpoint.info.pulled && !rules.is_empty() => {
                self.tell(Notice::Warning(format!(
                    "{} came from elsewhere, so its rules for old checkpoints ({rules}) do not hold here; --keep-last \
                     and the like give others",
                    checkpoint.info.name()
                )));
            }
            Ok(rules) => self.retention = rules.unwrap_or_default(),
            Err(rule) => self.tell(Notice::Warning(format!(
                "{} remembers a rule for old checkpoints that this dormouse does not know ({rule}), so none are \
                 removed; --keep-last and the like give others",
                checkpoint.info.name()
            ))),
        }
        Ok(checkpoint)
    }

    /// What a new program is given.
    fn given(&mut self, program: &str, args: Vec<Vec<u8>>, undo: Option<PathBuf>) -> WasiConfig {
        WasiConfig {
            args: argv(program, args),
            env: std::mem::take(&mut self.env),
            dirs: std::mem::take(&mut self.dirs),
            stdio: std::mem::take(&mut self.stdio),
            carry: self.files == Some(Files::Copy) && undo.is_some(),
            undo,
            unchecked: self.files == Some(Files::None),
        }
    }

    /// Whether a resume undoes what is done to files.
    fn undoes(&self) -> bool {
        self.files.unwrap_or_default() != Files::None
    }

    /// How its WASI objects come back.
    fn restoring(&mut self, checkpoint: &Arc<Checkpoint>, name: &str) -> RestoreOptions {
        let mark = checkpoint.info.annotations.get(annotations::MARK);
        let carried =
            Some(checkpoint).filter(|_| self.files == Some(Files::Copy)).and_then(carried);
        let clone = name != checkpoint.info.job;
        // A stranger is not to say where files are written; and those of the first job are not a clone's, now and at all its
        // later resumes.
        let recorded_dirs =
            self.recorded_dirs && !((checkpoint.info.pulled || clone) && carried.is_some());
        RestoreOptions {
            dirs: std::mem::take(&mut self.dirs),
            env: std::mem::take(&mut self.env),
            stdio: std::mem::take(&mut self.stdio),
            check_files: self.undoes(),
            clone,
            undo: self.undoes().then(|| undo_log(&self.store, name)),
            carry: self.files == Some(Files::Copy),
            carried,
            // A clone has no past of its own; what the first did to its files stays.
            mark: mark
                .filter(|_| name == checkpoint.info.job)
                .and_then(|mark| Mark::from_str_radix(mark, 16).ok()),
            recorded_dirs,
            unnoticed: false,
        }
    }

    fn is_lazy(&self) -> bool {
        self.lazy && self.one_shot
    }

    fn tell(&self, notice: Notice) {
        (self.report)(notice);
    }

    fn options(&self) -> Options {
        let default = Options::default();
        Options {
            stack: self.stack.unwrap_or(default.stack),
            cache: self.cache.clone(),
            cache_size: self.cache_size.unwrap_or(default.cache_size),
            deterministic: self.deterministic,
            counted: self.stop_at.is_some(),
            // Cranelift has a backend for these.
            pulley: self.interpret
                || !cfg!(any(
                    target_arch = "x86_64",
                    target_arch = "aarch64",
                    target_arch = "s390x",
                    target_arch = "riscv64"
                )),
            ..default
        }
    }

    fn load(&self, machine: &Machine, module: Arc<[u8]>) -> Result<(Arc<Code>, Option<Better>)> {
        if let Some(problem) = machine.cache_problem() {
            self.tell(Notice::Warning(format!("compiled code is not kept in {problem}")));
        }
        self.tell(Notice::Loading);
        // Where safepoints are counted nothing else may stop the program, and memory that is still being read cannot move.
        let moves = self.stop_at.is_none() && !self.is_lazy() && !self.options().pulley;
        Ok(match self.tier_up && moves {
            true => machine.load_quickly(module, &self.host)?,
            false => (Arc::new(machine.load_with(module, &self.host)?), None),
        })
    }

    /// The module of a checkpoint. It was run once: what is missing now are functions that its host had.
    fn load_of(
        &self,
        machine: &Machine,
        checkpoint: &Checkpoint,
    ) -> Result<(Arc<Code>, Option<Better>)> {
        let module: Arc<[u8]> = checkpoint.module.as_slice().into();
        let loaded = self.load(machine, module.clone()).map_err(|error| match error {
            Error::Engine(dormouse_engine::Error::Imports { names }) => {
                Error::NeedsHost { checkpoint: checkpoint.info.name(), names }
            }
            error => error,
        })?;
        // Where a debugger stopped it, most programs have no safepoint.
        if loaded.0.program()?.stopped_elsewhere(&checkpoint.state).is_empty() {
            return Ok(loaded);
        }
        Ok((Arc::new(machine.load_for(module, &self.host, &checkpoint.state)?), None))
    }

    fn take_lease(&self, name: &str, program: &str) -> Result<Lease> {
        Lease::take(&self.store, name, program, self.lease, &|notice| self.tell(notice))
    }

    /// What its checkpoints cost is written down here, and decides when the next is due.
    fn books(&mut self, name: &str) -> Result<Books> {
        Ok(Books::new(self.pace, Some(Log::open(&self.store, name, self.stats.take())?)))
    }

    fn writer(&mut self, store: Store, lease: &Lease, program: &str, code: &Code) -> Arc<Writer> {
        let mut remember = BTreeMap::from([(annotations::PROGRAM.to_owned(), program.to_owned())]);
        let with = if self.options().pulley { "pulley" } else { "cranelift" };
        remember
            .insert(annotations::ENGINE.to_owned(), format!("{} {with}", dormouse_engine::NAME));
        let host = format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH);
        remember.insert(annotations::HOST.to_owned(), host);
        self.pace.remember(&mut remember);
        if let Some(stack) = self.stack {
            remember.insert(annotations::STACK.to_owned(), stack.to_string());
        }
        if let Some(function) = &self.invoke {
            remember.insert(annotations::INVOKE.to_owned(), function.clone());
        }
        if self.deterministic {
            remember.insert(annotations::DETERMINISTIC.to_owned(), "true".to_owned());
        }
        if let Some(files @ (Files::Copy | Files::None)) = self.files {
            remember.insert(annotations::FILES.to_owned(), files.word().to_owned());
        }
        if let Some(copies) = &self.copies {
            remember.insert(annotations::COPIES.to_owned(), copies.clone());
        }
        self.sealing.remember(&mut remember);
        if let Some(change) = self.change_retention.take() {
            change(&mut self.retention);
        }
        if !self.retention.is_empty() {
            remember.insert(annotations::KEEP.to_owned(), self.retention.to_string());
        }
        let keeper = lease.keeper.clone();
        let mut writer = Writer::new(store, keeper, code.bytes().clone(), remember, self.layering);
        writer.copying = self.copying;
        writer.carry = Carry::to(self.depot.take());
        writer.retain = Retain::by(std::mem::take(&mut self.retention));
        Arc::new(writer)
    }
}

/// Whether this module, or what it is translated to, has the digest.
fn same_module(expected: &[u8; 32], module: &Arc<[u8]>) -> Result<()> {
    let found = sha256(module);
    let translated = || {
        let program = Program::new(module.clone(), &Default::default()).ok()?;
        Some(sha256(program.bytes()))
    };
    if *expected == found || translated().is_some_and(|digest| *expected == digest) {
        return Ok(());
    }
    let (expected, found) = (hex(expected), hex(&found));
    Err(dormouse_engine::Error::OtherModule { expected, found }.into())
}

/// Where a job keeps what it destroys in its files.
fn undo_log(store: &Path, job: &str) -> PathBuf {
    store.join("undo").join(job)
}

/// `sim.wasm` -> `sim-4k7q`, which neither runs nor has checkpoints.
fn new_name(store: &Store, program: &str) -> Result<String> {
    let stem = Path::new(program).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let stem: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).take(60).collect();
    let stem = stem.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let stem = if stem.is_empty() { "job" } else { stem };
    loop {
        // Randomly keyed by the system; enough for a name.
        let random = RandomState::new().build_hasher().finish().to_le_bytes();
        let letter = |b: &u8| char::from(b"abcdefghijkmnpqrstuvwxyz23456789"[*b as usize % 32]);
        let suffix: String = random[..4].iter().map(letter).collect();
        let name = format!("{stem}-{suffix}");
        if store.list(&name)?.is_empty() {
            return Ok(name);
        }
    }
}
