//! A small checkpoint, different for every seed.
#![allow(dead_code)] // Not every test uses everything.

use dormouse_state::{Frame, Memory, Site, State, Value};
use dormouse_store::{Checkpoint, CheckpointInfo, MemoryPages, NewCheckpoint, Store, sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const MODULE: &[u8] = b"\0asm\x01\0\0\0 as far as the store can tell";

pub struct Sample {
    pub state: State,
    pub memories: Vec<Vec<u8>>,
}

impl Sample {
    pub fn new(seed: u32) -> Sample {
        let mut memories = vec![vec![0u8; 4 << 16], vec![0u8; 1 << 16]];
        let mut x = seed;
        let [first, second] = &mut memories[..] else { unreachable!() };
        for byte in first[8192..30_000].iter_mut().chain(&mut second[..5]) {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (x >> 24) as u8;
        }
        let state = State {
            module_digest: sha256(MODULE),
            frames: vec![Frame {
                site: Site { func: 1, offset: 2 },
                locals: vec![(0, Value::I32(seed))],
                operands: vec![],
            }],
            globals: vec![],
            tables: vec![],
            exceptions: vec![],
            memories: vec![Memory { index: 0, pages: 4 }, Memory { index: 1, pages: 1 }],
            dropped_data: vec![],
            dropped_elems: vec![],
            wasi: vec![],
            host: vec![],
        };
        Sample { state, memories }
    }

    pub fn pages(&self) -> Vec<MemoryPages<'_>> {
        (0..).zip(&self.memories).map(|(index, bytes)| MemoryPages::whole(index, bytes)).collect()
    }
}

pub fn save(store: &Store, job: &str, seed: u32) -> CheckpointInfo {
    let sample = Sample::new(seed);
    store.save(job, NewCheckpoint::new(MODULE, &sample.state, &sample.pages())).unwrap()
}

pub fn assert_holds(checkpoint: &Checkpoint, seed: u32) {
    let sample = Sample::new(seed);
    assert_eq!(checkpoint.state, sample.state);
    assert_eq!(checkpoint.module, MODULE);
    for (index, expected) in (0..).zip(sample.memories) {
        let mut memory = vec![0; expected.len()];
        checkpoint.read_memory(index, &mut memory).unwrap();
        assert!(memory == expected, "memory {index}");
    }
}

pub fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                all.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    all
}
