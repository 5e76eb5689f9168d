//! The store: checkpoints made durable in an OCI image layout directory.
//!
//! ```text
//!   store/
//!    ├─ oci-layout            says that this is an OCI image layout
//!    ├─ index.json            one entry a checkpoint: "job@N" -> manifest
//!    ├─ .dormouse.lock        held (shared) while a checkpoint is being saved
//!    ├─ .dormouse-index.lock  held while index.json is being replaced
//!    └─ blobs/sha256/
//!        ├─ 5f0c..            manifest: config = the state, layers = module, memories
//!        ├─ 9a31..            state     application/vnd.dormouse.state.v1
//!        ├─ e220..            module    application/wasm (shared by all checkpoints)
//!        ├─ 7b6d..            memory    application/vnd.dormouse.memory.v1+zstd
//!        ├─ 1c44..            files     application/vnd.oci.image.layer.v1.tar+zstd
//!        ├─ .tmp-..           of a save that is going on, or died
//!        └─ .part-e220..      what has arrived of a blob that is being pulled
//! ```
//!
//! A save writes its blobs to temporary names and syncs them, renames them, syncs the directory, and
//! replaces `index.json` last, in the same way; only then does [`Store::save`] return. Whatever
//! happens before, every older checkpoint stays as it was. A load checks every digest, and
//! falls back to the newest good checkpoint. Old ones go by hand ([`Store::remove`]) or by rules
//! ([`Store::retain`]), and with them the blobs that nothing needs any more. `docs/format.md` describes the files byte for byte.
//!
//! ```
//! use dormouse_state::{Frame, Memory, Site, State};
//! use dormouse_store::{MemoryPages, NewCheckpoint, Store, sha256};
//!
//! let dir = tempfile::tempdir()?;
//! let store = Store::create_or_open(&dir.path().join("store"))?;
//!
//! let module = b"\0asm\x01\0\0\0";
//! let state = State {
//!     module_digest: sha256(module),
//!     frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
//!     globals: vec![],
//!     tables: vec![],
//!     exceptions: vec![],
//!     memories: vec![Memory { index: 0, pages: 1 }],
//!     dropped_data: vec![],
//!     dropped_elems: vec![],
//!     wasi: vec![],
//!     host: vec![],
//! };
//! let mut memory = vec![0; 65536];
//! memory[70] = 1;
//! let memories = [MemoryPages::whole(0, &memory)];
//! let saved = store.save("sim", NewCheckpoint::new(module, &state, &memories))?;
//! assert_eq!(saved.name(), "sim@1");
//!
//! let checkpoint = store.load("sim", None)?;
//! let mut again = vec![0; 65536];
//! checkpoint.read_memory(0, &mut again)?;
//! assert_eq!((checkpoint.state, again), (state, memory));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]

mod archive;
mod blob;
mod depot;
mod entries;
mod error;
mod export;
#[cfg(all(test, unix))]
mod fault_chain_tests;
#[cfg(all(test, unix))]
mod fault_gc_tests;
#[cfg(all(test, unix))]
mod fault_tests;
mod files;
mod fs;
mod gc;
mod import;
mod index;
mod job;
mod layer;
mod load;
mod load_again;
mod manifest;
mod meter;
mod open;
mod pages;
mod parent;
mod part;
mod prepare;
mod reach;
mod retention;
#[cfg(test)]
mod retention_tests;
mod save;
#[cfg(feature = "encryption")]
mod seal;
#[cfg(not(feature = "encryption"))]
#[path = "unsealed.rs"]
mod seal;
mod sizes;
mod verify;

pub use blob::{BlobRef, hex, sha256};
pub use depot::{Depot, Sent, kept};
pub use entries::{Entry as TarEntry, Reader as TarReader};
pub use error::{Damage, DamageKind, StoreError};
pub use export::Image;
pub use files::{FILES_MEDIA_TYPE, FileKind, FileTree, MAX_FILE_NAMES, MAX_FILES, NewFiles};
pub use gc::{Care, GcReport};
pub use import::{Arrival, Incoming, MAX_BLOBS, MAX_LAYER_LEN};
pub use job::{CheckpointInfo, JobSummary};
pub use layer::{
    BadLayer, FRAME_PAGES, Kind, LayerError, MemoryLayer, Overlay, PAGE_SIZE, PageReader, ReadAt,
    Runs, Stored, WASM_PAGE_SIZE, write_base, write_changes, write_memory_layer,
};
pub use load::{Checkpoint, CheckpointPages};
pub use manifest::{
    ARTIFACT_TYPE, CHANGES_MEDIA_TYPE, MAX_MANIFEST_LEN, MAX_MODULE_LEN, MEMORY_MEDIA_TYPE,
    MODULE_MEDIA_TYPE, STATE_MEDIA_TYPE,
};
pub use meter::{Meter, Work};
pub use open::Store;
pub use pages::{Content, MemoryPages};
pub use parent::{MAX_LAYERS, Parent, Squashed};
pub use part::Part;
pub use prepare::Prepared;
pub use retention::{OverQuota, Retention};
pub use save::{Guard, NewCheckpoint};
#[cfg(feature = "encryption")]
pub use seal::Keys;
pub use sizes::{CheckpointSizes, Sizes, StoreSizes};
pub use verify::VerifyReport;
