//! `index.json`: the list of checkpoints, replaced as a whole.
//!
//! ```text
//!   {"annotations":{"io.dormouse.index":"sha256:...","io.dormouse.last.sim":"3"},"manifests":[..],..}
//!                    digest of this file with 64        highest number job sim
//!                    zeros in this place                has ever had
//! ```
//!
//! The digest tells a damaged list from a good one. A damaged or missing list is put together
//! again from the manifests in `blobs/`, which name their job and number themselves.

use crate::blob::{self, BlobRef, Staged, Stager, sha256};
use crate::error::{Bad, Damage, DamageKind, StoreError, Subject};
use crate::fs;
use crate::job::CheckpointInfo;
use crate::manifest::{self, MAX_MANIFEST_LEN, MAX_NUMBER, Manifest};
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::Path;

pub(crate) const FILE: &str = "index.json";
/// Some hundred thousand checkpoints.
const MAX_INDEX_LEN: u64 = 256 << 20;
pub(crate) const DIGEST: &str = "io.dormouse.index";
/// How the annotation's value begins in the file. Within a JSON string its quotes would be escaped.
const DIGEST_IN_FILE: &str = "\"io.dormouse.index\":\"sha256:";
const RECOVERED: &str = "io.dormouse.recovered";
const LAST: &str = "io.dormouse.last.";
const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The list of a store.
pub(crate) struct Index {
    manifests: Vec<Descriptor>,
    annotations: HashMap<String, String>,
}

impl Index {
    pub(crate) fn empty() -> Index {
        Index { manifests: Vec::new(), annotations: HashMap::new() }
    }

    /// Reads the list, and puts it together again if it is damaged.
    pub(crate) fn read(store: &Path) -> Result<(Index, Option<Damage>), StoreError> {
        let subject = Subject { checkpoint: None, what: "index".to_owned(), path: FILE.into() };
        match read_file(store, &subject) {
            Ok((mut index, true)) => {
                index.adopt(store);
                Ok((index, None))
            }
            Ok((mut index, false)) => {
                index.recover(store)?;
                let why = "its digest does not match; the checkpoints in blobs/ were searched";
                Ok((index, Some(subject.damage(DamageKind::Malformed(why.to_owned())))))
            }
            Err(Bad::Damage(damage)) => {
                let mut index = Index::empty();
                index.recover(store)?;
                Ok((index, Some(damage)))
            }
            Err(Bad::Fatal(error)) => Err(error),
        }
    }

    /// All checkpoints, by job and number.
    pub(crate) fn checkpoints(&self) -> Vec<(CheckpointInfo, BlobRef)> {
        let mut all: Vec<_> = self.manifests.iter().filter_map(manifest::entry_info).collect();
        all.sort_by(|(a, _), (b, _)| {
            (&a.job, a.number, &a.created).cmp(&(&b.job, b.number, &b.created))
        });
        // Other tools list one under several names.
        all.dedup_by(|(a, x), (b, y)| (&a.job, a.number, x.digest) == (&b.job, b.number, y.digest));
        all
    }

    /// The number that comes after every one that `job` has ever had.
    pub(crate) fn next_number(&self, job: &str) -> Result<u64, StoreError> {
        match self.last_number(job) {
            last if last < MAX_NUMBER => Ok(last + 1),
            _ => Err(StoreError::NoNumbers { job: job.to_owned() }),
        }
    }

    /// The highest number that `job` has ever had.
    fn last_number(&self, job: &str) -> u64 {
        let used = self.checkpoints().into_iter().filter(|(info, _)| info.job == job);
        let used = used.map(|(info, _)| info.number).max().unwrap_or(0);
        let key = format!("{LAST}{job}");
        let last = self.annotations.get(&key).and_then(|last| last.parse().ok());
        used.max(last.unwrap_or(0))
    }

    /// Whether it was put together again since somebody last collected what nothing needs: it may lack entries of other
    /// tools.
    pub(crate) fn is_recovered(&self) -> bool {
        self.annotations.contains_key(RECOVERED)
    }

    /// Somebody has looked at it.
    pub(crate) fn accept(&mut self) {
        self.annotations.remove(RECOVERED);
    }

    /// Adds a checkpoint.
    pub(crate) fn add(&mut self, manifest: &Manifest, blob: BlobRef) -> Result<(), String> {
        self.manifests.push(manifest.entry(blob)?);
        // One that was pulled may be older than those of here.
        let last = self.last_number(&manifest.job);
        self.annotations.insert(format!("{LAST}{}", manifest.job), last.to_string());
        Ok(())
    }

    /// Adds one that came from elsewhere.
    pub(crate) fn add_pulled(&mut self, manifest: &Manifest, blob: BlobRef) -> Result<(), String> {
        self.add(manifest, blob)?;
        if let Some(entry) = self.manifests.last_mut() {
            let mut all = entry.annotations().clone().unwrap_or_default();
            all.insert(manifest::PULLED.to_owned(), "true".to_owned());
            entry.set_annotations(Some(all));
        }
        Ok(())
    }

    /// Entries that are no checkpoints of ours: other tools' images.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|entry| manifest::entry_info(entry).is_none())
    }

    /// Takes checkpoints out, by job and number, and returns them. Their numbers stay used.
    pub(crate) fn remove(&mut self, names: &HashSet<(String, u64)>) -> Vec<CheckpointInfo> {
        let mut gone = self.checkpoints();
        gone.retain(|(info, _)| names.contains(&(info.job.clone(), info.number)));
        // A list that was put together again does not know the highest ones yet.
        for of_job in gone.chunk_by(|(a, _), (b, _)| a.job == b.job) {
            let job = &of_job[0].0.job;
            let last = self.last_number(job);
            self.annotations.insert(format!("{LAST}{job}"), last.to_string());
        }
        self.manifests.retain(|entry| {
            manifest::entry_info(entry)
                .is_none_or(|(info, _)| !names.contains(&(info.job, info.number)))
        });
        gone.into_iter().map(|(info, _)| info).collect()
    }

    /// Replaces the file. On success the list is what readers see, now and after a power cut.
    pub(crate) fn write(&self, store: &Path) -> Result<(), StoreError> {
        self.stage(store)?.publish(&store.join(FILE))
    }

    /// Writes it to a temporary name; it is replaced when that is published.
    pub(crate) fn stage(&self, store: &Path) -> Result<Staged, StoreError> {
        let path = store.join(FILE);
        let bytes = self
            .encode()
            .map_err(|why| StoreError::io("encode", &path)(std::io::Error::other(why)))?;
        Stager::whole(store, &bytes)
    }

    fn encode(&self) -> Result<Vec<u8>, String> {
        let mut annotations = self.annotations.clone();
        annotations.insert(DIGEST.to_owned(), format!("sha256:{ZEROS}"));
        let image = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageIndex)
            .manifests(self.manifests.clone())
            .annotations(annotations)
            .build()
            .map_err(|e| e.to_string())?;
        let json = String::from_utf8(manifest::to_json(&image)?).map_err(|e| e.to_string())?;
        let at = json.find(DIGEST_IN_FILE).ok_or("no place for the digest")?;
        let (before, after) = json.split_at(at + DIGEST_IN_FILE.len());
        let digest = blob::hex(&sha256(json.as_bytes()));
        Ok([before, &digest, &after[ZEROS.len()..]].concat().into_bytes())
    }

    /// Tools that copy images leave out what the entry says of them: it is in the manifest, too. They keep the name
    /// that they were given there.
    fn adopt(&mut self, store: &Path) {
        for entry in &mut self.manifests {
            if manifest::entry_info(entry).is_some() {
                continue;
            }
            if let Some(mut ours) = manifest_of(store, entry) {
                let name = entry.annotations().as_ref().and_then(|all| all.get(manifest::REF_NAME));
                if let (Some(name), Some(mut all)) = (name, ours.annotations().clone()) {
                    all.insert(manifest::REF_NAME.to_owned(), name.clone());
                    ours.set_annotations(Some(all));
                }
                *entry = ours;
            }
        }
    }

    /// Adds the checkpoints whose manifests are in `blobs/`; what they say goes before what the
    /// list says.
    fn recover(&mut self, store: &Path) -> Result<(), StoreError> {
        self.annotations.insert(RECOVERED.to_owned(), "true".to_owned());
        let dir = store.join("blobs").join("sha256");
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StoreError::io("list", &dir)(error)),
        };
        let mut found: HashMap<(String, u64), (Manifest, BlobRef)> = HashMap::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &dir))?;
            let Some(digest) = entry.file_name().to_str().and_then(blob::from_hex) else {
                continue;
            };
            let size = entry.metadata().map_or(u64::MAX, |m| m.len());
            let path = blob::relative_path(&digest);
            let subject = Subject { checkpoint: None, what: "manifest".to_owned(), path };
            if size > MAX_MANIFEST_LEN || !blob::begins_like_json(&entry.path()) {
                continue;
            }
            let Ok(bytes) = blob::read_verified(store, &subject, &digest, size, MAX_MANIFEST_LEN)
            else {
                continue;
            };
            let Ok(manifest) = Manifest::decode(&bytes, &subject) else {
                continue;
            };
            let key = (manifest.job.clone(), manifest.number);
            // A save that died before it wrote the list may have left one with the same number.
            let newer = found.get(&key).is_none_or(|(other, _)| other.created < manifest.created);
            if newer {
                found.insert(key, (manifest, BlobRef { digest, size, sealed: false }));
            }
        }
        // Also what is listed under a wrong name.
        let known: HashSet<[u8; 32]> = found.values().map(|(_, blob)| blob.digest).collect();
        self.manifests.retain(|entry| {
            manifest::entry_info(entry).is_none_or(|(info, blob)| {
                !found.contains_key(&(info.job, info.number)) && !known.contains(&blob.digest)
            })
        });
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_by(|(a, _), (b, _)| (&a.job, a.number).cmp(&(&b.job, b.number)));
        self.manifests.extend(found.iter().filter_map(|(m, blob)| m.entry(*blob).ok()));
        Ok(())
    }
}

/// The entry as we would write it, if its manifest is that of a checkpoint.
fn manifest_of(store: &Path, entry: &Descriptor) -> Option<Descriptor> {
    let blob = manifest::blob_ref(entry)?;
    let path = blob::relative_path(&blob.digest);
    if blob.size > MAX_MANIFEST_LEN || !blob::begins_like_json(&store.join(&path)) {
        return None;
    }
    let subject = Subject { checkpoint: None, what: "manifest".to_owned(), path };
    let BlobRef { digest, size, .. } = blob;
    let bytes = blob::read_verified(store, &subject, &digest, size, MAX_MANIFEST_LEN).ok()?;
    Manifest::decode(&bytes, &subject).ok()?.entry(blob).ok()
}

/// The list, and whether its digest holds. A list without one was written by another tool.
fn read_file(store: &Path, subject: &Subject) -> Result<(Index, bool), Bad> {
    let path = store.join(FILE);
    let metadata = std::fs::metadata(&path).map_err(|e| subject.io(e))?;
    if !metadata.is_file() || metadata.len() > MAX_INDEX_LEN {
        return Err(subject.malformed("it is not a file, or too large"));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(1 << 20) as usize + 1);
    let file = std::fs::File::open(&path).map_err(|e| subject.io(e))?;
    file.take(MAX_INDEX_LEN).read_to_end(&mut bytes).map_err(|e| subject.io(e))?;
    let image: ImageIndex = serde_json::from_slice(&bytes).map_err(|e| subject.malformed(e))?;
    if image.schema_version() != 2 {
        return Err(subject.malformed("its schemaVersion is not 2"));
    }
    let good = digest_holds(bytes);
    let index = Index {
        manifests: image.manifests().clone(),
        annotations: image.annotations().clone().unwrap_or_default(),
    };
    Ok((index, good))
}

fn digest_holds(bytes: Vec<u8>) -> bool {
    let Ok(mut json) = String::from_utf8(bytes) else {
        return false;
    };
    let Some(at) = json.find(DIGEST_IN_FILE) else {
        // Ours always has one. In a list of another tool nothing else of ours is to be found.
        return !json.contains("io.dormouse.");
    };
    let digits = at + DIGEST_IN_FILE.len()..at + DIGEST_IN_FILE.len() + ZEROS.len();
    let Some(digest) = json.get(digits.clone()).and_then(blob::from_hex) else {
        return false;
    };
    json.replace_range(digits, ZEROS);
    sha256(json.as_bytes()) == digest
}

/// Writes an empty list where there is none yet.
pub(crate) fn create(store: &Path) -> Result<(), StoreError> {
    Index::empty().write(store)?;
    fs::sync_dir(store).map_err(StoreError::io("sync", store))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The empty list in `docs/format.md`.
    #[test]
    fn the_documented_example() {
        let docs = include_str!("../../../docs/format.md");
        let block = docs.split("<!-- index-example -->").nth(1).expect("the marker");
        let list = block.lines().nth(2).expect("a code block").as_bytes();
        assert!(digest_holds(list.to_vec()));
        assert_eq!(Index::empty().encode().unwrap(), list);
    }

    #[test]
    fn numbers_are_never_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::empty();
        assert_eq!(index.next_number("sim").unwrap(), 1);
        index.annotations.insert(format!("{LAST}sim"), "7".to_owned());
        index.write(dir.path()).unwrap();
        let (index, damage) = Index::read(dir.path()).unwrap();
        assert_eq!((index.next_number("sim").unwrap(), damage), (8, None));
        assert_eq!(index.next_number("si").unwrap(), 1);
        // What only a stranger can have said.
        for (last, next) in
            [(MAX_NUMBER - 1, Some(MAX_NUMBER)), (MAX_NUMBER, None), (u64::MAX, None)]
        {
            let mut index = Index::empty();
            index.annotations.insert(format!("{LAST}sim"), last.to_string());
            assert_eq!(index.next_number("sim").ok(), next);
        }
    }
}
