//! Compiled code on disk, so that nothing is compiled twice.
//!
//! ```text
//!   DIR/<engine>/<module digest>-<poll>.main          the instrumented module
//!   DIR/<engine>/<module digest>-<poll>.c<slot>       the continuation of a slot
//! ```
//!
//! `<engine>` is wasmtime's own fingerprint of version, target and settings, with the version of
//! our transform. Files appear whole (temporary name, then rename) and are private to the user:
//! they are machine code. A cache that cannot be read or written is as good as none. It has a [bound].

mod bound;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
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
        let Some(dir) = dir.map(|d| d.join(format!("{:016x}", h.finish()))) else {
            return Cache { dir: None, bound, problem: None };
        };
        match private_dir(&dir) {
            Ok(()) => Cache { dir: Some(dir), bound, problem: None },
            Err(e) => Cache { dir: None, bound, problem: Some(format!("{}: {e}", dir.display())) },
        }
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
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let tmp = dir.join(format!("tmp-{}-{unique}", std::process::id()));
        let result = module.serialize().map_err(|e| format!("{e:#}")).and_then(|bytes| {
            let io = |e: std::io::Error| e.to_string();
            let size = bytes.len() as u64;
            if size > self.bound {
                return Err(format!("{size} bytes are more than the cache may hold"));
            }
            fs::write(&tmp, bytes).map_err(io)?;
            let (last, others) = keys.split_last().ok_or("no key")?;
            for k in others {
                let _ = fs::remove_file(dir.join(k));
                fs::hard_link(&tmp, dir.join(k)).map_err(io)?;
            }
            fs::rename(&tmp, dir.join(last)).map_err(io)?;
            let root = dir.parent().ok_or("no place")?;
            bound::now_and_then(root, size, self.bound);
            Ok(())
        });
        if let Err(e) = result {
            let _ = fs::remove_file(&tmp);
            tracing::debug!("not caching compiled code: {e}");
        }
    }
}

/// Opens compiled code. The file must be what `Module::serialize` gave: it lies in a directory that
/// only this user can write (`private_dir`), or the user names it as their own.
pub(crate) fn open(engine: &Engine, path: &Path) -> wasmtime::Result<Module> {
    // SAFETY: files are written whole by `put` (or `Plain::save`), by this user only, from what
    // `serialize` gave; wasmtime checks its own version, target and settings again.
    unsafe { Module::deserialize_file(engine, path) }
}

/// Creates the directory for this user only, or makes sure it is so.
fn private_dir(dir: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let meta = fs::metadata(dir)?;
        if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
            return Err(std::io::Error::other("others can write to it"));
        }
        Ok(())
    }
    #[cfg(not(unix))]
    fs::create_dir_all(dir)
}
