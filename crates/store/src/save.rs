//! Making a checkpoint durable.
//!
//! ```text
//!   lock writers   stage module (if missing), state, memories:  write .tmp-*, sync
//!   lock index       number = last + 1
//!                    stage manifest, rename all blobs, sync blobs/sha256
//!                    stage index.json, sync, rename, sync store      <- now it is reported
//! ```
//!
//! Until `index.json` is renamed nothing refers to the new blobs. A save that fails before removes
//! them again; one that dies leaves them for a later save.

use crate::blob::{self, Staged, Stager};
use crate::error::{StoreError, Subject};
use crate::fs;
use crate::index::Index;
use crate::job::{CheckpointInfo, check_name};
use crate::manifest::{BlobRef, MAX_MANIFEST_LEN, MAX_MODULE_LEN, Manifest, RESERVED};
use crate::memory_layer::{WASM_PAGE_SIZE, write_memory_layer};
use crate::open::Store;
use dormouse_state::{MAX_STATE_LEN, State};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// What is to be saved.
#[derive(Clone, Debug)]
pub struct NewCheckpoint<'a> {
    /// The original module, whose digest is `state.module_digest`. Neither read nor hashed if
    /// the store has it.
    pub module: &'a [u8],
    /// The state.
    pub state: &'a State,
    /// All of the state's memories, in its order.
    pub memories: &'a [MemoryPages<'a>],
    /// Anything the caller wants to remember; see [`CheckpointInfo::annotations`].
    pub annotations: BTreeMap<String, String>,
}

impl<'a> NewCheckpoint<'a> {
    /// Without annotations.
    pub fn new(module: &'a [u8], state: &'a State, memories: &'a [MemoryPages<'a>]) -> Self {
        NewCheckpoint { module, state, memories, annotations: BTreeMap::new() }
    }
}

/// A linear memory's bytes.
#[derive(Clone, Copy, Debug)]
pub struct MemoryPages<'a> {
    /// Index in the original module.
    pub index: u32,
    /// All of it, zero pages too.
    pub bytes: &'a [u8],
}

impl Store {
    /// Saves a checkpoint of `job`, and returns when it is durable: a power cut cannot take it back.
    ///
    /// # Errors
    /// Whatever goes wrong, older checkpoints are unchanged and temporary files are removed; the
    /// checkpoint is not listed (unless only the very last sync failed). [`StoreError::NoSpace`]
    /// says how much space there should be.
    pub fn save(
        &self,
        job: &str,
        checkpoint: NewCheckpoint<'_>,
    ) -> Result<CheckpointInfo, StoreError> {
        check_name(job)?;
        check(&checkpoint)?;
        let state = checkpoint.state.encode();
        at_most("state", state.len() as u64, MAX_STATE_LEN as u64)?;
        self.try_save(job, &checkpoint, &state)
            .map_err(|error| self.explain(error, &checkpoint, &state))
    }

    fn try_save(
        &self,
        job: &str,
        new: &NewCheckpoint<'_>,
        state: &[u8],
    ) -> Result<CheckpointInfo, StoreError> {
        let _writers = self.lock_writers()?;
        let blobs = self.blobs();
        let module = BlobRef { digest: new.state.module_digest, size: new.module.len() as u64 };
        let mut staged = Vec::with_capacity(new.memories.len() + 3);
        let mut has_module = self.has_good(&module);
        if !has_module {
            staged.push(self.stage_module(new)?);
        }
        let state = Stager::whole(&blobs, state)?;
        let state_ref = BlobRef { digest: state.digest, size: state.size };
        staged.push(state);
        let mut memories = Vec::with_capacity(new.memories.len());
        for memory in new.memories {
            let mut stager = Stager::new(&blobs)?;
            let path = stager.path().to_owned();
            write_memory_layer(memory.index, memory.bytes, &mut stager)
                .map_err(StoreError::io("write", &path))?;
            let layer = stager.finish()?;
            memories.push((memory.index, BlobRef { digest: layer.digest, size: layer.size }));
            staged.push(layer);
        }

        let _index = self.lock_index()?;
        let (mut index, _) = Index::read(&self.dir)?;
        // Another save that failed may have taken it away again.
        has_module &= self.size_is(&module);
        if !has_module && !staged.iter().any(|blob| blob.digest == module.digest) {
            staged.push(self.stage_module(new)?);
        }
        let manifest = Manifest {
            job: job.to_owned(),
            number: index.next_number(job),
            created: format!("{:.3}", jiff::Timestamp::now()),
            annotations: new.annotations.clone(),
            state: state_ref,
            module,
            memories,
        };
        let bytes = manifest
            .encode()
            .map_err(|why| StoreError::io("encode", &blobs)(io::Error::other(why)))?;
        at_most("manifest", bytes.len() as u64, MAX_MANIFEST_LEN)?;
        let manifest_blob = Stager::whole(&blobs, &bytes)?;
        let manifest_ref = BlobRef { digest: manifest_blob.digest, size: manifest_blob.size };
        staged.push(manifest_blob);

        let mut published = Published(Vec::with_capacity(staged.len()));
        for blob in staged {
            published.publish(self, blob)?;
        }
        fs::sync_dir(&blobs).map_err(StoreError::io("sync", &blobs))?;
        index
            .add(&manifest, manifest_ref)
            .map_err(|why| StoreError::io("encode", &self.dir)(io::Error::other(why)))?;
        index.write(&self.dir)?;
        published.0.clear();
        fs::sync_dir(&self.dir).map_err(StoreError::io("sync", &self.dir))?;
        self.remember(module.digest);
        Ok(manifest.info(manifest_ref))
    }

    fn stage_module(&self, new: &NewCheckpoint<'_>) -> Result<Staged, StoreError> {
        let staged = Stager::whole(&self.blobs(), new.module)?;
        if staged.digest != new.state.module_digest {
            return Err(StoreError::ModuleMismatch {
                expected: blob::name(&new.state.module_digest),
                found: blob::name(&staged.digest),
            });
        }
        Ok(staged)
    }

    /// Whether the store has this blob. Hashed once by every handle, so that a blob that rotted
    /// is written again; from then on its size is enough.
    fn has_good(&self, blob: &BlobRef) -> bool {
        if !self.size_is(blob) {
            return false;
        }
        if self.known_good.lock().is_ok_and(|known| known.contains(&blob.digest)) {
            return true;
        }
        let path = blob::relative_path(&blob.digest);
        let subject = Subject { checkpoint: None, what: "module".to_owned(), path };
        let good = blob::open_verified(&self.dir, &subject, &blob.digest, blob.size).is_ok();
        if good {
            self.remember(blob.digest);
        }
        good
    }

    fn size_is(&self, blob: &BlobRef) -> bool {
        let path = self.dir.join(blob::relative_path(&blob.digest));
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == blob.size)
    }

    fn remember(&self, digest: [u8; 32]) {
        if let Ok(mut known) = self.known_good.lock() {
            known.insert(digest);
        }
    }

    /// A full disk: finds out how much space the checkpoint takes.
    fn explain(&self, error: StoreError, new: &NewCheckpoint<'_>, state: &[u8]) -> StoreError {
        let StoreError::Io { source, .. } = &error else {
            return error;
        };
        if !matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return error;
        }
        let mut needed = Counter(state.len() as u64);
        for memory in new.memories {
            // Compressed once more, into nothing.
            let _ = write_memory_layer(memory.index, memory.bytes, &mut needed);
        }
        let size = new.module.len() as u64;
        if !self.size_is(&BlobRef { digest: new.state.module_digest, size }) {
            needed.0 += size;
        }
        // Manifest and list, old and new.
        let list = std::fs::metadata(self.dir.join(crate::index::FILE)).map_or(0, |m| m.len());
        needed.0 += list + (16 << 10);
        let free = fs::free_space(&self.dir);
        StoreError::NoSpace { dir: self.dir.clone(), needed: needed.0, free }
    }
}

/// Blobs that this save brought in and nothing refers to yet: removed again if it fails.
struct Published(Vec<PathBuf>);

impl Published {
    fn publish(&mut self, store: &Store, staged: Staged) -> Result<(), StoreError> {
        let path = store.dir.join(blob::relative_path(&staged.digest));
        let new = !path.exists();
        // Replaces a blob of the same name too: the same bytes, or they had rotted.
        staged.publish(&path)?;
        if new {
            self.0.push(path);
        }
        Ok(())
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove(path);
        }
    }
}

struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn at_most(what: &'static str, len: u64, limit: u64) -> Result<(), StoreError> {
    if len > limit { Err(StoreError::TooLarge { what, len, limit }) } else { Ok(()) }
}

/// Everything that can be known to be wrong before anything is written.
fn check(new: &NewCheckpoint<'_>) -> Result<(), StoreError> {
    new.state.check()?;
    at_most("module", new.module.len() as u64, MAX_MODULE_LEN)?;
    if let Some(key) = new.annotations.keys().find(|key| RESERVED.contains(&key.as_str())) {
        return Err(StoreError::ReservedAnnotation { key: key.clone() });
    }
    let mismatch = |index, expected: Option<u64>, found: Option<String>| {
        let none = || "none".to_owned();
        StoreError::MemoryMismatch {
            index,
            expected: expected.map_or_else(none, |pages| pages.to_string()),
            found: found.unwrap_or_else(none),
        }
    };
    for i in 0..new.state.memories.len().max(new.memories.len()) {
        match (new.state.memories.get(i), new.memories.get(i)) {
            (Some(expected), Some(given)) if expected.index == given.index => {
                let bytes = given.bytes.len();
                let pages = (bytes / WASM_PAGE_SIZE) as u64;
                if pages != expected.pages || !bytes.is_multiple_of(WASM_PAGE_SIZE) {
                    let found = match bytes % WASM_PAGE_SIZE {
                        0 => pages.to_string(),
                        rest => format!("{pages} (and {rest} bytes)"),
                    };
                    return Err(mismatch(given.index, Some(expected.pages), Some(found)));
                }
            }
            (Some(expected), _) => {
                return Err(mismatch(expected.index, Some(expected.pages), None));
            }
            (None, Some(given)) => {
                let pages = (given.bytes.len() / WASM_PAGE_SIZE).to_string();
                return Err(mismatch(given.index, None, Some(pages)));
            }
            (None, None) => {}
        }
    }
    Ok(())
}
