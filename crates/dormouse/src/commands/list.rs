//! `list`: what the store has.

use super::Done;
use crate::{cli, size, ui};
use dormouse::{annotations, running};
use dormouse_store::{CheckpointInfo, Store, StoreError};
use serde::Serialize;
use std::collections::BTreeMap;

/// A checkpoint, for scripts.
#[derive(Serialize)]
pub struct Checkpoint<'a> {
    name: String,
    job: &'a str,
    number: u64,
    created: &'a str,
    digest: &'a str,
    module_digest: &'a str,
    state_size: u64,
    module_size: u64,
    memory_size: u64,
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct JobRow<'a> {
    job: &'a str,
    checkpoints: usize,
    running: bool,
    /// Where, if it is.
    host: Option<String>,
    newest: Checkpoint<'a>,
}

impl<'a> From<&'a CheckpointInfo> for Checkpoint<'a> {
    fn from(info: &'a CheckpointInfo) -> Self {
        Checkpoint {
            name: info.name(),
            job: &info.job,
            number: info.number,
            created: &info.created,
            digest: &info.digest,
            module_digest: &info.module_digest,
            state_size: info.state_size,
            module_size: info.module_size,
            memory_size: info.memory_size,
            annotations: &info.annotations,
        }
    }
}

pub fn list(args: cli::List) -> Done {
    let dir = args.listing.place.dir()?;
    let store = Store::open(&dir)?;
    match args.job {
        Some(job) => checkpoints(&store, job, args.listing.json),
        None => jobs(&store, args.listing.json),
    }
}

fn jobs(store: &Store, json: bool) -> Done {
    let jobs = store.jobs()?;
    if json {
        let rows = jobs.iter().map(|j| {
            let running = running::is_running(store.dir(), &j.job);
            let holder = running::holder(store.dir(), &j.job).filter(|_| running);
            let (job, checkpoints) = (&*j.job, j.checkpoints);
            JobRow {
                job,
                checkpoints,
                running,
                host: holder.map(|h| h.host),
                newest: (&j.newest).into(),
            }
        });
        ui::print_json(&rows.collect::<Vec<_>>());
        return Ok(0);
    }
    let mut table =
        vec![row(["JOB", "CHECKPOINTS", "NEWEST", "SAVED", "SIZE", "RUNNING", "PROGRAM"])];
    for j in &jobs {
        let running = match running::is_running(store.dir(), &j.job) {
            true => match running::holder(store.dir(), &j.job).filter(|h| !h.is_here()) {
                Some(holder) => format!("on {}", holder.host),
                None => "yes".to_owned(),
            },
            false => "no".to_owned(),
        };
        let program = j.newest.annotations.get(annotations::PROGRAM).map_or("-", String::as_str);
        table.push(row([
            &j.job,
            &j.checkpoints.to_string(),
            &j.newest.name(),
            &ui::local_time(&j.newest.created),
            &size::text(j.newest.size()),
            &running,
            program,
        ]));
    }
    ui::print(&ui::table(&table));
    Ok(0)
}

fn checkpoints(store: &Store, job: String, json: bool) -> Done {
    let checkpoints = store.list(&job)?;
    if checkpoints.is_empty() {
        return Err(StoreError::NoJob { job }.into());
    }
    if json {
        ui::print_json(&checkpoints.iter().map(Checkpoint::from).collect::<Vec<_>>());
        return Ok(0);
    }
    let mut table = vec![row(["CHECKPOINT", "SAVED", "MEMORY", "STATE", "MODULE"])];
    for c in &checkpoints {
        table.push(row([
            &c.name(),
            &ui::local_time(&c.created),
            &size::text(c.memory_size),
            &size::text(c.state_size),
            &size::text(c.module_size),
        ]));
    }
    ui::print(&ui::table(&table));
    Ok(0)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
