//! Every step that changes the file system, numbered, so that tests can fail or die at each.
//!
//! ```text
//!   1 create .tmp-1   2 write .tmp-1   3 sync .tmp-1   4 rename 5f0c..   5 syncdir sha256   ...
//!                            ^
//!        DORMOUSE_FAULT=kill@2 dies here, with half of the bytes written
//!        DORMOUSE_FAULT=enospc@2, eio@2 fails here, with half of the bytes written
//!        DORMOUSE_FAULT=full@2, rofs@2 fails here and ever after: a full disk, one that became read-only
//!        DORMOUSE_FAULT=short@2 writes a few bytes at a time, from here on
//! ```
//!
//! The variables `DORMOUSE_FAULT` and `DORMOUSE_FAULT_TRACE` (a file that gets a line for every
//! step) are read in this crate's tests and with the feature `fault` only.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Creates a directory only its owner can enter, and its parents.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    fault::step("mkdir", path)?;
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Creates a file that must not exist yet, readable by its owner only.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    fault::step("create", path)?;
    private(OpenOptions::new().write(true).create_new(true)).open(path)
}

/// The same, to be read again.
pub(crate) fn create_spool(path: &Path) -> io::Result<File> {
    fault::step("create", path)?;
    private(OpenOptions::new().read(true).write(true).create_new(true)).open(path)
}

/// Opens a file to go on with it, readable by its owner only; created where it is missing.
pub(crate) fn open_part(path: &Path) -> io::Result<File> {
    fault::step("create", path)?;
    open_itself(private(OpenOptions::new().read(true).write(true).create(true)), path)
}

/// Opens a lock file, created where it is missing.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    if let Ok(file) = open_itself(OpenOptions::new().read(true).write(true), path) {
        return Ok(file);
    }
    fault::step("create", path)?;
    open_itself(private(OpenOptions::new().read(true).write(true).create(true)), path)
}

/// Opens a file that is there, to lock it.
pub(crate) fn open_to_lock(path: &Path) -> io::Result<File> {
    // NFS locks a file alone only for who may write it. Elsewhere reading is enough, in a store that is read-only.
    open_itself(OpenOptions::new().read(true).write(true), path)
        .or_else(|_| open_itself(OpenOptions::new().read(true), path))
}

/// Writes all of `bytes`.
pub(crate) fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fault::write(file, path, bytes)
}

/// Waits until the file's bytes are on the disk.
pub(crate) fn sync_file(file: &File, path: &Path) -> io::Result<()> {
    fault::step("sync", path)?;
    file.sync_all()
}

/// Renames, replacing what is there.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::step("rename", to)?;
    std::fs::rename(from, to)
}

/// Waits until the directory's names are on the disk.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    fault::step("syncdir", path)?;
    // Elsewhere a directory cannot be opened; renames are as durable as that system makes them.
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    Ok(())
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    fault::step("remove", path)?;
    std::fs::remove_file(path)
}

/// How many bytes a user may still write to the file system of `path`, where that can be asked.
pub(crate) fn free_space(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(path).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Opens the file of this name, not one that a link of this name leads to: in a store from a stranger that could be
/// any file of the user's, and what is opened here is written to.
fn open_itself(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        // To open a FIFO would wait for ever.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.bits() as i32);
    }
    let other = || io::Error::other("it is a link, or no file; remove it, then try again");
    match options.truncate(false).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(other()),
        // Systems have different errors for it.
        Err(error) => match std::fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => Err(other()),
            _ => Err(error),
        },
    }
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

#[cfg(not(all(unix, any(test, feature = "fault"))))]
mod fault {
    use super::*;

    pub(super) fn step(_op: &str, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn write(file: &mut File, _path: &Path, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }
}

#[cfg(all(unix, any(test, feature = "fault")))]
mod fault {
    use super::*;
    use rustix::io::Errno;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        Kill,
        /// This error of the system's, once or from then on.
        Fails {
            code: i32,
            ever_after: bool,
        },
        /// Writes of a few bytes, from then on.
        Short,
    }

    static STEPS: AtomicU64 = AtomicU64::new(0);

    /// `kill@17`, `eio@17`, ...
    fn plan() -> Option<(Fault, u64)> {
        static PLAN: OnceLock<Option<(Fault, u64)>> = OnceLock::new();
        *PLAN.get_or_init(|| {
            let plan = std::env::var("DORMOUSE_FAULT").ok()?;
            let (kind, step) = plan.split_once('@')?;
            let fails =
                |error: Errno, ever_after| Fault::Fails { code: error.raw_os_error(), ever_after };
            let fault = match kind {
                "kill" => Fault::Kill,
                "enospc" => fails(Errno::NOSPC, false),
                "eio" => fails(Errno::IO, false),
                "full" => fails(Errno::NOSPC, true),
                "rofs" => fails(Errno::ROFS, true),
                "short" => Fault::Short,
                _ => return None,
            };
            Some((fault, step.parse().ok()?))
        })
    }

    fn next(op: &str, path: &Path) -> Option<Fault> {
        let step = STEPS.fetch_add(1, SeqCst) + 1;
        if let Some(trace) = std::env::var_os("DORMOUSE_FAULT_TRACE")
            && let Ok(mut file) = OpenOptions::new().append(true).create(true).open(trace)
        {
            let _ = writeln!(file, "{step} {op} {}", path.display());
        }
        let strikes = |(fault, at): &(Fault, u64)| match fault {
            Fault::Fails { ever_after: true, .. } | Fault::Short => *at <= step,
            _ => *at == step,
        };
        plan().filter(strikes).map(|(fault, _)| fault)
    }

    fn strike(fault: Fault) -> io::Result<()> {
        match fault {
            Fault::Fails { code, .. } => Err(io::Error::from_raw_os_error(code)),
            Fault::Short => Ok(()),
            Fault::Kill => {
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                );
                std::process::abort();
            }
        }
    }

    pub(super) fn step(op: &str, path: &Path) -> io::Result<()> {
        next(op, path).map_or(Ok(()), strike)
    }

    pub(super) fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match next("write", path) {
            None => file.write_all(bytes),
            Some(Fault::Short) => AFew(file).write_all(bytes),
            Some(fault) => {
                file.write_all(&bytes[..bytes.len() / 2])?;
                strike(fault)
            }
        }
    }

    /// A file of a system that writes less than it is asked to.
    struct AFew<'a>(&'a mut File);

    impl Write for AFew<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(1000)])
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
}
