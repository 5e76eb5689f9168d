//! A checkpoint as it leaves the store: a manifest, and the blobs it names.
//!
//! ```text
//!   index.json -> manifest -> state, module, memories       all of it is checked before it is given away
//!                    └────────────┴── Image: the manifest's bytes, a list of blobs, files to read them from
//! ```

use crate::blob::{self, BlobRef, relative_path};
use crate::error::{Bad, Damage, StoreError, Subject};
use crate::job::{CheckpointInfo, check_name};
use crate::load::subject;
use crate::manifest::MAX_MANIFEST_LEN;
use crate::open::Store;
use std::collections::HashSet;
use std::fs::File;

/// A checkpoint that is whole, to be sent elsewhere. Its blobs are not removed while this lives.
#[derive(Debug)]
pub struct Image {
    /// Which checkpoint.
    pub info: CheckpointInfo,
    /// The manifest, byte for byte.
    pub manifest: Vec<u8>,
    /// Every blob it refers to, each once.
    pub blobs: Vec<BlobRef>,
    /// Damage found on the way, as [`Checkpoint::warnings`](crate::Checkpoint::warnings).
    pub warnings: Vec<Damage>,
    /// Whoever removes blobs waits for this. None in a store that can only be read.
    _writers: Option<File>,
}

impl Store {
    /// Checkpoint `number` of `job`, to be sent elsewhere; with `None` the newest that is good. Everything it consists
    /// of is read and checked; of what is encrypted, and cannot be opened here, the digests.
    ///
    /// ```
    /// # use dormouse_state::{Frame, Site, State};
    /// # use dormouse_store::{NewCheckpoint, Store, sha256};
    /// # let dir = tempfile::tempdir()?;
    /// # let store = Store::create_or_open(&dir.path().join("store"))?;
    /// # let module = b"\0asm\x01\0\0\0";
    /// # let state = State {
    /// #     module_digest: sha256(module),
    /// #     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
    /// #     globals: vec![], tables: vec![], exceptions: vec![], memories: vec![], dropped_data: vec![],
    /// #     dropped_elems: vec![], wasi: vec![], host: vec![],
    /// # };
    /// store.save("sim", NewCheckpoint::new(module, &state, &[]))?;
    /// let image = store.export("sim", None)?;
    /// assert_eq!(image.info.name(), "sim@1");
    /// assert_eq!(image.blobs.len(), 2); // the state and the module
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn export(&self, job: &str, number: Option<u64>) -> Result<Image, StoreError> {
        check_name(job)?;
        let writers = self.lock_writers().ok();
        let (image, warnings) =
            self.choose(job, number, |info, manifest| self.export_entry(info, manifest))?;
        Ok(Image { warnings, _writers: writers, ..image })
    }

    fn export_entry(&self, entry: &CheckpointInfo, blob: &BlobRef) -> Result<Image, Bad> {
        let manifest = self.load_manifest(entry, blob)?;
        let info = manifest.info(*blob);
        if let Some(bad) = self.first_bad(&info, &manifest) {
            return Err(bad);
        }
        let BlobRef { digest, size, .. } = blob;
        let what = subject(&info, "manifest", blob);
        let bytes = blob::read_verified(&self.dir, &what, digest, *size, MAX_MANIFEST_LEN)?;
        let mut seen = HashSet::new();
        let blobs = manifest.blobs().filter(|blob| seen.insert(blob.digest)).collect();
        Ok(Image { info, manifest: bytes, blobs, warnings: vec![], _writers: None })
    }

    /// Opens a blob of an [`Image`]. Its bytes were checked when the image was made.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it has another size by now, or is gone.
    pub fn open_blob(&self, blob: &BlobRef) -> Result<File, StoreError> {
        let path = relative_path(&blob.digest);
        let subject = Subject { checkpoint: None, what: "blob".to_owned(), path };
        Ok(blob::open_sized(&self.dir, &subject, blob.size)?)
    }
}
