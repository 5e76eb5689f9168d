//! Chaos: the program is stopped at every Nth safepoint and goes on in a fresh instance, from a
//! state that has been encoded and decoded. Its output must be that of the plain run: so a program is not told that it
//! was resumed (`dormouse_checkpoint` answers 0, `dormouse_restored_count` does not grow), and memory that it excluded is
//! kept all the same.

use crate::machine::Code;
use crate::run::{Event, Run};
use crate::{Error, Result};
use dormouse_memory::{PAGE_SIZE, nonzero_pages};
use dormouse_state::State;
use dormouse_wasi::{RestoreOptions, Wasi};
use std::sync::Arc;

/// How many safepoints to pass between two captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Always this many; 1 stops at every safepoint.
    Every(u32),
    /// From 1 to `most`, pseudo-random from `seed`.
    Random {
        /// The same seed gives the same gaps.
        seed: u64,
        /// Largest gap.
        most: u32,
    },
    /// 1 at first, and twice as much after every so many captures; begins again with each
    /// [`Chaos::advance`]. For programs that may run long, or recurse until the stack is full.
    Growing {
        /// Captures.
        after: u32,
    },
}

/// What a chaos run did.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChaosReport {
    /// Captures, each resumed in a fresh instance.
    pub captures: u64,
    /// Stops at which the state could not be carried (an unlinked open file, an object of the host, a section that must
    /// not be split), passed in place.
    pub passed: u64,
    /// Most frames in one capture.
    pub deepest: usize,
    /// Continuations that had to be compiled.
    pub compiled: u64,
}

/// Runs a command to its end under chaos. The machine must be one that counts
/// ([`crate::Options::counted`]). `restore` gives the options under which WASI objects come back.
pub fn chaos(
    code: &Arc<Code>,
    wasi: Wasi,
    gap: Gap,
    restore: impl FnMut() -> RestoreOptions,
) -> Result<(Event, ChaosReport)> {
    let mut chaos = Chaos::new(gap, restore);
    let (event, _) = chaos.advance(Run::start(code.clone(), wasi)?)?;
    Ok((event, chaos.report()))
}

/// Chaos for programs that are called more than once.
pub struct Chaos<R> {
    gaps: Gaps,
    in_place: u64,
    restore: R,
    report: ChaosReport,
}

impl<R: FnMut() -> RestoreOptions> Chaos<R> {
    /// Nothing has been run. `restore` gives the options under which WASI objects come back.
    pub fn new(gap: Gap, restore: R) -> Chaos<R> {
        Chaos { gaps: Gaps::new(gap), in_place: 0, restore, report: ChaosReport::default() }
    }

    /// After every so many captures the program goes on in place, as it does when it was only
    /// checkpointed; by default never.
    pub fn in_place(mut self, every: u64) -> Chaos<R> {
        self.in_place = every;
        self
    }

    /// What has been done so far.
    pub fn report(&self) -> ChaosReport {
        self.report
    }

    /// [`Run::advance`], in ever fresh instances; gives back the last one.
    ///
    /// # Errors
    /// As `advance`, and if the machine does not count safepoints.
    pub fn advance(&mut self, mut run: Run) -> Result<(Event, Run)> {
        let code = run.code.clone();
        if !code.machine.options.counted {
            return Err(Error::Engine("chaos needs a machine that counts safepoints".into()));
        }
        self.gaps.begin();
        loop {
            run.stop_after(self.gaps.next());
            match run.advance()? {
                Event::Stopped => {}
                end => {
                    self.report.compiled = code.continuations_compiled();
                    return Ok((end, run));
                }
            }
            let encoded = match run.state() {
                Ok(s) => s.encode(),
                Err(Error::Wasi(_) | Error::CannotCapture(_)) => {
                    self.report.passed += 1;
                    continue;
                }
                Err(e) => return Err(e),
            };
            if self.in_place > 0 && (self.report.captures + 1).is_multiple_of(self.in_place) {
                self.report.captures += 1;
                continue;
            }
            // Only what is not zero, so that large, sparse memories are cheap.
            let memories: Vec<Vec<(u64, Vec<u8>)>> = run
                .memories()?
                .into_iter()
                .map(|(_, m)| nonzero_pages(m).map(|(page, run)| (page, run.to_vec())).collect())
                .collect();
            drop(run);
            let state = State::decode(&encoded).map_err(|e| Error::State(e.to_string()))?;
            self.report.captures += 1;
            self.report.deepest = self.report.deepest.max(state.frames.len());
            // What a program is told of its resumes is not in a plain run's output.
            let options = RestoreOptions { unnoticed: true, ..(self.restore)() };
            let wasi = Wasi::restore(&state.wasi, options)?;
            run = Run::resume(code.clone(), &state, wasi, |index, into| {
                for (page, run) in memories.get(index as usize).ok_or("a memory is missing")? {
                    let start = *page as usize * PAGE_SIZE;
                    into[start..start + run.len()].copy_from_slice(run);
                }
                Ok(())
            })?;
        }
    }
}

struct Gaps {
    gap: Gap,
    state: u64,
}

impl Gaps {
    fn new(gap: Gap) -> Gaps {
        let state = match gap {
            Gap::Every(_) | Gap::Growing { .. } => 0,
            Gap::Random { seed, .. } => seed,
        };
        Gaps { gap, state }
    }

    fn begin(&mut self) {
        if let Gap::Growing { .. } = self.gap {
            self.state = 0;
        }
    }

    fn next(&mut self) -> u32 {
        match self.gap {
            Gap::Growing { after } => {
                let doubled = self.state / u64::from(after.max(1));
                self.state += 1;
                1 << doubled.min(30)
            }
            Gap::Every(n) => n.max(1),
            Gap::Random { most, .. } => {
                // SplitMix64 (Steele, Lea, Flood 2014): small, and any seed will do.
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = self.state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                ((z ^ (z >> 31)) % u64::from(most.max(1))) as u32 + 1
            }
        }
    }
}
