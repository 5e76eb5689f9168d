//! How long a program stood still.
//!
//! ```text
//!   advance            Stopped                       advance
//!   ... runs ──────────┤<───────── pause ──────────>├──── runs ...
//!        frames saved ─┘   copied; continuations     └─ the outermost continuation is called
//!                          that are missing compiled
//! ```
//!
//! It is known only once the program goes on, and by then whoever wants to know is on another thread.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One pause of a program, seen from any thread.
#[derive(Clone, Debug)]
pub struct Pause(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    took: Mutex<Option<Duration>>,
    ended: Condvar,
}

impl Pause {
    pub(crate) fn begin() -> Pause {
        let inner = Inner { began: Instant::now(), took: Mutex::default(), ended: Condvar::new() };
        Pause(Arc::new(inner))
    }

    /// The program goes on, or never will.
    pub(crate) fn end(&self) {
        self.lock().get_or_insert_with(|| self.0.began.elapsed());
        self.0.ended.notify_all();
    }

    /// How long it took; if it goes on, how long it has taken so far.
    pub fn so_far(&self) -> Duration {
        self.lock().unwrap_or_else(|| self.0.began.elapsed())
    }

    /// How long it took, when it has ended; after `patience`, how long it has taken so far.
    pub fn wait(&self, patience: Duration) -> Duration {
        let ended = self.0.ended.wait_timeout_while(self.lock(), patience, |took| took.is_none());
        let took = *ended.unwrap_or_else(|e| e.into_inner()).0;
        took.unwrap_or_else(|| self.0.began.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Duration>> {
        self.0.took.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_once() {
        let pause = Pause::begin();
        let other = pause.clone();
        let waiting = std::thread::spawn(move || other.wait(Duration::from_secs(600)));
        std::thread::sleep(Duration::from_millis(2));
        pause.end();
        let took = waiting.join().unwrap();
        assert!(took >= Duration::from_millis(2));
        std::thread::sleep(Duration::from_millis(2));
        pause.end();
        assert_eq!((pause.so_far(), pause.wait(Duration::ZERO)), (took, took));
    }

    #[test]
    fn who_waits_in_vain_is_told_so_far() {
        let pause = Pause::begin();
        assert!(pause.wait(Duration::from_millis(3)) >= Duration::from_millis(3));
        assert!(pause.so_far() >= Duration::from_millis(3));
    }
}
