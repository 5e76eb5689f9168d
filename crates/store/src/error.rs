//! What can go wrong, and what to do about it.
//!
//! ```text
//!   StoreError            the call failed; the message says what to do next
//!    └─ Damaged(Damage)   .. because a file is not what it should be
//!   Damage                which file, of which checkpoint, and how it is bad
//! ```

use crate::layer::LayerError;
use dormouse_state::{DecodeError, InvalidState};
use std::path::{Path, PathBuf};

/// A store call that failed. Unless said otherwise, nothing in the store has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store.
    #[error("there is no store at {}; name another with --store, or save a checkpoint there first", dir.display())]
    NoStore {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Something else is there.
    #[error(
        "{} is not a dormouse store and not empty; name an empty or new directory with --store",
        dir.display()
    )]
    NotAStore {
        /// Where a store was wanted.
        dir: PathBuf,
    },
    /// A name that cannot be a job's.
    #[error(
        "\"{name}\" cannot be the name of a job; use up to 128 letters, digits, '.', '_' and '-', \
         beginning with a letter or digit"
    )]
    BadJobName {
        /// The name.
        name: String,
    },
    /// No checkpoint of this job.
    #[error("the store has no checkpoint of job {job}; `dormouse list` shows what it has")]
    NoJob {
        /// The job.
        job: String,
    },
    /// The job has other checkpoints only.
    #[error("the store has no checkpoint {job}@{number}; `dormouse list {job}` shows those it has")]
    NoCheckpoint {
        /// The job.
        job: String,
        /// The number.
        number: u64,
    },
    /// The checkpoint that was asked for is damaged.
    #[error("{0}; without a number the newest good checkpoint is taken")]
    Damaged(Damage),
    /// Every checkpoint of the job is damaged.
    #[error("every checkpoint of job {job} is damaged:{}", lines(damages))]
    AllDamaged {
        /// The job.
        job: String,
        /// What is bad, newest checkpoint first.
        damages: Vec<Damage>,
    },
    /// Written by a dormouse that knows more than this one.
    #[error("{} holds {what}; use a newer dormouse", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is in it, and what can be read.
        what: String,
    },
    /// The disk is full. Everything the save had written is removed again.
    #[error("no space left in {}: {}", dir.display(), shortage(*needed, *free))]
    NoSpace {
        /// The store.
        dir: PathBuf,
        /// How many bytes the checkpoint takes.
        needed: u64,
        /// How many bytes are free, if the system tells.
        free: Option<u64>,
    },
    /// Changes were given, but what they are changes to is not there (any more).
    #[error("layers of the checkpoint before this one are gone; save all pages of the memories")]
    NoParent,
    /// A job has had the highest number there is; an image from elsewhere may have brought it.
    #[error(
        "job {job} has no more numbers for checkpoints; go on under another name: `dormouse resume {job} --clone NAME`"
    )]
    NoNumbers {
        /// The job.
        job: String,
    },
    /// A text that is to be a key is none.
    #[error(
        "{what}; `age-keygen` makes keys: an identity to keep secret, and the recipient that belongs to it"
    )]
    BadKey {
        /// What is wrong with it.
        what: String,
    },
    /// It is encrypted, and no key that was given opens it.
    #[error("{what} is encrypted{}", no_key(*given))]
    NoKey {
        /// Which part of which checkpoint.
        what: String,
        /// Whether any key was given.
        given: bool,
    },
    /// Others save without a pause.
    #[error(
        "others are saving into {} without a pause, so nothing was removed; try again later",
        dir.display()
    )]
    Busy {
        /// The store.
        dir: PathBuf,
    },
    /// The caller's guard did not allow it.
    #[error("the checkpoint was not saved: {why}")]
    Refused {
        /// Its reason.
        why: String,
    },
    /// The state cannot be carried.
    #[error("cannot save this state: {0}")]
    InvalidState(#[from] InvalidState),
    /// The encoded state or the module is too large.
    #[error("cannot save a {what} of {len} bytes; at most {limit} can be carried")]
    TooLarge {
        /// Which of them.
        what: &'static str,
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// The module is not the one the state was taken from.
    #[error("the module's digest is {found}, but the state belongs to {expected}")]
    ModuleMismatch {
        /// The state's module.
        expected: String,
        /// The module given.
        found: String,
    },
    /// The memories are not the state's.
    #[error("memory {index} was given with {found} pages, but the state has it with {expected}")]
    MemoryMismatch {
        /// The memory.
        index: u32,
        /// Pages in the state; `none` where it has no such memory.
        expected: String,
        /// Pages given; `none` where it was not given.
        found: String,
    },
    /// An annotation that the store writes itself.
    #[error("the annotation {key} is written by the store itself; use another key")]
    ReservedAnnotation {
        /// The key.
        key: String,
    },
    /// A checkpoint from elsewhere has the name of another one that is here.
    #[error(
        "the store has another checkpoint {name} already ({found}, not {expected}); take this one in under another \
         name with --name OTHER"
    )]
    Taken {
        /// `job@N`.
        name: String,
        /// Digest of the manifest that is here.
        found: String,
        /// Digest of the one that was to come.
        expected: String,
    },
    /// A manifest from elsewhere that is not a checkpoint's, or asks for too much.
    #[error("this is not a checkpoint that can be taken in: {why}")]
    Foreign {
        /// What is wrong with it.
        why: String,
    },
    /// An archive cannot be written any further, or ends early.
    #[error("cannot {action} the archive: {source}")]
    Archive {
        /// `write` or `read`.
        action: &'static str,
        /// What the stream says.
        source: std::io::Error,
    },
    /// A [`Depot`](crate::Depot) does not do what it should.
    #[error("the depot cannot {action} {name}: {why}")]
    Depot {
        /// What was tried.
        action: &'static str,
        /// With which object.
        name: String,
        /// In its words.
        why: String,
    },
    /// The bytes that came are not those of the blob.
    #[error("the bytes that came for {expected} are others: their digest is {found}")]
    WrongBytes {
        /// The blob.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// More or fewer bytes came than the blob has.
    #[error("{name} has {size} bytes, but {came} came")]
    WrongLength {
        /// The blob.
        name: String,
        /// Its size.
        size: u64,
        /// How many bytes came, at least.
        came: u64,
    },
    /// The checkpoint has no such memory.
    #[error("the checkpoint has no memory {index}")]
    NoMemory {
        /// The index asked for.
        index: u32,
    },
    /// The buffer is not as long as the memory.
    #[error("memory {index} is {expected} bytes long, but the buffer for it has {found}")]
    BufferLength {
        /// The memory.
        index: u32,
        /// Its length.
        expected: u64,
        /// The buffer's.
        found: u64,
    },
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl StoreError {
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> StoreError {
        move |source| StoreError::Io { action, path: path.to_owned(), source }
    }
}

/// A file of the store that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what} ({}) {kind}", of(checkpoint), path.display())]
pub struct Damage {
    /// The checkpoint, as `job@N`; none where the file belongs to the whole store.
    pub checkpoint: Option<String>,
    /// What the file is: `manifest`, `state`, `module`, `memory 0`, `index`, ...
    pub what: String,
    /// The file, relative to the store.
    pub path: PathBuf,
    /// How it is bad.
    pub kind: DamageKind,
}

/// How a file is bad.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// It is not there.
    #[error("is missing")]
    Missing,
    /// It is shorter or longer.
    #[error("has {found} bytes instead of {expected}")]
    Size {
        /// The size it should have.
        expected: u64,
        /// The size it has.
        found: u64,
    },
    /// Its bytes are others.
    #[error("is damaged: its digest is {found}")]
    Digest {
        /// The digest of what is there.
        found: String,
    },
    /// Its bytes make no sense.
    #[error("is malformed: {0}")]
    Malformed(String),
    /// The system cannot read it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

fn of(checkpoint: &Option<String>) -> String {
    checkpoint.as_ref().map_or(String::new(), |c| format!("checkpoint {c}: "))
}

fn lines(damages: &[Damage]) -> String {
    damages.iter().map(|d| format!("\n  {d}")).collect()
}

fn shortage(needed: u64, free: Option<u64>) -> String {
    match free {
        Some(free) if free < needed => format!(
            "this checkpoint takes {needed} bytes and {free} are free; \
             make room for {} more, or name another --store",
            needed - free
        ),
        _ => format!(
            "this checkpoint takes {needed} bytes; make room (a quota may be what is full), \
             or name another --store"
        ),
    }
}

/// What is quoted from a damaged file may hold anything: no line ends, nothing a terminal obeys.
pub(crate) fn one_line(text: impl ToString) -> String {
    let text = text.to_string();
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// Why one checkpoint could not be loaded: it is bad (try another), or something else is.
#[derive(Debug)]
pub(crate) enum Bad {
    /// Fall back.
    Damage(Damage),
    /// Give up: an older checkpoint would be no better, or not what the user wants.
    Fatal(StoreError),
}

fn no_key(given: bool) -> &'static str {
    match given {
        true => {
            ", and not for any of the identities that were given; give the right one with --identity FILE"
        }
        false => "; give an identity that opens it with --identity FILE",
    }
}

/// A file of the store while it is being read: what to call it in messages.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) checkpoint: Option<String>,
    pub(crate) what: String,
    pub(crate) path: PathBuf,
}

impl Subject {
    /// What it is called where it is not damaged.
    #[cfg(feature = "encryption")]
    pub(crate) fn name(&self) -> String {
        match &self.checkpoint {
            Some(checkpoint) => format!("checkpoint {checkpoint}: {}", self.what),
            None => self.what.clone(),
        }
    }

    pub(crate) fn damage(&self, kind: DamageKind) -> Damage {
        Damage {
            checkpoint: self.checkpoint.clone(),
            what: self.what.clone(),
            path: self.path.clone(),
            kind,
        }
    }

    pub(crate) fn malformed(&self, why: impl ToString) -> Bad {
        Bad::Damage(self.damage(DamageKind::Malformed(one_line(why))))
    }

    pub(crate) fn unsupported(&self, what: impl ToString) -> Bad {
        Bad::Fatal(StoreError::Unsupported { path: self.path.clone(), what: one_line(what) })
    }

    /// A file that is missing or that the disk cannot give back is damage; no permission or no
    /// memory is not.
    pub(crate) fn io(&self, source: std::io::Error) -> Bad {
        use std::io::ErrorKind as Kind;
        match source.kind() {
            Kind::NotFound => Bad::Damage(self.damage(DamageKind::Missing)),
            Kind::PermissionDenied | Kind::OutOfMemory | Kind::Interrupted => {
                Bad::Fatal(StoreError::Io { action: "read", path: self.path.clone(), source })
            }
            // EMFILE and ENFILE on every Unix; there is no ErrorKind for them.
            _ if cfg!(unix) && matches!(source.raw_os_error(), Some(23 | 24)) => {
                Bad::Fatal(StoreError::Io { action: "open", path: self.path.clone(), source })
            }
            _ => Bad::Damage(self.damage(DamageKind::Unreadable(source.to_string()))),
        }
    }

    pub(crate) fn layer(&self, error: LayerError) -> Bad {
        match error {
            LayerError::Io(source) => self.io(source),
            LayerError::UnsupportedVersion { .. } | LayerError::UnsupportedKind { .. } => {
                self.unsupported(error)
            }
            _ => self.malformed(error),
        }
    }

    pub(crate) fn state(&self, error: DecodeError) -> Bad {
        match error {
            DecodeError::UnsupportedVersion { version } => {
                let reads = dormouse_state::VERSION;
                self.unsupported(format!(
                    "a state of format version {version}, where this dormouse reads up to version {reads}"
                ))
            }
            _ => self.malformed(error),
        }
    }
}

impl From<Bad> for StoreError {
    fn from(bad: Bad) -> StoreError {
        match bad {
            Bad::Damage(damage) => StoreError::Damaged(damage),
            Bad::Fatal(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_on_its_line() {
        let subject = Subject { checkpoint: None, what: "index".into(), path: "index.json".into() };
        let StoreError::Damaged(damage) = subject.malformed("a\n\u{1b}[2Jb é").into() else {
            panic!()
        };
        assert_eq!(damage.to_string(), r"index (index.json) is malformed: a\n\u{1b}[2Jb é");
    }
}
