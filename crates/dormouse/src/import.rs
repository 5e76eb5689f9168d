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
use dormouse_store::{CheckpointInfo, MemoryPages, NewCheckpoint, Store, TarReader, sha256};
use dormouse_transform::{Captured, Options, Program};
use dormouse_wasi::{Opened, Outline};
use serde::Deserialize;
use std::io::{self, Read};

/// Bytes of `dormouse.json`.
const MAX_JSON: u64 = 16 << 20;
/// Bytes of a module.
const MAX_MODULE: u64 = 1 << 30;
/// Bytes of frames; of globals; of flags.
const MAX_PART: u64 = 256 << 20;

/// Takes in the checkpoint of a file, under `name` and that job's next number; an archive without a name under its own. Returns when it
/// is durable.
///
/// # Errors
/// What is no such file, or no program can have left; a name of a job whose checkpoints are encrypted; what the store says.
pub fn read(store: &Store, mut from: impl Read, name: Option<&str>) -> Result<CheckpointInfo> {
    // Which it is, its first name tells.
    let mut first = [0; 512];
    from.read_exact(&mut first).map_err(|e| bad(broken(e)))?;
    let is_capture = first.starts_with(b"dormouse.json\0");
    let mut from = first.chain(from);
    if !is_capture {
        return Ok(store.read_archive(&mut from, name)?);
    }
    let name = name.ok_or_else(|| bad("it has no name of its own; give one with --name"))?;
    let newest = store.list(name)?.pop();
    if newest.is_some_and(|newest| newest.annotations.contains_key(annotations::RECIPIENTS)) {
        let why = format!("it is not encrypted, as those of {name} are; give it another --name");
        return Err(bad(why));
    }
    let capture = Capture::read(from)?;
    let memories = (0..).zip(&capture.memories);
    let pages: Vec<_> = memories.map(|(index, bytes)| MemoryPages::whole(index, bytes)).collect();
    let program = (annotations::PROGRAM.to_owned(), format!("{name}.wasm"));
    let new = NewCheckpoint {
        annotations: [program].into(),
        foreign: true,
        ..NewCheckpoint::new(&capture.module, &capture.state, &pages)
    };
    Ok(store.save(name, new)?)
}

fn bad(why: impl Into<String>) -> Error {
    Error::Import { why: why.into() }
}

fn broken(e: io::Error) -> String {
    match e.kind() {
        io::ErrorKind::InvalidData => e.to_string(),
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => format!("it cannot be read: {e}"),
    }
}

/// What is in such a file.
struct Capture {
    module: Vec<u8>,
    state: State,
    memories: Vec<Vec<u8>>,
}

/// `dormouse.json`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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
#[serde(deny_unknown_fields)]
struct SaidWasi {
    monotonic: String,
    directories: Vec<String>,
    fds: Vec<SaidFd>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidFd {
    fd: u32,
    stdio: Option<usize>,
    preopen: Option<usize>,
    dir: Option<usize>,
    path: Option<String>,
    directory: Option<bool>,
    read: Option<bool>,
    write: Option<bool>,
    append: Option<bool>,
    nonblock: Option<bool>,
    offset: Option<String>,
    size: Option<String>,
}

/// The parts of a tar, in their order.
struct Parts<R>(TarReader<R>);

impl<R: Read> Parts<R> {
    fn next(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let entry = self.0.next_entry().map_err(|e| bad(broken(e)))?;
        let entry = entry.filter(|entry| entry.name == name && entry.is_file());
        let size = entry.ok_or_else(|| bad(format!("{name} does not come next in it")))?.size;
        if size > most {
            return Err(bad(format!("its {name} has {size} bytes; at most {most} can be")));
        }
        let mut bytes = vec![];
        (&mut self.0).take(size).read_to_end(&mut bytes).map_err(|e| bad(broken(e)))?;
        Ok(bytes)
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| bad(format!("{text:.30?} is no number")))
}

impl Capture {
    fn read(from: impl Read) -> Result<Capture> {
        let mut parts = Parts(TarReader::new(from));
        let said: Said = serde_json::from_slice(&parts.next("dormouse.json", MAX_JSON)?)
            .map_err(|e| bad(format!("its dormouse.json cannot be read: {e}")))?;
        if said.dormouse != 1 {
            let why = format!(
                "it is of version {}, and this Dormouse reads version 1: a newer one is needed",
                said.dormouse
            );
            return Err(bad(why));
        }
        let wasi = outline(&said.wasi)?.encode()?;
        let module = parts.next("original.wasm", MAX_MODULE)?;
        let options = Options { restartable, ..Options::default() };
        let program = Program::new(module.as_slice().into(), &options);
        let program = program.map_err(dormouse_engine::Error::from)?;
        let most = program.inventory().memories as usize;
        if said.memories.len() != most {
            return Err(bad(format!(
                "it has {} memories, and its module {most}",
                said.memories.len()
            )));
        }
        let frames = parts.next("frames", MAX_PART)?;
        let globals = parts.next("globals", MAX_PART)?;
        let bits = |global: &[u8]| u128::from_le_bytes(global.try_into().unwrap_or_default());
        let captured = Captured {
            frames,
            functions: said.functions,
            objects: said.objects,
            globals: globals.chunks_exact(16).map(bits).collect(),
            references: said.globals,
            tables: said.tables,
            memories: said.memories,
            dropped: parts.next("dropped", MAX_PART)?,
        };
        let state = program.state(&captured, sha256(&module), wasi);
        let state = state.map_err(dormouse_engine::Error::from)?;
        state.check().map_err(|e| bad(e.to_string()))?;
        let memory = |memory: &dormouse_state::Memory| {
            let name = format!("memory-{}", memory.index);
            let size = memory.pages * 65536;
            let bytes = parts.next(&name, size)?;
            match bytes.len() as u64 == size {
                true => Ok(bytes),
                false => Err(bad(format!("its {name} is not as long as it says"))),
            }
        };
        let memories = state.memories.iter().map(memory).collect::<Result<_>>()?;
        Ok(Capture { module, state, memories })
    }
}

fn outline(wasi: &SaidWasi) -> Result<Outline> {
    let opened = |said: &SaidFd| -> Result<Opened> {
        let wrong = || bad(format!("what it says of descriptor {} cannot be", said.fd));
        let path = || said.path.clone().ok_or_else(wrong);
        match (said.stdio, said.preopen, said.dir) {
            (Some(which), None, None) => Ok(Opened::Stdio(which)),
            (None, Some(preopen), None) => Ok(Opened::Preopen(preopen)),
            (None, None, Some(preopen)) if said.directory == Some(true) => {
                Ok(Opened::Directory { preopen, path: path()? })
            }
            (None, None, Some(preopen)) => Ok(Opened::File {
                preopen,
                path: path()?,
                readable: said.read.ok_or_else(wrong)?,
                writable: said.write.ok_or_else(wrong)?,
                append: said.append.ok_or_else(wrong)?,
                nonblock: said.nonblock.ok_or_else(wrong)?,
                offset: number(said.offset.as_deref().ok_or_else(wrong)?)?,
                size: said.size.as_deref().map(number).transpose()?,
            }),
            _ => Err(wrong()),
        }
    };
    let fds = wasi.fds.iter().map(|said| Ok((said.fd, opened(said)?)));
    Ok(Outline {
        args: vec![],
        env: vec![],
        preopens: wasi.directories.clone(),
        fds: fds.collect::<Result<_>>()?,
        monotonic_ns: number(&wasi.monotonic)?,
        pending: None,
        restored: 0,
        in_checkpoint: false,
    })
}
