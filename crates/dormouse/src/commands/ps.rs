//! `ps`: the jobs that run.

use super::Done;
use crate::{cli, ui};
use dormouse::control::{Request, Response, ask};
use dormouse::running;
use serde::Serialize;

/// One job. Without an answer, only what its lease says.
#[derive(Serialize)]
struct Row {
    job: String,
    pid: Option<u32>,
    host: String,
    program: String,
    started: String,
    every: Option<String>,
    interval_ms: Option<u64>,
    overhead: Option<f64>,
    pause_us: Option<u64>,
    checkpoints: Option<u64>,
    newest: Option<String>,
    answers: bool,
}

pub fn ps(args: cli::Listing) -> Done {
    let store = args.place.dir()?;
    let rows: Vec<Row> = running::jobs(&store)?.into_iter().map(|job| row(&store, job)).collect();
    if args.json {
        ui::print_json(&rows);
        return Ok(0);
    }
    let heading =
        ["JOB", "PID", "HOST", "SINCE", "EVERY", "CHECKPOINTS", "OVERHEAD", "NEWEST", "PROGRAM"];
    let mut table = vec![heading.map(str::to_owned).to_vec()];
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for row in rows {
        table.push(vec![
            row.job,
            dash(row.pid.map(|p| p.to_string())),
            dash(Some(row.host).filter(|h| !h.is_empty())),
            ui::since(&row.started),
            dash(row.every.map(|every| ui::every(&every, row.interval_ms))),
            row.checkpoints.map_or("no answer".to_owned(), |n| n.to_string()),
            dash(row.overhead.map(ui::percent)),
            dash(row.newest),
            row.program,
        ]);
    }
    ui::print(&ui::table(&table));
    Ok(0)
}

fn row(store: &std::path::Path, job: String) -> Row {
    let holder = running::holder(store, &job).unwrap_or_default();
    // Jobs of other hosts cannot be asked from here.
    if let Ok(Response::Status(s)) = ask(store, &job, Request::Status) {
        return Row {
            job,
            pid: Some(s.pid),
            host: holder.host,
            program: s.program,
            started: s.started,
            every: s.every,
            interval_ms: s.interval_ms,
            overhead: s.overhead,
            pause_us: s.pause_us,
            checkpoints: Some(s.checkpoints),
            newest: s.newest,
            answers: true,
        };
    }
    Row {
        job,
        pid: Some(holder.pid).filter(|pid| *pid != 0),
        host: holder.host,
        program: holder.program,
        started: holder.started,
        every: None,
        interval_ms: None,
        overhead: None,
        pause_us: None,
        checkpoints: None,
        newest: None,
        answers: false,
    }
}
