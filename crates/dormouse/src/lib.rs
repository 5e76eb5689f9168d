//! Runs WASI programs, and puts them to sleep and wakes them in mid-execution.
//!
//! ```text
//!                       orders                       state + memories
//!   timer  ──┐        ┌────────┐  request  ┌───────┐  ┌────────┐
//!   signal ──┼──────> │  desk  │ ────────> │ drive │─>│ writer │──> dormouse-store
//!   socket ──┘ <───── └────────┘ <──────── └───────┘  └────────┘
//!              answer: durable, or why not            │  the program goes on meanwhile
//!                         ^───────────────────────────┘
//! ```
//!
//! A [`Job`] is one named program and its checkpoints. [`Job::run`] starts it, [`Job::resume`] goes
//! on from a checkpoint; both return when it has ended or was stopped. While it runs it holds a
//! [lease](running), answers on a socket ([`control`]), and takes checkpoints when it is told to,
//! at intervals and, if asked to, on signals. A checkpoint that fails never harms the program.
//!
//! ```
//! use dormouse::{Job, Outcome};
//!
//! let dir = tempfile::tempdir()?;
//! let module = wat::parse_str(r#"(module
//!     (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
//!     (memory (export "memory") 1)
//!     (func (export "_start") (call $exit (i32.const 7))))"#)?;
//!
//! let outcome = Job::new(dir.path().join("store"))
//!     .name("seven")
//!     .run("seven.wasm", module.into(), vec![])?;
//! assert_eq!(outcome, Outcome::Exited(7));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod beginning;
mod books;
mod carrying;
pub mod control;
mod copies;
mod depot;
mod desk;
mod door;
mod drive;
mod errors;
pub mod exit;
pub mod export;
mod grace;
mod held;
mod hooks;
mod host;
pub mod import;
pub mod interval;
mod job;
mod lazy;
mod lease;
#[cfg(test)]
mod lease_tests;
mod limits;
mod live;
pub mod look;
mod newest;
mod outcome;
mod pages;
pub mod places;
mod progress;
mod retain;
pub mod running;
mod sealing;
pub mod stats;
mod target;
mod tier;
mod timer;
pub mod travel;
mod upkeep;
mod usage;
mod writer;

pub use carrying::{Files, split};
pub use desk::Why;
pub use dormouse_engine::{
    Caller, ChaosReport, Gap, HostFunctions, HostState, Line, Passed, Place, Type,
};
pub use dormouse_memory::Tracking;
pub use dormouse_store as store;
pub use dormouse_store::{Meter, Retention};
pub use dormouse_wasi::{Stdio, StdioConfig};
pub use errors::{Error, Result, one_line};
pub use hooks::{Hook, Moment};
pub use interval::{Every, Share};
pub use job::Job;
pub use outcome::{Activity, Notice, Outcome, Rehearsal};
pub use target::Target;
pub use travel::{Stop, Until, Where};

/// Annotations this crate gives its checkpoints.
pub mod annotations {
    /// The program's name, as `argv[0]`.
    pub const PROGRAM: &str = "io.dormouse.program";
    /// The function that was called instead of `_start`; absent where none was.
    pub const INVOKE: &str = "io.dormouse.invoke";
    /// The interval between checkpoints, such as `30s`, or `auto`; absent where there was none.
    pub const EVERY: &str = "io.dormouse.every";
    /// The mean time between failures that the interval is chosen for, such as `6h`; absent where nothing was said.
    pub const MTBF: &str = "io.dormouse.mtbf";
    /// The share of the time that checkpoints may take, such as `1%`, or `none`; absent where nothing was said.
    pub const MAX_OVERHEAD: &str = "io.dormouse.max-overhead";
    /// The rules for old checkpoints, such as `last=3 daily=7`; absent where there were none.
    pub const KEEP: &str = "io.dormouse.keep";
    /// The program's stack in bytes.
    pub const STACK: &str = "io.dormouse.stack";
    /// The mark the program's files go back to, 16 hex digits; absent where none is kept.
    pub const MARK: &str = "io.dormouse.mark";
    /// What is done for the program's files: `copy` or `none`; absent where it is `check`.
    pub const FILES: &str = "io.dormouse.files";
    /// The age recipients that checkpoints are sealed for, with spaces between them; absent where they are not.
    pub const RECIPIENTS: &str = "io.dormouse.recipients";
    /// The engine that ran it, such as `wasmtime 48 cranelift`. Of no consequence: any other goes on.
    pub const ENGINE: &str = "io.dormouse.engine";
    /// How it was found out which pages the program wrote, such as `userfaultfd`. Of no consequence.
    pub const TRACKING: &str = "io.dormouse.tracking";
    /// Operating system and processor that it was taken on, such as `linux/x86_64`. Of no consequence.
    pub const HOST: &str = "io.dormouse.host";
    /// Of a stop that was made for looking at it: the checkpoint it was run from, such as `sim@4`, or with the number of safepoints
    /// between them, `sim@4+1207`.
    pub const STOP: &str = "io.dormouse.stop";
    /// Of a stop, and of what is saved when it goes on: the directory of the store with copies of the program's directories.
    pub const COPIES: &str = "io.dormouse.copies";
    /// Present where the program computes the same bits on every host.
    pub const DETERMINISTIC: &str = "io.dormouse.deterministic";
}
