//! Removing checkpoints, and the blobs that nothing needs any more.
//!
//! ```text
//!   alone with the blobs (.dormouse.lock), then with the list:
//!    1 index.json without the checkpoints, synced             now they are gone
//!    2 manifests that nothing needs, synced                   a lost list cannot bring them back
//!    3 states, memories, modules that nothing needs           now the space is free
//! ```
//!
//! Death at any point leaves more than is needed, never less: after 1 the removed checkpoints are
//! whole but not listed; 3 begins only when no manifest names what it deletes. (A lost list is put
//! together again from the manifests that are found.) The next collection does the rest.
//!
//! Saves and pulls hold the same lock, shared, from before they look which blobs are there until the
//! list names them, so nothing is deleted that one of them counts on. Loads hold no lock: see
//! `load_again.rs`.

use crate::error::{Damage, DamageKind, StoreError};
use crate::fs;
use crate::index::Index;
use crate::job::CheckpointInfo;
use crate::open::Store;
use crate::reach::{Found, What};
use crate::retention::OverQuota;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

/// How to go about a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Only say what would be done; changes nothing, not even a lock file.
    DryRun,
    /// Wait until nobody is saving, for as long as it takes, and delete all that nothing needs.
    Thorough,
    /// For a running job: [`StoreError::Busy`] if others are saving for longer than this; and where no
    /// checkpoint goes, nothing is done at all.
    Brief(Duration),
}

/// What a collection did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Checkpoints that are gone, by job and number.
    pub removed: Vec<CheckpointInfo>,
    /// Files that were deleted, relative to the store.
    pub deleted: Vec<PathBuf>,
    /// How many bytes they had.
    pub bytes: u64,
    /// Why no blobs were deleted: as long as these cannot be read, nobody knows what they need.
    pub held_up: Vec<Damage>,
    /// Jobs that take more than they may, though nothing more can go.
    pub over: Vec<OverQuota>,
}

impl Store {
    /// Removes checkpoints, by job and number, and every blob that is not needed any more. Numbers
    /// are not used again.
    ///
    /// # Errors
    /// [`StoreError::NoJob`], [`StoreError::NoCheckpoint`] if one is not there; then nothing is
    /// changed. What the system says; then some may be gone, and those that are listed are whole.
    ///
    /// ```
    /// # use dormouse_state::{Frame, Site, State};
    /// use dormouse_store::{Care, NewCheckpoint, Store, sha256};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let store = Store::create_or_open(&dir.path().join("store"))?;
    /// # let module = b"\0asm\x01\0\0\0";
    /// # let state = State {
    /// #     module_digest: sha256(module),
    /// #     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
    /// #     globals: vec![],
    /// #     tables: vec![],
    /// #     exceptions: vec![],
    /// #     memories: vec![],
    /// #     dropped_data: vec![],
    /// #     dropped_elems: vec![],
    /// #     wasi: vec![],
    /// #     host: vec![],
    /// # };
    /// let new = || NewCheckpoint::new(module, &state, &[]);
    /// store.save("sim", new())?;
    /// store.save("sim", new())?;
    ///
    /// let report = store.remove(&[("sim".to_owned(), 2)], Care::Thorough)?;
    /// assert_eq!(report.removed[0].name(), "sim@2");
    /// assert_eq!(report.deleted.len(), 1, "the manifest; all else is also sim@1's");
    /// assert_eq!(store.save("sim", new())?.name(), "sim@3");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self, names: &[(String, u64)], care: Care) -> Result<GcReport, StoreError> {
        let names: HashSet<_> = names.iter().cloned().collect();
        let check = |index: &Index| {
            let listed = index.checkpoints();
            for (job, number) in &names {
                let mut of_job = listed.iter().filter(|(info, _)| info.job == *job).peekable();
                if of_job.peek().is_none() {
                    return Err(StoreError::NoJob { job: job.clone() });
                }
                if !of_job.any(|(info, _)| info.number == *number) {
                    return Err(StoreError::NoCheckpoint { job: job.clone(), number: *number });
                }
            }
            Ok(true)
        };
        Ok(self.clean(&names, check, care)?.unwrap_or_default())
    }

    /// Deletes every blob that no checkpoint, and no image of another tool, needs: what saves that
    /// died have left, and downloads that nobody has continued for a week.
    ///
    /// # Errors
    /// What the system says. No checkpoint is harmed.
    pub fn collect(&self, care: Care) -> Result<GcReport, StoreError> {
        Ok(self.clean(&HashSet::new(), |_| Ok(true), care)?.unwrap_or_default())
    }

    /// Removes checkpoints if `check` still agrees with the list, and collects.
    pub(crate) fn clean(
        &self,
        names: &HashSet<(String, u64)>,
        check: impl FnOnce(&Index) -> Result<bool, StoreError>,
        care: Care,
    ) -> Result<Option<GcReport>, StoreError> {
        let dry = care == Care::DryRun;
        let alone = match care {
            Care::DryRun => self.glance_alone(),
            Care::Thorough => self.lock_alone(None)?,
            Care::Brief(patience) => self.lock_alone(Some(patience))?,
        };
        if alone.is_none() && !dry {
            return Err(StoreError::Busy { dir: self.dir.clone() });
        }
        let _list = if dry { None } else { Some(self.lock_index()?) };
        let (mut index, damage) = Index::read(&self.dir)?;
        if !check(&index)? {
            return Ok(None);
        }
        let mut report = GcReport { removed: index.remove(names), ..GcReport::default() };
        // Before anything is changed: what cannot be read now ends it here.
        let reach = self.reach(&index)?;
        let recovered = damage.is_none() && index.is_recovered();
        if recovered && care == Care::Thorough {
            index.accept();
        }
        if !dry && (recovered || damage.is_some() || !report.removed.is_empty()) {
            index.write(&self.dir)?;
            fs::sync_dir(&self.dir).map_err(StoreError::io("sync", &self.dir))?;
        }
        // A list that was put together again may lack entries of other tools; who runs this again
        // has seen that.
        report.held_up = damage.into_iter().chain(reach.unknown.iter().cloned()).collect();
        if recovered && matches!(care, Care::Brief(_)) {
            report.held_up.push(Damage {
                checkpoint: None,
                what: "index".to_owned(),
                path: crate::index::FILE.into(),
                kind: DamageKind::Malformed(
                    "it was put together again, perhaps not all of it".to_owned(),
                ),
            });
        }
        let needed = reach.all();
        let mut garbage = self.files(alone.is_some())?;
        garbage.retain(|file| match file.what {
            What::Blob(digest) => report.held_up.is_empty() && !needed.contains(&digest),
            // While somebody saves they may be his.
            What::Temporary | What::OldPart => alone.is_some(),
        });
        let (manifests, others): (Vec<Found>, Vec<Found>) =
            garbage.into_iter().partition(|file| self.may_be_manifest(file));
        let synced = !manifests.is_empty() && !dry;
        self.delete(manifests, dry, &mut report)?;
        if synced {
            let blobs = self.blobs();
            fs::sync_dir(&blobs).map_err(StoreError::io("sync", &blobs))?;
        }
        self.delete(others, dry, &mut report)?;
        Ok(Some(report))
    }

    fn delete(
        &self,
        files: Vec<Found>,
        dry: bool,
        report: &mut GcReport,
    ) -> Result<(), StoreError> {
        for file in files {
            if !dry {
                let path = self.dir.join(&file.path);
                match fs::remove(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(StoreError::io("delete", &path)(error));
                    }
                    _ => {}
                }
            }
            report.bytes = report.bytes.saturating_add(file.size);
            report.deleted.push(file.path);
        }
        Ok(())
    }
}
