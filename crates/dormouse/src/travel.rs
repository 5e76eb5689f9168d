//! Going back in a program's life: it is run again from a checkpoint, beside the job, and stopped where somebody wants to look at it.
//!
//! ```text
//!   sim@3 ────────── sim@4 ──────────────────────────x trap
//!                      └─ copies of its files ─> run again ──> stop: sim.debug@1     all of its state is there
//! ```
//!
//! A stop is a checkpoint like any other, of a job of its own; [`crate::annotations::STOP`] says where it comes from. What the
//! program does to files it does to copies (`scene`). Functions are known by name (`names`). [`crate::Job::until`] does it.

mod ending;
mod names;
mod scene;

pub(crate) use ending::{Ending, Unfinished};
pub(crate) use names::find;
pub use scene::forget;

pub(crate) use scene::{Given, Scene, copies, sweep, work_in};

use crate::outcome::Outcome;
use dormouse_store::CheckpointInfo;
use std::fmt;
use std::str::FromStr;

/// Where a program is to be stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// At the last safepoint before it traps.
    Trap,
    /// After so many safepoints; less than none, of a stop: so many before it.
    Safepoint(i64),
    /// Where this function is entered, before it does anything: `name`, `func[12]`, `12`, an import as `module.name`; with
    /// `=3`, the third time.
    Function(String),
}

impl FromStr for Until {
    type Err = String;

    /// `trap`, `safepoint=3`, `safepoint=-1`, or a function.
    fn from_str(text: &str) -> Result<Until, String> {
        if text.is_empty() {
            return Err("write trap, safepoint=K, or the name of a function".to_owned());
        }
        let is = |word: &str, known: &str| word.eq_ignore_ascii_case(known);
        if is(text, "trap") {
            return Ok(Until::Trap);
        }
        match text.split_once('=') {
            Some((word, n)) if is(word, "safepoint") => match n.parse() {
                Ok(n) => Ok(Until::Safepoint(n)),
                Err(_) => Err("write safepoint=K, with a number".to_owned()),
            },
            _ if is(text, "safepoint") => Err("write safepoint=K, with a number".to_owned()),
            _ => Ok(Until::Function(text.to_owned())),
        }
    }
}

/// As it is written.
impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::Trap => f.write_str("trap"),
            Until::Safepoint(n) => write!(f, "safepoint={n}"),
            Until::Function(name) => f.write_str(name),
        }
    }
}

/// A program that was run again and stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stop {
    /// All of its state.
    pub checkpoint: CheckpointInfo,
    /// What it was run from.
    pub from: CheckpointInfo,
    /// Where it stands.
    pub at: Where,
    /// What it does next, if that was what it was stopped before: [`Outcome::Trapped`] or [`Outcome::Aborted`].
    pub next: Option<Outcome>,
    /// Checkpoints from which it was run in vain before.
    pub tried: Vec<String>,
}

/// Where a program was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Where {
    /// So many safepoints after the checkpoint it was run from.
    Safepoint(u64),
    /// At the entry of a function.
    Entry {
        /// Its index in the module.
        func: u32,
        /// Its name.
        name: String,
        /// How often it was entered since the checkpoint, this time included.
        times: u32,
    },
}

/// Where a stop came from, and how far it is from there, if that is known. A stranger's is no stop: it goes with a job's rules.
pub fn origin(checkpoint: &CheckpointInfo) -> Option<(crate::Target, Option<u64>)> {
    if checkpoint.pulled {
        return None;
    }
    let text = checkpoint.annotations.get(crate::annotations::STOP)?;
    let (from, safepoints) = match text.split_once('+') {
        Some((from, n)) => (from, Some(n.parse().ok()?)),
        None => (text.as_str(), None),
    };
    Some((from.parse().ok()?, safepoints))
}

/// Whether these are the checkpoints of a job of stops: stops, and what was saved when one went on.
pub(crate) fn are_stops(checkpoints: &[CheckpointInfo]) -> bool {
    let is_stop = |c: &CheckpointInfo| origin(c).is_some();
    checkpoints.iter().any(is_stop) && checkpoints.iter().all(|c| is_stop(c) || copies(c).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, until) in [
            ("trap", Until::Trap),
            ("TRAP", Until::Trap),
            ("safepoint=3", Until::Safepoint(3)),
            ("SAFEPOINT=-2", Until::Safepoint(-2)),
            ("parse", Until::Function("parse".into())),
            ("parse=3", Until::Function("parse=3".into())),
            ("func[12]", Until::Function("func[12]".into())),
        ] {
            assert_eq!(text.parse(), Ok(until));
        }
        for bad in ["", "safepoint", "safepoint=", "safepoint=x"] {
            bad.parse::<Until>().unwrap_err();
        }
        assert_eq!("Trap".parse::<Until>().unwrap().to_string(), "trap");
    }
}
