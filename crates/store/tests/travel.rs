//! Checkpoints that leave one store for another.

mod sample;

use dormouse_store::{Arrival, BlobRef, Care, Incoming, Store, StoreError};
use sample::{assert_holds, save};
use std::io::Read;
use std::time::Duration;

fn two_stores() -> (tempfile::TempDir, Store, Store) {
    let dir = tempfile::tempdir().unwrap();
    let from = Store::create_or_open(&dir.path().join("from")).unwrap();
    let to = Store::create_or_open(&dir.path().join("to")).unwrap();
    (dir, from, to)
}

fn bytes(from: &Store, blob: &BlobRef) -> Vec<u8> {
    let mut bytes = vec![];
    from.open_blob(blob).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn wanted<'a>(to: &'a Store, manifest: &[u8], name: Option<&str>) -> Incoming<'a> {
    match to.import(manifest, name).unwrap() {
        Arrival::Wanted(incoming) => incoming,
        Arrival::Here(info) => panic!("{info:?}"),
    }
}

fn fetch(from: &Store, incoming: &Incoming<'_>) {
    for blob in incoming.missing() {
        let bytes = bytes(from, blob);
        let mut part = incoming.receive(blob).unwrap().unwrap();
        part.write(&bytes[part.len() as usize..]).unwrap();
        part.finish().unwrap();
    }
}

#[test]
fn a_checkpoint_travels() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    let saved = save(&from, "sim", 2);
    let image = from.export("sim", None).unwrap();
    assert_eq!((&image.info, image.blobs.len()), (&saved, 4));

    let incoming = wanted(&to, &image.manifest, None);
    assert_eq!(incoming.missing(), image.blobs);
    fetch(&from, &incoming);
    // What has come is not garbage while it is awaited.
    let busy = to.collect(Care::Brief(Duration::from_millis(10)));
    assert!(matches!(busy, Err(StoreError::Busy { .. })));
    assert!(to.list("sim").unwrap().is_empty(), "seen only when all of it is there");
    let taken = incoming.commit().unwrap();
    assert_eq!(taken, saved);
    let listed = to.list("sim").unwrap().pop().unwrap();
    assert!(listed.pulled && !from.list("sim").unwrap()[0].pulled);
    assert!(to.load("sim", None).unwrap().info.pulled, "what it remembers is a stranger's word");
    assert_holds(&to.load("sim", Some(2)).unwrap(), 2);
    let report = to.verify().unwrap();
    assert_eq!((report.good, report.damages, report.unreferenced), (1, vec![], vec![]));

    // Once more: nothing to do. The next one has the module already.
    assert!(
        matches!(to.import(&image.manifest, None).unwrap(), Arrival::Here(info) if info.digest == saved.digest)
    );
    drop(image);
    let first = from.export("sim", Some(1)).unwrap();
    let incoming = wanted(&to, &first.manifest, None);
    assert_eq!(incoming.missing().len(), 3);
    fetch(&from, &incoming);
    assert_eq!(incoming.commit().unwrap().name(), "sim@1");
    // An older one that came later does not make a number come again.
    assert_eq!(save(&to, "sim", 3).name(), "sim@3");
}

#[test]
fn another_name_makes_room() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    save(&to, "sim", 7);
    let image = from.export("sim", None).unwrap();
    let taken = to.import(&image.manifest, None).unwrap_err();
    assert!(matches!(taken, StoreError::Taken { .. }), "{taken}");
    assert!(taken.to_string().contains("another checkpoint sim@1 already"), "{taken}");

    let incoming = wanted(&to, &image.manifest, Some("other"));
    fetch(&from, &incoming);
    assert_eq!(incoming.commit().unwrap().name(), "other@1");
    assert_holds(&to.load("other", None).unwrap(), 1);
    assert_holds(&to.load("sim", None).unwrap(), 7);
    // The same once more is the same, not a second one.
    assert!(matches!(to.import(&image.manifest, Some("other")).unwrap(), Arrival::Here(_)));
    // Under the name of a job that has others, it gets the next number.
    let incoming = wanted(&to, &image.manifest, Some("sim"));
    assert!(incoming.missing().is_empty());
    assert_eq!(incoming.commit().unwrap().name(), "sim@2");
    assert!(to.import(&image.manifest, Some("a/b")).is_err());
}

#[test]
fn what_was_cut_short_goes_on() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    save(&to, "old", 5);
    let image = from.export("sim", None).unwrap();
    let incoming = wanted(&to, &image.manifest, None);
    let largest = *incoming.missing().iter().max_by_key(|b| b.size).unwrap();
    let all = bytes(&from, &largest);
    let mut part = incoming.receive(&largest).unwrap().unwrap();
    part.write(&all[..1000]).unwrap();
    drop(part);
    drop(incoming);

    // A save sweeps what dead saves left, but not this.
    save(&to, "old", 6);
    to.collect(Care::Thorough).unwrap();
    // Neither does a collection, and it is no garbage, for a week.
    assert_eq!(to.verify().unwrap().unreferenced.len(), 0);
    let incoming = wanted(&to, &image.manifest, None);
    assert_eq!(incoming.arrived(&largest), 1000);
    let mut part = incoming.receive(&largest).unwrap().unwrap();
    assert_eq!(part.len(), 1000);
    assert!(matches!(part.write(&all), Err(StoreError::WrongLength { .. })));
    part.write(&all[1000..]).unwrap();
    part.finish().unwrap();
    for blob in incoming.missing() {
        let Some(mut part) = incoming.receive(blob).unwrap() else { continue };
        part.write(&bytes(&from, blob)).unwrap();
        part.finish().unwrap();
    }
    incoming.commit().unwrap();
    assert_holds(&to.load("sim", None).unwrap(), 1);
    assert_eq!(to.verify().unwrap().unreferenced.len(), 0);
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    use std::os::unix::fs::symlink;
    let (dir, from, to) = two_stores();
    save(&from, "sim", 1);
    let image = from.export("sim", None).unwrap();
    let letter = dir.path().join("letter");
    std::fs::write(&letter, "dear").unwrap();
    let incoming = wanted(&to, &image.manifest, None);
    let blob = incoming.missing()[0];
    let part = to.dir().join("blobs/sha256").join(blob.name().replace("sha256:", ".part-"));
    symlink(&letter, &part).unwrap();
    assert_eq!(incoming.arrived(&blob), 0);
    let refused = incoming.receive(&blob).err().unwrap().to_string();
    assert!(refused.contains(".part-") && refused.contains("remove it"), "{refused}");
    // Neither is a file made where a link leads.
    let nowhere = dir.path().join("nowhere");
    std::fs::remove_file(&part).unwrap();
    symlink(&nowhere, &part).unwrap();
    assert!(incoming.receive(&blob).is_err());
    std::fs::remove_file(&part).unwrap();
    std::fs::create_dir(&part).unwrap();
    assert!(incoming.receive(&blob).is_err());
    std::fs::remove_dir(&part).unwrap();
    fetch(&from, &incoming);
    incoming.commit().unwrap();
    assert_holds(&to.load("sim", None).unwrap(), 1);

    let lock = to.dir().join(".dormouse.lock");
    std::fs::remove_file(&lock).unwrap();
    symlink(&nowhere, &lock).unwrap();
    let refused = to.import(&image.manifest, None).unwrap_err().to_string();
    assert!(refused.contains(".dormouse.lock") && refused.contains("remove it"), "{refused}");
    assert!(!nowhere.exists());
    assert_eq!(std::fs::read_to_string(&letter).unwrap(), "dear");
}

#[test]
fn other_bytes_are_refused() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    let image = from.export("sim", None).unwrap();
    let incoming = wanted(&to, &image.manifest, None);
    let blob = incoming.missing()[0];
    let mut wrong = bytes(&from, &blob);
    wrong[3] ^= 1;
    let mut part = incoming.receive(&blob).unwrap().unwrap();
    part.write(&wrong).unwrap();
    assert!(matches!(part.finish(), Err(StoreError::WrongBytes { .. })));
    assert_eq!(incoming.arrived(&blob), 0, "nothing of it is kept");
    let part = incoming.receive(&blob).unwrap().unwrap();
    assert!(matches!(part.finish(), Err(StoreError::WrongLength { .. })));
    // Not all of it is there.
    assert!(matches!(incoming.commit(), Err(StoreError::Damaged(_))));
    assert!(to.list("sim").unwrap().is_empty());
}

#[test]
fn a_damaged_checkpoint_is_mended_and_never_sent() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    save(&from, "sim", 2);
    let image = from.export("sim", Some(2)).unwrap();
    let incoming = wanted(&to, &image.manifest, None);
    fetch(&from, &incoming);
    incoming.commit().unwrap();
    let path = |store: &Store, blob: &BlobRef| {
        store.dir().join("blobs/sha256").join(&blob.name()["sha256:".len()..])
    };
    let state = image.blobs[0];
    std::fs::write(path(&to, &state), vec![0; state.size as usize]).unwrap();
    let to = Store::open(to.dir()).unwrap();
    assert!(matches!(to.export("sim", Some(2)), Err(StoreError::Damaged(_))));
    let incoming = wanted(&to, &image.manifest, None);
    assert_eq!(incoming.missing(), [state]);
    fetch(&from, &incoming);
    incoming.commit().unwrap();
    assert_holds(&to.load("sim", None).unwrap(), 2);
    assert_eq!(to.list("sim").unwrap().len(), 1);

    std::fs::write(path(&from, &state), vec![0; state.size as usize]).unwrap();
    let fallen_back = from.export("sim", None).unwrap();
    assert_eq!((fallen_back.info.number, fallen_back.warnings.len()), (1, 1));
    assert!(matches!(from.export("sim", Some(3)), Err(StoreError::NoCheckpoint { .. })));
    assert!(matches!(from.export("other", None), Err(StoreError::NoJob { .. })));
}

#[test]
fn strangers_are_bounded() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    let image = from.export("sim", None).unwrap();
    let good: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
    let refuse = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut manifest = good.clone();
        change(&mut manifest);
        to.import(&serde_json::to_vec(&manifest).unwrap(), None).unwrap_err()
    };
    let foreign = |change: &dyn Fn(&mut serde_json::Value), why: &str| {
        let error = refuse(change);
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    };
    foreign(
        &|m| m["artifactType"] = "application/x-cake".into(),
        "not the manifest of a checkpoint",
    );
    foreign(&|m| m["config"]["size"] = (1u64 << 50).into(), "bytes; at most");
    foreign(&|m| m["layers"][0]["size"] = (1u64 << 50).into(), "bytes; at most");
    foreign(&|m| m["layers"][1]["size"] = (1u64 << 50).into(), "bytes; at most");
    foreign(
        &|m| {
            let digest = m["layers"][0]["digest"].clone();
            m["layers"][1]["digest"] = digest;
        },
        "has two sizes",
    );
    foreign(&|m| m["annotations"]["io.dormouse.job"] = "../../x".into(), "does not name its job");
    let newer = refuse(&|m| m["artifactType"] = "application/vnd.dormouse.checkpoint.v9".into());
    assert!(matches!(newer, StoreError::Unsupported { .. }), "{newer}");
    let newer =
        refuse(&|m| m["layers"][1]["mediaType"] = "application/vnd.dormouse.memory.v7".into());
    assert!(matches!(newer, StoreError::Unsupported { .. }), "{newer}");
    // As much as the limits allow, which no disk here holds.
    let large = refuse(&|m| m["layers"][1]["size"] = (1u64 << 40).into());
    assert!(matches!(large, StoreError::NoSpace { .. }), "{large}");
    for junk in [&b""[..], b"{", b"[]", b"null", &vec![b' '; 5 << 20]] {
        assert!(matches!(to.import(junk, None), Err(StoreError::Foreign { .. })));
    }
    // Every part is good, but they do not belong together.
    let mixed = {
        let mut manifest = good.clone();
        save(&from, "sim", 2);
        let other = from.export("sim", Some(2)).unwrap();
        let other: serde_json::Value = serde_json::from_slice(&other.manifest).unwrap();
        manifest["layers"][2] = other["layers"][1].clone();
        manifest["layers"][2]["annotations"]["io.dormouse.memory"] = "1".into();
        serde_json::to_vec(&manifest).unwrap()
    };
    let incoming = wanted(&to, &mixed, None);
    fetch(&from, &incoming);
    assert!(matches!(incoming.commit(), Err(StoreError::Damaged(_))));
    assert!(to.list("sim").unwrap().is_empty());
    let many = refuse(&|m| {
        let layer = m["layers"][1].clone();
        let layers = (0..5000u32).map(|i| {
            let mut layer = layer.clone();
            layer["digest"] = format!("sha256:{i:064x}").into();
            layer["annotations"]["io.dormouse.memory"] = i.to_string().into();
            layer
        });
        let module = m["layers"][0].clone();
        m["layers"] = std::iter::once(module).chain(layers).collect();
    });
    assert!(many.to_string().contains("more than 4096 blobs"), "{many}");
}
