//! A checkpoint from elsewhere, taken into the store.
//!
//! ```text
//!   manifest --import: is it one? how large? ours already?--> Incoming --missing--> blobs, one by one (Part)
//!                                                                │
//!             everything is checked, then the list is replaced <─┴─commit
//! ```
//!
//! The manifest may be a stranger's: what it asks for is bounded before anything is fetched. Blobs get
//! their names as they come; the checkpoint is seen only when the last of them is durable, so that whatever happens
//! before, the store has the checkpoints it had.

use crate::blob::{self, BlobRef, Stager, sha256};
use crate::error::{Bad, DamageKind, StoreError, Subject, one_line};
use crate::fs;
use crate::index::Index;
use crate::job::{CheckpointInfo, check_name};
use crate::manifest::{MAX_MANIFEST_LEN, MAX_MODULE_LEN, Manifest};
use crate::open::Store;
use crate::part::Part;
use crate::save::Published;
use dormouse_state::MAX_STATE_LEN;
use std::collections::HashMap;
use std::fs::File;

/// Blobs a manifest from elsewhere may name.
pub const MAX_BLOBS: usize = 4096;
/// Bytes a memory layer from elsewhere may have: 1 TiB.
pub const MAX_LAYER_LEN: u64 = 1 << 40;

/// What [`Store::import`] says of a manifest.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// The store has this checkpoint, and all of it is good.
    Here(CheckpointInfo),
    /// It is to be taken in.
    Wanted(Incoming<'a>),
}

/// A checkpoint on its way in. Dropped before [`Incoming::commit`], the store has what it had, and keeps the blobs that
/// came for the next time.
#[derive(Debug)]
pub struct Incoming<'a> {
    store: &'a Store,
    manifest: Manifest,
    /// The manifest's bytes, unless they are to be written anew under another name.
    bytes: Option<Vec<u8>>,
    blobs: Vec<BlobRef>,
    missing: Vec<BlobRef>,
    /// Whoever removes blobs waits for this.
    _writers: File,
}

impl Store {
    /// Takes in a checkpoint, of which `manifest` are the manifest's bytes; under `name` and the job's next number
    /// instead of its own if there is one. Fetch [`Incoming::missing`], then [`Incoming::commit`].
    ///
    /// ```
    /// # use dormouse_state::{Frame, Site, State};
    /// # use dormouse_store::{NewCheckpoint, Store, sha256};
    /// # let dir = tempfile::tempdir()?;
    /// # let from = Store::create_or_open(&dir.path().join("from"))?;
    /// # let module = b"\0asm\x01\0\0\0";
    /// # let state = State {
    /// #     module_digest: sha256(module),
    /// #     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
    /// #     globals: vec![], tables: vec![], exceptions: vec![], memories: vec![], dropped_data: vec![],
    /// #     dropped_elems: vec![], wasi: vec![], host: vec![],
    /// # };
    /// # from.save("sim", NewCheckpoint::new(module, &state, &[]))?;
    /// # let to = Store::create_or_open(&dir.path().join("to"))?;
    /// use dormouse_store::Arrival;
    /// use std::io::Read;
    ///
    /// let image = from.export("sim", None)?;
    /// let Arrival::Wanted(incoming) = to.import(&image.manifest, None)? else { panic!() };
    /// for blob in incoming.missing() {
    ///     let mut bytes = vec![];
    ///     from.open_blob(blob)?.read_to_end(&mut bytes)?;
    ///     if let Some(mut part) = incoming.receive(blob)? {
    ///         part.write(&bytes)?;
    ///         part.finish()?;
    ///     }
    /// }
    /// assert_eq!(incoming.commit()?.name(), "sim@1");
    /// assert_eq!(to.load("sim", None)?.state, state);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if it is not a checkpoint or asks for too much; [`StoreError::Unsupported`] for one of a
    /// newer version; [`StoreError::Taken`] if another checkpoint has its name; [`StoreError::NoSpace`].
    pub fn import(&self, manifest: &[u8], name: Option<&str>) -> Result<Arrival<'_>, StoreError> {
        let digest = sha256(manifest);
        let mut decoded = decode(manifest, &digest)?;
        let blobs = bounded(&decoded)?;
        if let Some(name) = name {
            check_name(name)?;
            name.clone_into(&mut decoded.job);
        }
        let writers = self.lock_writers()?;
        let incoming = Incoming {
            store: self,
            manifest: decoded,
            bytes: name.is_none().then(|| manifest.to_owned()),
            missing: blobs.iter().filter(|blob| !self.has_good(blob)).copied().collect(),
            blobs,
            _writers: writers,
        };
        match incoming.standing(&Index::read(&self.dir)?.0)? {
            Some((info, _)) if incoming.missing.is_empty() => return Ok(Arrival::Here(info)),
            _ => {}
        }
        incoming.check_space()?;
        Ok(Arrival::Wanted(incoming))
    }
}

impl<'a> Incoming<'a> {
    /// What it says it is.
    pub(crate) fn info(&self) -> CheckpointInfo {
        self.manifest.info(BlobRef { digest: [0; 32], size: 0, sealed: false })
    }

    /// Every blob of the checkpoint, each once.
    pub fn blobs(&self) -> &[BlobRef] {
        &self.blobs
    }

    /// Those the store lacks, or has only damaged.
    pub fn missing(&self) -> &[BlobRef] {
        &self.missing
    }

    /// How many bytes of a missing blob came when it was tried before.
    pub fn arrived(&self, blob: &BlobRef) -> u64 {
        self.store.arrived(blob)
    }

    /// Begins a blob, or goes on with what came when it was tried before. Waits while another process fetches the same;
    /// `None` if the blob is there then.
    ///
    /// # Errors
    /// What the system says.
    pub fn receive(&self, blob: &BlobRef) -> Result<Option<Part<'a>>, StoreError> {
        self.store.part(*blob)
    }

    /// Checks all of it as [`Store::verify`] does, and adds it to the list. Returns when it is durable.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if a blob is missing or the parts do not belong together; [`StoreError::Taken`];
    /// [`StoreError::Unsupported`]. The store has the checkpoints that it had.
    pub fn commit(mut self) -> Result<CheckpointInfo, StoreError> {
        let store = self.store;
        let dir = store.blobs();
        fs::sync_dir(&dir).map_err(StoreError::io("sync", &dir))?;
        let encode = |manifest: &Manifest| {
            let failed = |why| StoreError::io("encode", &dir)(std::io::Error::other(why));
            manifest.encode().map_err(failed)
        };
        if self.bytes.is_none() {
            let (index, _) = Index::read(&store.dir)?;
            self.manifest.number = index.next_number(&self.manifest.job)?;
        }
        let named = self.info();
        if let Some(bad) = store.first_bad(&named, &self.manifest) {
            return Err(bad.into());
        }

        let _index = store.lock_index()?;
        let (mut index, _) = Index::read(&store.dir)?;
        // A save that failed, or somebody with `rm`, may have taken one away meanwhile.
        if let Some(gone) = self.blobs.iter().find(|blob| !store.size_is(blob)) {
            let path = blob::relative_path(&gone.digest);
            let subject = Subject { checkpoint: Some(named.name()), what: "blob".into(), path };
            return Err(StoreError::Damaged(subject.damage(DamageKind::Missing)));
        }
        let listed = self.standing(&index)?;
        if let (Some((info, _)), None) = (&listed, &self.bytes) {
            return Ok(info.clone());
        }
        let bytes = match self.bytes.take() {
            Some(bytes) => bytes,
            None => {
                self.manifest.number = index.next_number(&self.manifest.job)?;
                encode(&self.manifest)?
            }
        };
        // A manifest that rotted is replaced too.
        let staged = Stager::whole(&dir, &bytes)?;
        let manifest = staged.blob();
        let mut published = Published(Vec::with_capacity(1));
        published.publish(store, staged)?;
        fs::sync_dir(&dir).map_err(StoreError::io("sync", &dir))?;
        if listed.is_none() {
            index
                .add_pulled(&self.manifest, manifest)
                .map_err(|why| StoreError::io("encode", &store.dir)(std::io::Error::other(why)))?;
            index.write(&store.dir)?;
        }
        published.0.clear();
        fs::sync_dir(&store.dir).map_err(StoreError::io("sync", &store.dir))?;
        Ok(self.manifest.info(manifest))
    }

    /// The entry of this very checkpoint in the list, if there is one. Under another name it is the one with the same
    /// parts.
    fn standing(&self, index: &Index) -> Result<Option<(CheckpointInfo, BlobRef)>, StoreError> {
        let mut entries = index.checkpoints();
        entries.retain(|(info, _)| info.job == self.manifest.job);
        let Some(bytes) = &self.bytes else {
            return Ok(entries.into_iter().find(|(info, blob)| {
                self.store.load_manifest(info, blob).is_ok_and(|there| {
                    let number = there.number;
                    there == Manifest { number, ..self.manifest.clone() }
                })
            }));
        };
        entries.retain(|(info, _)| info.number == self.manifest.number);
        let digest = sha256(bytes);
        match entries.iter().find(|(_, blob)| blob.digest == digest).or(entries.last()) {
            Some((info, blob)) if blob.digest != digest => Err(StoreError::Taken {
                name: info.name(),
                found: blob.name(),
                expected: blob::name(&digest),
            }),
            same => Ok(same.cloned()),
        }
    }

    /// Refuses what the disk cannot hold before it is fetched.
    fn check_space(&self) -> Result<(), StoreError> {
        let left = |blob: &BlobRef| blob.size - self.arrived(blob);
        let needed = self.missing.iter().fold(0u64, |sum, blob| sum.saturating_add(left(blob)));
        match fs::free_space(&self.store.dir) {
            Some(free) if free < needed => {
                Err(StoreError::NoSpace { dir: self.store.dir.clone(), needed, free: Some(free) })
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn decode(bytes: &[u8], digest: &[u8; 32]) -> Result<Manifest, StoreError> {
    if bytes.len() as u64 > MAX_MANIFEST_LEN {
        let why = format!(
            "its manifest has {} bytes; at most {MAX_MANIFEST_LEN} can be read",
            bytes.len()
        );
        return Err(StoreError::Foreign { why });
    }
    let path = blob::relative_path(digest);
    let subject = Subject { checkpoint: None, what: "manifest".to_owned(), path };
    Manifest::decode(bytes, &subject).map_err(|bad| match bad {
        Bad::Damage(damage) => StoreError::Foreign {
            why: match damage.kind {
                DamageKind::Malformed(why) => why,
                kind => one_line(kind),
            },
        },
        Bad::Fatal(error) => error,
    })
}

/// Its blobs, each once, if they are not too many nor too large.
pub(crate) fn bounded(manifest: &Manifest) -> Result<Vec<BlobRef>, StoreError> {
    let foreign = |why| Err(StoreError::Foreign { why });
    let mut sizes: HashMap<[u8; 32], u64> = HashMap::new();
    let mut blobs = vec![];
    for blob in manifest.blobs() {
        let limit = match blob {
            _ if blob == manifest.state => MAX_STATE_LEN as u64,
            _ if blob == manifest.module => MAX_MODULE_LEN,
            _ => MAX_LAYER_LEN,
        };
        if blob.size > limit {
            return foreign(format!(
                "{} has {} bytes; at most {limit} can be",
                blob.name(),
                blob.size
            ));
        }
        match sizes.insert(blob.digest, blob.size) {
            Some(size) if size != blob.size => {
                return foreign(format!("{} has two sizes", blob.name()));
            }
            Some(_) => {}
            None => blobs.push(blob),
        }
        if blobs.len() > MAX_BLOBS {
            return foreign(format!("it has more than {MAX_BLOBS} blobs"));
        }
    }
    Ok(blobs)
}
