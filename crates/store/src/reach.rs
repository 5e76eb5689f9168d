//! What a store's list needs: every blob that a checkpoint, or an image of another tool, reaches.
//!
//! ```text
//!   index.json ─┬─ sim@1, sim@2 ──> manifest ──> state, module, memories      Manifest::blobs
//!               └─ busybox ──> index ──> manifest ──> config, layers          every digest in the JSON
//!
//!   blobs/sha256 - all of these = what nothing needs
//! ```
//!
//! Where a listed manifest cannot be read nobody knows what it needs; that is told, and then nothing
//! may be deleted ([`Reach::unknown`]).

use crate::blob::{self, BlobRef, KEPT_PREFIX, PART_PREFIX, TEMP_PREFIX};
use crate::error::{Bad, Damage, DamageKind, StoreError, Subject};
use crate::fs;
use crate::index::Index;
use crate::job::CheckpointInfo;
use crate::load::subject;
use crate::manifest::MAX_MANIFEST_LEN;
use crate::open::Store;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a download that can be continued may lie.
const PART_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the list needs.
#[derive(Default)]
pub(crate) struct Reach {
    /// The checkpoints, by job and number.
    pub(crate) checkpoints: Vec<Reached>,
    /// Blobs of images of other tools.
    pub(crate) others: HashSet<[u8; 32]>,
    /// Manifests that cannot be read, so that it is not known what they need.
    pub(crate) unknown: Vec<Damage>,
}

/// What one checkpoint needs.
pub(crate) struct Reached {
    pub(crate) info: CheckpointInfo,
    /// Its manifest and everything that it names, each once; only the manifest if that is damaged.
    pub(crate) blobs: Vec<BlobRef>,
    /// Why no more is known.
    pub(crate) damage: Option<Damage>,
}

/// A file in `blobs/sha256`.
pub(crate) struct Found {
    /// Relative to the store.
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// By its name. Whether it begins like a manifest is to be looked up.
    Blob([u8; 32]),
    /// Of a save that is going on, or died.
    Temporary,
    /// Of a pull that nobody has continued for long.
    OldPart,
}

impl Reach {
    /// All of them.
    pub(crate) fn all(&self) -> HashSet<[u8; 32]> {
        let ours = self.checkpoints.iter().flat_map(|c| &c.blobs).map(|blob| blob.digest);
        ours.chain(self.others.iter().copied()).collect()
    }
}

impl Store {
    /// Reads every manifest that the list leads to.
    pub(crate) fn reach(&self, index: &Index) -> Result<Reach, StoreError> {
        let mut reach = Reach::default();
        for (info, manifest) in index.checkpoints() {
            let reached = self.reached(info, manifest)?;
            reach.unknown.extend(reached.damage.clone());
            reach.checkpoints.push(reached);
        }
        self.reach_others(index, &mut reach.others, &mut reach.unknown)?;
        Ok(reach)
    }

    /// What one checkpoint needs.
    pub(crate) fn reached(
        &self,
        info: CheckpointInfo,
        blob: BlobRef,
    ) -> Result<Reached, StoreError> {
        let mut blobs = vec![blob];
        let mut damage = None;
        match self.load_manifest(&info, &blob) {
            Ok(manifest) => {
                let mut seen = HashSet::from([blob.digest]);
                blobs.extend(manifest.blobs().filter(|blob| seen.insert(blob.digest)));
            }
            // Of a newer version: what it needs has digests in it all the same.
            Err(Bad::Fatal(StoreError::Unsupported { .. })) => {
                let mut walk = Walk::new(self);
                walk.from(blob.digest, &subject(&info, "manifest", &blob))?;
                walk.seen.remove(&blob.digest);
                blobs.extend(walk.seen.iter().map(|(&digest, &size)| BlobRef {
                    digest,
                    size,
                    sealed: false,
                }));
                damage = walk.unknown.pop();
            }
            Err(Bad::Damage(found)) => damage = Some(found),
            Err(Bad::Fatal(error)) => return Err(error),
        }
        Ok(Reached { info, blobs, damage })
    }

    /// What the entries of other tools need.
    pub(crate) fn reach_others(
        &self,
        index: &Index,
        reached: &mut HashSet<[u8; 32]>,
        unknown: &mut Vec<Damage>,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::new(self);
        for entry in index.others() {
            let name = entry.digest().to_string();
            let what = "manifest of another tool's image".to_owned();
            match entry.as_digest_sha256().and_then(blob::from_hex) {
                Some(digest) => {
                    let path = blob::relative_path(&digest);
                    walk.from(digest, &Subject { checkpoint: None, what, path })?;
                }
                None => {
                    let subject = Subject { checkpoint: None, what, path: name.into() };
                    let why = "its digest is not SHA-256".to_owned();
                    walk.unknown.push(subject.damage(DamageKind::Malformed(why)));
                }
            }
        }
        reached.extend(walk.seen.into_keys());
        unknown.extend(walk.unknown);
        Ok(())
    }

    /// The files in `blobs/sha256` that could be garbage, in the order of their names. What is not
    /// named like a file of ours is left alone. Squashed layers that no save has adopted are among them only
    /// if this process is `alone` with the blobs: they have to be locked to know that nobody wants them.
    pub(crate) fn files(&self, alone: bool) -> Result<Vec<Found>, StoreError> {
        let dir = self.blobs();
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("list", &dir)(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io("list", &dir))?;
            let name = entry.file_name();
            // Gone since, or not to be looked at: then it is not ours to judge.
            let (Some(name), Ok(metadata)) = (name.to_str(), entry.metadata()) else {
                continue;
            };
            let old = || metadata.modified().is_ok_and(|m| m.elapsed().is_ok_and(|a| a > PART_AGE));
            let what = match blob::from_hex(name) {
                _ if metadata.is_dir() => continue,
                Some(digest) => What::Blob(digest),
                None if alone && name.starts_with(KEPT_PREFIX) && is_orphan(&entry.path()) => {
                    What::Temporary
                }
                None if name.starts_with(TEMP_PREFIX) => What::Temporary,
                None if name.starts_with(PART_PREFIX) && old() => What::OldPart,
                None => continue,
            };
            let path = Path::new("blobs").join("sha256").join(name);
            files.push(Found { path, size: metadata.len(), what });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// Whether a file could be a manifest, from which a lost list would be put together again.
    pub(crate) fn may_be_manifest(&self, file: &Found) -> bool {
        file.size <= MAX_MANIFEST_LEN && blob::begins_like_json(&self.dir.join(&file.path))
    }
}

/// Whether the process that made a squashed layer is gone.
pub(crate) fn is_orphan(path: &Path) -> bool {
    fs::open_to_lock(path).is_ok_and(|file| file.try_lock().is_ok())
}

/// How sure it is that a blob is a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Role {
    /// The list says so: it must be there and make sense.
    Listed,
    /// An index says so: it may be missing (an image for one platform only), not damaged.
    Nested,
    /// It is something else, or may be one.
    Part,
}

/// From blob to blob through every digest in them that are JSON.
struct Walk<'a> {
    store: &'a Store,
    /// What was reached, and its size.
    seen: HashMap<[u8; 32], u64>,
    /// What was looked at, as what: a list may name one blob a million times.
    done: HashSet<([u8; 32], Role)>,
    unknown: Vec<Damage>,
}

impl<'a> Walk<'a> {
    fn new(store: &'a Store) -> Walk<'a> {
        Walk { store, seen: HashMap::new(), done: HashSet::new(), unknown: Vec::new() }
    }

    fn from(&mut self, root: [u8; 32], subject: &Subject) -> Result<(), StoreError> {
        let mut todo = vec![(root, Role::Listed)];
        while let Some((digest, role)) = todo.pop() {
            // A part may turn out to be a manifest that has to make sense.
            let enough = role == Role::Part && self.seen.contains_key(&digest);
            if enough || !self.done.insert((digest, role)) {
                continue;
            }
            let path = blob::relative_path(&digest);
            let subject = Subject { path, ..subject.clone() };
            match self.read(&subject, &digest, role) {
                Ok(Some(json)) => collect(&json, &mut todo),
                Ok(None) => {}
                Err(Bad::Damage(damage)) => self.unknown.push(damage),
                Err(Bad::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The blob, if it is JSON.
    fn read(
        &mut self,
        subject: &Subject,
        digest: &[u8; 32],
        role: Role,
    ) -> Result<Option<Value>, Bad> {
        let path = self.store.dir.join(&subject.path);
        let size = std::fs::metadata(&path).map_or(0, |m| m.len());
        self.seen.insert(*digest, size);
        let sure = role == Role::Listed || (role == Role::Nested && path.exists());
        if !sure && (size > MAX_MANIFEST_LEN || !blob::begins_like_json(&path)) {
            return Ok(None);
        }
        let read = blob::read_verified(&self.store.dir, subject, digest, size, MAX_MANIFEST_LEN)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| subject.malformed(e)));
        match read {
            Ok(json) => Ok(Some(json)),
            Err(Bad::Damage(_)) if !sure => Ok(None),
            Err(bad) => Err(bad),
        }
    }
}

/// Every digest in a document. serde_json bounds how deep that goes.
fn collect(json: &Value, found: &mut Vec<([u8; 32], Role)>) {
    fn strings(json: &Value, role: Role, found: &mut Vec<([u8; 32], Role)>) {
        match json {
            Value::String(text) => {
                let digest = text.strip_prefix("sha256:").and_then(blob::from_hex);
                found.extend(digest.map(|digest| (digest, role)));
            }
            Value::Array(items) => items.iter().for_each(|item| strings(item, role, found)),
            Value::Object(fields) => {
                for (key, value) in fields {
                    let role = match key.as_str() {
                        "digest" => role,
                        _ => Role::Part,
                    };
                    strings(value, role, found);
                }
            }
            _ => {}
        }
    }
    let Value::Object(fields) = json else { return };
    for (key, value) in fields {
        // An image index lists manifests; its entries' `digest` is one's.
        let role = if key == "manifests" { Role::Nested } else { Role::Part };
        strings(value, role, found);
    }
}
