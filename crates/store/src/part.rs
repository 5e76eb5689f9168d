//! A blob that is arriving, and may take more than one try.
//!
//! ```text
//!   blobs/sha256/.part-e220..   locked by whoever writes it; kept when that ends early
//!        │  the next pull reads what is there into the hash, and asks for the rest
//!        └─ all there, synced, digest holds ──rename──> blobs/sha256/e220..
//! ```
//!
//! A save sweeps `.tmp-*` but not this.

use crate::blob::{self, BlobRef, PART_PREFIX, hex, relative_path};
use crate::error::StoreError;
use crate::fs;
use crate::open::Store;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Where the bytes of a blob go as they arrive. Dropped, it keeps them for the next time.
pub struct Part<'a> {
    store: &'a Store,
    blob: BlobRef,
    path: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
}

impl Store {
    fn part_path(&self, blob: &BlobRef) -> PathBuf {
        self.blobs().join(format!("{PART_PREFIX}{}", hex(&blob.digest)))
    }

    /// How much of a blob has arrived.
    pub(crate) fn arrived(&self, blob: &BlobRef) -> u64 {
        match std::fs::symlink_metadata(self.part_path(blob)) {
            Ok(found) if found.is_file() => found.len().min(blob.size),
            _ => 0,
        }
    }

    /// Begins or goes on; waits for another process that is at it. `None` if the blob has come by then. The caller
    /// holds the writers' lock, so that nobody else removes the file.
    pub(crate) fn part(&self, blob: BlobRef) -> Result<Option<Part<'_>>, StoreError> {
        let path = self.part_path(&blob);
        loop {
            let file = fs::open_part(&path).map_err(StoreError::io("open", &path))?;
            file.lock().map_err(StoreError::io("lock", &path))?;
            if self.has_good(&blob) {
                let _ = fs::remove(&path);
                return Ok(None);
            }
            // Complete and renamed by the one we waited for, and gone since.
            if !path.exists() {
                continue;
            }
            let mut part = Part { store: self, blob, path, file, hash: Sha256::new(), len: 0 };
            part.read_again().map_err(StoreError::io("read", &part.path))?;
            return Ok(Some(part));
        }
    }
}

impl Part<'_> {
    /// How many bytes are there.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Takes the next bytes. Never more than the blob has.
    ///
    /// # Errors
    /// [`StoreError::WrongLength`] if they are too many; what the system says.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let came = self.len + bytes.len() as u64;
        if came > self.blob.size {
            return Err(self.wrong_length(came));
        }
        fs::write(&mut self.file, &self.path, bytes)
            .map_err(StoreError::io("write", &self.path))?;
        self.hash.update(bytes);
        self.len = came;
        Ok(())
    }

    /// Forgets what has come.
    ///
    /// # Errors
    /// What the system says.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        // Not removed: others may wait for this very file.
        let empty = self.file.set_len(0).and_then(|()| self.file.rewind());
        empty.map_err(StoreError::io("empty", &self.path))?;
        (self.hash, self.len) = (Sha256::new(), 0);
        Ok(())
    }

    /// Checks the digest, waits until the bytes are on the disk, and gives the file its name.
    ///
    /// # Errors
    /// [`StoreError::WrongBytes`], and nothing of it is kept; [`StoreError::WrongLength`] if there is more to come; what
    /// the system says.
    pub fn finish(mut self) -> Result<(), StoreError> {
        if self.len != self.blob.size {
            return Err(self.wrong_length(self.len));
        }
        let found: [u8; 32] = std::mem::take(&mut self.hash).finalize().into();
        if found != self.blob.digest {
            self.restart()?;
            let (expected, found) = (self.blob.name(), blob::name(&found));
            return Err(StoreError::WrongBytes { expected, found });
        }
        fs::sync_file(&self.file, &self.path).map_err(StoreError::io("sync", &self.path))?;
        let path = self.store.dir.join(relative_path(&found));
        fs::rename(&self.path, &path).map_err(StoreError::io("rename to", &path))?;
        self.store.remember(found);
        Ok(())
    }

    fn wrong_length(&self, came: u64) -> StoreError {
        StoreError::WrongLength { name: self.blob.name(), size: self.blob.size, came }
    }

    fn read_again(&mut self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.blob.size {
            self.file.set_len(0)?;
        }
        self.file.rewind()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    self.hash.update(&buffer[..n]);
                    self.len += n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.file.seek(SeekFrom::Start(self.len)).map(drop)
    }
}
