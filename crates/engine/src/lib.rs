//! Runs programs on stock wasmtime, stops them at any safepoint, and makes them go on: in place, in
//! a fresh instance, or in another process.
//!
//! ```text
//!   machine   settings, compiled code, caches        request   stop it from another thread
//!   link      WASI imports                           capture   stopped program -> State
//!   run       start, call, advance, go on            restore   State -> program that goes on
//!   values    arguments and results
//!   host      functions of the embedder's, and what they remember
//!   trap      what went wrong, in original functions and offsets
//!   source    lines of source code, from DWARF        pause     how long it stood still
//!   cache     compiled code on disk                  chaos     stop at every Nth safepoint
//! ```
#![deny(missing_docs)]

mod cache;
mod capture;
mod chaos;
mod error;
mod host;
mod linear;
mod link;
mod machine;
mod observe;
mod pause;
mod plain;
mod references;
mod request;
mod restore;
mod run;
mod source;
mod tiers;
mod trap;
mod values;

pub use chaos::{Chaos, ChaosReport, Gap, chaos};
pub use dormouse_transform::Entries;
pub use dormouse_wasi::Waits;
pub use error::{Error, Result};
pub use host::{Caller, HostFunctions, HostState, Type};
pub use link::restartable;
pub use machine::{Code, HEADROOM, Machine, Options};
#[doc(hidden)]
pub use observe::Observed;
pub use pause::Pause;
pub use plain::Plain;
pub use request::Requester;
pub use run::{Event, Run};
pub use source::Line;
pub use tiers::Better;
pub use trap::{Place, Trap};
pub use values::Passed;

/// The engine's name and version.
pub const NAME: &str = "wasmtime 48";
