//! Checkpoints out of files: archives that `export --archive` wrote, and what was taken of a program that another engine ran.
//!
//! ```text
//!   capture, a tar        oci archive, a tar
//!     dormouse.json         oci-layout            what it is
//!     original.wasm         index.json
//!     frames  globals       blobs/sha256/..
//!     dropped  memory-0 ..
//! ```
//!
//! The first comes from a module that `export --wasm --checkpointable` made, by `contrib/dormouse.mjs` or another embedder; see
//! `docs/export.md`. Either may be a stranger's: such a checkpoint is as if it had been pulled.

use crate::{Error, Result, annotations};
use dormouse_engine::restartable;
use dormouse_state::State;
use dormouse_store::{CheckpointInfo, MemoryPages, NewCheckpoint, Store, sha256};
use dormouse_transform::{Captured, Options, Program};
use dormouse_wasi::{Opened, Outline};
use serde::Deserialize;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of `dormouse.json`.
const MAX_JSON: u64 = 256 << 20;
/// Bytes of a module.
const MAX_MODULE: u64 = 1 << 30;
/// Bytes of frames, globals, flags.
const MAX_PART: u64 = 1 << 30;
/// Bytes of a tar's block.
const BLOCK: usize = 512;

/// Takes in the checkpoint of a file, under `name` and that job's next number; an archive without a name under its own. Returns when it
/// is durable.
///
/// # Errors
/// What is no such file, or no program can have left; what the store says.
pub fn read(store: &Store, mut from: impl Read, name: Option<&str>) -> Result<CheckpointInfo> {
    // Which it is, its first name tells.
    let mut first = [0; BLOCK];
    from.read_exact(&mut first).map_err(|e| bad(broken(e)))?;
    let is_capture = first.starts_with(b"dormouse.json\0");
    let mut from = first.chain(from);
    if !is_capture {
        return Ok(store.read_archive(&mut from, name)?);
    }
    let name = name.ok_or_else(|| bad("it has no name of its own; give one with --name"))?;
    let capture = Capture::read(from)?;
    let state = capture.state()?;
    let memories = (0..).zip(&capture.memories);
    let pages: Vec<_> = memories.map(|(index, bytes)| MemoryPages::whole(index, bytes)).collect();
    let mut new = NewCheckpoint::new(&capture.module, &state, &pages);
    new.annotations.insert(annotations::PROGRAM.to_owned(), format!("{name}.wasm"));
    // Through a store of its own, so that it comes in as all do that come from elsewhere.
    let io = |source| Error::Io { action: "write", path: store.dir().to_owned(), source };
    let own = tempfile::tempdir().map_err(io)?;
    let own = Store::create_or_open(own.path())?;
    own.save(name, new)?;
    let mut archive = tempfile::tempfile().map_err(io)?;
    own.write_archive(name, None, &mut archive)?;
    archive.seek(SeekFrom::Start(0)).map_err(io)?;
    Ok(store.read_archive(&mut archive, Some(name))?)
}

fn bad(why: impl Into<String>) -> Error {
    Error::Import { why: why.into() }
}

fn broken(e: io::Error) -> String {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => format!("it cannot be read: {e}"),
    }
}

/// What is in such a file.
struct Capture {
    said: Said,
    module: Vec<u8>,
    captured: Captured,
    memories: Vec<Vec<u8>>,
}

/// `dormouse.json`
#[derive(Deserialize)]
struct Said {
    dormouse: u32,
    functions: Vec<Option<u32>>,
    objects: u32,
    globals: Vec<Option<u32>>,
    tables: Vec<Vec<Option<u32>>>,
    memories: Vec<u64>,
    wasi: SaidWasi,
}

#[derive(Deserialize)]
struct SaidWasi {
    monotonic: String,
    directories: Vec<String>,
    fds: Vec<SaidFd>,
}

#[derive(Deserialize)]
struct SaidFd {
    fd: u32,
    #[serde(flatten)]
    what: SaidOpened,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SaidOpened {
    Stdio {
        stdio: usize,
    },
    Preopen {
        preopen: usize,
    },
    File {
        dir: usize,
        path: String,
        read: bool,
        write: bool,
        append: bool,
        nonblock: bool,
        offset: String,
        size: Option<String>,
    },
    Directory {
        dir: usize,
        path: String,
    },
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| bad(format!("{text:.30?} is no number")))
}

impl Capture {
    fn read(from: impl Read) -> Result<Capture> {
        let mut tar = tar::Archive::new(from);
        let mut entries = tar.entries().map_err(|e| bad(broken(e)))?;
        let mut next = |name: &str, most: u64| -> Result<Vec<u8>> {
            let entry = entries.next().transpose().map_err(|e| bad(broken(e)))?;
            let mut entry = entry.ok_or_else(|| bad(format!("{name} is missing")))?;
            if *entry.path_bytes() != *name.as_bytes() {
                return Err(bad(format!("{name} does not come next in it")));
            }
            let size = entry.size();
            if size > most {
                return Err(bad(format!("its {name} has {size} bytes; at most {most} can be")));
            }
            let mut bytes = vec![];
            entry.read_to_end(&mut bytes).map_err(|e| bad(broken(e)))?;
            match bytes.len() as u64 == size {
                true => Ok(bytes),
                false => Err(bad("it ends too early")),
            }
        };
        let said: Said = serde_json::from_slice(&next("dormouse.json", MAX_JSON)?)
            .map_err(|e| bad(format!("its dormouse.json cannot be read: {e}")))?;
        if said.dormouse != 1 {
            let why = format!(
                "it is of version {}, and this Dormouse reads version 1: a newer one is needed",
                said.dormouse
            );
            return Err(bad(why));
        }
        let module = next("original.wasm", MAX_MODULE)?;
        let frames = next("frames", MAX_PART)?;
        let globals = next("globals", MAX_PART)?;
        let bits = |global: &[u8]| u128::from_le_bytes(global.try_into().unwrap_or_default());
        let captured = Captured {
            frames,
            functions: said.functions.clone(),
            objects: said.objects,
            globals: globals.chunks_exact(16).map(bits).collect(),
            references: said.globals.clone(),
            tables: said.tables.clone(),
            memories: said.memories.clone(),
            dropped: next("dropped", MAX_PART)?.into_iter().map(|flag| flag != 0).collect(),
        };
        let memory = |(index, pages): (usize, &u64)| {
            let size = pages.checked_mul(65536).ok_or_else(|| bad("a memory is too large"))?;
            let bytes = next(&format!("memory-{index}"), size)?;
            match bytes.len() as u64 == size {
                true => Ok(bytes),
                false => Err(bad(format!("its memory-{index} is not as long as it says"))),
            }
        };
        let memories = said.memories.iter().enumerate().map(memory).collect::<Result<_>>()?;
        Ok(Capture { said, module, captured, memories })
    }

    fn state(&self) -> Result<State> {
        let options = Options { restartable, ..Options::default() };
        let program = Program::new(self.module.as_slice().into(), &options);
        let program = program.map_err(dormouse_engine::Error::from)?;
        let wasi = self.outline()?.encode()?;
        let state = program.state(&self.captured, sha256(&self.module), wasi);
        let state = state.map_err(dormouse_engine::Error::from)?;
        state.check().map_err(|e| bad(e.to_string()))?;
        Ok(state)
    }

    fn outline(&self) -> Result<Outline> {
        let wasi = &self.said.wasi;
        let mut fds = vec![];
        for SaidFd { fd, what } in &wasi.fds {
            let opened = match what {
                SaidOpened::Stdio { stdio } => Opened::Stdio(*stdio),
                SaidOpened::Preopen { preopen } => Opened::Preopen(*preopen),
                SaidOpened::Directory { dir, path } => {
                    Opened::Directory { preopen: *dir, path: path.clone() }
                }
                SaidOpened::File { dir, path, read, write, append, nonblock, offset, size } => {
                    Opened::File {
                        preopen: *dir,
                        path: path.clone(),
                        readable: *read,
                        writable: *write,
                        append: *append,
                        nonblock: *nonblock,
                        offset: number(offset)?,
                        size: size.as_deref().map(number).transpose()?,
                    }
                }
            };
            fds.push((*fd, opened));
        }
        Ok(Outline {
            args: vec![],
            env: vec![],
            preopens: wasi.directories.clone(),
            fds,
            monotonic_ns: number(&wasi.monotonic)?,
            pending: None,
            restored: 0,
            in_checkpoint: false,
        })
    }
}
