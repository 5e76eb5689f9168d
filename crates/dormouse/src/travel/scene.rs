//! Where a program is run again: copies of its directories.
//!
//! ```text
//!   STORE/debug/sim.debug/         removed with the job's last stop
//!    ├─ 4f2e91c0a7d3/  0/ 1/       the copies of a stop, named by its checkpoint (annotations::COPIES)
//!    └─ 81b2../        0/ 1/ log/  those of a run, and what it did to them; gone when it ends, or kept with its stop
//! ```

use crate::{Error, Result, annotations, running};
use dormouse_store::{Checkpoint, CheckpointInfo, Store, hex};
use dormouse_wasi::{Mark, Original, Replica, Wasi};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Removed when it is dropped, unless it is kept.
pub(crate) struct Scene {
    path: PathBuf,
    /// Where each of the program's directories is, and its name for it.
    pub dirs: Vec<(PathBuf, String)>,
    /// What should be told.
    pub warnings: Vec<String>,
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
        let mut scene = Scene { path, dirs, warnings: vec![], kept: false };
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

    /// The stop is durable.
    pub fn keep(mut self) {
        self.kept = true;
        let _ = fs::remove_dir_all(self.log());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn place(store: &Path, job: &str) -> PathBuf {
    // Absolute: a stop names it, and may be resumed from another directory.
    std::path::absolute(store).unwrap_or_else(|_| store.to_owned()).join("debug").join(job)
}

/// Removes copies that no stop of the job has: of runs that were killed, of stops that were removed. Whoever calls it has the
/// job's lease, or none of its checkpoints is left.
///
/// # Errors
/// What the system says.
pub(crate) fn sweep(store: &Path, job: &str, stops: &[CheckpointInfo]) -> std::io::Result<()> {
    let dir = place(store, job);
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let known: HashSet<&str> = stops
        .iter()
        .filter_map(|s| Some(s.annotations.get(annotations::COPIES)?.as_str()))
        .collect();
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    if known.is_empty() {
        fs::remove_dir(&dir)?;
    }
    Ok(())
}

/// Removes copies of stops that are not there any more, unless their job is being run.
///
/// # Errors
/// What the system or the store says.
pub fn forget(store: &Store) -> Result<()> {
    let dir = store.dir().join("debug");
    let entries = match fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("list", &dir))?,
    };
    for job in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        if !running::is_running(store.dir(), &job) {
            let stops = store.list(&job)?;
            let place = place(store.dir(), &job);
            sweep(store.dir(), &job, &stops).map_err(Error::io("delete copies in", place))?;
        }
    }
    Ok(())
}
