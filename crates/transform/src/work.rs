//! Counts what could take more than a module's share of time, so that tests can bound it by counting
//! instead of with a clock.

use std::cell::Cell;

thread_local!(static DONE: Cell<u64> = const { Cell::new(0) });

/// Steps done on this thread: instructions looked at, locals followed, values saved, bytes written.
#[doc(hidden)]
pub fn work() -> u64 {
    DONE.get()
}

pub(crate) fn add(steps: usize) {
    DONE.set(DONE.get() + steps as u64);
}
