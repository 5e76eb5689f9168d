//! `list`: what the store has.

use super::Done;
use crate::{cli, size, ui};
use dormouse::look::Summary;
use dormouse::stats::{self, Record};
use dormouse::{annotations, running};
use dormouse_store::{CheckpointSizes, Store, StoreError, StoreSizes};
use serde::Serialize;
use std::collections::HashMap;

/// One of a list: what it takes, in bytes, is nothing where its manifest cannot be read.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    checkpoint: Summary,
    own: Option<u64>,
    shared: Option<u64>,
    total: Option<u64>,
    /// How long the program stood still for it, in microseconds, if the statistics say so.
    pause_us: Option<u64>,
    /// From it to the next, in milliseconds.
    interval_ms: Option<u64>,
}

#[derive(Serialize)]
struct JobRow<'a> {
    job: &'a str,
    checkpoints: usize,
    total: u64,
    running: bool,
    /// Where, if it is.
    host: Option<String>,
    #[serde(skip)]
    elsewhere: bool,
    newest: Listed,
}

impl From<&CheckpointSizes> for Listed {
    fn from(CheckpointSizes { info, sizes }: &CheckpointSizes) -> Self {
        Listed {
            checkpoint: Summary::of(info),
            own: sizes.map(|s| s.own),
            shared: sizes.map(|s| s.shared),
            total: sizes.map(|s| s.total()),
            pause_us: None,
            interval_ms: None,
        }
    }
}

pub fn list(args: cli::List) -> Done {
    let store = Store::open(&args.listing.place.dir()?)?;
    let json = args.listing.json;
    match args.job {
        Some(job) => {
            // Says so if that cannot be a job.
            store.list(&job)?;
            checkpoints(&store, &store.sizes()?, job, json)
        }
        None => jobs(&store, &store.sizes()?, json, &args.listing.place.hint()),
    }
}

fn jobs(store: &Store, sizes: &StoreSizes, json: bool, hint: &str) -> Done {
    let jobs = sizes.checkpoints.chunk_by(|a, b| a.info.job == b.info.job);
    let rows: Vec<JobRow<'_>> = jobs
        .filter_map(|checkpoints| {
            let newest = checkpoints.last()?;
            let job = newest.info.job.as_str();
            let running = running::is_running(store.dir(), job);
            let holder = running::holder(store.dir(), job).filter(|_| running);
            Some(JobRow {
                job,
                checkpoints: checkpoints.len(),
                total: sizes.jobs.get(job).copied().unwrap_or(0),
                running,
                elsewhere: holder.as_ref().is_some_and(|holder| !holder.is_here()),
                host: holder.map(|holder| holder.host),
                newest: newest.into(),
            })
        })
        .collect();
    if json {
        ui::print_json(&serde_json::json!({
            "jobs": rows,
            "store": {
                "checkpoints": sizes.checkpoints.len(),
                "total": sizes.total,
                "unreferenced": sizes.unreferenced,
            },
        }));
        return Ok(0);
    }
    let mut table =
        vec![row(["JOB", "CHECKPOINTS", "NEWEST", "SAVED", "TOTAL", "RUNNING", "PROGRAM"])];
    for j in &rows {
        let newest = &j.newest.checkpoint;
        let running = match &j.host {
            Some(host) if j.elsewhere => format!("on {host}"),
            _ if j.running => "yes".to_owned(),
            _ => "no".to_owned(),
        };
        table.push(row([
            j.job,
            &j.checkpoints.to_string(),
            &newest.name,
            &ui::local_time(&newest.created),
            &size::text(j.total),
            &running,
            newest.annotations.get(annotations::PROGRAM).map_or("-", String::as_str),
        ]));
    }
    let mut text = ui::table(&table);
    text += &format!(
        "{} of {} take {}\n",
        ui::count(sizes.checkpoints.len(), "checkpoint"),
        ui::count(rows.len(), "job"),
        size::text(sizes.total)
    );
    if sizes.unreferenced > 0 {
        let garbage = size::text(sizes.unreferenced);
        text += &format!("{garbage} that nothing needs; `dormouse gc{hint}` deletes it\n");
    }
    ui::print(&text);
    Ok(0)
}

fn checkpoints(store: &Store, sizes: &StoreSizes, job: String, json: bool) -> Done {
    let of_job = sizes.checkpoints.iter().filter(|c| c.info.job == job);
    // Where there are none, or they cannot be read, the rest is told.
    let records = stats::read(store, &job).unwrap_or_default().records;
    let records: HashMap<u64, Record> =
        records.into_iter().filter_map(|record| Some((record.number?, record))).collect();
    let row_of = |checkpoint| {
        let row = Listed::from(checkpoint);
        let record = records.get(&row.checkpoint.number);
        Listed {
            pause_us: record.map(|r| r.pause),
            interval_ms: record.and_then(|r| r.interval).map(|micros| micros / 1000),
            ..row
        }
    };
    let rows: Vec<Listed> = of_job.map(row_of).collect();
    if rows.is_empty() {
        return Err(StoreError::NoJob { job }.into());
    }
    if json {
        ui::print_json(&rows);
        return Ok(0);
    }
    let mut table = vec![row(["CHECKPOINT", "SAVED", "OWN", "SHARED", "TOTAL", "PAUSE", "EVERY"])];
    let text = |bytes: Option<u64>| bytes.map_or("damaged".to_owned(), size::text);
    for c in &rows {
        let every = c.checkpoint.annotations.get(annotations::EVERY);
        table.push(row([
            &c.checkpoint.name,
            &ui::local_time(&c.checkpoint.created),
            &text(c.own),
            &text(c.shared),
            &text(c.total),
            &c.pause_us.map_or("-".to_owned(), ui::micros),
            &every.map_or("-".to_owned(), |every| ui::every(every, c.interval_ms)),
        ]));
    }
    let total = sizes.jobs.get(&job).copied().unwrap_or(0);
    ui::print(&format!(
        "{}{} of {job} take {}; all of the store take {}\n",
        ui::table(&table),
        ui::count(rows.len(), "checkpoint"),
        size::text(total),
        size::text(sizes.total)
    ));
    Ok(0)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
