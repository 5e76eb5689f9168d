//! The store: how fast checkpoints are written and read, how large they are, and what a thousand of them come to.
//!
//! ```text
//!   once      64 MiB heap    save  against  the same bytes to a file, synced;  zstd -1 of them
//!                            read  against  reading that file;                 zstd -d
//!   a job     256 MiB heap, of which 1 % changes between checkpoints, a thousand times
//! ```
//!
//! The heap is made up: four fifths of it used, by words that look like pointers, counters, text and zeros.

use crate::median;
use anyhow::{Context, Result, ensure};
use dormouse_memory::{Fingerprints, PAGE_SIZE, PageSet};
use dormouse_state::{Frame, Memory, Site, State};
use dormouse_store::{MAX_LAYERS, MemoryPages, NewCheckpoint, Parent, Squashed, Store, sha256};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const ROUNDS: usize = 7;
const MIB: usize = 1 << 20;

/// `store [CHECKPOINTS]`: prints the tables.
pub fn run(checkpoints: usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    once(dir.path())?;
    for (deltas, spread) in
        [(true, Spread::Scattered), (true, Spread::Clustered), (false, Spread::Scattered)]
    {
        job(dir.path(), checkpoints, deltas, spread)?;
    }
    Ok(())
}

fn once(dir: &Path) -> Result<()> {
    let heap = Heap::new(64 * MIB);
    let used = heap.used() * PAGE_SIZE;
    let state = state(heap.bytes.len());
    let store = Store::create_or_open(&dir.join("once"))?;
    let raw = dir.join("raw");
    let pages = [MemoryPages::whole(0, &heap.bytes)];
    let mut times: [Vec<f64>; 6] = Default::default();
    let mut again = vec![0; heap.bytes.len()];
    for round in 0..ROUNDS {
        let mut time = |at: usize, work: &mut dyn FnMut() -> Result<()>| {
            let start = Instant::now();
            work()?;
            times[at].push(start.elapsed().as_secs_f64());
            anyhow::Ok(())
        };
        time(0, &mut || {
            Ok(store.save("sim", NewCheckpoint::new(MODULE, &state, &pages)).map(drop)?)
        })?;
        time(1, &mut || {
            let mut file = File::create(&raw)?;
            heap.non_zero(|page| Ok(file.write_all(page)?))?;
            Ok(file.sync_all()?)
        })?;
        let mut compressed = vec![];
        time(2, &mut || {
            compressed = zstd::bulk::compress(&heap.bytes, 1)?;
            Ok(())
        })?;
        time(3, &mut || {
            again = vec![0; heap.bytes.len()];
            Ok(store.load("sim", None)?.read_memory(0, &mut again)?)
        })?;
        ensure!(again == heap.bytes, "round {round}: another memory than was saved");
        time(4, &mut || {
            again = vec![0; heap.bytes.len()];
            let mut file = File::open(&raw)?;
            heap.non_zero(|_| Ok(()))?;
            Ok(file.read_exact(&mut again[..used])?)
        })?;
        time(5, &mut || {
            again = zstd::bulk::decompress(&compressed, heap.bytes.len())?;
            Ok(())
        })?;
    }
    let speed = |at: usize| used as f64 / MIB as f64 / median(times[at].clone());
    println!(
        "once: a heap of 64 MiB, {} MiB of it not zero; medians of {ROUNDS}, MB/s of the pages not zero",
        used / MIB
    );
    println!(
        "  save, durable       {:6.0}   the same bytes to a file, synced {:6.0}   zstd -1 alone {:6.0}",
        speed(0),
        speed(1),
        speed(2)
    );
    println!(
        "  load and verify     {:6.0}   reading that file                {:6.0}   zstd -d alone {:6.0}",
        speed(3),
        speed(4),
        speed(5)
    );
    let saved = store.list("sim")?.pop().context("a checkpoint")?.memory_size;
    fs::write(&raw, &heap.bytes)?;
    println!(
        "  size: {} bytes; raw pages (as CRIU writes them) {used}; tar | zstd {}",
        saved,
        tar_zstd(&raw)?
    );
    Ok(())
}

/// Where the pages that change lie.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Anywhere; a few words of each.
    Scattered,
    /// Beside each other; all of each.
    Clustered,
}

/// A job that is checkpointed again and again, as `dormouse run` does it.
fn job(dir: &Path, checkpoints: usize, deltas: bool, spread: Spread) -> Result<()> {
    let path = dir.join(format!("job-{deltas}-{spread:?}"));
    let store = Store::create_or_open(&path)?;
    let mut heap = Heap::new(256 * MIB);
    let state = state(heap.bytes.len());
    let wasm_pages = (heap.bytes.len() >> 16) as u64;
    let mut seen = Fingerprints::new(1);
    let mut last: Option<(Parent, Vec<Squashed>)> = None;
    let (mut finding, mut saving, mut squashing) = (vec![], vec![], vec![]);
    let (mut first_load, mut longest) = (0.0, 0);
    let mut first = vec![];
    for n in 0..checkpoints {
        let start = Instant::now();
        let mut changed = PageSet::default();
        seen.take(&heap.bytes, &mut changed);
        finding.push(start.elapsed().as_secs_f64());
        let range =
            |r: &std::ops::Range<u64>| r.start as usize * PAGE_SIZE..r.end as usize * PAGE_SIZE;
        let runs: Vec<_> = changed.runs().map(|r| (r.start, &heap.bytes[range(&r)])).collect();
        let pages = match &last {
            None => [MemoryPages::whole(0, &heap.bytes)],
            Some(_) => [MemoryPages::changed(0, wasm_pages, &runs)],
        };
        let (parent, squashed) = last.take().map_or((None, vec![]), |(p, s)| (Some(p), s));
        let new = NewCheckpoint {
            parent: parent.as_ref(),
            squashed,
            deltas,
            ..NewCheckpoint::new(MODULE, &state, &pages)
        };
        let start = Instant::now();
        let (_, parent) = store.save_as_parent("sim", new)?;
        saving.push(start.elapsed().as_secs_f64());
        longest = longest.max(parent.layers());
        let start = Instant::now();
        let squashed = store.squash(&parent, MAX_LAYERS, deltas, &AtomicBool::new(false))?;
        squashing.push(start.elapsed().as_secs_f64());
        last = Some((parent, squashed));
        if n == 0 {
            first_load = load(&store, 1, &heap.bytes)?;
            first = heap.bytes.clone();
        }
        if n + 1 < checkpoints {
            heap.change(n, spread);
        }
    }
    let last_load = load(&store, checkpoints as u64, &heap.bytes)?;
    load(&store, 1, &first)?;
    let disk: u64 = fs::read_dir(path.join("blobs/sha256"))?
        .flatten()
        .filter_map(|e| Some(e.metadata().ok()?.len()))
        .sum();
    let index = fs::metadata(path.join("index.json"))?.len();
    let base = store.list("sim")?.first().context("a checkpoint")?.memory_size;
    let ms = |times: &[f64]| median(times[1.min(times.len() - 1)..].to_vec()) * 1e3;
    println!(
        "a job of 256 MiB, {checkpoints} checkpoints, 1 % of the pages changed between them, {spread:?}{}",
        if deltas { "" } else { ", no differences" }
    );
    println!(
        "  on disk: {} MB, the first {} MB; index.json {} KB",
        disk / 1_000_000,
        base / 1_000_000,
        index / 1000
    );
    println!(
        "  finding what changed {:.0} ms, saving {:.0} ms (medians), squashing {:.0} ms a checkpoint (mean, in the background)",
        ms(&finding),
        ms(&saving),
        squashing.iter().sum::<f64>() / checkpoints as f64 * 1e3
    );
    println!(
        "  load: the first {first_load:.2} s, the last {last_load:.2} s; at most {longest} layers"
    );
    fs::remove_dir_all(path)?;
    Ok(())
}

/// Loads a checkpoint and compares its memory; the best of three, in seconds.
fn load(store: &Store, number: u64, expected: &[u8]) -> Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        let mut again = vec![0; expected.len()];
        store.load("sim", Some(number))?.read_memory(0, &mut again)?;
        best = best.min(start.elapsed().as_secs_f64());
        ensure!(again == expected, "sim@{number} holds another memory");
    }
    Ok(best)
}

fn state(bytes: usize) -> State {
    State {
        module_digest: sha256(MODULE),
        frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
        globals: vec![],
        tables: vec![],
        exceptions: vec![],
        memories: vec![Memory { index: 0, pages: (bytes >> 16) as u64 }],
        dropped_data: vec![],
        dropped_elems: vec![],
        wasi: vec![],
        host: vec![],
    }
}

fn tar_zstd(file: &Path) -> Result<u64> {
    let tar = Command::new("tar")
        .arg("-cf-")
        .arg("-C")
        .arg(file.parent().context("a folder")?)
        .arg(file.file_name().context("a name")?)
        .output()?;
    ensure!(tar.status.success(), "tar failed");
    Ok(zstd::bulk::compress(&tar.stdout, 3)?.len() as u64)
}

struct Heap {
    bytes: Vec<u8>,
    x: u64,
}

impl Heap {
    fn new(len: usize) -> Heap {
        let mut heap = Heap { bytes: vec![0; len], x: 88_172_645_463_325_252 };
        for page in 0..len / PAGE_SIZE {
            if page % 5 != 4 {
                heap.fill(page);
            }
        }
        heap
    }

    fn random(&mut self) -> u64 {
        self.x ^= self.x << 13;
        self.x ^= self.x >> 7;
        self.x ^= self.x << 17;
        self.x
    }

    fn fill(&mut self, page: usize) {
        let words =
            b"the quick brown fox jumps over the lazy dog and goes to sleep for the winter ";
        for at in (page * PAGE_SIZE..(page + 1) * PAGE_SIZE).step_by(32) {
            let r = self.random();
            let object = &mut self.bytes[at..at + 32];
            object[..4].copy_from_slice(&((r as u32 % 4096) * 32).to_le_bytes());
            object[4..8].copy_from_slice(&(at as u32 / 48 * 48).to_le_bytes());
            object[8..16].copy_from_slice(&(r >> 40).to_le_bytes());
            let from = (r >> 8) as usize % (words.len() - 12);
            object[16..28].copy_from_slice(&words[from..from + 12]);
        }
    }

    /// Changes 1 % of the pages.
    fn change(&mut self, n: usize, spread: Spread) {
        let pages = self.bytes.len() / PAGE_SIZE;
        for k in 0..pages / 100 {
            match spread {
                Spread::Scattered => {
                    let page = self.random() as usize % pages;
                    for _ in 0..8 {
                        let r = self.random();
                        let at = page * PAGE_SIZE + (r as usize % 512) * 8;
                        self.bytes[at..at + 8].copy_from_slice(&r.to_le_bytes());
                    }
                }
                Spread::Clustered => self.fill((n * (pages / 100) + k) % pages),
            }
        }
    }

    fn non_zero(&self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let pages = self.bytes.chunks(PAGE_SIZE);
        pages.filter(|page| page.iter().any(|byte| *byte != 0)).try_for_each(&mut each)
    }

    fn used(&self) -> usize {
        self.bytes.chunks(PAGE_SIZE).filter(|page| page.iter().any(|byte| *byte != 0)).count()
    }
}
