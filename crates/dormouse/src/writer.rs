//! A stopped program copied out, and made durable while it goes on.

use crate::desk::Answer;
use crate::{annotations, one_line};
use dormouse_engine::Run;
use dormouse_memory::{Layout, LinearMemory, PAGE_SIZE, nonzero_pages};
use dormouse_state::State;
use dormouse_store::{MemoryPages, NewCheckpoint, Store};
use dormouse_wasi::Mark;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A stopped program, copied out.
pub(crate) struct Image {
    state: State,
    memories: Vec<(u32, LinearMemory)>,
    /// What its files can go back to.
    mark: Option<Mark>,
}

/// What all checkpoints of a job share.
pub(crate) struct Writer {
    pub store: Store,
    pub job: String,
    pub module: Arc<[u8]>,
    pub annotations: BTreeMap<String, String>,
}

impl Image {
    /// Copies a stopped program.
    ///
    /// # Errors
    /// If it holds what cannot be carried now, or there is no room for the copy. The program is
    /// as it was.
    pub fn of(run: &mut Run) -> Result<Image, String> {
        let state = run.state().map_err(|e| e.to_string())?;
        run.sync_files().map_err(|e| e.to_string())?;
        // One that no checkpoint comes to name does no harm.
        let mark = run.mark_files().map_err(|e| e.to_string())?;
        let mut memories = vec![];
        for (index, bytes) in run.memories().map_err(|e| e.to_string())? {
            // The pages that are not copied take no memory.
            let layout = Layout { minimum: bytes.len(), ..Layout::default() };
            let mut copy = LinearMemory::new(layout).map_err(|_| {
                format!("no room for a copy of memory {index}, {} bytes", bytes.len())
            })?;
            for (page, run) in nonzero_pages(bytes) {
                let start = page as usize * PAGE_SIZE;
                copy.bytes_mut()[start..start + run.len()].copy_from_slice(run);
            }
            memories.push((index, copy));
        }
        Ok(Image { state, memories, mark })
    }
}

impl Writer {
    /// Writes one; returns when it is durable.
    pub fn write(&self, image: &Image) -> Answer {
        let memories: Vec<MemoryPages<'_>> = image
            .memories
            .iter()
            .map(|(index, copy)| MemoryPages { index: *index, bytes: copy.bytes() })
            .collect();
        let mut annotations = self.annotations.clone();
        if let Some(mark) = image.mark {
            annotations.insert(annotations::MARK.to_owned(), format!("{mark:016x}"));
        }
        let new = NewCheckpoint {
            annotations,
            ..NewCheckpoint::new(&self.module, &image.state, &memories)
        };
        // A bug in here must not take the program with it.
        match catch_unwind(AssertUnwindSafe(|| self.store.save(&self.job, new))) {
            Ok(saved) => saved.map_err(|e| one_line(&e.to_string())),
            Err(_) => Err("the writer failed (a bug of dormouse's: please report it)".to_owned()),
        }
    }
}
