//! Asking a running program to stop, from another thread.
//!
//! ```text
//!   request      ──> the word that compiled code polls      in a section that must not be split: remembered ──┐
//!   request_end  ──> the word, always                       at the end of the section: the word  <────────────┘
//! ```

use dormouse_wasi::{Interrupter, Waits};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Asks a program to stop at its next safepoint; one blocked in a WASI call stops at once.
/// Harmless after the program has ended.
#[derive(Clone)]
pub struct Requester {
    wishes: Arc<Mutex<Wishes>>,
    interrupter: Interrupter,
}

struct Wishes {
    flag: Option<Flag>,
    /// The program is in a section that must not be split.
    disabled: bool,
    /// What the word would be without sections.
    checkpoint: bool,
    /// The word is set for this, in sections too.
    end: bool,
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
        let flag = Some(Flag(control));
        let wishes = Wishes { flag, disabled: false, checkpoint: false, end: false };
        Requester { wishes: Arc::new(Mutex::new(wishes)), interrupter }
    }

    /// Requests a stop for a checkpoint. In a section that the program does not want to be split, the stop comes at the
    /// section's end.
    pub fn request(&self) {
        let mut wishes = self.lock();
        wishes.checkpoint = true;
        self.show(&wishes);
    }

    /// Requests a stop, wherever the program is: not for a checkpoint, which could not be taken in such a section.
    pub fn request_end(&self) {
        let mut wishes = self.lock();
        wishes.end = true;
        self.show(&wishes);
    }

    /// What the program waits for, if it is blocked in a WASI call now.
    pub fn waits(&self) -> Option<Waits> {
        self.interrupter.waits()
    }

    /// A section that must not be split begins or ends.
    pub(crate) fn set_disabled(&self, disabled: bool) {
        let mut wishes = self.lock();
        wishes.disabled = disabled;
        self.show(&wishes);
    }

    /// Takes what is requested back, as far as it can be done now; whether there was something.
    pub(crate) fn take(&self) -> bool {
        let mut wishes = self.lock();
        let was = wishes.stops();
        wishes.end = false;
        wishes.checkpoint &= wishes.disabled;
        self.show(&wishes);
        was
    }

    pub(crate) fn retire(&self) {
        self.lock().flag = None;
    }

    /// Lets the program see it.
    fn show(&self, wishes: &Wishes) {
        let Some(flag) = &wishes.flag else { return };
        let stops = wishes.stops();
        flag.word().store(stops.into(), Ordering::Release);
        match stops {
            true => self.interrupter.interrupt(),
            false => self.interrupter.clear(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Wishes {
    fn stops(&self) -> bool {
        self.end || (self.checkpoint && !self.disabled)
    }
}
