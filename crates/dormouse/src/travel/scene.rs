//! Where a program is run again: copies of its directories.
//!
//! ```text
//!   STORE/debug/sim.debug/         removed with the last of them
//!    ├─ 4f2e91c0a7d3/  0/ 1/       the copies of a stop, named by its checkpoint (annotations::COPIES), and by all that
//!    │                             are taken when it goes on; locked (flock) while it does
//!    └─ 81b2../        0/ 1/ log/  those of a run, and what it did to them; gone when it ends, or kept with its stop
//! ```

use super::Unfinished;
use crate::{Error, Result, annotations, running};
use dormouse_store::{Checkpoint, CheckpointInfo, Store, hex};
use dormouse_wasi::{Mark, Original, Replica, Wasi};
use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Removed when it is dropped, unless it is kept.
pub(crate) struct Scene {
    path: PathBuf,
    /// Where each of the program's directories is, and its name for it.
    pub dirs: Vec<(PathBuf, String)>,
    /// What should be told.
    pub warnings: Vec<String>,
    unfinished: Unfinished,
    kept: bool,
}

/// What a scene is made of.
pub(crate) struct Given<'a> {
    pub store: &'a Path,
    /// The job of stops.
    pub name: &'a str,
    pub checkpoint: &'a Checkpoint,
    /// Directories that are used as they are.
    pub dirs: &'a [(PathBuf, String)],
    /// Whether other directories may be looked for where the checkpoint says.
    pub recorded_dirs: bool,
    /// The undo log of the checkpoint's job.
    pub undo: Option<(&'a Path, Mark)>,
    /// Bytes that may be copied.
    pub most: u64,
    /// Files travel with the checkpoint.
    pub carried: bool,
    pub unfinished: Unfinished,
}

impl Scene {
    pub fn make(of: &Given<'_>) -> Result<Scene> {
        let saved = &of.checkpoint.state.wasi;
        let preopens = Wasi::describe(saved)?.preopens;
        if !of.recorded_dirs
            && let Some(none) = preopens.iter().find(|p| !of.dirs.iter().any(|d| d.1 == p.guest))
        {
            let (guest, recorded) = (none.guest.clone(), PathBuf::from(&none.host));
            return Err(dormouse_wasi::WasiError::DirNotGiven { guest, recorded }.into());
        }
        if !of.checkpoint.info.pulled {
            for (given, _) in of.dirs {
                preopens.iter().try_for_each(|own| apart(given, Path::new(&own.host)))?;
            }
        }
        let mut random = [0; 8];
        let no_name = |e: getrandom::Error| std::io::Error::other(e.to_string());
        let above = place(of.store, of.name);
        getrandom::fill(&mut random)
            .map_err(no_name)
            .map_err(Error::io("name a copy in", &above))?;
        let path = above.join(hex(&random));
        // As the undo log of the run has them.
        let real = |host: &PathBuf| std::path::absolute(host).unwrap_or_else(|_| host.clone());
        let dirs = of.dirs.iter().map(|(host, guest)| (real(host), guest.clone())).collect();
        let unfinished = of.unfinished.clone();
        *unfinished.hold() = Some(path.clone());
        let mut scene = Scene { path, dirs, warnings: vec![], unfinished, kept: false };
        let original = Original {
            saved,
            without: &of.dirs.iter().map(|dir| dir.1.clone()).collect::<Vec<_>>(),
            undo: of.undo,
            most: of.most,
            except: Some(of.store),
            carried: of.carried,
        };
        let made = Replica::make(&original, &scene.path)?;
        scene.dirs.extend(made.dirs);
        if made.stranded && !of.carried {
            scene.warnings.push(format!(
                "the files are not put back to what they were at {}: the job went on from an earlier checkpoint since, or elsewhere",
                of.checkpoint.info.name()
            ));
        }
        if made.left_out > 0 {
            scene.warnings.push(format!(
                "{} names in the program's directories were not copied: they are no files, may not be read, or are the store",
                made.left_out
            ));
        }
        Ok(scene)
    }

    /// The undo log of the run.
    pub fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Undoes what a run did to files after its mark; nothing has them now.
    pub fn back(&self, mark: Option<Mark>) -> Result<()> {
        if let Some(mark) = mark {
            Wasi::go_back(&self.dirs, &self.log(), mark)?;
        }
        Ok(())
    }

    /// What the stop's checkpoint is to remember of it.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Makes the stop that has them; meanwhile this process is not ended.
    pub fn finish<T>(&self, save: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut held = self.unfinished.hold();
        let saved = save()?;
        *held = None;
        Ok(saved)
    }

    /// The stop is durable.
    pub fn keep(mut self) {
        self.kept = true;
        let _ = fs::remove_dir_all(self.log());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !self.kept {
            let mut held = self.unfinished.hold();
            let _ = fs::remove_dir_all(&self.path);
            *held = None;
        }
    }
}

/// A directory that is used as it is shares nothing with one of the job's.
fn apart(given: &Path, own: &Path) -> Result<()> {
    let (Ok(real), Ok(own)) = (fs::canonicalize(given), fs::canonicalize(own)) else {
        return Ok(());
    };
    let how = match () {
        () if real == own => "is the job's own directory".to_owned(),
        () if real.starts_with(&own) => {
            format!("lies in the job's own directory {}", own.display())
        }
        () if own.starts_with(&real) => {
            format!("has the job's own directory {} in it", own.display())
        }
        () => return Ok(()),
    };
    Err(Error::OwnDirectory { path: given.to_owned(), how })
}

fn place(store: &Path, job: &str) -> PathBuf {
    // Absolute: a stop names it, and may be resumed from another directory.
    std::path::absolute(store).unwrap_or_else(|_| store.to_owned()).join("debug").join(job)
}

/// Removes copies that no checkpoint names, of whichever job: of runs that were killed, of stops that were removed. Whoever
/// calls it has the job's lease, or nobody runs it.
///
/// # Errors
/// What the system or the store says.
pub(crate) fn sweep(store: &Store, job: &str) -> Result<()> {
    let dir = place(store.dir(), job);
    let failed = || Error::io("delete copies in", &dir);
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed())?,
    };
    // What goes on from a stop, as that job or as a clone, works in its copies.
    let mut known = HashSet::new();
    for job in store.jobs()? {
        let all = store.list(&job.job)?;
        known.extend(all.iter().filter_map(copies).map(str::to_owned));
    }
    for entry in entries {
        let entry = entry.map_err(failed())?;
        let is_known = entry.file_name().to_str().is_some_and(|name| known.contains(name));
        if !is_known && !in_use(&entry.path()) {
            fs::remove_dir_all(entry.path()).map_err(failed())?;
        }
    }
    match fs::remove_dir(&dir) {
        Err(e) if e.kind() != ErrorKind::DirectoryNotEmpty => Err(failed()(e)),
        _ => Ok(()),
    }
}

/// Removes copies of stops that are not there any more, unless their job is being run.
///
/// # Errors
/// What the system or the store says.
pub fn forget(store: &Store) -> Result<()> {
    let dir = store.dir().join("debug");
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("list", &dir))?,
    };
    for job in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if !running::is_running(store.dir(), &job) {
            sweep(store, &job)?;
        }
    }
    Ok(())
}

/// The copies that a checkpoint's program works in: those of a stop, or of the stop that it went on from. A stranger's are not here.
pub(crate) fn copies(checkpoint: &CheckpointInfo) -> Option<&str> {
    let name = checkpoint.annotations.get(annotations::COPIES)?;
    (!checkpoint.pulled).then_some(name.as_str())
}

/// Keeps copies from being removed while a program works in them, until what it returns is dropped: there may be no checkpoint
/// yet that names them.
pub(crate) fn work_in(store: &Path, copies: &str) -> Option<File> {
    let plain = copies.bytes().all(|b| b.is_ascii_hexdigit());
    let mut jobs = fs::read_dir(store.join("debug")).ok().filter(|_| plain)?.flatten();
    let dir = jobs.find_map(|job| File::open(job.path().join(copies)).ok())?;
    dir.try_lock_shared().ok()?;
    Some(dir)
}

fn in_use(copies: &Path) -> bool {
    let dir = File::open(copies);
    dir.is_ok_and(|dir| matches!(dir.try_lock(), Err(TryLockError::WouldBlock)))
}
