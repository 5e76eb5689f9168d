//! What checkpoints cost: a line of JSON for each, in a file beside the store's blobs.
//!
//! ```text
//!   STORE/stats/
//!    └─ sim.jsonl    {"v":1,"job":"sim","number":7,"when":"2026-11-21T05:16:41.123Z","why":"timer","pause":4120,..}
//!                    {"v":1,"job":"sim","number":8,...
//! ```
//!
//! A line is appended in one write once its checkpoint is durable, or has failed. A file beyond 4 MiB is replaced by its newer
//! half. That a line cannot be written harms no checkpoint. Nothing of what the program holds is in there, so these files
//! are not encrypted.

use crate::{Error, Result};
use dormouse_store::Store;
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The version of the lines; those of others are skipped.
const VERSION: u32 = 1;
/// What a file may have before it is cut to its newer half.
const MAX_FILE: u64 = 4 << 20;
/// Characters of an error that are kept.
const MAX_ERROR: usize = 1000;

/// One checkpoint, durable or failed. Times are in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Version of this record: 1. What is added later may be missing, and is 0, null or "" then.
    pub v: u32,
    /// The job.
    pub job: String,
    /// The checkpoint's number, if it became durable.
    pub number: Option<u64>,
    /// When that was, or when it failed: RFC 3339, UTC.
    pub when: String,
    /// Who wanted it: `timer`, `asked` (on the job's socket), `usr1`, `term`, `int` (Ctrl-C),
    /// `program` (by itself).
    pub why: String,
    /// How long the program stood still: from when its stack was saved until it went on; if it was to stop, until the checkpoint
    /// was durable.
    pub pause: u64,
    /// How often changed pages were copied while the program ran, before it stood still.
    pub rounds: u32,
    /// Pages of 4 KiB that were copied in those rounds; one that was written again is counted again.
    #[serde(default)]
    pub precopied: u64,
    /// Pages of 4 KiB that went into the checkpoint, each counted once.
    pub pages: u64,
    /// Their bytes, before compression.
    pub bytes: u64,
    /// Bytes newly written to the store: layers, state, manifest; the module, if the store did not have it.
    pub stored: u64,
    /// From the copy's end until it was durable: written while the program runs.
    pub write: u64,
    /// From the order until it was durable.
    pub latency: u64,
    /// What it cost the program: the pause, and the processor time spent on it beside the program, divided by the number of
    /// processors.
    pub cost: u64,
    /// The share of the time since the program began or was resumed that all its checkpoints cost: 0.01 is one percent.
    pub overhead: f64,
    /// From this one to the next, if the job takes checkpoints by itself.
    pub interval: Option<u64>,
    /// How changed pages were found: `userfaultfd`, `mprotect`, `compare`.
    pub tracking: String,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// The records of a job, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records {
    /// Those that can be read.
    pub records: Vec<Record>,
    /// How many lines are damaged, or of another version.
    pub skipped: usize,
}

/// Many records in a few numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Checkpoints that became durable.
    pub checkpoints: usize,
    /// Those that failed.
    pub failed: usize,
    /// The pause of the durable ones, in microseconds: half of them have no longer one.
    pub pause_p50: u64,
    /// .. 99 of 100.
    pub pause_p99: u64,
    /// .. all.
    pub pause_max: u64,
    /// Bytes before compression.
    pub bytes: u64,
    /// Bytes written to the store.
    pub stored: u64,
    /// Of the newest: see [`Record::overhead`].
    pub overhead: f64,
}

impl Summary {
    /// Of these, oldest first.
    pub fn of(records: &[Record]) -> Summary {
        let durable = || records.iter().filter(|r| r.number.is_some());
        let mut pauses: Vec<u64> = durable().map(|r| r.pause).collect();
        pauses.sort_unstable();
        Summary {
            checkpoints: pauses.len(),
            failed: records.len() - pauses.len(),
            pause_p50: percentile(&pauses, 50),
            pause_p99: percentile(&pauses, 99),
            pause_max: percentile(&pauses, 100),
            bytes: durable().map(|r| r.bytes).fold(0, u64::saturating_add),
            stored: durable().map(|r| r.stored).fold(0, u64::saturating_add),
            overhead: records.last().map_or(0.0, |r| r.overhead),
        }
    }
}

/// The smallest of `sorted` that at least `percent` of them do not exceed (nearest rank); 0 of none.
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// What is known of a job's checkpoints, whether it runs or not.
///
/// # Errors
/// [`Error::NoStats`] if there is nothing; a name that cannot be a job's; what the system says.
pub fn read(store: &Store, job: &str) -> Result<Records> {
    // Says so if that cannot be a job.
    store.list(job)?;
    let path = path(store.dir(), job);
    match File::open(&path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            // Twice what it may have: more was not written by us.
            file.take(2 * MAX_FILE).read_to_end(&mut bytes).map_err(Error::io("read", &path))?;
            Ok(parse(&bytes))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(Error::NoStats { job: job.to_owned() })
        }
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

fn parse(bytes: &[u8]) -> Records {
    let mut found = Records::default();
    for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<Record>(line) {
            Ok(record) if record.v == VERSION => found.records.push(record),
            _ => found.skipped += 1,
        }
    }
    found
}

/// Deletes what is known of a job's checkpoints; nothing is not an error.
///
/// # Errors
/// What the system says.
pub fn forget(store: &Path, job: &str) -> Result<()> {
    let path = path(store, job);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("delete", path)(e)),
        _ => Ok(()),
    }
}

/// The jobs of which something is known.
pub fn jobs(store: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir(store)).into_iter().flatten().flatten();
    let job = |name: std::ffi::OsString| Some(name.to_str()?.strip_suffix(".jsonl")?.to_owned());
    entries.filter_map(|entry| job(entry.file_name())).filter(|job| !job.starts_with('.')).collect()
}

fn dir(store: &Path) -> PathBuf {
    store.join("stats")
}

fn path(store: &Path, job: &str) -> PathBuf {
    dir(store).join(format!("{job}.jsonl"))
}

/// Where the records of a running job go.
#[derive(Debug)]
pub(crate) struct Log {
    store: PathBuf,
    job: String,
    /// What the user named.
    also: Option<(PathBuf, File)>,
}

impl Log {
    /// The job's own, and another that is appended to.
    ///
    /// # Errors
    /// If the other cannot be opened.
    pub fn open(store: &Path, job: &str, also: Option<PathBuf>) -> Result<Log> {
        let open = |path: PathBuf| {
            let file = OpenOptions::new().append(true).create(true).open(&path);
            file.map(|file| (path.clone(), file))
                .map_err(Error::io("write the statistics (--stats) to", path))
        };
        Ok(Log { store: store.to_owned(), job: job.to_owned(), also: also.map(open).transpose()? })
    }

    /// Fills in what is the same for all, and appends it.
    ///
    /// # Errors
    /// The file it could not be written to, and why. The other one has it.
    pub fn append(&self, mut record: Record) -> std::result::Result<(), String> {
        record.v = VERSION;
        record.job.clone_from(&self.job);
        record.when = format!("{:.3}", jiff::Timestamp::now());
        if let Some(error) = &mut record.error
            && let Some((end, _)) = error.char_indices().nth(MAX_ERROR)
        {
            error.truncate(end);
        }
        let mut line = serde_json::to_vec(&record).unwrap_or_default();
        line.push(b'\n');
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |e: io::Error| format!("{path}: {e}")
        };
        let also = match &self.also {
            Some((path, file)) => (&*file).write_all(&line).map_err(failed(path)),
            None => Ok(()),
        };
        let own = path(&self.store, &self.job);
        append(&own, line, MAX_FILE).map_err(failed(&own)).and(also)
    }
}

/// Appends a line to a file of ours.
fn append(path: &Path, mut line: Vec<u8>, limit: u64) -> io::Result<()> {
    let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
    let file = match (open(), path.parent()) {
        (Err(e), Some(dir)) if e.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            open()?
        }
        (file, _) => file?,
    };
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 {
        file.read_exact_at(&mut last, length - 1)?;
    }
    if last != *b"\n" {
        // A disk was full, or a process was killed in the middle: that line is lost, this one is not.
        line.insert(0, b'\n');
    }
    (&file).write_all(&line)?;
    if length + line.len() as u64 > limit { keep_newer_half(path, file) } else { Ok(()) }
}

fn keep_newer_half(path: &Path, mut file: File) -> io::Result<()> {
    let half = file.metadata()?.len() / 2;
    let mut newer = Vec::new();
    file.seek(SeekFrom::Start(half))?;
    file.read_to_end(&mut newer)?;
    let whole_lines = newer.iter().position(|b| *b == b'\n').map_or(newer.len(), |end| end + 1);
    // No job's name begins with a dot.
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = path.with_file_name(format!(".{}-{name}", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(&newer[whole_lines..])?;
        std::fs::rename(&temp, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temp)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> Record {
        Record { number: Some(number), pause: number * 10, bytes: 4096, ..Record::default() }
    }

    fn numbers(path: &Path) -> Vec<u64> {
        let found = parse(&std::fs::read(path).unwrap());
        found.records.iter().map(|r| r.number.unwrap()).collect()
    }

    fn line(number: u64) -> Vec<u8> {
        let mut line = serde_json::to_vec(&Record { v: VERSION, ..record(number) }).unwrap();
        line.push(b'\n');
        line
    }

    #[test]
    fn nearest_ranks() {
        assert_eq!(percentile(&[], 50), 0);
        assert_eq!([1, 50, 99, 100].map(|p| percentile(&[7], p)), [7; 4]);
        let ten: Vec<u64> = (1..=10).collect();
        assert_eq!([10, 11, 50, 51, 99, 100].map(|p| percentile(&ten, p)), [1, 2, 5, 6, 10, 10]);
        let many: Vec<u64> = (1..=1000).collect();
        assert_eq!([50, 99, 100].map(|p| percentile(&many, p)), [500, 990, 1000]);
    }

    #[test]
    fn sums() {
        let failed = Record { pause: 1_000_000, overhead: 0.5, ..Record::default() };
        let of = Summary::of(&[record(3), record(1), record(2), failed]);
        assert_eq!((of.checkpoints, of.failed), (3, 1));
        assert_eq!((of.pause_p50, of.pause_p99, of.pause_max), (20, 30, 30));
        assert_eq!((of.bytes, of.overhead), (3 * 4096, 0.5));
        assert_eq!(Summary::of(&[]), Summary::default());
    }

    #[test]
    fn damaged_lines_are_skipped_and_the_next_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stats").join("sim.jsonl");
        append(&path, line(1), MAX_FILE).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"v\":1,\"job\":\"si").unwrap();
        append(&path, line(2), MAX_FILE).unwrap();
        file.write_all(b"\xff\xfe\n\n{\"v\":2}\n").unwrap();
        let newer = String::from_utf8(line(3)).unwrap().replace("\"v\":1", "\"v\":9");
        file.write_all(newer.as_bytes()).unwrap();
        let older = String::from_utf8(line(4)).unwrap().replace("\"precopied\":0,", "\"new\":{},");
        file.write_all(older.as_bytes()).unwrap();
        assert_eq!(numbers(&path), [1, 2, 4]);
        assert_eq!(parse(&std::fs::read(&path).unwrap()).skipped, 4);
    }

    #[test]
    fn the_newer_half_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sim.jsonl");
        let limit = 4096;
        let mut most = 0;
        for n in 1..200 {
            append(&path, line(n), limit).unwrap();
            let length = std::fs::metadata(&path).unwrap().len();
            assert!(length <= limit, "{length}");
            most = most.max(length);
            let kept = numbers(&path);
            assert_eq!(
                kept,
                (n + 1 - kept.len() as u64..=n).collect::<Vec<_>>(),
                "no gap, no half line"
            );
            assert!(n < 5 || kept.len() >= 4, "{n}: {kept:?}");
        }
        assert!(most > limit / 2);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_files_and_one_that_fails() {
        let dir = tempfile::tempdir().unwrap();
        let also = dir.path().join("also");
        std::fs::write(&also, "before\n").unwrap();
        let log = Log::open(dir.path(), "sim", Some(also.clone())).unwrap();
        log.append(Record { error: Some("é".repeat(2000)), ..record(1) }).unwrap();
        let own = std::fs::read_to_string(path(dir.path(), "sim")).unwrap();
        assert_eq!(std::fs::read_to_string(&also).unwrap(), format!("before\n{own}"));
        let read = parse(own.as_bytes()).records.remove(0);
        assert_eq!((read.v, read.job.as_str()), (1, "sim"));
        assert_eq!(read.error.unwrap().chars().count(), MAX_ERROR);
        assert_eq!(jobs(dir.path()), ["sim"]);
        forget(dir.path(), "sim").unwrap();
        forget(dir.path(), "sim").unwrap();
        assert!(jobs(dir.path()).is_empty());

        std::fs::remove_dir(dir.path().join("stats")).unwrap();
        std::fs::write(dir.path().join("stats"), "in the way").unwrap();
        let why = log.append(record(2)).unwrap_err();
        assert!(why.contains("stats/sim.jsonl"), "{why}");
        assert_eq!(std::fs::read_to_string(&also).unwrap().lines().count(), 3, "the other has it");
        let error = Log::open(dir.path(), "sim", Some(dir.path().to_owned())).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot write the statistics (--stats) to"),
            "{error}"
        );
    }
}
