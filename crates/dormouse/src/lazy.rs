//! A resume that reads the image while the program runs already.
//!
//! ```text
//!   program    runs; what it touches is read, and each frame compared with its checksum, before it sees it
//!   fillers    read the rest; then all layers are compared with their digests          -> whole
//!   writer     makes nothing durable before that, which would build on what may be damaged
//! ```
//!
//! What is found damaged then cannot be passed over any more: the program may wait for it, and has gone on from it. So the
//! whole process is ended, without a checkpoint, as by a power cut; a resume that reads first goes on from the newest good one.

use crate::desk::Report;
use crate::outcome::Notice;
use dormouse_engine::Run;
use dormouse_memory::{Filling, PAGE_SIZE, PageSet, PageSource};
use dormouse_store::{Checkpoint, StoreError};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// An image that is being read.
pub(crate) struct Lazy {
    inner: Arc<Inner>,
    _filling: Vec<Filling>,
}

struct Inner {
    checkpoint: Arc<Checkpoint>,
    state: Mutex<State>,
    changed: Condvar,
    report: Report,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    /// So many memories.
    Filling(usize),
    Whole,
    Failed(String),
}

/// One memory.
struct Pages {
    index: u32,
    inner: Arc<Inner>,
}

impl Lazy {
    /// Has the memories of a program that stands still, and has never been run, filled from a checkpoint whose layers are
    /// not verified. `None` if this host cannot do that: then they are filled now.
    ///
    /// # Errors
    /// If the checkpoint is damaged, as far as was seen yet.
    pub fn begin(
        checkpoint: Arc<Checkpoint>,
        run: &mut Run,
        report: Report,
    ) -> crate::Result<Option<Lazy>> {
        let mut watches = run.watches();
        // There is nothing to fill, and nothing that could be registered.
        watches.retain(|(_, watch)| !watch.is_empty());
        let inner = Arc::new(Inner {
            checkpoint: checkpoint.clone(),
            state: Mutex::new(State::Filling(watches.len())),
            changed: Condvar::new(),
            report,
        });
        let mut filling = vec![];
        for (index, watch) in &watches {
            let mut stored = PageSet::default();
            checkpoint.stored_pages(*index)?.into_iter().for_each(|run| stored.insert(run));
            let source = Arc::new(Pages { index: *index, inner: inner.clone() });
            match watch.fill_lazily(stored, source) {
                Ok((fills, kernel)) => {
                    if !kernel {
                        dormouse_wasi::touch_buffers();
                    }
                    filling.push(fills);
                }
                Err(e) if filling.is_empty() => {
                    tracing::debug!("memories are filled before the program goes on: {e}");
                    checkpoint.verify_memories()?;
                    for (index, _) in &watches {
                        checkpoint.read_memory(*index, run.memory_mut(*index)?)?;
                    }
                    return Ok(None);
                }
                Err(e) => {
                    tracing::debug!("memory {index} is filled before the program goes on: {e}");
                    checkpoint.read_memory(*index, run.memory_mut(*index)?)?;
                    inner.filled();
                }
            }
        }
        if watches.is_empty() {
            inner.verify();
        }
        Ok(Some(Lazy { inner, _filling: filling }))
    }

    /// Waits until the image is known to be whole.
    ///
    /// # Errors
    /// If it is not.
    pub fn wait(&self) -> Result<(), String> {
        let mut state = self.inner.lock();
        loop {
            match &*state {
                State::Whole => return Ok(()),
                State::Failed(why) => return Err(why.clone()),
                State::Filling(_) => {}
            }
            state = self.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl PageSource for Pages {
    fn read(&self, pages: &[Range<u64>], into: &mut [u8]) -> Result<(), String> {
        let mut read = || {
            let mut reader = self.inner.checkpoint.pages(self.index)?;
            let (chunks, _) = into.as_chunks_mut::<PAGE_SIZE>();
            for (page, into) in pages.iter().cloned().flatten().zip(chunks) {
                reader.page(page, into)?;
            }
            Ok::<_, StoreError>(())
        };
        read().map_err(|e| e.to_string())
    }

    fn done(&self) {
        self.inner.filled();
    }

    fn failed(&self, why: String) {
        self.inner.end(State::Failed(why));
    }
}

impl Inner {
    /// A memory is; after the last one all is verified.
    fn filled(&self) {
        let mut state = self.lock();
        if let State::Filling(left) = &mut *state {
            *left -= 1;
            if *left == 0 {
                drop(state);
                self.verify();
            }
        }
    }

    fn verify(&self) {
        self.end(match self.checkpoint.verify_memories() {
            Ok(()) => State::Whole,
            Err(e) => State::Failed(e.to_string()),
        });
    }

    fn end(&self, end: State) {
        {
            let mut state = self.lock();
            if !matches!(*state, State::Filling(_)) {
                // It failed already.
                return;
            }
            *state = end.clone();
        }
        self.changed.notify_all();
        if let State::Failed(message) = end {
            (self.report)(Notice::Unreadable { message });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
