//! Finding or making a store.
//!
//! ```text
//!   create: .dormouse.lock, blobs/sha256/, index.json, oci-layout      (the last one completes it)
//! ```
//!
//! A directory with `oci-layout` is a store. One with `.dormouse.lock` alone is a store whose
//! creation was cut short, or that lost its `oci-layout`: creation goes on.

use crate::blob::{KEPT_PREFIX, Stager, TEMP_PREFIX};
use crate::error::{Damage, DamageKind, StoreError, Subject};
use crate::fs;
use crate::index::{self, Index};
use crate::job::{CheckpointInfo, JobSummary, check_name};
use crate::reach::is_orphan;
use crate::seal::Keys;
use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const LAYOUT_FILE: &str = "oci-layout";
pub(crate) const LAYOUT: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
const LOCK_FILE: &str = ".dormouse.lock";
const INDEX_LOCK_FILE: &str = ".dormouse-index.lock";

/// A directory of checkpoints. Any number of processes may use one at the same time.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    /// Blobs this handle has hashed or written: they need not be hashed again to be shared.
    pub(crate) known_good: Mutex<HashSet<[u8; 32]>>,
    pub(crate) keys: Keys,
}

enum Found {
    Nothing,
    Unfinished,
    Complete,
}

impl Store {
    /// Opens the store at `dir`; makes one where there is nothing or an empty directory.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] if something else is there; [`StoreError::Unsupported`] for a
    /// layout of another version; what the system says.
    pub fn create_or_open(dir: &Path) -> Result<Store, StoreError> {
        if !matches!(look(dir)?, Found::Complete) {
            create(dir)?;
        }
        Ok(Store::at(dir))
    }

    /// Opens the store at `dir`. Writes nothing.
    ///
    /// # Errors
    /// [`StoreError::NoStore`] if there is nothing; else as [`Store::create_or_open`].
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        match look(dir)? {
            Found::Complete => Ok(Store::at(dir)),
            // With its blobs it can be read; `load` warns about the missing file.
            Found::Unfinished if dir.join("blobs").join("sha256").is_dir() => Ok(Store::at(dir)),
            _ => Err(StoreError::NoStore { dir: dir.to_owned() }),
        }
    }

    fn at(dir: &Path) -> Store {
        Store { dir: dir.to_owned(), known_good: Mutex::default(), keys: Keys::default() }
    }

    /// Seals what is saved, and opens what was sealed.
    #[cfg(feature = "encryption")]
    pub fn with_keys(self, keys: Keys) -> Store {
        Store { keys, ..self }
    }

    /// Where the store is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The jobs that have checkpoints, by name.
    ///
    /// # Errors
    /// What the system says.
    pub fn jobs(&self) -> Result<Vec<JobSummary>, StoreError> {
        let mut jobs: Vec<JobSummary> = Vec::new();
        for (info, _) in Index::read(&self.dir)?.0.checkpoints() {
            match jobs.last_mut() {
                Some(last) if last.job == info.job => {
                    last.checkpoints += 1;
                    last.newest = info;
                }
                _ => jobs.push(JobSummary { job: info.job.clone(), checkpoints: 1, newest: info }),
            }
        }
        Ok(jobs)
    }

    /// The checkpoints of `job`, oldest first; none for a job the store does not know. Reads the
    /// list only, so a checkpoint may turn out to be damaged.
    ///
    /// # Errors
    /// [`StoreError::BadJobName`]; what the system says.
    pub fn list(&self, job: &str) -> Result<Vec<CheckpointInfo>, StoreError> {
        check_name(job)?;
        let all = Index::read(&self.dir)?.0.checkpoints();
        Ok(all.into_iter().map(|(info, _)| info).filter(|info| info.job == job).collect())
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs").join("sha256")
    }

    /// Held while blobs are being written; whoever would remove blobs takes it alone. Sweeps what
    /// dead savers left if nobody else is saving.
    pub(crate) fn lock_writers(&self) -> Result<File, StoreError> {
        let path = self.dir.join(LOCK_FILE);
        let file = fs::open_lock(&path).map_err(StoreError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {
                sweep(&self.dir);
                sweep(&self.blobs());
                file.unlock().map_err(StoreError::io("unlock", &path))?;
            }
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
        file.lock_shared().map_err(StoreError::io("lock", &path))?;
        Ok(file)
    }

    /// Held, alone, while blobs are being removed; sweeps what dead savers left. `None` if
    /// somebody is saving for longer than `patience`; without one it waits for as long as it takes.
    pub(crate) fn lock_alone(
        &self,
        patience: Option<Duration>,
    ) -> Result<Option<File>, StoreError> {
        let path = self.dir.join(LOCK_FILE);
        let file = fs::open_lock(&path).map_err(StoreError::io("open", &path))?;
        let Some(patience) = patience else {
            file.lock().map_err(StoreError::io("lock", &path))?;
            sweep(&self.dir);
            return Ok(Some(file));
        };
        let until = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => {
                    sweep(&self.dir);
                    return Ok(Some(file));
                }
                Err(TryLockError::Error(error)) => {
                    return Err(StoreError::io("lock", &path)(error));
                }
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return Ok(None),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// The same lock if it can be had at once and without writing anything.
    pub(crate) fn glance_alone(&self) -> Option<File> {
        let file = fs::open_to_lock(&self.dir.join(LOCK_FILE)).ok()?;
        file.try_lock().is_ok().then_some(file)
    }

    /// Held while names are given to blobs and the list is replaced.
    pub(crate) fn lock_index(&self) -> Result<File, StoreError> {
        let path = self.dir.join(INDEX_LOCK_FILE);
        let file = fs::open_lock(&path).map_err(StoreError::io("open", &path))?;
        file.lock().map_err(StoreError::io("lock", &path))?;
        Ok(file)
    }

    /// What is wrong with `oci-layout`.
    pub(crate) fn layout_damage(&self) -> Option<Damage> {
        let subject =
            Subject { checkpoint: None, what: "layout".to_owned(), path: LAYOUT_FILE.into() };
        match read_layout(&self.dir) {
            Ok(Some(LayoutFile::Good)) => None,
            Ok(None) => Some(subject.damage(DamageKind::Missing)),
            Ok(Some(LayoutFile::Other(_))) => {
                Some(subject.damage(DamageKind::Malformed("it is not an OCI layout 1.0.0".into())))
            }
            Err(error) => Some(subject.damage(DamageKind::Unreadable(error.to_string()))),
        }
    }
}

/// Removes temporary files. What cannot be removed is left for the next time.
fn sweep(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // One that is wanted still is locked.
        let orphan = || is_orphan(&entry.path());
        if name.starts_with(TEMP_PREFIX) || (name.starts_with(KEPT_PREFIX) && orphan()) {
            let _ = fs::remove(&entry.path());
        }
    }
}

enum LayoutFile {
    Good,
    /// Something else, and the version it gives.
    Other(Option<String>),
}

fn read_layout(dir: &Path) -> io::Result<Option<LayoutFile>> {
    let path = dir.join(LAYOUT_FILE);
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Ok(Some(LayoutFile::Other(None))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    File::open(&path)?.take(4096).read_to_end(&mut bytes)?;
    let layout = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let version = layout.as_ref().and_then(|l| l.get("imageLayoutVersion")?.as_str());
    Ok(Some(match version {
        Some("1.0.0") => LayoutFile::Good,
        other => LayoutFile::Other(other.map(str::to_owned)),
    }))
}

fn look(dir: &Path) -> Result<Found, StoreError> {
    let not_a_store = || StoreError::NotAStore { dir: dir.to_owned() };
    let mut entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(not_a_store()),
        Err(error) => return Err(StoreError::io("open", dir)(error)),
    };
    let path = dir.join(LAYOUT_FILE);
    let ours = dir.join(LOCK_FILE).is_file();
    match read_layout(dir).map_err(StoreError::io("read", &path))? {
        Some(LayoutFile::Good) => Ok(Found::Complete),
        // Bit rot in a store that we made; `load` warns, `create_or_open` mends it.
        _ if ours => Ok(Found::Unfinished),
        Some(LayoutFile::Other(Some(version))) => Err(StoreError::Unsupported {
            path,
            what: format!("an OCI layout of version {version}"),
        }),
        Some(LayoutFile::Other(None)) => Err(not_a_store()),
        None if entries.next().is_none() => Ok(Found::Nothing),
        // Somebody else may have begun to make it since we looked; the lock file comes first.
        None if dir.join(LOCK_FILE).is_file() => Ok(Found::Unfinished),
        None => Err(not_a_store()),
    }
}

fn create(dir: &Path) -> Result<(), StoreError> {
    // Whatever is missing above the store must be on the disk too.
    let mut missing = vec![dir];
    while let Some(parent) = missing.last().and_then(|d| d.parent())
        && !parent.as_os_str().is_empty()
        && !parent.exists()
    {
        missing.push(parent);
    }
    fs::create_dir(dir).map_err(|e| StoreError::io("create", dir)(e))?;
    let lock_path = dir.join(LOCK_FILE);
    let lock = fs::open_lock(&lock_path).map_err(|e| StoreError::io("create", &lock_path)(e))?;
    // Two may be creating the same store; the second finds it complete.
    lock.lock().map_err(StoreError::io("lock", &lock_path))?;
    if matches!(look(dir)?, Found::Complete) {
        return Ok(());
    }
    let blobs = dir.join("blobs").join("sha256");
    fs::create_dir(&blobs).map_err(|e| StoreError::io("create", &blobs)(e))?;
    // Where there are blobs but no list, the list was lost: `Index::read` puts it together again.
    let mut names = std::fs::read_dir(&blobs).map_err(StoreError::io("list", &blobs))?;
    if !dir.join(index::FILE).exists() && names.next().is_none() {
        index::create(dir)?;
    }
    fs::sync_dir(&dir.join("blobs")).map_err(StoreError::io("sync", dir))?;
    Stager::whole(dir, LAYOUT)?.publish(&dir.join(LAYOUT_FILE))?;
    fs::sync_dir(dir).map_err(StoreError::io("sync", dir))?;
    for made in missing {
        if let Some(parent) = made.parent() {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            // Not every parent may be opened for reading; then the system decides when.
            let _ = fs::sync_dir(parent);
        }
    }
    Ok(())
}
