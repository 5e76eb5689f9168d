//! Keeping a lease: it is renewed while the job runs, and looked at before anything is made durable in its name.
//!
//! ```text
//!   0 ───── TTL/3 ─────────────────────────── TTL*5/6 ──── TTL
//!   taken   renewed; every third of the TTL   program      others may take it over
//!           from then on; after a failure     stands
//!           again each twelfth                still
//! ```
//!
//! A renewal reads the lock file at its path, and writes into it only if it still is its own. It does so on a thread for
//! the moment, because a network file system may not answer for minutes, and the door must not wait for that; nor
//! does the program. If nothing could be seen of the lease for so long that another host may have taken it over,
//! the program stands still until it can: two live copies must not run. A lease that can be read but not
//! written (the disk is full) stops nothing: it is looked at more often instead.

use crate::desk::Desk;
use crate::host::Host;
use crate::lease;
use crate::outcome::Notice;
use crate::running::{self, Holder};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A lock file that is not there is looked for again: somebody who moved it by mistake puts it back.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// Whose a lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Ours,
    /// And what became of it.
    Lost(String),
}

/// The holder's side of a lease, shared by all who must know that it still holds.
#[derive(Debug)]
pub(crate) struct Keeper {
    path: PathBuf,
    job: String,
    token: String,
    inode: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    holder: Holder,
    times: Times,
}

/// When what was last known of the lease.
#[derive(Clone, Copy, Debug)]
struct Times {
    ttl: Duration,
    /// It was written.
    renewed: Instant,
    /// It was seen to be its holder's.
    seen: Instant,
    /// A renewal was begun.
    tried: Option<Instant>,
}

impl Times {
    /// When to renew it.
    fn due(&self) -> Instant {
        let next = self.renewed + self.ttl / 3;
        self.tried.map_or(next, |tried| next.max(tried + self.ttl / 12))
    }

    /// From when on it may be another's without our having seen that.
    fn doubtful(&self) -> Instant {
        self.seen + self.ttl * 5 / 6
    }
}

impl Keeper {
    /// Of a lease whose lock file, `inode`, was written after `began`.
    pub fn new(path: PathBuf, job: &str, holder: Holder, inode: u64, began: Instant) -> Keeper {
        let ttl = Duration::from_millis(holder.ttl_ms);
        let times = Times { ttl, renewed: began, seen: began, tried: None };
        let token = holder.token.clone();
        let kept = Mutex::new(Kept { holder, times });
        Keeper { path, job: job.to_owned(), token, inode, kept }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn job(&self) -> &str {
        &self.job
    }

    /// Whether it is to be renewed.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.kept().times.due()
    }

    /// Whether the lease still is this holder's.
    ///
    /// # Errors
    /// If that cannot be seen.
    pub fn check(&self) -> io::Result<Standing> {
        self.open(false).map(|found| found.map_or_else(Standing::Lost, |_| Standing::Ours))
    }

    /// Counts up, if it still is this holder's.
    ///
    /// # Errors
    /// If that cannot be seen, or not be written; then nothing is renewed.
    pub fn renew(&self) -> io::Result<Standing> {
        let began = Instant::now();
        self.kept().times.tried = Some(began);
        let file = match self.open(true)? {
            Ok(file) => file,
            Err(why) => return Ok(Standing::Lost(why)),
        };
        let text = {
            let mut kept = self.kept();
            kept.holder.renewed += 1;
            lease::text(&kept.holder)?
        };
        // If another took it over just now, this is the old file, at no path.
        file.write_all_at(&text, 0)?;
        self.kept().times.renewed = began;
        Ok(Standing::Ours)
    }

    /// At the end: whose it is, without looking closer than needed. What cannot be seen is taken for another's.
    pub fn certainly(&self) -> Standing {
        let fresh = Instant::now() < self.kept().times.doubtful();
        if fresh && std::fs::metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            return Standing::Ours;
        }
        self.check().unwrap_or_else(|e| Standing::Lost(format!("it cannot be read: {e}")))
    }

    /// The file at the lease's path, if it is this holder's; else what became of the lease. Opened anew each time: that is
    /// when network file systems ask their server.
    fn open(&self, write: bool) -> io::Result<Result<File, String>> {
        let mut tries = 0;
        loop {
            let began = Instant::now();
            let found = OpenOptions::new().read(true).write(write).open(&self.path);
            tries += 1;
            let file = match found {
                Ok(file) => file,
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                Err(_) if tries < TRIES => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(_) => return Ok(Err(format!("{} is gone", self.path.display()))),
            };
            match running::parse(&running::read(&file)?) {
                Some(holder) if holder.token != self.token => {
                    return Ok(Err(format!(
                        "{} took it over",
                        lease::by(Some(&holder), &Host::this())
                    )));
                }
                // Our own file, damaged: the next renewal mends it.
                None if file.metadata()?.ino() != self.inode => {
                    if tries < TRIES {
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                    return Ok(Err(format!("{} is another file now", self.path.display())));
                }
                _ => {
                    self.kept().times.seen = began;
                    return Ok(Ok(file));
                }
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Keeps the lease of a running job: turned by the door, which sleeps in between.
pub(crate) struct Upkeep {
    keeper: Arc<Keeper>,
    desk: Arc<Desk>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// A renewal is under way.
    busy: AtomicBool,
    /// Its failure was told.
    told: AtomicBool,
}

impl Upkeep {
    pub fn new(keeper: Arc<Keeper>, desk: Arc<Desk>) -> Upkeep {
        Upkeep { keeper, desk, shared: Arc::default() }
    }

    /// How long nothing needs to be done.
    pub fn rest(&self) -> Duration {
        let times = self.keeper.kept().times;
        if self.shared.busy.load(Ordering::Acquire) {
            // How it ends is soon known, or it must be seen in time that it does not.
            return times.ttl / 12;
        }
        times.due().saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    /// Does what is due.
    pub fn turn(&self) {
        let now = Instant::now();
        let doubtful = || now >= self.keeper.kept().times.doubtful();
        if doubtful() {
            // Perhaps this process was stopped; then it is known at once. If not, who waits is told. (A host that was
            // suspended does not know for how long: the monotonic clock stands still meanwhile.)
            self.desk.hold();
            if self.shared.busy.load(Ordering::Acquire) {
                self.tell("its file system does not answer");
            }
            // A renewal may have come through meanwhile.
            if !doubtful() {
                self.desk.release();
            }
        }
        if now < self.keeper.kept().times.due() || self.shared.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        self.keeper.kept().times.tried = Some(now);
        let (keeper, desk, shared) = (self.keeper.clone(), self.desk.clone(), self.shared.clone());
        let renew = move || {
            let done = keeper.renew();
            let again = Upkeep { keeper, desk, shared };
            again.renewed(done);
            again.shared.busy.store(false, Ordering::Release);
        };
        // Without a thread it is done on this one, which may have to wait for the file system.
        let theirs = renew.clone();
        if std::thread::Builder::new().name("lease".into()).spawn(theirs).is_err() {
            renew();
        }
    }

    fn renewed(&self, done: io::Result<Standing>) {
        match done {
            Ok(Standing::Lost(why)) => self.desk.lose(why),
            Ok(Standing::Ours) => {
                self.desk.release();
                if self.shared.told.swap(false, Ordering::AcqRel) {
                    let job = &self.keeper.job;
                    self.desk.report(Notice::Warning(format!(
                        "the lease of job {job} is renewed again"
                    )));
                }
            }
            Err(e) => {
                let seen = Instant::now() < self.keeper.kept().times.doubtful();
                if seen {
                    self.desk.release();
                }
                self.tell(&format!("{}: {e}", self.keeper.path.display()));
            }
        }
    }

    /// Once for all failures in a row.
    fn tell(&self, why: &str) {
        if !self.shared.told.swap(true, Ordering::AcqRel) {
            let Keeper { job, .. } = &*self.keeper;
            let ttl = self.keeper.kept().times.ttl;
            self.desk.report(Notice::Warning(format!(
                "the lease of job {job} cannot be renewed ({why}); after {} a `resume` on another host may take the job \
                 over, and this program stands still while it cannot see whether that has happened",
                humantime::format_duration(ttl)
            )));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::Books;
    use crate::desk::Task;
    use crate::lease::{Lease, Terms};

    #[test]
    fn a_third_then_each_twelfth() {
        let zero = Instant::now();
        let at = |seconds| zero + Duration::from_secs(seconds);
        let ttl = Duration::from_secs(30);
        let new = Times { ttl, renewed: zero, seen: zero, tried: None };
        assert_eq!((new.due(), new.doubtful()), (at(10), at(25)));
        let failed = Times { tried: Some(at(10)), ..new };
        assert_eq!(failed.due(), zero + Duration::from_millis(12_500));
        let full_disk = Times { seen: at(10), ..failed };
        assert_eq!((full_disk.due(), full_disk.doubtful()), (failed.due(), at(35)));
        let renewed = Times { renewed: at(10), ..full_disk };
        assert_eq!(renewed.due(), at(20));
    }

    fn place() -> (tempfile::TempDir, Lease, Upkeep) {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::take(dir.path(), "a", "a.wasm", Terms::default(), &|_| {}).unwrap();
        let desk = Arc::new(Desk::new(Arc::new(|_| {}), Books::default()));
        let upkeep = Upkeep::new(lease.keeper.clone(), desk);
        (dir, lease, upkeep)
    }

    /// As if this process had slept for so long.
    fn sleep(upkeep: &Upkeep, time: Duration) {
        let times = &mut upkeep.keeper.kept().times;
        times.renewed -= time;
        times.seen -= time;
        times.tried = None;
    }

    fn turn(upkeep: &Upkeep) {
        upkeep.turn();
        while upkeep.shared.busy.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn it_renews_when_it_is_time() {
        let (_dir, lease, upkeep) = place();
        let renewed = || upkeep.keeper.kept().holder.renewed;
        turn(&upkeep);
        assert_eq!(renewed(), 0);
        assert!(upkeep.rest() > Duration::from_secs(5));
        sleep(&upkeep, lease::TTL);
        assert!(upkeep.rest() < Duration::from_secs(1));
        turn(&upkeep);
        assert_eq!(renewed(), 1);
        assert!(matches!(upkeep.desk.collect(true), Task::Nothing), "it goes on");
        assert_eq!(upkeep.desk.lost(), None);
        drop(lease);
    }

    #[test]
    fn who_wakes_up_and_is_taken_over_ends() {
        let (_dir, lease, upkeep) = place();
        std::fs::remove_file(lease.keeper.path()).unwrap();
        sleep(&upkeep, lease::TTL);
        turn(&upkeep);
        assert!(upkeep.desk.lost().unwrap().ends_with("is gone"));
    }

    #[test]
    fn what_cannot_be_seen_stands_still() {
        let (_dir, lease, upkeep) = place();
        let path = lease.keeper.path();
        let kept = path.with_extension("kept");
        std::fs::rename(path, &kept).unwrap();
        // It can be neither read nor written.
        std::fs::create_dir(path).unwrap();
        sleep(&upkeep, lease::TTL);
        turn(&upkeep);
        let (desk, went_on) = (upkeep.desk.clone(), Arc::new(AtomicBool::new(false)));
        let flag = went_on.clone();
        let program = std::thread::spawn(move || {
            desk.collect(true);
            flag.store(true, Ordering::SeqCst);
        });
        std::thread::sleep(Duration::from_millis(50));
        assert!(!went_on.load(Ordering::SeqCst));
        std::fs::remove_dir(path).unwrap();
        std::fs::rename(&kept, path).unwrap();
        sleep(&upkeep, Duration::ZERO);
        turn(&upkeep);
        program.join().unwrap();
        assert_eq!(upkeep.desk.lost(), None);
        assert!(!upkeep.shared.told.load(Ordering::SeqCst), "told that it is well again");
    }
}
