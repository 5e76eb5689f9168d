//! Checkpoints to and from any OCI registry.
//!
//! ```text
//!   store ──push──> registry.example/sims/heat:12 ──pull──> store
//!            │                                       │
//!            └ blobs it lacks, then the manifest     └ manifest, blobs the store lacks, then the list
//! ```
//!
//! A checkpoint is an OCI image already (see [`dormouse_store`]), so nothing is converted: the manifest goes up and
//! comes down byte for byte, and its digest names the same checkpoint everywhere. The protocol is that of the
//! [OCI distribution specification](https://github.com/opencontainers/distribution-spec), in `client` (requests,
//! [who we are](credentials), trying again), `blob` and `manifest`. It is spoken with blocking requests on a few
//! threads; there is no asynchronous runtime in here.
//!
//! ```
//! use dormouse_registry::{Error, Options, Reference, pull};
//! use dormouse_store::Store;
//!
//! let dir = tempfile::tempdir()?;
//! let store = Store::create_or_open(&dir.path().join("store"))?;
//! // Nobody listens there.
//! let from: Reference = "localhost:1/sims/heat:12".parse()?;
//! let refused = pull(&store, &from, None, &Options::default()).unwrap_err();
//! assert!(matches!(refused, Error::Unreachable { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod auth;
mod blob;
mod client;
mod credentials;
mod error;
mod manifest;
mod parallel;
mod pull;
mod push;
mod reference;

pub use error::Error;
pub use pull::{Pulled, pull};
pub use push::{Pushed, push};
pub use reference::Reference;

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// How to push and pull.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Speaks HTTP without TLS; with a registry on this very machine that is done anyway.
    pub plain_http: bool,
    /// Hears how many bytes are done, and how many there are in all; called often, and by several threads.
    pub progress: Option<&'a (dyn Fn(u64, u64) + Sync)>,
}

impl Options<'_> {
    /// Adds up what is done of `total` bytes, and tells.
    fn counter(&self, total: u64) -> impl Fn(i64) + Sync {
        let done = AtomicI64::new(0);
        move |n| {
            let now = done.fetch_add(n, Relaxed) + n;
            if let Some(progress) = self.progress {
                progress(now.max(0) as u64, total);
            }
        }
    }
}
