//! A store with chains of layers, damaged in every file and in every way: whatever does not need the damaged file is there, whatever
//! needs it is named, and a load without a number gives the newest that is good.
#![allow(missing_docs)]

mod sample;

use dormouse_state::Memory;
use dormouse_store::{MemoryPages, NewCheckpoint, PAGE_SIZE, Parent, Store, StoreError};
use sample::{MODULE, Sample, files};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const WASM_PAGES: u64 = 3;

/// The memory of checkpoint `n`.
fn memory(n: u64) -> Vec<u8> {
    let mut x = 88_172_645_463_325_252u64;
    let mut memory = vec![0; (WASM_PAGES as usize) << 16];
    for byte in &mut memory[PAGE_SIZE..20 * PAGE_SIZE] {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *byte = x as u8;
    }
    for n in 2..=n {
        let at = n as usize * PAGE_SIZE;
        memory[at..at + 10].fill(n as u8);
        memory[at + PAGE_SIZE..at + 2 * PAGE_SIZE].fill(n as u8 * 3);
        memory[at + 2 * PAGE_SIZE..at + 3 * PAGE_SIZE].fill(0);
    }
    memory
}

fn save(store: &Store, n: u64, parent: Option<&Parent>, squash: bool) -> Parent {
    let mut sample = Sample::new(n as u32);
    sample.state.memories = vec![Memory { index: 0, pages: WASM_PAGES }];
    let (new, old) = (memory(n), memory(n - u64::from(n > 1)));
    let runs: Vec<(u64, &[u8])> = (0..)
        .zip(new.chunks(PAGE_SIZE).zip(old.chunks(PAGE_SIZE)))
        .filter(|(_, (new, old))| new != old)
        .map(|(n, (new, _))| (n, new))
        .collect();
    let go = AtomicBool::new(false);
    let squashed = parent.filter(|_| squash).map(|p| store.squash(p, 1, true, &go).unwrap());
    let pages = match parent {
        None => [MemoryPages::whole(0, &new)],
        Some(_) => [MemoryPages::changed(0, WASM_PAGES, &runs)],
    };
    let checkpoint = NewCheckpoint {
        parent,
        squashed: squashed.unwrap_or_default(),
        ..NewCheckpoint::new(MODULE, &sample.state, &pages)
    };
    let (info, parent) = store.save_as_parent("sim", checkpoint).unwrap();
    assert_eq!(info.number, n);
    parent
}

/// sim@1 has a base, 2 and 3 build on it; 4 has a base of its own, 5 builds on that; 6 on the squashed layers of both.
fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(&dir.path().join("store")).unwrap();
    let first = save(&store, 1, None, false);
    let second = save(&store, 2, Some(&first), false);
    save(&store, 3, Some(&second), false);
    let fourth = save(&store, 4, None, false);
    let fifth = save(&store, 5, Some(&fourth), false);
    let sixth = save(&store, 6, Some(&fifth), false);
    let seventh = save(&store, 7, Some(&sixth), true);
    assert_eq!((sixth.layers(), seventh.layers()), (3, 3), "two layers were squashed");
    (dir, store)
}

/// The files that each checkpoint needs, as the manifests say.
fn needs(store: &Path) -> BTreeMap<u64, BTreeSet<PathBuf>> {
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(store.join(path)).unwrap()).unwrap()
    };
    let blob = |part: &serde_json::Value| {
        Path::new("blobs/sha256")
            .join(part["digest"].as_str().unwrap().trim_start_matches("sha256:"))
    };
    let index = read(Path::new("index.json"));
    let mut all = BTreeMap::new();
    for entry in index["manifests"].as_array().unwrap() {
        let number = entry["annotations"]["io.dormouse.number"].as_str().unwrap().parse().unwrap();
        let manifest = read(&blob(entry));
        let mut files: BTreeSet<_> =
            manifest["layers"].as_array().unwrap().iter().map(blob).collect();
        files.extend([blob(entry), blob(&manifest["config"])]);
        all.insert(number, files);
    }
    all
}

/// Ways to damage a file.
fn ways(bytes: &[u8], others: &[&Vec<u8>]) -> Vec<Option<Vec<u8>>> {
    let mut ways = vec![None, Some(vec![]), Some([bytes, b"x"].concat())];
    ways.extend((0..bytes.len()).step_by(PAGE_SIZE).map(|len| Some(bytes[..len].to_vec())));
    ways.push(Some(bytes[..bytes.len() - 1].to_vec()));
    // Each byte of what is short; of layers their headers, indexes and checksums, and some of the rest.
    for at in 0..bytes.len() {
        if bytes.len() < 1024 || at < 64 || at + 256 > bytes.len() || at % 2039 == 0 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            ways.push(Some(flipped));
        }
    }
    // Another blob in its place.
    ways.extend(others.iter().map(|other| Some((*other).clone())));
    ways.retain(|way| way.as_deref() != Some(bytes));
    ways
}

/// `each`: look at every checkpoint, not only for the newest.
fn check(store: &Path, bad: &BTreeSet<u64>, path: &Path, each: bool) {
    let store = Store::open(store).unwrap();
    let holds = |number: Option<u64>| {
        let checkpoint = store.load("sim", number).unwrap();
        let mut found = memory(1);
        found.fill(0);
        checkpoint.read_memory(0, &mut found).unwrap();
        let n = checkpoint.info.number;
        assert!(found == memory(n), "sim@{n} holds another memory");
        (n, checkpoint.warnings)
    };
    let newest = (1..8).rev().find(|n| !bad.contains(n));
    match newest {
        Some(newest) => {
            let (n, warnings) = holds(None);
            assert_eq!(n, newest);
            assert_eq!(warnings.len() as u64, 7 - newest, "each newer one is told of");
            assert!(warnings.iter().all(|w| w.path == path));
        }
        None => assert!(matches!(store.load("sim", None), Err(StoreError::AllDamaged { .. }))),
    }
    for n in (1..8).filter(|_| each) {
        match bad.contains(&n) {
            false => drop(holds(Some(n))),
            true => {
                let Err(StoreError::Damaged(damage)) = store.load("sim", Some(n)) else {
                    panic!("sim@{n} is loaded")
                };
                assert_eq!(
                    (damage.path.as_path(), damage.checkpoint),
                    (path, Some(format!("sim@{n}")))
                );
            }
        }
    }
}

#[test]
fn every_blob() {
    let (_dir, store) = store();
    let store = store.dir();
    let needs = needs(store);
    let before = files(store);
    let blobs: Vec<_> = before.iter().filter(|(path, _)| path.starts_with("blobs")).collect();
    assert_eq!(blobs.len(), 7 * 2 + 1 + 8, "manifests, states, module, layers");
    let others: Vec<_> = blobs.iter().map(|(_, bytes)| *bytes).take(3).collect();
    let mut faults = 0;
    for (path, bytes) in &blobs {
        let bad: BTreeSet<u64> =
            needs.iter().filter(|(_, files)| files.contains(*path)).map(|(n, _)| *n).collect();
        assert!(!bad.is_empty(), "{} is needed", path.display());
        for (at, way) in ways(bytes, &others).iter().enumerate() {
            match way {
                Some(bytes) => std::fs::write(store.join(path), bytes).unwrap(),
                None => std::fs::remove_file(store.join(path)).unwrap(),
            }
            check(store, &bad, path, at % 8 == 0);
            if at % 16 == 0 {
                let report = Store::open(store).unwrap().verify().unwrap();
                assert_eq!(report.good, 7 - bad.len());
                assert!(report.damages.iter().all(|d| d.path == **path));
                assert_eq!(report.damages.len(), bad.len());
            }
            faults += 1;
        }
        std::fs::write(store.join(path), bytes).unwrap();
    }
    println!("{faults} faults in {} blobs", blobs.len());
    assert!(faults > 4000, "{faults}");
    assert!(files(store) == before, "reading changes nothing");
}

/// The list is put together again from the manifests; and what else lies about does no harm.
#[test]
fn every_byte_of_the_list() {
    let (_dir, store) = store();
    let store = store.dir();
    let path = store.join("index.json");
    let bytes = std::fs::read(&path).unwrap();
    let mut faults = 0;
    for at in (0..bytes.len()).step_by(3) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        for damaged in [&flipped[..], &bytes[..at]] {
            std::fs::write(&path, damaged).unwrap();
            let store = Store::open(store).unwrap();
            assert_eq!(store.list("sim").unwrap().len(), 7, "byte {at}");
            let newest = store.load("sim", None).unwrap();
            assert_eq!((newest.info.number, newest.warnings.len()), (7, 1), "byte {at}");
            faults += 1;
        }
    }
    println!("{faults} faults in the list");
    std::fs::write(&path, &bytes).unwrap();
    for junk in [".tmp-1-1", ".squash-1-1", "0123", "not-a-blob"] {
        std::fs::write(store.join("blobs/sha256").join(junk), b"{}").unwrap();
    }
    check(store, &BTreeSet::new(), Path::new(""), true);
    let store = Store::open(store).unwrap();
    let report = store.verify().unwrap();
    // The others are not named like files of ours, or may be wanted still.
    assert_eq!((report.good, report.unreferenced.len()), (7, 1));
}

/// `contrib/read-image.py` was written from docs/format.md: it reads what this crate writes, chains of layers too.
#[test]
fn the_second_implementation() {
    let has = |program: &str| std::process::Command::new(program).arg("--version").output().is_ok();
    if !has("python3") || !has("zstd") {
        return eprintln!("SKIPPED: python3 or zstd is not installed here");
    }
    let (_dir, store) = store();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/read-image.py");
    for n in 1..8 {
        let mut command = std::process::Command::new("python3");
        let output =
            command.arg(&script).arg(store.dir()).arg(format!("sim@{n}")).output().unwrap();
        let json = String::from_utf8_lossy(&output.stdout);
        let hex: String =
            dormouse_store::sha256(&memory(n)).iter().map(|b| format!("{b:02x}")).collect();
        assert!(json.contains(&hex), "sim@{n}: {json}{}", String::from_utf8_lossy(&output.stderr));
    }
    flip(store.dir());
    let mut command = std::process::Command::new("python3");
    let output = command.arg(&script).arg(store.dir()).arg("sim@1").output().unwrap();
    assert!(!output.status.success());
}

/// Damages the largest file.
fn flip(store: &Path) {
    let files = files(store);
    let (path, bytes) = files.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut bytes = bytes.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(store.join(path), bytes).unwrap();
}
