//! Checkpoints in a depot: what is sent and what is not, what comes back, and depots that fail or lie.

mod sample;

use dormouse_store::{Depot, Store, StoreError, kept};
use sample::{assert_holds, save};
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;

/// Objects in memory; and the name of the one that cannot be put.
#[derive(Default)]
struct Shelf {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    broken: Mutex<Option<String>>,
}

impl Shelf {
    fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    fn change(&self, name: &str, with: impl FnOnce(&mut Vec<u8>)) {
        with(self.objects.lock().unwrap().get_mut(name).unwrap());
    }
}

impl Depot for Shelf {
    fn len(&self, name: &str) -> Result<Option<u64>, String> {
        Ok(self.objects.lock().unwrap().get(name).map(|object| object.len() as u64))
    }

    fn put(&self, name: &str, len: u64, bytes: &mut dyn Read) -> Result<(), String> {
        if self.broken.lock().unwrap().as_deref().is_some_and(|b| name.starts_with(b)) {
            return Err("the shelf\nis full".into());
        }
        let mut object = vec![];
        bytes.read_to_end(&mut object).map_err(|e| e.to_string())?;
        assert_eq!(object.len() as u64, len);
        self.objects.lock().unwrap().insert(name.to_owned(), object);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + '_>, String> {
        let object = self.objects.lock().unwrap().get(name).cloned().ok_or("there is none")?;
        Ok(Box::new(std::io::Cursor::new(object)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, String> {
        Ok(self.names().into_iter().filter(|name| name.starts_with(prefix)).collect())
    }
}

fn store(dir: &tempfile::TempDir, name: &str) -> Store {
    Store::create_or_open(&dir.path().join(name)).unwrap()
}

#[test]
fn only_what_is_missing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, shelf) = (store(&dir, "from"), store(&dir, "to"), Shelf::default());
    save(&from, "sim", 1);
    let second = save(&from, "sim", 2);
    assert_eq!(from.send("sim", Some(1), &shelf).unwrap().blobs, 4);
    // They share the module.
    let sent = from.send("sim", None, &shelf).unwrap();
    assert_eq!((sent.checkpoint, sent.blobs), (second.clone(), 3));
    let again = from.send("sim", Some(2), &shelf).unwrap();
    assert_eq!((again.blobs, again.bytes), (0, 0));
    assert_eq!(kept("sim", &shelf).unwrap(), [1, 2]);
    assert!(kept("si", &shelf).unwrap().is_empty());

    assert_eq!(to.fetch("sim", 2, &shelf).unwrap(), second);
    assert_eq!(to.fetch("sim", 2, &shelf).unwrap().name(), "sim@2");
    assert_holds(&to.load("sim", None).unwrap(), 2);
    assert!(to.list("sim").unwrap()[0].pulled);
    let error = to.fetch("sim", 3, &shelf).unwrap_err();
    assert_eq!(error.to_string(), "the depot cannot get checkpoints/sim/3: there is none");
}

#[test]
fn what_fails_is_not_seen_and_is_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let (from, shelf) = (store(&dir, "from"), Shelf::default());
    save(&from, "sim", 1);
    for broken in ["blobs/", "checkpoints/"] {
        *shelf.broken.lock().unwrap() = Some(broken.to_owned());
        let error = from.send("sim", None, &shelf).unwrap_err();
        assert!(error.to_string().ends_with("the shelf\\nis full"), "{error}");
        assert!(kept("sim", &shelf).unwrap().is_empty());
    }
    *shelf.broken.lock().unwrap() = None;
    assert_eq!(from.send("sim", None, &shelf).unwrap().blobs, 0, "only the manifest was missing");
    // A blob that was cut short is sent again.
    let name = shelf.names().into_iter().find(|name| name.starts_with("blobs/")).unwrap();
    shelf.change(&name, |object| object.truncate(3));
    shelf.objects.lock().unwrap().remove("checkpoints/sim/1");
    assert_eq!(from.send("sim", None, &shelf).unwrap().blobs, 1);
    assert_holds(
        &{
            let to = store(&dir, "to");
            to.fetch("sim", 1, &shelf).unwrap();
            to.load("sim", None).unwrap()
        },
        1,
    );
}

#[test]
fn another_of_that_name_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (from, other, shelf) = (store(&dir, "from"), store(&dir, "other"), Shelf::default());
    save(&from, "sim", 1);
    save(&other, "sim", 2);
    from.send("sim", None, &shelf).unwrap();
    let before = shelf.objects.lock().unwrap().clone();
    assert!(matches!(other.send("sim", None, &shelf), Err(StoreError::Taken { .. })));
    assert!(*shelf.objects.lock().unwrap() == before);
}

#[test]
fn depots_that_lie() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to, shelf) = (store(&dir, "from"), store(&dir, "to"), Shelf::default());
    save(&from, "sim", 1);
    from.send("sim", None, &shelf).unwrap();
    let good = shelf.objects.lock().unwrap().clone();
    let mut tries = 0;
    for name in shelf.names() {
        type Change = fn(&mut Vec<u8>);
        let flip: Change = |object| object[0] ^= 1;
        for change in [
            flip,
            |object| object.truncate(object.len() - 1),
            |object| object.extend(vec![0; 9 << 20]),
        ] {
            shelf.change(&name, change);
            // A new store: one keeps the blobs that came, and would not ask for them again.
            tries += 1;
            let to = store(&dir, &format!("to-{tries}"));
            to.fetch("sim", 1, &shelf).expect_err(&name);
            assert!(to.list("sim").unwrap().is_empty());
            *shelf.objects.lock().unwrap() = good.clone();
        }
    }
    // One checkpoint in another's place.
    let manifest = good["checkpoints/sim/1"].clone();
    shelf.objects.lock().unwrap().insert("checkpoints/sim/7".into(), manifest);
    let error = to.fetch("sim", 7, &shelf).unwrap_err();
    assert!(error.to_string().contains("sim@1 lies where sim@7 should"), "{error}");
}
