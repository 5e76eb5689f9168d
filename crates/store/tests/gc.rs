//! Removal and collection as the store's callers see them: what is needed stays, all else goes.

mod sample;

use dormouse_store::{Care, GcReport, MemoryPages, NewCheckpoint, Retention, Store, StoreError};
use proptest::prelude::*;
use sample::{MODULE, Sample, assert_holds, files, save};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

fn remove(store: &Store, job: &str, numbers: &[u64]) -> GcReport {
    let names: Vec<_> = numbers.iter().map(|n| (job.to_owned(), *n)).collect();
    store.remove(&names, Care::Thorough).unwrap()
}

fn numbers(store: &Store, job: &str) -> Vec<u64> {
    store.list(job).unwrap().iter().map(|c| c.number).collect()
}

fn retain(store: &Store, rules: &str) -> GcReport {
    let rules: Retention = rules.parse().unwrap();
    store.retain(&["sim".to_owned()], &rules, Care::Thorough).unwrap()
}

fn store_of(seeds: &[u32]) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(&dir.path().join("store")).unwrap();
    for seed in seeds {
        save(&store, "sim", *seed);
    }
    (dir, store)
}

/// Every digest that can be reached from the list, by reading JSON and nothing else.
fn needed(dir: &Path) -> BTreeSet<PathBuf> {
    fn digests(json: &Value, found: &mut Vec<String>) {
        match json {
            Value::Object(fields) => {
                if let Some(digest) = fields.get("digest").and_then(Value::as_str) {
                    found.push(digest["sha256:".len()..].to_owned());
                }
                fields.values().for_each(|value| digests(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| digests(item, found)),
            _ => {}
        }
    }
    let read = |path: &Path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut found = Vec::new();
    digests(&read(&dir.join("index.json")), &mut found);
    let manifests = found.clone();
    for manifest in manifests {
        digests(&read(&dir.join("blobs/sha256").join(manifest)), &mut found);
    }
    found.into_iter().map(|digest| Path::new("blobs/sha256").join(digest)).collect()
}

fn blobs(dir: &Path) -> BTreeSet<PathBuf> {
    files(dir).into_keys().filter(|path| path.starts_with("blobs")).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Save(u8, u32),
    Remove(u8, u8),
    Retain(u8, u32),
    Collect,
    Orphan(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2u8, 0..4u32).prop_map(|(job, seed)| Step::Save(job, seed)),
        2 => any::<(u8, u8)>().prop_map(|(job, n)| Step::Remove(job % 2, n)),
        1 => (0..2u8, 1..4u32).prop_map(|(job, last)| Step::Retain(job, last)),
        1 => Just(Step::Collect),
        1 => any::<u8>().prop_map(Step::Orphan),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn exactly_what_is_reached_stays(steps in proptest::collection::vec(step(), 1..14)) {
        let (_dir, store) = store_of(&[]);
        // What each job should have: numbers and seeds.
        let mut model: [Vec<(u64, u32)>; 2] = Default::default();
        let mut last = [0; 2];
        let jobs = ["sim", "other"];
        for step in steps {
            match step {
                Step::Save(job, seed) => {
                    let job = job as usize;
                    last[job] += 1;
                    let saved = save(&store, jobs[job], seed);
                    prop_assert_eq!(saved.number, last[job], "a number is used again");
                    model[job].push((saved.number, seed));
                }
                Step::Remove(job, n) => {
                    let job = job as usize;
                    if model[job].is_empty() { continue }
                    let at = n as usize % model[job].len();
                    let (number, _) = model[job].remove(at);
                    let report = remove(&store, jobs[job], &[number]);
                    prop_assert_eq!(report.removed.len(), 1);
                }
                Step::Retain(job, n) => {
                    let of_job = &mut model[job as usize];
                    if of_job.is_empty() { continue }
                    let rules = Retention { last: Some(n), ..Retention::default() };
                    let jobs = [jobs[job as usize].to_owned()];
                    store.retain(&jobs, &rules, Care::Thorough).unwrap();
                    of_job.drain(..of_job.len().saturating_sub(n as usize));
                }
                Step::Collect => drop(store.collect(Care::Thorough).unwrap()),
                Step::Orphan(n) => {
                    let name = format!("{n:02x}").repeat(32);
                    std::fs::write(store.dir().join("blobs/sha256").join(name), [n; 9]).unwrap();
                }
            }
            for (job, expected) in jobs.iter().zip(&model) {
                let expected: Vec<u64> = expected.iter().map(|(n, _)| *n).collect();
                prop_assert_eq!(numbers(&store, job), expected);
            }
        }
        let foreseen = store.collect(Care::DryRun).unwrap();
        prop_assert_eq!(&foreseen, &store.collect(Care::Thorough).unwrap());
        prop_assert_eq!(blobs(store.dir()), needed(store.dir()));
        for (job, expected) in jobs.iter().zip(&model) {
            for (number, seed) in expected {
                assert_holds(&store.load(job, Some(*number)).unwrap(), *seed);
            }
        }
        let report = store.verify().unwrap();
        prop_assert_eq!((report.good, &report.damages[..]), (report.checkpoints, &[][..]));
        prop_assert_eq!((report.unreferenced, report.unreferenced_bytes), (vec![], 0));
    }
}

#[derive(Clone, Debug)]
enum ChainStep {
    /// Writes these bytes into this page, and saves what changed.
    Change(u8, u8),
    Squash,
    /// Of those that are listed; 0 is the newest, which a running job builds on.
    Remove(u8),
    Retain(u32),
}

fn chain_step() -> impl Strategy<Value = ChainStep> {
    prop_oneof![
        6 => any::<(u8, u8)>().prop_map(|(page, byte)| ChainStep::Change(page % 64, byte)),
        2 => Just(ChainStep::Squash),
        1 => any::<u8>().prop_map(ChainStep::Remove),
        1 => (1..4u32).prop_map(ChainStep::Retain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Checkpoints that build on each other: layers stay as long as one of them is there.
    #[test]
    fn chains_of_layers_stay_whole(steps in proptest::collection::vec(chain_step(), 1..24)) {
        let (_dir, store) = store_of(&[]);
        let sample = Sample::new(1);
        let mut now = sample.memories.clone();
        let mut parent = None;
        let mut squashed = Vec::new();
        let mut model: Vec<(u64, Vec<u8>)> = Vec::new();
        for step in steps {
            match step {
                ChainStep::Change(page, byte) => {
                    let at = page as usize * 4096;
                    now[0][at..at + 4096].fill(byte);
                    let runs = [(u64::from(page), &now[0][at..at + 4096])];
                    let changed = [
                        MemoryPages::changed(0, sample.state.memories[0].pages, &runs),
                        MemoryPages::changed(1, sample.state.memories[1].pages, &[]),
                    ];
                    let whole: Vec<_> =
                        (0..).zip(&now).map(|(i, bytes)| MemoryPages::whole(i, bytes)).collect();
                    let all = || NewCheckpoint::new(MODULE, &sample.state, &whole);
                    let saved = match &parent {
                        Some(parent) => {
                            let new = NewCheckpoint::new(MODULE, &sample.state, &changed);
                            let squashed = std::mem::take(&mut squashed);
                            let new = NewCheckpoint { parent: Some(parent), squashed, deltas: true, ..new };
                            match store.save_as_parent("sim", new) {
                                // Only where it was removed by hand.
                                Err(StoreError::NoParent) => store.save_as_parent("sim", all()),
                                saved => saved,
                            }
                        }
                        None => store.save_as_parent("sim", all()),
                    };
                    let (saved, next) = saved.unwrap();
                    model.push((saved.number, now[0].clone()));
                    parent = Some(next);
                }
                ChainStep::Squash => {
                    let Some(parent) = &parent else { continue };
                    let stop = std::sync::atomic::AtomicBool::new(false);
                    // What it needs may have been removed.
                    squashed = store.squash(parent, 1, true, &stop).unwrap_or_default();
                }
                ChainStep::Remove(n) => {
                    if model.is_empty() { continue }
                    let at = model.len() - 1 - n as usize % model.len();
                    remove(&store, "sim", &[model.remove(at).0]);
                }
                ChainStep::Retain(last) => {
                    if model.is_empty() { continue }
                    retain(&store, &format!("last={last}"));
                    model.drain(..model.len().saturating_sub(last as usize));
                }
            }
        }
        for (number, memory) in &model {
            let mut read = vec![0; memory.len()];
            store.load("sim", Some(*number)).unwrap().read_memory(0, &mut read).unwrap();
            prop_assert!(read == *memory, "sim@{}", number);
        }
        // Nobody wants the squashed layers any more.
        drop(squashed);
        store.collect(Care::Thorough).unwrap();
        prop_assert_eq!(blobs(store.dir()), needed(store.dir()));
        let report = store.verify().unwrap();
        prop_assert_eq!((report.good, &report.damages[..]), (model.len(), &[][..]));
    }
}

/// Squashed layers that a living process keeps for its next checkpoint are not garbage; a dead one's are.
#[test]
fn squashed_layers_that_somebody_wants_stay() {
    let (_dir, store) = store_of(&[]);
    let blobs = store.dir().join("blobs/sha256");
    for name in [".squash-1-1", ".squash-1-2"] {
        std::fs::write(blobs.join(name), "half").unwrap();
    }
    let wanted = std::fs::File::open(blobs.join(".squash-1-1")).unwrap();
    wanted.lock().unwrap();
    let report = store.collect(Care::Thorough).unwrap();
    assert_eq!(report.deleted, [Path::new("blobs/sha256/.squash-1-2")]);
    assert!(blobs.join(".squash-1-1").exists());
}

#[test]
fn what_is_not_there_cannot_be_removed() {
    let (_dir, store) = store_of(&[1, 2]);
    let before = files(store.dir());
    let names = |job: &str, n| vec![("sim".to_owned(), 1), (job.to_owned(), n)];
    let error = store.remove(&names("sim", 3), Care::Thorough).unwrap_err();
    assert!(matches!(error, StoreError::NoCheckpoint { number: 3, .. }), "{error}");
    let error = store.remove(&names("other", 1), Care::Thorough).unwrap_err();
    assert!(matches!(error, StoreError::NoJob { .. }), "{error}");
    assert_eq!(files(store.dir()), before);
}

#[test]
fn a_dry_run_changes_nothing() {
    let (_dir, store) = store_of(&[1, 2, 3]);
    std::fs::write(store.dir().join("blobs/sha256/.tmp-1-1"), "left").unwrap();
    std::fs::write(store.dir().join("blobs/sha256").join("ab".repeat(32)), "left").unwrap();
    std::fs::remove_file(store.dir().join(".dormouse-index.lock")).unwrap();
    let before = files(store.dir());
    let rules = Retention { last: Some(1), ..Retention::default() };
    let jobs = ["sim".to_owned()];
    let foreseen = store.retain(&jobs, &rules, Care::DryRun).unwrap();
    assert_eq!(foreseen.removed.len(), 2);
    store.remove(&[("sim".to_owned(), 3)], Care::DryRun).unwrap();
    assert_eq!(files(store.dir()), before);
    let done = store.retain(&jobs, &rules, Care::Thorough).unwrap();
    assert_eq!(done, foreseen);
    let after: usize = files(store.dir()).values().map(Vec::len).sum();
    let freed = before.values().map(Vec::len).sum::<usize>() - after;
    let list =
        |files: &std::collections::BTreeMap<PathBuf, Vec<u8>>| files[Path::new("index.json")].len();
    let list_shrank = list(&before) - list(&files(store.dir()));
    assert_eq!(done.bytes, (freed - list_shrank) as u64);
}

fn manifest(store: &Store, number: u64) -> PathBuf {
    let info = store.list("sim").unwrap().into_iter().find(|c| c.number == number).unwrap();
    store.dir().join("blobs/sha256").join(&info.digest["sha256:".len()..])
}

fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn the_newest_good_one_stays() {
    for damaged in [[5, 5], [5, 4]] {
        let (_dir, store) = store_of(&[1, 2, 3, 4, 5]);
        for number in damaged {
            let text = std::fs::read(manifest(&store, number)).unwrap();
            let json: Value = serde_json::from_slice(&text).unwrap();
            let state = &json["config"]["digest"].as_str().unwrap()["sha256:".len()..];
            std::fs::write(store.dir().join("blobs/sha256").join(state), "rotten").unwrap();
        }
        let good = damaged[1] - 1;
        for rules in ["last=1", "max-store=1", "last=1 max-store=1", "within=0ms"] {
            let report = retain(&store, rules);
            assert_eq!(numbers(&store, "sim"), [good, 5], "{rules}");
            assert_eq!(report.over.len(), usize::from(rules.contains("max")), "{rules}");
        }
        assert_holds(&store.load("sim", None).unwrap(), good as u32);
    }
}

#[test]
fn nothing_is_deleted_while_a_manifest_cannot_be_read() {
    let (_dir, store) = store_of(&[1, 2, 3]);
    flip_a_bit(&manifest(&store, 2));
    let before = blobs(store.dir());
    let report = remove(&store, "sim", &[1]);
    assert_eq!((report.removed.len(), report.deleted.len(), report.held_up.len()), (1, 0, 1));
    assert_eq!(report.held_up[0].checkpoint.as_deref(), Some("sim@2"));
    assert_eq!((numbers(&store, "sim"), blobs(store.dir())), (vec![2, 3], before));
    // Once it is gone itself, all is known again.
    let report = remove(&store, "sim", &[2]);
    assert_eq!(report.held_up, []);
    assert_eq!(blobs(store.dir()), needed(store.dir()));
    assert_holds(&store.load("sim", None).unwrap(), 3);
}

#[test]
fn a_damaged_list_is_mended_first() {
    let (_dir, store) = store_of(&[1, 2, 3]);
    let list = store.dir().join("index.json");
    flip_a_bit(&list);
    let before = blobs(store.dir());
    let report = remove(&store, "sim", &[3]);
    assert_eq!((report.removed.len(), report.deleted.len(), report.held_up.len()), (1, 0, 1));
    assert_eq!((numbers(&store, "sim"), blobs(store.dir())), (vec![1, 2], before));
    assert_eq!(store.verify().unwrap().damages, []);
    let report = store.collect(Care::Thorough).unwrap();
    assert_eq!((report.held_up.len(), report.deleted.len()), (0, 4));
    assert_eq!(save(&store, "sim", 4).number, 4);
}

#[test]
fn numbers_survive_the_last_checkpoint() {
    let (_dir, store) = store_of(&[1, 2]);
    remove(&store, "sim", &[1, 2]);
    assert_eq!((numbers(&store, "sim"), blobs(store.dir()).len()), (vec![], 0));
    assert!(matches!(store.load("sim", None), Err(StoreError::NoJob { .. })));
    // Also where this handle knows the module to be there.
    assert_eq!(save(&store, "sim", 3).number, 3);
    assert_holds(&store.load("sim", None).unwrap(), 3);
}

/// An image of another tool: index -> manifest -> config, layer; the second platform's is absent.
fn foreign(dir: &Path) -> [PathBuf; 4] {
    let blob = |bytes: &[u8]| {
        let hex: String =
            dormouse_store::sha256(bytes).iter().map(|b| format!("{b:02x}")).collect();
        std::fs::write(dir.join("blobs/sha256").join(&hex), bytes).unwrap();
        (format!("sha256:{hex}"), Path::new("blobs/sha256").join(hex))
    };
    let (layer, layer_path) = blob(b"\x1f\x8b a layer");
    let (config, config_path) = blob(br#"{"architecture":"amd64"}"#);
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{config}"}},"layers":[{{"digest":"{layer}"}}]}}"#
    );
    let (manifest, manifest_path) = blob(manifest.as_bytes());
    let absent = "cd".repeat(32);
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"digest":"{manifest}"}},{{"digest":"sha256:{absent}"}}]}}"#
    );
    let (index, index_path) = blob(index.as_bytes());
    let list = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json",
        "digest":"{index}","size":7,"annotations":{{"org.opencontainers.image.ref.name":"box"}}}}]}}"#
    );
    std::fs::write(dir.join("index.json"), list).unwrap();
    [layer_path, config_path, manifest_path, index_path]
}

#[test]
fn other_tools_images_stay() {
    let (_dir, store) = store_of(&[]);
    let theirs = foreign(store.dir());
    save(&store, "sim", 1);
    assert_eq!(store.verify().unwrap().unreferenced, Vec::<PathBuf>::new());
    remove(&store, "sim", &[1]);
    assert_eq!(blobs(store.dir()), theirs.iter().cloned().collect());
    let (layer, other) = (&theirs[0], &theirs[1..]);
    flip_a_bit(&store.dir().join(layer));
    assert_eq!(store.collect(Care::Thorough).unwrap().held_up, [], "it leads nowhere");
    let orphan = store.dir().join("blobs/sha256").join("ab".repeat(32));
    std::fs::write(&orphan, "left").unwrap();
    for path in &other[1..] {
        let good = std::fs::read(store.dir().join(path)).unwrap();
        flip_a_bit(&store.dir().join(path));
        let report = store.collect(Care::Thorough).unwrap();
        assert_eq!((report.held_up.len(), report.deleted.len()), (1, 0));
        assert!(report.held_up[0].to_string().contains("another tool's image"));
        std::fs::write(store.dir().join(path), good).unwrap();
    }
    assert_eq!(store.collect(Care::Thorough).unwrap().deleted.len(), 1);
    assert_eq!(blobs(store.dir()), theirs.into_iter().collect());
}

#[test]
fn strange_files_stay_and_old_downloads_go() {
    let (_dir, store) = store_of(&[1]);
    let blobs = store.dir().join("blobs/sha256");
    for name in ["thesis.tex", ".part-new", ".part-old"] {
        std::fs::write(blobs.join(name), "x").unwrap();
    }
    std::fs::create_dir(blobs.join("ef".repeat(32))).unwrap();
    let old = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    let file = std::fs::File::options().write(true).open(blobs.join(".part-old")).unwrap();
    file.set_modified(old).unwrap();
    let report = store.collect(Care::Thorough).unwrap();
    assert_eq!(report.deleted, [Path::new("blobs/sha256/.part-old")]);
    assert!(blobs.join("thesis.tex").exists() && blobs.join(".part-new").exists());
}

#[test]
fn a_quota_takes_the_oldest() {
    // 1, 2 and 4 share memories and state.
    let (_dir, store) = store_of(&[7, 7, 8, 7, 9]);
    let sizes = store.sizes().unwrap();
    let own = |at: usize| sizes.checkpoints[at].sizes.unwrap().own;
    let total = sizes.total;
    assert_eq!(sizes.jobs["sim"], total);
    for at in [0, 1, 3] {
        assert!(own(at) < 2000 && own(2) > 20_000, "a manifest only: {}", own(at));
    }
    assert_eq!(retain(&store, &format!("max-store={total}")).removed, []);
    let report = retain(&store, &format!("max-store={}", total - 1));
    assert_eq!(report.removed.iter().map(|c| c.number).collect::<Vec<_>>(), [1]);
    assert_eq!((report.bytes, &report.over[..]), (own(0), &[][..]));
    assert_eq!(store.sizes().unwrap().total, total - own(0));
    // Two manifests are not enough: all up to @3 go, since @4 still shares.
    let limit = total - own(0) - own(1) - 1;
    retain(&store, &format!("max-store={limit}"));
    assert_eq!(numbers(&store, "sim"), [4, 5]);
    let report = retain(&store, "max-store=10");
    assert_eq!(numbers(&store, "sim"), [5]);
    let [over] = &report.over[..] else { panic!("{:?}", report.over) };
    assert_eq!((over.bytes, over.limit), (store.sizes().unwrap().total, 10));
}

#[test]
fn sizes_say_what_a_removal_frees() {
    let (_dir, store) = store_of(&[1, 2, 1, 3]);
    save(&store, "other", 2);
    std::fs::write(store.dir().join("blobs/sha256").join("ab".repeat(32)), "left").unwrap();
    let sizes = store.sizes().unwrap();
    let on_disk: u64 = files(&store.dir().join("blobs")).values().map(|b| b.len() as u64).sum();
    assert_eq!((sizes.total + sizes.unreferenced, sizes.unreferenced), (on_disk, 4));
    assert!(sizes.jobs.values().sum::<u64>() > sizes.total, "what two jobs share counts for each");
    store.collect(Care::Thorough).unwrap();
    for checkpoint in &sizes.checkpoints {
        let info = &checkpoint.info;
        let names = [(info.job.clone(), info.number)];
        let foreseen = store.remove(&names, Care::DryRun).unwrap();
        assert_eq!(foreseen.bytes, checkpoint.sizes.unwrap().own, "{}", info.name());
    }
    flip_a_bit(&manifest(&store, 2));
    let sizes = store.sizes().unwrap();
    assert_eq!(sizes.checkpoints.iter().filter(|c| c.sizes.is_none()).count(), 1);
}

#[test]
fn whoever_is_saving_is_waited_for() {
    let (_dir, store) = store_of(&[1, 2]);
    let saving = std::fs::File::open(store.dir().join(".dormouse.lock")).unwrap();
    saving.lock_shared().unwrap();
    let jobs = ["sim".to_owned()];
    let rules = Retention { last: Some(1), ..Retention::default() };
    let brief = Care::Brief(Duration::from_millis(50));
    let error = store.retain(&jobs, &rules, brief).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    assert_eq!(numbers(&store, "sim"), [1, 2]);
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| retain(&store, "last=1"));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        saving.unlock().unwrap();
        assert_eq!(waiting.join().unwrap().removed.len(), 1);
    });
    assert_eq!(numbers(&store, "sim"), [2]);
}

/// Not a test of its own: what the processes below run.
#[test]
fn process() {
    let (Some(dir), Ok(role)) =
        (std::env::var_os("DORMOUSE_TEST_STORE"), std::env::var("DORMOUSE_TEST_ROLE"))
    else {
        return;
    };
    let store = Store::open(Path::new(&dir)).unwrap();
    let done = store.dir().parent().unwrap().join("done");
    let mut rounds = 0;
    match role.as_str() {
        // The n-th checkpoint holds the n-th sample.
        "save" => {
            for n in 2..=ROUNDS {
                assert_eq!(save(&store, "sim", n).number, u64::from(n));
                // A module of its own now and then, which goes and comes back.
                save(&store, "other", n % 3);
                rounds += 1;
            }
            std::fs::write(done, "").unwrap();
        }
        "collect" => {
            while !done.exists() {
                retain(&store, "last=1");
                let other = store.list("other").unwrap();
                if other.len() > 1 {
                    let names = [("other".to_owned(), other[0].number)];
                    match store.remove(&names, Care::Thorough) {
                        // The other one was faster.
                        Ok(_) | Err(StoreError::NoCheckpoint { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                rounds += 1;
            }
        }
        _ => {
            while !done.exists() {
                let checkpoint = store.load("sim", None).unwrap();
                assert_eq!(checkpoint.warnings, []);
                assert_holds(&checkpoint, checkpoint.info.number as u32);
                rounds += 1;
            }
        }
    }
    println!("ROUNDS {rounds}");
}

const ROUNDS: u32 = 80;

#[test]
fn saves_loads_and_collections_at_once() {
    let (_dir, store) = store_of(&[1]);
    let start = |role: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process", "--nocapture", "--test-threads=1"]);
        command.env("DORMOUSE_TEST_STORE", store.dir()).env("DORMOUSE_TEST_ROLE", role);
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let children = ["collect", "load", "collect", "save"].map(|role| (role, start(role)));
    for (role, child) in children {
        let output = child.wait_with_output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{role}: {out}");
        let rounds = out.split("ROUNDS ").nth(1).unwrap();
        let rounds: u32 = rounds.split_whitespace().next().unwrap().parse().unwrap();
        assert!(rounds > 5, "{role}: {rounds} rounds");
    }
    retain(&store, "last=1");
    assert_eq!(numbers(&store, "sim"), [u64::from(ROUNDS)]);
    let report = store.verify().unwrap();
    assert_eq!((report.damages, report.unreferenced), (vec![], vec![]));
    assert_eq!(blobs(store.dir()), needed(store.dir()));
}

/// What was opened is what is verified, whatever has become of its name.
#[test]
fn a_checkpoint_that_is_being_read_may_be_removed() {
    let (_dir, store) = store_of(&[7]);
    let checkpoint = store.load_lazily("sim", None).unwrap();
    remove(&store, "sim", &[1]);
    assert!(store.load("sim", None).is_err());
    assert_holds(&checkpoint, 7);
    checkpoint.verify_memories().unwrap();
}
