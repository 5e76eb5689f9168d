//! Checkpoints that only holders of a key can read.
#![allow(missing_docs)]
#![cfg(feature = "encryption")]

mod sample;

use age::x25519::Identity;
use dormouse_store::{
    Care, Keys, MemoryPages, NewCheckpoint, PAGE_SIZE, Parent, Retention, Store, StoreError,
};
use sample::{MODULE, Sample, files};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Stands in every state and memory.
const SECRET: &[u8] = b"the combination is twelve thirty-four";

fn recipient(identity: &Identity) -> Keys {
    Keys::default().recipient(&identity.to_public().to_string()).unwrap()
}

fn identity(identity: &Identity) -> Keys {
    use age::secrecy::ExposeSecret;
    let text = format!("# created: today\n{}\n", identity.to_string().expose_secret());
    Keys::default().identities(&text).unwrap()
}

fn memory(n: u8) -> Vec<u8> {
    let mut memory = Sample::new(1).memories[0].clone();
    memory[100..100 + SECRET.len()].copy_from_slice(SECRET);
    for n in 0..=n {
        memory[n as usize * PAGE_SIZE + 7] = n + 1;
    }
    memory
}

fn save(store: &Store, n: u8, parent: Option<&Parent>) -> Result<Parent, StoreError> {
    let mut sample = Sample::new(n.into());
    sample.state.memories.truncate(1);
    sample.state.wasi = SECRET.to_vec();
    let memory = memory(n);
    let page = (u64::from(n), &memory[n as usize * PAGE_SIZE..(n as usize + 1) * PAGE_SIZE]);
    let runs = [page];
    let pages = match parent {
        None => [MemoryPages::whole(0, &memory)],
        Some(_) => [MemoryPages::changed(0, 4, &runs)],
    };
    let go = AtomicBool::new(false);
    let squashed = parent.map(|p| store.squash(p, 2, true, &go).unwrap()).unwrap_or_default();
    let new =
        NewCheckpoint { parent, squashed, ..NewCheckpoint::new(MODULE, &sample.state, &pages) };
    store.save_as_parent("sim", new).map(|(_, parent)| parent)
}

fn holds(store: &Store, number: Option<u64>, n: u8) {
    let checkpoint = store.load("sim", number).unwrap();
    let mut found = vec![0; 4 << 16];
    checkpoint.read_memory(0, &mut found).unwrap();
    assert!(found == memory(n), "sim@{number:?}");
    assert_eq!((checkpoint.module, checkpoint.state.wasi), (MODULE.to_vec(), SECRET.to_vec()));
}

fn has(dir: &Path, what: &[u8]) -> bool {
    let plain = |bytes: &[u8]| bytes.windows(what.len()).any(|w| w == what);
    files(dir).values().any(|bytes| {
        plain(bytes)
            || zstd::stream::decode_all(&bytes[24.min(bytes.len())..]).is_ok_and(|b| plain(&b))
    })
}

#[test]
fn only_with_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let (mine, other) = (Identity::generate(), Identity::generate());
    let open = |keys: Keys| Store::create_or_open(dir.path()).unwrap().with_keys(keys);
    // The process that writes has no secret of the user's, and builds on its own layers all the same.
    let writer = open(recipient(&mine));
    let mut parent = None;
    for n in 0..6 {
        parent = Some(save(&writer, n, parent.as_ref()).unwrap());
    }
    assert!(parent.unwrap().layers() <= 4, "they were squashed");
    assert!(!has(dir.path(), SECRET));
    assert!(has(dir.path(), MODULE), "the module was not to be sealed");

    let reader = open(identity(&mine));
    for n in 0..6 {
        holds(&reader, Some(u64::from(n) + 1), n);
    }
    let report = reader.verify().unwrap();
    assert_eq!((report.good, report.unopened, report.damages), (6, 0, vec![]));

    for (keys, told) in [
        (Keys::default(), "sim@6: state is encrypted; give an identity"),
        (identity(&other), "sim@6: state is encrypted, and not for any of the identities"),
        (recipient(&other), "sim@6: state is encrypted, and not for any"),
    ] {
        let store = open(keys);
        let error = store.load("sim", None).unwrap_err();
        assert!(matches!(error, StoreError::NoKey { .. }), "it is not passed over: {error}");
        assert!(error.to_string().contains(told), "{error}");
        let report = store.verify().unwrap();
        assert_eq!((report.good, report.unopened, report.damages), (6, 6, vec![]));
        assert_eq!(store.list("sim").unwrap().len(), 6);
    }
}

#[test]
fn damage_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mine = Identity::generate();
    let store = Store::create_or_open(dir.path()).unwrap().with_keys(recipient(&mine));
    let parent = save(&store, 0, None).unwrap();
    save(&store, 1, Some(&parent)).unwrap();
    let newest = files(dir.path());
    let store = Store::open(dir.path()).unwrap().with_keys(identity(&mine));
    let mut told = 0;
    for (path, bytes) in &newest {
        if !bytes.starts_with(b"age-encryption.org/v1") {
            continue;
        }
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 50) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            std::fs::write(dir.path().join(path), flipped).unwrap();
            for n in [1, 2] {
                match store.load("sim", Some(n)) {
                    Ok(_) => {}
                    Err(StoreError::Damaged(damage)) => {
                        assert_eq!(damage.path, *path);
                        told += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        std::fs::write(dir.path().join(path), bytes).unwrap();
    }
    assert!(told > 150, "{told}");
}

#[test]
fn the_module_too() {
    let dir = tempfile::tempdir().unwrap();
    let mine = Identity::generate();
    let store =
        Store::create_or_open(dir.path()).unwrap().with_keys(recipient(&mine).seal_module(true));
    let parent = save(&store, 0, None).unwrap();
    let count = files(dir.path()).len();
    save(&store, 1, Some(&parent)).unwrap();
    assert_eq!(
        files(dir.path()).len(),
        count + 3,
        "manifest, state, changes; not the module again"
    );
    assert!(!has(dir.path(), MODULE));
    let reader = Store::open(dir.path()).unwrap().with_keys(identity(&mine));
    holds(&reader, None, 1);
    // Gone on with by somebody who did not say so: it stays sealed.
    let keys = identity(&mine).recipient(&mine.to_public().to_string()).unwrap();
    let again = Store::open(dir.path()).unwrap().with_keys(keys);
    let parent = reader.load("sim", None).unwrap().as_parent();
    save(&again, 2, Some(&parent)).unwrap();
    assert!(!has(dir.path(), MODULE));
    holds(&reader, None, 2);
}

/// A job that was not encrypted and is from now on: nothing sealed builds on what can be read.
#[test]
fn from_plain_to_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mine = Identity::generate();
    let plain = Store::create_or_open(dir.path()).unwrap();
    let parent = save(&plain, 0, None).unwrap();
    let sealed = Store::open(dir.path()).unwrap().with_keys(recipient(&mine));
    assert!(matches!(save(&sealed, 1, Some(&parent)), Err(StoreError::NoParent)));
    save(&sealed, 1, None).unwrap();
    holds(&Store::open(dir.path()).unwrap().with_keys(identity(&mine)), None, 1);
    holds(&plain, Some(1), 0);
}

#[test]
fn what_is_no_key_is_told() {
    let error = |r: Result<Keys, StoreError>| r.unwrap_err().to_string();
    assert!(
        error(Keys::default().recipient("age1nonsense"))
            .contains("\"age1nonsense\" is not a recipient")
    );
    assert!(error(Keys::default().identities("nonsense")).contains("no identity can be read"));
    assert!(error(Keys::default().identities("# empty\n")).contains("AGE-SECRET-KEY-"));
    assert_eq!(
        format!("{:?}", recipient(&Identity::generate())),
        "Keys(2 recipients, 1 identities)"
    );
}

/// Who removes old checkpoints needs no key: digests tell which is good.
#[test]
fn old_ones_go_without_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let mine = Identity::generate();
    let writer = Store::create_or_open(dir.path()).unwrap().with_keys(recipient(&mine));
    let blobs = || files(&dir.path().join("blobs/sha256"));
    let mut before = blobs();
    let mut parent = None;
    for n in 0..4 {
        before = blobs();
        parent = Some(save(&writer, n, parent.as_ref()).unwrap());
    }
    let store = Store::open(dir.path()).unwrap();
    let retain = |last| {
        let rules = Retention { last: Some(last), ..Retention::default() };
        store.retain(&["sim".to_owned()], &rules, Care::Thorough).unwrap();
        store.list("sim").unwrap().iter().map(|c| c.number).collect::<Vec<_>>()
    };
    assert_eq!(retain(3), [2, 3, 4]);
    for (path, bytes) in blobs() {
        if !before.contains_key(&path) && !bytes.starts_with(b"{") {
            std::fs::write(dir.path().join("blobs/sha256").join(path), "rotten").unwrap();
        }
    }
    assert_eq!(retain(1), [3, 4], "the newest is damaged");
    let store = Store::open(dir.path()).unwrap().with_keys(identity(&mine));
    holds(&store, Some(3), 2);
}

/// Pushed and pulled as they are, by somebody who cannot read them.
#[test]
fn sealed_checkpoints_travel() {
    use dormouse_store::Arrival;
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let secret = Identity::generate();
    let from = Store::create_or_open(&dir.path().join("from")).unwrap();
    let from = from.with_keys(recipient(&secret));
    let parent = save(&from, 0, None).unwrap();
    save(&from, 1, Some(&parent)).unwrap();
    let from = Store::open(from.dir()).unwrap();
    let to = Store::create_or_open(&dir.path().join("to")).unwrap();
    let image = from.export("sim", None).unwrap();
    assert_eq!(image.info.number, 2);
    let Arrival::Wanted(incoming) = to.import(&image.manifest, None).unwrap() else { panic!() };
    assert!(incoming.missing().iter().any(|blob| blob.sealed));
    for blob in incoming.missing() {
        let mut bytes = vec![];
        from.open_blob(blob).unwrap().read_to_end(&mut bytes).unwrap();
        let mut part = incoming.receive(blob).unwrap().unwrap();
        part.write(&bytes).unwrap();
        part.finish().unwrap();
    }
    incoming.commit().unwrap();
    assert_eq!(to.verify().unwrap().unopened, 1);
    assert!(matches!(to.load("sim", None), Err(StoreError::NoKey { .. })));
    holds(&to.with_keys(identity(&secret)), Some(2), 1);
    // A sealed part that rotted is found without the key.
    let state = image.blobs[0];
    let path = from.dir().join("blobs/sha256").join(&state.name()["sha256:".len()..]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(path, bytes).unwrap();
    assert!(matches!(from.export("sim", Some(2)), Err(StoreError::Damaged(_))));
}
