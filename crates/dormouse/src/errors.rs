//! What can go wrong, and what to do about it: one line each.

use std::path::PathBuf;

/// Why a job could not be run, resumed or spoken to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module or the state is bad, or the engine failed.
    #[error(transparent)]
    Engine(#[from] dormouse_engine::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] dormouse_store::StoreError),
    /// A checkpoint could not be pushed or pulled.
    #[cfg(feature = "registry")]
    #[error(transparent)]
    Registry(#[from] dormouse_registry::Error),
    /// Files, directories or streams could not be set up.
    #[error(transparent)]
    Wasi(#[from] dormouse_wasi::WasiError),
    /// Its lease is held.
    #[error(
        "job {job} is running already{}; `dormouse checkpoint {job}` speaks to it{}, and `resume --clone NAME` or another --name makes a second one",
        by(*pid, host.as_deref()), there(host.as_deref())
    )]
    Running {
        /// The job.
        job: String,
        /// The process that runs it, if that can be told.
        pid: Option<u32>,
        /// Its host, if that is another one.
        host: Option<String>,
    },
    /// Its lease names a process that may live on another host, and waiting was not wanted.
    #[error(
        "job {job} may be running: {by} has its lease, and whether that lives cannot be told at once; without --no-wait it is watched for some seconds; if that process is dead for sure, remove {}", path.display()
    )]
    Unclear {
        /// The job.
        job: String,
        /// Who has it, in words.
        by: String,
        /// The lease.
        path: PathBuf,
    },
    /// It cannot be spoken to from here.
    #[error(
        "job {job} runs elsewhere: {by} has its lease; say this there. If that host is gone, `dormouse resume {job}` takes the job over once the lease has not been renewed for long enough"
    )]
    Elsewhere {
        /// The job.
        job: String,
        /// Who has it, in words.
        by: String,
    },
    /// Another has taken its lease.
    #[error(
        "job {job} lost its lease before it began ({why}), and was not started; `dormouse ps` shows who runs it"
    )]
    LeaseLost {
        /// The job.
        job: String,
        /// What became of the lease.
        why: String,
    },
    /// A checkpoint from elsewhere says for whom those that follow it are to be sealed.
    #[error(
        "{checkpoint} came from elsewhere, and remembers for whom checkpoints are encrypted: {recipients}; \
         say with --encrypt-to for whom those made here are to be, or --encrypt-to none"
    )]
    ForeignRecipients {
        /// Which one.
        checkpoint: String,
        /// Whom it names.
        recipients: String,
    },
    /// Checkpoints are to be sealed, and this program cannot.
    #[error("this dormouse was built without the feature `encryption`; use one that has it")]
    NoEncryption,
    /// Nobody holds its lease.
    #[error(
        "job {job} is not running; `dormouse ps` shows those that are, `dormouse resume {job}` wakes it"
    )]
    NotRunning {
        /// The job.
        job: String,
    },
    /// The lease is held, but nobody listens.
    #[error("job {job} runs but does not answer ({why}); it may be starting: try again")]
    Silent {
        /// The job.
        job: String,
        /// What the system said.
        why: String,
    },
    /// Its process died while it was spoken to.
    #[error(
        "job {job} ended and did not say how: its process was killed; `dormouse resume {job}` goes on from its newest checkpoint"
    )]
    Died {
        /// The job.
        job: String,
    },
    /// The job was asked to stand still or to go on, and could not.
    #[error("job {job} does not {what}: {why}")]
    Refused {
        /// The job.
        job: String,
        /// What it was asked for.
        what: &'static str,
        /// What it answered.
        why: String,
    },
    /// The job was asked for a checkpoint and could not take one.
    #[error("job {job} took no checkpoint: {why}")]
    NoCheckpoint {
        /// The job.
        job: String,
        /// What it answered.
        why: String,
    },
    /// `rm JOB` without `--all`.
    #[error(
        "{job} means all of the job's {count} checkpoints; add --all to remove them, or name one as JOB@N"
    )]
    RemoveAll {
        /// The job.
        job: String,
        /// How many it has.
        count: usize,
    },
    /// `rm` of a running job's checkpoints without `--force`.
    #[error(
        "job {job} is running{}; end it first, with `dormouse checkpoint --stop {job}` or `dormouse kill {job}`, or add --force",
        by(*pid, None)
    )]
    RemoveRunning {
        /// The job.
        job: String,
        /// The process that runs it, if that can be told.
        pid: Option<u32>,
    },
    /// WebAssembly text that cannot be assembled.
    #[error("cannot assemble {}: {message}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// A file that no checkpoint can be taken from.
    #[error("this is not a checkpoint that can be taken in: {why}")]
    Import {
        /// Why.
        why: String,
    },
    /// A checkpoint that cannot become a module of its own.
    #[error("the checkpoint cannot become a module of its own: {what}")]
    Standalone {
        /// Why.
        what: String,
    },
    /// Two checkpoints that have nothing to do with each other.
    #[error("{before} and {after} are of different modules, and cannot be compared")]
    OtherModule {
        /// The one.
        before: String,
        /// The other.
        after: String,
    },
    /// Nothing is known of what its checkpoints cost.
    #[error(
        "there are no statistics of job {job}: it has taken no checkpoint here, or `dormouse rm` or `gc` removed them; `dormouse list` and `dormouse ps` show the jobs"
    )]
    NoStats {
        /// The job.
        job: String,
    },
    /// Its module imports functions that its host had, and this one does not.
    #[error(
        "{checkpoint} needs the host functions {names}, which this program does not have; resume it with the program that ran it"
    )]
    NeedsHost {
        /// The checkpoint.
        checkpoint: String,
        /// `module.name`, comma separated.
        names: String,
    },
    /// A hook does not let it be resumed.
    #[error("{checkpoint} is not resumed: {why}; nothing was changed")]
    Hook {
        /// The checkpoint.
        checkpoint: String,
        /// Which hook, and how it failed.
        why: String,
    },
    /// `run --resume-if-any` found a checkpoint of something else.
    #[error(
        "job {job} would go on from {checkpoint}, but that is not what was given: {what}; give the same module, --invoke and arguments, or another --name; or begin anew, after `dormouse rm --all {job}`"
    )]
    OtherProgram {
        /// The newest checkpoint.
        checkpoint: String,
        /// The job.
        job: String,
        /// What differs.
        what: String,
    },
    /// A program has no function of this name.
    #[error(
        "the program has no function `{text}`{}; `func[12]` names one by its index",
        near(like)
    )]
    NoFunction {
        /// What was given.
        text: String,
        /// Names like it.
        like: Vec<String>,
    },
    /// Several functions of a program have this name.
    #[error(
        "several functions are called `{text}`: {which}; name one by its index, as in func[12]"
    )]
    ManyFunctions {
        /// What was given.
        text: String,
        /// Their indices and names.
        which: String,
    },
    /// A program that was run again did not come to where it was to stop.
    #[error("{from} {what}: {how}{hint}")]
    NotReached {
        /// Where it was run from: one or more checkpoints.
        from: String,
        /// What it did not do.
        what: String,
        /// What it did.
        how: String,
        /// What to do next; begins with what separates it.
        hint: String,
    },
    /// A program that was run twice did two things.
    #[error(
        "{from} went another way when it was run again: it trapped after {safepoints} safepoints first, and then {how}; what it does depends on more than its state, clock and random numbers, such as what others do to files, or how long it waits; try again, or stop it earlier with --until safepoint=K"
    )]
    OtherWay {
        /// The checkpoint.
        from: String,
        /// How far it came the first time.
        safepoints: u64,
        /// What it did the second time.
        how: String,
    },
    /// A program cannot be saved where it stands before a trap.
    #[error(
        "it traps {safepoints} safepoints after {from}, and cannot be saved before that: {why}; `--until safepoint=K` stops it elsewhere"
    )]
    NotSaved {
        /// The checkpoint.
        from: String,
        /// How far it is from there.
        safepoints: u64,
        /// Why not.
        why: String,
    },
    /// A job of this name is not one of stops.
    #[error(
        "job {job} has checkpoints of its own, so stops are not saved among them; give them another name with --name (of `resume`, --clone)"
    )]
    NotOfStops {
        /// The job.
        job: String,
    },
    /// A job's name is too long for another job of that name and more.
    #[error(
        "stops cannot be saved as job {name}, as that name is too long; give them another with --name (of `resume`, --clone)"
    )]
    NoNameForStops {
        /// The name.
        name: String,
    },
    /// Two runs that are to be stopped somewhere cannot save their stops as one job at once.
    #[error(
        "job {job} is running already: stops are being saved there, or it was resumed; wait for its end, or give these stops another name with --name (of `resume`, --clone)"
    )]
    DebuggedTwice {
        /// The job of stops.
        job: String,
    },
    /// A job's files cannot be copied while it changes them.
    #[error(
        "job {job} is running and may change its files while they are copied; end it first, with `dormouse checkpoint --stop {job}`, or give copies with --dir HOST::GUEST"
    )]
    FilesInUse {
        /// The job.
        job: String,
    },
    /// What was given as a copy is the original.
    #[error(
        "{} {how}, which would be changed; leave --dir {} out, and it is copied, or give a copy", path.display(), path.display()
    )]
    OwnDirectory {
        /// The directory.
        path: PathBuf,
        /// That it is one of the job's, or how it lies to one.
        how: String,
    },
    /// Nobody knows how many safepoints lie before a stop.
    #[error(
        "how many safepoints lie between a checkpoint and {checkpoint} is not known, so there is no way back from it; `dormouse inspect {checkpoint}` shows where it came from"
    )]
    NoWayBack {
        /// The stop.
        checkpoint: String,
    },
    /// `resume J --clone J`.
    #[error("--clone {job} is the job itself; give the clone another name")]
    CloneOfItself {
        /// The job.
        job: String,
    },
    /// Not `JOB` or `JOB@N`.
    #[error(
        "\"{text}\" does not name a checkpoint; write JOB, or JOB@N with N from `dormouse list JOB`"
    )]
    BadTarget {
        /// What was given.
        text: String,
    },
    /// No place for stores or caches is known.
    #[error(
        "neither {variable} nor HOME is set, so there is no place for the {what}; name one with {flag} DIR"
    )]
    NoPlace {
        /// Environment variable that names the place.
        variable: &'static str,
        /// `store` or `code cache`.
        what: &'static str,
        /// The flag that names it.
        flag: &'static str,
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

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}

fn by(pid: Option<u32>, host: Option<&str>) -> String {
    let host = host.map_or(String::new(), |h| format!(" on {h}"));
    pid.map_or(String::new(), |p| format!(" (process {p}{host})"))
}

fn near(like: &[String]) -> String {
    match like {
        [] => String::new(),
        like => format!("; did you mean {}?", like.join(" or ")).trim_end_matches('?').to_owned(),
    }
}

fn there(host: Option<&str>) -> &'static str {
    if host.is_some() { " there" } else { "" }
}

/// A message of several lines as one.
pub fn one_line(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for part in message.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if !out.is_empty() {
            out.push_str(if out.ends_with([':', ';', ',']) { " " } else { "; " });
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn lines_are_joined() {
        assert_eq!(super::one_line("bad:\n  a\n\n  b\n"), "bad: a; b");
    }
}
