//! Which jobs run: a lock file and a socket each, beside the store's blobs.
//!
//! ```text
//!   STORE/run/            only its owner can enter
//!    ├─ sim.lock          the lease: locked (flock) while sim runs, and says who runs it (see `lease`):
//!    │                    {"pid":4711,"socket":"...","program":"sim.wasm",...,"host":"nodea",..,"renewed":12}
//!    └─ sim.sock          answers (see `control`)
//! ```
//!
//! Both are removed at the end of the job. What a killed process of this host leaves is recognised by the lock nobody
//! holds, and removed by the next run of that job or by [`jobs`]. What names another host is left alone: from here
//! nobody can tell at once whether that one still runs.

use crate::host::Host;
use crate::lease::{self, Found};
use crate::places::short_runtime_dir;
use crate::{Error, Result};
use dormouse_store::{hex, sha256};
use serde::{Deserialize, Serialize};
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A socket's path may have 103 bytes on some systems, 107 on others.
const MAX_SOCKET_PATH: usize = 100;
/// More than any lease has.
const MAX_LEASE: u64 = 64 << 10;

/// Who runs a job, as its lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process.
    pub pid: u32,
    /// Where it answers.
    pub socket: PathBuf,
    /// Program name.
    pub program: String,
    /// Since when: RFC 3339, UTC.
    pub started: String,
    /// Name of its host.
    #[serde(default)]
    pub host: String,
    /// What its host's kernel is called since it was started; empty where there is no such thing.
    #[serde(default)]
    pub boot: String,
    /// The file system that its host has the lease on: another number of the same host is another mount, whose locks may
    /// be others.
    #[serde(default)]
    pub device: u64,
    /// What nobody else's lease has: 32 hex digits.
    #[serde(default)]
    pub token: String,
    /// For how long after a renewal the lease is its own, in milliseconds.
    #[serde(default)]
    pub ttl_ms: u64,
    /// How often it was renewed. That this grows is how other hosts see that it lives: clocks are never compared.
    #[serde(default)]
    pub renewed: u64,
}

impl Holder {
    /// Whether it runs on this host.
    pub fn is_here(&self) -> bool {
        Host::this().has(self)
    }
}

/// Who runs `job`, as its lease says; it may have died since, or run on another host.
pub fn holder(store: &Path, job: &str) -> Option<Holder> {
    let file = File::open(lock_path(&run_dir(store), job)).ok()?;
    parse(&read(&file).ok()?)
}

/// What a lock file says.
pub(crate) fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(MAX_LEASE).read_to_end(&mut text)?;
    Ok(text)
}

/// Who that is; none if it is not whole.
pub(crate) fn parse(text: &[u8]) -> Option<Holder> {
    serde_json::from_slice(text).ok()
}

/// The jobs of `store` whose leases are held, as far as can be told from here. Removes what dead processes of this host
/// left.
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

/// Whether the lease of `job` is held, here or, as far as can be told, elsewhere. Removes what a dead process of this
/// host left.
pub fn is_running(store: &Path, job: &str) -> bool {
    let dir = run_dir(store);
    let path = lock_path(&dir, job);
    match lease::look(&path, &Host::this(), true) {
        Ok(Found::Dead(old)) => {
            if let Ok(socket) = socket_path(&dir, job) {
                let _ = std::fs::remove_file(socket);
            }
            let _ = old.remove(&path);
            false
        }
        Ok(Found::Held | Found::Unclear(Some(_), _)) => true,
        // One that cannot be read is being written, or was when its host died.
        Ok(Found::Missing | Found::Unclear(None, _)) | Err(_) => false,
    }
}

pub(crate) fn lock_path(run_dir: &Path, job: &str) -> PathBuf {
    run_dir.join(format!("{job}.lock"))
}

pub(crate) fn run_dir(store: &Path) -> PathBuf {
    // Absolute, because others use the socket's path from elsewhere.
    std::path::absolute(store).unwrap_or_else(|_| store.to_owned()).join("run")
}

pub(crate) fn socket_path(dir: &Path, job: &str) -> Result<PathBuf> {
    let path = dir.join(format!("{job}.sock"));
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok(path);
    }
    let short = short_runtime_dir();
    private_dir(&short).map_err(Error::io("create", &short))?;
    let digest = sha256(path.as_os_str().as_encoded_bytes());
    Ok(short.join(format!("{}.sock", hex(&digest[..12]))))
}

/// Creates the directory for this user only, or makes sure that it is so.
pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
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
    fn long_names_get_short_sockets() {
        let dir = Path::new("/some/where/run");
        let path = socket_path(dir, &"x".repeat(128)).unwrap();
        assert!(path.as_os_str().len() <= MAX_SOCKET_PATH, "{path:?}");
        assert_eq!(socket_path(dir, "x").unwrap(), dir.join("x.sock"));
    }

    #[test]
    fn leases_of_older_versions_are_read() {
        let old = r#"{"pid":7,"socket":"/s","program":"a.wasm","started":"2026-01-01T00:00:00Z"}"#;
        let holder = parse(old.as_bytes()).unwrap();
        assert_eq!((holder.pid, holder.token.as_str()), (7, ""));
        assert!(!holder.is_here(), "it says nothing of its host");
    }
}
