//! Which checkpoints of a job are kept.
//!
//! ```text
//!   last=2 hourly=3            hour    9    9    10   11   11   11
//!                              sim    @1   @2   @3   @4   @5   @6
//!     last                                            x    x
//!     hourly                         x    x              x          the newest of each of 3 hours
//!     kept                           @2   @3         @5   @6        what any rule keeps
//! ```
//!
//! The rules are restic's. Whatever they say, the newest checkpoint stays, and the newest good one if
//! that is another. `max-store` comes after them and stops at nothing else: the oldest go until the
//! rest fits.

use crate::blob::{self, BlobRef};
use crate::error::{Bad, StoreError};
use crate::gc::{Care, GcReport};
use crate::index::Index;
use crate::job::{CheckpointInfo, check_name};
use crate::load::{Memories, subject};
use crate::open::Store;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How often a choice is made anew because the list has changed meanwhile.
const TRIES: u32 = 10;

/// Rules for the checkpoints of a job. Without any, all are kept.
///
/// ```
/// use dormouse_store::Retention;
///
/// let rules = Retention { last: Some(3), daily: Some(7), ..Retention::default() };
/// assert_eq!(rules.to_string(), "last=3 daily=7");
/// assert_eq!("last=3 daily=7".parse(), Ok(rules));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest are kept.
    pub last: Option<u32>,
    /// For each of the last so many hours that have a checkpoint, the newest of it is kept.
    pub hourly: Option<u32>,
    /// The same for days, as they are here and now.
    pub daily: Option<u32>,
    /// All that are at most so much older than the newest are kept.
    pub within: Option<Duration>,
    /// A job's checkpoints may take so many bytes; what they share counts once.
    pub max_store: Option<u64>,
}

/// A job whose checkpoints take more than [`Retention::max_store`], though nothing more can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverQuota {
    /// The job.
    pub job: String,
    /// What they take.
    pub bytes: u64,
    /// What they may take.
    pub limit: u64,
}

/// What a round has chosen.
#[derive(Default)]
struct Choice {
    /// What goes.
    gone: HashSet<(String, u64)>,
    /// What it goes in favour of, by manifest: must still be listed when it does.
    stays: Vec<[u8; 32]>,
    over: Vec<OverQuota>,
}

impl Retention {
    /// Whether there are no rules at all.
    pub fn is_empty(&self) -> bool {
        *self == Retention::default()
    }

    /// Which of a job's checkpoints, oldest first, a rule keeps; `max_store` is not looked at. The
    /// newest is always kept, and one whose time cannot be read.
    pub fn keeps(&self, checkpoints: &[CheckpointInfo]) -> Vec<bool> {
        let times: Vec<_> = checkpoints.iter().map(|c| c.created.parse().ok()).collect();
        self.keeps_at(&times, &TimeZone::system())
    }

    /// The same by time only.
    pub(crate) fn keeps_at(&self, times: &[Option<Timestamp>], zone: &TimeZone) -> Vec<bool> {
        let Retention { last, hourly, daily, within, max_store: _ } = *self;
        if last.is_none() && hourly.is_none() && daily.is_none() && within.is_none() {
            return vec![true; times.len()];
        }
        let newest = times.last().copied().flatten();
        let local = |t: &Timestamp| i64::from(zone.to_offset(*t).seconds());
        // When clocks are set back an hour comes twice; the offset tells one from the other.
        let hour = |t: &Timestamp| ((t.as_second() + local(t)).div_euclid(3600), local(t));
        let day = |t: &Timestamp| ((t.as_second() + local(t)).div_euclid(86_400), 0);
        let (mut hours, mut days) = (HashSet::new(), HashSet::new());
        let mut kept: Vec<bool> = times
            .iter()
            .rev()
            .enumerate()
            .map(|(rank, time)| {
                let newer = last.is_some_and(|n| rank < n as usize);
                let Some(time) = time else { return true };
                // All are asked: each counts its own.
                let of_hour = newest_of(&mut hours, hour(time), hourly);
                let of_day = newest_of(&mut days, day(time), daily);
                let recent = within.is_some_and(|within| {
                    let older = newest.map_or(0, |n| n.as_millisecond() - time.as_millisecond());
                    u128::try_from(older).map_or(true, |older| older <= within.as_millis())
                });
                rank == 0 || newer || of_hour || of_day || recent
            })
            .collect();
        kept.reverse();
        kept
    }
}

/// Whether this is the first of a new hour or day, and one of the last `most`.
fn newest_of(seen: &mut HashSet<(i64, i64)>, key: (i64, i64), most: Option<u32>) -> bool {
    most.is_some_and(|most| seen.len() < most as usize && seen.insert(key))
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Retention { last, hourly, daily, within, max_store } = self;
        let count = |name, n: &Option<u32>| n.map(|n| format!("{name}={n}"));
        let rules = [
            count("last", last),
            count("hourly", hourly),
            count("daily", daily),
            within.map(|d| format!("within={}ms", d.as_millis())),
            max_store.map(|bytes| format!("max-store={bytes}")),
        ];
        f.write_str(&rules.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for Retention {
    /// The rule that makes no sense.
    type Err = String;

    /// What [`Display`](fmt::Display) wrote.
    fn from_str(text: &str) -> Result<Retention, String> {
        let mut rules = Retention::default();
        for rule in text.split_ascii_whitespace() {
            let bad = || rule.to_owned();
            let (name, value) = rule.split_once('=').ok_or_else(bad)?;
            let count = || value.parse::<u32>().map(Some).map_err(|_| bad());
            match name {
                "last" => rules.last = count()?,
                "hourly" => rules.hourly = count()?,
                "daily" => rules.daily = count()?,
                "within" => {
                    let millis = value.strip_suffix("ms").and_then(|n| n.parse().ok());
                    rules.within = Some(Duration::from_millis(millis.ok_or_else(bad)?));
                }
                "max-store" => rules.max_store = Some(value.parse().map_err(|_| bad())?),
                _ => return Err(bad()),
            }
        }
        Ok(rules)
    }
}

impl Store {
    /// Removes what the rules do not keep, of each of these jobs by itself, and collects.
    ///
    /// A job's newest checkpoint is never removed, and if that is damaged, the newest good one is not
    /// either. That is read for this, if there is anything to remove: it may build on layers that have rotted.
    ///
    /// # Errors
    /// As [`Store::remove`]. A job without checkpoints is [`StoreError::NoJob`].
    pub fn retain(
        &self,
        jobs: &[String],
        rules: &Retention,
        care: Care,
    ) -> Result<GcReport, StoreError> {
        jobs.iter().try_for_each(|job| check_name(job))?;
        for _ in 0..TRIES {
            // Made without a lock, because it may have to read a whole checkpoint.
            let choice = self.apply(jobs, rules)?;
            if choice.gone.is_empty() && matches!(care, Care::Brief(_)) {
                return Ok(GcReport { over: choice.over, ..GcReport::default() });
            }
            let check = |index: &Index| {
                let listed: HashSet<_> =
                    index.checkpoints().iter().map(|(_, blob)| blob.digest).collect();
                Ok(choice.stays.iter().all(|digest| listed.contains(digest)))
            };
            if let Some(report) = self.clean(&choice.gone, check, care)? {
                return Ok(GcReport { over: choice.over, ..report });
            }
        }
        Err(StoreError::Busy { dir: self.dir.clone() })
    }

    fn apply(&self, jobs: &[String], rules: &Retention) -> Result<Choice, StoreError> {
        let mut choice = Choice::default();
        let (index, _) = Index::read(&self.dir)?;
        let listed = index.checkpoints();
        for job in jobs {
            let of_job: Vec<_> = listed.iter().filter(|(info, _)| info.job == *job).collect();
            if of_job.is_empty() {
                return Err(StoreError::NoJob { job: job.clone() });
            }
            let infos: Vec<_> = of_job.iter().map(|(info, _)| info.clone()).collect();
            let mut kept = rules.keeps(&infos);
            let mut taken = match rules.max_store {
                Some(limit) => Some((Taken::by(self, &of_job)?, limit)),
                None => None,
            };
            if let Some((taken, _)) = &mut taken {
                for (at, _) in kept.iter().enumerate().filter(|(_, kept)| !**kept) {
                    taken.without(at);
                }
            }
            let over = taken.as_ref().is_some_and(|(taken, limit)| taken.bytes > *limit);
            if !over && kept.iter().all(|kept| *kept) {
                continue;
            }
            let newest_good = self.newest_good(&of_job)?;
            let protected = [Some(of_job.len() - 1), newest_good];
            if let (Some(at), Some((taken, _))) = (newest_good, &mut taken) {
                taken.with(at);
            }
            newest_good.into_iter().for_each(|at| kept[at] = true);
            if let Some((taken, limit)) = &mut taken {
                for (at, kept) in kept.iter_mut().enumerate() {
                    if taken.bytes > *limit && *kept && !protected.contains(&Some(at)) {
                        taken.without(at);
                        *kept = false;
                    }
                }
                if taken.bytes > *limit {
                    let (bytes, limit) = (taken.bytes, *limit);
                    choice.over.push(OverQuota { job: job.clone(), bytes, limit });
                }
            }
            // Two entries of one name are removed by that name together, so one that stays keeps both.
            let names: HashSet<u64> =
                (0..kept.len()).filter(|at| kept[*at]).map(|at| infos[at].number).collect();
            for (info, blob) in of_job {
                match names.contains(&info.number) {
                    true => choice.stays.push(blob.digest),
                    false => drop(choice.gone.insert((info.job.clone(), info.number))),
                }
            }
        }
        Ok(choice)
    }

    /// Which of a job's checkpoints, oldest first, is the newest good one.
    fn newest_good(
        &self,
        checkpoints: &[&(CheckpointInfo, BlobRef)],
    ) -> Result<Option<usize>, StoreError> {
        for (at, (info, blob)) in checkpoints.iter().enumerate().rev() {
            match self.load_entry(info, blob, Memories::Verified) {
                Ok(_) => return Ok(Some(at)),
                Err(Bad::Damage(_)) => {}
                // Encrypted, and there is no key here: digests tell enough.
                Err(Bad::Fatal(StoreError::NoKey { .. })) if self.digests_hold(info, blob) => {
                    return Ok(Some(at));
                }
                Err(Bad::Fatal(StoreError::NoKey { .. })) => {}
                // Of a newer version: may be good, but cannot be gone on from here.
                Err(Bad::Fatal(StoreError::Unsupported { .. })) => {}
                Err(Bad::Fatal(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    fn digests_hold(&self, info: &CheckpointInfo, blob: &BlobRef) -> bool {
        self.load_manifest(info, blob).is_ok_and(|manifest| {
            manifest.blobs().all(|part| {
                let subject = subject(info, "part", &part);
                blob::open_verified(&self.dir, &subject, &part.digest, part.size).is_ok()
            })
        })
    }
}

/// The bytes that some of a job's checkpoints take together.
struct Taken {
    /// Of each checkpoint.
    blobs: Vec<Vec<BlobRef>>,
    counted: Vec<bool>,
    /// How many of those that count have a blob.
    users: HashMap<[u8; 32], usize>,
    bytes: u64,
}

impl Taken {
    fn by(store: &Store, checkpoints: &[&(CheckpointInfo, BlobRef)]) -> Result<Taken, StoreError> {
        let mut taken = Taken {
            blobs: Vec::new(),
            counted: vec![false; checkpoints.len()],
            users: HashMap::new(),
            bytes: 0,
        };
        for (at, (info, blob)) in checkpoints.iter().enumerate() {
            taken.blobs.push(store.reached(info.clone(), *blob)?.blobs);
            taken.with(at);
        }
        Ok(taken)
    }

    fn with(&mut self, at: usize) {
        if !std::mem::replace(&mut self.counted[at], true) {
            for blob in &self.blobs[at] {
                let users = self.users.entry(blob.digest).or_default();
                *users += 1;
                if *users == 1 {
                    self.bytes = self.bytes.saturating_add(blob.size);
                }
            }
        }
    }

    fn without(&mut self, at: usize) {
        if std::mem::replace(&mut self.counted[at], false) {
            for blob in &self.blobs[at] {
                let users = self.users.entry(blob.digest).or_default();
                *users = users.saturating_sub(1);
                if *users == 0 {
                    self.bytes = self.bytes.saturating_sub(blob.size);
                }
            }
        }
    }
}
