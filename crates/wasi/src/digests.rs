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
//! A change by others is seen by the file's times; a change by the program is known, since its writes go through here.

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
}

/// What is known of one file, however often it is open.
#[derive(Debug)]
pub(crate) struct Known {
    id: Identity,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where it is found.
    root: Arc<Dir>,
    path: String,
    chunks: Vec<Option<Digest>>,
    /// Length, and times of the last changes, when `chunks` were made.
    stamp: (u64, u64, (i64, i64)),
    /// The program wrote into it since.
    written: bool,
    /// How often chunks were forgotten.
    changes: u64,
}

impl Digests {
    /// Hashes what is not known yet of the files that are open, until `stop` says so. The program may run meanwhile.
    pub fn catch_up(&self, stop: impl Fn() -> bool) {
        let files: Vec<_> = lock(&self.files).values().filter_map(Weak::upgrade).collect();
        for known in files {
            // What cannot be read has no digest.
            let _ = known.catch_up(&stop);
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
        let state =
            State { root, path, chunks: vec![], stamp: (0, 0, (0, 0)), written: false, changes: 0 };
        let known = Arc::new(Known { id, state: Mutex::new(state) });
        files.insert(id, Arc::downgrade(&known));
        known
    }
}

impl Known {
    fn is_at(&self, root: &Arc<Dir>, path: &str) {
        let mut state = lock(&self.state);
        state.root = root.clone();
        path.clone_into(&mut state.path);
    }

    /// The program has just changed bytes `from..to`. What it adds at the end need not be told.
    pub fn written(&self, from: u64, to: u64) {
        let mut state = lock(&self.state);
        state.written = true;
        state.changes += 1;
        let chunks = state.chunks.len() as u64;
        for chunk in (from / CHUNK).min(chunks)..to.div_ceil(CHUNK).min(chunks) {
            state.chunks[chunk as usize] = None;
        }
    }

    fn catch_up(&self, stop: impl Fn() -> bool) -> io::Result<()> {
        let file = self.open_at(&lock(&self.state))?;
        let mut buffer = vec![0; CHUNK as usize];
        let mut next = 0;
        while !stop() {
            let meta = Metadata::from_file(&file)?;
            if meta.len() > LARGEST {
                return Ok(());
            }
            let (n, changes) = {
                let mut state = lock(&self.state);
                state.settle(&meta);
                let unknown = |chunk: &Option<Digest>| chunk.is_none();
                let rest = state.chunks.get(next..).unwrap_or_default();
                let Some(n) = rest.iter().position(unknown) else { return Ok(()) };
                (next + n, state.changes)
            };
            let digest = hash(&file, n as u64, meta.len(), &mut buffer)?;
            let after = stamp(&Metadata::from_file(&file)?);
            let mut state = lock(&self.state);
            if state.changes == changes && state.stamp == after {
                state.chunks[n] = Some(digest);
            }
            // One that is being written into is for the next time.
            next = n + 1;
        }
        Ok(())
    }

    /// A reader of its own: the program's may only write, and the program would see that it was used.
    fn open_at(&self, state: &State) -> io::Result<File> {
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
            let file = self.open_at(&state).ok()?;
            state.fill(&file, meta.len()).ok()?;
        }
        Some(all(&state.chunks))
    }
}

impl State {
    /// Forgets what is not known of a file any more that is like this now.
    fn settle(&mut self, meta: &Metadata) {
        let (now, written) = (stamp(meta), std::mem::take(&mut self.written));
        if now == self.stamp {
            return;
        }
        if !written {
            self.chunks.clear();
        }
        if now.0 != self.stamp.0 {
            // What is the last chunk, or was, has another length.
            self.chunks.truncate((now.0.min(self.stamp.0) / CHUNK) as usize);
        }
        self.chunks.resize(now.0.min(LARGEST).div_ceil(CHUNK) as usize, None);
        self.stamp = now;
        self.changes += 1;
    }

    /// Hashes what is not known.
    fn fill(&mut self, file: &File, length: u64) -> io::Result<()> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
        let part = self.chunks.len().div_ceil(threads).max(16);
        let fill = |first: usize, chunks: &mut [Option<Digest>]| {
            let mut buffer = vec![0; CHUNK as usize];
            for (n, chunk) in (first as u64..).zip(chunks).filter(|(_, chunk)| chunk.is_none()) {
                *chunk = Some(hash(file, n, length, &mut buffer)?);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let mut parts = self.chunks.chunks_mut(part).enumerate();
            let first = parts.next();
            let others: Vec<_> =
                parts.map(|(i, chunks)| scope.spawn(move || fill(i * part, chunks))).collect();
            let mut done = first.map_or(Ok(()), |(_, chunks)| fill(0, chunks));
            for other in others {
                done = done.and(other.join().unwrap_or_else(|e| std::panic::resume_unwind(e)));
            }
            done
        })
    }
}

impl Host {
    /// What is to be known of a file that is opened now.
    pub(crate) fn knows(&self, preopen: usize, path: &str, meta: &Metadata) -> Option<Arc<Known>> {
        let root = self.preopens.get(preopen).filter(|_| meta.is_file())?;
        Some(self.digests.opened(identity(meta), &root.dir, path))
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

    /// Bytes `from..to` were changed just now.
    pub(crate) fn written(&self, from: u64, to: u64) {
        if let Some(known) = &self.known {
            known.written(from, to);
        }
    }

    /// Whether its first bytes have a digest.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn begins_with(
        &self,
        length: u64,
        digest: &Digest,
        now: &Metadata,
    ) -> io::Result<bool> {
        let Some(known) = &self.known else { return Ok(true) };
        let mut state = lock(&known.state);
        let file = known.open_at(&state)?;
        state.settle(now);
        if length != now.len() {
            // What follows is cut off when all is checked.
            state.chunks.truncate((length / CHUNK) as usize);
            state.chunks.resize(length.div_ceil(CHUNK) as usize, None);
            state.stamp.0 = length;
            state.written = true;
        }
        state.fill(&file, length)?;
        Ok(all(&state.chunks) == *digest)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp(meta: &Metadata) -> (u64, u64, (i64, i64)) {
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
