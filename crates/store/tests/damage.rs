//! Every file of a store, truncated, with flipped bits, replaced or gone: `load` names the file,
//! and gives the newest good checkpoint.

mod sample;

use dormouse_store::{DamageKind, Store, StoreError};
use sample::{assert_holds, files, save};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A store with sim@1, sim@2, sim@3; and the files that only sim@3 needs.
fn three() -> (tempfile::TempDir, BTreeSet<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    save(&store, "sim", 1);
    save(&store, "sim", 2);
    let before: BTreeSet<_> = files(dir.path()).into_keys().collect();
    save(&store, "sim", 3);
    let new = files(dir.path()).into_keys().filter(|path| !before.contains(path)).collect();
    (dir, new)
}

/// Ways to damage a file; `None` removes it.
fn damaged(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut ways = vec![None, Some(vec![]), Some(vec![0; bytes.len()]), Some(b"{}".to_vec())];
    for len in [1, bytes.len() / 2, bytes.len() - 1] {
        ways.push(Some(bytes[..len].to_vec()));
    }
    ways.push(Some([bytes, b"x"].concat()));
    let every = (bytes.len() / 40).max(1);
    for at in (0..bytes.len()).step_by(every) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        ways.push(Some(flipped));
    }
    ways.retain(|way| way.as_deref() != Some(bytes));
    ways
}

fn apply(path: &Path, damage: &Option<Vec<u8>>) {
    match damage {
        Some(bytes) => std::fs::write(path, bytes).unwrap(),
        None => std::fs::remove_file(path).unwrap(),
    }
}

#[test]
fn every_file_of_the_newest() {
    let (dir, new) = three();
    assert_eq!(new.len(), 4, "manifest, state, two memories");
    for path in &new {
        let original = std::fs::read(dir.path().join(path)).unwrap();
        for damage in damaged(&original) {
            apply(&dir.path().join(path), &damage);
            let store = Store::open(dir.path()).unwrap();
            let checkpoint = store.load("sim", None).unwrap();
            assert_eq!(checkpoint.info.number, 2);
            assert_holds(&checkpoint, 2);
            let [warning] = &checkpoint.warnings[..] else { panic!("{:?}", checkpoint.warnings) };
            assert_eq!((&warning.path, warning.checkpoint.as_deref()), (path, Some("sim@3")));
            assert_eq!(warning.kind == DamageKind::Missing, damage.is_none());

            let Err(StoreError::Damaged(asked)) = store.load("sim", Some(3)) else { panic!() };
            assert_eq!(asked, *warning);
            assert_holds(&store.load("sim", Some(1)).unwrap(), 1);
            let report = store.verify().unwrap();
            assert_eq!((report.good, &report.damages[..]), (2, &[asked][..]));
        }
        std::fs::write(dir.path().join(path), original).unwrap();
    }
    assert_eq!(Store::open(dir.path()).unwrap().verify().unwrap().good, 3);
}

#[test]
fn the_shared_module() {
    let (dir, _) = three();
    let store = Store::open(dir.path()).unwrap();
    let digest = store.list("sim").unwrap()[0].module_digest.clone();
    let path = Path::new("blobs/sha256").join(&digest["sha256:".len()..]);
    let original = std::fs::read(dir.path().join(&path)).unwrap();
    for damage in damaged(&original) {
        apply(&dir.path().join(&path), &damage);
        let Err(StoreError::AllDamaged { damages, .. }) = store.load("sim", None) else { panic!() };
        assert!(damages.len() == 3 && damages.iter().all(|d| d.path == path && d.what == "module"));
    }
}

/// No flip in the list, wherever it is, hides a checkpoint or passes unnoticed.
#[test]
fn the_list() {
    let (dir, _) = three();
    let path = dir.path().join("index.json");
    let original = std::fs::read(&path).unwrap();
    let mut ways = damaged(&original);
    ways.extend((0..original.len()).map(|at| {
        let mut flipped = original.clone();
        flipped[at] ^= 1 << (at % 7);
        Some(flipped)
    }));
    for damage in ways {
        apply(&path, &damage);
        let store = Store::open(dir.path()).unwrap();
        let checkpoint = store.load("sim", None).unwrap();
        assert_holds(&checkpoint, 3);
        assert!(checkpoint.warnings.iter().any(|w| w.path == Path::new("index.json")));
        assert_holds(&store.load("sim", Some(2)).unwrap(), 2);
    }
    // The next save mends it.
    std::fs::remove_file(&path).unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    assert_eq!(save(&store, "sim", 4).number, 4);
    assert_eq!(store.list("sim").unwrap().len(), 4);
    assert_eq!(store.load("sim", None).unwrap().warnings, []);
}

#[test]
fn the_layout_file() {
    let (dir, _) = three();
    let path = dir.path().join("oci-layout");
    let original = std::fs::read(&path).unwrap();
    for damage in damaged(&original) {
        apply(&path, &damage);
        let checkpoint = Store::open(dir.path()).unwrap().load("sim", None).unwrap();
        assert_holds(&checkpoint, 3);
        // Some flips do no harm: {"imageLayoutVersion" may well be followed by a tab.
        let harmless = damage.is_some_and(|bytes| {
            serde_json::from_slice::<serde_json::Value>(&bytes).is_ok_and(|json| {
                json.get("imageLayoutVersion").and_then(|v| v.as_str()) == Some("1.0.0")
            })
        });
        let named = checkpoint.warnings.iter().any(|w| w.path == Path::new("oci-layout"));
        assert_ne!(named, harmless);
    }
    std::fs::write(&path, "").unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), original);
    assert_eq!(store.load("sim", None).unwrap().warnings, []);
}

/// Files left by dead writers, and things that are no blobs, bother nobody.
#[test]
fn litter() {
    let (dir, _) = three();
    let blobs = dir.path().join("blobs/sha256");
    std::fs::write(blobs.join(".tmp-1-1"), "half").unwrap();
    std::fs::write(dir.path().join(".tmp-1-2"), "half").unwrap();
    std::fs::write(blobs.join("README"), "{").unwrap();
    std::fs::create_dir(blobs.join("0".repeat(64))).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.load("sim", None).unwrap().warnings, []);
    // What is not named like a file of ours is not counted, and nobody deletes it.
    let report = store.verify().unwrap();
    assert_eq!(report.unreferenced, [Path::new("blobs/sha256/.tmp-1-1")]);
    assert_eq!(report.unreferenced_bytes, 4);
    save(&store, "sim", 4);
    assert!(!blobs.join(".tmp-1-1").exists() && !dir.path().join(".tmp-1-2").exists());
    std::fs::remove_file(dir.path().join("index.json")).unwrap();
    assert_holds(&store.load("sim", None).unwrap(), 4);
}

/// Manifests whose digests all hold, but whose parts do not belong together.
#[test]
fn forged_manifests() {
    type Forge = fn(&mut serde_json::Value, &str);
    let forgeries: [(&str, Forge); 5] = [
        ("manifest", |m, _| m["config"]["digest"] = "sha256:00".into()),
        ("state", |m, other| m["layers"][0]["digest"] = other.into()),
        ("memory 0", |m, _| {
            let swapped = m["layers"][2].clone();
            for key in ["digest", "size"] {
                m["layers"][2][key] = m["layers"][1][key].take();
                m["layers"][1][key] = swapped[key].clone();
            }
        }),
        ("state", |m, _| drop(m["layers"].as_array_mut().unwrap().pop())),
        ("manifest", |m, _| m["layers"].as_array_mut().unwrap().swap(1, 2)),
    ];
    for (what, forge) in forgeries {
        let (dir, _) = three();
        let blobs = dir.path().join("blobs/sha256");
        let store = Store::open(dir.path()).unwrap();
        let newest = store.list("sim").unwrap().pop().unwrap();
        let path = blobs.join(&newest.digest["sha256:".len()..]);
        let mut manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let other = format!("sha256:{}", "ab".repeat(32));
        forge(&mut manifest, &other);
        // Put in its place: the same name in the list, another digest.
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let digest: String =
            dormouse_store::sha256(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        std::fs::write(blobs.join(&digest), &bytes).unwrap();
        let index = dir.path().join("index.json");
        let list = std::fs::read_to_string(&index).unwrap();
        let list = list.replace(&newest.digest["sha256:".len()..], &digest);
        let list = list.replace(
            &format!("\"size\":{}", std::fs::metadata(&path).unwrap().len()),
            &format!("\"size\":{}", bytes.len()),
        );
        std::fs::write(&index, list).unwrap();
        std::fs::remove_file(path).unwrap();
        let checkpoint = store.load("sim", None).unwrap();
        assert_holds(&checkpoint, 2);
        let warning = checkpoint.warnings.last().unwrap();
        assert_eq!((&*warning.what, warning.checkpoint.as_deref()), (what, Some("sim@3")));
        assert!(matches!(warning.kind, DamageKind::Malformed(_)), "{warning}");
    }
}

/// A store written by the first version, kept forever.
#[test]
fn store_v1() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1");
    if std::env::var_os("BLESS").is_some() && !dir.exists() {
        let store = Store::create_or_open(&dir).unwrap();
        save(&store, "sim", 1);
        save(&store, "sim", 2);
    }
    let store = Store::open(&dir).unwrap();
    let checkpoint = store.load("sim", None).unwrap();
    assert_eq!((checkpoint.info.number, &checkpoint.warnings[..]), (2, &[][..]));
    assert_holds(&checkpoint, 2);
    assert_holds(&store.load("sim", Some(1)).unwrap(), 1);
    assert_eq!(store.verify().unwrap().good, 2);
}
