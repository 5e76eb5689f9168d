//! A checkpoint to a registry.
//!
//! ```text
//!   store ── image, all of it checked ──> blobs that the registry lacks ──> manifest under its tag
//! ```
//!
//! The tag is set last: whoever pulls finds a whole checkpoint or none. What was sent before a push was cut
//! short is not sent again.

use crate::client::Client;
use crate::{Error, Options, Reference, blob, manifest, parallel};
use dormouse_store::{BlobRef, CheckpointInfo, Damage, Store};

/// What a push did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pushed {
    /// The checkpoint.
    pub checkpoint: CheckpointInfo,
    /// Where it is, with its tag.
    pub reference: Reference,
    /// Blobs it consists of, without the manifest.
    pub blobs: usize,
    /// Blobs that the registry did not have.
    pub sent: usize,
    /// Bytes of those.
    pub sent_bytes: u64,
    /// What was there under the tag until now, as `sha256:...`.
    pub replaced: Option<String>,
    /// Damage in the store: newer checkpoints that were passed over.
    pub warnings: Vec<Damage>,
}

/// Sends checkpoint `number` of `job`, the newest good one without, to where `to` says; its number is the tag if there is
/// none.
///
/// # Errors
/// Whatever goes wrong, nothing is seen under the tag that was not there before.
pub fn push(
    store: &Store,
    job: &str,
    number: Option<u64>,
    to: &Reference,
    options: &Options<'_>,
) -> Result<Pushed, Error> {
    if to.digest().is_some() {
        return Err(Error::PushToDigest { reference: to.to_string() });
    }
    let image = store.export(job, number)?;
    let reference = to.clone().or_tag(image.info.number);
    let client = Client::new(&reference, options.plain_http, true);
    let before = manifest::find(&client)?;
    let mut pushed = Pushed {
        checkpoint: image.info.clone(),
        reference,
        blobs: image.blobs.len(),
        sent: 0,
        sent_bytes: 0,
        replaced: None,
        warnings: image.warnings.clone(),
    };
    if before.as_deref() == Some(image.info.digest.as_str()) {
        return Ok(pushed);
    }
    let total = image.blobs.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.size));
    let progress = options.counter(total);
    let send = |blob: &BlobRef| {
        let sent = blob::upload(&client, store, blob, &progress)?;
        Ok::<_, Error>(if sent { Some(blob.size) } else { None })
    };
    for size in parallel::each(&image.blobs, send)?.into_iter().flatten() {
        pushed.sent += 1;
        pushed.sent_bytes += size;
    }
    manifest::put(&client, &image.manifest)?;
    pushed.replaced = before;
    Ok(pushed)
}
