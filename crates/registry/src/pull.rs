//! A checkpoint from a registry.
//!
//! ```text
//!   manifest: at most 4 MiB; is it a checkpoint, of a version we know, of sizes that can be? ── before anything else
//!      └──> blobs that the store lacks ──> everything is checked ──> the list of the store
//! ```
//!
//! Until the end the store has the checkpoints it had. What was fetched before a pull was cut short stays, and is not
//! fetched again.

use crate::client::Client;
use crate::{Error, Options, Reference, blob, manifest, parallel};
use dormouse_store::{Arrival, BlobRef, CheckpointInfo, Store, StoreError};

/// What a pull did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pulled {
    /// The checkpoint, as it is in the store now.
    pub checkpoint: CheckpointInfo,
    /// Digest of the manifest in the registry, as `sha256:...`.
    pub digest: String,
    /// Blobs that the store did not have.
    pub fetched: usize,
    /// Bytes of them that came this time.
    pub fetched_bytes: u64,
    /// The store had all of it already, and nothing was changed.
    pub already: bool,
}

/// Fetches a checkpoint into the store, as the job and number that it was saved as; with `name` as that job, and its next
/// number.
///
/// # Errors
/// Whatever goes wrong, the store has the checkpoints it had.
pub fn pull(
    store: &Store,
    from: &Reference,
    name: Option<&str>,
    options: &Options<'_>,
) -> Result<Pulled, Error> {
    let client = Client::new(from, options.plain_http, false);
    let bytes = manifest::get(&client)?;
    let digest = manifest::digest(&bytes);
    let incoming = match store.import(&bytes, name).map_err(|error| explain(from, error))? {
        Arrival::Here(checkpoint) => {
            return Ok(Pulled { checkpoint, digest, fetched: 0, fetched_bytes: 0, already: true });
        }
        Arrival::Wanted(incoming) => incoming,
    };
    let missing = incoming.missing();
    let total = missing.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.size));
    let progress = options.counter(total);
    let fetch = |blob: &BlobRef| blob::download(&client, &incoming, blob, &progress);
    let fetched_bytes = parallel::each(missing, fetch)?.into_iter().sum();
    let fetched = missing.len();
    let checkpoint = incoming.commit().map_err(|error| explain(from, error))?;
    Ok(Pulled { checkpoint, digest, fetched, fetched_bytes, already: false })
}

/// The store knows what is wrong, but not whence it came.
fn explain(from: &Reference, error: StoreError) -> Error {
    let reference = from.to_string();
    match error {
        StoreError::Foreign { why } => Error::NotACheckpoint { reference, why },
        StoreError::Unsupported { what, .. } => Error::Newer { reference, what },
        StoreError::Damaged(damage) => Error::NotACheckpoint { reference, why: damage.to_string() },
        error => Error::Store(error),
    }
}
