//! What must be on the disk before a checkpoint is reported, apart from the checkpoint: to be waited for while the program
//! goes on.
//!
//! ```text
//!   program stands    save, mark, unsynced
//!   program goes on   Unsynced::sync, then the checkpoint may be reported
//! ```

use crate::errors::{WasiError, doing};
use crate::fds::{Descriptor, Host};
use crate::undo::UnsyncedUndo;
use std::fs::File;

/// Files of a program, open for writing, and its undo log, as they were at one moment; what was written into them since may
/// come to the disk too, after what undoes it.
#[derive(Debug, Default)]
#[must_use = "a checkpoint is not durable before it was synced"]
pub struct Unsynced {
    /// And what is being done.
    files: Vec<(File, String)>,
    undo: Option<UnsyncedUndo>,
}

impl Unsynced {
    /// Waits until all of it is on the disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(self) -> Result<(), WasiError> {
        self.undo.as_ref().map_or(Ok(()), UnsyncedUndo::sync)?;
        for (file, what) in self.files {
            self.undo.as_ref().map_or(Ok(()), UnsyncedUndo::sync_log)?;
            file.sync_all().map_err(doing(what))?;
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
                match file.file.try_clone() {
                    Ok(file) => unsynced.files.push((file, what)),
                    // Too many are open: it takes longer then.
                    Err(_) => file.file.sync_all().map_err(doing(what))?,
                }
            }
        }
        if let Some(undo) = &self.undo {
            let what = format!("writing the undo log in {}", undo.path().display());
            unsynced.undo = Some(undo.unsynced().map_err(doing(what))?);
        }
        Ok(unsynced)
    }
}
