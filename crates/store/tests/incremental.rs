//! Checkpoints that hold only what changed: whatever is written, in whatever layers it comes to lie, every
//! checkpoint gives back the memory it was saved with.
#![allow(missing_docs)]

mod sample;

use dormouse_state::Memory;
use dormouse_store::{
    Kind, MemoryLayer, MemoryPages, NewCheckpoint, Overlay, PAGE_SIZE, Parent, Squashed, Store,
    StoreError, WASM_PAGE_SIZE, write_changes, write_memory_layer,
};
use proptest::prelude::*;
use sample::{MODULE, Sample, files};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

/// A job with one memory, of which it knows what changed.
struct Job {
    store: Store,
    memory: Vec<u8>,
    changed: BTreeSet<usize>,
    parent: Option<Parent>,
    squashed: Vec<Squashed>,
    max_layers: usize,
    deltas: bool,
    /// What each checkpoint is to hold.
    saved: Vec<Vec<u8>>,
    _dir: tempfile::TempDir,
}

impl Job {
    fn new(memory: Vec<u8>) -> Job {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create_or_open(&dir.path().join("store")).unwrap();
        Job {
            store,
            memory,
            changed: BTreeSet::new(),
            parent: None,
            squashed: vec![],
            max_layers: 4,
            deltas: true,
            saved: vec![],
            _dir: dir,
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let Some(into) = self.memory.get_mut(at..at + bytes.len()) else { return };
        into.copy_from_slice(bytes);
        self.changed.extend(at / PAGE_SIZE..=(at + bytes.len().max(1) - 1) / PAGE_SIZE);
    }

    fn grow(&mut self, wasm_pages: usize) {
        self.memory.resize(self.memory.len() + wasm_pages * WASM_PAGE_SIZE, 0);
    }

    fn save(&mut self) -> Result<u64, StoreError> {
        let mut sample = Sample::new(1);
        let wasm_pages = (self.memory.len() / WASM_PAGE_SIZE) as u64;
        sample.state.memories = vec![Memory { index: 0, pages: wasm_pages }];
        let page = |number: usize| &self.memory[number * PAGE_SIZE..(number + 1) * PAGE_SIZE];
        let runs: Vec<(u64, &[u8])> = self.changed.iter().map(|n| (*n as u64, page(*n))).collect();
        let pages = match &self.parent {
            None => [MemoryPages::whole(0, &self.memory)],
            Some(_) => [MemoryPages::changed(0, wasm_pages, &runs)],
        };
        let new = NewCheckpoint {
            parent: self.parent.as_ref(),
            squashed: std::mem::take(&mut self.squashed),
            deltas: self.deltas,
            ..NewCheckpoint::new(MODULE, &sample.state, &pages)
        };
        let (info, parent) = self.store.save_as_parent("sim", new)?;
        self.parent = Some(parent);
        self.changed.clear();
        self.saved.push(self.memory.clone());
        Ok(info.number)
    }

    fn squash(&mut self) {
        let parent = self.parent.as_ref().unwrap();
        let go = AtomicBool::new(false);
        self.squashed = self.store.squash(parent, self.max_layers, self.deltas, &go).unwrap();
    }

    fn check(&self) {
        for (number, expected) in (1..).zip(&self.saved) {
            let checkpoint = self.store.load("sim", Some(number)).unwrap();
            let mut memory = vec![0; expected.len()];
            checkpoint.read_memory(0, &mut memory).unwrap();
            assert!(memory == *expected, "sim@{number}");
            let stored = checkpoint.stored_pages(0).unwrap();
            let mut pages = (0..).zip(memory.chunks(PAGE_SIZE));
            assert!(
                pages.all(|(n, page)| stored.iter().any(|r| r.contains(&n))
                    || page.iter().all(|b| *b == 0))
            );
            let used = checkpoint.used_pages(0).unwrap();
            for (n, page) in (0..).zip(memory.chunks(PAGE_SIZE)) {
                let holds = page.iter().any(|b| *b != 0);
                assert_eq!(used.iter().any(|r| r.contains(&n)), holds, "page {n} of sim@{number}");
            }
            // What is not said to be apart is the same in both.
            let newest = self.store.load("sim", None).unwrap();
            let apart = checkpoint.pages_apart(&newest, 0).unwrap();
            assert_eq!(newest.pages_apart(&checkpoint, 0).unwrap(), apart);
            let pages = expected.chunks(PAGE_SIZE).zip(self.memory_of_newest());
            for (n, (old, new)) in (0..).zip(pages) {
                assert!(old == new || apart.iter().any(|r| r.contains(&n)), "page {n}");
            }
        }
        let report = self.store.verify().unwrap();
        assert_eq!((report.good, report.damages), (self.saved.len(), vec![]));
    }

    fn memory_of_newest(&self) -> impl Iterator<Item = &[u8]> {
        self.saved.last().into_iter().flat_map(|memory| memory.chunks(PAGE_SIZE))
    }

    fn bytes(&self) -> u64 {
        files(self.store.dir()).values().map(|f| f.len() as u64).sum()
    }
}

fn noise(len: usize, mut x: u64) -> Vec<u8> {
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

#[derive(Clone, Debug)]
enum Deed {
    Write {
        at: prop::sample::Index,
        len: usize,
        byte: u8,
    },
    Noise {
        at: prop::sample::Index,
        pages: usize,
        seed: u64,
    },
    Clear {
        at: prop::sample::Index,
        pages: usize,
    },
    /// Said to have changed, but did not.
    Touch(prop::sample::Index),
    Grow,
    Save,
    Squash,
}

fn deed() -> impl Strategy<Value = Deed> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        8 => (at(), 1usize..9000, any::<u8>())
            .prop_map(|(at, len, byte)| Deed::Write { at, len, byte }),
        3 => (at(), 1usize..20, 1u64..).prop_map(|(at, pages, seed)| Deed::Noise { at, pages, seed }),
        2 => (at(), 1usize..10).prop_map(|(at, pages)| Deed::Clear { at, pages }),
        1 => at().prop_map(Deed::Touch),
        1 => Just(Deed::Grow),
        6 => Just(Deed::Save),
        3 => Just(Deed::Squash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_checkpoint_holds_its_memory(
        deeds in prop::collection::vec(deed(), 1..60),
        deltas in any::<bool>(),
        max_layers in 1usize..5,
    ) {
        let mut job = Job::new(vec![0; 3 * WASM_PAGE_SIZE]);
        job.deltas = deltas;
        job.max_layers = max_layers;
        job.save().unwrap();
        for deed in deeds {
            let pages = job.memory.len() / PAGE_SIZE;
            match deed {
                Deed::Write { at, len, byte } => {
                    let at = at.index(job.memory.len());
                    let len = len.min(job.memory.len() - at);
                    job.write(at, &vec![byte; len]);
                }
                Deed::Noise { at, pages: count, seed } => {
                    let at = at.index(pages);
                    job.write(at * PAGE_SIZE, &noise(count.min(pages - at) * PAGE_SIZE, seed));
                }
                Deed::Clear { at, pages: count } => {
                    let at = at.index(pages);
                    job.write(at * PAGE_SIZE, &vec![0; count.min(pages - at) * PAGE_SIZE]);
                }
                Deed::Touch(at) => drop(job.changed.insert(at.index(pages))),
                Deed::Grow => job.grow(1),
                Deed::Save => drop(job.save().unwrap()),
                Deed::Squash => job.squash(),
            }
        }
        job.save().unwrap();
        job.check();
    }
}

/// The promise about size: at most 1.05 times what changed, and 64 KiB; before compression, so
/// with bytes that do not compress.
#[test]
fn no_more_is_written_than_changed() {
    let mut job = Job::new(noise(64 * WASM_PAGE_SIZE, 7));
    job.deltas = false;
    job.save().unwrap();
    for (n, step) in [1, 2, 3, 16, 64, 1000, 5000].into_iter().enumerate() {
        let mut changed = 0;
        for page in (0..64 * 16).step_by(step) {
            job.write(page * PAGE_SIZE, &noise(PAGE_SIZE, (n + page * 10) as u64 + 1));
            changed += PAGE_SIZE as u64;
        }
        let before = job.bytes();
        job.save().unwrap();
        let written = job.bytes() - before;
        assert!(
            written <= changed * 105 / 100 + (64 << 10),
            "{written} written, {changed} changed"
        );
    }
    job.check();
}

#[test]
fn a_small_change_is_stored_as_a_difference() {
    let written = |deltas| {
        let mut job = Job::new(noise(16 * WASM_PAGE_SIZE, 3));
        job.deltas = deltas;
        job.save().unwrap();
        for page in 0..256 {
            job.write(page * PAGE_SIZE + 100, &[page as u8; 40]);
        }
        let before = job.bytes();
        job.save().unwrap();
        job.check();
        job.bytes() - before
    };
    let (whole, deltas) = (written(false), written(true));
    assert!(whole > 1 << 20 && deltas < 40_000, "{whole} bytes whole, {deltas} as differences");
}

#[test]
fn chains_stay_short() {
    let mut job = Job::new(noise(32 * WASM_PAGE_SIZE, 5));
    job.max_layers = 8;
    job.save().unwrap();
    let (mut longest, mut largest) = (0, 0);
    for n in 0..100usize {
        for k in 0..5usize {
            let page = (n * 37 + k * 101) % 512;
            job.write(page * PAGE_SIZE, &noise(PAGE_SIZE, (n * 5 + k) as u64 + 1));
        }
        job.save().unwrap();
        job.squash();
        longest = longest.max(job.parent.as_ref().unwrap().layers());
        let newest = job.store.list("sim").unwrap().pop().unwrap();
        largest = largest.max(newest.memory_size);
    }
    job.check();
    assert!(longest <= 10, "{longest} layers");
    assert!(largest < 5 << 20, "{largest} bytes to read for a memory of 2 MiB");
}

/// A squash that has to stop, or whose result was removed, changes nothing.
#[test]
fn without_the_squashed_layer() {
    let mut job = Job::new(noise(4 * WASM_PAGE_SIZE, 5));
    job.max_layers = 1;
    job.save().unwrap();
    for n in 0..3 {
        job.write(n * PAGE_SIZE, b"changed");
        job.save().unwrap();
    }
    let stopped =
        job.store.squash(job.parent.as_ref().unwrap(), 1, true, &AtomicBool::new(true)).unwrap();
    assert!(stopped.is_empty());
    job.squash();
    assert_eq!(job.squashed.len(), 1);
    let blobs = job.store.dir().join("blobs/sha256");
    let temporary = || {
        let names = std::fs::read_dir(&blobs).unwrap().map(|e| e.unwrap().path());
        names.filter(|p| p.file_name().unwrap().as_encoded_bytes()[0] == b'.').collect::<Vec<_>>()
    };
    // Another job's save sweeps; but not what is wanted still.
    sample::save(&job.store, "other", 1);
    let [kept] = &temporary()[..] else { panic!("{:?}", temporary()) };
    std::fs::remove_file(kept).unwrap();
    job.write(0, b"again");
    job.save().unwrap();
    assert_eq!(job.parent.as_ref().unwrap().layers(), 5);
    job.squash();
    drop(std::mem::take(&mut job.squashed));
    assert_eq!(temporary(), Vec::<std::path::PathBuf>::new(), "a dropped one is removed");
    job.squash();
    // One whose process died is not locked.
    std::fs::write(blobs.join(".squash-1-1"), b"x").unwrap();
    job.save().unwrap();
    assert_eq!(job.parent.as_ref().unwrap().layers(), 2);
    assert_eq!(temporary(), Vec::<std::path::PathBuf>::new());
    sample::save(&job.store, "other", 2);
    let report = job.store.verify().unwrap();
    assert_eq!((report.good, report.unreferenced), (8, vec![]));
}

#[test]
fn a_parent_that_is_gone() {
    let mut job = Job::new(noise(4 * WASM_PAGE_SIZE, 5));
    job.save().unwrap();
    job.write(0, b"changed");
    job.save().unwrap();
    for (path, bytes) in files(job.store.dir()) {
        if bytes.starts_with(b"DMPAGES\0") && bytes.len() < 2000 {
            std::fs::remove_file(job.store.dir().join(path)).unwrap();
        }
    }
    job.write(9000, b"more");
    assert!(matches!(job.save(), Err(StoreError::NoParent)));
    // All pages, then: what the program holds is not lost.
    job.parent = None;
    assert_eq!(job.save().unwrap(), 3);
    let newest = job.store.load("sim", None).unwrap();
    assert_eq!((newest.info.number, newest.warnings.len()), (3, 0));
    let error = job.store.load("sim", Some(2)).unwrap_err().to_string();
    assert!(
        error.contains("sim@2: memory 0 (layer 2 of 2)") && error.contains("missing"),
        "{error}"
    );
}

/// What a checkpoint would build on cannot be read: it is not called durable.
#[test]
fn a_parent_that_rotted() {
    for damage in ["header", "index", "frame"] {
        let mut job = Job::new(noise(4 * WASM_PAGE_SIZE, 5));
        job.save().unwrap();
        let is_layer = |(_, bytes): &(_, Vec<u8>)| bytes.starts_with(b"DMPAGES\0");
        let (path, mut bytes) = files(job.store.dir()).into_iter().find(is_layer).unwrap();
        let at = match damage {
            "header" => 9,
            "index" => bytes.len() - 30,
            _ => 200,
        };
        bytes[at] ^= 0xff;
        std::fs::write(job.store.dir().join(path), bytes).unwrap();
        // Nothing changed; or a page of the first frame did.
        if damage == "frame" {
            job.write(9000, b"more");
        }
        assert!(matches!(job.save(), Err(StoreError::NoParent)), "{damage}");
        job.parent = None;
        assert_eq!(job.save().unwrap(), 2);
        assert_eq!(job.store.load("sim", None).unwrap().info.number, 2);
    }
}

/// Layers that are each good, but not of one memory.
#[test]
fn layers_that_do_not_fit() {
    let base = |index, pages: usize| {
        let mut layer = vec![];
        write_memory_layer(index, &vec![1; pages * WASM_PAGE_SIZE], &mut layer).unwrap();
        layer
    };
    let changes = |index, pages| {
        let mut layer = vec![];
        let page = [2; PAGE_SIZE];
        let none = None::<&mut dormouse_store::PageReader<'_, &[u8]>>;
        write_changes(index, pages, &[(0, &page)], none, &mut layer).unwrap();
        layer
    };
    let overlay = |layers: &[&[u8]]| {
        let layers = layers.iter().map(|l| MemoryLayer::open(*l).unwrap()).collect();
        Overlay::new(layers).map(drop)
    };
    let (one, two) = (base(0, 1), base(0, 2));
    overlay(&[&one, &changes(0, 1), &changes(0, 2)]).unwrap();
    overlay(&[]).unwrap_err();
    overlay(&[&one, &two]).unwrap_err();
    overlay(&[&changes(0, 1)]).unwrap_err();
    overlay(&[&one, &changes(1, 1)]).unwrap_err();
    overlay(&[&two, &changes(0, 1)]).unwrap_err();
    assert_eq!(MemoryLayer::open(&changes(0, 1)[..]).unwrap().kind(), Kind::Changes);
}

/// Every bit of a layer of changes with all kinds of pages: found, or harmless.
#[test]
fn flipped_bits() {
    let old = noise(2 * WASM_PAGE_SIZE, 9);
    let mut base = vec![];
    write_memory_layer(0, &old, &mut base).unwrap();
    let parent = Overlay::new(vec![MemoryLayer::open(&base[..]).unwrap()]).unwrap();
    let mut new = old.clone();
    new[5 * PAGE_SIZE + 8] ^= 1;
    new[6 * PAGE_SIZE..8 * PAGE_SIZE].fill(0);
    new[9 * PAGE_SIZE..10 * PAGE_SIZE].fill(3);
    let page = |n: usize| (n as u64, &new[n * PAGE_SIZE..(n + 1) * PAGE_SIZE]);
    let runs = [page(5), page(6), page(7), page(9)];
    let mut changes = vec![];
    let stored =
        write_changes(0, 2, &runs, Some(&mut parent.pages().unwrap()), &mut changes).unwrap();
    assert_eq!((stored.whole, stored.deltas, stored.zero), (1, 1, 2));
    let read = |changes: &[u8]| {
        let layers = vec![MemoryLayer::open(&base[..])?, MemoryLayer::open(changes)?];
        let mut memory = vec![0; 2 * WASM_PAGE_SIZE];
        Overlay::new(layers)?.read_into(&mut memory).map_err(|bad| bad.error)?;
        Ok::<_, dormouse_store::LayerError>(memory)
    };
    assert!(read(&changes).unwrap() == new);
    let mut harmless = 0;
    for bit in 0..changes.len() * 8 {
        let mut flipped = changes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match read(&flipped) {
            // A bit that zstd does not look at.
            Ok(memory) => {
                assert!(memory == new, "bit {bit}");
                harmless += 1;
            }
            Err(_) => assert!(MemoryLayer::open(&flipped[..]).and_then(|l| l.verify()).is_err()),
        }
    }
    assert!(harmless < 8, "{harmless}");
    for len in 0..changes.len() {
        assert!(read(&changes[..len]).is_err());
    }
}
