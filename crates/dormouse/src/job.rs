//! One named program and its checkpoints: how it is to run, and running it.

mod either;
mod life;
mod trial;

use crate::beginning::{argv, called, first};
use crate::books::Books;
use crate::desk::Report;
use crate::drive::Manner;
use crate::interval::{Every, Pace, Share};
use crate::lazy::Lazy;
use crate::lease::{Lease, TTLS, Terms};
use crate::live::{Live, live};
use crate::outcome::{Activity, Notice, Outcome};
use crate::progress::Progress;
use crate::retain::Retain;
use crate::sealing::Sealing;
use crate::stats::Log;
use crate::writer::{Copying, Layering, Writer};
use crate::{Result, Target, annotations};
use dormouse_engine::{Better, Code, Machine, Options, Run};
use dormouse_memory::Tracking;
use dormouse_store::{Checkpoint, MAX_LAYERS, Retention, Store, StoreError, hex, sha256};
use dormouse_transform::Program;
use dormouse_wasi::{Mark, RestoreOptions, StdioConfig, Wasi, WasiConfig};
use life::Life;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

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
    check_files: bool,
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
            check_files: true,
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
            lease: Terms::default(),
            report: Arc::new(|_| {}),
        }
    }

    /// Its name. Without: for a new program, its file's name and something unique; for one that is
    /// resumed, the name it had. With another name than it had, a resumed program is a clone.
    pub fn name(mut self, name: impl Into<String>) -> Job {
        self.name = Some(name.into());
        self
    }

    /// Where compiled code is kept; without, it is compiled every time.
    pub fn cache(mut self, dir: Option<PathBuf>) -> Job {
        self.cache = dir;
        self
    }

    /// How many bytes of it may lie there, by default 1 GiB: what was not used for longest goes.
    pub fn cache_size(mut self, bytes: u64) -> Job {
        self.cache_size = Some(bytes);
        self
    }

    /// Whether a program whose code is not in the cache begins in code that is compiled quickly, and goes on in better code
    /// when that is compiled; by default no. Not where memory is read lazily, safepoints are counted, or the program is interpreted.
    pub fn tier_up(mut self, tier_up: bool) -> Job {
        self.tier_up = tier_up;
        self
    }

    /// Bytes of stack the program can count on; by default 64 MiB, or what it had.
    pub fn stack(mut self, bytes: usize) -> Job {
        self.stack = Some(bytes);
        self
    }

    /// Computes the same bits on every host ([`Options::deterministic`]); remembered, so that a
    /// resumed program goes on in the same way.
    pub fn deterministic(mut self, same: bool) -> Job {
        self.deterministic = same;
        self
    }

    /// Takes a checkpoint every so often, or never; by default never, or as it was.
    pub fn every(mut self, interval: impl Into<Every>) -> Job {
        self.pace.every = Some(interval.into());
        self
    }

    /// How far failures come apart, in the mean; by default a day, or as it was. For [`Every::Auto`].
    pub fn mtbf(mut self, mtbf: Duration) -> Job {
        self.pace.mtbf = Some(mtbf);
        self
    }

    /// The share of the time that checkpoints may take: the interval is never shorter than what one costs, divided by this.
    /// By default as it was; else one percent with [`Every::Auto`], and otherwise whatever it may be.
    pub fn max_overhead(mut self, share: Option<Share>) -> Job {
        self.pace.share = Some(share);
        self
    }

    /// Appends what each checkpoint cost to this file too, as lines of JSON ([`crate::stats::Record`]).
    pub fn stats(mut self, file: impl Into<PathBuf>) -> Job {
        self.stats = Some(file.into());
        self
    }

    /// Removes old checkpoints by rules, after each new one: `change` is given those that the checkpoint
    /// remembers (none, for a new program). What cannot be removed is told, and harms nothing.
    pub fn retention(mut self, change: impl FnOnce(&mut Retention) + Send + Sync + 'static) -> Job {
        self.change_retention = Some(Box::new(change));
        self
    }

    /// Gives a directory of the host under a name; resumed programs find it in another place.
    pub fn dir(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> Job {
        self.dirs.push((host.into(), guest.into()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Job {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Connects the standard streams; by default they are those of this process.
    pub fn stdio(mut self, stdio: StdioConfig) -> Job {
        self.stdio = stdio;
        self
    }

    /// Whether what the program does to its files after a checkpoint is undone by a resume from it,
    /// and its open files must be as they were then; by default yes.
    pub fn check_files(mut self, check: bool) -> Job {
        self.check_files = check;
        self
    }

    /// Whether a resumed program is given the directories of the host that its checkpoint names, where [`Job::dir`] does
    /// not name others; by default yes. Without, one that is not given with [`Job::dir`] is refused: right for a
    /// checkpoint from elsewhere, which would choose for itself.
    pub fn recorded_dirs(mut self, open: bool) -> Job {
        self.recorded_dirs = open;
        self
    }

    /// Resumes only a checkpoint of this module. (It carries its module; this is for being sure.)
    pub fn expect_module(mut self, module: Arc<[u8]>) -> Job {
        self.module = Some(module);
        self
    }

    /// Whether SIGTERM, SIGUSR1 and SIGINT to this process are orders to this job.
    pub fn signals(mut self, listen: bool) -> Job {
        self.signals = listen;
        self
    }

    /// Whether this process ends with this job; by default no. Then the program's memory is left for the system to take
    /// back, which it does faster than we.
    pub fn one_shot(mut self, one_shot: bool) -> Job {
        self.one_shot = one_shot;
        self
    }

    /// Stops with a checkpoint at the `n`th safepoint from where the program begins or goes on: for tests, which need the
    /// same one again, and for nothing else: the interval is not kept. 0 is where a resumed program stands, and 1 for one that begins. Code that counts its safepoints is slower, and other orders wait for that one.
    pub fn stop_at(mut self, n: u32) -> Job {
        self.stop_at = Some(n);
        self
    }

    /// Interprets the program (with wasmtime's Pulley) instead of compiling it to machine code. It is always so on
    /// processors that the compiler does not know.
    pub fn interpret(mut self, interpret: bool) -> Job {
        self.interpret = interpret;
        self
    }

    /// Calls this exported function instead of `_start`, with the program's arguments as its own,
    /// written as its parameters' types want them. [`Job::resume`] knows what was called.
    pub fn invoke(mut self, name: impl Into<String>) -> Job {
        self.invoke = Some(name.into());
        self
    }

    /// How many layers of changes a memory may have before they are squashed, in the background; by default
    /// [`dormouse_store::MAX_LAYERS`]. With 0, every checkpoint has all pages.
    pub fn max_layers(mut self, layers: usize) -> Job {
        self.layering.max_layers = layers;
        self
    }

    /// Whether pages of which little changed since the last checkpoint are stored as differences; by default yes.
    pub fn deltas(mut self, store: bool) -> Job {
        self.layering.deltas = store;
        self
    }

    /// How it is found out which pages the program wrote; by default the best way that works here.
    pub fn tracking(mut self, tracking: Tracking) -> Job {
        self.copying.tracking = tracking;
        self
    }

    /// Whether pages are copied while the program runs, where that can be done, so that it stands only for the rest; by
    /// default yes.
    pub fn precopy(mut self, precopy: bool) -> Job {
        self.copying.precopy = precopy;
        self
    }

    /// Whether a resumed program goes on at once, while its memory is read when it is touched, and by and by; by default it
    /// goes on once all is read and verified. What is found damaged then ends the program, and not only
    /// it: see [`Notice::Unreadable`]. So this is done only if the process ends with the job ([`Job::one_shot`]), and where
    /// the host can do it.
    pub fn lazy(mut self, lazy: bool) -> Job {
        self.lazy = lazy;
        self
    }

    /// Seals checkpoints for an age recipient, `age1...`, and any others that were named; remembered, so that a resumed
    /// program's are sealed in the same way.
    pub fn encrypt_to(mut self, recipient: impl Into<String>) -> Job {
        self.sealing.recipients.push(recipient.into());
        self
    }

    /// Whether the module is sealed too, where checkpoints are; by default not. Once it is, it stays so.
    pub fn encrypt_module(mut self, seal: bool) -> Job {
        self.sealing.module = seal;
        self
    }

    /// Opens checkpoints that were sealed for one of these age identities: the contents of a file that `age-keygen` wrote.
    pub fn identities(mut self, file: impl Into<String>) -> Job {
        self.sealing.identities.push(file.into());
        self
    }

    /// For how long after a renewal the job's lease is this process's own, seen from other hosts; by default 30 seconds,
    /// and at least 100 milliseconds. It is renewed each third of that.
    pub fn lease_ttl(mut self, ttl: Duration) -> Job {
        self.lease.ttl = ttl.clamp(*TTLS.start(), *TTLS.end());
        self
    }

    /// Whether a lease that names a process of another host is watched until it is clear whether that lives
    /// ([`Notice::Waiting`]); by default yes. Without, it is refused at once ([`Error::Unclear`]).
    pub fn wait_for_lease(mut self, wait: bool) -> Job {
        self.lease.wait = wait;
        self
    }

    /// Who is told what happens; called on any thread, and not for long.
    pub fn on_notice(mut self, report: impl Fn(Notice) + Send + Sync + 'static) -> Job {
        self.report = Arc::new(report);
        self
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
        let undo = self.check_files.then(|| undo_log(&self.store, &name));
        let wasi = self.given(program, args, undo);
        let begin = |code| first(code, Wasi::new(wasi)?, called);
        live(
            Live { machine, code, better, lease, writer, books, signals, grace, manner, report },
            begin,
        )
    }

    /// Goes on from a checkpoint, as the same job or, with another [`Job::name`], as a clone.
    ///
    /// # Errors
    /// As [`Job::run`]. A checkpoint that cannot be resumed is as it was; nothing has been run.
    pub fn resume(self, from: &Target) -> Result<Outcome> {
        let store = self.sealing.unlock(Store::open(&self.store)?)?;
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

    /// Goes on from it, with the lease.
    fn go_on(
        mut self,
        store: Store,
        lease: Lease,
        program: &str,
        from: &Target,
    ) -> Result<Outcome> {
        let checkpoint = self.checkpoint(&store, from)?;
        self.hooks_of(lease.keeper.job()).before_resume(&checkpoint.info)?;
        let machine = Machine::new(self.options())?;
        let (code, better) = self.load(&machine, checkpoint.module.as_slice().into())?;
        let store = self.sealing.unlock(store)?;
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
            let checkpoint = Arc::new(checkpoint);
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
                Ok(wasi)
            };
            let shown = (!lazy).then(|| Progress::begin(&told, Activity::Reading));
            let mut run = Run::resume_with(code, state, wasi, fill)?;
            drop(shown);
            // Now: what stood in a log after the checkpoint is cut off it.
            if either {
                told(Notice::GoesOn { checkpoint: checkpoint.info.clone() });
            }
            if lazy && let Some(lazy) = Lazy::begin(checkpoint.clone(), &mut run, told)? {
                keeper.reads_lazily(lazy);
            }
            keeper.goes_on_from(&checkpoint, &mut run)?;
            Ok(run)
        };
        live(
            Live { machine, code, better, lease, writer, books, signals, grace, manner, report },
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
        self.sealing.recall(&checkpoint)?;
        self.deterministic |= remembered.contains_key(annotations::DETERMINISTIC);
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
            undo,
        }
    }

    /// How its WASI objects come back.
    fn restoring(&mut self, checkpoint: &Checkpoint, name: &str) -> RestoreOptions {
        let mark = checkpoint.info.annotations.get(annotations::MARK);
        RestoreOptions {
            dirs: std::mem::take(&mut self.dirs),
            env: std::mem::take(&mut self.env),
            stdio: std::mem::take(&mut self.stdio),
            check_files: self.check_files,
            clone: name != checkpoint.info.job,
            undo: self.check_files.then(|| undo_log(&self.store, name)),
            // A clone has no past of its own; what the first did to its files stays.
            mark: mark
                .filter(|_| name == checkpoint.info.job)
                .and_then(|mark| Mark::from_str_radix(mark, 16).ok()),
            recorded_dirs: self.recorded_dirs,
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
            true => machine.load_quickly(module)?,
            false => (Arc::new(machine.load(module)?), None),
        })
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
        if self.deterministic {
            remember.insert(annotations::DETERMINISTIC.to_owned(), "true".to_owned());
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
