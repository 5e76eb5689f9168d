//! How large the cache may become: what was not used for longest goes.
//!
//! ```text
//!   used       a file's time of modification: set again by who takes it from the cache, at most once an hour
//!   looked at  by who has just put something there, now and then (every so many bytes), all engines' folders
//!   goes       what was not used for 30 days; and if there is more than the bound, the least recently used,
//!              until three quarters of the bound are left, but not what was just put there; then empty folders
//! ```
//!
//! A time in the future says nothing: such a file counts as the oldest, until it is used.
//!
//! So what older versions left goes too, since nobody uses it any more. Several processes may do this at once: all of them
//! remove the same, and who has a file open keeps its code. Nothing but our own files is touched, whatever directory was
//! named as the cache.

use super::MAIN;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);
/// So many times, in the mean, is the cache looked at while as much is written as it may hold.
const LOOKS: u64 = 64;

/// Notes that a file is used.
pub(super) fn used(path: &Path, meta: &Metadata) {
    if age(meta, SystemTime::now()) > HOUR {
        let _ = fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    }
}

/// After `written` bytes were put at `put`: looks, or leaves that to another time. Small files are many, and to look at all of
/// them for each would cost more than to compile them. So it is drawn by lot, since processes do not know of each other.
pub(super) fn now_and_then(put: &Path, written: u64, bound: u64) {
    // Randomly keyed by the system.
    let lot = RandomState::new().build_hasher().finish();
    let chance = u128::from(written) * u128::from(LOOKS);
    if u128::from(lot) * u128::from(bound) <= chance << 64 {
        keep(put, bound, SystemTime::now());
    }
}

/// Code under one or more names.
struct Stored {
    size: u64,
    age: Duration,
    names: Vec<PathBuf>,
}

/// Removes what is too old or too much, in the cache where something was just put. What cannot be looked at or removed is
/// left: a cache that is too large is no reason to disturb a program.
fn keep(put: &Path, bound: u64, now: SystemTime) {
    let Some(root) = put.ancestors().nth(2) else { return };
    let folders = folders(root);
    let mut all: Vec<Stored> = folders.iter().flat_map(|folder| stored(folder, now)).collect();
    all.sort_by_key(|stored| Reverse(stored.age));
    let mut total: u64 = all.iter().map(|stored| stored.size).sum();
    let most = if total > bound { bound / 4 * 3 } else { bound };
    for stored in all {
        if total <= most && stored.age <= UNUSED {
            break;
        }
        if stored.names.iter().any(|name| name == put) {
            continue;
        }
        tracing::debug!("removing {} bytes from the cache: {:?}", stored.size, stored.names);
        for name in &stored.names {
            let _ = fs::remove_file(name);
        }
        total -= stored.size;
    }
    for folder in folders {
        // Somebody has just made it, perhaps, and is going to fill it.
        if fs::metadata(&folder).is_ok_and(|meta| age(&meta, now) > HOUR) {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// For how long it was not used. Clocks of a host and its file server may differ a little; what is further in the future is
/// as old as can be.
fn age(meta: &Metadata, now: SystemTime) -> Duration {
    let Ok(used) = meta.modified() else { return Duration::MAX };
    now.duration_since(used).unwrap_or_else(|ahead| match ahead.duration() {
        little if little < HOUR => Duration::ZERO,
        _ => Duration::MAX,
    })
}

/// The engines' folders.
fn folders(root: &Path) -> Vec<PathBuf> {
    let ours = |name: &str| name.len() == 16 && is_hex(name);
    entries(root).filter(|(name, meta, _)| ours(name) && meta.is_dir()).map(|e| e.2).collect()
}

/// What lies in one of them.
fn stored(folder: &Path, now: SystemTime) -> Vec<Stored> {
    let mut all = HashMap::<u64, Stored>::new();
    for (n, (name, meta, path)) in entries(folder).enumerate() {
        if !meta.is_file() || !is_ours(&name) {
            continue;
        }
        let (size, age) = (meta.len().next_multiple_of(4096), age(&meta, now));
        let new = || Stored { size, age, names: vec![] };
        all.entry(identity(&meta, n)).or_insert_with(new).names.push(path);
    }
    all.into_values().collect()
}

/// Whether we write files of this name: `<digest>-<poll>.main`, `<digest>-<poll>.c<slot>`, `tmp-<drawn>`.
fn is_ours(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = name.strip_prefix("tmp-") {
        return rest.len() == 16 && is_hex(rest);
    }
    let Some((key, kind)) = name.split_once('.') else { return false };
    let Some((digest, _)) = key.split_once('-') else { return false };
    digest.len() == 64
        && is_hex(digest)
        && (kind == MAIN || kind.strip_prefix('c').is_some_and(digits))
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn entries(dir: &Path) -> impl Iterator<Item = (String, Metadata, PathBuf)> {
    fs::read_dir(dir).into_iter().flatten().flatten().filter_map(|entry| {
        // Not of what a link points to.
        Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?, entry.path()))
    })
}

/// The same for all names of one file.
#[cfg(unix)]
fn identity(meta: &Metadata, _: usize) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn identity(_: &Metadata, n: usize) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = "0123456789abcdef";
    const DAY: Duration = Duration::from_secs(24 * 3600);

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Place {
            Place(tempfile::tempdir().unwrap())
        }

        fn file(&self, path: &str, size: usize, ago: Duration) -> PathBuf {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, vec![0; size]).unwrap();
            let file = fs::File::open(&path).unwrap();
            file.set_modified(SystemTime::now() - ago).unwrap();
            path
        }

        fn main(&self, engine: &str, n: u8, size: usize, ago: Duration) -> PathBuf {
            self.file(&format!("{engine}/{}-a.main", crate::machine::hex(&[n; 32])), size, ago)
        }

        fn keep(&self, bound: u64) {
            self.keep_but("none", bound);
        }

        /// As who has just put that file there.
        fn keep_but(&self, put: impl AsRef<Path>, bound: u64) {
            keep(&self.0.path().join(ENGINE).join(put), bound, SystemTime::now());
        }
    }

    #[test]
    fn the_least_recently_used_go() {
        let place = Place::new();
        let hours = |n| place.main(ENGINE, n as u8, 100_000, HOUR * n);
        let all: Vec<PathBuf> = [3, 1, 4, 2, 5].into_iter().map(hours).collect();
        place.keep(1 << 20);
        assert!(all.iter().all(|f| f.exists()), "there was room for all");
        // 5 * 102,400 bytes as they are counted; three quarters of this are 307,500.
        place.keep(410_000);
        let left: Vec<bool> = all.iter().map(|f| f.exists()).collect();
        assert_eq!(left, [true, true, false, true, false]);
    }

    #[test]
    fn a_file_that_is_used_stays() {
        let place = Place::new();
        let old = place.main(ENGINE, 1, 4096, DAY * 40);
        let older = place.main(ENGINE, 2, 4096, DAY * 50);
        used(&older, &fs::metadata(&older).unwrap());
        place.keep(1 << 20);
        assert!(!old.exists());
        assert!(older.exists());
    }

    #[test]
    fn what_was_just_put_there_stays() {
        let place = Place::new();
        let before = place.main(ENGINE, 1, 4096, HOUR);
        // Its time is that of the file server.
        let put = place.main(ENGINE, 2, 90_000, DAY);
        place.keep_but(&put, 100_000);
        assert!(put.exists(), "it is less than the bound, though more than three quarters");
        assert!(before.exists(), "there is room for both");
        place.keep_but(&put, 94_000);
        assert!(put.exists());
        assert!(!before.exists());
    }

    #[test]
    fn a_time_in_the_future_says_nothing() {
        let place = Place::new();
        let [unused, taken, ahead] = [1, 2, 3].map(|n| place.main(ENGINE, n, 4096, HOUR));
        for (path, by) in [(&unused, DAY * 365), (&taken, DAY * 365), (&ahead, HOUR / 2)] {
            fs::File::open(path).unwrap().set_modified(SystemTime::now() + by).unwrap();
        }
        used(&taken, &fs::metadata(&taken).unwrap());
        place.keep(1 << 20);
        assert!(!unused.exists(), "nobody would ever take it for old");
        assert!(taken.exists() && ahead.exists());
    }

    #[test]
    fn what_older_versions_left_goes_with_its_folder() {
        let place = Place::new();
        let old = "fedcba9876543210";
        let file = place.main(old, 1, 10, DAY * 31);
        place.file(&format!("{old}/{}", crate::cache::temporary()), 10, DAY * 31);
        let folder = file.parent().unwrap();
        place.keep(1 << 20);
        assert!(!file.exists());
        assert!(folder.exists(), "somebody may be about to fill it");
        fs::File::open(folder).unwrap().set_modified(SystemTime::now() - DAY).unwrap();
        place.keep(1 << 20);
        assert!(!folder.exists());
    }

    #[cfg(unix)]
    #[test]
    fn names_of_one_file_count_once_and_go_together() {
        let place = Place::new();
        let digest = crate::machine::hex(&[7; 32]);
        let first = place.file(&format!("{ENGINE}/{digest}-a.c1"), 40_960, HOUR * 2);
        let more: Vec<PathBuf> =
            (2..10).map(|slot| first.with_file_name(format!("{digest}-a.c{slot}"))).collect();
        for name in &more {
            fs::hard_link(&first, name).unwrap();
        }
        let newest = place.main(ENGINE, 1, 4096, HOUR);
        place.keep(45_056);
        assert!(first.exists() && more.iter().all(|f| f.exists()));
        place.keep(45_055);
        assert!(!first.exists() && more.iter().all(|f| !f.exists()));
        assert!(newest.exists());
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let place = Place::new();
        let digest = crate::machine::hex(&[7; 32]);
        let old = DAY * 1000;
        let others = [
            format!("{digest}-a.main"),
            format!("photos/{digest}-a.main"),
            format!("{ENGINE}/{digest}-a.jpg"),
            format!("{ENGINE}/{digest}.main"),
            format!("{ENGINE}/{digest}-a.c"),
            format!("{ENGINE}/tmp-plan"),
            format!("{ENGINE}/tmp-2026-11-21"),
            format!("{ENGINE}/letter"),
            format!("{ENGINE}/deeper/{digest}-a.main"),
        ]
        .map(|name| place.file(&name, 4096, old));
        place.keep(0);
        for other in others {
            assert!(other.exists(), "{} is gone", other.display());
        }
    }

    #[test]
    fn much_is_looked_at_at_once_and_little_seldom() {
        let looks = |written, bound| {
            let place = Place::new();
            let old = place.main(ENGINE, 1, 1, DAY * 40);
            now_and_then(&place.0.path().join(ENGINE).join("none"), written, bound);
            !old.exists()
        };
        assert!(looks(1 << 20, 64 << 20));
        assert!(looks(1, 0));
        // Once in 65,536 times.
        assert!(!(0..3).all(|_| looks(1 << 10, 4 << 30)));
    }
}
