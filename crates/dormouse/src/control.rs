//! Speaking to a running job: one line of JSON there, one line back, over its Unix socket.
//!
//! ```text
//!   -> {"do":"checkpoint","stop":false}
//!   <- {"ok":"checkpoint","name":"sim@3","created":"2026-11-21T05:16:41.123Z","size":70210}
//!   -> {"do":"status"}
//!   <- {"ok":"status","job":"sim","pid":4711,"program":"sim.wasm",...}
//!   -> {"do":"kill"}
//!   <- {"ok":"killed"}
//!   -> {"do":"pause"}                       it stands still, whoever goes away, until {"do":"unpause"}
//!   <- {"ok":"paused","already":false}
//!   -> {"do":"wait"}
//!   <- {"ok":"ended","status":85,"how":"was stopped at sim@3","checkpoint":"sim@3"}
//!   -> whatever
//!   <- {"ok":"no","error":"..."}
//! ```
//!
//! A checkpoint is answered when it is durable, `pause` when the program stands still, `wait` when the job has ended or was
//! stopped. After an answer that says so, the connection ends when the job's lease has been given back: then it can be resumed.

use crate::desk::{Changed, Desk, End, Why};
use crate::host::Host;
use crate::writer::Writer;
use crate::{Error, Result, lease, running, usage};
use dormouse_engine::Waits;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A question's or answer's longest line.
const MAX_LINE: u64 = 64 << 10;

/// How often it is looked again.
const LOOK: Duration = Duration::from_millis(20);
/// A process whose connections have ended is gone after so long, or lives.
const DYING: Duration = Duration::from_secs(2);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Request {
    /// Who are you?
    Status,
    /// Take a checkpoint.
    Checkpoint {
        /// And end, once it is durable.
        #[serde(default)]
        stop: bool,
    },
    /// End, without one.
    Kill,
    /// Have the program stand still in memory.
    Pause,
    /// Let it go on.
    Unpause,
    /// Say how the job ends, when it does.
    Wait,
}

impl Request {
    /// Whether the job's end follows, and is to be waited for.
    fn ends(self) -> bool {
        matches!(self, Request::Checkpoint { stop: true } | Request::Kill | Request::Wait)
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ok", rename_all = "lowercase")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// The checkpoint is durable.
    Checkpoint {
        /// `job@N`.
        name: String,
        /// When: RFC 3339, UTC.
        created: String,
        /// Bytes it takes in the store, module included.
        size: u64,
    },
    /// It will end.
    Killed,
    /// The program stands still.
    Paused {
        /// It did so before.
        already: bool,
    },
    /// It goes on.
    Unpaused {
        /// It was not paused.
        already: bool,
    },
    /// The job has ended or was stopped.
    Ended {
        /// Exit status of the command that ran it.
        status: u8,
        /// How, in words.
        how: String,
        /// The checkpoint at which it was stopped.
        checkpoint: Option<String>,
    },
    /// It could not be done.
    No {
        /// Why.
        error: String,
    },
}

/// A running job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub job: String,
    /// Its process.
    pub pid: u32,
    /// Program name.
    pub program: String,
    /// Since when: RFC 3339, UTC.
    pub started: String,
    /// Interval between checkpoints, such as `30s`.
    pub every: Option<String>,
    /// How many checkpoints this process took.
    pub checkpoints: u64,
    /// The newest of them.
    pub newest: Option<String>,
    /// Whether one is being written.
    pub writing: bool,
    /// The time from one checkpoint to the next, as it is now, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_ms: Option<u64>,
    /// The share of the time that checkpoints cost so far: 0.01 is one percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead: Option<f64>,
    /// The newest one's pause, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause_us: Option<u64>,
    /// When the newest was durable: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_created: Option<String>,
    /// For how long it has been paused, in milliseconds, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_ms: Option<u64>,
    /// Until the next checkpoint is due, in milliseconds, if one will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// What the program waits for, if it is blocked in a call: `input`, `output` or `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Processor time of its process, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Bytes of the program's linear memories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Bytes of memory that its process holds, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident: Option<u64>,
}

/// Asks a running job.
///
/// # Errors
/// [`Error::NotRunning`]; [`Error::Elsewhere`] if another host has it; [`Error::Silent`] if it ends before it answers, or does not.
pub fn ask(store: &Path, job: &str, request: Request) -> Result<Response> {
    let silent = |why: String| Error::Silent { job: job.to_owned(), why };
    if !running::is_running(store, job) {
        return Err(Error::NotRunning { job: job.to_owned() });
    }
    let holder = running::holder(store, job).ok_or_else(|| silent("its lease is empty".into()))?;
    let here = Host::this();
    if !here.has(&holder) {
        return Err(Error::Elsewhere { job: job.to_owned(), by: lease::by(Some(&holder), &here) });
    }
    let talk = || -> io::Result<Option<Response>> {
        let mut stream = connect(&holder.socket, || {
            // Who waits for the end of a job waits for its beginning too.
            request == Request::Wait && running::is_running(store, job)
        })?;
        if request == Request::Status {
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        }
        writeln!(stream, "{}", serde_json::to_string(&request)?)?;
        let mut reader = BufReader::new(stream).take(MAX_LINE);
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let response = serde_json::from_str(&line)?;
        if request.ends() {
            // Ends with the lease.
            let _ = reader.read_to_end(&mut Vec::new());
        }
        Ok(Some(response))
    };
    match talk() {
        Ok(Some(response)) => Ok(response),
        Ok(None) if has_died(store, job) => Err(Error::Died { job: job.to_owned() }),
        Ok(None) => Err(silent("it did not understand, or is about to end".into())),
        Err(_) if !running::is_running(store, job) => {
            Err(Error::NotRunning { job: job.to_owned() })
        }
        Err(e) => Err(silent(e.to_string())),
    }
}

/// Connects; tries again while nobody listens yet, as long as that is wanted.
fn connect(socket: &Path, again: impl Fn() -> bool) -> io::Result<UnixStream> {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    loop {
        match UnixStream::connect(socket) {
            Err(e) if matches!(e.kind(), NotFound | ConnectionRefused) && again() => {
                std::thread::sleep(LOOK);
            }
            done => return done,
        }
    }
}

/// Whether a job that ended a connection without a word is gone: a process that dies lets go of its files one by one.
fn has_died(store: &Path, job: &str) -> bool {
    let began = Instant::now();
    while running::is_running(store, job) {
        if began.elapsed() > DYING {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// What the answers are made of.
pub(crate) struct About {
    pub job: String,
    pub writer: Arc<Writer>,
    pub every: Option<String>,
    pub holder: running::Holder,
}

/// One connection: one question, one answer.
pub(crate) fn answer(stream: UnixStream, about: &About, desk: &Desk, busy: &AtomicUsize) {
    let mut line = String::new();
    // Who connects and says nothing must not keep a thread for ever.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    match BufReader::new(&stream).take(MAX_LINE).read_line(&mut line) {
        Ok(n) if n > 0 => {}
        _ => return,
    }
    busy.fetch_add(1, Ordering::AcqRel);
    let request = serde_json::from_str(&line);
    let response = match &request {
        Ok(request) => respond(*request, about, desk),
        Err(e) => Response::No { error: format!("not a request: {e}") },
    };
    let text = serde_json::to_string(&response).unwrap_or_default();
    let sent = writeln!(&stream, "{text}");
    busy.fetch_sub(1, Ordering::AcqRel);
    let ends = matches!(
        (&request, &response),
        (Ok(Request::Checkpoint { stop: true }), Response::Checkpoint { .. })
            | (_, Response::Killed | Response::Ended { .. })
    );
    if sent.is_ok() && ends {
        desk.wait_gone();
    }
}

fn respond(request: Request, about: &About, desk: &Desk) -> Response {
    match request {
        Request::Status => {
            let sight = desk.sight();
            let newest = sight.newest;
            let standing = desk.books().standing();
            Response::Status(Box::new(Status {
                job: about.job.clone(),
                pid: about.holder.pid,
                program: about.holder.program.clone(),
                started: about.holder.started.clone(),
                every: about.every.clone(),
                checkpoints: sight.saved,
                newest_created: newest.as_ref().map(|c| c.created.clone()),
                newest: newest.map(|c| c.name()),
                writing: sight.writing,
                interval_ms: standing.interval.map(|d| whole(d.as_millis())),
                overhead: Some(standing.overhead),
                pause_us: standing.pause.map(|d| whole(d.as_micros())),
                paused_ms: sight.paused.map(|d| whole(d.as_millis())),
                next_ms: sight.next.map(|d| whole(d.as_millis())),
                waits: sight.waits.map(|waits| word(waits).to_owned()),
                cpu_ms: Some(whole(usage::processor_time().as_millis())),
                memory: Some(about.writer.size()),
                resident: usage::resident(),
            }))
        }
        Request::Checkpoint { stop } => match desk.order(Why::Asked, stop).recv() {
            Ok(Ok(info)) => {
                Response::Checkpoint { name: info.name(), size: info.size(), created: info.created }
            }
            Ok(Err(error)) => Response::No { error },
            Err(_) => Response::No { error: "the program ended first".to_owned() },
        },
        Request::Kill => {
            desk.kill();
            Response::Killed
        }
        Request::Pause => match desk.pause() {
            Ok(changed) => Response::Paused { already: changed == Changed::No },
            Err(error) => Response::No { error },
        },
        Request::Unpause => match desk.unpause() {
            Ok(changed) => Response::Unpaused { already: changed == Changed::No },
            Err(error) => Response::No { error },
        },
        Request::Wait => {
            let End { status, how, checkpoint } = desk.wait_end();
            Response::Ended { status, how, checkpoint }
        }
    }
}

fn word(waits: Waits) -> &'static str {
    match waits {
        Waits::Input => "input",
        Waits::Output => "output",
        Waits::Time => "time",
    }
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let r: Request = serde_json::from_str(r#"{"do":"checkpoint"}"#).unwrap();
        assert_eq!(r, Request::Checkpoint { stop: false });
        let no = Response::No { error: "x".into() };
        assert_eq!(serde_json::to_string(&no).unwrap(), r#"{"ok":"no","error":"x"}"#);
        serde_json::from_str::<Request>(r#"{"do":"dance"}"#).unwrap_err();
    }

    #[test]
    fn older_and_newer_processes_understand_each_other() {
        let old = r#"{"ok":"status","job":"a","pid":7,"program":"a.wasm","started":"2026-01-01T00:00:00Z","every":"30s",
            "checkpoints":2,"newest":"a@2","writing":false}"#;
        let Response::Status(status) = serde_json::from_str(old).unwrap() else { panic!() };
        assert_eq!((status.interval_ms, status.overhead, status.pause_us), (None, None, None));
        let newer = old.replace("false}", "false,\"interval_ms\":5,\"mood\":\"good\"}");
        let Response::Status(status) = serde_json::from_str(&newer).unwrap() else { panic!() };
        assert_eq!(status.interval_ms, Some(5));
    }
}
