//! Stores that are damaged or made up: opened, listed, verified, loaded and saved to, without a
//! panic and in bounded memory.
//!
//! ```text
//!   sim@1, sim@2 ──change parts──> state, module, layers, manifest, index, files
//!                ──relink (often)─> digests and sizes are right again, so that what was changed
//!                                   reaches its decoder
//! ```
//!
//! If nothing that `sim@1` needs was touched, it must still be there, byte for byte; and what a
//! save reports must be loaded again, whatever state the store was in.

use crate::random::Random;
use crate::{allocation, mutate::mutate, tally};
use dormouse_state::{Frame, Memory, Site, State, Value};
use dormouse_store::{
    Checkpoint, FileKind, Kind, MemoryLayer, MemoryPages, NewCheckpoint, NewFiles, Overlay, Store,
    StoreError, WASM_PAGE_SIZE, sha256,
};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// What memory a call may take besides a multiple of what is in the store: zstd's and frames'.
const CONSTANT: usize = 32 << 20;
const JOB: &str = "sim";

/// The store before it is changed.
struct Base {
    files: BTreeMap<PathBuf, Vec<u8>>,
    first: State,
    memories: Vec<Vec<u8>>,
}

static BASE: LazyLock<Base> = LazyLock::new(|| {
    let dir = temporary();
    let path = dir.path().join("store");
    let store = Store::create_or_open(&path).expect("a store");
    let (state, memories) = checkpoint(1);
    let pages = [MemoryPages::whole(0, &memories[0]), MemoryPages::whole(1, &memories[1])];
    let new = NewCheckpoint::new(MODULE, &state, &pages);
    let (_, parent) = store.save_as_parent(JOB, new).expect("a checkpoint");
    // The second has changes to the first's first memory: pages that are whole, zero, and differences.
    let mut next = checkpoint(2);
    next.1[0] = memories[0].clone();
    next.1[0][5000] ^= 1;
    next.1[0][..4096].fill(0);
    next.1[0][100_000..100_999].copy_from_slice(&memories[0][70_000..70_999]);
    let page = |n: usize| (n as u64, &next.1[0][n * 4096..(n + 1) * 4096]);
    let runs = [page(0), page(1), page(24)];
    let pages = [MemoryPages::changed(0, 2, &runs), MemoryPages::whole(1, &next.1[1])];
    let spool = store.spool().expect("a spool");
    std::io::Write::write_all(&mut &spool, b"hello, file").expect("a spool");
    let items = [
        ("0/gone".to_owned(), FileKind::Gone, 0),
        ("0/d".to_owned(), FileKind::Dir { mode: 0o755 }, 0),
        ("0/d/a".to_owned(), FileKind::File { mode: 0o644, mtime: 1_000_000_007, size: 11 }, 0),
        ("0/l".to_owned(), FileKind::Link { target: "d/a".to_owned() }, 0),
    ];
    let new = NewCheckpoint {
        parent: Some(&parent),
        files: Some(NewFiles { items: &items, spool: Some(&spool), whole: true }),
        ..NewCheckpoint::new(MODULE, &next.0, &pages)
    };
    store.save(JOB, new).expect("a checkpoint");
    let mut files = BTreeMap::new();
    let mut dirs = vec![path.clone()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).expect("a directory").flatten() {
            match entry.path() {
                p if p.is_dir() => dirs.push(p),
                p => {
                    let name = p.strip_prefix(&path).expect("beneath it").to_owned();
                    files.insert(name, std::fs::read(&p).expect("a file"));
                }
            }
        }
    }
    Base { files, first: state, memories }
});

const MODULE: &[u8] = b"\0asm\x01\0\0\0 as far as the store can tell";

fn checkpoint(n: u8) -> (State, Vec<Vec<u8>>) {
    let mut memories = vec![vec![0u8; 2 * WASM_PAGE_SIZE], vec![0u8; WASM_PAGE_SIZE]];
    let mut r = Random(n.into());
    for at in [0usize, 5000, 70_000] {
        memories[0][at..at + 300].iter_mut().for_each(|b| *b = r.bits() as u8);
    }
    memories[1][..16].fill(n);
    let frame = Frame {
        site: Site { func: 1, offset: 2 },
        locals: vec![(0, Value::I32(n.into()))],
        operands: vec![Value::FuncRef(None)],
    };
    let state = State {
        module_digest: sha256(MODULE),
        frames: vec![frame],
        globals: vec![(1, Value::V128(7))],
        tables: vec![],
        exceptions: vec![],
        memories: vec![Memory { index: 0, pages: 2 }, Memory { index: 1, pages: 1 }],
        dropped_data: vec![1],
        dropped_elems: vec![],
        wasi: vec![n; 9],
        host: vec![],
    };
    (state, memories)
}

fn save(store: &Store, state: &State, memories: &[Vec<u8>]) -> Result<u64, StoreError> {
    let pages: Vec<MemoryPages<'_>> =
        (0..).zip(memories).map(|(index, bytes)| MemoryPages::whole(index, bytes)).collect();
    Ok(store.save(JOB, NewCheckpoint::new(MODULE, state, &pages))?.number)
}

/// In memory where the system has a place for that: saving syncs.
fn temporary() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }
        .expect("a temporary directory")
}

/// Changes a store as `data` says, and uses it.
///
/// # Panics
/// If the store breaks a promise.
pub fn run(data: &[u8]) {
    let mut r = Random::of(data);
    // One of the layers alone needs no files.
    if r.chance(2) { layer(&mut r) } else { whole(&mut r) }
}

fn layer(r: &mut Random) {
    let layers: Vec<&Vec<u8>> =
        BASE.files.values().filter(|f| f.starts_with(b"DMPAGES\0")).collect();
    let mut bytes = (*r.pick(&layers)).clone();
    let other = *r.pick(&layers);
    mutate(&mut bytes, other, r);
    if !r.chance(4) {
        mend_layer(&mut bytes);
    }
    let (layer, peak) = allocation::peak(|| MemoryLayer::open(&bytes[..]));
    let bound = bytes.len() * 8 + 1024;
    assert!(peak <= bound, "{peak} bytes allocated for a layer of {} bytes", bytes.len());
    let layer = match layer {
        Ok(layer) => layer,
        Err(e) => {
            tally::add("refused layers", 1);
            return assert!(!e.to_string().contains('\n'), "not a one-line error: {e}");
        }
    };
    tally::add("opened layers", 1);
    let (verified, peak) = allocation::peak(|| layer.verify());
    assert!(peak <= CONSTANT, "{peak} bytes allocated for frames");
    if layer.kind() == Kind::Changes {
        overlay(layer, verified.is_ok());
    } else if layer.wasm_pages() <= 16 {
        let mut memory = vec![0; layer.wasm_pages() as usize * WASM_PAGE_SIZE];
        let stored = layer.stored_pages();
        let read = Overlay::new(vec![layer]).expect("a base").read_into(&mut memory);
        assert_eq!(read.is_ok(), verified.is_ok(), "verifying and reading differ");
        let pages = memory.chunks(4096).filter(|p| p.iter().any(|b| *b != 0)).count();
        assert!(pages as u64 <= stored || read.is_err(), "pages from nowhere");
    }
}

/// Changes, on the base that they may or may not belong to.
fn overlay(layer: MemoryLayer<&[u8]>, good: bool) {
    let pages = layer.wasm_pages();
    // Version 1, kind 0, memory 0.
    let is_base = |f: &&Vec<u8>| f.starts_with(b"DMPAGES\0\x01\0\0\0\0");
    let base = BASE.files.values().find(is_base).expect("a base");
    let base = MemoryLayer::open(&base[..]).expect("a good one");
    let fits = base.memory_index() == layer.memory_index() && base.wasm_pages() <= pages;
    let overlay = Overlay::new(vec![base, layer]);
    assert_eq!(overlay.is_ok(), fits, "layers of one memory");
    let Ok(overlay) = overlay else { return };
    if pages <= 16 {
        let mut memory = vec![0; pages as usize * WASM_PAGE_SIZE];
        let read = overlay.read_into(&mut memory);
        assert!(read.is_ok() || !good, "verified, but cannot be read");
        tally::add("read over a base", 1);
    }
}

/// Makes the checksum of a layer's index right.
fn mend_layer(bytes: &mut [u8]) {
    let len = bytes.len();
    if len < 48 {
        return;
    }
    let trailer = len - 24;
    let at = u64::from_le_bytes(bytes[trailer..trailer + 8].try_into().expect("eight bytes"));
    let Some(index) = usize::try_from(at).ok().filter(|at| (24..=trailer).contains(at)) else {
        return;
    };
    let sum = crc32c::crc32c(&bytes[..24]);
    let sum = crc32c::crc32c_append(sum, &bytes[index..trailer]);
    let sum = crc32c::crc32c_append(sum, &bytes[trailer..trailer + 12]);
    bytes[trailer + 12..trailer + 16].copy_from_slice(&sum.to_le_bytes());
}

/// The parts of `sim@2`, to be changed and put together again.
struct Parts {
    files: BTreeMap<PathBuf, Vec<u8>>,
    index: Json,
    manifest: Json,
    /// Digest (as in its name) of the manifest in the list, to find its entry.
    listed: String,
}

fn whole(r: &mut Random) {
    let mut parts = Parts::of(&BASE.files);
    let mut first_untouched = true;
    for _ in 0..1 + r.below(3) {
        first_untouched &= parts.change(r);
    }
    let dir = temporary();
    let path = dir.path();
    parts.write(path);
    let size: usize = parts.files.values().map(Vec::len).sum();
    let ((), peak) = allocation::peak(|| use_store(path, first_untouched));
    let bound = size * 64 + CONSTANT;
    assert!(peak <= bound, "{peak} bytes allocated for a store of {size} bytes");
    if r.chance(3) {
        save_anew(path, r);
    }
}

fn use_store(path: &Path, first_untouched: bool) {
    let store = match Store::open(path) {
        Ok(store) => store,
        Err(e) => {
            tally::add("refused stores", 1);
            assert!(!first_untouched, "cannot be opened: {e}");
            return named(&e);
        }
    };
    tally::add("opened stores", 1);
    let jobs = store.jobs().map_err(|e| named(&e)).unwrap_or_default();
    for name in jobs.iter().map(|j| j.job.as_str()).chain([JOB]) {
        let list = store.list(name).map_err(|e| named(&e)).unwrap_or_default();
        for number in list.iter().map(|info| Some(info.number)).chain([None]) {
            match store.load(name, number) {
                Ok(checkpoint) => {
                    tally::add("loaded", 1);
                    for m in checkpoint.state.memories.iter().filter(|m| m.pages <= 16) {
                        let mut bytes = vec![0; m.pages as usize * WASM_PAGE_SIZE];
                        if let Err(e) = checkpoint.read_memory(m.index, &mut bytes) {
                            named(&e);
                        }
                    }
                    use_files(&checkpoint);
                }
                Err(e) => {
                    tally::add("not loaded", 1);
                    named(&e);
                }
            }
        }
    }
    if let Err(e) = store.verify() {
        named(&e);
    }
    if first_untouched {
        let first = store.load(JOB, Some(1)).expect("what is whole can be loaded");
        assert!(first.state == BASE.first, "the first checkpoint differs");
        for (index, expected) in (0..).zip(&BASE.memories) {
            let mut memory = vec![0; expected.len()];
            first.read_memory(index, &mut memory).expect("its memories");
            assert!(memory == *expected, "memory {index} of the first checkpoint differs");
        }
        tally::add("first intact", 1);
    }
}

/// Whoever puts files back relies on names that lead nowhere else, and on their lengths.
fn use_files(checkpoint: &Checkpoint) {
    let Some(tree) = checkpoint.files() else { return };
    tally::add("trees of files", 1);
    let mut last = "";
    for (name, kind) in tree.iter() {
        let mut parts = name.split('/');
        assert!(parts.next().is_some_and(|dir| dir.parse::<u32>().is_ok()), "{name:?}");
        let good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        assert!(parts.all(good) && name.contains('/'), "the name {name:?} leads elsewhere");
        assert!(last < name, "{name:?} comes after {last:?}");
        last = name;
        if let FileKind::Link { target } = kind {
            assert!(!target.is_empty() && !target.starts_with('/'), "a link to {target:?}");
        }
    }
    let read = checkpoint.read_files(&mut |name, bytes| {
        let found = std::io::copy(bytes, &mut std::io::sink())?;
        let is = |kind: &FileKind| matches!(kind, FileKind::File { size, .. } if *size == found);
        assert!(tree.get(name).is_some_and(is), "{name:?} has {found} bytes");
        Ok(())
    });
    read.expect("it was looked at when it was loaded");
}

/// Changes a layer of files, in one zstd frame; its headers have the right sums often.
fn change_files(bytes: &mut Vec<u8>, r: &mut Random) {
    let mut tar = zstd::decode_all(&bytes[..]).unwrap_or_default();
    mutate(&mut tar, b"../0/.wh..wh..opq\x00\xff25 path=0/a\n", r);
    if !r.chance(4) {
        let is_header = |block: &&mut [u8]| block.get(257..262) == Some(b"ustar");
        for block in tar.chunks_mut(512).filter(is_header) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    *bytes = zstd::encode_all(&tar[..], 1).expect("memory");
}

/// A save either fails by name, or what it reports is there.
fn save_anew(path: &Path, r: &mut Random) {
    let store = match Store::create_or_open(path) {
        Ok(store) => store,
        Err(e) => return named(&e),
    };
    let (state, memories) = checkpoint(3 + r.below(100) as u8);
    match save(&store, &state, &memories) {
        Ok(number) => {
            tally::add("saved", 1);
            let loaded = store.load(JOB, Some(number)).expect("what was saved");
            assert!(loaded.state == state, "another state than was saved");
            let mut memory = vec![0; memories[0].len()];
            loaded.read_memory(0, &mut memory).expect("its memory");
            assert!(memory == memories[0], "another memory than was saved");
        }
        Err(e) => {
            tally::add("not saved", 1);
            named(&e);
        }
    }
}

/// An error says something; only a list of damages has several lines.
fn named(e: &StoreError) {
    let text = e.to_string();
    let list = matches!(e, StoreError::AllDamaged { .. });
    assert!(!text.is_empty() && (list || !text.contains('\n')), "not a one-line error: {text}");
}

fn blob(digest: &str) -> PathBuf {
    Path::new("blobs/sha256").join(digest)
}

fn hex(bytes: &[u8]) -> String {
    sha256(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The digits of a descriptor's digest.
fn digits(descriptor: &Json) -> String {
    let digest = descriptor["digest"].as_str().unwrap_or_default();
    digest.trim_start_matches("sha256:").to_owned()
}

impl Parts {
    fn of(files: &BTreeMap<PathBuf, Vec<u8>>) -> Parts {
        let index: Json = serde_json::from_slice(&files[Path::new("index.json")]).expect("JSON");
        let listed = digits(&index["manifests"][1]);
        let manifest = serde_json::from_slice(&files[&blob(&listed)]).expect("JSON");
        Parts { files: files.clone(), index, manifest, listed }
    }

    /// Makes one change; whether it leaves alone what `sim@1` needs.
    fn change(&mut self, r: &mut Random) -> bool {
        match r.below(14) {
            12 | 13 => return self.part("/layers/4", r, change_files),
            0 | 1 => {
                return self.part("/config", r, |bytes, r| {
                    mutate(bytes, b"\x7f\x00\xff", r);
                });
            }
            2 | 3 => {
                let layer = *r.pick(&["/layers/1", "/layers/2", "/layers/3"]);
                return self.part(layer, r, |bytes, r| {
                    mutate(bytes, MODULE, r);
                    mend_layer(bytes);
                });
            }
            4 | 5 => {
                change_json(&mut self.manifest, r);
                let right = !r.chance(4);
                self.put_manifest(right);
                // It may claim to be another's, or the first.
                return false;
            }
            6 | 7 => {
                change_json(&mut self.index, r);
                let right = !r.chance(4);
                self.put_index(right);
                return false;
            }
            8 => {
                let bytes = self.files.entry("index.json".into()).or_default();
                mutate(bytes, b"{}[],\"", r);
                return false;
            }
            9 => {
                let names: Vec<PathBuf> = self.files.keys().cloned().collect();
                let name = r.pick(&names).clone();
                match r.below(3) {
                    0 => drop(self.files.remove(&name)),
                    1 => self.files.entry(name).or_default().clear(),
                    _ => mutate(self.files.entry(name).or_default(), MODULE, r),
                }
                return false;
            }
            10 => {
                let bytes = self.files.entry("oci-layout".into()).or_default();
                mutate(bytes, b"{\"imageLayoutVersion\":\"2.0.0\"}", r);
                return false;
            }
            _ => {
                let name = match r.below(3) {
                    0 => blob("not-a-digest"),
                    1 => blob(&"0".repeat(64)),
                    _ => ".tmp-junk".into(),
                };
                self.files.insert(name, b"{\"junk\":1}".to_vec());
            }
        }
        true
    }

    /// Changes a blob that the manifest names, and often makes manifest and list name the new one. Whether it leaves alone
    /// what `sim@1` needs: the first layer is its too.
    fn part(
        &mut self,
        pointer: &str,
        r: &mut Random,
        f: impl Fn(&mut Vec<u8>, &mut Random),
    ) -> bool {
        let shared = pointer == "/layers/1";
        let Some(descriptor) = self.manifest.pointer_mut(pointer) else { return true };
        let name = blob(&digits(descriptor));
        let Some(mut bytes) = self.files.get(&name).cloned() else { return true };
        f(&mut bytes, r);
        if r.chance(5) {
            self.files.insert(name, bytes);
            return !shared;
        }
        descriptor["digest"] = format!("sha256:{}", hex(&bytes)).into();
        descriptor["size"] = bytes.len().into();
        if !shared {
            self.files.remove(&name);
        }
        self.files.insert(blob(&hex(&bytes)), bytes);
        self.put_manifest(true);
        true
    }

    /// Writes the manifest; with `right`, under its right name.
    fn put_manifest(&mut self, right: bool) {
        let bytes = serde_json::to_vec(&self.manifest).expect("JSON");
        if !right {
            self.files.insert(blob(&self.listed), bytes);
            return;
        }
        let digest = hex(&bytes);
        self.files.remove(&blob(&self.listed));
        let entries = self.index.pointer_mut("/manifests").and_then(Json::as_array_mut);
        if let Some(entries) = entries {
            for e in entries.iter_mut().filter(|e| digits(e) == self.listed) {
                e["digest"] = format!("sha256:{digest}").into();
                e["size"] = bytes.len().into();
            }
        }
        self.files.insert(blob(&digest), bytes);
        self.listed = digest;
        self.put_index(true);
    }

    /// Writes the list; with `right`, its own digest is right.
    fn put_index(&mut self, right: bool) {
        const KEY: &str = "io.dormouse.index";
        if right && self.index["annotations"].is_object() {
            self.index["annotations"][KEY] = format!("sha256:{}", "0".repeat(64)).into();
            let digest = hex(&serde_json::to_vec(&self.index).expect("JSON"));
            self.index["annotations"][KEY] = format!("sha256:{digest}").into();
        }
        let bytes = serde_json::to_vec(&self.index).expect("JSON");
        self.files.insert("index.json".into(), bytes);
    }

    fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir.join("blobs/sha256")).expect("a directory");
        for (name, bytes) in &self.files {
            std::fs::write(dir.join(name), bytes).expect("a file");
        }
    }
}

/// Changes one value somewhere in a document.
fn change_json(json: &mut Json, r: &mut Random) {
    match json {
        Json::Array(items) if !items.is_empty() && !r.chance(6) => {
            let at = r.below(items.len());
            match r.below(8) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                2 => {
                    let to = r.below(items.len());
                    items.swap(at, to);
                }
                _ => change_json(&mut items[at], r),
            }
        }
        Json::Object(map) if !map.is_empty() && !r.chance(8) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = r.pick(&keys).clone();
            match r.below(8) {
                0 => drop(map.remove(&key)),
                1 => {
                    let other = r.pick(&keys);
                    let value = map[other].clone();
                    map.insert(key, value);
                }
                _ => change_json(map.get_mut(&key).expect("its own key"), r),
            }
        }
        Json::String(text) if !r.chance(3) => {
            let mut bytes = std::mem::take(text).into_bytes();
            mutate(&mut bytes, b"sha256:..//@99999999999999999999-", r);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        other => {
            *other = match r.below(8) {
                0 => Json::Null,
                1 => true.into(),
                2 => u64::MAX.into(),
                3 => (-1).into(),
                4 => 1e300.into(),
                5 => "".into(),
                6 => r.below(5).into(),
                _ => Json::Array(vec![]),
            }
        }
    }
}
