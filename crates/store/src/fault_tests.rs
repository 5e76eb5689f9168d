//! Saves in a child process that dies, or finds the disk full, at every step there is.
//!
//! ```text
//!   store with sim@1, sim@2  --copy-->  child saves sim@3, dies at step k  -->  sim@1, sim@2 as
//!   they were, byte for byte; sim@3 complete or not listed; the next save works
//! ```

use crate::{Arrival, FileKind, MemoryPages, NewCheckpoint, NewFiles, Store, StoreError, sha256};
use dormouse_state::{Frame, Memory, Site, State, Value};
use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) const MODULE: &[u8] = b"\0asm\x01\0\0\0 as far as the store can tell";

struct Sample {
    state: State,
    memories: Vec<Vec<u8>>,
}

fn sample(seed: u32) -> Sample {
    let mut memories = vec![vec![0u8; 3 << 16], vec![0u8; 1 << 16]];
    let mut x = seed;
    let [first, second] = &mut memories[..] else { unreachable!() };
    for byte in first[8192..40_000].iter_mut().chain(&mut second[..5]) {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (x >> 24) as u8;
    }
    let state = State {
        module_digest: sha256(MODULE),
        frames: vec![Frame {
            site: Site { func: 1, offset: 2 },
            locals: vec![(0, Value::I32(seed))],
            operands: vec![],
        }],
        globals: vec![],
        tables: vec![],
        exceptions: vec![],
        memories: vec![Memory { index: 0, pages: 3 }, Memory { index: 1, pages: 1 }],
        dropped_data: vec![],
        dropped_elems: vec![],
        wasi: vec![],
        host: vec![],
    };
    Sample { state, memories }
}

fn contents(seed: u32) -> Vec<u8> {
    seed.to_le_bytes().repeat(5000)
}

fn tree(seed: u32) -> Vec<(String, FileKind)> {
    let file = FileKind::File { mode: 0o600, mtime: seed.into(), size: 20_000 };
    vec![("0/a".to_owned(), FileKind::Gone), ("0/b".to_owned(), file)]
}

pub(crate) fn save(store: &Store, seed: u32) -> Result<u64, StoreError> {
    let Sample { state, memories } = sample(seed);
    let pages: Vec<_> =
        (0..).zip(&memories).map(|(index, bytes)| MemoryPages::whole(index, bytes)).collect();
    let mut spool = tempfile::tempfile().unwrap();
    spool.write_all(&contents(seed)).unwrap();
    spool.rewind().unwrap();
    let items: Vec<_> = tree(seed).into_iter().map(|(name, kind)| (name, kind, 0)).collect();
    let files = NewFiles { items: &items, spool: Some(&spool), whole: true };
    let files = Some(files);
    let new = NewCheckpoint { files, ..NewCheckpoint::new(MODULE, &state, &pages) };
    Ok(store.save("sim", new)?.number)
}

/// Loads a checkpoint, and checks that it is the sample with this seed.
pub(crate) fn assert_holds(store: &Store, number: Option<u64>, seed: u32) {
    let checkpoint = store.load("sim", number).unwrap();
    let Sample { state, memories } = sample(seed);
    assert_eq!(checkpoint.warnings, []);
    assert_eq!(checkpoint.state, state);
    assert_eq!(checkpoint.module, MODULE);
    let files = checkpoint.files().unwrap().iter();
    assert!(files.eq(tree(seed).iter().map(|(name, kind)| (&name[..], kind))));
    let mut found = vec![];
    checkpoint.read_files(&mut |_, bytes| bytes.read_to_end(&mut found).map(drop)).unwrap();
    assert_eq!(found, contents(seed));
    for (index, expected) in (0..).zip(memories) {
        let mut memory = vec![0; expected.len()];
        checkpoint.read_memory(index, &mut memory).unwrap();
        assert!(memory == expected, "memory {index}");
    }
}

/// Not a test of its own: what the children run.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("DORMOUSE_TEST_STORE") else {
        return;
    };
    let result = Store::create_or_open(Path::new(&dir)).and_then(|store| {
        match std::env::var_os("DORMOUSE_TEST_FROM") {
            None => save(&store, 3),
            Some(from) => take_in(&store, &Store::open(Path::new(&from))?),
        }
    });
    match result {
        Ok(number) => println!("SAVED {number}"),
        Err(error) => println!("FAILED {error}"),
    }
}

/// What a pull does: `sim@3` of another store.
fn take_in(store: &Store, from: &Store) -> Result<u64, StoreError> {
    let image = from.export("sim", Some(3))?;
    let incoming = match store.import(&image.manifest, None)? {
        Arrival::Here(info) => return Ok(info.number),
        Arrival::Wanted(incoming) => incoming,
    };
    for blob in incoming.missing() {
        let mut bytes = vec![];
        from.open_blob(blob)?.read_to_end(&mut bytes).unwrap();
        let Some(mut part) = incoming.receive(blob)? else { continue };
        part.write(&bytes[part.len() as usize..])?;
        part.finish()?;
    }
    Ok(incoming.commit()?.number)
}

fn run_child(store: &Path, fault: &str, trace: Option<&Path>) -> Output {
    command("fault_tests::child", store, fault, trace).output().unwrap()
}

/// Runs a test of this binary on its own, with a fault.
pub(crate) fn run_in_child(test: &str, store: &Path, fault: &str, trace: Option<&Path>) -> Output {
    command(test, store, fault, trace).output().unwrap()
}

fn command(test: &str, store: &Path, fault: &str, trace: Option<&Path>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env("DORMOUSE_TEST_STORE", store).env("DORMOUSE_FAULT", fault);
    if let Some(trace) = trace {
        command.env("DORMOUSE_FAULT_TRACE", trace);
    }
    command
}

pub(crate) fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                all.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    all
}

pub(crate) fn write_files(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (path, bytes) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

pub(crate) fn temps(files: &BTreeMap<PathBuf, Vec<u8>>) -> usize {
    files.keys().filter(|p| p.file_name().unwrap().to_string_lossy().starts_with(".tmp-")).count()
}

/// A store with two checkpoints, as files.
fn two_checkpoints() -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    assert_eq!(save(&store, 1).unwrap(), 1);
    assert_eq!(save(&store, 2).unwrap(), 2);
    files(dir.path())
}

fn assert_older_unchanged(dir: &Path, before: &BTreeMap<PathBuf, Vec<u8>>) {
    let after = files(dir);
    for (path, bytes) in before {
        if path != Path::new("index.json") {
            assert!(after.get(path) == Some(bytes), "{} has changed", path.display());
        }
    }
}

/// Runs a child for every step, until one gets through. `before`: the store it begins with.
fn at_every_step(
    kind: &str,
    before: Option<&BTreeMap<PathBuf, Vec<u8>>>,
    check: impl Fn(&Path, &Output, bool),
) {
    for step in 1.. {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("deep").join("store");
        if let Some(before) = before {
            write_files(&store, before);
        }
        let output = run_child(&store, &format!("{kind}@{step}"), None);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let saved = stdout.contains("SAVED");
        assert!(
            saved || stdout.contains("FAILED") || output.status.signal() == Some(9),
            "{stdout}"
        );
        check(&store, &output, saved);
        if saved && !stdout.contains("FAILED") && output.status.success() {
            // Past the last step there is, the fault never strikes. A fault in a removal or
            // in a best-effort sync is no failure either; go on until none are left.
            let trace = dir.path().join("trace");
            let again = dir.path().join("again");
            if let Some(before) = before {
                write_files(&again, before);
            }
            run_child(&again, "none", Some(&trace));
            let steps = std::fs::read_to_string(trace).unwrap().lines().count();
            if step > steps {
                assert!(step > 20, "only {step} steps: the hook is not called");
                return;
            }
        }
    }
}

#[test]
fn killed_at_every_step() {
    let before = two_checkpoints();
    at_every_step("kill", Some(&before), |dir, _, saved| {
        assert_older_unchanged(dir, &before);
        let store = Store::open(dir).unwrap();
        assert_holds(&store, Some(1), 1);
        assert_holds(&store, Some(2), 2);
        let listed = store.list("sim").unwrap().len();
        assert!(listed == 3 || (listed == 2 && !saved));
        assert_holds(&store, None, listed as u32);
        let report = store.verify().unwrap();
        assert_eq!((report.good, report.damages), (listed, vec![]));
        // Life goes on, and sweeps what the dead left.
        let store = Store::create_or_open(dir).unwrap();
        assert_eq!(save(&store, 9).unwrap(), listed as u64 + 1);
        assert_holds(&store, None, 9);
        assert_eq!(temps(&files(dir)), 0);
    });
}

#[test]
fn killed_at_every_step_of_the_first_save() {
    at_every_step("kill", None, |dir, _, saved| {
        if saved {
            assert_holds(&Store::open(dir).unwrap(), None, 3);
        }
        let store = Store::create_or_open(dir).unwrap();
        let listed = store.list("sim").unwrap().len() as u64;
        assert_eq!(save(&store, 9).unwrap(), listed + 1);
        assert_holds(&store, None, 9);
        assert_eq!(store.verify().unwrap().damages, []);
        assert_eq!(temps(&files(dir)), 0);
    });
}

/// Pulls that die or find the disk full, and then the same once more: it goes on from what came.
#[test]
fn taking_in_at_every_step() {
    let before = two_checkpoints();
    let from = tempfile::tempdir().unwrap();
    write_files(from.path(), &before);
    save(&Store::open(from.path()).unwrap(), 3).unwrap();
    for kind in ["kill", "enospc"] {
        for step in 1.. {
            let dir = tempfile::tempdir().unwrap();
            write_files(dir.path(), &before);
            let trace = dir.path().join("trace");
            let output =
                command("fault_tests::child", dir.path(), &format!("{kind}@{step}"), Some(&trace))
                    .env("DORMOUSE_TEST_FROM", from.path())
                    .output()
                    .unwrap();
            let steps = std::fs::read_to_string(&trace).unwrap().lines().count();
            std::fs::remove_file(trace).unwrap();
            assert_older_unchanged(dir.path(), &before);
            let store = Store::open(dir.path()).unwrap();
            assert_holds(&store, Some(1), 1);
            assert_holds(&store, Some(2), 2);
            let listed = store.list("sim").unwrap().len();
            let took = String::from_utf8_lossy(&output.stdout).contains("SAVED");
            assert!(listed == 3 || (listed == 2 && !took));
            assert_eq!(store.verify().unwrap().damages, []);
            assert_eq!(take_in(&store, &Store::open(from.path()).unwrap()).unwrap(), 3);
            assert_holds(&store, Some(3), 3);
            assert_eq!(save(&store, 9).unwrap(), 4);
            assert_eq!(temps(&files(dir.path())), 0);
            assert_eq!(store.verify().unwrap().unreferenced, Vec::<PathBuf>::new());
            if took && step > steps {
                assert!(step > 20, "only {step} steps: the hook is not called");
                break;
            }
        }
    }
}

#[test]
fn disk_full_at_every_step() {
    let before = two_checkpoints();
    at_every_step("enospc", Some(&before), |dir, output, saved| {
        assert_older_unchanged(dir, &before);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let store = Store::open(dir).unwrap();
        assert_holds(&store, Some(1), 1);
        assert_holds(&store, Some(2), 2);
        let after = files(dir);
        if !saved {
            assert!(stdout.contains("no space left in") && stdout.contains("bytes"), "{stdout}");
            assert_eq!(temps(&after), 0);
            // All is as before, but for a sync that failed after the list was replaced.
            if store.list("sim").unwrap().len() == 2 {
                assert!(after == before);
            }
        }
        assert_eq!(store.verify().unwrap().damages, []);
        save(&store, 9).unwrap();
        assert_holds(&store, None, 9);
    });
}

/// What a power cut may take: a file's bytes until it is synced, a name until its directory is.
/// So: synced before renamed, blobs' directory synced before the list is renamed, and the store's
/// directory after that.
#[test]
fn syncs_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let store = dir.path().join("store");
    write_files(&store, &two_checkpoints());
    assert!(run_child(&store, "none", Some(&trace)).status.success());
    let trace = std::fs::read_to_string(trace).unwrap();
    let steps: Vec<(&str, &str)> = trace
        .lines()
        .map(|line| {
            let mut words = line.splitn(3, ' ').skip(1);
            (words.next().unwrap(), words.next().unwrap())
        })
        .collect();
    let (mut unsynced_files, mut unsynced_names, mut temps) = (0, 0, 0);
    let mut list_replaced = false;
    let mut last_written = "";
    for (op, path) in &steps {
        match *op {
            "create" => {
                temps += 1;
                unsynced_files += 1;
                last_written = path;
            }
            "write" => assert_eq!(*path, last_written),
            "sync" => {
                assert_eq!(*path, last_written, "a file is synced after its last write");
                unsynced_files -= 1;
            }
            "rename" => {
                assert_eq!(unsynced_files, 0, "every file is synced before any is renamed");
                temps -= 1;
                if path.ends_with("index.json") {
                    assert_eq!(unsynced_names, 0, "the list refers to names that may be lost");
                    assert_eq!(temps, 0, "the list comes last");
                    list_replaced = true;
                }
                unsynced_names += 1;
            }
            "syncdir" => unsynced_names = 0,
            other => panic!("unexpected step {other} {path}"),
        }
    }
    assert!(list_replaced);
    assert_eq!(unsynced_names, 0, "save returned before the list was durable");
}
