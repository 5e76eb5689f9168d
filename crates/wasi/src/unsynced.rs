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
use cap_std::fs::Dir;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// What is to be synced of a directory of logs, by whoever comes first.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Copies of files that are gone.
    copies: Mutex<Vec<String>>,
    /// Names in the directory.
    names: AtomicBool,
}

impl Pending {
    /// A directory whose names may not be on the disk yet.
    pub fn with_names() -> Pending {
        Pending { copies: Mutex::default(), names: AtomicBool::new(true) }
    }

    /// There are new names in the directory.
    pub fn has_names(&self) {
        self.names.store(true, Ordering::SeqCst);
    }

    pub fn copies(&self) -> MutexGuard<'_, Vec<String>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn sync(&self, dir: &Dir, path: &Path) -> io::Result<()> {
        loop {
            let Some(copy) = self.copies().last().cloned() else { break };
            match dir.open(&copy) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                file => file?.sync_all()?,
            }
            self.copies().retain(|other| *other != copy);
        }
        if self.names.swap(false, Ordering::SeqCst) {
            os::sync_dir(path).inspect_err(|_| self.names.store(true, Ordering::SeqCst))?;
            // Those above are new with a store's first job. They may not be ours.
            let _ = path.ancestors().skip(1).take(2).try_for_each(os::sync_dir);
        }
        Ok(())
    }
}

/// What may not be on the disk yet of the logs of a job.
#[derive(Debug)]
pub(crate) struct UnsyncedUndo {
    pub path: PathBuf,
    pub dir: Dir,
    pub chain: Option<File>,
    /// The log of what is done from the mark on.
    pub log: String,
    pub pending: Arc<Pending>,
}

impl UnsyncedUndo {
    /// The mark, and what was kept before it.
    pub fn sync(&self) -> Result<(), WasiError> {
        let sync = || {
            self.chain.as_ref().map_or(Ok(()), File::sync_all)?;
            self.pending.sync(&self.dir, &self.path)
        };
        sync().map_err(self.doing())
    }

    /// What was kept since the mark: before a file is synced into which the program may have written since.
    pub fn sync_log(&self) -> Result<(), WasiError> {
        let sync = || match self.dir.open(&self.log) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            log => {
                log?.sync_data()?;
                self.pending.sync(&self.dir, &self.path)
            }
        };
        sync().map_err(self.doing())
    }

    fn doing(&self) -> impl FnOnce(io::Error) -> WasiError {
        doing(format!("writing the undo log in {}", self.path.display()))
    }
}
