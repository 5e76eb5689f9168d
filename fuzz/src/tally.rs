//! What a target did, counted by name: `runs`, `captures`, `refused`, ...
//!
//! Targets are plain functions of their input, so they count into a place of their thread;
//! the runner takes the counts after each input.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// Counts by name.
pub type Tally = BTreeMap<&'static str, u64>;

thread_local! {
    static TALLY: RefCell<Tally> = const { RefCell::new(Tally::new()) };
}

/// Adds to a count of this thread.
pub fn add(what: &'static str, n: u64) {
    TALLY.with_borrow_mut(|t| *t.entry(what).or_default() += n);
}

/// The counts of this thread since it was last asked.
pub fn take() -> Tally {
    TALLY.take()
}
