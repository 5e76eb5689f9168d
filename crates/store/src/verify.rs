//! Checking everything a store holds.
//!
//! ```text
//!   index.json -> every checkpoint -> every blob: size, digest, format, every frame of every memory
//!   blobs/sha256 - what was reached = unreferenced
//! ```

use crate::blob;
use crate::error::{Bad, Damage, StoreError};
use crate::index::Index;
use crate::job::CheckpointInfo;
use crate::load::subject;
use crate::manifest::{BlobRef, Manifest};
use crate::open::Store;
use std::collections::HashSet;
use std::path::PathBuf;

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Checkpoints listed.
    pub checkpoints: usize,
    /// Those of them that are good.
    pub good: usize,
    /// Everything that is bad. A blob that several checkpoints share is named for each.
    pub damages: Vec<Damage>,
    /// Files in `blobs/sha256`, relative to the store, that no checkpoint refers to: left by saves
    /// that died. Harmless.
    pub unreferenced: Vec<PathBuf>,
}

impl Store {
    /// Reads everything and checks it. Writes nothing.
    ///
    /// # Errors
    /// What the system says; damage is not an error but part of the report.
    pub fn verify(&self) -> Result<VerifyReport, StoreError> {
        let (index, damage) = Index::read(&self.dir)?;
        let mut report = VerifyReport {
            damages: self.layout_damage().into_iter().chain(damage).collect(),
            ..VerifyReport::default()
        };
        let mut reached = HashSet::new();
        // Hashed already: the module is shared by all checkpoints.
        let mut good = HashSet::new();
        for (info, blob) in index.checkpoints() {
            report.checkpoints += 1;
            let before = report.damages.len();
            reached.insert(blob.digest);
            match self.load_manifest(&info, &blob) {
                Ok(manifest) => {
                    reached.extend(manifest.blobs().map(|blob| blob.digest));
                    for bad in self.check_parts(&info, &manifest, &mut good) {
                        match bad {
                            Bad::Damage(damage) => report.damages.push(damage),
                            Bad::Fatal(error) => return Err(error),
                        }
                    }
                }
                Err(Bad::Damage(damage)) => report.damages.push(damage),
                Err(Bad::Fatal(error)) => return Err(error),
            }
            report.good += usize::from(report.damages.len() == before);
        }
        let dir = self.blobs();
        for entry in std::fs::read_dir(&dir).map_err(StoreError::io("list", &dir))? {
            let name = entry.map_err(StoreError::io("list", &dir))?.file_name();
            let digest = name.to_str().and_then(blob::from_hex);
            if digest.is_none_or(|digest| !reached.contains(&digest)) {
                report.unreferenced.push(PathBuf::from("blobs/sha256").join(name));
            }
        }
        report.unreferenced.sort();
        Ok(report)
    }

    fn check_parts(
        &self,
        info: &CheckpointInfo,
        manifest: &Manifest,
        good: &mut HashSet<[u8; 32]>,
    ) -> Vec<Bad> {
        let mut bad = Vec::new();
        let BlobRef { digest, size } = manifest.module;
        if !good.contains(&digest) {
            let module = subject(info, "module", &manifest.module);
            match blob::open_verified(&self.dir, &module, &digest, size) {
                Ok(_) => drop(good.insert(digest)),
                Err(error) => bad.push(error),
            }
        }
        match self.load_state(info, manifest) {
            Ok(state) => match self.load_memories(info, manifest, &state) {
                Ok(memories) => {
                    for (subject, layer) in memories {
                        bad.extend(layer.verify().err().map(|error| subject.layer(error)));
                    }
                }
                Err(error) => bad.push(error),
            },
            Err(error) => {
                // The memories cannot be compared with it, but their digests can be checked.
                bad.push(error);
                for (index, blob) in &manifest.memories {
                    let subject = subject(info, &format!("memory {index}"), blob);
                    bad.extend(
                        blob::open_verified(&self.dir, &subject, &blob.digest, blob.size).err(),
                    );
                }
            }
        }
        bad
    }
}
