//! A checkpoint as a file for others: a WebAssembly module of its own, from which any engine with WASI preview 1 goes on, or a core dump.
//!
//! ```text
//!   checkpoint ──> transform: its stack, memories, tables and globals as a module
//!              ──> glue: clocks that go on, files opened again, arguments and environment as they were
//! ```

mod asm;
mod glue;

use crate::{Error, Result};
use dormouse_engine::restartable;
use dormouse_store::{Checkpoint, PAGE_SIZE};
use dormouse_transform::{Entries, Memories, Options, Program, Snapshot};
use dormouse_wasi::{Call, Wasi};
use std::sync::Arc;

/// Zeros between bytes that are not, up to which one segment has both: engines take at most 100,000 segments, and each costs some bytes.
const GAP: usize = 32;

/// How many segments a memory may have before those nearer to each other become one.
const SEGMENTS: usize = 20_000;

/// The module that goes on from a checkpoint: a command whose `_start` does so, or, of a function that was called with
/// [`Job::invoke`](crate::Job::invoke), one that exports a function of that name.
///
/// It needs what the program needs, and the same directories in the same order; see `docs/export.md`.
///
/// # Errors
/// If no module can begin with this state, or the checkpoint cannot be read.
///
/// ```
/// # use dormouse::{Job, Outcome, Target, export};
/// # use dormouse_store::Store;
/// # let dir = tempfile::tempdir()?;
/// let module = wat::parse_str(r#"(module (memory (export "memory") 1)
///     (func (export "_start") (local i32)
///         (loop (br_if 0 (i32.lt_u
///             (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 50000000))))))"#)?;
/// let job = Job::new(dir.path()).name("count").stop_at(500);
/// assert!(matches!(job.run("count.wasm", module.into(), vec![])?, Outcome::Stopped { .. }));
/// let checkpoint = Store::open(dir.path())?.load("count", None)?;
/// let rest = export::wasm(&checkpoint)?;
/// let job = Job::new(dir.path()).name("rest");
/// assert_eq!(job.run("rest.wasm", rest.into(), vec![])?, Outcome::Exited(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wasm(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let (program, memories) = parts(checkpoint)?;
    let state = &checkpoint.state;
    let ours = |i: &&dormouse_transform::Import| Call::imported(&i.module, &i.name).is_none();
    if let Some(import) = program.imports().iter().find(ours) {
        let what = format!("it needs the host function `{}.{}`", import.module, import.name);
        return Err(Error::Standalone { what });
    }
    let outline = Wasi::outline(&state.wasi)?;
    let seen = glue::Memory::of(&program, &memories, state);
    let glue = glue::glue(&program, &outline, &seen, state)?;
    // What was called last is the outermost.
    let called = state.frames.first().map(|f| f.site.func);
    let is = |name: &str| called.is_some() && program.exported_function(name) == called;
    let named = called.and_then(|f| program.export_of(f));
    let export = match named {
        Some(name) if !is("_start") && !is("_initialize") => name,
        _ => "_start",
    };
    let export = export.to_owned();
    let snapshot = Snapshot { state, memories, export, glue };
    Ok(program.standalone(&snapshot).map_err(dormouse_engine::Error::from)?)
}

/// The same with safepoints: an embedder of any engine with multiple memories and tail calls can stop it, and
/// [`import::read`](crate::import::read) takes in what it saved. Left alone, it runs as [`wasm`] does, a little slower.
///
/// # Errors
/// As [`wasm`]; if the module becomes too large.
pub fn checkpointable(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let options = Options { restartable, ..Options::default() };
    let program = Program::new(wasm(checkpoint)?.into(), &options);
    let module = program.and_then(|program| program.checkpointable());
    Ok(module.map_err(dormouse_engine::Error::from)?)
}

/// The core dump of a checkpoint, in the format of WebAssembly's [tool
/// conventions](https://github.com/WebAssembly/tool-conventions/blob/main/Coredump.md).
///
/// # Errors
/// If the checkpoint cannot be read.
pub fn core_dump(checkpoint: &Checkpoint) -> Result<Vec<u8>> {
    let (program, memories) = parts(checkpoint)?;
    let name = checkpoint.info.annotations.get(crate::annotations::PROGRAM);
    let name = name.unwrap_or(&checkpoint.info.job);
    let dump = program.core_dump(name, &checkpoint.state, &memories);
    Ok(dump.map_err(dormouse_engine::Error::from)?)
}

/// The program, and what its memories hold.
fn parts(checkpoint: &Checkpoint) -> Result<(Program, Memories)> {
    let module: Arc<[u8]> = checkpoint.module.as_slice().into();
    let with = |known: Vec<u32>| {
        let entries = Entries { known: known.into(), ..Entries::default() };
        let options = Options { restartable, entries, ..Options::default() };
        Program::new(module.clone(), &options).map_err(dormouse_engine::Error::from)
    };
    let mut program = with(vec![])?;
    let elsewhere = program.stopped_elsewhere(&checkpoint.state);
    if !elsewhere.is_empty() {
        program = with(elsewhere)?;
    }
    let memories = &checkpoint.state.memories;
    let memories: Result<_> = memories.iter().map(|m| contents(checkpoint, m.index)).collect();
    Ok((program, memories?))
}

/// What is not zero in a memory.
fn contents(checkpoint: &Checkpoint, index: u32) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut pages = checkpoint.pages(index)?;
    let mut page = [0; PAGE_SIZE];
    let mut all: Vec<(u64, Vec<u8>)> = vec![];
    for number in checkpoint.stored_pages(index)?.into_iter().flatten() {
        pages.page(number, &mut page)?;
        // Where there are many already, whole pages.
        let gap = if all.len() < SEGMENTS { GAP } else { PAGE_SIZE };
        for (from, to) in runs(&page, gap) {
            let at = number * PAGE_SIZE as u64 + from as u64;
            match all.last_mut() {
                Some((start, bytes)) if at - (*start + bytes.len() as u64) <= gap as u64 => {
                    bytes.resize((at - *start) as usize, 0);
                    bytes.extend_from_slice(&page[from..to]);
                }
                _ => all.push((at, page[from..to].to_vec())),
            }
        }
    }
    Ok(all)
}

/// Where a page is not zero; what is so near to each other is one.
fn runs(page: &[u8], gap: usize) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = vec![];
    for (at, _) in page.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        match runs.last_mut() {
            Some((_, to)) if at - *to <= gap => *to = at + 1,
            _ => runs.push((at, at + 1)),
        }
    }
    runs
}
