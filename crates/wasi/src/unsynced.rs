//! What must be on the disk before a checkpoint is reported, apart from the checkpoint: to be waited for while the program
//! goes on.
//!
//! ```text
//!   program stands    save, mark, unsynced
//!   program goes on   Unsynced::sync, then the checkpoint may be reported
//! ```

use crate::errors::{WasiError, doing};
use crate::fds::{Descriptor, Host};
use crate::os;
use std::fs::File;
use std::path::PathBuf;

/// Files of a program, open for writing, and its undo log, as they were at one moment; what was written into them since may
/// come to the disk too.
#[derive(Debug, Default)]
#[must_use = "a checkpoint is not durable before it was synced"]
pub struct Unsynced {
    /// And what is being done.
    files: Vec<(File, String)>,
    /// Directories with new names; only the first is sure to be ours.
    dirs: Vec<PathBuf>,
}

impl Unsynced {
    /// Waits until all of it is on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(self) -> Result<(), WasiError> {
        for (file, what) in self.files {
            file.sync_all().map_err(doing(what))?;
        }
        let mut dirs = self.dirs.iter();
        if let Some(dir) = dirs.next() {
            let what = format!("writing the undo log in {}", dir.display());
            os::sync_dir(dir).map_err(doing(what))?;
            let _ = dirs.try_for_each(|dir| os::sync_dir(dir));
        }
        Ok(())
    }
}

impl Host {
    /// See [`Unsynced`].
    pub(crate) fn unsynced(&self) -> Result<Unsynced, WasiError> {
        let mut unsynced = Unsynced::default();
        for (fd, descriptor) in self.fds.iter() {
            if let Descriptor::File(file) = descriptor
                && file.writable
            {
                let what = format!("flushing fd {fd}, {:?}", self.path_of(&file.place));
                let file = file.file.try_clone().map_err(doing(what.clone()))?;
                unsynced.files.push((file, what));
            }
        }
        if let Some(undo) = &self.undo {
            let what = format!("writing the undo log in {}", undo.path().display());
            let (files, names) = undo.unsynced().map_err(doing(what.clone()))?;
            unsynced.files.extend(files.into_iter().map(|file| (file, what.clone())));
            if names {
                // Those above are new with a store's first job.
                unsynced.dirs.extend(undo.path().ancestors().take(3).map(PathBuf::from));
            }
        }
        Ok(unsynced)
    }
}
