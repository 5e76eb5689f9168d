//! Making a checkpoint durable.
//!
//! ```text
//!   lock writers   stage module (if missing), state, memories or their changes, files:  write .tmp-*, sync
//!   lock index       number = last + 1
//!                    stage manifest, rename all blobs, sync blobs/sha256
//!                    stage index.json, sync, rename, sync store      <- now it is reported
//! ```
//!
//! Until `index.json` is renamed nothing refers to the new blobs. A save that fails before removes
//! them again; one that dies leaves them for a later save.

use crate::blob::{self, BlobRef, Staged, Stager};
use crate::error::{StoreError, Subject};
use crate::files::NewFiles;
use crate::fs;
use crate::index::Index;
use crate::job::{CheckpointInfo, check_name};
use crate::layer::{Overlay, Stored, write_base, write_changes, write_memory_layer};
use crate::manifest::{MAX_MANIFEST_LEN, MAX_MODULE_LEN, Manifest, RESERVED};
use crate::meter::Meter;
use crate::open::Store;
use crate::pages::{Content, MemoryPages};
use crate::parent::{Chain, Parent, Squashed};
use crate::prepare::Prepared;
use crate::seal::{Sink, Source};
use dormouse_state::{MAX_STATE_LEN, State};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

/// Layers that a memory may come to have by being saved: well below what readers accept and a process may open.
const MAX_BUILT: usize = 64;

/// What is to be saved.
#[derive(Debug)]
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
    /// What memories given as [`Content::Changed`] are changes to.
    pub parent: Option<&'a Parent>,
    /// The parent's layers that were squashed since.
    pub squashed: Vec<Squashed>,
    /// Layers that were written before; their memories are given as [`Content::Changed`], with all pages that changed
    /// since those were written, or may have.
    pub prepared: Vec<Prepared>,
    /// Contents of files, if it holds any.
    pub files: Option<NewFiles<'a>>,
    /// Whether pages of which little changed are stored as differences to the parent's.
    pub deltas: bool,
    /// Whether it comes from elsewhere, as if it had been pulled: see [`CheckpointInfo::pulled`].
    pub foreign: bool,
    /// Asked before any blob gets its name, and once more right before the list is replaced, with the list locked.
    pub guard: Option<Guard<'a>>,
}

/// Says whether a checkpoint may still become durable, or why not.
#[derive(Clone, Copy)]
pub struct Guard<'a>(pub &'a dyn Fn() -> Result<(), String>);

impl std::fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard")
    }
}

impl<'a> NewCheckpoint<'a> {
    /// Without annotations and without a parent.
    pub fn new(module: &'a [u8], state: &'a State, memories: &'a [MemoryPages<'a>]) -> Self {
        NewCheckpoint {
            module,
            state,
            memories,
            annotations: BTreeMap::new(),
            parent: None,
            squashed: Vec::new(),
            prepared: Vec::new(),
            files: None,
            deltas: true,
            foreign: false,
            guard: None,
        }
    }
}

impl Store {
    /// Saves a checkpoint of `job`, and returns when it is durable: a power cut cannot take it back.
    ///
    /// # Errors
    /// Whatever goes wrong, older checkpoints are unchanged and temporary files are removed; the
    /// checkpoint is not listed (unless only the very last sync failed). [`StoreError::NoSpace`]
    /// says how much space there should be. [`StoreError::Refused`] if the guard did not allow it.
    /// [`StoreError::NoParent`] if layers of the parent are gone, or are not encrypted
    /// while what is saved is to be: save all pages then.
    pub fn save(
        &self,
        job: &str,
        checkpoint: NewCheckpoint<'_>,
    ) -> Result<CheckpointInfo, StoreError> {
        self.save_as_parent(job, checkpoint).map(|(saved, _)| saved)
    }

    /// Like [`Store::save`]; gives also what the next checkpoint needs to hold only what changed since.
    ///
    /// # Errors
    /// Those of [`Store::save`].
    ///
    /// ```
    /// # use dormouse_state::{Frame, Memory, Site, State};
    /// use dormouse_store::{MemoryPages, NewCheckpoint, Store, sha256};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let store = Store::create_or_open(&dir.path().join("store"))?;
    /// # let module = b"\0asm\x01\0\0\0";
    /// # let state = State {
    /// #     module_digest: sha256(module),
    /// #     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
    /// #     globals: vec![], tables: vec![], exceptions: vec![],
    /// #     memories: vec![Memory { index: 0, pages: 1 }],
    /// #     dropped_data: vec![], dropped_elems: vec![], wasi: vec![], host: vec![],
    /// # };
    /// let mut memory = vec![1; 65536];
    /// let all = [MemoryPages::whole(0, &memory)];
    /// let (_, parent) = store.save_as_parent("sim", NewCheckpoint::new(module, &state, &all))?;
    ///
    /// memory[5000] = 2;
    /// let runs = [(1, &memory[4096..8192])];
    /// let changes = [MemoryPages::changed(0, 1, &runs)];
    /// let next = NewCheckpoint {
    ///     parent: Some(&parent),
    ///     ..NewCheckpoint::new(module, &state, &changes)
    /// };
    /// store.save("sim", next)?;
    ///
    /// let mut again = vec![0; 65536];
    /// store.load("sim", None)?.read_memory(0, &mut again)?;
    /// assert_eq!(again, memory);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn save_as_parent(
        &self,
        job: &str,
        checkpoint: NewCheckpoint<'_>,
    ) -> Result<(CheckpointInfo, Parent), StoreError> {
        check_name(job)?;
        check(&checkpoint)?;
        let state = checkpoint.state.encode();
        at_most("state", state.len() as u64, MAX_STATE_LEN as u64)?;
        let mut checkpoint = checkpoint;
        let squashed = std::mem::take(&mut checkpoint.squashed);
        let prepared = std::mem::take(&mut checkpoint.prepared);
        self.try_save(job, &checkpoint, &state, squashed, prepared)
            .map_err(|error| self.explain(error, &checkpoint, &state))
    }

    fn try_save(
        &self,
        job: &str,
        new: &NewCheckpoint<'_>,
        state: &[u8],
        squashed: Vec<Squashed>,
        mut prepared: Vec<Prepared>,
    ) -> Result<(CheckpointInfo, Parent), StoreError> {
        Meter::current().expect(new.memories.iter().map(MemoryPages::bytes).sum());
        let _writers = self.lock_writers()?;
        let blobs = self.blobs();
        let mut module = self.module(new);
        let mut staged = Vec::with_capacity(new.memories.len() + 3);
        let mut has_module = self.has_good(&module);
        if !has_module {
            let blob = self.stage_module(new)?;
            module = blob.blob();
            staged.push(blob);
        }
        let state = self.stage(state, true)?;
        let state_ref = state.blob();
        staged.push(state);
        let mut chains = self.chains(new, squashed, &prepared, &mut staged)?;
        let mut memories = Vec::with_capacity(new.memories.len());
        for memory in new.memories {
            let at = chains.iter().position(|chain| chain.index == memory.index);
            let mut chain = at.map_or_else(Vec::new, |at| chains.swap_remove(at).layers);
            // As they were: the squashed ones have no names yet.
            let older = new.parent.and_then(|parent| parent.chain(memory.index));
            let at = prepared.iter().position(|layer| layer.index == memory.index);
            let below = at.map(|at| prepared.swap_remove(at));
            let layer = match &below {
                Some(below) => self.stage_above(memory, below, older)?,
                None => self.stage_memory(memory, older, new.deltas)?,
            };
            if let Some(below) = below {
                below.staged.sync()?;
                chain.push(below.staged.blob());
                staged.push(below.staged);
            }
            if let Some(layer) = layer {
                chain.push(layer.blob());
                staged.push(layer);
            }
            if chain.is_empty() || chain.len() > MAX_BUILT {
                return Err(StoreError::NoParent);
            }
            memories.push((memory.index, chain));
        }
        let files = self.files_of(new, &mut staged)?;

        let _index = self.lock_index()?;
        let (mut index, _) = Index::read(&self.dir)?;
        // Another save that failed may have taken it away again.
        has_module &= self.size_is(&module);
        if !has_module && !staged.iter().any(|blob| blob.digest == module.digest) {
            let blob = self.stage_module(new)?;
            module = blob.blob();
            staged.push(blob);
        }
        let manifest = Manifest {
            job: job.to_owned(),
            number: index.next_number(job)?,
            created: format!("{:.3}", jiff::Timestamp::now()),
            annotations: new.annotations.clone(),
            state: state_ref,
            module,
            memories,
            files,
        };
        let bytes = manifest
            .encode()
            .map_err(|why| StoreError::io("encode", &blobs)(io::Error::other(why)))?;
        at_most("manifest", bytes.len() as u64, MAX_MANIFEST_LEN)?;
        let manifest_blob = Stager::whole(&blobs, &bytes)?;
        let manifest_ref = manifest_blob.blob();
        staged.push(manifest_blob);

        let allowed = || new.guard.map_or(Ok(()), |Guard(ask)| ask());
        allowed().map_err(|why| StoreError::Refused { why })?;
        let mut published = Published(Vec::with_capacity(staged.len()));
        for blob in staged {
            published.publish(self, blob)?;
        }
        fs::sync_dir(&blobs).map_err(StoreError::io("sync", &blobs))?;
        let add = if new.foreign { Index::add_pulled } else { Index::add };
        add(&mut index, &manifest, manifest_ref)
            .map_err(|why| StoreError::io("encode", &self.dir)(io::Error::other(why)))?;
        let list = index.stage(&self.dir)?;
        if let Err(why) = allowed() {
            // Whoever is in our place may refer to the same blobs by now: they stay.
            published.0.clear();
            return Err(StoreError::Refused { why });
        }
        list.publish(&self.dir.join(crate::index::FILE))?;
        published.0.clear();
        fs::sync_dir(&self.dir).map_err(StoreError::io("sync", &self.dir))?;
        self.remember(module.digest);
        let info = CheckpointInfo { pulled: new.foreign, ..manifest.info(manifest_ref) };
        Ok((info, Parent::of(&manifest, new.state.module_digest)))
    }

    /// The parent's layers, squashed as far as they were; those are to be published.
    fn chains(
        &self,
        new: &NewCheckpoint<'_>,
        squashed: Vec<Squashed>,
        prepared: &[Prepared],
        staged: &mut Vec<Staged>,
    ) -> Result<Vec<Chain>, StoreError> {
        let mut chains = new.parent.map_or_else(Vec::new, |parent| parent.memories.clone());
        let changed = |index| {
            let mut memories = new.memories.iter();
            let anew = prepared.iter().any(|p| p.index == index && p.below.is_none());
            !anew
                && memories
                    .any(|m| m.index == index && matches!(m.content, Content::Changed { .. }))
        };
        chains.retain(|chain| changed(chain.index));
        let mut fresh = vec![];
        for layer in squashed {
            let Some(chain) = chains.iter_mut().find(|chain| layer.is_of(chain)) else {
                continue;
            };
            if let Some(blob) = layer.adopt(chain) {
                fresh.push(blob.digest);
                staged.push(blob);
            }
        }
        let there = |blob: &BlobRef| {
            let unsealed = self.keys.seal() && !blob.sealed;
            self.can_build_on(blob) || (fresh.contains(&blob.digest) && !unsealed)
        };
        if chains.iter().all(|chain| chain.layers.iter().all(there)) {
            Ok(chains)
        } else {
            Err(StoreError::NoParent)
        }
    }

    /// Whether a checkpoint can name this layer of its parent's. Nothing that is sealed builds on what is not.
    fn can_build_on(&self, blob: &BlobRef) -> bool {
        (blob.sealed || !self.keys.seal()) && self.size_is(blob)
    }

    /// The layers of files, with the new one, if there is one.
    fn files_of(
        &self,
        new: &NewCheckpoint<'_>,
        staged: &mut Vec<Staged>,
    ) -> Result<Vec<BlobRef>, StoreError> {
        let Some(files) = &new.files else { return Ok(vec![]) };
        let mut layers = match (files.whole, new.parent) {
            (true, _) => vec![],
            (false, Some(parent)) => parent.files.clone(),
            (false, None) => return Err(StoreError::NoParent),
        };
        if !layers.iter().all(|blob| self.can_build_on(blob)) || layers.len() >= MAX_BUILT {
            return Err(StoreError::NoParent);
        }
        if !files.items.is_empty() {
            let layer = self.stage_files(files)?;
            layers.push(layer.blob());
            staged.push(layer);
        }
        Ok(layers)
    }

    /// The memory's layer, if it needs one besides its parent's.
    fn stage_memory(
        &self,
        memory: &MemoryPages<'_>,
        parent: Option<&Chain>,
        deltas: bool,
    ) -> Result<Option<Staged>, StoreError> {
        let older = match memory.content {
            Content::Whole(_) | Content::Base { .. } => None,
            // What cannot be read now cannot be built on either.
            Content::Changed { wasm_pages, runs } => {
                let chain = parent.ok_or(StoreError::NoParent)?;
                let older = self.open_chain(chain, None).map_err(|_| StoreError::NoParent)?;
                if runs.is_empty() && older.wasm_pages() == wasm_pages {
                    return Ok(None);
                }
                Some(older)
            }
        };
        let size = |older: &Overlay<Source>| older.wasm_pages() == memory.size().0;
        let same_size = older.as_ref().is_some_and(size);
        let (staged, stored) = self.stage_layer(memory, older.as_ref().filter(|_| deltas))?;
        // Pages may have been written without being changed.
        let nothing = stored.whole + stored.deltas + stored.zero == 0;
        Ok(Some(staged).filter(|_| !(nothing && same_size)))
    }

    /// The same where a layer was prepared for it.
    fn stage_above(
        &self,
        memory: &MemoryPages<'_>,
        below: &Prepared,
        parent: Option<&Chain>,
    ) -> Result<Option<Staged>, StoreError> {
        let of_this_parent =
            below.below.is_none() || below.below == parent.map(|p| p.layers.clone());
        match memory.content {
            Content::Changed { wasm_pages, runs } if of_this_parent && below.staged.exists() => {
                let same = runs.is_empty() && below.wasm_pages == wasm_pages;
                match same {
                    true => Ok(None),
                    false => self.stage_layer(memory, None).map(|(staged, _)| Some(staged)),
                }
            }
            _ => Err(StoreError::NoParent),
        }
    }

    fn stage_layer(
        &self,
        memory: &MemoryPages<'_>,
        older: Option<&Overlay<Source>>,
    ) -> Result<(Staged, Stored), StoreError> {
        let stager = Stager::new(&self.blobs())?;
        let path = stager.path().to_owned();
        let mut sink = Sink::new(stager, &self.keys, true)?;
        let stored =
            write_layer(memory, older, &mut sink).map_err(StoreError::io("write", &path))?;
        if stored.unread > 0 {
            return Err(StoreError::NoParent);
        }
        Ok((sink.finish()?, stored))
    }

    /// The module, as it lies in the store if it does.
    fn module(&self, new: &NewCheckpoint<'_>) -> BlobRef {
        let digest = new.state.module_digest;
        let plain = BlobRef { digest, size: new.module.len() as u64, sealed: false };
        // Sealed again it would be another blob.
        let known = new.parent.map(|parent| parent.module).filter(|(known, _)| *known == digest);
        match known {
            Some((_, blob)) if blob.sealed => blob,
            _ if self.keys.seals_module() => BlobRef { size: u64::MAX, sealed: true, ..plain },
            _ => plain,
        }
    }

    /// Stages `bytes` as a whole; sealed, if that is wanted and there are keys.
    fn stage(&self, bytes: &[u8], seal: bool) -> Result<Staged, StoreError> {
        let stager = Stager::new(&self.blobs())?;
        let path = stager.path().to_owned();
        let mut sink = Sink::new(stager, &self.keys, seal)?;
        for chunk in bytes.chunks(4 << 20) {
            sink.write_all(chunk).map_err(StoreError::io("write", &path))?;
        }
        sink.finish()
    }

    fn stage_module(&self, new: &NewCheckpoint<'_>) -> Result<Staged, StoreError> {
        // Once it is sealed it stays so.
        let was = new.parent.is_some_and(|parent| parent.module.1.sealed);
        let seal = self.keys.seals_module() || (was && self.keys.seal());
        let staged = self.stage(new.module, seal)?;
        let digest = if seal { blob::sha256(new.module) } else { staged.digest };
        if digest != new.state.module_digest {
            return Err(StoreError::ModuleMismatch {
                expected: blob::name(&new.state.module_digest),
                found: blob::name(&digest),
            });
        }
        Ok(staged)
    }

    /// Whether the store has this blob. Hashed once by every handle, so that a blob that rotted
    /// is written again; from then on its size is enough.
    pub(crate) fn has_good(&self, blob: &BlobRef) -> bool {
        if !self.size_is(blob) {
            return false;
        }
        if self.known_good.lock().is_ok_and(|known| known.contains(&blob.digest)) {
            return true;
        }
        let path = blob::relative_path(&blob.digest);
        let subject = Subject { checkpoint: None, what: "module".to_owned(), path };
        Meter::current().expect(blob.size);
        let good = blob::open_verified(&self.dir, &subject, &blob.digest, blob.size).is_ok();
        if good {
            self.remember(blob.digest);
        }
        good
    }

    pub(crate) fn size_is(&self, blob: &BlobRef) -> bool {
        let path = self.dir.join(blob::relative_path(&blob.digest));
        std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == blob.size)
    }

    pub(crate) fn remember(&self, digest: [u8; 32]) {
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
            let _ = write_layer(memory, None, &mut needed);
        }
        if !self.size_is(&self.module(new)) {
            needed.0 += new.module.len() as u64;
        }
        // Manifest and list, old and new.
        let list = std::fs::metadata(self.dir.join(crate::index::FILE)).map_or(0, |m| m.len());
        needed.0 += list + (16 << 10);
        let free = fs::free_space(&self.dir);
        StoreError::NoSpace { dir: self.dir.clone(), needed: needed.0, free }
    }
}

fn write_layer(
    memory: &MemoryPages<'_>,
    older: Option<&Overlay<Source>>,
    out: impl Write,
) -> io::Result<Stored> {
    match memory.content {
        Content::Whole(bytes) => write_memory_layer(memory.index, bytes, out),
        Content::Base { wasm_pages, runs } => write_base(memory.index, wasm_pages, runs, out),
        Content::Changed { wasm_pages, runs } => {
            let mut older = older.and_then(|older| older.pages().ok());
            write_changes(memory.index, wasm_pages, runs, older.as_mut(), out)
        }
    }
}

/// Blobs that this save brought in and nothing refers to yet: removed again if it fails.
pub(crate) struct Published(pub(crate) Vec<PathBuf>);

impl Published {
    pub(crate) fn publish(&mut self, store: &Store, staged: Staged) -> Result<(), StoreError> {
        let path = store.dir.join(blob::relative_path(&staged.digest));
        Meter::current().store(staged.size);
        let new = matches!(path.try_exists(), Ok(false));
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
        // The manifest, which came last, goes first: a list that is lost is put together from manifests.
        for path in self.0.iter().rev() {
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
                let (pages, rest) = given.size();
                if pages != expected.pages || rest != 0 {
                    let found = match rest {
                        0 => pages.to_string(),
                        rest => format!("{pages} (and {rest} bytes)"),
                    };
                    return Err(mismatch(given.index, Some(expected.pages), Some(found)));
                }
                let is_prepared = new.prepared.iter().any(|layer| layer.index == given.index);
                if matches!(given.content, Content::Changed { .. })
                    && !is_prepared
                    && new.parent.is_none_or(|parent| parent.chain(given.index).is_none())
                {
                    return Err(StoreError::NoParent);
                }
            }
            (Some(expected), _) => {
                return Err(mismatch(expected.index, Some(expected.pages), None));
            }
            (None, Some(given)) => {
                return Err(mismatch(given.index, None, Some(given.size().0.to_string())));
            }
            (None, None) => {}
        }
    }
    Ok(())
}
