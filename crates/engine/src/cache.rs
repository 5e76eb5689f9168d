//! Compiled code on disk, so that nothing is compiled twice.
//!
//! ```text
//!   DIR/<engine>/<module digest>-<poll>.main          the instrumented module
//!   DIR/<engine>/<module digest>-<poll>.c<slot>       the continuation of a slot
//! ```
//!
//! `<engine>` is wasmtime's own fingerprint of version, target and settings, with the version of
//! our transform. Files appear whole (a temporary name that nobody else has, then rename) and are private to the user:
//! they are machine code. A cache that cannot be read or written is as good as none. It has a [bound].

mod bound;

use std::fs::{self, File};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wasmtime::{Engine, Module};

/// What a main module's file ends with.
pub(crate) const MAIN: &str = "main";

pub(crate) struct Cache {
    dir: Option<PathBuf>,
    /// Bytes.
    bound: u64,
    /// Why there is none, though one is wanted.
    pub problem: Option<String>,
}

impl Cache {
    pub fn new(dir: Option<&Path>, bound: u64, engine: &Engine) -> Cache {
        let mut h = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut h);
        dormouse_transform::VERSION.hash(&mut h);
        let Some(root) = dir else {
            return Cache { dir: None, bound, problem: None };
        };
        let dir = root.join(format!("{:016x}", h.finish()));
        // Who can write to the first can put another in the place of the second.
        for at in [root, &dir] {
            if let Err(e) = private_dir(at) {
                let problem = Some(format!("{}: {e}", at.display()));
                return Cache { dir: None, bound, problem };
            }
        }
        Cache { dir: Some(dir), bound, problem: None }
    }

    pub fn get(&self, engine: &Engine, key: &str) -> Option<Module> {
        let path = self.dir.as_ref()?.join(key);
        let meta = fs::metadata(&path).ok()?;
        match open(engine, &path) {
            Ok(m) => {
                bound::used(&path, &meta);
                Some(m)
            }
            Err(e) => {
                tracing::debug!("ignoring {}: {e:#}", path.display());
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Stores a module under one or more keys.
    pub fn put(&self, module: &Module, keys: &[String]) {
        let Some(dir) = &self.dir else { return };
        let put = module.serialize().map_err(|e| format!("{e:#}")).and_then(|bytes| {
            let size = bytes.len();
            if size as u64 > self.bound {
                return Err(format!("{size} bytes are more than the cache may hold"));
            }
            let at = write(dir, &temporary(), &bytes, keys).map_err(|e| e.to_string())?;
            bound::now_and_then(&at, size as u64, self.bound);
            Ok(())
        });
        if let Err(e) = put {
            tracing::debug!("not caching compiled code: {e}");
        }
    }
}

/// A name for a file until it is whole. It is drawn, since numbers of processes are the same again in other containers and on
/// other hosts: who writes into another's file gives its program another's code.
fn temporary() -> String {
    // Randomly keyed by the system.
    format!("tmp-{:016x}", RandomState::new().build_hasher().finish())
}

/// Writes a file that appears whole under each key, and comes back with its last name. A file that has the temporary name
/// already is left alone.
fn write(dir: &Path, temporary: &str, bytes: &[u8], keys: &[String]) -> io::Result<PathBuf> {
    let tmp = dir.join(temporary);
    let mut file = File::create_new(&tmp)?;
    let written = file.write_all(bytes).and_then(|()| {
        let (last, others) = keys.split_last().ok_or_else(|| io::Error::other("no key"))?;
        for k in others {
            let _ = fs::remove_file(dir.join(k));
            fs::hard_link(&tmp, dir.join(k))?;
        }
        let at = dir.join(last);
        fs::rename(&tmp, &at)?;
        Ok(at)
    });
    if written.is_err() {
        let _ = fs::remove_file(&tmp);
    }
    written
}

/// Opens compiled code. The file must be what `Module::serialize` gave: it lies in a directory that
/// only this user can write (`private_dir`), or the user names it as their own.
pub(crate) fn open(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: files are written whole by `put` (or `Plain::save`), by this user only, from what
    // `serialize` gave; wasmtime checks its own version, target and settings again.
    unsafe { Module::deserialize_file(engine, path) }
}

/// Creates the directory for this user only, or makes sure it is so.
fn private_dir(dir: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let meta = fs::metadata(dir)?;
        if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(io::Error::other("others can write to it"));
        }
        Ok(())
    }
    #[cfg(not(unix))]
    fs::create_dir_all(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_of_another_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let (dir, name) = (place.path(), temporary());
        // Who has just linked it, and is about to rename it.
        fs::write(dir.join("theirs.c1"), "their code").unwrap();
        fs::hard_link(dir.join("theirs.c1"), dir.join(&name)).unwrap();
        let keys = ["ours.c1", "ours.c2"].map(str::to_owned);
        assert!(write(dir, &name, b"our code", &keys).is_err());
        for theirs in ["theirs.c1", &name] {
            assert_eq!(fs::read_to_string(dir.join(theirs)).unwrap(), "their code");
        }
        write(dir, &temporary(), b"our code", &keys).unwrap();
        for key in &keys {
            assert_eq!(fs::read_to_string(dir.join(key)).unwrap(), "our code");
        }
        assert_eq!(fs::read_dir(dir).unwrap().count(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let cache = || Cache::new(Some(place.path()), 1 << 20, &Engine::default());
        assert_eq!(cache().problem, None);
        // The engine's folder is there, and private.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = cache();
        assert!(refused.dir.is_none());
        assert!(refused.problem.unwrap().contains("others can write to it"));
    }
}
