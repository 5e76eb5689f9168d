//! `ps`: the jobs that run.
//!
//! ```text
//! JOB   PID    STATE    TIME   CPU    MEMORY    LAST      PAUSE    NEXT
//! heat  29739  running  1h20m  1h18m  1.2 GiB   12 3m20s  4.12 ms  1m40s
//! ```
//!
//! That fits into 80 columns, if names do. `--long` has the rest.

use super::Done;
use crate::{cli, size, ui};
use dormouse::control::{Request, Response, Status, ask};
use dormouse::running::{self, Holder};
use dormouse_store::Store;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// One job. Without an answer, only what its lease says.
#[derive(Clone, Default, Serialize)]
pub struct Row {
    pub job: String,
    pid: Option<u32>,
    host: String,
    pub program: String,
    started: String,
    /// Since then, in seconds.
    seconds: Option<f64>,
    /// `running`, `paused`, `checkpointing`, `waiting` (for input or output), `sleeping`; or `elsewhere`, `no answer`.
    state: &'static str,
    /// A checkpoint is being written.
    writing: bool,
    /// Processor time of its process.
    cpu_seconds: Option<f64>,
    /// Bytes of the program's linear memories.
    memory_bytes: Option<u64>,
    /// Bytes that its process holds.
    resident_bytes: Option<u64>,
    every: Option<String>,
    interval_ms: Option<u64>,
    overhead: Option<f64>,
    pause_us: Option<u64>,
    paused_seconds: Option<f64>,
    /// Until the next checkpoint by itself.
    next_seconds: Option<f64>,
    /// How many it took.
    checkpoints: Option<u64>,
    /// The newest, whoever took it.
    newest: Option<String>,
    newest_created: Option<String>,
    newest_age_seconds: Option<f64>,
    pub answers: bool,
}

pub fn ps(args: cli::Ps) -> Done {
    let store = args.listing.place.dir()?;
    let rows = rows(&store)?;
    if args.listing.json {
        ui::print_json(&rows);
        return Ok(0);
    }
    let mut table = vec![heading(args.long)];
    table.extend(rows.into_iter().map(|row| cells(row, args.long)));
    ui::print(&ui::dense_table(&table));
    Ok(0)
}

/// All that run.
fn rows(store: &Path) -> dormouse::Result<Vec<Row>> {
    Ok(running::jobs(store)?.into_iter().map(|job| row(store, job)).collect())
}

fn heading(long: bool) -> Vec<String> {
    let short = ["JOB", "PID", "STATE", "TIME", "CPU", "MEMORY", "LAST", "PAUSE", "NEXT"];
    let more = ["RESIDENT", "EVERY", "TAKEN", "OVERHEAD", "HOST", "PROGRAM"];
    let more = if long { &more[..] } else { &[] };
    short.iter().chain(more).map(|&name| name.to_owned()).collect()
}

fn cells(row: Row, long: bool) -> Vec<String> {
    let dash = |text: Option<String>| text.filter(|t| !t.is_empty()).unwrap_or_else(|| "-".into());
    let number = row.newest.as_deref().and_then(|name| name.rsplit_once('@')).map(|(_, n)| n);
    let last = number.map(|n| match row.newest_age_seconds {
        Some(age) => format!("{n} {}", time(age)),
        None => n.to_owned(),
    });
    let state = match row.state {
        "elsewhere" if !row.host.is_empty() => format!("on {}", row.host),
        state => state.to_owned(),
    };
    let mut cells = vec![
        row.job,
        dash(row.pid.map(|p| p.to_string())),
        state,
        dash(row.seconds.map(time)),
        dash(row.cpu_seconds.map(time)),
        dash(row.memory_bytes.map(size::short)),
        dash(last),
        dash(row.pause_us.map(ui::micros)),
        dash(row.next_seconds.map(time)),
    ];
    if long {
        cells.extend([
            dash(row.resident_bytes.map(size::short)),
            dash(row.every.map(|every| ui::every(&every, row.interval_ms))),
            dash(row.checkpoints.map(|n| n.to_string())),
            dash(row.overhead.map(ui::percent)),
            dash(Some(row.host)),
            row.program,
        ]);
    }
    cells
}

fn time(seconds: f64) -> String {
    ui::short_time(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// What it answers; what is known without that, if it does not.
pub fn row(store: &Path, job: String) -> Row {
    let holder = running::holder(store, &job).unwrap_or_default();
    let row = match ask(store, &job, Request::Status) {
        Ok(Response::Status(status)) => answered(*status, holder.host),
        // Jobs of other hosts cannot be asked from here.
        _ => from_lease(job, holder),
    };
    complete(store, row)
}

/// Of a job that does not answer.
#[cfg(feature = "ui")]
pub fn silent(store: &Path, job: String) -> Row {
    let holder = running::holder(store, &job).unwrap_or_default();
    complete(store, from_lease(job, holder))
}

fn complete(store: &Path, mut row: Row) -> Row {
    if row.newest.is_none() {
        // Taken before it was resumed: a resume would go on from that.
        let listed = Store::open(store).and_then(|store| store.list(&row.job));
        if let Some(newest) = listed.ok().as_deref().and_then(<[_]>::last) {
            row.newest = Some(newest.name());
            row.newest_created = Some(newest.created.clone());
        }
    }
    row.seconds = ui::age(&row.started);
    row.newest_age_seconds = row.newest_created.as_deref().and_then(ui::age);
    row
}

fn answered(status: Status, host: String) -> Row {
    let seconds = |ms: Option<u64>| ms.map(|ms| ms as f64 / 1000.0);
    let state = match (&status.paused_ms, status.writing, status.waits.as_deref()) {
        (Some(_), ..) => "paused",
        (None, true, _) => "checkpointing",
        (None, false, Some("time")) => "sleeping",
        (None, false, Some(_)) => "waiting",
        (None, false, None) => "running",
    };
    Row {
        job: status.job,
        pid: Some(status.pid),
        host,
        program: status.program,
        started: status.started,
        state,
        writing: status.writing,
        cpu_seconds: seconds(status.cpu_ms),
        memory_bytes: status.memory,
        resident_bytes: status.resident,
        every: status.every,
        interval_ms: status.interval_ms,
        overhead: status.overhead,
        pause_us: status.pause_us,
        paused_seconds: seconds(status.paused_ms),
        next_seconds: seconds(status.next_ms),
        checkpoints: Some(status.checkpoints),
        newest: status.newest,
        newest_created: status.newest_created,
        answers: true,
        ..Row::default()
    }
}

fn from_lease(job: String, holder: Holder) -> Row {
    let state = if holder.is_here() { "no answer" } else { "elsewhere" };
    Row {
        job,
        state,
        pid: Some(holder.pid).filter(|pid| *pid != 0),
        host: holder.host,
        program: holder.program,
        started: holder.started,
        ..Row::default()
    }
}
