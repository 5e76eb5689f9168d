//! Commands that are run before and after a job takes a checkpoint or is resumed.
//!
//! ```text
//!   order ──> pre-checkpoint ──> rounds, stop, copy ──> durable, or failed ──> post-checkpoint
//!                 └ fails: no checkpoint                                           (the program goes on meanwhile)
//!
//!   checkpoint chosen and whole ──> pre-resume ──> files put back, memory read ──> program runs ──> post-resume
//!                                       └ fails: not resumed, nothing is changed
//! ```
//!
//! Each is run by `/bin/sh -c`, one at a time and in order, on a thread of its own; what happened is on its stdin, one
//! object of JSON. The program runs meanwhile, unless it asked for the checkpoint itself. They are never
//! remembered by checkpoints: an image does not choose what is run on the host that it is resumed on.

use crate::desk::{Desk, Why};
use crate::door::Closer;
use crate::outcome::Notice;
use crate::{Error, Result};
use dormouse_store::CheckpointInfo;
use serde::Serialize;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
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
}

impl Hooks {
    /// Runs those of a moment in order, to the first that fails.
    ///
    /// # Errors
    /// Which one, and how.
    pub fn run(&self, moment: Moment, facts: &Facts) -> std::result::Result<(), String> {
        for Hook { command, .. } in self.hooks.iter().filter(|hook| hook.moment == moment) {
            self.call(moment, command, facts).map_err(|how| {
                format!("the {} hook `{}` {how}", moment.word(), crate::one_line(command))
            })?;
        }
        Ok(())
    }

    /// Runs those of a resume that is about to happen.
    ///
    /// # Errors
    /// [`Error::Hook`].
    pub fn before_resume(&self, checkpoint: &CheckpointInfo) -> Result<()> {
        let facts = Facts { checkpoint: Some(checkpoint.clone()), ..Facts::default() };
        self.run(Moment::PreResume, &facts)
            .map_err(|why| Error::Hook { checkpoint: checkpoint.name(), why })
    }

    fn call(&self, event: Moment, command: &str, facts: &Facts) -> std::result::Result<(), String> {
        let Facts { checkpoint, why, stop, pause, error } = facts;
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
        };
        let mut text = serde_json::to_vec(&told).map_err(|e| format!("cannot be told: {e}"))?;
        text.push(b'\n');
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command);
        // For shell scripts, which read no JSON; and `dormouse` finds the store.
        shell.env("DORMOUSE_EVENT", event.word()).env("DORMOUSE_JOB", &self.job);
        shell.env("DORMOUSE_REFERENCE", reference.unwrap_or_default());
        shell.env("DORMOUSE_STORE", &store);
        // The program's output is the program's. A Ctrl-C at the terminal is not meant for the hook.
        shell.stdin(Stdio::piped()).stdout(Stdio::from(io::stderr())).process_group(0);
        let mut child = shell.spawn().map_err(|e| format!("cannot be started: {e}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // Less than a pipe holds. Who does not read it need not.
            let _ = stdin.write_all(&text);
        }
        match wait(&mut child, self.timeout) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("failed ({status})")),
            Ok(None) => Err(format!(
                "had not ended after {} and was killed; --hook-timeout gives it longer",
                humantime::format_duration(self.timeout)
            )),
            Err(e) => Err(format!("cannot be waited for: {e}")),
        }
    }
}

/// Waits for a process; kills it, and what it started, if it takes too long.
fn wait(child: &mut Child, at_most: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    let mut look = LOOKS.0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= at_most {
            break;
        }
        std::thread::sleep(look);
        look = (look * 2).min(LOOKS.1);
    }
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.wait()?;
    Ok(None)
}

/// Runs the hooks of a running job, one after another.
pub(crate) struct Runner {
    moments: Vec<Moment>,
    errands: Sender<Errand>,
    /// Keeps the job's process until a hook has ended that comes after something.
    closer: Weak<Closer>,
}

struct Errand {
    moment: Moment,
    facts: Facts,
    _closer: Option<Arc<Closer>>,
}

impl Runner {
    /// Begins, if there is anything to run.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn begin(hooks: Hooks, desk: &Arc<Desk>, closer: &Arc<Closer>) -> Result<Option<Runner>> {
        if hooks.hooks.is_empty() {
            return Ok(None);
        }
        let moments = hooks.hooks.iter().map(|hook| hook.moment).collect();
        let (errands, received) = channel::<Errand>();
        // The desk has what keeps the channel open.
        let desk = Arc::downgrade(desk);
        let work = move || {
            for Errand { moment, facts, _closer } in received {
                let done = hooks.run(moment, &facts);
                let Some(desk) = desk.upgrade() else { return };
                match (moment, done) {
                    (Moment::PreCheckpoint, done) => desk.hooks_done(done),
                    (_, Ok(())) => {}
                    (Moment::PostCheckpoint, Err(why)) => {
                        desk.report(Notice::Warning(format!(
                            "{why}; this changes nothing for the checkpoint"
                        )));
                    }
                    (_, Err(why)) => {
                        desk.report(Notice::Warning(format!("{why}; the program goes on")));
                    }
                }
            }
        };
        let spawned = std::thread::Builder::new().name("hooks".into()).spawn(work);
        spawned.map_err(Error::io("start the hooks of", "this job"))?;
        Ok(Some(Runner { moments, errands, closer: Arc::downgrade(closer) }))
    }

    /// Has those of a moment run; whether there are any.
    pub fn order(&self, moment: Moment, facts: Facts) -> bool {
        // A checkpoint that will not be taken, because the program has ended, keeps nobody.
        let _closer = (moment != Moment::PreCheckpoint).then(|| self.closer.upgrade()).flatten();
        self.moments.contains(&moment)
            && self.errands.send(Errand { moment, facts, _closer }).is_ok()
    }
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
        let why = hooks.run(Moment::PreResume, &Facts::default()).unwrap_err();
        assert!(why.contains("had not ended after 300ms and was killed"), "{why}");
        let pid = std::fs::read_to_string(child).unwrap();
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        assert!(state.is_err() || state.unwrap().contains(") Z "), "the child lives");
    }
}
