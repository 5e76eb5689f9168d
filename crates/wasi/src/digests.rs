//! Digests of what open files hold, so that a resume knows whether they are as they were.
//!
//! ```text
//!   program runs     what is not known is read and hashed, chunk by chunk       catch_up, before it is stopped
//!                    chunks that it writes into are forgotten
//!   program stands   at most 4 MiB are hashed; a file of which more is not known has no digest in that checkpoint
//!   resume           the file is read, and must have the digest
//!
//!   digest = SHA-256 of (SHA-256 of the first 256 KiB, of the next 256 KiB, ..)
//! ```
//!
//! Whoever else changes a file changes its times, and all that was known of it is forgotten. The program's own writes go through
//! [`OpenFile::change`], which looks at the times before and after.

use crate::carry::open_to_read;
use crate::fds::identity;
use crate::fds::{Descriptor, Host, OpenFile};
use crate::os::{self, Identity};
use crate::sleep::mtime;
use cap_std::fs::{Dir, Metadata, MetadataExt};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// SHA-256.
pub(crate) type Digest = [u8; 32];

const CHUNK: u64 = 256 << 10;
/// Files that are larger have none: they would be read at each resume.
pub(crate) const LARGEST: u64 = 1 << 30;
/// Bytes that are hashed while the program stands.
pub(crate) const STANDING: u64 = 4 << 20;

/// The open files of a program, for another thread.
#[derive(Debug, Default)]
pub struct Digests {
    files: Mutex<HashMap<Identity, Weak<Known>>>,
    /// How many looks there were.
    looks: AtomicUsize,
}

/// What is known of one file, however often it is open.
#[derive(Debug)]
pub(crate) struct Known {
    id: Identity,
    state: Mutex<State>,
}

/// Length, and times of the last changes.
type Stamp = (u64, u64, (i64, i64));

#[derive(Debug)]
struct State {
    /// Where it is found.
    root: Arc<Dir>,
    path: String,
    /// Of each chunk, if it is known.
    chunks: Vec<Option<Digest>>,
    /// What the file was like when the program or we saw it last.
    stamp: Stamp,
    /// How often something was forgotten.
    changes: u64,
}

impl Digests {
    /// Hashes what is not known yet of the files that are open, until `stop` says so. The program may run meanwhile.
    pub fn catch_up(&self, stop: impl Fn() -> bool) {
        let mut files: Vec<_> = lock(&self.files).values().cloned().collect();
        // Whoever is never at rest does not keep the others from being looked at.
        let first = self.looks.fetch_add(1, Ordering::Relaxed) % files.len().max(1);
        files.rotate_left(first);
        for known in files {
            if stop() {
                return;
            }
            // What cannot be read has no digest.
            let _ = known.upgrade().map_or(Ok(()), |known| known.catch_up(&stop));
        }
    }

    /// A file was opened.
    fn opened(&self, id: Identity, root: &Arc<Dir>, path: &str) -> Arc<Known> {
        let mut files = lock(&self.files);
        if let Some(known) = files.get(&id).and_then(Weak::upgrade) {
            known.is_at(root, path);
            return known;
        }
        if files.len() == files.capacity() {
            files.retain(|_, known| known.strong_count() > 0);
        }
        let (root, path) = (root.clone(), path.to_owned());
        let state = State { root, path, chunks: vec![], stamp: NEVER, changes: 0 };
        let known = Arc::new(Known { id, state: Mutex::new(state) });
        files.insert(id, Arc::downgrade(&known));
        known
    }
}

/// No file is like this.
const NEVER: Stamp = (u64::MAX, 0, (0, 0));

impl Known {
    fn is_at(&self, root: &Arc<Dir>, path: &str) {
        let mut state = lock(&self.state);
        state.root = root.clone();
        path.clone_into(&mut state.path);
    }

    fn catch_up(&self, stop: impl Fn() -> bool) -> io::Result<()> {
        if !self.has_unknown()? {
            return Ok(());
        }
        let file = self.open(&lock(&self.state))?;
        let mut buffer = vec![0; CHUNK as usize];
        let mut next = 0;
        while !stop() {
            let (n, length, changes) = {
                let mut state = lock(&self.state);
                state.settle(&Metadata::from_file(&file)?);
                let rest = state.chunks.get(next..).unwrap_or_default();
                let Some(n) = rest.iter().position(Option::is_none) else { return Ok(()) };
                (next + n, state.stamp.0, state.changes)
            };
            let digest = hash(&file, n as u64, length, &mut buffer)?;
            let mut state = lock(&self.state);
            state.settle(&Metadata::from_file(&file)?);
            if state.changes == changes {
                state.chunks[n] = Some(digest);
            }
            // What is being written into is for the next time.
            next = n + 1;
        }
        Ok(())
    }

    /// Whether there is something to be read, without opening it.
    fn has_unknown(&self) -> io::Result<bool> {
        let mut state = lock(&self.state);
        let meta = state.root.symlink_metadata(&state.path)?;
        if identity(&meta) != self.id {
            return Ok(false);
        }
        state.settle(&meta);
        Ok(state.chunks.contains(&None))
    }

    /// A reader of its own: the program's may only write, and the program would see that it was used.
    fn open(&self, state: &State) -> io::Result<File> {
        let file = open_to_read(&state.root, &state.path)?;
        match identity(&Metadata::from_file(&file)?) == self.id {
            true => Ok(file),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The digest of a file whose program stands, if no more than `budget` bytes must be read for it.
    fn digest(&self, meta: &Metadata, budget: &mut u64) -> Option<Digest> {
        let mut state = lock(&self.state);
        state.settle(meta);
        let unknown = state.chunks.iter().filter(|chunk| chunk.is_none()).count() as u64;
        let bytes = (unknown * CHUNK).min(meta.len());
        if meta.len() > LARGEST || bytes > *budget {
            return None;
        }
        *budget -= bytes;
        if unknown > 0 {
            let file = self.open(&state).ok()?;
            fill(&file, &mut state.chunks, 0, meta.len()).ok()?;
        }
        Some(all(&state.chunks))
    }
}

impl State {
    /// Forgets what is not known of a file any more that is like this now.
    fn settle(&mut self, meta: &Metadata) {
        let now = stamp(meta);
        if now != self.stamp {
            self.chunks.clear();
            self.resize(now);
        }
    }

    /// It is like this now, and all that is known holds but for its end.
    fn resize(&mut self, now: Stamp) {
        if now.0 != self.stamp.0 {
            // What is the last chunk, or was, has another length.
            self.chunks.truncate((now.0.min(self.stamp.0) / CHUNK) as usize);
        }
        let chunks = if now.0 > LARGEST { 0 } else { now.0.div_ceil(CHUNK) };
        self.chunks.resize(chunks as usize, None);
        self.stamp = now;
        self.changes += 1;
    }
}

impl Host {
    /// What is to be known of a file that is opened now.
    pub(crate) fn knows(&self, preopen: usize, path: &str, meta: &Metadata) -> Option<Arc<Known>> {
        let root = self.preopens.get(preopen).filter(|_| meta.is_file())?;
        let digests = self.digests.as_ref()?;
        Some(digests.opened(identity(meta), &root.dir, path))
    }

    /// Files may have other names now.
    pub(crate) fn know_where(&self) {
        for (_, descriptor) in self.fds.iter() {
            if let Descriptor::File(OpenFile { place, known: Some(known), .. }) = descriptor
                && let Some(root) = self.preopens.get(place.preopen)
            {
                known.is_at(&root.dir, &place.path);
            }
        }
    }
}

impl OpenFile {
    /// What it holds, if no more than `budget` bytes must be read.
    pub(crate) fn digest(&self, meta: &Metadata, budget: &mut u64) -> Option<Digest> {
        self.known.as_ref()?.digest(meta, budget)
    }

    /// Does something that changes bytes `from..to`, and nothing else; what is added at the end need not be told.
    pub(crate) fn change<T>(
        &self,
        from: u64,
        to: u64,
        deed: impl FnOnce(&File) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(known) = &self.known else { return deed(&self.file) };
        // Nobody looks at it meanwhile.
        let mut state = lock(&known.state);
        if state.chunks.iter().all(Option::is_none) {
            // Most programs: nobody has looked yet.
            state.stamp = NEVER;
            state.changes += 1;
            return deed(&self.file);
        }
        match self.metadata() {
            Ok(meta) => state.settle(&meta),
            Err(_) => state.chunks.clear(),
        }
        let done = deed(&self.file);
        let chunks = state.chunks.len() as u64;
        let touched = (from / CHUNK).min(chunks)..to.div_ceil(CHUNK).min(chunks);
        touched.for_each(|chunk| state.chunks[chunk as usize] = None);
        match self.metadata() {
            Ok(meta) => state.resize(stamp(&meta)),
            Err(_) => state.stamp = NEVER,
        }
        done
    }

    /// Whether its first bytes have a digest; none if it cannot be read.
    pub(crate) fn begins_with(&self, length: u64, digest: &Digest, now: &Metadata) -> Option<bool> {
        let known = self.known.as_ref()?;
        let mut state = lock(&known.state);
        let file = known.open(&state).ok()?;
        state.settle(now);
        let mut chunks = vec![None; length.div_ceil(CHUNK) as usize];
        fill(&file, &mut chunks, THREADS, length).ok()?;
        let whole = (length / CHUNK) as usize;
        state.chunks.iter_mut().zip(&chunks[..whole]).for_each(|(known, found)| *known = *found);
        if length == now.len() && state.chunks.len() == chunks.len() {
            state.chunks.clone_from(&chunks);
        }
        Some(all(&chunks) == *digest)
    }
}

/// Others that help with a large file, at a resume.
const THREADS: usize = 7;

/// Hashes what is not known; with as many others, if there are any to be had.
fn fill(file: &File, chunks: &mut [Option<Digest>], others: usize, length: u64) -> io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(others + 1));
    let part = chunks.len().div_ceil(threads).max(16);
    let fill = |first: usize, chunks: &mut [Option<Digest>]| {
        let mut buffer = vec![0; CHUNK as usize];
        for (n, chunk) in (first as u64..).zip(chunks).filter(|(_, chunk)| chunk.is_none()) {
            *chunk = Some(hash(file, n, length, &mut buffer)?);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let mut parts = chunks.chunks_mut(part).enumerate();
        let first = parts.next();
        let help = |(i, chunks)| {
            let help = move || fill(i * part, chunks);
            // Whoever cannot be had leaves it to us, in the end.
            std::thread::Builder::new().spawn_scoped(scope, help).ok()
        };
        let others: Vec<_> = parts.filter_map(help).collect();
        let mut done = first.map_or(Ok(()), |(_, chunks)| fill(0, chunks));
        for other in others {
            done = done.and(other.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
        }
        done
    })?;
    fill(0, chunks)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp(meta: &Metadata) -> Stamp {
    (meta.len(), mtime(meta), (meta.ctime(), meta.ctime_nsec()))
}

fn all(chunks: &[Option<Digest>]) -> Digest {
    let mut all = Sha256::new();
    chunks.iter().flatten().for_each(|chunk| all.update(chunk));
    all.finalize().into()
}

/// Of chunk `n` of a file of `length` bytes.
fn hash(file: &File, n: u64, length: u64, buffer: &mut [u8]) -> io::Result<Digest> {
    let start = n * CHUNK;
    let bytes = &mut buffer[..CHUNK.min(length - start) as usize];
    let mut read = 0;
    while read < bytes.len() {
        match os::read_at(file, &mut bytes[read..], start + read as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => read += n,
        }
    }
    Ok(Sha256::digest(bytes).into())
}
