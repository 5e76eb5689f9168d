//! Which pages of a memory hold anything, and which of them changed since another checkpoint.
//!
//! ```text
//!   pages of 4 KiB    z z z z | s s c s | c c c c | s s s s | z z ...       z zero, s the same, c changed
//!   cells             zero 4    same 3    changed 4
//!                               changed 1
//! ```
//!
//! Pages that both checkpoints have from the same layers are the same; all others are read and compared.

use crate::Result;
use dormouse_store::{Checkpoint, PAGE_SIZE, WASM_PAGE_SIZE};
use serde::Serialize;
use std::ops::Range;

/// How many cells there are, where nobody says otherwise.
pub const CELLS: usize = 64;

/// A memory's pages of 4 KiB, in cells of equally many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Heat {
    /// Pages of 4 KiB in a cell; the last may have fewer.
    pub pages_per_cell: u64,
    /// All together.
    pub total: Cell,
    /// In order of addresses; fewer than were asked for where the memory has fewer pages.
    pub cells: Vec<Cell>,
}

/// How many pages of each kind are in a part of a memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// All zero, and not changed.
    pub zero: u64,
    /// Others that are as they were; if there is nothing to compare them with, all others.
    pub same: u64,
    /// Those that are other than they were.
    pub changed: u64,
}

impl Heat {
    /// Of memory `index` of a checkpoint, in at most so many cells. Pages are compared with those of `before`; what it does
    /// not have is taken to be zero there.
    ///
    /// # Errors
    /// If pages cannot be read.
    pub fn of(
        checkpoint: &Checkpoint,
        before: Option<&Checkpoint>,
        index: u32,
        cells: usize,
    ) -> Result<Heat> {
        let changed = match before {
            Some(before) => changed(before, checkpoint, index)?,
            None => vec![],
        };
        Heat::with(checkpoint, &changed, index, cells)
    }

    /// The same, where it is known what changed.
    pub(super) fn with(
        checkpoint: &Checkpoint,
        changed: &[Range<u64>],
        index: u32,
        cells: usize,
    ) -> Result<Heat> {
        Ok(Heat::new(pages(checkpoint, index), &checkpoint.used_pages(index)?, changed, cells))
    }

    fn new(pages: u64, used: &[Range<u64>], changed: &[Range<u64>], cells: usize) -> Heat {
        let per_cell = pages.div_ceil(cells.max(1) as u64).max(1);
        let mut all = vec![Cell::default(); pages.div_ceil(per_cell) as usize];
        each_cell(used, per_cell, |at, n| all[at].same += n);
        each_cell(changed, per_cell, |at, n| all[at].changed += n);
        each_cell(&both(used, changed), per_cell, |at, n| all[at].same -= n);
        let mut total = Cell::default();
        for (at, cell) in (0..).zip(&mut all) {
            let held = per_cell.min(pages - at * per_cell);
            cell.zero = held - cell.same - cell.changed;
            total.zero += cell.zero;
            total.same += cell.same;
            total.changed += cell.changed;
        }
        Heat { pages_per_cell: per_cell, total, cells: all }
    }
}

/// The pages of memory `index` that are other in `after` than in `before`, in ascending order: those that `after` has.
///
/// # Errors
/// If pages cannot be read.
pub fn changed(before: &Checkpoint, after: &Checkpoint, index: u32) -> Result<Vec<Range<u64>>> {
    let there = after.used_pages(index)?;
    if before.state.memories.iter().all(|memory| memory.index != index) {
        return Ok(there);
    }
    // Only what either holds is looked at: ranges of zero pages cost nothing, and may be without bounds.
    let held = join(&before.used_pages(index)?, &there);
    let mut old = before.pages(index)?;
    let mut new = after.pages(index)?;
    let (mut was, mut is) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    let end = pages(after, index);
    let mut found: Vec<Range<u64>> = vec![];
    for page in both(&after.pages_apart(before, index)?, &held).into_iter().flatten() {
        if page >= end {
            break;
        }
        old.page(page, &mut was)?;
        new.page(page, &mut is)?;
        if was == is {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.end == page => last.end += 1,
            _ => found.push(page..page + 1),
        }
    }
    Ok(found)
}

/// Pages of 4 KiB of a memory.
fn pages(checkpoint: &Checkpoint, index: u32) -> u64 {
    let memory = checkpoint.state.memories.iter().find(|memory| memory.index == index);
    memory.map_or(0, |memory| memory.pages).saturating_mul((WASM_PAGE_SIZE / PAGE_SIZE) as u64)
}

/// How many pages of each cell are in these ranges.
fn each_cell(ranges: &[Range<u64>], per_cell: u64, mut each: impl FnMut(usize, u64)) {
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let cell = at / per_cell;
            let end = range.end.min((cell + 1).saturating_mul(per_cell));
            each(cell as usize, end - at);
            at = end;
        }
    }
}

/// Pages that are in both; each in ascending order.
fn both(a: &[Range<u64>], b: &[Range<u64>]) -> Vec<Range<u64>> {
    let (mut i, mut j) = (0, 0);
    let mut all = vec![];
    while let (Some(one), Some(other)) = (a.get(i), b.get(j)) {
        let common = one.start.max(other.start)..one.end.min(other.end);
        if !common.is_empty() {
            all.push(common);
        }
        if one.end <= other.end { i += 1 } else { j += 1 }
    }
    all
}

/// Pages that are in either.
fn join(a: &[Range<u64>], b: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut all = [a, b].concat();
    all.sort_unstable_by_key(|range| range.start);
    all.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init)]
    fn ranges() {
        assert_eq!(both(&[0..4, 6..9], &[2..7, 8..20]), [2..4, 6..7, 8..9]);
        assert_eq!(both(&[], &[2..7]), []);
        assert_eq!(join(&[0..4, 6..9], &[4..5, 8..20]), [0..5, 6..20]);
    }

    #[test]
    fn cells() {
        let cell = |zero, same, changed| Cell { zero, same, changed };
        // 2 and 3 hold something as before; 4 to 6 changed, and 6 is zero now.
        let (used, changed) = ([2..4, 4..6], [4..6, 6..7]);
        let heat = Heat::new(10, &used, &changed, 3);
        assert_eq!(heat.pages_per_cell, 4);
        assert_eq!(heat.cells, [cell(2, 2, 0), cell(1, 0, 3), cell(2, 0, 0)]);
        assert_eq!(heat.total, cell(5, 2, 3));
        assert_eq!(Heat::new(0, &[], &[], 3), Heat { pages_per_cell: 1, ..Heat::default() });
        assert_eq!(Heat::new(2, &[], &[], 0).cells, [cell(2, 0, 0)]);
    }
}
