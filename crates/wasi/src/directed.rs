//! What a program says about its own checkpoints (libckpt's user-directed checkpointing): take one here, do not keep this
//! memory, do not split this section; and what it may ask.
//!
//! Two ways lead here, with the same calls:
//!
//! ```text
//!   (import "dormouse" "exclude" (func (param i32 i32) (result i32)))      a module for Dormouse alone
//!
//!   fd_read(fd 0x444f524d, one buffer, ...)                                a module for any engine: others answer badf
//!           buffer ─▶ ┌────────┬────────┬────────┬────────┐
//!                     │ op u32 │ arg u32│ arg u32│ answer │   op 1 checkpoint   2 exclude(ptr, len)   3 include(ptr, len)
//!                     └────────┴────────┴────────┴────────┘      4 disable      5 enable              6 restored_count
//! ```
//!
//! A checkpoint is a call that is made twice: the first time it is interrupted, so that the program stands still inside
//! it and is captured there. Made again it answers who makes it:
//!
//! ```text
//!   checkpoint() ──▶ Interrupted, asks ──▶ captured ──▶ made again: 0, in the process that captured it
//!                                     │            └──▶ restored, made again: 1
//!                                     └──▶ refused ───▶ made again: -2
//! ```

use crate::calls::{Call, ValType};
use crate::errors::Fail;
use crate::fds::Host;
use crate::memory as mem;
use crate::types::{Errno, Stop};
use crate::{RestoreOptions, Wasi};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Name of the module from which a program imports [`DIRECTED`].
pub const DIRECTED_MODULE: &str = "dormouse";

/// The calls of the module [`DIRECTED_MODULE`].
pub const DIRECTED: &[Call] = &[
    call("checkpoint", &[], true),
    call("disable", &[], false),
    call("enable", &[], false),
    call("exclude", &[ValType::I32, ValType::I32], false),
    call("include", &[ValType::I32, ValType::I32], false),
    call("restored_count", &[], false),
];

const fn call(name: &'static str, params: &'static [ValType], blocking: bool) -> Call {
    Call { name, params, results: &[ValType::I32], blocking }
}

/// The descriptor of `fd_read` that stands for Dormouse itself: `DORM`. It is far above any that a host gives out.
pub(crate) const DOOR: u32 = 0x444f_524d;
/// Length of the message, in bytes.
const MESSAGE: u32 = 16;

/// How many ranges of memory a program may exclude.
pub(crate) const MAX_EXCLUDED: usize = 4096;
/// Ends of addresses: programs have 32-bit pointers here.
pub(crate) const MAX_ADDRESS: u64 = 1 << 32;
/// What is left out of a checkpoint is left out by pages of this size.
const PAGE: u64 = 4096;

/// What the calls answer, besides a count: 0 is done.
mod answer {
    pub const DONE: i32 = 0;
    pub const RESUMED: i32 = 1;
    /// It stands in a section that is not to be split.
    pub const DISABLED: i32 = -1;
    /// The checkpoint could not be taken.
    pub const REFUSED: i32 = -2;
    /// The range does not lie in memory.
    pub const OUTSIDE: i32 = -3;
    /// There would be too many ranges, or sections in sections.
    pub const TOO_MANY: i32 = -4;
    /// No section is open.
    pub const UNBALANCED: i32 = -5;
}

/// What a program has said about its checkpoints.
#[derive(Debug, Default)]
pub(crate) struct Directed {
    /// How often it was resumed.
    restored: u32,
    /// It was restored and has not gone on since: `restored` does not count that yet.
    restoring: bool,
    excluded: Arc<Mutex<Excluded>>,
    /// How many sections are open that must not be split.
    sections: u32,
    /// The `checkpoint` it stands in.
    inside: Option<Inside>,
    /// There is somebody who can take one.
    served: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// It waits for the checkpoint.
    Asks,
    /// Made again, the call answers this.
    Answers(i32),
}

/// The part of it that is state. It never stands in a section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SavedDirected {
    pub restored: u32,
    pub inside: bool,
    /// Ascending, with something between each two.
    pub excluded: Vec<Range<u64>>,
}

impl Directed {
    pub fn save(&self) -> SavedDirected {
        SavedDirected {
            restored: self.restored,
            inside: self.inside.is_some(),
            excluded: lock(&self.excluded).0.clone(),
        }
    }

    pub fn restored(saved: SavedDirected, opts: &RestoreOptions) -> Directed {
        let answer = if opts.unnoticed { answer::DONE } else { answer::RESUMED };
        Directed {
            restored: saved.restored,
            restoring: !opts.unnoticed,
            excluded: Arc::new(Mutex::new(Excluded(saved.excluded))),
            inside: saved.inside.then_some(Inside::Answers(answer)),
            ..Directed::default()
        }
    }

    fn checkpoint(&mut self) -> Result<i32, Stop> {
        match self.inside.take() {
            Some(Inside::Answers(answer)) => Ok(answer),
            // Whoever runs it had the occasion.
            Some(Inside::Asks) => Ok(answer::DONE),
            None if self.sections > 0 => Ok(answer::DISABLED),
            None if !self.served => Ok(answer::DONE),
            None => {
                self.inside = Some(Inside::Asks);
                Err(Stop::Interrupted)
            }
        }
    }

    fn exclude(&mut self, memory: usize, ptr: u32, len: u32) -> i32 {
        let Some(range) = within(memory, ptr, len) else {
            return answer::OUTSIDE;
        };
        if lock(&self.excluded).insert(range) { answer::DONE } else { answer::TOO_MANY }
    }

    fn include(&mut self, memory: usize, ptr: u32, len: u32) -> i32 {
        let Some(range) = within(memory, ptr, len) else {
            return answer::OUTSIDE;
        };
        lock(&self.excluded).remove(range);
        answer::DONE
    }

    fn disable(&mut self) -> i32 {
        let Some(sections) = self.sections.checked_add(1) else {
            return answer::TOO_MANY;
        };
        self.sections = sections;
        answer::DONE
    }

    fn enable(&mut self) -> i32 {
        let Some(sections) = self.sections.checked_sub(1) else {
            return answer::UNBALANCED;
        };
        self.sections = sections;
        answer::DONE
    }

    fn restored_count(&self) -> u32 {
        self.restored.saturating_add(u32::from(self.restoring))
    }
}

fn within(memory: usize, ptr: u32, len: u32) -> Option<Range<u64>> {
    let (start, end) = (u64::from(ptr), u64::from(ptr) + u64::from(len));
    (end <= memory as u64).then_some(start..end)
}

/// What a program says need not be kept of the memory that its calls use.
#[derive(Clone, Debug)]
pub struct Exclusions(Arc<Mutex<Excluded>>);

impl Exclusions {
    /// The pages (of 4 KiB), ascending. They may lie beyond the memory's end.
    pub fn pages(&self) -> Vec<Range<u64>> {
        let excluded = lock(&self.0);
        let pages = excluded.0.iter().map(|r| r.start.div_ceil(PAGE)..r.end / PAGE);
        pages.filter(|pages| pages.start < pages.end).collect()
    }
}

fn lock(excluded: &Mutex<Excluded>) -> MutexGuard<'_, Excluded> {
    excluded.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A set of addresses: its ranges ascend, and do not touch each other.
#[derive(Debug, Default)]
struct Excluded(Vec<Range<u64>>);

impl Excluded {
    /// Adds a range; or nothing, if there would be too many.
    fn insert(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return true;
        }
        let first = self.0.partition_point(|r| r.end < range.start);
        let last = self.0.partition_point(|r| r.start <= range.end);
        let merged = &self.0[first..last];
        if self.0.len() - merged.len() >= MAX_EXCLUDED {
            return false;
        }
        let start = merged.first().map_or(range.start, |r| r.start.min(range.start));
        let end = merged.last().map_or(range.end, |r| r.end.max(range.end));
        self.0.splice(first..last, std::iter::once(start..end));
        true
    }

    /// Removes a range. That can leave two pieces of one; if there is no room for both, the shorter goes too: what is
    /// kept without need does no harm.
    fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|r| r.end <= range.start);
        let last = self.0.partition_point(|r| r.start < range.end);
        let hit = &self.0[first..last];
        let (Some(a), Some(b)) = (hit.first(), hit.last()) else {
            return;
        };
        let mut left = vec![a.start..range.start, range.end..b.end];
        left.retain(|r| !r.is_empty());
        if left.len() == 2 && self.0.len() - hit.len() + 2 > MAX_EXCLUDED {
            left.sort_by_key(|r| r.end - r.start);
            left.remove(0);
        }
        self.0.splice(first..last, left);
    }
}

/// The calls of the module [`DIRECTED_MODULE`], and what whoever runs the program needs to serve them.
impl Wasi {
    /// `dormouse.checkpoint`: [`Stop::Interrupted`] the first time, if checkpoints are served; then it is for whoever runs
    /// the program to capture it, or to say with [`Wasi::answer_checkpoint`] that this was done or could not be.
    ///
    /// ```
    /// use dormouse_wasi::{RestoreOptions, Stop, Wasi, WasiConfig};
    ///
    /// let mut wasi = Wasi::new(WasiConfig::default())?;
    /// assert_eq!(wasi.checkpoint(), Ok(0), "nobody serves it");
    /// wasi.serve_checkpoints();
    /// assert_eq!(wasi.checkpoint(), Err(Stop::Interrupted));
    /// let saved = wasi.save()?;
    /// assert_eq!(wasi.checkpoint(), Ok(0));
    ///
    /// let mut resumed = Wasi::restore(&saved, RestoreOptions::default())?;
    /// assert_eq!(resumed.checkpoint(), Ok(1));
    /// # Ok::<(), dormouse_wasi::WasiError>(())
    /// ```
    pub fn checkpoint(&mut self) -> Result<i32, Stop> {
        self.host.clock.start();
        self.host.directed.checkpoint()
    }

    /// `dormouse.exclude`.
    pub fn exclude(&mut self, mem: &mut [u8], ptr: u32, len: u32) -> i32 {
        self.host.clock.start();
        self.host.directed.exclude(mem.len(), ptr, len)
    }

    /// `dormouse.include`.
    pub fn include(&mut self, mem: &mut [u8], ptr: u32, len: u32) -> i32 {
        self.host.clock.start();
        self.host.directed.include(mem.len(), ptr, len)
    }

    /// `dormouse.disable`.
    pub fn disable(&mut self) -> i32 {
        self.host.clock.start();
        self.host.directed.disable()
    }

    /// `dormouse.enable`.
    pub fn enable(&mut self) -> i32 {
        self.host.clock.start();
        self.host.directed.enable()
    }

    /// `dormouse.restored_count`.
    pub fn restored_count(&mut self) -> u32 {
        self.host.clock.start();
        self.host.directed.restored_count()
    }

    /// From now on a program that calls `checkpoint` is interrupted; without, the call does nothing.
    pub fn serve_checkpoints(&mut self) {
        self.host.directed.served = true;
    }

    /// Whether the program stands in `checkpoint` and waits for one.
    pub fn asks_for_checkpoint(&self) -> bool {
        self.host.directed.inside == Some(Inside::Asks)
    }

    /// Says whether the checkpoint that the program [waits for](Wasi::asks_for_checkpoint) was taken.
    pub fn answer_checkpoint(&mut self, taken: bool) {
        if self.asks_for_checkpoint() {
            let answer = if taken { answer::DONE } else { answer::REFUSED };
            self.host.directed.inside = Some(Inside::Answers(answer));
        }
    }

    /// Whether the program is in a section that must not be split. It is not to be saved there.
    pub fn is_disabled(&self) -> bool {
        self.host.directed.sections > 0
    }

    /// What need not be kept of the memory that the calls use: now, and whenever it is looked at, on any thread.
    pub fn exclusions(&self) -> Exclusions {
        Exclusions(self.host.directed.excluded.clone())
    }

    /// A restored program goes on: from now on what is saved counts that it was resumed.
    pub fn goes_on(&mut self) {
        let directed = &mut self.host.directed;
        directed.restored = directed.restored_count();
        directed.restoring = false;
    }
}

impl Host {
    /// `fd_read` on [`DOOR`].
    pub fn message(
        &mut self,
        memory: &mut [u8],
        iovs: u32,
        iovs_len: u32,
        nread: u32,
    ) -> Result<(), Fail> {
        let (at, len) = mem::first_buffer(memory, iovs, iovs_len)?;
        if len < MESSAGE {
            return Err(Errno::Inval.into());
        }
        let word = |i: u32| mem::get_u32(memory, mem::offset(at, 4 * i)?);
        let (op, ptr, len) = (word(0)?, word(1)?, word(2)?);
        // Nothing happens that could not be answered.
        word(3)?;
        mem::get_u32(memory, nread)?;
        let directed = &mut self.directed;
        let answer = match op {
            1 => directed.checkpoint().map_err(Fail::Stop)?,
            2 => directed.exclude(memory.len(), ptr, len),
            3 => directed.include(memory.len(), ptr, len),
            4 => directed.disable(),
            5 => directed.enable(),
            6 => directed.restored_count() as i32,
            // Of a version to come: as if nobody were there.
            _ => return Err(Errno::Nosys.into()),
        };
        mem::put_u32(memory, mem::offset(at, 12)?, answer as u32)?;
        mem::put_u32(memory, nread, MESSAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_merge_and_split() {
        let mut e = Excluded::default();
        for r in [10..20, 30..40, 20..25] {
            assert!(e.insert(r));
        }
        assert_eq!(e.0, [10..25, 30..40]);
        e.remove(12..13);
        e.remove(0..1);
        e.remove(25..30);
        assert_eq!(e.0, [10..12, 13..25, 30..40]);
        e.remove(20..35);
        assert_eq!(e.0, [10..12, 13..20, 35..40]);
        assert!(e.insert(0..100));
        assert_eq!(e.0.len(), 1);
        e.remove(0..100);
        assert!(e.0.is_empty());
    }

    #[test]
    fn there_is_a_limit() {
        let mut e = Excluded::default();
        for i in 0..MAX_EXCLUDED as u64 {
            assert!(e.insert(i * 10..i * 10 + 6));
        }
        let before = e.0.clone();
        assert!(!e.insert(1_000_000..1_000_001));
        assert_eq!(e.0, before);
        assert!(e.insert(6..8), "it makes one of one");
        // No room for two pieces: the shorter one is kept in checkpoints.
        e.remove(2..3);
        assert_eq!(e.0[..2], [3..8, 10..16]);
        assert_eq!(e.0.len(), MAX_EXCLUDED);
        assert!(e.insert(8..10), "two become one");
        assert!(e.insert(1_000_000..1_000_001));
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..20), 0..40)) {
            let (mut e, mut model) = (Excluded::default(), [false; 80]);
            for (add, start, len) in steps {
                if add {
                    prop_assert!(e.insert(start..start + len));
                } else {
                    e.remove(start..start + len);
                }
                model[start as usize..(start + len) as usize].fill(add);
                let of = |n: usize| e.0.iter().any(|r| r.contains(&(n as u64)));
                prop_assert!((0..80).all(|n| of(n) == model[n]), "{:?}", e.0);
                prop_assert!(e.0.windows(2).all(|w| w[0].end < w[1].start), "{:?}", e.0);
                prop_assert!(e.0.iter().all(|r| r.start < r.end), "{:?}", e.0);
            }
        }
    }
}
