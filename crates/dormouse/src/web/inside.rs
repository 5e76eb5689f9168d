//! What the page shows of one checkpoint: what `inspect` shows, as far as a page has room for it.

use dormouse::look::{self, Frame, Heat, Inspection};
use dormouse::{Result, Target, annotations};
use dormouse_store::{Checkpoint, Store};
use serde::Serialize;

/// Frames of each end of a deep stack. A function that calls itself is one line of the page.
const ENDS: usize = 200;
/// What is sent of files.
const FILES: usize = 200;
/// Cells that can be asked for.
const MOST_CELLS: usize = 256;

/// A checkpoint.
#[derive(Serialize)]
pub struct Inside {
    frames: Vec<Shown>,
    frames_total: usize,
    memories: Vec<look::Memory>,
    compared_with: Option<String>,
    wasi: dormouse_wasi::Description,
    files: Vec<look::File>,
    host: Option<String>,
}

/// A frame, and how many before it are left out.
#[derive(Serialize)]
struct Shown {
    gap: usize,
    #[serde(flatten)]
    frame: Frame,
}

/// The largest memory, in cells.
#[derive(Serialize)]
pub struct Warmth {
    index: u32,
    bytes: u64,
    /// Whether there is a checkpoint before it.
    compared: bool,
    #[serde(flatten)]
    heat: Heat,
}

/// Its memory layers are read as far as they are needed.
fn load(store: &Store, target: &Target) -> Result<(Checkpoint, Option<Checkpoint>)> {
    let checkpoint = store.load_lazily(&target.job, target.number)?;
    let before = look::previous(store, &checkpoint.info);
    let same = |c: &Checkpoint| c.state.module_digest == checkpoint.state.module_digest;
    let before = before.filter(same);
    Ok((checkpoint, before))
}

/// All of it.
pub fn inside(store: &Store, target: &Target) -> Result<Inside> {
    let (checkpoint, before) = load(store, target)?;
    let seen = Inspection::of(&checkpoint, before.as_ref())?;
    let said = [annotations::HOST, annotations::ENGINE].map(|key| checkpoint.info.annotations.get(key));
    let mut files = seen.files;
    files.truncate(FILES);
    let mut memories = seen.memories;
    memories.iter_mut().for_each(|memory| memory.segments.clear());
    Ok(Inside {
        frames_total: seen.frames.len(),
        frames: ends(seen.frames),
        memories,
        compared_with: seen.compared_with,
        wasi: seen.wasi,
        files,
        host: match said {
            [Some(host), Some(engine)] => Some(format!("{host}, {engine}")),
            _ => None,
        },
    })
}

/// Those of both ends, with a gap between them where there are many.
fn ends(frames: Vec<Frame>) -> Vec<Shown> {
    let total = frames.len();
    let gap = total.saturating_sub(2 * ENDS);
    let shown = |(at, frame)| Shown { gap: if at == ENDS { gap } else { 0 }, frame };
    let kept = |at: usize| at < ENDS || at >= ENDS + gap;
    let kept = frames.into_iter().enumerate().filter(|(at, _)| kept(*at)).map(|(_, frame)| frame);
    kept.enumerate().map(shown).collect()
}

/// Its largest memory, compared with the checkpoint before.
pub fn warmth(store: &Store, target: &Target, cells: usize) -> Result<Option<Warmth>> {
    let (checkpoint, before) = load(store, target)?;
    let largest = checkpoint.state.memories.iter().max_by_key(|m| (m.pages, u32::MAX - m.index));
    let Some(memory) = largest else {
        return Ok(None);
    };
    let cells = cells.clamp(1, MOST_CELLS);
    let heat = Heat::of(&checkpoint, before.as_ref(), memory.index, cells)?;
    let bytes = memory.pages.saturating_mul(65536);
    Ok(Some(Warmth { index: memory.index, bytes, compared: before.is_some(), heat }))
}
