//! The books of a running job: what its checkpoints cost, what is written down of each, and when the next is due.
//!
//! ```text
//!   drive, writer ── Measured ──> enter ──> a line of statistics (see `stats`)
//!                                   │
//!                                   ├──> spent so far / time so far = overhead
//!                                   └──> mean cost ──> interval (see `interval`) ──> timer
//!
//!   cost = pause + processor time of copying, compressing and writing / number of processors
//! ```
//!
//! The mean weighs the newest with a quarter, the one before with a quarter of the rest, and so on. What is done after a
//! checkpoint became durable (squashing, removing old ones) is spent too, but no part of any one's cost.

use crate::desk::{Answer, Why};
use crate::interval::Pace;
use crate::stats::{Log, Record};
use dormouse_engine::Pause;
use dormouse_memory::{PAGE_SIZE, Tracking};
use dormouse_store::Meter;
use std::num::NonZero;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the newest counts in the mean cost.
const NEWEST: f64 = 0.25;
/// For how long a record waits for the program to go on: its continuations may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was done for a checkpoint while the program ran, before it stood still.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead {
    /// Rounds of copying.
    pub rounds: u32,
    /// Pages copied in them, or written.
    pub pages: u64,
    /// Processor time spent on them; and of all that comes after.
    pub meter: Meter,
}

/// What is known of a checkpoint once it has been copied.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// How long the program stands still, told when it goes on.
    pause: Option<Pause>,
    ahead: Ahead,
    /// Pages that go into the checkpoint.
    pages: u64,
    /// How changed pages were found.
    pub tracking: Option<Tracking>,
    /// The copy's end.
    copied: Instant,
}

impl Measured {
    /// Of a program that stands still and has been copied just now.
    pub fn now(
        pause: Option<Pause>,
        ahead: Ahead,
        pages: u64,
        tracking: Option<Tracking>,
    ) -> Measured {
        Measured { pause, ahead, pages, tracking, copied: Instant::now() }
    }

    /// Counts what is written, and processor time spent on it beside the program.
    pub fn meter(&self) -> &Meter {
        &self.ahead.meter
    }
}

/// How a checkpoint came out.
pub(crate) struct Entry<'a> {
    pub why: Why,
    /// The oldest order for it.
    pub ordered: Option<Instant>,
    /// It was written while the program stands still, to stop if it is durable, and on the program's own thread.
    pub in_place: bool,
    /// Nothing if it was not copied.
    pub measured: Option<&'a Measured>,
    pub answer: &'a Answer,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Standing {
    /// From one checkpoint to the next, as it is now.
    pub interval: Option<Duration>,
    /// The share of the time that checkpoints cost so far.
    pub overhead: f64,
    /// The newest one's pause.
    pub pause: Option<Duration>,
}

pub(crate) struct Books {
    pace: Pace,
    log: Option<Log>,
    inner: Mutex<Inner>,
}

struct Inner {
    began: Instant,
    /// By all checkpoints so far.
    spent: Duration,
    /// Of one, in the mean.
    cost: Option<Duration>,
    pause: Option<Duration>,
    /// That the log cannot be written was told.
    told: bool,
}

impl Default for Books {
    fn default() -> Books {
        Books::new(Pace::default(), None)
    }
}

impl Books {
    /// New ones; without a log nothing is written down.
    pub fn new(pace: Pace, log: Option<Log>) -> Books {
        let inner = Inner {
            began: Instant::now(),
            spent: Duration::ZERO,
            cost: None,
            pause: None,
            told: false,
        };
        Books { pace, log, inner: Mutex::new(inner) }
    }

    /// The program begins, or goes on: the time counts from here.
    pub fn begin(&self) {
        self.lock().began = Instant::now();
    }

    /// From one checkpoint to the next, as it is now.
    pub fn interval(&self) -> Option<Duration> {
        self.pace.interval(self.lock().cost)
    }

    pub fn standing(&self) -> Standing {
        let inner = self.lock();
        Standing {
            interval: self.pace.interval(inner.cost),
            overhead: inner.overhead(),
            pause: inner.pause,
        }
    }

    /// A checkpoint is durable just now, or has failed. Comes back when its pause is known; with a warning, if there is one.
    pub fn enter(&self, entry: Entry<'_>) -> Option<String> {
        let Entry { why, ordered, in_place, measured, answer } = entry;
        let now = Instant::now();
        let mut record = Record {
            number: answer.as_ref().ok().map(|info| info.number),
            why: why.word().to_owned(),
            latency: micros(ordered.map_or(Duration::ZERO, |ordered| now - ordered)),
            error: answer.as_ref().err().cloned(),
            ..Record::default()
        };
        let mut cost = Duration::ZERO;
        let mut stood = None;
        if let Some(measured) = measured {
            let pause = match &measured.pause {
                Some(pause) if in_place => pause.so_far(),
                Some(pause) => pause.wait(PATIENCE),
                None => Duration::ZERO,
            };
            // All that was done in place is in the pause.
            cost = if in_place { pause } else { self.cost(pause, measured) };
            stood = Some(pause);
            record.pause = micros(pause);
            record.rounds = measured.ahead.rounds;
            record.precopied = measured.ahead.pages;
            record.pages = measured.pages;
            record.bytes = measured.pages * PAGE_SIZE as u64;
            record.stored = measured.meter().stored();
            record.write = micros(now.saturating_duration_since(measured.copied));
            record.cost = micros(cost);
            record.tracking = measured.tracking.map_or_else(String::new, |how| how.to_string());
        }
        {
            let mut inner = self.lock();
            inner.spent += cost;
            if answer.is_ok() {
                inner.pause = stood;
                // A program that stops waits for the disk; those that go on do not.
                if !in_place && measured.is_some() {
                    inner.cost = Some(inner.cost.map_or(cost, |mean| mean_of(mean, cost)));
                }
            }
            record.overhead = (inner.overhead() * 1e6).round() / 1e6;
            record.interval = self.pace.interval(inner.cost).map(micros);
        }
        let written = self.log.as_ref().map_or(Ok(()), |log| log.append(record));
        let told = std::mem::replace(&mut self.lock().told, written.is_err());
        let why = written.err().filter(|_| !told)?;
        Some(format!("statistics are not written to {why}; checkpoints are"))
    }

    /// A copy was thrown away, to be made again.
    pub fn wasted(&self, measured: &Measured) {
        let pause = measured.pause.as_ref().map_or(Duration::ZERO, Pause::so_far);
        let cost = self.cost(pause, measured);
        self.lock().spent += cost;
    }

    /// Processor time spent on tidying up.
    pub fn tidied(&self, time: Duration) {
        self.lock().spent += time / processors();
    }

    fn cost(&self, pause: Duration, measured: &Measured) -> Duration {
        pause + measured.meter().time() / processors()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Inner {
    fn overhead(&self) -> f64 {
        let time = self.began.elapsed().as_secs_f64();
        (self.spent.as_secs_f64() / time.max(1e-9)).min(1.0)
    }
}

fn mean_of(mean: Duration, newest: Duration) -> Duration {
    mean.mul_f64(1.0 - NEWEST) + newest.mul_f64(NEWEST)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How many this process may use. Asked when it is needed: that reads files, and a start has no use for it.
fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(processors).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::Every;

    const MS: Duration = Duration::from_millis(1);

    fn entry<'a>(answer: &'a Answer, measured: Option<&'a Measured>) -> Entry<'a> {
        Entry { why: Why::Timer, ordered: None, in_place: false, measured, answer }
    }

    fn durable() -> Answer {
        Ok(dormouse_store::CheckpointInfo {
            job: "sim".into(),
            number: 7,
            created: String::new(),
            digest: String::new(),
            module_digest: String::new(),
            state_size: 0,
            module_size: 0,
            memory_size: 0,
            files_size: 0,
            pulled: false,
            annotations: Default::default(),
        })
    }

    /// Stood still for no time, and worked for this.
    fn measured(work: Duration) -> Measured {
        let measured = Measured::now(None, Ahead::default(), 3, None);
        let meter = measured.meter().clone();
        while meter.time() < work {
            let _work = meter.work();
            let began = Instant::now();
            while began.elapsed() < MS {}
        }
        measured
    }

    #[test]
    fn what_it_costs_decides() {
        let auto = Pace { every: Some(Every::Auto), ..Pace::default() };
        let books = Books::new(auto, None);
        let first = books.interval().unwrap();
        let dear = measured(20 * MS);
        let cost = dear.meter().time() / processors();
        assert_eq!(books.enter(entry(&durable(), Some(&dear))), None);
        let mean = books.lock().cost.unwrap();
        assert_eq!(mean, cost, "the first is the mean");
        assert_eq!(books.interval(), auto.interval(Some(cost)));
        assert_ne!(books.interval(), Some(first));
        books.enter(entry(&durable(), Some(&measured(Duration::ZERO))));
        assert_eq!(books.lock().cost.unwrap(), mean.mul_f64(0.75));
        // One that failed says nothing of what one costs, but took its time all the same.
        let spent = books.lock().spent;
        books.enter(entry(&Err("full".into()), Some(&dear)));
        assert_eq!(books.lock().cost.unwrap(), mean.mul_f64(0.75));
        assert_eq!(books.lock().spent, spent + cost);
        books.wasted(&dear);
        books.tidied(MS * processors());
        assert_eq!(books.lock().spent, spent + 2 * cost + MS);
        std::thread::sleep(100 * MS);
        let overhead = books.standing().overhead;
        assert!(overhead > 0.0 && overhead < 1.0, "{overhead}");
        books.begin();
        assert!(books.standing().overhead > overhead, "the time begins anew");
    }

    #[test]
    fn that_nothing_can_be_written_is_told_once_in_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = dir.path().join("stats");
        std::fs::write(&in_the_way, "").unwrap();
        let log = Log::open(dir.path(), "sim", None).unwrap();
        let books = Books::new(Pace::default(), Some(log));
        let answer = durable();
        let told = books.enter(entry(&answer, None)).unwrap();
        assert!(
            told.starts_with("statistics are not written to ")
                && told.ends_with("; checkpoints are")
        );
        assert_eq!(books.enter(entry(&answer, None)), None);
        std::fs::remove_file(&in_the_way).unwrap();
        assert_eq!(books.enter(entry(&answer, None)), None);
        let text = std::fs::read_to_string(in_the_way.join("sim.jsonl")).unwrap();
        let record: Record = serde_json::from_str(&text).unwrap();
        assert_eq!((record.number, record.why.as_str(), record.interval), (Some(7), "timer", None));
        std::fs::remove_dir_all(&in_the_way).unwrap();
        std::fs::write(&in_the_way, "").unwrap();
        assert!(books.enter(entry(&answer, None)).is_some());
    }
}
