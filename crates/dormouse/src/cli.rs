//! What can be typed, and which command does it.

#[cfg(feature = "registry")]
use crate::commands::registry;
#[cfg(feature = "ui")]
use crate::commands::ui as page;
use crate::commands::{
    self, check, config, control, debug, demo, diff, gc, generate, inspect, list, ps, rm, run,
    stats, verify,
};
use crate::config as settings;
use crate::size::Size;
use crate::ui;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueHint};
use dormouse::{Error, Every, Hook, Result, Share, Target, exit, places};
use dormouse_memory::Tracking;
#[cfg(feature = "encryption")]
use dormouse_store::Keys;
use dormouse_store::Store;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

mod export;
mod keep;
mod look;
mod travel;
#[cfg(feature = "ui")]
mod ui_page;
pub use export::{Export, Import};
pub use keep::{Keep, Rule};
pub use look::{Diff, Inspect};
pub use travel::Debug;
#[cfg(feature = "ui")]
pub use ui_page::Ui;

/// Runs WASI programs, puts them to sleep at any instant, and wakes them: here or elsewhere.
#[derive(Parser)]
#[command(name = "dormouse", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// Read no configuration files [also: DORMOUSE_NO_CONFIG=1]
    #[arg(long, global = true)]
    no_config: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program as a job that can be checkpointed
    #[command(after_help = exit::HELP)]
    Run(Run),
    /// Take a checkpoint of a running job; it goes on running
    Checkpoint(Checkpoint),
    /// Go on from a checkpoint
    #[command(after_help = exit::HELP)]
    Resume(Resume),
    /// End a running job without a checkpoint
    Kill(Named),
    /// Have a running job stand still, in memory; it keeps its lease, and takes checkpoints when it is told to
    Pause(Named),
    /// Let a paused job go on
    Unpause(Named),
    /// Wait until a running job has ended or was stopped; the exit status is that of its `run` or `resume`
    Wait(Wait),
    /// Show the jobs that run
    Ps(Ps),
    /// Show the jobs that have checkpoints, or the checkpoints of one
    List(List),
    /// Show what the checkpoints of a job cost: pauses, pages, bytes
    Stats(Stats),
    /// Show what a checkpoint holds
    Inspect(Inspect),
    /// Show how two checkpoints differ: 0 if they hold the same, 1 if not
    Diff(Diff),
    /// Run a program again from a checkpoint, beside the job, and stop it: before a trap, in a function, a step on or back
    Debug(Debug),
    /// Make a file of a checkpoint for others: a module that goes on from it, or a core dump
    Export(Export),
    /// Take in a checkpoint from a file
    Import(Import),
    /// Check that every checkpoint of the store is whole
    Verify(Verify),
    /// Remove old checkpoints by rules, and delete what no checkpoint needs
    Gc(Gc),
    /// Remove checkpoints
    Rm(Rm),
    /// Send a checkpoint to an OCI registry
    #[cfg(feature = "registry")]
    Push(Push),
    /// Fetch a checkpoint from an OCI registry
    #[cfg(feature = "registry")]
    Pull(Pull),
    /// Show jobs, checkpoints and what they hold on a page in the browser
    #[cfg(feature = "ui")]
    Ui(Ui),
    /// Say what a module uses, and whether it can be checkpointed
    Check(Check),
    /// Watch a computation being killed and resumed, and arrive at the same result
    Demo(Demo),
    /// Show what configuration files and environment variables set, and which of them does
    Config(Config),
    /// Print what a shell needs to complete commands and options
    Completions(Completions),
    /// Write manual pages, one for each command
    Man(Man),
}

#[derive(Args)]
pub struct Place {
    /// Where checkpoints are kept [default: $DORMOUSE_STORE or ~/.local/share/dormouse]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// It was not typed: whoever says the next command need not do so either.
    #[arg(skip)]
    is_set: bool,
}

impl Place {
    pub fn dir(&self) -> Result<PathBuf> {
        self.store.clone().map_or_else(places::store, Ok)
    }

    /// What to add to a command so that it finds the same store.
    pub fn hint(&self) -> String {
        match self.store.as_ref().filter(|_| !self.is_set) {
            Some(dir) => format!(" --store {}", ui::quoted(&dir.to_string_lossy())),
            None => String::new(),
        }
    }
}

#[derive(Args)]
pub struct Opening {
    /// Open what was encrypted with an age identity of this file [default: $DORMOUSE_IDENTITY]
    #[arg(long = "identity", value_name = "FILE")]
    pub identities: Vec<PathBuf>,
}

impl Opening {
    /// The contents of the files.
    pub fn identities(&self) -> Result<Vec<String>> {
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).map_err(|source| Error::Io {
                action: "read the identities in",
                path: file.clone(),
                source,
            })
        };
        self.identities.iter().map(read).collect()
    }

    /// A store, opened with them.
    pub fn store(&self, place: &Place) -> Result<Store> {
        let store = Store::open(&place.dir()?)?;
        #[cfg(feature = "encryption")]
        {
            let keys = self
                .identities()?
                .iter()
                .try_fold(Keys::default(), |keys, text| keys.identities(text))?;
            Ok(store.with_keys(keys))
        }
        #[cfg(not(feature = "encryption"))]
        Ok(store)
    }
}

#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    pub listing: Listing,
    #[command(flatten)]
    pub opening: Opening,
}

#[derive(Args)]
pub struct Engine {
    #[command(flatten)]
    pub place: Place,
    /// Take a checkpoint this often: 30s, 5m, 1h; `auto`: as often as is best for what one costs; `never`
    #[arg(long, value_name = "DURATION")]
    pub every: Option<Every>,
    /// With --every auto: failures come this far apart, in the mean: 6h, 24h, 7days [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = mtbf)]
    pub mtbf: Option<Duration>,
    /// Take checkpoints seldomer where they would take more of the time than this: 1%, 0.5%; `none`
    /// [default: 1% with --every auto, else none]
    #[arg(long, value_name = "SHARE", value_parser = Rule::<Share>::share)]
    pub max_overhead: Option<Rule<Share>>,
    /// Append what each checkpoint cost to this file, as lines of JSON
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    #[command(flatten)]
    pub keep: Keep,
    #[command(flatten)]
    pub life: Life,
    /// Set an environment variable; without =VALUE it is taken from here
    #[arg(long, value_name = "K=V")]
    pub env: Vec<String>,
    /// Stack the program can count on: 64M, 1G [default: 64M]
    #[arg(long, value_name = "SIZE")]
    pub stack: Option<Size>,
    /// Compute the same bits on every host: one NaN, and the deterministic relaxed SIMD
    #[arg(long)]
    pub deterministic: bool,
    /// Interpret the program instead of compiling it; always so on processors that the compiler does not know
    #[arg(long)]
    pub interpret: bool,
    /// Test: stop with a checkpoint at the Nth safepoint from here; 0, of `resume`: at once
    #[arg(long, value_name = "N", conflicts_with_all = ["every", "tier_up", "stop_after", "timeout"])]
    pub stop_at: Option<u32>,
    /// How many layers of changes a checkpoint may be made of before they are squashed, in the background; with 0 all
    /// pages are written every time
    #[arg(long, value_name = "N", default_value_t = dormouse_store::MAX_LAYERS)]
    pub max_layers: usize,
    /// Store every changed page whole, even if little of it changed
    #[arg(long)]
    pub no_deltas: bool,
    /// How it is found out which pages the program wrote: auto, userfaultfd, mprotect, compare
    #[arg(long, value_name = "HOW", default_value_t = Tracking::Auto)]
    pub tracking: Tracking,
    /// Copy what the program wrote while it stands still only, not while it runs
    #[arg(long)]
    pub no_precopy: bool,
    /// Encrypt states and memories for this age recipient (age1...), and those named likewise; a resumed job's stay so
    #[arg(long, value_name = "RECIPIENT")]
    pub encrypt_to: Vec<String>,
    /// Encrypt the module too
    #[arg(long, requires = "encrypt_to")]
    pub encrypt_module: bool,
    /// If the job's lease names a process of another host, do not watch whether that lives, but fail
    #[arg(long)]
    pub no_wait: bool,
    /// Where compiled code is kept [default: $DORMOUSE_CACHE or ~/.cache/dormouse]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub cache: Option<PathBuf>,
    /// How much of it is kept: 500M, 2G; what was not used for longest goes [default: $DORMOUSE_CACHE_SIZE or 1G]
    #[arg(long, value_name = "SIZE", value_parser = crate::size::bytes)]
    pub cache_size: Option<u64>,
    /// Compile every time
    #[arg(long)]
    pub no_cache: bool,
    /// If the program must be compiled, do that quickly, begin, and compile it well while it runs
    #[arg(long, conflicts_with = "interpret")]
    pub tier_up: bool,
    /// What happens to files: `check`: what the program does to them after a checkpoint is undone by a resume, and open
    /// files must be as they were; `copy`: also, the contents of those it changed, and of open ones, travel with the
    /// checkpoint; `none`: nothing [default: check, or as it was]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(["copy", "check", "none"])
        .try_map(|rule| rule.parse::<dormouse::Files>()))]
    pub files: Option<dormouse::Files>,
}

/// What happens around checkpoints, and when the program is to stop. Nothing of it is remembered.
#[derive(Args)]
pub struct Life {
    /// Stop with a checkpoint, and exit status 85, when the program has run for so long: 50m, 11h
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub stop_after: Option<Duration>,
    /// End the program without a checkpoint, with exit status 124, when it has run for so long
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub timeout: Option<Duration>,
    /// So long after SIGTERM comes SIGKILL: try again in that time if the checkpoint fails, and say if it was too short
    #[arg(long, value_name = "DURATION", value_parser = time)]
    pub grace: Option<Duration>,
    /// Run a command (by /bin/sh) at a moment: pre-checkpoint, post-checkpoint, pre-resume, post-resume. Facts are on its
    /// stdin, as JSON; if one before fails, there is no checkpoint, or no resume
    #[arg(long, value_name = "MOMENT=COMMAND")]
    pub on: Vec<Hook>,
    /// Kill such a command after so long; then it has failed
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = time)]
    pub hook_timeout: Duration,
}

#[derive(Args)]
pub struct Run {
    /// Name of the job [default: the program's name and something unique]
    #[arg(long, value_name = "JOB")]
    pub name: Option<String>,
    /// Go on from the newest checkpoint of the job if it has one; else begin. Module, --invoke and arguments must be
    /// those of the checkpoint
    #[arg(long, requires = "name", conflicts_with = "chaos")]
    pub resume_if_any: bool,
    #[command(flatten)]
    pub engine: Engine,
    /// Open the checkpoint, if it is encrypted, with an age identity of this file [default: $DORMOUSE_IDENTITY]
    #[arg(long = "identity", value_name = "FILE", requires = "resume_if_any")]
    pub identities: Vec<PathBuf>,
    /// Give the program a directory
    #[arg(long, value_name = "HOST::GUEST", value_hint = ValueHint::DirPath)]
    pub dir: Vec<Dir>,
    /// Call this exported function, with ARGS as its arguments, and print what it returns
    #[arg(long, value_name = "FUNCTION")]
    pub invoke: Option<String>,
    /// Test: stop and go on in a fresh instance at every Nth safepoint (at up to the Nth with --seed)
    #[arg(long, value_name = "N", conflicts_with_all = ["name", "store", "every", "stop_at", "tier_up", "on", "stop_after", "timeout", "grace"],
          value_parser = clap::value_parser!(u32).range(1..))]
    pub chaos: Option<u32>,
    /// Draw the gaps of --chaos from this seed
    #[arg(long, value_name = "S", requires = "chaos")]
    pub seed: Option<u64>,
    /// The program: a WebAssembly module compiled for wasm32-wasi
    pub program: PathBuf,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

#[derive(Args)]
pub struct Checkpoint {
    /// The job, as `dormouse ps` shows it
    pub job: String,
    #[command(flatten)]
    pub place: Place,
    /// Stop the program once the checkpoint is durable
    #[arg(short, long)]
    pub stop: bool,
    /// Let the program go on (it does so anyway)
    #[arg(long, visible_alias = "leave-running", conflicts_with = "stop")]
    pub keep_running: bool,
    /// Come back when the checkpoint is durable (that is so anyway)
    #[arg(long)]
    pub wait: bool,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Resume {
    /// JOB (its newest good checkpoint) or JOB@N
    pub target: Target,
    #[command(flatten)]
    pub engine: Engine,
    #[command(flatten)]
    pub opening: Opening,
    /// Give another directory for a name the program knows
    #[arg(long, value_name = "HOST::GUEST", value_hint = ValueHint::DirPath)]
    pub dir: Vec<Dir>,
    /// Give no directories but those of --dir, whatever the checkpoint says the program had
    #[arg(long)]
    pub no_recorded_dirs: bool,
    /// Go on as another job of this name; the first may run as well
    #[arg(long, value_name = "NAME")]
    pub clone: Option<String>,
    /// Go on at once; memory is read, and verified, when it is touched, and by and by (Linux)
    #[arg(long, conflicts_with_all = ["dry_run", "tracking", "tier_up"])]
    pub lazy: bool,
    /// Run it beside the job, as another job (--clone, else JOB.debug) and on copies of its files, and stop it there: `trap`,
    /// `safepoint=K`, or a function; `dormouse debug` has more options
    #[arg(long, value_name = "WHERE", conflicts_with_all = travel::NOT_WITH_UNTIL)]
    pub until: Option<dormouse::Until>,
    /// Refuse unless the checkpoint is of this module
    #[arg(long, value_name = "FILE")]
    pub module: Option<PathBuf>,
    /// Only say whether it can go on here, and what would be done to files; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Answer in JSON
    #[arg(long, requires = "dry_run")]
    pub json: bool,
}

#[derive(Args)]
pub struct Named {
    /// The job
    pub job: String,
    #[command(flatten)]
    pub place: Place,
}

#[derive(Args)]
pub struct Wait {
    /// The job
    pub job: String,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Args)]
pub struct Listing {
    #[command(flatten)]
    pub place: Place,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Ps {
    #[command(flatten)]
    pub listing: Listing,
    /// Show more than fits into 80 columns
    #[arg(short, long)]
    pub long: bool,
}

#[derive(Args)]
pub struct List {
    /// Show the checkpoints of this job
    pub job: Option<String>,
    #[command(flatten)]
    pub listing: Listing,
}

#[derive(Args)]
pub struct Stats {
    /// The job, running or not
    pub job: String,
    #[command(flatten)]
    pub listing: Listing,
    /// Only the last N checkpoints
    #[arg(long, value_name = "N")]
    pub last: Option<usize>,
}

#[derive(Args)]
pub struct Gc {
    /// The jobs that the rules are for [default: all]
    #[arg(requires = "keep")]
    pub job: Vec<String>,
    #[command(flatten)]
    pub keep: Keep,
    #[command(flatten)]
    pub listing: Listing,
    /// Only say what would go; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct Rm {
    /// JOB@N, or JOB for all its checkpoints (with --all)
    #[arg(required = true)]
    pub target: Vec<Target>,
    /// Remove all checkpoints of a job that is named without a number
    #[arg(long)]
    pub all: bool,
    /// Also of a job that is running
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub listing: Listing,
    /// Only say what would go; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[cfg(feature = "registry")]
#[derive(Args)]
pub struct Push {
    /// JOB (its newest good checkpoint) or JOB@N
    pub target: Target,
    /// Where to: REGISTRY/NAME:TAG; without :TAG, the tag is the checkpoint's number
    #[arg(value_name = "REFERENCE")]
    pub to: dormouse_registry::Reference,
    #[command(flatten)]
    pub listing: Listing,
    /// Speak HTTP without TLS to a registry on another machine
    #[arg(long)]
    pub plain_http: bool,
}

#[cfg(feature = "registry")]
#[derive(Args)]
pub struct Pull {
    /// Where from: REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST
    #[arg(value_name = "REFERENCE")]
    pub from: dormouse_registry::Reference,
    /// Take it in as a checkpoint of this job, under its next number
    #[arg(long, value_name = "JOB")]
    pub name: Option<String>,
    #[command(flatten)]
    pub listing: Listing,
    /// Speak HTTP without TLS to a registry on another machine
    #[arg(long)]
    pub plain_http: bool,
}

#[derive(Args)]
pub struct Check {
    /// The module
    pub program: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct Demo {
    /// Keep the demo's directory, and say where it is
    #[arg(long)]
    pub keep: bool,
}

/// `HOST::GUEST`, or `DIR` for both.
#[derive(Clone)]
pub struct Dir {
    pub host: PathBuf,
    pub guest: String,
}

impl FromStr for Dir {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Dir, String> {
        let (host, guest) = text.split_once("::").unwrap_or((text, text));
        if host.is_empty() || guest.is_empty() {
            return Err("write HOST::GUEST, or one directory for both".to_owned());
        }
        Ok(Dir { host: host.into(), guest: guest.to_owned() })
    }
}

/// `90s`, `11h`.
fn time(text: &str) -> std::result::Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(d) if !d.is_zero() => Ok(d),
        Ok(_) => Err("write more than 0s".to_owned()),
        Err(_) => Err("write a number and a unit, such as 30s, 50m or 11h".to_owned()),
    }
}

/// `6h`, `7days`.
fn mtbf(text: &str) -> std::result::Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(d) if d >= Duration::from_secs(1) => Ok(d),
        Ok(_) => Err("write at least 1s".to_owned()),
        Err(_) => Err("write a number and a unit, such as 30m, 6h or 7days".to_owned()),
    }
}

#[derive(Args)]
pub struct Config {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Read no configuration files
    #[arg(skip)]
    pub no_files: bool,
}

#[derive(Args)]
pub struct Completions {
    /// For this shell
    pub shell: clap_complete::Shell,
}

#[derive(Args)]
pub struct Man {
    /// Into this directory
    pub dir: PathBuf,
}

impl Cli {
    /// As clap knows it, with what configuration needs.
    pub fn complete() -> clap::Command {
        let mut command = settings::with_opposites(Cli::command());
        command.build();
        command
    }

    /// What was typed, with what is set besides; else the exit status, and it was told why.
    fn parsed() -> std::result::Result<Cli, u8> {
        let command = Cli::complete();
        let completed = settings::complete(&command, std::env::args_os().collect());
        let settings::Completed { words, added } = completed.map_err(|why| {
            ui::error(&why);
            exit::USAGE
        })?;
        let matches = command.try_get_matches_from(words);
        let mut cli = matches.and_then(|m| Cli::from_arg_matches(&m)).map_err(|e| {
            let _ = e.print();
            if e.use_stderr() && !added.is_empty() {
                let from = added.iter().map(|set| format!("--{} is set by {}", set.key, set.from));
                ui::note(&from.collect::<Vec<_>>().join("; "));
            }
            u8::try_from(e.exit_code()).unwrap_or(exit::USAGE)
        })?;
        let store_is_set = added.iter().any(|set| set.key == "store");
        match &mut cli.command {
            Command::Run(Run { engine, .. }) | Command::Resume(Resume { engine, .. }) => {
                engine.place.is_set = store_is_set;
            }
            Command::Debug(Debug { listing, .. })
            | Command::List(List { listing, .. })
            | Command::Verify(Verify { listing, .. }) => {
                listing.place.is_set = store_is_set;
            }
            #[cfg(feature = "registry")]
            Command::Pull(Pull { listing, .. }) => listing.place.is_set = store_is_set,
            Command::Import(Import { listing, .. }) => listing.place.is_set = store_is_set,
            #[cfg(feature = "ui")]
            Command::Ui(page) => {
                page.place.is_set = store_is_set;
                page.no_config = cli.no_config;
            }
            Command::Config(config) => config.no_files = cli.no_config,
            _ => {}
        }
        Ok(cli)
    }
}

pub fn main() -> ExitCode {
    ui::log();
    let cli = match Cli::parsed() {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    let done = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Resume(args) => run::resume(args),
        Command::Checkpoint(args) => control::checkpoint(args),
        Command::Kill(args) => control::kill(args),
        Command::Pause(args) => control::pause(args),
        Command::Unpause(args) => control::unpause(args),
        Command::Wait(args) => control::wait(args),
        Command::Ps(args) => ps::ps(args),
        Command::List(args) => list::list(args),
        Command::Stats(args) => stats::stats(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Diff(args) => diff::diff(args),
        Command::Debug(args) => debug::debug(args),
        Command::Export(args) => commands::export::export(args),
        Command::Import(args) => commands::export::import(args),
        Command::Verify(args) => verify::verify(args),
        Command::Gc(args) => gc::gc(args),
        Command::Rm(args) => rm::rm(args),
        #[cfg(feature = "registry")]
        Command::Push(args) => registry::push(args),
        #[cfg(feature = "registry")]
        Command::Pull(args) => registry::pull(args),
        #[cfg(feature = "ui")]
        Command::Ui(args) => page::ui(args),
        Command::Check(args) => check::check(args),
        Command::Demo(args) => demo::demo(args),
        Command::Config(args) => config::config(args),
        Command::Completions(args) => generate::completions(args),
        Command::Man(args) => generate::man(args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            ui::error(&e.to_string());
            ExitCode::from(exit::FAILED)
        }
    }
}
