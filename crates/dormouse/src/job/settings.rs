//! How a job is to run, as it is said before.

use super::Job;
use crate::carrying::Files;
use crate::interval::{Every, Share};
use crate::lease::TTLS;
use crate::outcome::Notice;
use dormouse_engine::HostFunctions;
use dormouse_memory::Tracking;
use dormouse_store::{Depot, Retention};
use dormouse_wasi::StdioConfig;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

impl Job {
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

    /// Functions that the module may import besides WASI's, and what they remember: it is saved with each checkpoint and
    /// restored by a resume. Whoever resumes a program gives it those that it imports; they are refused by name where
    /// they are missing ([`Error::NeedsHost`](crate::Error::NeedsHost)), and so are states that nobody knows.
    ///
    /// ```
    /// use dormouse::{HostFunctions, Job, Outcome, Type::I32};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let module = wat::parse_str(r#"(module
    ///     (import "answer" "get" (func $get (result i32)))
    ///     (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    ///     (func (export "_start") (call $exit (call $get))))"#)?;
    /// let host = HostFunctions::new().with("answer", "get", &[], &[I32], |_, _| Ok(vec![42.into()]));
    /// let outcome = Job::new(dir.path()).host(host).run("answer", module.into(), vec![])?;
    /// assert_eq!(outcome, Outcome::Exited(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn host(mut self, functions: HostFunctions) -> Job {
        self.host = functions;
        self
    }

    /// Carries each checkpoint into a depot, too, once it is durable in the store; only what the depot does not have is sent.
    /// [`Notice::Carried`] says when it is there: [`Notice::Saved`] speaks of the store alone. A depot that fails
    /// ([`Notice::NotCarried`]) harms neither the program nor the checkpoint, and the next one is tried again. [`Job::run`]
    /// and [`Job::resume`] return when the last one has been carried, or that has failed.
    ///
    /// A resume takes out of it what the store lacks, so that the store may be empty. What it remembers is a stranger's
    /// word then, as that of any checkpoint from elsewhere.
    ///
    /// A depot has no lease: that a job does not run twice, from two stores, is for whoever resumes it to know.
    pub fn depot(mut self, depot: impl Depot + 'static) -> Job {
        self.depot = Some(Arc::new(depot));
        self
    }

    /// What is done for the program's files; by default [`Files::Check`], or as it was.
    pub fn files(mut self, files: Files) -> Job {
        self.files = Some(files);
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

    /// Whether SIGTERM, SIGUSR1 and SIGINT to this process are orders to this job; of [`Job::until`], whether SIGTERM and SIGINT
    /// remove its copies and are told.
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
}
