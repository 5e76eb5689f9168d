//! `debug`.

use super::{Dir, Listing, Opening};
use clap::{Args, ValueHint};
use dormouse::{Target, Until};
use std::path::PathBuf;

#[derive(Args)]
pub struct Debug {
    /// JOB (its newest good checkpoint; if a function is looked for, the newest from which it is entered) or JOB@N
    pub target: Target,
    /// Where to stop: `trap`: at the last safepoint before it; `safepoint=K`: the Kth from there (less than 0, of a stop: before
    /// it); FUNCTION: where it is entered, FUNCTION=K: the Kth time
    #[arg(long, value_name = "WHERE", default_value = "trap")]
    pub until: Until,
    /// The stop becomes a checkpoint of this job [default: JOB.debug]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Use this directory for a name the program knows, as it is, and not a copy of its own
    #[arg(long, value_name = "HOST::GUEST", value_hint = ValueHint::DirPath)]
    pub dir: Vec<Dir>,
    /// Copy no directories, whatever the checkpoint says the program had: all are named with --dir
    #[arg(long)]
    pub no_recorded_dirs: bool,
    /// Copy at most so much of the program's directories
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = crate::size::bytes)]
    pub max_copy: u64,
    /// Show on stderr what the program writes to its standard streams
    #[arg(long)]
    pub output: bool,
    /// Let the program read this file as its standard input [default: nothing]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub input: Option<PathBuf>,
    /// Set an environment variable
    #[arg(long, value_name = "K=V")]
    pub env: Vec<String>,
    /// Interpret the program instead of compiling it
    #[arg(long)]
    pub interpret: bool,
    /// Show all frames, however many
    #[arg(long)]
    pub all: bool,
    /// Where compiled code is kept [default: $DORMOUSE_CACHE or ~/.cache/dormouse]
    #[arg(long, value_name = "DIR", conflicts_with = "no_cache")]
    pub cache: Option<PathBuf>,
    /// Compile every time
    #[arg(long)]
    pub no_cache: bool,
    #[command(flatten)]
    pub opening: Opening,
    #[command(flatten)]
    pub listing: Listing,
}

/// What means nothing to a run that is only to be stopped somewhere.
pub const NOT_WITH_UNTIL: [&str; 23] = [
    "dry_run",
    "every",
    "grace",
    "hook_timeout",
    "keep_daily",
    "keep_hourly",
    "keep_last",
    "keep_within",
    "lazy",
    "max_layers",
    "max_overhead",
    "max_store",
    "module",
    "mtbf",
    "no_deltas",
    "no_precopy",
    "on",
    "stats",
    "stop_after",
    "stop_at",
    "tier_up",
    "timeout",
    "tracking",
];
