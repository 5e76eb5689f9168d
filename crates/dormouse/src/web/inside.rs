//! What the page shows of one checkpoint: what `inspect` shows, as far as a page has room for it.

use super::Refusal;
use dormouse::look::{self, Frame, Heat, Inspection};
use dormouse::{Error, Result, Target, annotations};
use dormouse_store::{Checkpoint, Store};
use serde::Serialize;

/// Frames of each end of a deep stack. A function that calls itself is one line of the page.
const ENDS: usize = 200;
/// What is sent of files.
const FILES: usize = 200;
/// Cells, and checkpoints, that can be asked for at once.
const MOST_CELLS: usize = 256;
const MOST_NUMBERS: usize = 32;

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

/// The largest memory of a checkpoint, in cells; or why that is not known.
#[derive(Serialize)]
pub struct Warmth {
    number: u64,
    #[serde(flatten)]
    found: Found,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Seen {
        bytes: u64,
        /// Whether there is a checkpoint before it.
        compared: bool,
        #[serde(flatten)]
        heat: Heat,
    },
    Unknown(Refusal),
}

/// All of it.
pub fn inside(store: &Store, target: &Target) -> Result<Inside> {
    // Its memory layers are read as far as they are needed.
    let checkpoint = store.load_lazily(&target.job, target.number)?;
    let before = look::previous(store, &checkpoint.info);
    let seen = Inspection::of(&checkpoint, before.as_ref())?;
    let said =
        [annotations::HOST, annotations::ENGINE].map(|key| checkpoint.info.annotations.get(key));
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

/// The largest memory of each of these checkpoints, compared with that of the one before.
pub fn warmth(store: &Store, job: &str, numbers: &[u64], cells: usize) -> Result<Vec<Warmth>> {
    let cells = cells.clamp(1, MOST_CELLS);
    let mut numbers: Vec<u64> = numbers.iter().copied().take(MOST_NUMBERS).collect();
    numbers.sort_unstable();
    let listed: Vec<u64> = store.list(job)?.iter().map(|info| info.number).collect();
    // Mostly they follow each other, and each is loaded once.
    let mut last: Option<Checkpoint> = None;
    let all = numbers.into_iter().map(|number| {
        let before = listed.iter().copied().filter(|n| *n < number).max();
        let kept = last.take().filter(|kept| Some(kept.info.number) == before);
        let found =
            store.load_lazily(job, Some(number)).map_err(Error::from).and_then(|checkpoint| {
                let before = kept.or_else(|| look::previous(store, &checkpoint.info));
                let found = largest(&checkpoint, before.as_ref(), cells);
                last = Some(checkpoint);
                found
            });
        Warmth { number, found: found.unwrap_or_else(|e| Found::Unknown(Refusal::of(&e))) }
    });
    Ok(all.collect())
}

fn largest(checkpoint: &Checkpoint, before: Option<&Checkpoint>, cells: usize) -> Result<Found> {
    let memories = &checkpoint.state.memories;
    let Some(memory) = memories.iter().max_by_key(|m| (m.pages, u32::MAX - m.index)) else {
        return Ok(Found::Seen { bytes: 0, compared: false, heat: Heat::default() });
    };
    let before = before.filter(|b| b.state.module_digest == checkpoint.state.module_digest);
    let heat = Heat::of(checkpoint, before, memory.index, cells)?;
    let bytes = memory.pages.saturating_mul(65536);
    Ok(Found::Seen { bytes, compared: before.is_some(), heat })
}
