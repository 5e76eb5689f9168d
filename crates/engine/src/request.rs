//! Asking a running program to stop, from another thread.

use dormouse_wasi::Interrupter;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Asks a program to stop at its next safepoint; one blocked in a WASI call stops at once.
/// Harmless after the program has ended.
#[derive(Clone)]
pub struct Requester {
    flag: Arc<Mutex<Option<Flag>>>,
    interrupter: Interrupter,
}

/// The request word in the control memory of a live instance.
struct Flag(*mut u8);

// SAFETY: the pointer is only used through `word`, as an atomic, while the mutex is held.
unsafe impl Send for Flag {}

impl Flag {
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the control memory has a fixed size, so wasmtime never moves it, its first word
        // is aligned to 4, and `Run` takes the flag away (`retire`) before the store is dropped.
        unsafe { AtomicU32::from_ptr(self.0.cast()) }
    }
}

impl Requester {
    pub(crate) fn new(control: *mut u8, interrupter: Interrupter) -> Requester {
        Requester { flag: Arc::new(Mutex::new(Some(Flag(control)))), interrupter }
    }

    /// Requests a stop.
    pub fn request(&self) {
        if let Some(flag) = &*self.lock() {
            flag.word().store(1, Ordering::Release);
            self.interrupter.interrupt();
        }
    }

    /// Takes a pending request back; whether there was one.
    pub(crate) fn take(&self) -> bool {
        let guard = self.lock();
        let was = guard.as_ref().is_some_and(|f| f.word().swap(0, Ordering::AcqRel) != 0);
        self.interrupter.clear();
        was
    }

    pub(crate) fn retire(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Flag>> {
        self.flag.lock().unwrap_or_else(|e| e.into_inner())
    }
}
