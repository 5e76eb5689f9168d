//! Blobs: staged under a temporary name, hashed while written, and read back with their digest.
//!
//! ```text
//!   Stager --write*--> .tmp-<pid>-<n> --finish: sync--> Staged --publish: rename--> blobs/sha256/5f0c..
//!      └──── dropped before that: the temporary file is removed ────┘
//! ```

use crate::error::{Bad, DamageKind, StoreError, Subject};
use crate::fs;
use crate::layer::ReadAt as _;
use crate::meter::Meter;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How the names of temporary files begin.
pub(crate) const TEMP_PREFIX: &str = ".tmp-";
/// .. of those that outlive the call that made them: they are locked (`flock`) by the process that wants them.
pub(crate) const KEPT_PREFIX: &str = ".squash-";
/// .. of downloads that can be continued.
pub(crate) const PART_PREFIX: &str = ".part-";
const BUFFER_LEN: usize = 256 << 10;

/// The SHA-256 of `bytes`: what [`State::module_digest`](dormouse_state::State::module_digest) is
/// for the bytes of a module.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Two lower-case digits a byte.
///
/// ```
/// assert_eq!(dormouse_store::hex(&[0x0a, 0xff]), "0aff");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// `sha256:...`
pub(crate) fn name(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex(digest))
}

/// The bytes of 64 lower-case hexadecimal digits.
pub(crate) fn from_hex(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 || !digits.iter().all(|d| matches!(d, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Where a blob lies, relative to the store.
pub(crate) fn relative_path(digest: &[u8; 32]) -> PathBuf {
    Path::new("blobs").join("sha256").join(hex(digest))
}

/// A blob, as it is referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// SHA-256 of its bytes, as they are stored.
    pub digest: [u8; 32],
    /// How many there are.
    pub size: u64,
    /// Encrypted.
    pub sealed: bool,
}

impl BlobRef {
    /// Its digest, as `sha256:...`.
    pub fn name(&self) -> String {
        name(&self.digest)
    }
}

/// A file being written under a temporary name.
pub(crate) struct Stager {
    temp: Temp,
    file: File,
    buffer: Vec<u8>,
    hash: Sha256,
    size: u64,
}

/// A file that is complete and, but for those of [`Stager::finish_unsynced`], on the disk; it still has its temporary name.
#[derive(Debug)]
pub(crate) struct Staged {
    temp: Temp,
    /// With its lock, if it has one.
    file: File,
    pub(crate) digest: [u8; 32],
    pub(crate) size: u64,
    pub(crate) sealed: bool,
}

#[derive(Debug)]
struct Temp {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed is swept by a later save.
            let _ = fs::remove(&self.path);
        }
    }
}

/// Makes a file that was not there.
fn fresh(
    dir: &Path,
    prefix: &str,
    create: impl Fn(&Path) -> io::Result<File>,
) -> Result<(PathBuf, File), StoreError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    loop {
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{prefix}{}-{n}", std::process::id()));
        match create(&path) {
            Ok(file) => return Ok((path, file)),
            // Left by a dead process with our number: take the next name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StoreError::io("create", &path)(error)),
        }
    }
}

/// A file in `dir` that has no name any more.
pub(crate) fn nameless(dir: &Path) -> Result<File, StoreError> {
    let (path, file) = fresh(dir, TEMP_PREFIX, fs::create_spool)?;
    // Who sweeps may be faster.
    match fs::remove(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", &path)(error))
        }
        _ => Ok(file),
    }
}

impl Stager {
    /// Begins a file in `dir`.
    pub(crate) fn new(dir: &Path) -> Result<Stager, StoreError> {
        Stager::named(dir, TEMP_PREFIX)
    }

    /// Begins a file that outlives the lock its maker holds now: nobody sweeps it while this process lives.
    pub(crate) fn to_be_kept(dir: &Path) -> Result<Stager, StoreError> {
        let stager = Stager::named(dir, KEPT_PREFIX)?;
        // Where it cannot be locked, somebody may sweep it, and it is made again.
        let _ = stager.file.try_lock();
        Ok(stager)
    }

    fn named(dir: &Path, prefix: &str) -> Result<Stager, StoreError> {
        let (path, file) = fresh(dir, prefix, fs::create_new)?;
        Ok(Stager {
            temp: Temp { path, renamed: false },
            file,
            buffer: Vec::new(),
            hash: Sha256::new(),
            size: 0,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.temp.path
    }

    /// Writes what is buffered and waits until everything is on the disk.
    pub(crate) fn finish(self) -> Result<Staged, StoreError> {
        let staged = self.finish_unsynced()?;
        staged.sync()?;
        Ok(staged)
    }

    /// Writes what is buffered; [`Staged::sync`] is still to come.
    pub(crate) fn finish_unsynced(mut self) -> Result<Staged, StoreError> {
        self.flush().map_err(StoreError::io("write", &self.temp.path))?;
        let digest = self.hash.finalize().into();
        Ok(Staged { temp: self.temp, file: self.file, digest, size: self.size, sealed: false })
    }

    /// Stages `bytes` as a whole.
    pub(crate) fn whole(dir: &Path, bytes: &[u8]) -> Result<Staged, StoreError> {
        let mut stager = Stager::new(dir)?;
        for chunk in bytes.chunks(4 << 20) {
            stager.write_all(chunk).map_err(StoreError::io("write", &stager.temp.path))?;
        }
        stager.finish()
    }

    fn pass_on(&mut self, bytes: &[u8]) -> io::Result<()> {
        fs::write(&mut self.file, &self.temp.path, bytes)?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }
}

impl Write for Stager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_LEN {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_LEN {
            self.pass_on(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            self.pass_on(&buffer)?;
            self.buffer = buffer;
            self.buffer.clear();
        }
        Ok(())
    }
}

impl Staged {
    pub(crate) fn blob(&self) -> BlobRef {
        BlobRef { digest: self.digest, size: self.size, sealed: self.sealed }
    }

    /// Waits until everything is on the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        fs::sync_file(&self.file, &self.temp.path).map_err(StoreError::io("sync", &self.temp.path))
    }

    /// Whether nobody has swept it.
    pub(crate) fn exists(&self) -> bool {
        self.temp.path.exists()
    }

    /// Gives the file its name.
    pub(crate) fn publish(mut self, path: &Path) -> Result<(), StoreError> {
        fs::rename(&self.temp.path, path).map_err(StoreError::io("rename to", path))?;
        self.temp.renamed = true;
        Ok(())
    }
}

/// Whether a file could be a manifest: a cheap look, so that not every blob need be hashed.
pub(crate) fn begins_like_json(path: &Path) -> bool {
    let mut first = [0];
    // Before opening: to open a FIFO would wait for ever.
    std::fs::metadata(path).is_ok_and(|m| m.is_file())
        && File::open(path).is_ok_and(|mut file| file.read_exact(&mut first).is_ok())
        && first == *b"{"
}

/// Opens a blob and checks size and digest of all of its bytes.
pub(crate) fn open_verified(
    store: &Path,
    subject: &Subject,
    digest: &[u8; 32],
    size: u64,
) -> Result<File, Bad> {
    let mut file = open_sized(store, subject, size)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_LEN];
    let meter = Meter::current();
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hash.update(&buffer[..n]);
                meter.add(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(subject.io(error)),
        }
    }
    check_digest(subject, hash.finalize().into(), digest)?;
    Ok(file)
}

/// Checks size and digest of a blob that was opened, wherever its offset is.
pub(crate) fn check_opened(
    file: &File,
    subject: &Subject,
    digest: &[u8; 32],
    size: u64,
) -> Result<(), Bad> {
    let found = file.size().map_err(|e| subject.io(e))?;
    if found != size {
        return Err(Bad::Damage(subject.damage(DamageKind::Size { expected: size, found })));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER_LEN];
    let mut at = 0;
    while at < size {
        let len = (size - at).min(BUFFER_LEN as u64);
        let part = &mut buffer[..len as usize];
        file.read_at(part, at).map_err(|e| subject.io(e))?;
        hash.update(&*part);
        at += len;
    }
    check_digest(subject, hash.finalize().into(), digest)
}

/// Reads a blob of at most `limit` bytes, checked like [`open_verified`]. The buffer is no larger
/// than the file.
pub(crate) fn read_verified(
    store: &Path,
    subject: &Subject,
    digest: &[u8; 32],
    size: u64,
    limit: u64,
) -> Result<Vec<u8>, Bad> {
    if size > limit {
        return Err(subject.malformed(format!("{size} bytes; at most {limit} can be read")));
    }
    let file = open_sized(store, subject, size)?;
    let mut bytes = Vec::with_capacity(size as usize);
    file.take(size + 1).read_to_end(&mut bytes).map_err(|e| subject.io(e))?;
    if bytes.len() as u64 != size {
        let found = bytes.len() as u64;
        return Err(Bad::Damage(subject.damage(DamageKind::Size { expected: size, found })));
    }
    check_digest(subject, sha256(&bytes), digest)?;
    Meter::current().add(size);
    Ok(bytes)
}

pub(crate) fn open_sized(store: &Path, subject: &Subject, size: u64) -> Result<File, Bad> {
    let path = store.join(&subject.path);
    // Before opening: to open a FIFO would wait for ever.
    let metadata = std::fs::metadata(&path).map_err(|e| subject.io(e))?;
    if !metadata.is_file() {
        return Err(subject.malformed("it is not a file"));
    }
    if metadata.len() != size {
        let found = metadata.len();
        return Err(Bad::Damage(subject.damage(DamageKind::Size { expected: size, found })));
    }
    File::open(&path).map_err(|e| subject.io(e))
}

fn check_digest(subject: &Subject, found: [u8; 32], expected: &[u8; 32]) -> Result<(), Bad> {
    if found != *expected {
        let found = name(&found);
        return Err(Bad::Damage(subject.damage(DamageKind::Digest { found })));
    }
    Ok(())
}
