//! Asks the jobs that run how they are, without ever waiting long for one that does not answer.
//!
//! ```text
//!   state, of any tab ──> the rows of just now, or: ask all at once ──> a thread each ──> what it said
//!                          who is slow: what it said before; who was silent: not waited for, nor asked twice
//! ```
//!
//! A process that stands still (SIGSTOP) accepts connections until its queue is full, then not even those. So each is asked in a thread
//! that may take as long as it takes, and is not asked again before that has ended.

use crate::commands::ps::{self, Row};
use dormouse::running;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// All tabs have the same answer for so long.
const FRESH: Duration = Duration::from_millis(700);
/// How long one that answered before is waited for,
const PATIENCE: Duration = Duration::from_millis(300);
/// and one of which nothing is known yet.
const FIRST: Duration = Duration::from_secs(2);
/// What it said before holds while an answer is late by so much.
const TRUST: Duration = Duration::from_secs(2);

pub struct Asker {
    dir: PathBuf,
    shared: Mutex<Option<(Instant, Vec<Row>)>>,
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    known: Mutex<HashMap<String, Asked>>,
    answered: Condvar,
}

#[derive(Default)]
struct Asked {
    /// Since when it is being asked.
    since: Option<Instant>,
    /// What came of it the last time.
    row: Option<Row>,
}

impl Asker {
    pub fn new(dir: &Path) -> Asker {
        Asker { dir: dir.to_owned(), shared: Mutex::default(), desk: Arc::default() }
    }

    /// All that run.
    pub fn rows(&self) -> Vec<Row> {
        let mut shared = locked(&self.shared);
        if let Some((at, rows)) = &*shared
            && at.elapsed() < FRESH
        {
            return rows.clone();
        }
        let rows = self.look();
        *shared = Some((Instant::now(), rows.clone()));
        rows
    }

    fn look(&self) -> Vec<Row> {
        let jobs = running::jobs(&self.dir).unwrap_or_default();
        let mut known = locked(&self.desk.known);
        known.retain(|job, asked| asked.since.is_some() || jobs.contains(job));
        let (mut patience, mut awaited) = (Duration::ZERO, vec![]);
        for job in &jobs {
            let asked = known.entry(job.clone()).or_default();
            if asked.since.is_some() || !self.ask(job) {
                continue;
            }
            asked.since = Some(Instant::now());
            let time = match &asked.row {
                None => FIRST,
                Some(row) if row.answers => PATIENCE,
                Some(_) => continue,
            };
            patience = patience.max(time);
            awaited.push(job);
        }
        let waits = |known: &mut HashMap<String, Asked>| {
            awaited.iter().any(|job| known.get(*job).is_some_and(|asked| asked.since.is_some()))
        };
        let known = self.desk.answered.wait_timeout_while(known, patience, waits);
        let (known, _) = known.unwrap_or_else(PoisonError::into_inner);
        let row = |job: &String| {
            let asked = known.get(job)?;
            let late = asked.since.is_some_and(|since| since.elapsed() > TRUST);
            asked.row.clone().filter(|_| !late)
        };
        jobs.iter()
            .map(|job| row(job).unwrap_or_else(|| ps::silent(&self.dir, job.clone())))
            .collect()
    }

    /// In a thread; false if there is none.
    fn ask(&self, job: &str) -> bool {
        let (dir, job, desk) = (self.dir.clone(), job.to_owned(), self.desk.clone());
        let asking = std::thread::Builder::new().spawn(move || {
            let row = ps::row(&dir, job.clone());
            locked(&desk.known).insert(job, Asked { since: None, row: Some(row) });
            desk.answered.notify_all();
        });
        asking.is_ok()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
