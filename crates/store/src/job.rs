//! Jobs and their checkpoints, as they are listed.
//!
//! ```text
//!   sim@3   job "sim", its third checkpoint; numbers begin at 1 and are never used again
//! ```

use crate::error::StoreError;
use std::collections::BTreeMap;

/// Bytes a job's name may have.
const MAX_NAME_LEN: usize = 128;

/// One checkpoint of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// The job it belongs to.
    pub job: String,
    /// Its number within the job: 1, 2, 3, ... never used again.
    pub number: u64,
    /// When it was saved: RFC 3339, UTC, milliseconds.
    pub created: String,
    /// Digest of its manifest, as `sha256:...`.
    pub digest: String,
    /// Digest of the original module, as `sha256:...`.
    pub module_digest: String,
    /// Bytes of the encoded state.
    pub state_size: u64,
    /// Bytes of the module (stored once for all checkpoints).
    pub module_size: u64,
    /// Bytes of the memory layers, compressed.
    pub memory_size: u64,
    /// Bytes of the layers of files, compressed.
    pub files_size: u64,
    /// Whether it came from elsewhere ([`Store::import`](crate::Store::import)), so that what it remembers is a
    /// stranger's word.
    pub pulled: bool,
    /// What the caller of [`Store::save`](crate::Store::save) wanted to remember.
    pub annotations: BTreeMap<String, String>,
}

impl CheckpointInfo {
    /// `job@N`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.job, self.number)
    }

    /// Bytes of everything the checkpoint needs but its manifest, shared or not.
    pub fn size(&self) -> u64 {
        let sizes = [self.module_size, self.memory_size, self.files_size];
        sizes.into_iter().fold(self.state_size, u64::saturating_add)
    }
}

/// A job that has checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Its name.
    pub job: String,
    /// How many checkpoints it has.
    pub checkpoints: usize,
    /// The newest of them.
    pub newest: CheckpointInfo,
}

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let good = name.len() <= MAX_NAME_LEN
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good { Ok(()) } else { Err(StoreError::BadJobName { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(128);
        for good in ["a", "9", "A-b.c_d", "sim-2026.11", &long] {
            check_name(good).unwrap();
        }
        let too_long = "a".repeat(129);
        for bad in ["", ".", "-a", "_a", "a/b", "a@1", "a b", "ä", "a\0", "..", &too_long] {
            check_name(bad).unwrap_err();
        }
    }
}
