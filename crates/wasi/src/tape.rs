//! What the outside says, times and random numbers, written down in one run of a program and said again in the next: so that the
//! next does the same.
//!
//! ```text
//!   first run    clock_time_get ──> the clock ──> 17   written down
//!   rewound      clock_time_get ──> 17                 until something else is asked for, or the tape ends
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many bytes are written down. What is said after that is another thing each time.
const MOST: usize = 64 << 20;

/// Times and random numbers, shared by the runs that are to get the same.
#[derive(Clone, Debug, Default)]
pub struct Tape(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    said: Vec<Said>,
    bytes: usize,
    /// What is said next, of a tape that is heard.
    next: Option<usize>,
}

#[derive(Clone, Debug)]
enum Said {
    Time(u64),
    Random(Vec<u8>),
}

impl Tape {
    /// From here on it says what was written down.
    pub fn rewind(&self) {
        self.lock().next = Some(0);
    }

    /// Whether a program asked for anything since the beginning.
    pub fn was_asked(&self) -> bool {
        let tape = self.lock();
        !tape.said.is_empty() || tape.next.is_some_and(|next| next > 0)
    }

    pub(crate) fn time(&self, now: u64) -> u64 {
        let mut tape = self.lock();
        match tape.heard() {
            Some(Said::Time(then)) => return then,
            Some(_) => tape.stray(),
            None => tape.write(Said::Time(now), 16),
        }
        now
    }

    /// Whether the bytes were on it; else they are to be drawn, and told.
    pub(crate) fn says_random(&self, into: &mut [u8]) -> bool {
        let mut tape = self.lock();
        match tape.heard() {
            Some(Said::Random(bytes)) if bytes.len() == into.len() => {
                into.copy_from_slice(&bytes);
                true
            }
            Some(_) => {
                tape.stray();
                false
            }
            None => false,
        }
    }

    pub(crate) fn drew(&self, bytes: &[u8]) {
        self.lock().write(Said::Random(bytes.to_vec()), bytes.len() + 32);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn heard(&mut self) -> Option<Said> {
        let next = self.next.as_mut()?;
        let said = self.said.get(*next).cloned();
        *next += 1;
        said
    }

    /// The program asks for something else than the first time: the rest is of no use to it.
    fn stray(&mut self) {
        self.next = Some(usize::MAX / 2);
    }

    fn write(&mut self, said: Said, bytes: usize) {
        if self.next.is_none() && self.bytes + bytes <= MOST {
            self.bytes += bytes;
            self.said.push(said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_until_something_else_is_asked_for() {
        let tape = Tape::default();
        let random = |tape: &Tape, own: u8| {
            let mut bytes = [own; 3];
            if !tape.says_random(&mut bytes) {
                tape.drew(&bytes);
            }
            bytes[0]
        };
        assert_eq!((tape.time(1), random(&tape, 2), tape.time(3)), (1, 2, 3));
        tape.rewind();
        assert_eq!((tape.time(7), random(&tape, 7), tape.time(7), tape.time(8)), (1, 2, 3, 8));
        tape.rewind();
        assert_eq!((random(&tape, 7), tape.time(8), tape.time(9)), (7, 8, 9));
        tape.rewind();
        assert_eq!((tape.time(7), random(&tape, 7)), (1, 2));
    }
}
