//! Linear memories for wasmtime that are ours (`dormouse-memory`), so that their pages can be
//! tracked, copied and mapped as checkpoints need it.

use dormouse_memory::{Layout, LinearMemory as Ours, Watch};
use std::sync::{Mutex, PoisonError};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

/// How far a memory with addresses of 32 bits can grow: its last 64 KiB are never there, so that a loop which goes through memory
/// comes to its end (`dormouse_transform`, `rounds`). One that begins with all of them has them.
const LAST: usize = u32::MAX as usize - 0xffff;

/// Makes memories; wasmtime says how much to reserve and how large the guard is.
#[derive(Default)]
pub(crate) struct Creator {
    /// Those that were made and still are there.
    made: Mutex<Vec<Watch>>,
}

impl Creator {
    /// The memory that begins at `base`.
    pub fn watch(&self, base: *const u8) -> Option<Watch> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().find(|watch| watch.is_at(base)).cloned()
    }
}

struct Linear(Ours);

// SAFETY: `dormouse_memory::LinearMemory` maps `capacity` bytes and the guard behind them in one
// reservation; the first `len` are accessible and zero when new, the rest faults; the base stays put
// while `len` is at most `capacity`. That is what this trait asks for.
unsafe impl LinearMemory for Linear {
    fn byte_size(&self) -> usize {
        self.0.len()
    }
    fn byte_capacity(&self) -> usize {
        self.0.capacity()
    }
    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        Ok(self.0.grow_to(new_size)?)
    }
    fn as_ptr(&self) -> *mut u8 {
        self.0.base().as_ptr()
    }
}

// SAFETY: the memory has the reservation and the guard that wasmtime asks for, or there is an error.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> std::result::Result<Box<dyn LinearMemory>, String> {
        let reserve = reserved.unwrap_or(minimum);
        let maximum = match ty.is_64() {
            true => maximum,
            false => Some(maximum.unwrap_or(usize::MAX).min(LAST.max(minimum))),
        };
        // It may move when it outgrows its reservation.
        let layout = Layout { minimum, maximum, reserve, guard, may_move: true };
        let memory = Ours::new(layout).map_err(|e| e.to_string())?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|watch| !watch.is_gone());
        made.push(memory.watch());
        Ok(Box::new(Linear(memory)))
    }
}
