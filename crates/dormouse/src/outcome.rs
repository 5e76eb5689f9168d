//! What is told of a job while it runs, and how it ends.

use crate::desk::Why;
use crate::{exit, one_line};
use dormouse_engine::{Code, Passed, Place, Trap};
use dormouse_store::{CheckpointInfo, Meter};
use std::path::PathBuf;
use std::time::Duration;

/// What a resume would find: see [`Job::rehearse`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rehearsal {
    /// Which checkpoint.
    pub checkpoint: CheckpointInfo,
    /// Bytes of all its memories.
    pub memory: u64,
    /// Directories and files.
    pub files: dormouse_wasi::Rehearsal,
}

/// What happens to a running job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A module is being made ready; the first time this compiles it.
    Loading,
    /// Something that may take long is begun. Whoever wants to show how far it is looks at the meter now and then, until
    /// [`Notice::ProgressEnds`] or until something else is begun.
    Progress {
        /// What.
        what: Activity,
        /// How far it is.
        meter: Meter,
    },
    /// What was begun last has ended.
    ProgressEnds,
    /// The program begins, or goes on.
    Begins {
        /// The job.
        job: String,
    },
    /// [`Job::run_or_resume`](crate::Job::run_or_resume) found a checkpoint, from which the program will go on.
    GoesOn {
        /// Which.
        checkpoint: CheckpointInfo,
    },
    /// A program is run again from here, to be stopped somewhere.
    RunsAgain {
        /// The checkpoint.
        checkpoint: CheckpointInfo,
        /// It is known where to, and it has been there.
        back: bool,
    },
    /// A checkpoint is durable.
    Saved {
        /// Which.
        checkpoint: CheckpointInfo,
        /// Who wanted it; if several did, not the timer.
        why: Why,
        /// Whether it is the first since the program began or was resumed.
        first: bool,
    },
    /// A checkpoint could not be taken. The program goes on, and all older ones are whole.
    Failed {
        /// In one line.
        message: String,
        /// Who wanted it.
        why: Why,
    },
    /// A checkpoint is in the depot ([`crate::Job::depot`]), too.
    Carried {
        /// Which.
        checkpoint: CheckpointInfo,
        /// Bytes that the depot did not have yet.
        bytes: u64,
    },
    /// A checkpoint is not in the depot. The program goes on, the store has it, and the next one is carried with all that it
    /// needs.
    NotCarried {
        /// Which.
        checkpoint: CheckpointInfo,
        /// Why, in one line.
        message: String,
    },
    /// It is some time since SIGTERM ([`crate::Job::grace`]), and no checkpoint is durable yet. If one is being taken, it
    /// still is.
    Late {
        /// How long.
        grace: Duration,
        /// Why the last attempt failed, if it did: the program goes on.
        failed: Option<String>,
    },
    /// Ctrl-C: a checkpoint is being taken, then the program ends.
    Stopping,
    /// The second Ctrl-C: the program is to end at once.
    StopNow,
    /// This signal came, SIGINT or SIGTERM, while a program was run again by [`crate::Job::until`]: whoever is told ends this process.
    Interrupted {
        /// Its number.
        signal: i32,
    },
    /// The lease names a process of another host, and nobody can tell at once whether that still runs: it is being watched.
    Waiting {
        /// The job.
        job: String,
        /// Who has it, in words.
        by: String,
        /// If it is not renewed for so long, it is taken over.
        at_most: Duration,
        /// Its file. If that process is known to be dead, removing it ends the waiting.
        lease: PathBuf,
    },
    /// Of a resume that reads while the program runs: the rest of the image cannot be read, and the program may wait for it for
    /// ever. Whoever is told ends this process.
    Unreadable {
        /// Why.
        message: String,
    },
    /// Something the user should know.
    Warning(String),
}

/// What may take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// A checkpoint's files are compared with their digests.
    Checking,
    /// The program's memories are read; then it goes on.
    Reading,
    /// A checkpoint is written, and the program will be stopped.
    Writing,
}

/// How a program came to its end, or to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ended with this exit status.
    Exited(u32),
    /// The function that was called returned these values.
    Returned(Vec<Passed>),
    /// It trapped.
    Trapped {
        /// The engine's words.
        message: String,
        /// The functions it happened in, innermost first.
        places: Vec<Place>,
    },
    /// It made a call that could not be answered, such as one with an address outside of its memory.
    Aborted {
        /// The call, and what was wrong with it.
        message: String,
        /// The functions it happened in, innermost first.
        places: Vec<Place>,
    },
    /// It sleeps: it was stopped once this checkpoint was durable.
    Stopped {
        /// Where it can be resumed from.
        checkpoint: CheckpointInfo,
        /// Who stopped it.
        why: Why,
    },
    /// It was ended without a checkpoint.
    Killed,
    /// It was ended without a checkpoint, because it had run for as long as it might ([`crate::Job::timeout`]).
    TimedOut,
    /// It was ended without a checkpoint, because another has its lease and there must not be two copies.
    LeaseLost {
        /// What became of the lease.
        why: String,
    },
}

impl Outcome {
    /// The exit status of a command that ran it: see [`crate::exit`].
    pub fn status(&self) -> u8 {
        match self {
            Outcome::Exited(code) => u8::try_from(*code).unwrap_or(u8::MAX),
            Outcome::Returned(_) => 0,
            Outcome::Trapped { .. } => exit::TRAPPED,
            Outcome::Aborted { .. } => exit::ABORTED,
            Outcome::Stopped { why: Why::Interrupt, .. } => exit::INTERRUPTED,
            Outcome::Stopped { .. } => exit::CHECKPOINTED,
            Outcome::Killed | Outcome::LeaseLost { .. } => exit::KILLED,
            Outcome::TimedOut => exit::TIMED_OUT,
        }
    }

    /// In one line, after "it".
    pub(crate) fn words(&self) -> String {
        match self {
            Outcome::Exited(code) => format!("exited with status {code}"),
            Outcome::Returned(_) => "returned".to_owned(),
            Outcome::Trapped { message, .. } => format!("trapped: {}", one_line(message)),
            Outcome::Aborted { message, .. } => format!("made a bad call: {}", one_line(message)),
            Outcome::Stopped { checkpoint, .. } => format!("was stopped at {}", checkpoint.name()),
            Outcome::Killed => "was ended without a checkpoint".to_owned(),
            Outcome::TimedOut => "was ended by --timeout, without a checkpoint".to_owned(),
            Outcome::LeaseLost { why } => format!("was ended: its lease was lost ({why})"),
        }
    }

    pub(crate) fn trapped(code: &Code, trap: &Trap) -> Outcome {
        let places = code.backtrace(trap).unwrap_or_default();
        Outcome::Trapped { message: trap.message().to_owned(), places }
    }

    pub(crate) fn aborted(code: &Code, trap: &Trap) -> Outcome {
        let places = code.backtrace(trap).unwrap_or_default();
        Outcome::Aborted { message: trap.message().to_owned(), places }
    }
}
