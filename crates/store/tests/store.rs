//! The store as its callers see it.

mod sample;

use dormouse_store::{Guard, MemoryPages, NewCheckpoint, Store, StoreError};
use sample::{MODULE, Sample, assert_holds, save};
use std::cell::Cell;
use std::collections::BTreeMap;

#[test]
fn checkpoints_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(&dir.path().join("a/b/store")).unwrap();
    for seed in 1..=3 {
        assert_eq!(save(&store, "sim", seed).number, u64::from(seed));
    }
    assert_eq!(save(&store, "other", 4).name(), "other@1");
    for seed in 1..=3 {
        assert_holds(&store.load("sim", Some(seed.into())).unwrap(), seed);
    }
    let newest = store.load("sim", None).unwrap();
    assert_holds(&newest, 3);
    assert_eq!(newest.warnings, []);
    assert_holds(&store.load("other", None).unwrap(), 4);

    let list = store.list("sim").unwrap();
    assert_eq!(list.iter().map(|c| c.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(list[2], newest.info);
    assert!(list[0].created.ends_with('Z') && list[0].created <= list[1].created);
    assert_eq!(list[0].module_size, MODULE.len() as u64);
    let jobs = store.jobs().unwrap();
    let jobs: Vec<_> = jobs.iter().map(|j| (&*j.job, j.checkpoints, j.newest.number)).collect();
    assert_eq!(jobs, [("other", 1, 1), ("sim", 3, 3)]);

    let report = store.verify().unwrap();
    assert_eq!((report.checkpoints, report.good), (4, 4));
    assert_eq!((report.damages, report.unreferenced), (vec![], vec![]));
    // Another handle sees the same.
    assert_eq!(Store::open(store.dir()).unwrap().list("sim").unwrap(), list);
}

#[test]
fn annotations_travel() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    let sample = Sample::new(1);
    let pages = sample.pages();
    let new = |key: &str, value: &str| NewCheckpoint {
        annotations: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        ..NewCheckpoint::new(MODULE, &sample.state, &pages)
    };
    let value = "\"io.dormouse.index\":\"sha256:";
    let saved = store.save("sim", new("org.example.why", value)).unwrap();
    assert_eq!(store.load("sim", None).unwrap().info, saved);
    assert_eq!(saved.annotations, new("org.example.why", value).annotations);
    let refused = store.save("sim", new("io.dormouse.job", "x"));
    assert!(matches!(refused, Err(StoreError::ReservedAnnotation { .. })));
}

/// Whoever saves may have lost the right to: asked at first, and with the list in his hand.
#[test]
fn a_guard_is_asked_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    save(&store, "sim", 1);
    let list = std::fs::read(dir.path().join("index.json")).unwrap();
    let sample = Sample::new(2);
    let pages = sample.pages();
    for allowed in 0..3 {
        let asked = Cell::new(0);
        let guard = || {
            asked.set(asked.get() + 1);
            if asked.get() > allowed { Err("no more".to_owned()) } else { Ok(()) }
        };
        let new = NewCheckpoint::new(MODULE, &sample.state, &pages);
        let saved = store.save("sim", NewCheckpoint { guard: Some(Guard(&guard)), ..new });
        let unreferenced = store.verify().unwrap().unreferenced.len();
        if allowed == 2 {
            assert_eq!((saved.unwrap().name().as_str(), asked.get()), ("sim@2", 2));
            break;
        }
        assert!(matches!(saved, Err(StoreError::Refused { why }) if why == "no more"));
        assert_eq!(std::fs::read(dir.path().join("index.json")).unwrap(), list);
        // The last moment is too late to take blobs away that another may refer to.
        assert_eq!(unreferenced > 0, allowed == 1);
        assert_eq!(store.list("sim").unwrap().len(), 1);
    }
    assert_holds(&store.load("sim", Some(1)).unwrap(), 1);
    assert_holds(&store.load("sim", None).unwrap(), 2);
}

#[test]
fn what_does_not_fit_together_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    let before = sample::files(dir.path());
    let good = Sample::new(1);
    let pages = good.pages();
    let refuse = |job: &str, new: NewCheckpoint<'_>| store.save(job, new).unwrap_err().to_string();

    let new = NewCheckpoint::new(MODULE, &good.state, &pages);
    assert!(refuse("../x", new).contains("cannot be the name of a job"));
    let new = NewCheckpoint::new(MODULE, &good.state, &pages[..1]);
    assert!(refuse("sim", new).contains("memory 1 was given with none pages"));
    let mut short = pages.clone();
    short[1] = MemoryPages::whole(1, &[0; 100]);
    let new = NewCheckpoint::new(MODULE, &good.state, &short);
    assert!(refuse("sim", new).contains("0 (and 100 bytes)"));
    let mut more = pages.clone();
    more.push(MemoryPages::whole(2, &[]));
    let new = NewCheckpoint::new(MODULE, &good.state, &more);
    assert!(refuse("sim", new).contains("memory 2"));
    let mut state = good.state.clone();
    state.frames.clear();
    assert!(refuse("sim", NewCheckpoint::new(MODULE, &state, &pages)).contains("no frames"));
    assert_eq!(sample::files(dir.path()), before);
    let new = NewCheckpoint::new(b"another", &good.state, &pages);
    assert!(refuse("sim", new).contains("belongs to sha256:"));
    let mut after = sample::files(dir.path());
    after.remove(std::path::Path::new(".dormouse-index.lock"));
    assert_eq!(after, before);
    assert!(matches!(store.load("sim", None), Err(StoreError::NoJob { .. })));
}

#[test]
fn the_module_is_written_once_and_again_only_if_it_rotted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    let digest = save(&store, "sim", 1).module_digest;
    let blob = dir.path().join("blobs/sha256").join(&digest["sha256:".len()..]);
    let modified = || std::fs::metadata(&blob).unwrap().modified().unwrap();
    let first = modified();
    save(&store, "sim", 2);
    save(&Store::open(dir.path()).unwrap(), "sim", 3);
    assert_eq!(modified(), first);

    let mut rotten = MODULE.to_vec();
    rotten[9] ^= 1;
    std::fs::write(&blob, rotten).unwrap();
    assert!(matches!(store.load("sim", None), Err(StoreError::AllDamaged { .. })));
    save(&Store::open(dir.path()).unwrap(), "sim", 4);
    assert_holds(&store.load("sim", Some(1)).unwrap(), 1);
    assert_eq!(store.verify().unwrap().good, 4);
}

#[test]
fn other_directories_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::NoStore { .. })));
    assert!(matches!(Store::open(&dir.path().join("none")), Err(StoreError::NoStore { .. })));
    std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    let error = Store::create_or_open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("name an empty or new directory with --store"), "{error}");
    assert!(matches!(Store::open(dir.path()), Err(StoreError::NotAStore { .. })));
    let file = dir.path().join("thesis.tex");
    assert!(matches!(Store::create_or_open(&file), Err(StoreError::NotAStore { .. })));
    assert_eq!(sample::files(dir.path()).len(), 1);

    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Store::open(other.path()), Err(StoreError::Unsupported { .. })));
}

#[test]
fn other_tools_entries_stay() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    std::fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let digest = format!("sha256:{}", "ab".repeat(32));
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "digest":"{digest}","size":7,"annotations":{{"org.opencontainers.image.ref.name":"busybox"}}}}]}}"#
    );
    std::fs::write(dir.path().join("index.json"), index).unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    save(&store, "sim", 1);
    let checkpoint = store.load("sim", None).unwrap();
    assert_eq!(checkpoint.warnings, []);
    let index = std::fs::read_to_string(dir.path().join("index.json")).unwrap();
    assert!(index.contains(&digest) && index.contains("busybox") && index.contains("sim@1"));
}

#[test]
fn many_writers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let numbers = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|t| {
                let path = &path;
                scope.spawn(move || {
                    let store = Store::create_or_open(path).unwrap();
                    (0..5).map(|i| save(&store, "sim", t * 5 + i).number).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut all: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        all.sort();
        all
    });
    assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
    let store = Store::open(&path).unwrap();
    let report = store.verify().unwrap();
    assert_eq!((report.good, report.damages, report.unreferenced), (40, vec![], vec![]));
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_look() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(&dir.path().join("store")).unwrap();
    save(&store, "sim", 1);
    let mode = |p: &std::path::Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
    for sub in ["", "blobs", "blobs/sha256"] {
        assert_eq!(mode(&store.dir().join(sub)), 0o700, "{sub}");
    }
    for path in sample::files(store.dir()).keys() {
        assert_eq!(mode(&store.dir().join(path)), 0o600, "{}", path.display());
    }
}

#[test]
fn memories_are_asked_for_by_index_and_length() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    save(&store, "sim", 1);
    let checkpoint = store.load("sim", None).unwrap();
    assert!(matches!(checkpoint.read_memory(7, &mut []), Err(StoreError::NoMemory { index: 7 })));
    let error = checkpoint.read_memory(0, &mut [0; 10]).unwrap_err();
    assert!(matches!(error, StoreError::BufferLength { index: 0, found: 10, .. }), "{error}");
}
