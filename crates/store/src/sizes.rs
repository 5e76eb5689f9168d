//! What the checkpoints of a store take on the disk.
//!
//! ```text
//!   sim@1   manifest 1K   state 2K   memory 60K ┐            own 3K    shared 70K
//!   sim@2   manifest 1K   state 2K   memory 60K ┴ module 10K own 3K    shared 70K
//!   sim     76K: what is shared counts once
//! ```
//!
//! A blob is shared if more than one entry of the list needs it. Sizes are those that manifests give;
//! whether blobs have them is `verify`'s business.

use crate::error::StoreError;
use crate::index::Index;
use crate::job::CheckpointInfo;
use crate::open::Store;
use crate::reach::What;
use std::collections::{BTreeMap, HashMap};

/// What the checkpoints of a store take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreSizes {
    /// Each checkpoint, by job and number.
    pub checkpoints: Vec<CheckpointSizes>,
    /// Bytes that each job's checkpoints take together.
    pub jobs: BTreeMap<String, u64>,
    /// Bytes that all checkpoints take together.
    pub total: u64,
    /// Bytes in `blobs/sha256` that nothing needs; [`Store::collect`] deletes them.
    pub unreferenced: u64,
}

/// What a checkpoint takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSizes {
    /// Which one.
    pub info: CheckpointInfo,
    /// None where the manifest cannot be read.
    pub sizes: Option<Sizes>,
}

/// Bytes, by who needs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Only this checkpoint: what its removal frees.
    pub own: u64,
    /// Others too.
    pub shared: u64,
}

impl Sizes {
    /// Everything the checkpoint needs.
    pub fn total(&self) -> u64 {
        self.own.saturating_add(self.shared)
    }
}

impl Store {
    /// Adds up what the checkpoints take. Reads all manifests, and nothing larger.
    ///
    /// # Errors
    /// What the system says.
    pub fn sizes(&self) -> Result<StoreSizes, StoreError> {
        let (index, _) = Index::read(&self.dir)?;
        let reach = self.reach(&index)?;
        let mut users: HashMap<[u8; 32], usize> = reach.others.iter().map(|d| (*d, 1)).collect();
        for blob in reach.checkpoints.iter().flat_map(|c| &c.blobs) {
            *users.entry(blob.digest).or_default() += 1;
        }
        let mut sizes = StoreSizes::default();
        // By job, and each of its blobs once; `None` is the whole store.
        let mut counted = std::collections::HashSet::new();
        for checkpoint in &reach.checkpoints {
            let mut bytes = Sizes::default();
            let job = sizes.jobs.entry(checkpoint.info.job.clone()).or_default();
            for blob in &checkpoint.blobs {
                let shared = users.get(&blob.digest).is_some_and(|users| *users > 1);
                let part = if shared { &mut bytes.shared } else { &mut bytes.own };
                *part = part.saturating_add(blob.size);
                if counted.insert((Some(&checkpoint.info.job), blob.digest)) {
                    *job = job.saturating_add(blob.size);
                }
                if counted.insert((None, blob.digest)) {
                    sizes.total = sizes.total.saturating_add(blob.size);
                }
            }
            let known = checkpoint.damage.is_none();
            let info = checkpoint.info.clone();
            sizes.checkpoints.push(CheckpointSizes { info, sizes: known.then_some(bytes) });
        }
        for file in self.files(false)? {
            if !matches!(file.what, What::Blob(digest) if users.contains_key(&digest)) {
                sizes.unreferenced = sizes.unreferenced.saturating_add(file.size);
            }
        }
        Ok(sizes)
    }
}
