//! What the buttons do: each runs this same program with the command line that the page shows, and nothing else.
//!
//! ```text
//!   {"do":"resume","job":"heat","number":3}  ->  dormouse resume heat@3 --store S  > S/logs/heat-....log 2>&1 < /dev/null
//! ```
//!
//! So there is one way to do a thing, with one set of checks, and what is learnt here can be typed. A resumed job is a process of its
//! own, in a group of its own: it goes on when the page and this command end.

use super::http::Response;
use crate::{cli, ui};
use dormouse::{Target, exit, one_line};
use dormouse_store::Store;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Deeds that are remembered.
const KEPT: usize = 50;
/// What is shown of a log: its end.
const TAIL: u64 = 16 << 10;

/// Who does it.
pub struct Hands {
    exe: PathBuf,
    store: PathBuf,
    /// What the commands that are shown need to find the same store.
    hint: String,
    identities: Vec<PathBuf>,
    no_config: bool,
    done: Arc<Mutex<Vec<Deed>>>,
}

/// What is wanted.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub enum Order {
    Checkpoint {
        job: String,
    },
    Resume {
        job: String,
        number: Option<u64>,
        clone: Option<String>,
        #[serde(default)]
        dirs: Vec<Dir>,
    },
    Remove {
        job: String,
        number: u64,
        #[serde(default)]
        force: bool,
    },
}

/// `--dir HOST::GUEST`.
#[derive(Clone, Debug, Deserialize)]
pub struct Dir {
    host: String,
    guest: String,
}

/// What was done, or is being done.
#[derive(Clone, Debug, Serialize)]
pub struct Deed {
    id: u64,
    when: String,
    what: &'static str,
    target: String,
    /// The job that is made, if one is.
    clone: Option<String>,
    /// What does the same when it is typed.
    command: String,
    state: State,
    /// How it went, in one line.
    says: String,
    /// Where a resumed program writes.
    log: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Running,
    Done,
    /// The program came to an end with a status of its own, which only its author can judge.
    Ended,
    Failed,
}

impl Order {
    /// The words behind `dormouse`; none if a name is none.
    fn words(&self) -> Option<Vec<String>> {
        let target = |job: &str, number: Option<u64>| {
            let text = number.map_or(job.to_owned(), |n| format!("{job}@{n}"));
            // No job's name begins like an option.
            text.parse::<Target>().ok().filter(|t| is_name(&t.job)).map(|_| text)
        };
        let mut words = vec![];
        match self {
            Order::Checkpoint { job } => {
                words.extend(["checkpoint".to_owned(), target(job, None)?]);
            }
            Order::Remove { job, number, force } => {
                words.extend(["rm".to_owned(), target(job, Some(*number))?]);
                words.extend(force.then(|| "--force".to_owned()));
            }
            Order::Resume { job, number, clone, dirs } => {
                words.extend(["resume".to_owned(), target(job, *number)?]);
                if let Some(name) = clone {
                    words.push(format!("--clone={}", Some(name).filter(|name| is_name(name))?));
                }
                for Dir { host, guest } in dirs {
                    let word = format!("{host}::{guest}");
                    // As the command line takes it: `/tmp:` and `/w` would be `/tmp` and `:/w`.
                    let read = word.parse::<cli::Dir>().ok()?;
                    let same = read.host.as_os_str() == host.as_str() && read.guest == *guest;
                    words.push(same.then(|| format!("--dir={word}"))?);
                }
            }
        }
        Some(words)
    }

    fn what(&self) -> &'static str {
        match self {
            Order::Checkpoint { .. } => "checkpoint",
            Order::Resume { clone: None, .. } => "resume",
            Order::Resume { .. } => "clone",
            Order::Remove { .. } => "delete",
        }
    }
}

/// What the store says is one, and nothing that an option or a path could be.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl Hands {
    pub fn new(
        store: PathBuf,
        hint: String,
        identities: Vec<PathBuf>,
        no_config: bool,
    ) -> io::Result<Hands> {
        let exe = std::env::current_exe()?;
        Ok(Hands { exe, store, hint, identities, no_config, done: Arc::default() })
    }

    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// What a command needs to open what is encrypted.
    pub fn keys(&self) -> String {
        let word = |file: &PathBuf| format!(" --identity {}", ui::quoted(&file.to_string_lossy()));
        self.identities.iter().map(word).collect()
    }

    /// Newest last.
    pub fn deeds(&self) -> Vec<Deed> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does it. The answer to a resume comes when the process has been started; how that ends is told among the deeds.
    pub fn obey(&self, order: &Order) -> Response {
        let Some(words) = order.words() else {
            return bad_names();
        };
        let begun = self.begin(order, &words);
        match order {
            Order::Resume { job, clone, .. } => {
                self.resume(begun, &words, clone.as_ref().unwrap_or(job));
            }
            _ => {
                let ended = self.command(&words).output();
                self.end(begun, |deed| tell(deed, ended));
            }
        }
        match self.deeds().into_iter().find(|deed| deed.id == begun) {
            Some(deed) => Response::json(&deed),
            None => Response::error(500, "it was done, and forgotten"),
        }
    }

    /// What would be typed.
    pub fn command_for(&self, order: &Order) -> Response {
        match order.words() {
            Some(words) => Response::json(&serde_json::json!({ "command": self.shown(&words) })),
            None => bad_names(),
        }
    }

    /// What `resume --dry-run` says. Changes nothing but the cache.
    pub fn rehearse(&self, order: &Order) -> Response {
        let words = order.words().filter(|_| matches!(order, Order::Resume { .. }));
        let Some(mut words) = words else {
            return bad_names();
        };
        words.extend(["--dry-run", "--json"].map(str::to_owned));
        let found = self.command(&words).output().map_err(|e| e.to_string()).and_then(|ended| {
            let report = serde_json::from_slice::<serde_json::Value>(&ended.stdout);
            report.map_err(|_| said(&ended.stderr))
        });
        Response::json(&found.unwrap_or_else(
            |problem| serde_json::json!({ "can_resume": false, "problem": problem }),
        ))
    }

    /// The end of what a resumed program wrote.
    pub fn log(&self, id: u64) -> Response {
        let log = self.deeds().into_iter().find(|deed| deed.id == id).and_then(|deed| deed.log);
        let Some(log) = log else {
            return Response::error(404, "there is no such log");
        };
        match tail(Path::new(&log)) {
            Ok((text, cut)) => Response::json(&serde_json::json!({ "text": text, "cut": cut })),
            Err(e) => Response::error(404, &format!("cannot read {log}: {e}")),
        }
    }

    fn resume(&self, begun: u64, words: &[String], job: &str) {
        let started = new_log(&self.store, job).and_then(|(path, file)| {
            let mut command = self.command(words);
            command.stdout(file.try_clone()?).stderr(file);
            Ok((path, command.spawn()?))
        });
        let (path, mut child) = match started {
            Ok(started) => started,
            Err(e) => {
                return self.end(begun, |deed| {
                    (deed.state, deed.says) = (State::Failed, format!("cannot start it: {e}"));
                });
            }
        };
        let log = path.to_string_lossy().into_owned();
        self.end(begun, |deed| {
            deed.log = Some(log);
            deed.says = format!("runs as process {}", child.id());
        });
        let done = self.done.clone();
        // Somebody must wait for it, to know how it ended.
        let _ = std::thread::Builder::new().spawn(move || {
            let status = child.wait().ok().and_then(|status| status.code());
            let last = tail(&path).map(|(text, _)| text).unwrap_or_default();
            change(&done, begun, |deed| {
                (deed.state, deed.says) = outcome(status, &last);
            });
        });
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(words).arg("--store").arg(&self.store).stdin(Stdio::null());
        // Ctrl-C here ends the page, and nothing half-way.
        command.process_group(0);
        if words[0] == "resume" {
            self.identities.iter().for_each(|file| {
                command.arg("--identity").arg(file);
            });
        }
        if self.no_config {
            command.env("DORMOUSE_NO_CONFIG", "1");
        }
        command
    }

    /// The same, to be typed.
    fn shown(&self, words: &[String]) -> String {
        let mut shown = "dormouse".to_owned();
        for word in words {
            shown += " ";
            shown += &ui::quoted(word);
        }
        if words[0] == "resume" {
            shown += &self.keys();
        }
        shown + &self.hint
    }

    fn begin(&self, order: &Order, words: &[String]) -> u64 {
        let clone = match order {
            Order::Resume { clone, .. } => clone.clone(),
            _ => None,
        };
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let id = done.last().map_or(1, |deed| deed.id + 1);
        let when = format!("{:.3}", jiff::Timestamp::now());
        done.push(Deed {
            id,
            when,
            what: order.what(),
            target: words[1].clone(),
            clone,
            command: self.shown(words),
            state: State::Running,
            says: String::new(),
            log: None,
        });
        // Those that still run are kept, however old.
        if done.len() > KEPT
            && let Some(oldest) = done.iter().position(|deed| deed.state != State::Running)
        {
            done.remove(oldest);
        }
        id
    }

    fn end(&self, id: u64, how: impl FnOnce(&mut Deed)) {
        change(&self.done, id, how);
    }
}

fn bad_names() -> Response {
    Response::error(400, "these are not names of a job, a checkpoint or directories")
}

fn change(done: &Mutex<Vec<Deed>>, id: u64, how: impl FnOnce(&mut Deed)) {
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(deed) = done.iter_mut().find(|deed| deed.id == id) {
        how(deed);
    }
}

/// Of a command that has come to its end.
fn tell(deed: &mut Deed, ended: io::Result<Output>) {
    (deed.state, deed.says) = match ended {
        Ok(ended) if ended.status.success() => {
            let said = String::from_utf8_lossy(&ended.stdout);
            (State::Done, said.lines().map(str::trim).collect::<Vec<_>>().join("; "))
        }
        Ok(ended) => (State::Failed, said(&ended.stderr)),
        Err(e) => (State::Failed, e.to_string()),
    };
}

/// How a resumed program ended, by its exit status and what it said last.
fn outcome(status: Option<i32>, log: &str) -> (State, String) {
    let last = |mark: &str| {
        let line = log.lines().rev().find_map(|line| line.strip_prefix(mark))?;
        Some(one_line(line))
    };
    let Some(code) = status else {
        return (State::Failed, "was killed by a signal".to_owned());
    };
    let error = last("error: ");
    let told = error.is_some();
    let with = |state, words: &str| match error.or_else(|| last("dormouse: ")) {
        // What it says in the same words is said once.
        Some(said) if !words.ends_with(&said) => (state, format!("{words}: {said}")),
        _ => (state, words.to_owned()),
    };
    match u8::try_from(code).unwrap_or(u8::MAX) {
        0 => (State::Done, "ended with status 0".to_owned()),
        exit::CHECKPOINTED => with(State::Done, "was stopped with a checkpoint"),
        // Wrong usage tells an error; a program that means 2 may tell none.
        exit::USAGE if told => with(State::Failed, "did not start"),
        exit::FAILED => with(State::Failed, "failed"),
        exit::TIMED_OUT => with(State::Ended, "ran out of the time it was given"),
        exit::INTERRUPTED => with(State::Ended, "was stopped by Ctrl-C"),
        exit::TRAPPED => with(State::Failed, "trapped"),
        exit::KILLED => with(State::Ended, "was ended without a checkpoint"),
        code => (State::Ended, format!("ended with status {code}")),
    }
}

/// The error among what a command said.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let error = text.lines().rev().find_map(|line| line.strip_prefix("error: "));
    one_line(error.or(text.lines().last()).unwrap_or("it failed, and did not say why"))
}

/// A file of its own for each, so that a resume never cuts back what another wrote.
fn new_log(store: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    // One that has vanished (it was a disk, say) is not made anew.
    Store::open(store).map_err(io::Error::other)?;
    let dir = std::path::absolute(store)?.join("logs");
    match DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let when = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
    let path = dir.join(format!("{name}-{when}.log"));
    let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
    Ok((path, file))
}

/// The end of a file, and whether there was more.
fn tail(path: &Path) -> io::Result<(String, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = vec![];
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), length > TAIL))
}

#[cfg(test)]
mod tests {
    use super::{State, outcome};

    #[test]
    fn how_it_ended() {
        let of = |status, log: &str| outcome(Some(status), log);
        let says = |state, says: &str| (state, says.to_owned());
        assert_eq!(of(0, "error: of the program"), says(State::Done, "ended with status 0"));
        assert_eq!(of(1, ""), says(State::Ended, "ended with status 1"));
        assert_eq!(of(2, "42\n"), says(State::Ended, "ended with status 2"));
        assert_eq!(
            of(2, "error: no such option\n"),
            says(State::Failed, "did not start: no such option")
        );
        assert_eq!(of(125, "error: it is damaged"), says(State::Failed, "failed: it is damaged"));
        assert_eq!(
            of(137, "7\ndormouse: ended without a checkpoint\n"),
            says(State::Ended, "was ended without a checkpoint")
        );
        assert_eq!(outcome(None, "").0, State::Failed);
    }
}
