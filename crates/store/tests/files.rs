//! Layers of files: what is saved is read again, shared, collected, verified, sealed; what leads elsewhere is refused.
#![allow(missing_docs)]

use dormouse_state::{Frame, Site, State};
use dormouse_store::{
    Care, CheckpointInfo, DamageKind, FILES_MEDIA_TYPE, FileKind, NewCheckpoint, NewFiles, Parent,
    Store, StoreError, sha256,
};
use std::io::Write as _;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn state() -> State {
    State {
        module_digest: sha256(MODULE),
        frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
        globals: vec![],
        tables: vec![],
        exceptions: vec![],
        memories: vec![],
        host: vec![],
        dropped_data: vec![],
        dropped_elems: vec![],
        wasi: vec![],
    }
}

/// A file, by its contents; `None` is gone.
type Change<'a> = (&'a str, Option<&'a str>);

fn save(
    store: &Store,
    parent: Option<&Parent>,
    changes: &[Change<'_>],
) -> Result<(CheckpointInfo, Parent), StoreError> {
    let mut spool = store.spool()?;
    let mut at = 0;
    let mut items = vec![];
    for (name, text) in changes {
        let text = text.unwrap_or_default();
        let file = FileKind::File { mode: 0o644, mtime: 7, size: text.len() as u64 };
        let kind = if changes.iter().any(|(n, t)| n == name && t.is_none()) {
            FileKind::Gone
        } else {
            file
        };
        spool.write_all(text.as_bytes()).unwrap();
        items.push(((*name).to_owned(), kind, at));
        at += text.len() as u64;
    }
    let files = NewFiles { items: &items, spool: Some(&spool), whole: parent.is_none() };
    let state = state();
    let new =
        NewCheckpoint { parent, files: Some(files), ..NewCheckpoint::new(MODULE, &state, &[]) };
    store.save_as_parent("sim", new)
}

/// What a checkpoint's files come to.
fn held(store: &Store, number: u64) -> Vec<String> {
    let checkpoint = store.load("sim", Some(number)).unwrap();
    let mut held = vec![];
    checkpoint
        .read_files(&mut |name, bytes| {
            held.push(format!("{name} {}", std::io::read_to_string(bytes)?));
            Ok(())
        })
        .unwrap();
    held.sort();
    let files = checkpoint.files().unwrap().iter();
    let gone =
        files.filter(|(_, kind)| **kind == FileKind::Gone).map(|(name, _)| format!("{name} gone"));
    held.extend(gone);
    held
}

#[test]
fn layers_are_shared_and_collected() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    let (first, parent) =
        save(&store, None, &[("0/a", Some("one")), ("0/b", Some("two"))]).unwrap();
    let (second, parent) = save(&store, Some(&parent), &[]).unwrap();
    assert_eq!((first.files_size, parent.file_layers()), (second.files_size, 1));
    let (third, parent) =
        save(&store, Some(&parent), &[("0/a", Some("new")), ("0/b", None)]).unwrap();
    assert!(third.files_size > second.files_size);
    assert_eq!(parent.file_layers(), 2);
    assert_eq!(held(&store, 1), ["0/a one", "0/b two"]);
    assert_eq!(held(&store, 2), held(&store, 1));
    assert_eq!(held(&store, 3), ["0/a new", "0/b gone"]);
    let (_, _) = save(&store, None, &[("0/a", Some("new"))]).unwrap();
    assert_eq!(store.verify().unwrap().good, 4);
    let names =
        |numbers: &[u64]| -> Vec<_> { numbers.iter().map(|n| ("sim".to_owned(), *n)).collect() };
    store.remove(&names(&[1, 2]), Care::Thorough).unwrap();
    assert_eq!(held(&store, 3), ["0/a new", "0/b gone"]);
    let before = store.sizes().unwrap().total;
    let report = store.remove(&names(&[3]), Care::Thorough).unwrap();
    assert_eq!(report.deleted.len(), 3, "the manifest and two layers");
    assert_eq!(store.sizes().unwrap().total + report.bytes, before);
    assert_eq!(held(&store, 4), ["0/a new"]);
}

#[test]
fn the_same_files_make_the_same_blob() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    save(&store, None, &[("0/a", Some("one")), ("0/b", Some("two"))]).unwrap();
    save(&store, None, &[("0/b", Some("two")), ("0/a", Some("one"))]).unwrap();
    let sizes = store.sizes().unwrap();
    let own: Vec<_> = sizes.checkpoints.iter().map(|c| c.sizes.unwrap().own).collect();
    assert!(own.iter().all(|own| *own < 2000), "only the manifests: {own:?}");
    // Module, state, the layer, and two manifests.
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/sha256")).unwrap().count(), 5);
}

#[test]
fn what_leads_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    for name in ["0/../../etc/passwd", "/etc/passwd", "0/a/../b", "0/.wh..wh..opq", "x/a"] {
        let (saved, _) = save(&store, None, &[(name, Some("evil"))]).unwrap();
        let error = store.load("sim", Some(saved.number)).unwrap_err();
        let StoreError::Damaged(damage) = &error else { panic!("{error}") };
        assert!(
            matches!(&damage.kind, DamageKind::Malformed(why) if why.contains("is not plain")),
            "{error}"
        );
        let report = store.verify().unwrap();
        assert_eq!(report.good, 0, "{name}");
        assert!(store.export("sim", Some(saved.number)).is_err());
        store.remove(&[("sim".to_owned(), saved.number)], Care::Thorough).unwrap();
    }
}

#[test]
fn damage_is_told_and_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create_or_open(dir.path()).unwrap();
    let (_, parent) = save(&store, None, &[("0/a", Some("one"))]).unwrap();
    let (second, _) = save(&store, Some(&parent), &[("0/a", Some("two"))]).unwrap();
    let manifest =
        std::fs::read(dir.path().join("blobs/sha256").join(&second.digest[7..])).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers[2]["mediaType"], FILES_MEDIA_TYPE);
    let path = dir.path().join("blobs/sha256").join(&layers[2]["digest"].as_str().unwrap()[7..]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = store.load("sim", Some(2)).unwrap_err().to_string();
    assert!(error.contains("sim@2: files (layer 2 of 2)"), "{error}");
    let checkpoint = store.load("sim", None).unwrap();
    assert_eq!((checkpoint.info.number, checkpoint.warnings.len()), (1, 1));
    assert_eq!(store.verify().unwrap().damages.len(), 1);
    // What it was to build on is gone.
    std::fs::remove_file(&path).unwrap();
    let parent = store.load("sim", Some(1)).unwrap().as_parent();
    assert_eq!(save(&store, Some(&parent), &[("0/b", Some("b"))]).unwrap().0.number, 3);
}

#[test]
fn what_is_sealed_wants_a_key() {
    use age::secrecy::ExposeSecret;
    let dir = tempfile::tempdir().unwrap();
    let plain = Store::create_or_open(dir.path()).unwrap();
    let (_, unsealed) = save(&plain, None, &[("0/a", Some("public"))]).unwrap();
    let secret = age::x25519::Identity::generate();
    let keys = dormouse_store::Keys::default().recipient(&secret.to_public().to_string()).unwrap();
    let store = Store::open(dir.path()).unwrap().with_keys(keys);
    let error = save(&store, Some(&unsealed), &[("0/b", Some("b"))]).unwrap_err();
    assert!(matches!(error, StoreError::NoParent), "{error}");
    let (saved, parent) = save(&store, None, &[("0/a", Some("a secret"))]).unwrap();
    let (second, _) = save(&store, Some(&parent), &[("0/b", Some("another"))]).unwrap();
    assert_eq!(held(&store, second.number), ["0/a a secret", "0/b another"]);
    for entry in std::fs::read_dir(dir.path().join("blobs/sha256")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"a secret"));
    }
    let stranger = Store::open(dir.path()).unwrap();
    let error = stranger.load("sim", Some(saved.number)).unwrap_err();
    assert!(matches!(error, StoreError::NoKey { .. }), "{error}");
    assert_eq!(stranger.verify().unwrap().unopened, 2);
    let keys = dormouse_store::Keys::default();
    let keys = keys.identities(secret.to_string().expose_secret()).unwrap();
    let friend = Store::open(dir.path()).unwrap().with_keys(keys);
    assert_eq!(held(&friend, saved.number), ["0/a a secret"]);
}
