//! Checking everything a store holds.
//!
//! ```text
//!   index.json -> every checkpoint -> every blob: size, digest, format, every frame of every memory, every file
//!   blobs/sha256 - what was reached = unreferenced
//! ```

use crate::blob::{self, BlobRef};
use crate::error::{Bad, Damage, DamageKind, StoreError, Subject};
use crate::index::Index;
use crate::job::CheckpointInfo;
use crate::layer::MemoryLayer;
use crate::load::{files_subject, subject};
use crate::manifest::Manifest;
use crate::open::Store;
use crate::parent::{Chain, layer_subject};
use crate::reach::What;
use crate::seal;
use dormouse_state::State;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// What [`Store::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Checkpoints listed.
    pub checkpoints: usize,
    /// Those of them that are good.
    pub good: usize,
    /// Those of the good ones that are encrypted, of which only the digests were checked for want of a key.
    pub unopened: usize,
    /// Everything that is bad. A blob that several checkpoints share is named for each.
    pub damages: Vec<Damage>,
    /// Files in `blobs/sha256`, relative to the store, that nothing in the list needs: left by saves
    /// that died, or kept by pulls that were cut short. Harmless; [`Store::collect`] deletes them.
    pub unreferenced: Vec<PathBuf>,
    /// How many bytes they have.
    pub unreferenced_bytes: u64,
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
        let mut known = HashMap::new();
        for (info, blob) in index.checkpoints() {
            report.checkpoints += 1;
            let before = report.damages.len();
            reached.insert(blob.digest);
            match self.load_manifest(&info, &blob) {
                Ok(manifest) => {
                    reached.extend(manifest.blobs().map(|blob| blob.digest));
                    let mut unopened = false;
                    for bad in self.check_parts(&info, &manifest, &mut known) {
                        match bad {
                            Bad::Damage(damage) => report.damages.push(damage),
                            Bad::Fatal(StoreError::NoKey { .. }) => unopened = true,
                            Bad::Fatal(StoreError::Unsupported { path, what }) => {
                                report.damages.push(newer(&info, path, &what));
                            }
                            Bad::Fatal(error) => return Err(error),
                        }
                    }
                    report.unopened += usize::from(unopened && report.damages.len() == before);
                }
                Err(Bad::Fatal(StoreError::Unsupported { path, what })) => {
                    report.damages.push(newer(&info, path, &what));
                }
                Err(Bad::Damage(damage)) => report.damages.push(damage),
                Err(Bad::Fatal(error)) => return Err(error),
            }
            report.good += usize::from(report.damages.len() == before);
        }
        // What other tools' images need is theirs to check.
        self.reach_others(&index, &mut reached, &mut Vec::new())?;
        for file in self.files(false)? {
            if !matches!(file.what, What::Blob(digest) if reached.contains(&digest)) {
                report.unreferenced_bytes = report.unreferenced_bytes.saturating_add(file.size);
                report.unreferenced.push(file.path);
            }
        }
        Ok(report)
    }

    /// What is wrong with a checkpoint, if anything. Of what is encrypted, and cannot be opened here, the digests are
    /// looked at.
    pub(crate) fn first_bad(&self, info: &CheckpointInfo, manifest: &Manifest) -> Option<Bad> {
        let bad = self.check_parts(info, manifest, &mut HashMap::new());
        bad.into_iter().find(|bad| !matches!(bad, Bad::Fatal(StoreError::NoKey { .. })))
    }

    /// `known`: blobs that were looked at, and what is wrong with them. Most are shared by checkpoints.
    fn check_parts(
        &self,
        info: &CheckpointInfo,
        manifest: &Manifest,
        known: &mut HashMap<[u8; 32], Option<Damage>>,
    ) -> Vec<Bad> {
        let mut bad = Vec::new();
        let module = subject(info, "module", &manifest.module);
        let BlobRef { digest, size, .. } = manifest.module;
        bad.extend(once(known, &module, &digest, || {
            blob::open_verified(&self.dir, &module, &digest, size).map(drop)
        }));
        let state = self.load_state(info, manifest);
        for (index, layers) in &manifest.memories {
            let chain = Chain { index: *index, layers: layers.clone() };
            let before = bad.len();
            for (at, blob) in layers.iter().enumerate() {
                let subject = layer_subject(Some(info.name()), &chain, at);
                bad.extend(once(known, &subject, &blob.digest, || {
                    let file = blob::open_verified(&self.dir, &subject, &blob.digest, blob.size)?;
                    let source = seal::source(file, blob.sealed, &self.keys, &subject)?;
                    let layer = MemoryLayer::open(source).and_then(|layer| layer.verify());
                    layer.map_err(|error| subject.layer(error))
                }));
            }
            // Each is good; so are they together?
            if let Ok(state) = &state
                && bad.len() == before
            {
                bad.extend(self.check_chain(info, &chain, state).err());
            }
        }
        for (at, blob) in manifest.files.iter().enumerate() {
            let subject = files_subject(info, at, manifest.files.len(), blob);
            let look = || self.check_files(&subject, blob);
            bad.extend(once(known, &subject, &blob.digest, look));
        }
        bad.extend(state.err());
        bad
    }

    fn check_chain(&self, info: &CheckpointInfo, chain: &Chain, state: &State) -> Result<(), Bad> {
        let newest = layer_subject(Some(info.name()), chain, chain.layers.len().saturating_sub(1));
        let memory = self.open_chain(chain, Some(info.name()))?;
        let expected = state.memories.iter().find(|memory| memory.index == chain.index);
        match expected
            .is_some_and(|e| (e.index, e.pages) == (memory.memory_index(), memory.wasm_pages()))
        {
            true => Ok(()),
            false => Err(newest.malformed("it is not the memory that the state has")),
        }
    }
}

/// A checkpoint of a newer version cannot be called good; the others can.
fn newer(info: &CheckpointInfo, path: PathBuf, what: &str) -> Damage {
    let why = format!("it holds {what}, which this dormouse cannot read; use a newer dormouse");
    Damage {
        checkpoint: Some(info.name()),
        what: "part".to_owned(),
        path,
        kind: DamageKind::Malformed(why),
    }
}

/// What is wrong with a blob: looked for once, and told of every checkpoint that has it.
fn once(
    known: &mut HashMap<[u8; 32], Option<Damage>>,
    subject: &Subject,
    digest: &[u8; 32],
    look: impl FnOnce() -> Result<(), Bad>,
) -> Option<Bad> {
    if let Some(found) = known.get(digest) {
        let damage = found.clone()?;
        return Some(Bad::Damage(subject.damage(damage.kind)));
    }
    let found = match look() {
        Ok(()) => None,
        Err(Bad::Damage(damage)) => Some(damage),
        Err(fatal) => return Some(fatal),
    };
    known.insert(*digest, found.clone());
    found.map(Bad::Damage)
}
