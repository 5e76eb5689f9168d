//! Removals in a child process that dies, or fails, at every step there is. The harness is that of
//! `fault_tests.rs`.
//!
//! ```text
//!   store with sim@1..4, orphans  --copy-->  child removes, dies at step k  -->  what is listed is
//!   whole; so is what is found when the list is lost; the next removal does the rest
//! ```

use crate::fault_tests::{assert_holds, files, save, write_files};
use crate::{Care, Retention, Store, StoreError};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Which sample each number holds: 1 and 3 share all but their manifests.
const SEEDS: [u32; 4] = [7, 2, 7, 4];

/// What a child does, and the numbers that are left in the end.
const DEEDS: [(&str, &[u64]); 4] = [
    ("remove 2 3", &[1, 4]),
    ("remove 1 2 3 4", &[]),
    ("retain last=1", &[4]),
    ("collect", &[1, 2, 3, 4]),
];

fn act(dir: &Path, deed: &str) -> Result<(), StoreError> {
    let store = Store::open(dir)?;
    let (verb, rest) = deed.split_once(' ').unwrap_or((deed, ""));
    match verb {
        "collect" => store.collect(Care::Thorough),
        "retain" => {
            let rules: Retention = rest.parse().unwrap();
            store.retain(&["sim".to_owned()], &rules, Care::Thorough)
        }
        _ => {
            let numbers = rest.split(' ').map(|n| ("sim".to_owned(), n.parse().unwrap()));
            store.remove(&numbers.collect::<Vec<_>>(), Care::Thorough)
        }
    }
    .map(drop)
}

/// Not a test of its own: what the children run.
#[test]
fn child() {
    let (Some(dir), Ok(deed)) =
        (std::env::var_os("DORMOUSE_TEST_STORE"), std::env::var("DORMOUSE_TEST_DEED"))
    else {
        return;
    };
    match act(Path::new(&dir), &deed) {
        Ok(()) => println!("DONE"),
        Err(error) => println!("FAILED {error}"),
    }
}

fn run_child(store: &Path, deed: &str, fault: &str, trace: Option<&Path>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "fault_gc_tests::child", "--nocapture", "--test-threads=1"]);
    command.env("DORMOUSE_TEST_STORE", store).env("DORMOUSE_TEST_DEED", deed);
    command.env("DORMOUSE_FAULT", fault);
    if let Some(trace) = trace {
        command.env("DORMOUSE_FAULT_TRACE", trace);
    }
    command.output().unwrap()
}

/// Four checkpoints; a blob, a temporary file and a whole checkpoint that nothing lists.
fn four_and_orphans() -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    for seed in SEEDS {
        save(&store, seed).unwrap();
    }
    let index = std::fs::read(dir.path().join("index.json")).unwrap();
    save(&store, 9).unwrap();
    // As after a save that died before it replaced the list.
    std::fs::write(dir.path().join("index.json"), index).unwrap();
    let blobs = dir.path().join("blobs/sha256");
    std::fs::write(blobs.join("ab".repeat(32)), "left").unwrap();
    std::fs::write(blobs.join(".tmp-1-1"), "left").unwrap();
    files(dir.path())
}

/// What is listed is whole and what it was.
fn assert_whole(dir: &Path) -> Vec<u64> {
    let store = Store::open(dir).unwrap();
    let numbers: Vec<u64> = store.list("sim").unwrap().iter().map(|c| c.number).collect();
    for number in &numbers {
        let seed = SEEDS.get(*number as usize - 1).copied().unwrap_or(9);
        match store.load("sim", Some(*number)) {
            Ok(mut checkpoint) => {
                // Where the list was taken away, that is told.
                checkpoint.warnings.clear();
                assert_eq!(checkpoint.info.number, *number);
            }
            Err(error) => panic!("{error}"),
        }
        if dir.join("index.json").exists() {
            assert_holds(&store, Some(*number), seed);
        }
    }
    let mut report = store.verify().unwrap();
    report.damages.retain(|damage| damage.checkpoint.is_some());
    assert_eq!((report.damages, report.good), (vec![], numbers.len()));
    numbers
}

fn at_every_step(kind: &str) {
    let before = four_and_orphans();
    for (deed, left) in DEEDS {
        let dir = tempfile::tempdir().unwrap();
        let trace = dir.path().join("trace");
        let store = dir.path().join("store");
        write_files(&store, &before);
        run_child(&store, deed, "none", Some(&trace));
        assert_eq!(assert_whole(&store), left, "{deed}");
        let complete = files(&store);
        let steps = std::fs::read_to_string(trace).unwrap().lines().count();
        assert!(steps >= 5, "{deed}: only {steps} steps: the hook is not called");
        for step in 1..=steps {
            let store = dir.path().join(format!("{step}"));
            write_files(&store, &before);
            let output = run_child(&store, deed, &format!("{kind}@{step}"), None);
            let killed = output.status.signal() == Some(9);
            assert!(killed == (kind == "kill") && killed != output.status.success());
            let listed = assert_whole(&store);
            assert!(listed == left || listed == [1, 2, 3, 4], "{deed} {step}: {listed:?}");

            let lost = dir.path().join(format!("{step}-lost"));
            write_files(&lost, &files(&store));
            std::fs::remove_file(lost.join("index.json")).unwrap();
            let found = assert_whole(&lost);
            assert!(left.iter().all(|n| found.contains(n)), "{deed} {step}: {found:?}");

            // Done again, it comes to the same.
            act(&store, deed).or_else(|_| act(&store, "collect")).unwrap();
            assert!(files(&store) == complete, "{deed} {step}");
            assert_eq!(save(&Store::open(&store).unwrap(), 3).unwrap(), 5, "{deed} {step}");
            for dir in [store, lost] {
                std::fs::remove_dir_all(dir).unwrap();
            }
        }
    }
}

#[test]
fn killed_at_every_step() {
    at_every_step("kill");
}

#[test]
fn failing_at_every_step() {
    at_every_step("enospc");
}

/// What a power cut may undo or do first: a deletion, until its directory is synced. So the list is
/// synced before a manifest goes, and manifests are synced away before what they name goes.
#[test]
fn syncs_come_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (trace, store) = (dir.path().join("trace"), dir.path().join("store"));
    let before = four_and_orphans();
    write_files(&store, &before);
    run_child(&store, "remove 1 2 3", "none", Some(&trace));
    let manifests: Vec<&PathBuf> =
        before.iter().filter(|(_, bytes)| bytes.starts_with(b"{")).map(|(path, _)| path).collect();
    let (mut list_synced, mut unsynced_list, mut unsynced_manifests) = (false, false, 0);
    let (mut manifests_gone, mut others_gone) = (0, 0);
    for line in std::fs::read_to_string(trace).unwrap().lines() {
        let mut words = line.splitn(3, ' ').skip(1);
        let (op, path) = (words.next().unwrap(), Path::new(words.next().unwrap()));
        match op {
            "rename" => unsynced_list = true,
            "syncdir" if path == store => list_synced = std::mem::take(&mut unsynced_list),
            "syncdir" => unsynced_manifests = 0,
            "remove" => {
                assert!(list_synced, "{line}: the list still names it after a power cut");
                let relative = path.strip_prefix(&store).unwrap().to_owned();
                if manifests.contains(&&relative) {
                    assert_eq!(others_gone, 0, "{line}: what it names went first");
                    unsynced_manifests += 1;
                    manifests_gone += 1;
                } else {
                    assert_eq!(unsynced_manifests, 0, "{line}: a manifest that names it is back");
                    others_gone += 1;
                }
            }
            _ => {}
        }
    }
    assert!(manifests_gone == 4 && others_gone > 5, "{manifests_gone} {others_gone}");
}
