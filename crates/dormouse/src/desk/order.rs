//! Orders for checkpoints: who wants one, and what is answered.

use dormouse_store::CheckpointInfo;
use std::sync::mpsc::Sender;
use std::time::Instant;

/// Who wanted a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The interval has passed.
    Timer,
    /// Somebody asked on the job's socket.
    Asked,
    /// SIGUSR1.
    Usr1,
    /// SIGTERM.
    Term,
    /// Ctrl-C.
    Interrupt,
    /// The program itself, with `dormouse_checkpoint`.
    Program,
    /// It has run for as long as it was to.
    Limit,
}

impl Why {
    /// As statistics have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Why::Timer => "timer",
            Why::Asked => "asked",
            Why::Usr1 => "usr1",
            Why::Term => "term",
            Why::Interrupt => "int",
            Why::Program => "program",
            Why::Limit => "limit",
        }
    }
}

/// Durable, or why not.
pub(crate) type Answer = std::result::Result<CheckpointInfo, String>;

/// A checkpoint that somebody wants.
pub(crate) struct Order {
    pub why: Why,
    /// The program ends once the checkpoint is durable.
    pub stop: bool,
    pub(super) at: Instant,
    pub(super) reply: Option<Sender<Answer>>,
}

/// What to do with a program that stands still.
pub(crate) enum Task {
    /// Go on: nobody wants anything.
    Nothing,
    /// End, without a checkpoint.
    Kill,
    /// Take a checkpoint, then answer these.
    Checkpoint(Vec<Order>),
}
