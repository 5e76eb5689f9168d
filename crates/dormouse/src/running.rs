//! Which jobs run: a lease and a socket each, beside the store's blobs.
//!
//! ```text
//!   STORE/run/            only its owner can enter
//!    ├─ sim.lock          locked (flock) while sim runs, so it ends with the process, however that
//!    │                    ends; says who: {"pid":4711,"socket":"...","program":"sim.wasm",...}
//!    └─ sim.sock          answers (see `control`)
//! ```
//!
//! Both are removed at the end of the job. What a killed process leaves is recognised by the lock
//! nobody holds, and removed by the next run of that job or by [`jobs`].

use crate::places::short_runtime_dir;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A socket's path may have 103 bytes on some systems, 107 on others.
const MAX_SOCKET_PATH: usize = 100;
/// How often a lease that is held is tried again: whoever looks for leftovers holds it shortly.
const TRIES: u32 = 10;

/// Who runs a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process.
    pub pid: u32,
    /// Where it answers.
    pub socket: PathBuf,
    /// Program name.
    pub program: String,
    /// Since when: RFC 3339, UTC.
    pub started: String,
}

/// The right to be the only live copy of a job; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    path: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) holder: Holder,
    /// Closing it gives the lock back.
    _file: File,
}

impl Lease {
    /// Takes the lease of `job`; removes what a dead process left.
    pub(crate) fn take(store: &Path, job: &str, program: &str) -> Result<Lease> {
        let dir = run_dir(store);
        private_dir(&dir).map_err(Error::io("create", &dir))?;
        let path = dir.join(format!("{job}.lock"));
        let socket = socket_path(&dir, job)?;
        let mut tries = 0;
        let mut file = loop {
            match try_take(&path).map_err(Error::io("lock", &path))? {
                Some(file) => break file,
                None if tries < TRIES => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(30));
                }
                None => {
                    let pid = holder(store, job).map(|h| h.pid);
                    return Err(Error::Running { job: job.to_owned(), pid });
                }
            }
        };
        let _ = std::fs::remove_file(&socket);
        let holder = Holder {
            pid: std::process::id(),
            socket: socket.clone(),
            program: program.to_owned(),
            started: format!("{:.0}", jiff::Timestamp::now()),
        };
        let text = serde_json::to_vec(&holder).map_err(|e| Error::io("lock", &path)(e.into()))?;
        // What a dead process left is cut off afterwards: some file systems (ext4) flush a file to the disk that was
        // truncated to nothing, when it is closed.
        let write = |file: &mut File| {
            file.write_all(&text)?;
            file.set_len(text.len() as u64)
        };
        write(&mut file).map_err(Error::io("write", &path))?;
        Ok(Lease { path, socket, holder, _file: file })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // While it is still locked: nobody else's are removed.
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The lock, or none if somebody else has it.
fn try_take(path: &Path) -> io::Result<Option<File>> {
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(e),
        }
        // It may have been removed by its last holder between our two steps.
        match std::fs::metadata(path) {
            Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(Some(file)),
            _ => continue,
        }
    }
}

/// Who runs `job`, as its lease says; it may have died since.
pub fn holder(store: &Path, job: &str) -> Option<Holder> {
    let mut text = Vec::new();
    let file = File::open(run_dir(store).join(format!("{job}.lock"))).ok()?;
    file.take(64 << 10).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// The jobs of `store` whose leases are held. Removes what dead processes left.
///
/// # Errors
/// What the system says.
pub fn jobs(store: &Path) -> Result<Vec<String>> {
    let dir = run_dir(store);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(Error::io("list", &dir)(e)),
    };
    let mut jobs = vec![];
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(job) = name.to_str().and_then(|n| n.strip_suffix(".lock")) else {
            continue;
        };
        if is_running(store, job) {
            jobs.push(job.to_owned());
        }
    }
    jobs.sort();
    Ok(jobs)
}

/// Whether the lease of `job` is held. Removes what a dead process left.
pub fn is_running(store: &Path, job: &str) -> bool {
    let dir = run_dir(store);
    let path = dir.join(format!("{job}.lock"));
    if !path.exists() {
        return false;
    }
    match try_take(&path) {
        Ok(Some(_file)) => {
            if let Ok(socket) = socket_path(&dir, job) {
                let _ = std::fs::remove_file(socket);
            }
            let _ = std::fs::remove_file(&path);
            false
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

fn run_dir(store: &Path) -> PathBuf {
    // Absolute, because others use the socket's path from elsewhere.
    std::path::absolute(store).unwrap_or_else(|_| store.to_owned()).join("run")
}

fn socket_path(dir: &Path, job: &str) -> Result<PathBuf> {
    let path = dir.join(format!("{job}.sock"));
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok(path);
    }
    let short = short_runtime_dir();
    private_dir(&short).map_err(Error::io("create", &short))?;
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let hex: String = digest[..12].iter().map(|b| format!("{b:02x}")).collect();
    Ok(short.join(format!("{hex}.sock")))
}

/// Creates the directory for this user only, or makes sure that it is so.
fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let meta = std::fs::symlink_metadata(dir)?;
    if !meta.is_dir()
        || meta.uid() != rustix::process::geteuid().as_raw()
        || meta.mode() & 0o077 != 0
    {
        let why = "it must be a directory that only you can enter (chmod 700)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::take(dir.path(), "a", "a.wasm").unwrap();
        assert_eq!(holder(dir.path(), "a").unwrap(), lease.holder);
        assert_eq!(jobs(dir.path()).unwrap(), ["a"]);
        let second = Lease::take(dir.path(), "a", "a.wasm").unwrap_err();
        assert!(matches!(second, Error::Running { pid: Some(p), .. } if p == std::process::id()));
        drop(lease);
        assert!(!is_running(dir.path(), "a"));
        Lease::take(dir.path(), "a", "a.wasm").unwrap();
    }

    #[test]
    fn leftovers_go() {
        let dir = tempfile::tempdir().unwrap();
        drop(Lease::take(dir.path(), "a", "a.wasm").unwrap());
        let run = dir.path().join("run");
        std::fs::write(run.join("a.lock"), "{").unwrap();
        std::fs::write(run.join("a.sock"), "").unwrap();
        assert!(jobs(dir.path()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
    }

    #[test]
    fn long_names_get_short_sockets() {
        let dir = Path::new("/some/where/run");
        let path = socket_path(dir, &"x".repeat(128)).unwrap();
        assert!(path.as_os_str().len() <= MAX_SOCKET_PATH, "{path:?}");
        assert_eq!(socket_path(dir, "x").unwrap(), dir.join("x.sock"));
    }
}
