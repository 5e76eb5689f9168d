//! How much is done for debugging information that may be a stranger's.
//!
//! ```text
//!   each entry, attribute, range, row, step of an expression   1
//!   reading tables of abbreviations                            4 a byte; 32 if they are kept
//!   nothing left                                               what is not read yet is left out
//! ```

use std::cell::Cell;

/// Enough for the sources of an interpreter, and spent in a second or so.
const ALL: u64 = 30_000_000;

/// What is left to spend, and what went wrong so far.
pub struct Budget {
    left: Cell<u64>,
    damaged: Cell<bool>,
    long: Cell<bool>,
}

/// Why a part of debugging information is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It makes no sense.
    Damaged,
    /// The budget is spent, or it is too long for what is left.
    Spent,
}

impl From<gimli::Error> for Stop {
    fn from(_: gimli::Error) -> Stop {
        Stop::Damaged
    }
}

impl Budget {
    pub fn new() -> Budget {
        Budget { left: Cell::new(ALL), damaged: Cell::new(false), long: Cell::new(false) }
    }

    pub fn spend(&self, cost: usize) -> Result<(), Stop> {
        match self.left.get().checked_sub(cost as u64) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(Stop::Spent)
            }
        }
    }

    /// What was read, if it could be; that it could not is remembered.
    pub fn note<T>(&self, read: Result<T, Stop>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(Stop::Damaged) => {
                self.damaged.set(true);
                None
            }
            Err(Stop::Spent) => {
                self.long.set(true);
                None
            }
        }
    }

    pub fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    pub fn left_something_out(&self) -> bool {
        self.long.get() || self.is_spent()
    }

    pub fn saw_damage(&self) -> bool {
        self.damaged.get()
    }
}
