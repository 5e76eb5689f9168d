//! Hosts that are played: each with a name, a kernel and a clock of its own, and locks that do not reach the others.

use crate::host::Host;
use crate::lease::{Clock, Lease, Scene, Terms};
use crate::outcome::Notice;
use crate::running::{Holder, holder, is_running, jobs};
use crate::upkeep::Standing;
use crate::{Error, Result};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TERMS: Terms = Terms { ttl: Duration::from_secs(30), wait: true };

/// Stands still but when somebody sleeps; then something may happen.
struct Played<'a> {
    began: Instant,
    now: Cell<Instant>,
    meanwhile: RefCell<Box<dyn FnMut(Duration) + 'a>>,
}

impl<'a> Played<'a> {
    /// `meanwhile` is told how long this clock has been running.
    fn new(meanwhile: impl FnMut(Duration) + 'a) -> Played<'a> {
        let began = Instant::now();
        Played { began, now: Cell::new(began), meanwhile: RefCell::new(Box::new(meanwhile)) }
    }

    fn passed(&self) -> Duration {
        self.now.get() - self.began
    }
}

impl Clock for Played<'_> {
    fn now(&self) -> Instant {
        self.now.get()
    }

    fn sleep(&self, time: Duration) {
        self.now.set(self.now.get() + time);
        (self.meanwhile.borrow_mut())(self.passed());
    }
}

struct Real;

impl Clock for Real {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

fn host(name: &str) -> Host {
    Host { name: name.to_owned(), boot: format!("boot of {name}") }
}

fn take(store: &Path, host: &Host, clock: &dyn Clock, terms: Terms) -> Result<Lease> {
    Scene { host, clock, locks: false }.take(store, "a", "a.wasm", terms, &|_| {})
}

/// On this host, with its locks.
fn take_here(store: &Path) -> Result<Lease> {
    Lease::take(store, "a", "a.wasm", TERMS, &|_| {})
}

fn lock_file(store: &Path) -> PathBuf {
    store.join("run").join("a.lock")
}

fn write(store: &Path, text: impl AsRef<[u8]>) {
    let _ = std::fs::create_dir(store.join("run"));
    // `run` must be its owner's only.
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(store.join("run"), private).unwrap();
    std::fs::write(lock_file(store), text).unwrap();
}

/// What a process of that host left, or holds.
fn write_foreign(store: &Path, host: &Host) -> Holder {
    let holder = Holder {
        pid: 7,
        host: host.name.clone(),
        boot: host.boot.clone(),
        token: "t".into(),
        ttl_ms: 30_000,
        ..Holder::default()
    };
    write(store, serde_json::to_vec(&holder).unwrap());
    holder
}

#[test]
fn one_at_a_time_here() {
    let dir = tempfile::tempdir().unwrap();
    let lease = take_here(dir.path()).unwrap();
    assert_eq!(holder(dir.path(), "a").unwrap(), lease.holder);
    assert!(lease.holder.is_here());
    assert_eq!(jobs(dir.path()).unwrap(), ["a"]);
    let second = take_here(dir.path()).unwrap_err();
    let me = std::process::id();
    assert!(matches!(second, Error::Running { pid: Some(p), host: None, .. } if p == me));
    assert_eq!(lease.give_back(), None);
    assert!(!lock_file(dir.path()).exists());
    assert!(!is_running(dir.path(), "a"));
    take_here(dir.path()).unwrap();
}

#[test]
fn leftovers_of_this_host_go_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path();
    let lease = take_here(store).unwrap();
    let left = std::fs::read(lock_file(store)).unwrap();
    drop(lease);
    // As a killed process leaves it: of this host, and not locked.
    write(store, &left);
    std::fs::write(store.join("run/a.sock"), "").unwrap();
    assert!(jobs(store).unwrap().is_empty());
    assert_eq!(std::fs::read_dir(store.join("run")).unwrap().count(), 0);
    write(store, &left);
    let lease = take_here(store).expect("at once");
    assert_ne!(std::fs::read(lock_file(store)).unwrap(), left);
    drop(lease);

    // Being written, or cut short by the end of its host.
    write(store, "{");
    assert!(jobs(store).unwrap().is_empty());
    assert!(lock_file(store).exists());
    // Another host's: it may live.
    write_foreign(store, &host("b"));
    assert_eq!(jobs(store).unwrap(), ["a"]);
    assert!(lock_file(store).exists());
}

#[test]
fn a_dead_host_is_waited_for_once() {
    let this = Host::this();
    let strangers = [
        host("b"),
        // Started again, or another one of the same name.
        Host { name: this.name.clone(), boot: "earlier".into() },
        // This kernel, but another mount: its device is 0.
        this,
    ];
    for stranger in strangers {
        let dir = tempfile::tempdir().unwrap();
        write_foreign(dir.path(), &stranger);
        let told = RefCell::new(vec![]);
        let clock = Played::new(|_| ());
        let scene = Scene { host: &Host::this(), clock: &clock, locks: true };
        let lease = scene
            .take(dir.path(), "a", "a.wasm", TERMS, &|notice| told.borrow_mut().push(notice))
            .unwrap();
        let told = told.into_inner();
        let [Notice::Waiting { by, at_most, .. }] = &told[..] else { panic!("{told:?}") };
        assert!(by.starts_with("process 7 on "), "{by}");
        assert_eq!(*at_most, TERMS.ttl);
        assert!((30..40).contains(&clock.passed().as_secs()), "{:?}", clock.passed());
        assert_eq!(lease.keeper.check().unwrap(), Standing::Ours);
        assert_eq!(std::fs::read_dir(dir.path().join("run")).unwrap().count(), 1);
    }
}

#[test]
fn what_is_not_whole_is_waited_for_too() {
    for text in ["", "{", "\u{fffd}"] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), text);
        let clock = Played::new(|_| ());
        take(dir.path(), &host("b"), &clock, TERMS).unwrap();
        assert!(clock.passed() >= TERMS.ttl);
        // It was being written.
        write(dir.path(), text);
        let clock = Played::new(|_| drop(write_foreign(dir.path(), &host("a"))));
        let refused = take(dir.path(), &host("b"), &clock, TERMS).unwrap_err();
        assert!(matches!(refused, Error::Running { host: Some(h), .. } if h == "a"));
    }
}

#[test]
fn a_live_host_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (host("a"), host("b"));
    let lease = take(dir.path(), &a, &Played::new(|_| ()), TERMS).unwrap();
    let clock = Played::new(|passed| {
        if passed >= Duration::from_secs(9) {
            assert_eq!(lease.keeper.renew().unwrap(), Standing::Ours);
        }
    });
    let refused = take(dir.path(), &b, &clock, TERMS).unwrap_err();
    assert!(matches!(&refused, Error::Running { host: Some(h), .. } if h == "a"), "{refused}");
    let message = refused.to_string();
    assert!(message.contains(" on a); `dormouse checkpoint a` speaks to it there"), "{message}");
    assert!(clock.passed() < Duration::from_secs(12), "as soon as it is seen to live");
    let hasty = take(dir.path(), &b, &clock, Terms { wait: false, ..TERMS }).unwrap_err();
    assert!(matches!(hasty, Error::Unclear { .. }), "{hasty}");
}

#[test]
fn a_clean_end_is_not_waited_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut lease = take(dir.path(), &host("a"), &Played::new(|_| ()), TERMS).ok();
    let clock = Played::new(|passed| {
        if passed >= Duration::from_secs(3) {
            lease = None;
        }
    });
    take(dir.path(), &host("b"), &clock, TERMS).unwrap();
    assert!(clock.passed() < Duration::from_secs(6), "{:?}", clock.passed());
}

#[test]
fn who_was_taken_over_is_fenced() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path();
    let (a, b) = (host("a"), host("b"));
    let old = take(store, &a, &Played::new(|_| ()), TERMS).unwrap();
    let new = take(store, &b, &Played::new(|_| ()), TERMS).unwrap();
    let theirs = std::fs::read(lock_file(store)).unwrap();
    let Standing::Lost(why) = old.keeper.check().unwrap() else { panic!() };
    assert_eq!(why, format!("process {} on b took it over", std::process::id()));
    assert!(matches!(old.keeper.renew().unwrap(), Standing::Lost(_)));
    assert_eq!(old.give_back(), Some(why));
    assert_eq!(
        std::fs::read(lock_file(store)).unwrap(),
        theirs,
        "nothing of the new one's is changed"
    );
    assert_eq!(new.keeper.check().unwrap(), Standing::Ours);
    assert_eq!(new.give_back(), None);
    assert!(!lock_file(store).exists());
}

/// A holder that reads the file just before it is taken over, and writes just after.
#[test]
fn a_late_write_goes_into_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path();
    let _old = take(store, &host("a"), &Played::new(|_| ()), TERMS).unwrap();
    let still_open = std::fs::OpenOptions::new().write(true).open(lock_file(store)).unwrap();
    let new = take(store, &host("b"), &Played::new(|_| ()), TERMS).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&still_open, b"late", 0).unwrap();
    assert_eq!(new.keeper.check().unwrap(), Standing::Ours);
    assert_eq!(holder(store, "a").unwrap(), new.holder);
}

#[test]
fn a_lease_that_is_gone_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let lease = take_here(dir.path()).unwrap();
    std::fs::remove_file(lock_file(dir.path())).unwrap();
    assert!(
        matches!(lease.keeper.renew().unwrap(), Standing::Lost(why) if why.ends_with("is gone"))
    );
    assert!(!lock_file(dir.path()).exists(), "somebody else may have had it, and have ended");
    let second = take_here(dir.path()).unwrap();
    drop(lease);
    assert_eq!(second.keeper.check().unwrap(), Standing::Ours);
}

#[test]
fn renewals_change_digits_only() {
    let dir = tempfile::tempdir().unwrap();
    let lease = take_here(dir.path()).unwrap();
    let length = std::fs::metadata(lock_file(dir.path())).unwrap().len();
    for n in 1..=12 {
        assert_eq!(lease.keeper.renew().unwrap(), Standing::Ours);
        assert_eq!(holder(dir.path(), "a").unwrap(), Holder { renewed: n, ..lease.holder.clone() });
        assert_eq!(std::fs::metadata(lock_file(dir.path())).unwrap().len(), length);
    }
    // Damaged, but ours: mended.
    std::fs::write(lock_file(dir.path()), "").unwrap();
    assert_eq!(lease.keeper.check().unwrap(), Standing::Ours);
    assert_eq!(lease.keeper.renew().unwrap(), Standing::Ours);
    assert_eq!(holder(dir.path(), "a").unwrap().renewed, 13);
    // It cannot be seen whose it is, which is not the same as lost.
    std::fs::remove_file(lock_file(dir.path())).unwrap();
    std::fs::create_dir(lock_file(dir.path())).unwrap();
    lease.keeper.renew().unwrap_err();
    lease.keeper.check().unwrap_err();
}

/// Many hosts at the same moment, by their own clocks, on a lease that is free, or that nobody renews.
#[test]
fn of_many_hosts_one_has_it() {
    for stale in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path();
        if stale {
            let old = Holder { ttl_ms: 100, ..write_foreign(store, &host("dead")) };
            write(store, serde_json::to_vec(&old).unwrap());
        }
        let terms = Terms { ttl: Duration::from_secs(30), wait: stale };
        let leases: Vec<_> = std::thread::scope(|threads| {
            let one = |n| threads.spawn(move || take(store, &host(&format!("h{n}")), &Real, terms));
            let all: Vec<_> = (0..8).map(one).collect();
            // Those that lost would wait for long; who has it ends that, as it would by renewing.
            let mut taken = vec![];
            for thread in all {
                while !thread.is_finished() {
                    std::thread::sleep(Duration::from_millis(10));
                    renew_any(store);
                }
                taken.push(thread.join().unwrap());
            }
            taken
        });
        let ours = |lease: &&Lease| lease.keeper.check().unwrap() == Standing::Ours;
        assert_eq!(leases.iter().flatten().filter(ours).count(), 1, "stale: {stale}");
        for refused in leases.iter().filter_map(|l| l.as_ref().err()) {
            assert!(matches!(refused, Error::Running { .. } | Error::Unclear { .. }), "{refused}");
        }
    }
}

/// Counts up in a lease that one of the many has.
fn renew_any(store: &Path) {
    if let Some(mut holder) = holder(store, "a").filter(|h| h.host != "dead") {
        holder.renewed += 1;
        let file = std::fs::OpenOptions::new().write(true).open(lock_file(store));
        let text = crate::lease::text(&holder).unwrap();
        let _ = file.and_then(|f| std::os::unix::fs::FileExt::write_all_at(&f, &text, 0));
    }
}
