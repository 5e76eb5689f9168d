//! Getting a checkpoint back.
//!
//! ```text
//!   index.json -> manifest -> state, module, memories      every digest is checked
//!        sim@3     damaged -> a warning that names the blob
//!        sim@2     good    -> this one
//! ```

use crate::blob::{self, BlobRef};
use crate::error::{Bad, Damage, StoreError, Subject};
use crate::files::{FileTree, Opened};
use crate::index::Index;
use crate::job::{CheckpointInfo, check_name};
use crate::layer::{LayerError, MemoryLayer, Overlay, PAGE_SIZE, PageReader, join};
use crate::manifest::{MAX_MANIFEST_LEN, MAX_MODULE_LEN, Manifest};
use crate::meter::Meter;
use crate::open::Store;
use crate::parent::{Chain, Parent, layer_subject};
use crate::seal::{self, Source};
use dormouse_state::{MAX_STATE_LEN, Memory, State};
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

/// How memory layers are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memories {
    /// All their bytes are compared with their digests.
    Verified,
    /// Nothing is read but their indexes.
    Opened,
}

/// A checkpoint whose digests all hold; if it was loaded lazily, those of its memory layers may not.
#[derive(Debug)]
pub struct Checkpoint {
    /// Which one.
    pub info: CheckpointInfo,
    /// The state.
    pub state: State,
    /// The original module.
    pub module: Vec<u8>,
    /// Damage found on the way: newer checkpoints that had to be passed over, and files that could
    /// be done without. Tell the user.
    pub warnings: Vec<Damage>,
    /// Memory layers that were opened only.
    unverified: Vec<Unverified>,
    memories: Vec<(Chain, Overlay<Source>)>,
    files: Option<Opened>,
    parent: Parent,
}

/// A memory layer whose bytes were not compared with its digest.
#[derive(Debug)]
struct Unverified {
    subject: Subject,
    blob: BlobRef,
    file: File,
}

/// Reads single pages of a memory of a checkpoint.
pub struct CheckpointPages<'a> {
    name: String,
    chain: &'a Chain,
    reader: PageReader<'a, Source>,
}

impl CheckpointPages<'_> {
    /// Reads page `number` of [`PAGE_SIZE`] bytes; fastest in ascending order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if its frame is; `into` is undefined then. What the system says.
    pub fn page(&mut self, number: u64, into: &mut [u8; PAGE_SIZE]) -> Result<(), StoreError> {
        self.reader.page(number, into).map_err(|bad| {
            let subject = layer_subject(Some(self.name.clone()), self.chain, bad.layer);
            subject.layer(bad.error).into()
        })
    }
}

impl Checkpoint {
    /// For reading single pages of memory `index`.
    ///
    /// # Errors
    /// [`StoreError::NoMemory`]; or there is no room for what it takes.
    ///
    /// ```
    /// # use dormouse_state::{Frame, Memory, Site, State};
    /// # use dormouse_store::{MemoryPages, NewCheckpoint, Store, sha256};
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
    /// # let memory = [7; 65536];
    /// # let memories = [MemoryPages::whole(0, &memory)];
    /// # store.save("sim", NewCheckpoint::new(module, &state, &memories))?;
    /// let checkpoint = store.load_lazily("sim", None)?;
    /// let mut page = [0; 4096];
    /// checkpoint.pages(0)?.page(3, &mut page)?;
    /// assert_eq!(page, [7; 4096]);
    /// checkpoint.verify_memories()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pages(&self, index: u32) -> Result<CheckpointPages<'_>, StoreError> {
        let (chain, memory) = self.memory(index)?;
        let name = self.info.name();
        let reader = memory.pages().map_err(|error| {
            StoreError::from(layer_subject(Some(name.clone()), chain, 0).layer(error))
        })?;
        Ok(CheckpointPages { name, chain, reader })
    }

    /// Reads all memory layers and compares them with their digests, as [`Store::load`] has done: those that were opened, whatever
    /// has become of their names.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], with the first that is; what the system says.
    pub fn verify_memories(&self) -> Result<(), StoreError> {
        for Unverified { subject, blob, file } in &self.unverified {
            blob::check_opened(file, subject, &blob.digest, blob.size)?;
        }
        Ok(())
    }

    /// Writes memory `index` into `into`, which is as long as the memory and all zero.
    ///
    /// # Errors
    /// [`StoreError::NoMemory`], [`StoreError::BufferLength`] (nothing is written then);
    /// [`StoreError::Damaged`] if the file has changed since it was loaded.
    pub fn read_memory(&self, index: u32, into: &mut [u8]) -> Result<(), StoreError> {
        let (chain, memory) = self.memory(index)?;
        memory.read_into(into).map_err(|bad| match bad.error {
            LayerError::BufferLength { expected, found } => {
                StoreError::BufferLength { index, expected, found }
            }
            error => layer_subject(Some(self.info.name()), chain, bad.layer).layer(error).into(),
        })
    }

    /// The pages of 4 KiB of memory `index` that may be other than zero, in ascending order.
    ///
    /// # Errors
    /// [`StoreError::NoMemory`].
    pub fn stored_pages(&self, index: u32) -> Result<Vec<Range<u64>>, StoreError> {
        Ok(self.memory(index)?.1.stored())
    }

    /// The pages of 4 KiB of memory `index` that hold anything, in ascending order: those that became zero again are not among them.
    ///
    /// # Errors
    /// [`StoreError::NoMemory`].
    pub fn used_pages(&self, index: u32) -> Result<Vec<Range<u64>>, StoreError> {
        Ok(self.memory(index)?.1.used())
    }

    /// The pages of 4 KiB of memory `index` that may differ from those of another checkpoint, in ascending order: what is in
    /// layers that both have is the same. Where one of them is larger, what lies beyond the other's end is not said.
    ///
    /// # Errors
    /// [`StoreError::NoMemory`], if either has none.
    pub fn pages_apart(
        &self,
        other: &Checkpoint,
        index: u32,
    ) -> Result<Vec<Range<u64>>, StoreError> {
        let ((mine, memory), (others, other)) = (self.memory(index)?, other.memory(index)?);
        let pairs = mine.layers.iter().zip(&others.layers);
        let shared = pairs.take_while(|(a, b)| a.digest == b.digest).count();
        let changed = |memory: &Overlay<Source>| Overlay::changed(&memory.layers()[shared..]);
        Ok(join([changed(memory), changed(other)].concat()))
    }

    /// The files whose contents it holds, if it holds any.
    pub fn files(&self) -> Option<&FileTree> {
        self.files.as_ref().map(|files| &files.tree)
    }

    /// Gives the name and the bytes of each file, in the order they are stored in.
    ///
    /// # Errors
    /// The first of `each`; what the system says.
    pub fn read_files(
        &self,
        each: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        self.files.as_ref().map_or(Ok(()), |files| files.read(each))
    }

    /// Whether its module is encrypted.
    pub fn has_sealed_module(&self) -> bool {
        self.parent.module.1.sealed
    }

    /// For the next checkpoint to hold only what changed since this one.
    pub fn as_parent(&self) -> Parent {
        self.parent.clone()
    }

    fn memory(&self, index: u32) -> Result<&(Chain, Overlay<Source>), StoreError> {
        let mut memories = self.memories.iter();
        memories.find(|(chain, _)| chain.index == index).ok_or(StoreError::NoMemory { index })
    }
}

impl Store {
    /// One attempt of [`Store::load`], with the list as it is now.
    pub(crate) fn load_listed(
        &self,
        job: &str,
        number: Option<u64>,
        memories: Memories,
    ) -> Result<Checkpoint, StoreError> {
        let load = |info: &_, manifest: &_| self.load_entry(info, manifest, memories);
        let (checkpoint, warnings) = self.choose(job, number, load)?;
        Ok(Checkpoint { warnings, ..checkpoint })
    }

    /// What `open` makes of checkpoint `number`, or of the newest that it does not find damaged; and the damage found on the
    /// way.
    pub(crate) fn choose<T>(
        &self,
        job: &str,
        number: Option<u64>,
        open: impl Fn(&CheckpointInfo, &BlobRef) -> Result<T, Bad>,
    ) -> Result<(T, Vec<Damage>), StoreError> {
        check_name(job)?;
        let (index, damage) = Index::read(&self.dir)?;
        let mut warnings: Vec<Damage> = self.layout_damage().into_iter().chain(damage).collect();
        let mut entries = index.checkpoints();
        entries.retain(|(info, _)| info.job == job);
        if entries.is_empty() {
            // A list that lost its entries is worth more than "no such job".
            return match warnings.is_empty() {
                true => Err(StoreError::NoJob { job: job.to_owned() }),
                false => Err(StoreError::AllDamaged { job: job.to_owned(), damages: warnings }),
            };
        }
        if let Some(number) = number {
            let (info, manifest) = entries
                .iter()
                .rfind(|(info, _)| info.number == number)
                .ok_or(StoreError::NoCheckpoint { job: job.to_owned(), number })?;
            return Ok((open(info, manifest)?, warnings));
        }
        for (info, manifest) in entries.iter().rev() {
            match open(info, manifest) {
                Ok(opened) => return Ok((opened, warnings)),
                Err(Bad::Damage(damage)) => warnings.push(damage),
                Err(Bad::Fatal(error)) => return Err(error),
            }
        }
        Err(StoreError::AllDamaged { job: job.to_owned(), damages: warnings })
    }

    pub(crate) fn load_entry(
        &self,
        entry: &CheckpointInfo,
        blob: &BlobRef,
        memories: Memories,
    ) -> Result<Checkpoint, Bad> {
        let manifest = self.load_manifest(entry, blob)?;
        let layers = manifest.memories.iter().flat_map(|(_, layers)| layers);
        let parts = [&manifest.state, &manifest.module];
        let read = parts
            .into_iter()
            .chain(&manifest.files)
            .chain(layers.filter(|_| memories == Memories::Verified));
        Meter::current().expect(blob.size + read.map(|part| part.size).sum::<u64>());
        let info = CheckpointInfo { pulled: entry.pulled, ..manifest.info(*blob) };
        let state = self.load_state(&info, &manifest)?;
        let module = self.load_module(&info, &manifest, &state)?;
        let mut unverified = Vec::new();
        let memories = self.load_memories(&info, &manifest, &state, memories, &mut unverified)?;
        let files = self.load_files(&info, &manifest)?;
        let parent = Parent::of(&manifest, state.module_digest);
        let warnings = Vec::new();
        Ok(Checkpoint { info, state, module, warnings, unverified, memories, files, parent })
    }

    pub(crate) fn load_manifest(
        &self,
        entry: &CheckpointInfo,
        blob: &BlobRef,
    ) -> Result<Manifest, Bad> {
        let subject = subject(entry, "manifest", blob);
        let BlobRef { digest, size, .. } = blob;
        let bytes = blob::read_verified(&self.dir, &subject, digest, *size, MAX_MANIFEST_LEN)?;
        let manifest = Manifest::decode(&bytes, &subject)?;
        if (&manifest.job, manifest.number) != (&entry.job, entry.number) {
            return Err(subject.malformed(format!(
                "it belongs to {}@{}, but is listed as {}",
                manifest.job,
                manifest.number,
                entry.name()
            )));
        }
        Ok(manifest)
    }

    pub(crate) fn load_state(
        &self,
        info: &CheckpointInfo,
        manifest: &Manifest,
    ) -> Result<State, Bad> {
        let subject = subject(info, "state", &manifest.state);
        let BlobRef { digest, size, sealed } = manifest.state;
        let limit = MAX_STATE_LEN as u64;
        let bytes = blob::read_verified(&self.dir, &subject, &digest, size, limit)?;
        let bytes = seal::reveal(bytes, sealed, &self.keys, &subject)?;
        let state = State::decode(&bytes).map_err(|error| subject.state(error))?;
        // The digest of a sealed module is another; it is compared when it is opened.
        if !manifest.module.sealed && state.module_digest != manifest.module.digest {
            return Err(subject.malformed("it belongs to another module"));
        }
        let memories = state.memories.iter().map(|m| m.index);
        if !memories.eq(manifest.memories.iter().map(|(index, _)| *index)) {
            return Err(subject.malformed("its memories are not those of the manifest"));
        }
        Ok(state)
    }

    fn load_module(
        &self,
        info: &CheckpointInfo,
        manifest: &Manifest,
        state: &State,
    ) -> Result<Vec<u8>, Bad> {
        let subject = subject(info, "module", &manifest.module);
        let BlobRef { digest, size, sealed } = manifest.module;
        let bytes = blob::read_verified(&self.dir, &subject, &digest, size, MAX_MODULE_LEN)?;
        let bytes = seal::reveal(bytes, sealed, &self.keys, &subject)?;
        if sealed && blob::sha256(&bytes) != state.module_digest {
            return Err(subject.malformed("it is not the module that the state belongs to"));
        }
        Ok(bytes)
    }

    fn load_memories(
        &self,
        info: &CheckpointInfo,
        manifest: &Manifest,
        state: &State,
        how: Memories,
        unverified: &mut Vec<Unverified>,
    ) -> Result<Vec<(Chain, Overlay<Source>)>, Bad> {
        let memories = manifest.memories.iter().zip(&state.memories);
        memories
            .map(|((_, layers), memory)| self.load_memory(info, layers, memory, how, unverified))
            .collect()
    }

    fn load_files(
        &self,
        info: &CheckpointInfo,
        manifest: &Manifest,
    ) -> Result<Option<Opened>, Bad> {
        let mut opened = Opened::new();
        let n = manifest.files.len();
        for (at, blob) in manifest.files.iter().enumerate() {
            self.push_files(&mut opened, files_subject(info, at, n, blob), blob)?;
        }
        Ok(Some(opened).filter(|_| !manifest.files.is_empty()))
    }

    fn load_memory(
        &self,
        info: &CheckpointInfo,
        layers: &[BlobRef],
        memory: &Memory,
        how: Memories,
        unverified: &mut Vec<Unverified>,
    ) -> Result<(Chain, Overlay<Source>), Bad> {
        let chain = Chain { index: memory.index, layers: layers.to_vec() };
        let subject = |layer| layer_subject(Some(info.name()), &chain, layer);
        let open = |(at, blob): (usize, &BlobRef)| {
            let subject = subject(at);
            let file = match how {
                Memories::Verified => {
                    blob::open_verified(&self.dir, &subject, &blob.digest, blob.size)?
                }
                Memories::Opened => {
                    let file = blob::open_sized(&self.dir, &subject, blob.size)?;
                    let again = file.try_clone().map_err(|e| subject.io(e))?;
                    unverified.push(Unverified { subject: subject.clone(), blob: *blob, file });
                    again
                }
            };
            let source = seal::source(file, blob.sealed, &self.keys, &subject)?;
            MemoryLayer::open(source).map_err(|error| subject.layer(error))
        };
        let opened = layers.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        let newest = subject(layers.len().saturating_sub(1));
        let overlay = Overlay::new(opened).map_err(|error| newest.layer(error))?;
        if (overlay.memory_index(), overlay.wasm_pages()) != (memory.index, memory.pages) {
            return Err(newest.malformed("it is not the memory that the state has"));
        }
        Ok((chain, overlay))
    }
}

pub(crate) fn subject(info: &CheckpointInfo, what: &str, blob: &BlobRef) -> Subject {
    Subject {
        checkpoint: Some(info.name()),
        what: what.to_owned(),
        path: blob::relative_path(&blob.digest),
    }
}

/// Layer `at` of `n` layers of files, for messages.
pub(crate) fn files_subject(info: &CheckpointInfo, at: usize, n: usize, blob: &BlobRef) -> Subject {
    match n {
        1 => subject(info, "files", blob),
        _ => subject(info, &format!("files (layer {} of {n})", at + 1), blob),
    }
}
