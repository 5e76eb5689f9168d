//! What the page shows of a store: read by the library, as `list`, `ps` and `stats` do it.
//!
//! ```text
//!   index.json, manifests ──> Listing, kept until index.json is another ──┐
//!   stats/JOB.jsonl ──────> pause, interval, why it was taken ──────────┼──> JSON
//!   run/, sockets ────────> what runs (`asker`) ────────────────────────┘
//! ```
//!
//! The page asks every second. The list of a store with a thousand checkpoints has a thousand manifests, so it is read only when it
//! has changed.

use super::asker::Asker;
use crate::commands::ps;
use dormouse::stats::{self, Record, Summary};
use dormouse::{annotations, running};
use dormouse_store::{CheckpointSizes, Store, StoreError, StoreSizes};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A store that is looked at again and again.
pub struct Shelf {
    dir: PathBuf,
    asker: Asker,
    kept: Mutex<Option<(Stamp, Arc<StoreSizes>)>>,
}

/// The list as it was: `index.json` is always replaced, never written over.
#[derive(Clone, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64);

/// All jobs, running or not.
#[derive(Serialize)]
pub struct Overview {
    dir: String,
    checkpoints: usize,
    total: u64,
    unreferenced: u64,
    /// Why nothing can be read.
    problem: Option<String>,
    jobs: Vec<JobRow>,
}

#[derive(Default, Serialize)]
struct JobRow {
    job: String,
    program: String,
    checkpoints: usize,
    total: u64,
    newest: Option<u64>,
    newest_created: Option<String>,
    /// Of those that run: what `ps` says.
    running: Option<ps::Row>,
}

/// The checkpoints of one job.
#[derive(Serialize)]
pub struct Timeline {
    job: String,
    total: u64,
    checkpoints: Vec<Mark>,
    /// Those that failed.
    failed: Vec<Failure>,
    summary: Summary,
}

#[derive(Serialize)]
struct Mark {
    number: u64,
    created: String,
    digest: String,
    /// None where the manifest cannot be read.
    own: Option<u64>,
    shared: Option<u64>,
    program: Option<String>,
    every: Option<String>,
    encrypted: bool,
    pulled: bool,
    /// What the statistics say, if they do; times in microseconds.
    pause: Option<u64>,
    interval: Option<u64>,
    why: Option<String>,
    pages: Option<u64>,
    stored: Option<u64>,
}

#[derive(Serialize)]
struct Failure {
    when: String,
    why: String,
    error: String,
}

impl Shelf {
    pub fn new(dir: &Path) -> Shelf {
        Shelf { dir: dir.to_owned(), asker: Asker::new(dir), kept: Mutex::default() }
    }

    /// Never fails: what is wrong is told.
    pub fn overview(&self) -> Overview {
        let (sizes, problem) = match self.sizes() {
            Ok(sizes) => (sizes, None),
            Err(e) => (Arc::default(), Some(e.to_string())),
        };
        let mut jobs: BTreeMap<String, JobRow> = BTreeMap::new();
        for checkpoint in &sizes.checkpoints {
            let info = &checkpoint.info;
            let row = jobs.entry(info.job.clone()).or_default();
            row.checkpoints += 1;
            row.newest = Some(info.number);
            row.newest_created = Some(info.created.clone());
            row.program = info.annotations.get(annotations::PROGRAM).cloned().unwrap_or_default();
        }
        for running in self.asker.rows() {
            let row = jobs.entry(running.job.clone()).or_default();
            row.program.clone_from(&running.program);
            row.running = Some(running);
        }
        for (job, row) in &mut jobs {
            row.job.clone_from(job);
            row.total = sizes.jobs.get(job).copied().unwrap_or(0);
        }
        Overview {
            dir: self.dir.to_string_lossy().into_owned(),
            checkpoints: sizes.checkpoints.len(),
            total: sizes.total,
            unreferenced: sizes.unreferenced,
            problem,
            jobs: jobs.into_values().collect(),
        }
    }

    /// The checkpoints of a job. Of one that runs and has taken none yet, none.
    pub fn timeline(&self, job: &str) -> dormouse::Result<Timeline> {
        let sizes = self.sizes()?;
        let of_job = sizes.checkpoints.iter().filter(|c| c.info.job == job);
        let store = Store::open(&self.dir)?;
        // Says so if that cannot be a job; where there are no statistics, the rest is told.
        store.list(job)?;
        let records = stats::read(&store, job).unwrap_or_default().records;
        let known: HashMap<u64, &Record> =
            records.iter().filter_map(|record| Some((record.number?, record))).collect();
        let checkpoints: Vec<Mark> =
            of_job.map(|c| Mark::of(c, known.get(&c.info.number).copied())).collect();
        if checkpoints.is_empty() && !running::is_running(&self.dir, job) {
            return Err(StoreError::NoJob { job: job.to_owned() }.into());
        }
        let failed = records.iter().filter_map(|record| {
            let error = record.error.clone()?;
            Some(Failure { when: record.when.clone(), why: record.why.clone(), error })
        });
        Ok(Timeline {
            job: job.to_owned(),
            total: sizes.jobs.get(job).copied().unwrap_or(0),
            checkpoints,
            failed: failed.collect(),
            summary: Summary::of(&records),
        })
    }

    fn sizes(&self) -> dormouse::Result<Arc<StoreSizes>> {
        // Before it is read: what changes meanwhile is read again.
        let stamp = std::fs::metadata(self.dir.join("index.json"))
            .map(|m| Stamp(m.ino(), m.len(), m.mtime(), m.mtime_nsec()));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some((at, sizes)), Ok(stamp)) = (&*kept, &stamp)
            && at == stamp
        {
            return Ok(sizes.clone());
        }
        let sizes = Arc::new(Store::open(&self.dir)?.sizes()?);
        *kept = stamp.ok().map(|stamp| (stamp, sizes.clone()));
        Ok(sizes)
    }
}

impl Mark {
    fn of(CheckpointSizes { info, sizes }: &CheckpointSizes, record: Option<&Record>) -> Mark {
        let said = |key| info.annotations.get(key).cloned();
        Mark {
            number: info.number,
            created: info.created.clone(),
            digest: info.digest.clone(),
            own: sizes.map(|s| s.own),
            shared: sizes.map(|s| s.shared),
            program: said(annotations::PROGRAM),
            every: said(annotations::EVERY),
            encrypted: info.annotations.contains_key(annotations::RECIPIENTS),
            pulled: info.pulled,
            pause: record.map(|r| r.pause),
            interval: record.and_then(|r| r.interval),
            why: record.map(|r| r.why.clone()),
            pages: record.map(|r| r.pages),
            stored: record.map(|r| r.stored),
        }
    }
}
