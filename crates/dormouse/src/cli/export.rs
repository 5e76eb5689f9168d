//! `export` and `import`: checkpoints as files.

use super::{Listing, Opening, Place};
use clap::Args;
use dormouse::Target;
use std::path::PathBuf;

#[derive(Args)]
pub struct Export {
    /// JOB (its newest good checkpoint) or JOB@N
    pub target: Target,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub opening: Opening,
    #[command(flatten)]
    pub what: What,
    /// Keep the module's safepoints, so that other embedders can stop it, and `dormouse import` takes in what they saved
    #[arg(long, requires = "wasm")]
    pub checkpointable: bool,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub struct What {
    /// Write a WASI module that goes on from the checkpoint in any engine
    #[arg(long, value_name = "FILE")]
    pub wasm: Option<PathBuf>,
    /// Write a WebAssembly core dump, for debuggers
    #[arg(long, value_name = "FILE")]
    pub coredump: Option<PathBuf>,
    /// Write the checkpoint as it is in the store, with all it needs: an OCI archive, for `dormouse import`
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
}

#[derive(Args)]
pub struct Import {
    /// What `export --archive` wrote, or what was saved of a module of `export --checkpointable`; `-` is standard input
    pub file: PathBuf,
    /// Take it in as a checkpoint of this job, under its next number [default: an archive's own]
    #[arg(long, value_name = "JOB")]
    pub name: Option<String>,
    #[command(flatten)]
    pub listing: Listing,
}
