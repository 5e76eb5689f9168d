//! One checkpoint with all its blobs as a stream of bytes: a tar archive of an OCI image layout.
//!
//! ```text
//!   oci-layout                what it is
//!   index.json                one entry: the manifest
//!   blobs/sha256/5f0c..       the manifest ── looked at before anything else is taken
//!   blobs/sha256/9a31..       state, module, memories: those the store has are passed over
//! ```
//!
//! Such a file is what other tools call an OCI archive. Written here, the manifest comes first, so that a stream can be
//! taken in as it comes, and what is not a checkpoint is refused after a few bytes. [`Store::read_archive`] wants it so.

use crate::blob::{self, BlobRef, relative_path, sha256};
use crate::entries::{Entry, Reader};
use crate::error::StoreError;
use crate::export::Image;
use crate::import::{Arrival, Incoming, bounded, decode};
use crate::job::CheckpointInfo;
use crate::manifest::{self, MAX_MANIFEST_LEN};
use crate::open::{LAYOUT, Store};
use oci_spec::image::{ImageIndex, ImageIndexBuilder, MediaType};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use tar::EntryType;

/// Bytes of `oci-layout` and `index.json` that are read.
const MAX_JSON_LEN: u64 = 1 << 20;
const CHUNK: usize = 256 << 10;

impl Store {
    /// Writes checkpoint `number` of `job`, or the newest that is good, with everything it needs. Returns which it was.
    ///
    /// ```
    /// # use dormouse_state::{Frame, Site, State};
    /// # use dormouse_store::{NewCheckpoint, Store, sha256};
    /// # let dir = tempfile::tempdir()?;
    /// # let here = Store::create_or_open(&dir.path().join("here"))?;
    /// # let module = b"\0asm\x01\0\0\0";
    /// # let state = State {
    /// #     module_digest: sha256(module),
    /// #     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
    /// #     globals: vec![], tables: vec![], exceptions: vec![], memories: vec![], dropped_data: vec![],
    /// #     dropped_elems: vec![], wasi: vec![], host: vec![],
    /// # };
    /// here.save("sim", NewCheckpoint::new(module, &state, &[]))?;
    /// let there = Store::create_or_open(&dir.path().join("there"))?;
    ///
    /// let mut bytes = vec![]; // or a file, or a socket
    /// here.write_archive("sim", None, &mut bytes)?;
    /// assert_eq!(there.read_archive(&mut &bytes[..], None)?.name(), "sim@1");
    /// assert_eq!(there.load("sim", None)?.state, state);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Store::export`]; [`StoreError::Archive`] if `out` takes no more.
    pub fn write_archive(
        &self,
        job: &str,
        number: Option<u64>,
        out: &mut impl Write,
    ) -> Result<CheckpointInfo, StoreError> {
        let image = self.export(job, number)?;
        let written = |source| StoreError::Archive { action: "write", source };
        let index = index(&image).map_err(|why| written(io::Error::other(why)))?;
        let manifest = relative_path(&sha256(&image.manifest));
        let mut tar = tar::Builder::new(out);
        let mut add = |name: &Path, size, bytes: &mut dyn Read| {
            Entry::file(&name.to_string_lossy(), size).write(&mut tar, bytes).map_err(written)
        };
        for (name, bytes) in [
            (Path::new("oci-layout"), LAYOUT),
            (Path::new("index.json"), &index),
            (&manifest, &image.manifest),
        ] {
            add(name, bytes.len() as u64, &mut &bytes[..])?;
        }
        for blob in &image.blobs {
            add(&relative_path(&blob.digest), blob.size, &mut self.open_blob(blob)?)?;
        }
        tar.into_inner().and_then(|out| out.flush()).map_err(written)?;
        Ok(image.info)
    }

    /// Takes in the checkpoint of an archive, under `name` and that job's next number instead of its own if there is one.
    /// Returns when it is durable; it is as if it had been pulled ([`CheckpointInfo::pulled`]). Nothing after the archive's
    /// end is read.
    ///
    /// The archive may be a stranger's: its manifest is bounded and checked as by [`Store::import`], no more is taken than that
    /// says, and every digest is checked. What came before it broke off is kept for the next time.
    ///
    /// # Errors
    /// As [`Store::import`]; [`StoreError::Foreign`] if it is not such an archive; [`StoreError::Archive`] if it ends early.
    /// The store has the checkpoints that it had.
    pub fn read_archive(
        &self,
        from: &mut impl Read,
        name: Option<&str>,
    ) -> Result<CheckpointInfo, StoreError> {
        let foreign = |why: &str| StoreError::Foreign { why: why.to_owned() };
        let from = &mut Reader::new(from);
        let layout = small(from, "oci-layout", MAX_JSON_LEN)?;
        let layout: serde_json::Value = serde_json::from_slice(&layout).unwrap_or_default();
        if layout["imageLayoutVersion"] != "1.0.0" {
            return Err(foreign("its oci-layout is not of version 1.0.0"));
        }
        let index = small(from, "index.json", MAX_JSON_LEN)?;
        let index: ImageIndex =
            serde_json::from_slice(&index).map_err(|_| foreign("its index.json is no list"))?;
        let [entry] = index.manifests().as_slice() else {
            return Err(foreign("it holds several images, or none"));
        };
        let digest = entry.digest().to_string();
        let path = format!("blobs/{}", digest.replacen(':', "/", 1));
        let manifest = small(from, &path, MAX_MANIFEST_LEN)?;
        let found = sha256(&manifest);
        if blob::name(&found) != digest {
            return Err(StoreError::WrongBytes { expected: digest, found: blob::name(&found) });
        }
        // Also of what is here already all is read, so that whoever writes is not cut short.
        let mut expected: BTreeMap<_, _> = bounded(&decode(&manifest, &found)?)?
            .into_iter()
            .map(|blob| (relative_path(&blob.digest).to_string_lossy().into_owned(), blob))
            .collect();
        let arrival = self.import(&manifest, name)?;
        while let Some(Entry { name, size, .. }) = next(from)? {
            let blob =
                expected.remove(&name).filter(|blob| blob.size == size).ok_or_else(|| {
                    foreign(&format!("{name:?} is not what its manifest says, or comes twice"))
                })?;
            let wanted = match &arrival {
                Arrival::Wanted(incoming) if incoming.missing().contains(&blob) => Some(incoming),
                _ => None,
            };
            take(from, &blob, wanted)?;
        }
        if let Some((_, blob)) = expected.first_key_value() {
            return Err(foreign(&format!("{} is not in it", blob.name())));
        }
        match arrival {
            Arrival::Here(info) => Ok(info),
            Arrival::Wanted(incoming) => incoming.commit(),
        }
    }
}

fn index(image: &Image) -> Result<Vec<u8>, String> {
    let digest = sha256(&image.manifest);
    let size = image.manifest.len() as u64;
    let bad = |_| "the manifest cannot be read".to_owned();
    let entry = decode(&image.manifest, &digest).map_err(bad)?;
    let entry = entry.entry(BlobRef { digest, size, sealed: false })?;
    let index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(vec![entry])
        .build();
    manifest::to_json(&index.map_err(|e| e.to_string())?)
}

fn read(source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::InvalidData => StoreError::Foreign { why: source.to_string() },
        _ => StoreError::Archive { action: "read", source },
    }
}

/// The next file.
fn next(from: &mut Reader<impl Read>) -> Result<Option<Entry>, StoreError> {
    loop {
        let Some(mut entry) = from.next_entry().map_err(read)? else { return Ok(None) };
        match entry.kind {
            EntryType::Regular => {
                entry.name = entry.name.trim_start_matches("./").to_owned();
                return Ok(Some(entry));
            }
            EntryType::Directory if entry.size == 0 => {}
            _ => {
                let why = "it holds something other than files and directories".to_owned();
                return Err(StoreError::Foreign { why });
            }
        }
    }
}

/// A file that must come next, whole.
fn small(from: &mut Reader<impl Read>, name: &str, limit: u64) -> Result<Vec<u8>, StoreError> {
    let entry = next(from)?;
    let Some(entry) = entry.filter(|entry| entry.name == name) else {
        let why = format!("{name} does not come next in it, as in an archive that Dormouse writes");
        return Err(StoreError::Foreign { why });
    };
    if entry.size > limit {
        let why = format!("its {name} has {} bytes; at most {limit} can be", entry.size);
        return Err(StoreError::Foreign { why });
    }
    let mut bytes = vec![0; entry.size as usize];
    from.read_exact(&mut bytes).map_err(read)?;
    Ok(bytes)
}

/// The bytes of a blob, into the store if they are wanted there.
fn take(
    from: &mut impl Read,
    blob: &BlobRef,
    wanted: Option<&Incoming<'_>>,
) -> Result<(), StoreError> {
    let part = match wanted {
        Some(incoming) => incoming.receive(blob)?,
        None => None,
    };
    // What is not read is passed over.
    let Some(mut part) = part else { return Ok(()) };
    // All of it comes again. What came before may be another's.
    part.restart()?;
    each_chunk(from, blob.size, |bytes| part.write(bytes))?;
    part.finish()
}

fn each_chunk(
    from: &mut impl Read,
    mut left: u64,
    mut with: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut buffer = vec![0; CHUNK.min(left as usize)];
    while left > 0 {
        let n = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        from.read_exact(&mut buffer[..n]).map_err(read)?;
        with(&buffer[..n])?;
        left -= n as u64;
    }
    Ok(())
}
