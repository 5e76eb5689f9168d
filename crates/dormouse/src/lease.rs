//! The lease: the right to be the only live copy of a job, also where hosts share the store.
//!
//! ```text
//!   is there a lock file?   no ──> made anew, by one of all who try (O_EXCL), and locked (flock)   -> taken
//!                           yes: is it locked?   yes ──────────────────────────────> refused: it runs
//!                                no: whose is it?
//!                                  of this host ── its process has died ─> written over            -> taken
//!                                  of another, or not whole ── nobody knows; it is watched:
//!                                     it is renewed ───────────────────────────────> refused: it runs
//!                                     it goes away (a clean end) ──> made anew                     -> taken
//!                                     nothing for its TTL ──> put aside, made anew                 -> taken
//! ```
//!
//! `flock` is exact and ends with the process, but on some file systems it reaches only the own host (NFS with `nolock`
//! or `local_lock`, some FUSE, Lustre with `localflock`). So a lock that is granted says something only of the host that
//! the file names: the same kernel, and the same mount of it. Of others the file itself must tell: its holder
//! counts up in it (see `upkeep`), and who wants it watches that with his own monotonic clock. Clocks of two hosts
//! are never compared.
//!
//! A lease that is taken over becomes another file, never the same one with other contents: a holder that has slept
//! and writes into the one it still has open harms nobody. It finds out at its next look at the path.

use crate::host::Host;
use crate::outcome::Notice;
use crate::running::{self, Holder, lock_path, private_dir, run_dir, socket_path};
use crate::upkeep::{Keeper, Standing};
use crate::{Error, Result};
use dormouse_store::hex;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long after a renewal a lease is its holder's own.
pub(crate) const TTL: Duration = Duration::from_secs(30);
/// What others' leases may say of that.
pub(crate) const TTLS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);
/// How often a lease that is held is tried again: whoever looks for leftovers holds it shortly.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(30);

/// On what terms a lease is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub ttl: Duration,
    /// Whether one whose holder may live on another host is watched.
    pub wait: bool,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { ttl: TTL, wait: true }
    }
}

/// Given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pub keeper: Arc<Keeper>,
    pub socket: PathBuf,
    pub holder: Holder,
    /// Closing it gives the lock back.
    _file: File,
    /// It was given back, or is another's.
    ended: bool,
}

impl Lease {
    /// Takes the lease of `job`; removes what a dead process left.
    pub fn take(
        store: &Path,
        job: &str,
        program: &str,
        terms: Terms,
        tell: &dyn Fn(Notice),
    ) -> Result<Lease> {
        let scene = Scene { host: &Host::this(), clock: &System, locks: true };
        scene.take(store, job, program, terms, tell)
    }

    /// Makes sure, before anything is done in its name, that it was not taken over while a module was compiled.
    pub fn confirm(&mut self) -> Result<()> {
        if !self.keeper.is_due(Instant::now()) {
            return Ok(());
        }
        let path = self.keeper.path().to_owned();
        match self.keeper.renew().map_err(Error::io("renew", path))? {
            Standing::Ours => Ok(()),
            Standing::Lost(why) => {
                self.ended = true;
                Err(Error::LeaseLost { job: self.keeper.job().to_owned(), why })
            }
        }
    }

    /// Gives it back; says who else has it, if somebody has. Nobody else's is removed.
    pub fn give_back(mut self) -> Option<String> {
        self.end()
    }

    fn end(&mut self) -> Option<String> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        if let Standing::Lost(why) = self.keeper.certainly() {
            return Some(why);
        }
        // While it is still locked.
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(self.keeper.path());
        None
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.end();
    }
}

/// What can be told of a lease from here.
pub(crate) enum Found {
    /// Nobody has it.
    Missing,
    /// It is locked.
    Held,
    /// Its holder was of this host, and has died. Locked while this lives.
    Dead(Old),
    /// Its holder, if it is whole, may live on another host; and what it says.
    Unclear(Option<Holder>, Vec<u8>),
}

/// What a dead process left.
pub(crate) struct Old {
    file: File,
    text: Vec<u8>,
}

impl Old {
    /// Removes it, unless it has become somebody's.
    pub fn remove(self, path: &Path) -> io::Result<bool> {
        put_aside(path, &self.text)
    }
}

/// Looks at a lock file. Without `locks` as if no lock reached this far.
pub(crate) fn look(path: &Path, host: &Host, locks: bool) -> io::Result<Found> {
    loop {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
            Err(e) => return Err(e),
        };
        if locks && !lock(&file)? {
            return Ok(Found::Held);
        }
        let meta = file.metadata()?;
        // It may have been removed by its last holder between our two steps.
        if !std::fs::metadata(path).is_ok_and(|now| now.ino() == meta.ino()) {
            continue;
        }
        let text = running::read(&file)?;
        return Ok(match running::parse(&text) {
            Some(holder) if host.has(&holder) && holder.device == meta.dev() => {
                Found::Dead(Old { file, text })
            }
            holder => Found::Unclear(holder, text),
        });
    }
}

/// Whether the lock was free.
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Removes a lock file that says `text`; false if it does not, or is gone. Two that do so at once, on two hosts, must not
/// remove what the faster one has made since: what was moved is looked at before it goes.
fn put_aside(path: &Path, text: &[u8]) -> io::Result<bool> {
    let aside = path.with_added_extension(token()?);
    match std::fs::rename(path, &aside) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        done => done?,
    }
    let same =
        File::open(&aside).and_then(|file| running::read(&file)).is_ok_and(|now| now == text);
    if !same {
        // If somebody has made a new one meanwhile, this one's holder has lost it, and will see that.
        let _ = std::fs::hard_link(&aside, path);
    }
    std::fs::remove_file(&aside)?;
    Ok(same)
}

/// A lease that may be held elsewhere, and when it was last seen to change.
struct Watch {
    text: Vec<u8>,
    since: Instant,
    ttl: Duration,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    /// For so long at most.
    Wait(Duration),
    Alive,
    Dead,
}

impl Watch {
    fn new(holder: Option<&Holder>, text: Vec<u8>, ttl: Duration, now: Instant) -> Watch {
        let theirs = holder.filter(|h| h.ttl_ms > 0).map(|h| Duration::from_millis(h.ttl_ms));
        let ttl = theirs.unwrap_or(ttl).clamp(*TTLS.start(), *TTLS.end());
        Watch { text, since: now, ttl }
    }

    /// What it says now.
    fn see(&mut self, holder: Option<&Holder>, text: &[u8], now: Instant) -> Verdict {
        if self.text != text {
            if holder.is_some() {
                return Verdict::Alive;
            }
            // Being written.
            (self.text, self.since) = (text.to_vec(), now);
        }
        match self.ttl.checked_sub(now.saturating_duration_since(self.since)) {
            Some(left) if !left.is_zero() => Verdict::Wait(left),
            _ => Verdict::Dead,
        }
    }
}

/// Time, replaced in tests.
pub(crate) trait Clock {
    fn now(&self) -> Instant;
    fn sleep(&self, time: Duration);
}

struct System;

impl Clock for System {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Where and when a lease is taken.
pub(crate) struct Scene<'a> {
    pub host: &'a Host,
    pub clock: &'a dyn Clock,
    /// Whether locks are seen. Always, but in tests.
    pub locks: bool,
}

impl Scene<'_> {
    pub fn take(
        &self,
        store: &Path,
        job: &str,
        program: &str,
        terms: Terms,
        tell: &dyn Fn(Notice),
    ) -> Result<Lease> {
        let dir = run_dir(store);
        private_dir(&dir).map_err(Error::io("create", &dir))?;
        let path = lock_path(&dir, job);
        let socket = socket_path(&dir, job)?;
        let io = |action| Error::io(action, &path);
        let mut holder = Holder {
            pid: std::process::id(),
            socket: socket.clone(),
            program: program.to_owned(),
            started: format!("{:.0}", jiff::Timestamp::now()),
            host: self.host.name.clone(),
            boot: self.host.boot.clone(),
            token: token().map_err(io("lock"))?,
            ttl_ms: terms.ttl.as_millis() as u64,
            ..Holder::default()
        };
        let refused = |holder: Option<Holder>| {
            let host = holder.as_ref().filter(|h| !self.host.has(h)).map(|h| h.host.clone());
            Error::Running { job: job.to_owned(), pid: holder.map(|h| h.pid), host }
        };
        let (mut tries, mut watch) = (0, None);
        loop {
            let began = self.clock.now();
            let file = match self.create(&path).map_err(io("lock"))? {
                Some(file) => file,
                None => match look(&path, self.host, self.locks).map_err(io("lock"))? {
                    Found::Missing => continue,
                    Found::Dead(old) => old.file,
                    Found::Held if tries < TRIES => {
                        tries += 1;
                        self.clock.sleep(PAUSE);
                        continue;
                    }
                    Found::Held => return Err(refused(running::holder(store, job))),
                    Found::Unclear(who, text) => {
                        if !terms.wait {
                            return Err(Error::Unclear {
                                job: job.to_owned(),
                                by: by(who.as_ref(), self.host),
                                path,
                            });
                        }
                        let watch: &mut Watch = watch.get_or_insert_with(|| {
                            let watch = Watch::new(who.as_ref(), text.clone(), terms.ttl, began);
                            tell(Notice::Waiting {
                                job: job.to_owned(),
                                by: by(who.as_ref(), self.host),
                                at_most: watch.ttl,
                                lease: path.clone(),
                            });
                            watch
                        });
                        match watch.see(who.as_ref(), &text, began) {
                            Verdict::Alive => return Err(refused(who)),
                            Verdict::Wait(left) => self.clock.sleep(left.min(watch.ttl / 30)),
                            Verdict::Dead => {
                                put_aside(&path, &text).map_err(io("take over"))?;
                            }
                        }
                        continue;
                    }
                },
            };
            let meta = file.metadata().map_err(io("lock"))?;
            holder.device = meta.dev();
            let text = text(&holder).map_err(io("lock"))?;
            // What a dead process left is cut off afterwards: some file systems (ext4) flush a file to the disk that was
            // truncated to nothing, when it is closed.
            let write = file.write_all_at(&text, 0).and_then(|()| match meta.len() {
                longer if longer > text.len() as u64 => file.set_len(text.len() as u64),
                _ => Ok(()),
            });
            if let Err(e) = write {
                let _ = std::fs::remove_file(&path);
                return Err(io("write")(e));
            }
            let keeper = Keeper::new(path.clone(), job, holder.clone(), meta.ino(), began);
            let fresh = watch.is_none() && meta.len() == 0;
            let lease = Lease {
                keeper: Arc::new(keeper),
                socket: socket.clone(),
                holder: holder.clone(),
                _file: file,
                ended: false,
            };
            if !fresh {
                // Somebody on another host may have come to the same end at the same time.
                if watch.is_some() {
                    self.clock.sleep((terms.ttl / 30).min(Duration::from_secs(1)));
                }
                if lease.give_way() {
                    continue;
                }
            }
            let _ = std::fs::remove_file(&socket);
            return Ok(lease);
        }
    }

    /// Makes the lock file and locks it; none if there is one.
    fn create(&self, path: &Path) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        let file = match options.read(true).write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(None),
            Err(e) => return Err(e),
        };
        for _ in 0..TRIES {
            if !self.locks || lock(&file)? {
                return Ok(Some(file));
            }
            self.clock.sleep(PAUSE);
        }
        Ok(None)
    }
}

impl Lease {
    /// Whether another has it after all.
    fn give_way(&self) -> bool {
        matches!(self.keeper.check(), Ok(Standing::Lost(_)))
    }
}

/// What a lock file says. Of the same length whatever the count is, so that a renewal changes nothing but its digits.
pub(crate) fn text(holder: &Holder) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(holder)?;
    let digits = holder.renewed.checked_ilog10().unwrap_or(0) as usize;
    text.resize(text.len() + 19 - digits, b' ');
    text.push(b'\n');
    Ok(text)
}

/// `process 4711 on host nodea`
pub(crate) fn by(holder: Option<&Holder>, here: &Host) -> String {
    match holder {
        None => "somebody whose lease is not whole".to_owned(),
        Some(h) if h.host.is_empty() => format!("process {}, nobody knows where", h.pid),
        Some(h) if h.host == here.name && h.boot != here.boot => {
            format!(
                "process {} on {}, before it was started again, or another host of that name",
                h.pid, h.host
            )
        }
        Some(h) => format!("process {} on {}", h.pid, h.host),
    }
}

fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(hex(&bytes))
}
