//! Changes saved, and layers squashed, in a child process that dies or meets a bad disk at every step there is.
//!
//! ```text
//!   store with sim@1 (base), sim@2, sim@3 (changes)  --copy-->  child squashes, saves sim@4; fault at step k
//!     --> sim@1..3 as they were, byte for byte; sim@4 complete or not listed; the next save works, and sweeps
//! ```

use crate::fault_tests::{MODULE, files, run_in_child, temps, write_files};
use crate::{MemoryPages, NewCheckpoint, PAGE_SIZE, Parent, Squashed, Store, StoreError, sha256};
use dormouse_state::{Frame, Memory, Site, State};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What the memory is at checkpoint `n`.
fn memory(n: u64) -> Vec<u8> {
    let mut memory = vec![0; 2 << 16];
    for (at, byte) in memory[..9 * PAGE_SIZE].iter_mut().enumerate() {
        *byte = (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0];
    }
    for n in 1..=n {
        memory[n as usize * PAGE_SIZE + 100..][..50].fill(n as u8);
        memory[(n as usize + 10) * PAGE_SIZE..][..PAGE_SIZE].fill(n as u8);
    }
    memory
}

fn save(
    store: &Store,
    n: u64,
    parent: Option<&Parent>,
    squashed: Vec<Squashed>,
) -> Result<Parent, StoreError> {
    let state = State {
        module_digest: sha256(MODULE),
        frames: vec![Frame {
            site: Site { func: 1, offset: n as u32 },
            locals: vec![],
            operands: vec![],
        }],
        globals: vec![],
        tables: vec![],
        exceptions: vec![],
        memories: vec![Memory { index: 0, pages: 2 }],
        dropped_data: vec![],
        dropped_elems: vec![],
        wasi: vec![],
        host: vec![],
    };
    let memory = memory(n);
    let page = |at: usize| (at as u64, &memory[at * PAGE_SIZE..(at + 1) * PAGE_SIZE]);
    let runs = [page(n as usize), page(n as usize + 10)];
    let pages = match parent {
        None => [MemoryPages::whole(0, &memory)],
        Some(_) => [MemoryPages::changed(0, 2, &runs)],
    };
    let new = NewCheckpoint { parent, squashed, ..NewCheckpoint::new(MODULE, &state, &pages) };
    store.save_as_parent("sim", new).map(|(_, parent)| parent)
}

fn assert_holds(store: &Store, number: Option<u64>, n: u64) {
    let checkpoint = store.load("sim", number).unwrap();
    assert_eq!((checkpoint.info.number, &checkpoint.warnings[..]), (n, &[][..]));
    assert_eq!(checkpoint.state.frames[0].site.offset, n as u32);
    let mut found = vec![0; 2 << 16];
    checkpoint.read_memory(0, &mut found).unwrap();
    assert!(found == memory(n), "sim@{n}");
}

fn squash_and_save(dir: &Path) -> Result<u64, StoreError> {
    let store = Store::create_or_open(dir)?;
    let newest = store.load("sim", None)?;
    let parent = newest.as_parent();
    let squashed = store.squash(&parent, 1, true, &AtomicBool::new(false))?;
    assert_eq!(squashed.len(), 1);
    let n = newest.info.number + 1;
    save(&store, n, Some(&parent), squashed).map(|_| n)
}

/// Not a test of its own: what the children run.
#[test]
fn child() {
    let Some(dir) = std::env::var_os("DORMOUSE_TEST_STORE") else {
        return;
    };
    match squash_and_save(Path::new(&dir)) {
        Ok(number) => println!("SAVED {number}"),
        Err(error) => println!("FAILED {error}"),
    }
}

fn three_checkpoints() -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    let first = save(&store, 1, None, vec![]).unwrap();
    let second = save(&store, 2, Some(&first), vec![]).unwrap();
    save(&store, 3, Some(&second), vec![]).unwrap();
    files(dir.path())
}

/// How many steps there are without a fault.
fn steps(before: &BTreeMap<PathBuf, Vec<u8>>) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let (store, trace) = (dir.path().join("store"), dir.path().join("trace"));
    write_files(&store, before);
    run_in_child("fault_chain_tests::child", &store, "none", Some(&trace));
    let steps = std::fs::read_to_string(trace).unwrap().lines().count() as u64;
    assert!(steps > 15, "only {steps} steps: the hook is not called");
    steps
}

fn at_every_step(kind: &str) {
    let before = three_checkpoints();
    let steps = steps(&before);
    let mut failed = 0;
    for step in 1..=steps {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write_files(dir, &before);
        let output = run_in_child("fault_chain_tests::child", dir, &format!("{kind}@{step}"), None);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let saved = stdout.contains("SAVED");
        let killed = output.status.signal() == Some(9);
        assert!(saved || killed || stdout.contains("FAILED"), "{kind}@{step}: {stdout}");
        failed += u32::from(!saved);

        let after = files(dir);
        for (path, bytes) in before.iter().filter(|(path, _)| *path != Path::new("index.json")) {
            assert!(
                after.get(path) == Some(bytes),
                "{kind}@{step}: {} has changed",
                path.display()
            );
        }
        let store = Store::open(dir).unwrap();
        let listed = store.list("sim").unwrap().len() as u64;
        assert!(listed == 4 || (listed == 3 && !saved), "{kind}@{step}: {listed}");
        for n in 1..=listed {
            assert_holds(&store, Some(n), n);
        }
        let report = store.verify().unwrap();
        assert_eq!((report.good as u64, report.damages), (listed, vec![]), "{kind}@{step}");
        // Life goes on, and sweeps what the dead left.
        assert_eq!(squash_and_save(dir).unwrap(), listed + 1, "{kind}@{step}");
        assert_holds(&Store::open(dir).unwrap(), None, listed + 1);
        let after = files(dir);
        let kept = |path: &&PathBuf| path.to_string_lossy().contains("/.squash-");
        assert_eq!((temps(&after), after.keys().filter(kept).count()), (0, 0), "{kind}@{step}");
    }
    println!("{kind}: {steps} steps, {failed} times the save failed");
    assert_eq!(failed == 0, kind == "short");
}

#[test]
fn killed() {
    at_every_step("kill");
}

#[test]
fn a_full_disk() {
    at_every_step("enospc");
    at_every_step("full");
}

#[test]
fn a_bad_disk() {
    at_every_step("eio");
    at_every_step("rofs");
}

#[test]
fn short_writes() {
    at_every_step("short");
}
