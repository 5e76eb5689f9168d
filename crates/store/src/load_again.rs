//! A load that a removal overtakes is made again.
//!
//! ```text
//!   list: sim@1..5 ──┐   another process: saves sim@6, removes sim@1..5
//!                    └─> manifest of sim@5: missing ──> the list has changed ──> sim@6
//! ```
//!
//! What was opened stays readable to the end, so nothing can go missing once a checkpoint is loaded.

use crate::error::{Damage, DamageKind, StoreError};
use crate::load::{Checkpoint, Memories};
use crate::open::Store;

/// A list that changes more often than this while one checkpoint is loaded is not to be caught.
const TRIES: u32 = 10;

impl Store {
    /// Loads checkpoint `number` of `job`; with `None` the newest that is good, and damage to newer
    /// ones is told in [`Checkpoint::warnings`]. Writes nothing. A checkpoint that is removed
    /// meanwhile is not damage: the list is read again.
    ///
    /// # Errors
    /// [`StoreError::NoJob`], [`StoreError::NoCheckpoint`]; [`StoreError::Damaged`] if the
    /// one asked for is, [`StoreError::AllDamaged`] if all are; [`StoreError::Unsupported`] if the
    /// newest was written by a newer dormouse (it is not passed over).
    pub fn load(&self, job: &str, number: Option<u64>) -> Result<Checkpoint, StoreError> {
        self.load_as(job, number, Memories::Verified)
    }

    /// The same, but memory layers are not read yet: whoever reads their pages
    /// ([`Checkpoint::pages`]) finds each frame compared with its checksum, and what is damaged there is an error then.
    /// [`Checkpoint::verify_memories`] is what was left out; until it has said that all is well, nothing
    /// may be made durable that builds on this checkpoint.
    ///
    /// # Errors
    /// Those of [`Store::load`].
    pub fn load_lazily(&self, job: &str, number: Option<u64>) -> Result<Checkpoint, StoreError> {
        self.load_as(job, number, Memories::Opened)
    }

    fn load_as(
        &self,
        job: &str,
        number: Option<u64>,
        memories: Memories,
    ) -> Result<Checkpoint, StoreError> {
        for _ in 1..TRIES {
            let listed = self.list(job)?;
            let loaded = self.load_listed(job, number, memories);
            let missing = match &loaded {
                Ok(checkpoint) => checkpoint.warnings.iter().any(is_missing),
                Err(StoreError::Damaged(damage)) => is_missing(damage),
                Err(StoreError::AllDamaged { damages, .. }) => damages.iter().any(is_missing),
                Err(_) => false,
            };
            if !missing || self.list(job)? == listed {
                return loaded;
            }
        }
        self.load_listed(job, number, memories)
    }
}

fn is_missing(damage: &Damage) -> bool {
    damage.kind == DamageKind::Missing && damage.checkpoint.is_some()
}
