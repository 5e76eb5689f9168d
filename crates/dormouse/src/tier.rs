//! A program that begins in code that was compiled quickly, and moves into better code when that is there.
//!
//! ```text
//!   program's thread   runs ──────────────────── Stopped ─ move ─ runs faster
//!   another                compile ─> ready ─ stop ──^
//! ```
//!
//! Nothing waits for the compiler: a checkpoint is taken wherever the program is, and a program that ends first has ended.
//! Where it cannot move when it is to, or somebody wants a checkpoint, it is asked again later.

use crate::desk::Desk;
use dormouse_engine::{Better, Code, Error, Run};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// Between the first two attempts, and between later ones at most: a program that never can move is not to feel it.
const PATIENCE: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// The better code of a program that runs.
#[derive(Clone, Default)]
pub(crate) struct Tier {
    ready: Arc<Mutex<Option<Arc<Code>>>>,
}

impl Tier {
    /// Compiles it; nothing to do if there is none. The program is attached to its desk.
    pub fn begin(better: Option<Better>, desk: &Arc<Desk>) -> Tier {
        let tier = Tier::default();
        if let Some(better) = better {
            // The desk must not outlive its job for it.
            let (later, desk) = (tier.clone(), Arc::downgrade(desk));
            let compile = move || match better.compile() {
                Ok(code) => {
                    *later.lock() = Some(code);
                    later.insist(&desk);
                }
                Err(e) => tracing::debug!("there is no better code: {e}"),
            };
            // Without a thread it stays as it is.
            let _ = thread::Builder::new().name("compiler".into()).spawn(compile);
        }
        tier
    }

    /// The program stands still: moves it, if there is something to move to. Whether it has moved.
    pub fn move_up(&self, run: &mut Run) -> bool {
        let Some(code) = self.lock().clone() else { return false };
        let moved = run.move_to(code);
        match &moved {
            Ok(()) => tracing::debug!("goes on in better code"),
            // Perhaps elsewhere.
            Err(Error::CannotCapture(why)) => tracing::debug!("cannot move here: {why}"),
            Err(e) => tracing::debug!("cannot move: {e}"),
        }
        if !matches!(moved, Err(Error::CannotCapture(_))) {
            *self.lock() = None;
        }
        moved.is_ok()
    }

    /// Has the program stop until it has moved, or ended.
    fn insist(&self, desk: &Weak<Desk>) {
        let [mut wait, most] = PATIENCE;
        while self.lock().is_some()
            && let Some(desk) = desk.upgrade()
            && desk.stop_for_a_moment()
        {
            drop(desk);
            thread::sleep(wait);
            wait = most.min(wait * 2);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Code>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
