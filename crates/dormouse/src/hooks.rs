//! Commands that are run before and after a job takes a checkpoint or is resumed.
//!
//! ```text
//!   order ──> pre-checkpoint ──> rounds, stop, copy ──> durable, or failed ──> post-checkpoint
//!                 └ fails: no checkpoint                                           (the program goes on meanwhile)
//!
//!   checkpoint chosen and whole ──> pre-resume ──> files put back, memory read ──> program runs ──> post-resume
//!                                       └ fails, or SIGTERM: not resumed, nothing is changed (see [`resume`])
//! ```
//!
//! Each is run by `/bin/sh -c`, one at a time and in order, on a thread of its own (see [`runner`]); what happened is on its
//! stdin, one object of JSON. The program runs meanwhile, unless it asked for the checkpoint itself. They are never
//! remembered by checkpoints: an image does not choose what is run on the host that it is resumed on.

pub(crate) mod resume;
pub(crate) mod runner;

use crate::desk::Why;
use dormouse_store::CheckpointInfo;
use serde::Serialize;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long a hook may take if nobody says otherwise.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a hook is looked at, at least and at most.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Before the program is stopped for a checkpoint; none is taken if the hook fails.
    PreCheckpoint,
    /// When it is durable, or has failed.
    PostCheckpoint,
    /// When it is known what would be resumed; it is not if the hook fails.
    PreResume,
    /// When the program has gone on.
    PostResume,
}

const MOMENTS: [(&str, Moment); 4] = [
    ("pre-checkpoint", Moment::PreCheckpoint),
    ("post-checkpoint", Moment::PostCheckpoint),
    ("pre-resume", Moment::PreResume),
    ("post-resume", Moment::PostResume),
];

impl Moment {
    fn word(self) -> &'static str {
        MOMENTS.iter().find(|(_, moment)| *moment == self).map_or("", |(word, _)| word)
    }
}

/// A command, and when it is run: `pre-checkpoint=sync`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// When.
    pub moment: Moment,
    /// For `/bin/sh -c`.
    pub command: String,
}

impl FromStr for Hook {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Hook, String> {
        let (word, command) = text.split_once('=').unwrap_or((text, ""));
        match MOMENTS.iter().find(|(known, _)| *known == word) {
            Some((_, moment)) if !command.trim().is_empty() => {
                Ok(Hook { moment: *moment, command: command.to_owned() })
            }
            _ => {
                Err("write pre-checkpoint=COMMAND, post-checkpoint=COMMAND, pre-resume=COMMAND or \
                      post-resume=COMMAND"
                    .to_owned())
            }
        }
    }
}

/// All of a job's.
#[derive(Clone, Debug)]
pub(crate) struct Hooks {
    pub hooks: Vec<Hook>,
    pub timeout: Duration,
    pub job: String,
    pub store: PathBuf,
}

/// What a hook is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub checkpoint: Option<CheckpointInfo>,
    /// Who wanted the checkpoint.
    pub why: Option<Why>,
    /// The program is to end once it is durable.
    pub stop: bool,
    /// How long the program stood still.
    pub pause: Option<Duration>,
    /// Why there is none.
    pub error: Option<String>,
    /// For how many checkpoints before this one the hook was not run, because it still ran for another.
    pub passed_over: u64,
}

impl Facts {
    /// One that waits to be told, and another came: of both, the newest checkpoint.
    fn or_newer(self, newer: Facts) -> Facts {
        let passed_over = self.passed_over + newer.passed_over + 1;
        let told =
            if newer.checkpoint.is_some() || self.checkpoint.is_none() { newer } else { self };
        Facts { passed_over, ..told }
    }
}

/// Why a hook is killed, other than that it took longer than any may.
pub(crate) enum Cut {
    /// SIGKILL is near, and others wait for it: so long it may take.
    Hurry(Duration),
    /// What it was run for will not happen.
    Unwanted,
}

/// Why hooks came to nothing, in words.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One did not do what it was to do.
    Failed(String),
    /// One took too long, and was killed.
    Hung(String),
}

impl Failure {
    fn words(self) -> String {
        match self {
            Failure::Failed(why) | Failure::Hung(why) => why,
        }
    }
}

/// The same, as it is written.
#[derive(Serialize)]
struct Told<'a> {
    event: Moment,
    job: &'a str,
    store: String,
    pid: u32,
    why: Option<&'a str>,
    stop: bool,
    checkpoint: Option<u64>,
    reference: Option<String>,
    created: Option<&'a str>,
    digest: Option<&'a str>,
    size: Option<u64>,
    pause_us: Option<u64>,
    error: Option<&'a str>,
    passed_over: u64,
}

impl Hooks {
    /// Runs those of a moment in order, to the first that fails. `watch` is asked now and then whether they are to be killed.
    ///
    /// # Errors
    /// Which one, and how.
    pub fn run(
        &self,
        moment: Moment,
        facts: &Facts,
        watch: &mut dyn FnMut() -> Option<Cut>,
    ) -> std::result::Result<(), Failure> {
        for Hook { command, .. } in self.hooks.iter().filter(|hook| hook.moment == moment) {
            self.call(moment, command, facts, watch).map_err(|how| {
                let which = format!("the {} hook `{}`", moment.word(), crate::one_line(command));
                match how {
                    Failure::Failed(how) => Failure::Failed(format!("{which} {how}")),
                    Failure::Hung(how) => Failure::Hung(format!("{which} {how}")),
                }
            })?;
        }
        Ok(())
    }

    fn call(
        &self,
        event: Moment,
        command: &str,
        facts: &Facts,
        watch: &mut dyn FnMut() -> Option<Cut>,
    ) -> std::result::Result<(), Failure> {
        let failed = |how| Err(Failure::Failed(how));
        let Facts { checkpoint, why, stop, pause, error, passed_over } = facts;
        let reference = checkpoint.as_ref().map(CheckpointInfo::name);
        let store = std::path::absolute(&self.store).unwrap_or_else(|_| self.store.clone());
        let told = Told {
            event,
            job: &self.job,
            store: store.to_string_lossy().into_owned(),
            pid: std::process::id(),
            why: why.map(Why::word),
            stop: *stop,
            checkpoint: checkpoint.as_ref().map(|c| c.number),
            reference: reference.clone(),
            created: checkpoint.as_ref().map(|c| &c.created[..]),
            digest: checkpoint.as_ref().map(|c| &c.digest[..]),
            size: checkpoint.as_ref().map(CheckpointInfo::size),
            pause_us: pause.and_then(|pause| pause.as_micros().try_into().ok()),
            error: error.as_deref(),
            passed_over: *passed_over,
        };
        let mut text = match serde_json::to_vec(&told) {
            Ok(text) => text,
            Err(e) => return failed(format!("cannot be told: {e}")),
        };
        text.push(b'\n');
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command);
        // For shell scripts, which read no JSON; and `dormouse` finds the store.
        shell.env("DORMOUSE_EVENT", event.word()).env("DORMOUSE_JOB", &self.job);
        shell.env("DORMOUSE_REFERENCE", reference.unwrap_or_default());
        shell.env("DORMOUSE_STORE", &store);
        // The program's output is the program's. A Ctrl-C at the terminal is not meant for the hook.
        shell.stdin(Stdio::piped()).stdout(Stdio::from(io::stderr())).process_group(0);
        let mut child = match shell.spawn() {
            Ok(child) => child,
            Err(e) => return failed(format!("cannot be started: {e}")),
        };
        if let Some(mut stdin) = child.stdin.take() {
            // Less than a pipe holds. Who does not read it need not.
            let _ = stdin.write_all(&text);
        }
        match wait(&mut child, self.timeout, watch) {
            Ok(End::Ended(status)) if status.success() => Ok(()),
            Ok(End::Ended(status)) => failed(format!("failed ({status})")),
            Ok(End::TooLong) => Err(Failure::Hung(format!(
                "had not ended after {} and was killed; --hook-timeout gives it longer",
                humantime::format_duration(self.timeout)
            ))),
            Ok(End::Cut(Cut::Hurry(most))) => Err(Failure::Hung(format!(
                "had not ended within {}, a fifth of --grace, and was killed",
                humantime::format_duration(most)
            ))),
            Ok(End::Cut(Cut::Unwanted)) => {
                failed("was killed, as it is not needed any more".into())
            }
            Err(e) => failed(format!("cannot be waited for: {e}")),
        }
    }
}

/// How a hook's process ended.
enum End {
    Ended(ExitStatus),
    TooLong,
    Cut(Cut),
}

/// Waits for a process; kills it, and what it started, if it takes too long.
fn wait(
    child: &mut Child,
    at_most: Duration,
    watch: &mut dyn FnMut() -> Option<Cut>,
) -> io::Result<End> {
    let began = Instant::now();
    let mut look = LOOKS.0;
    let why = loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Ended(status));
        }
        if let Some(cut) = watch() {
            break End::Cut(cut);
        }
        if began.elapsed() >= at_most {
            break End::TooLong;
        }
        std::thread::sleep(look);
        look = (look * 2).min(LOOKS.1);
    };
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.wait()?;
    Ok(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let hook: Hook = "post-checkpoint=cp a=b c".parse().unwrap();
        assert_eq!((hook.moment, hook.command.as_str()), (Moment::PostCheckpoint, "cp a=b c"));
        for (word, moment) in MOMENTS {
            assert_eq!(moment.word(), word);
            assert_eq!(serde_json::to_value(moment).unwrap(), word);
        }
        for bad in ["", "=x", "pre-checkpoint", "pre-checkpoint= ", "pre-check=x"] {
            assert!(bad.parse::<Hook>().unwrap_err().contains("pre-resume=COMMAND"), "{bad}");
        }
    }

    /// A hook that carries checkpoints away must not miss the newest because the one after it failed.
    #[test]
    fn of_those_that_wait_the_newest_checkpoint_is_told() {
        let none = |error: &str| Facts { error: Some(error.to_owned()), ..Facts::default() };
        let some = |number| {
            let info = CheckpointInfo {
                job: "a".into(),
                number,
                created: String::new(),
                digest: String::new(),
                module_digest: String::new(),
                state_size: 0,
                module_size: 0,
                memory_size: 0,
                files_size: 0,
                pulled: false,
                annotations: Default::default(),
            };
            Facts { checkpoint: Some(info), ..Facts::default() }
        };
        let all = some(1).or_newer(some(2)).or_newer(none("full"));
        assert_eq!((all.checkpoint.as_ref().unwrap().number, all.passed_over), (2, 2));
        assert_eq!(all.or_newer(some(4)).checkpoint.unwrap().number, 4);
        assert_eq!(none("full").or_newer(none("fuller")).error.unwrap(), "fuller");
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let child = dir.path().join("child");
        let command = format!("sleep 600 & echo $! > {}; wait", child.display());
        let hooks = Hooks {
            hooks: vec![Hook { moment: Moment::PreResume, command }],
            timeout: Duration::from_millis(300),
            job: "a".to_owned(),
            store: dir.path().to_owned(),
        };
        let why = hooks.run(Moment::PreResume, &Facts::default(), &mut || None).unwrap_err();
        let Failure::Hung(why) = why else { panic!("{why:?}") };
        assert!(why.contains("had not ended after 300ms and was killed"), "{why}");
        let pid = std::fs::read_to_string(child).unwrap();
        // It is told at once, and dies when it is its turn.
        let began = Instant::now();
        let lives = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            state.is_ok_and(|state| !state.contains(") Z "))
        };
        while lives() {
            assert!(began.elapsed() < Duration::from_secs(60), "the child lives");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
