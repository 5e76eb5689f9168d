//! Open files are known again by what they hold.

mod guest;

use dormouse_wasi::{RestoreOptions, Wasi, WasiError};
use guest::*;
use proptest::prelude::*;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use tempfile::tempdir;

const MIB: usize = 1 << 20;

/// Overwritten by others, and nothing else to be seen of it.
fn overwrite(path: &Path, at: u64) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(b"X", at).unwrap();
    file.set_modified(time).unwrap();
}

fn refused(bytes: &[u8]) -> String {
    match Wasi::restore(bytes, options()) {
        Err(e @ WasiError::Changed { .. }) => {
            assert_eq!(Wasi::rehearse(bytes, options()).unwrap_err().to_string(), e.to_string());
            e.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_others_overwrote_is_noticed() {
    let dir = tempdir().unwrap();
    let path = |name| dir.path().join(name);
    fs::write(path("in"), vec![7; 700_000]).unwrap();
    let mut g = Guest::new(dir.path());
    g.open("in", 0, READ, 0).unwrap();
    let both = g.open("both", CREAT, READ | WRITE, 0).unwrap();
    let out = g.open("out", CREAT, WRITE, 0).unwrap();
    g.write(both, b"0123456789").unwrap();
    g.write(out, b"abcdefghij").unwrap();
    let bytes = g.wasi.save().unwrap();
    drop(g);
    // Only the times are others: it is the same.
    File::options().write(true).open(path("in")).unwrap().set_modified(SystemTime::now()).unwrap();
    Wasi::restore(&bytes, options()).unwrap();
    for (name, at) in [("in", 0), ("in", 650_000), ("both", 3), ("out", 9)] {
        let good = fs::read(path(name)).unwrap();
        overwrite(&path(name), at);
        let error = refused(&bytes);
        assert!(error.contains(&format!("{name}\"")) && error.contains("contents"), "{error}");
        let none = RestoreOptions { check_files: false, ..options() };
        Wasi::restore(&bytes, none).unwrap();
        fs::write(path(name), good).unwrap();
    }
    // What follows is cut off, and is nobody's business.
    fs::write(path("out"), "abcdefghij and more").unwrap();
    Wasi::restore(&bytes, options()).unwrap();
    assert_eq!(fs::read(path("out")).unwrap(), b"abcdefghij");
}

#[test]
fn large_files_are_looked_at_before() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("large");
    fs::write(&path, vec![7; 5 * MIB + 5]).unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("large", 0, READ | WRITE, 0).unwrap();
    let without = g.wasi.save().unwrap();
    g.wasi.digests().catch_up(|| false);
    let with = g.wasi.save().unwrap();
    assert_eq!(with.len(), without.len() + 32);
    // The next one knows all but what it wrote since; of a resumed one all is known.
    g.seek(fd, 3 * MIB as i64, 0).unwrap();
    g.write(fd, b"hello").unwrap();
    g.seek(fd, 0, 2).unwrap();
    g.write(fd, b"more").unwrap();
    let later = g.wasi.save().unwrap();
    assert_eq!(later.len(), with.len());
    drop(g);
    let g = Guest::of(Wasi::restore(&later, options()).unwrap());
    assert_eq!(g.wasi.save().unwrap(), later);
    drop(g);
    // What was there when the older ones were made is not there any more.
    assert!(refused(&with).contains("contents"));
    Wasi::restore(&without, options()).unwrap();
    // Others change it while the program runs, and while it is looked at.
    let g = Guest::of(Wasi::restore(&without, options()).unwrap());
    g.wasi.digests().catch_up(|| false);
    overwrite(&path, 0);
    let changed = g.wasi.save().unwrap();
    assert_eq!(changed.len(), without.len(), "more must be read than there is time for");
    g.wasi.digests().catch_up(|| false);
    let bytes = g.wasi.save().unwrap();
    drop(g);
    Wasi::restore(&bytes, options()).unwrap();
}

/// A program that asks when its file was read last learns nothing of checkpoints.
#[test]
fn looking_leaves_no_trace() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("in");
    fs::write(&path, "input").unwrap();
    let read = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_times(fs::FileTimes::new().set_accessed(read)).unwrap();
    let mut g = Guest::new(dir.path());
    g.open("in", 0, READ, 0).unwrap();
    g.wasi.digests().catch_up(|| false);
    let bytes = g.wasi.save().unwrap();
    Wasi::restore(&bytes, options()).unwrap();
    // Other systems have no such way of reading.
    if cfg!(target_os = "linux") {
        assert_eq!(fs::metadata(&path).unwrap().accessed().unwrap(), read);
    }
}

#[test]
fn other_names() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("old", CREAT, WRITE, 0).unwrap();
    g.rename("old", "new").unwrap();
    g.write(fd, b"hello").unwrap();
    let bytes = g.wasi.save().unwrap();
    drop(g);
    overwrite(&dir.path().join("new"), 1);
    assert!(refused(&bytes).contains("new"));
}

#[derive(Clone, Debug)]
enum Deed {
    Write { at: u32, length: u32 },
    Append { length: u32 },
    Size(u32),
    Reopen { truncate: bool },
    CatchUp,
    Save,
    Resume,
}

fn deed() -> impl Strategy<Value = Deed> {
    let at = 0..2 * MIB as u32;
    let length = 1..300_000u32;
    prop_oneof![
        4 => (at.clone(), length.clone()).prop_map(|(at, length)| Deed::Write { at, length }),
        2 => length.prop_map(|length| Deed::Append { length }),
        1 => at.prop_map(Deed::Size),
        1 => any::<bool>().prop_map(|truncate| Deed::Reopen { truncate }),
        3 => Just(Deed::CatchUp),
        2 => Just(Deed::Save),
        1 => Just(Deed::Resume),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever a program does, and whenever its files are looked at meanwhile: a resume finds what it left.
    #[test]
    fn what_the_program_writes_is_known(deeds in prop::collection::vec(deed(), 1..20), busy: bool) {
        let dir = tempdir().unwrap();
        let mut g = Guest::new(dir.path());
        let mut fd = g.open("file", CREAT, READ | WRITE, 0).unwrap();
        let log = g.open("file", CREAT, WRITE, APPEND).unwrap();
        let (done, digests) = (AtomicBool::new(false), std::sync::Mutex::new(g.wasi.digests()));
        let stop = || done.load(Ordering::Relaxed);
        std::thread::scope(|scope| {
            if busy {
                let look = || while !stop() {
                    let digests = digests.lock().unwrap().clone();
                    digests.catch_up(stop);
                };
                scope.spawn(look);
            }
            for (n, deed) in deeds.into_iter().enumerate() {
                let data = |length| vec![n as u8 + 1; length as usize];
                match deed {
                    Deed::Write { at, length } => {
                        g.seek(fd, at.into(), 0).unwrap();
                        g.write(fd, &data(length)).unwrap();
                    }
                    Deed::Append { length } => drop(g.write(log, &data(length)).unwrap()),
                    Deed::Size(size) => g.set_size(fd, size.into()).unwrap(),
                    Deed::Reopen { truncate } => {
                        let flags = if truncate { TRUNC } else { 0 };
                        g.close(fd).unwrap();
                        fd = g.open("file", flags, READ | WRITE, 0).unwrap();
                    }
                    Deed::CatchUp => g.wasi.digests().catch_up(stop),
                    Deed::Save => drop(g.wasi.save().unwrap()),
                    Deed::Resume => {
                        let bytes = g.wasi.save().unwrap();
                        g = Guest::of(Wasi::restore(&bytes, options()).unwrap());
                        *digests.lock().unwrap() = g.wasi.digests();
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let bytes = g.wasi.save().unwrap();
        drop(g);
        Wasi::restore(&bytes, options()).unwrap();
        let path = dir.path().join("file");
        if fs::metadata(&path).unwrap().len() > 0 {
            overwrite(&path, 0);
            prop_assert!(Wasi::restore(&bytes, options()).is_err());
        }
    }
}
