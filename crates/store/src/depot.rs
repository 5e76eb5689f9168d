//! Checkpoints kept elsewhere: in anything that can keep named objects.
//!
//! ```text
//!   store ──send──>  blobs/sha256/9a31..     those it does not have yet
//!                    checkpoints/sim/12      the manifest, last: now it is there
//!   store <──fetch── checkpoints/sim/12, then the blobs that the store lacks, each digest checked
//! ```
//!
//! Object stores, databases and HTTP servers can be one: whoever has such a thing implements four calls. (For OCI registries
//! there is `dormouse-registry`.)

use crate::blob::BlobRef;
use crate::error::StoreError;
use crate::import::Arrival;
use crate::job::{CheckpointInfo, check_name};
use crate::manifest::MAX_MANIFEST_LEN;
use crate::open::Store;
use std::io::Read;

/// What keeps objects by name. A name is made of `A-Z a-z 0-9 . _ - /`, and is at most 200 bytes long.
///
/// What goes wrong is said in one line.
pub trait Depot: Send + Sync {
    /// How many bytes an object has; `None` if there is none of that name.
    ///
    /// # Errors
    /// If nobody can tell.
    fn len(&self, name: &str) -> Result<Option<u64>, String>;

    /// Keeps an object of `len` bytes, in place of another of that name. When this returns, the object is as safe as it is going
    /// to be; until then nobody sees it, nor a part of it.
    ///
    /// # Errors
    /// If it could not be kept, or the bytes could not be read.
    fn put(&self, name: &str, len: u64, bytes: &mut dyn Read) -> Result<(), String>;

    /// The bytes of an object.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    fn get(&self, name: &str) -> Result<Box<dyn Read + '_>, String>;

    /// The names of all objects that begin with `prefix`, in any order.
    ///
    /// # Errors
    /// If nobody can tell.
    fn list(&self, prefix: &str) -> Result<Vec<String>, String>;
}

/// What [`Store::send`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// The checkpoint.
    pub checkpoint: CheckpointInfo,
    /// Blobs that the depot did not have.
    pub blobs: usize,
    /// Bytes of those.
    pub bytes: u64,
}

impl Store {
    /// Has a depot keep checkpoint `number` of `job`, or the newest that is good: the blobs that it does not have yet, then
    /// the manifest.
    ///
    /// # Errors
    /// As [`Store::export`]; [`StoreError::Depot`]; [`StoreError::Taken`] if the depot has another checkpoint of that name.
    /// Whatever goes wrong, those that it has are whole.
    pub fn send(&self, job: &str, number: Option<u64>, to: &dyn Depot) -> Result<Sent, StoreError> {
        let image = self.export(job, number)?;
        let name = object_of(job, image.info.number);
        let mut sent = Sent { checkpoint: image.info.clone(), blobs: 0, bytes: 0 };
        if to.len(&name).map_err(failed("look for", &name))?.is_some() {
            let there = manifest(to, &name)?;
            if there == image.manifest {
                return Ok(sent);
            }
            let found = crate::blob::name(&crate::blob::sha256(&there));
            let expected = image.info.digest.clone();
            return Err(StoreError::Taken { name: image.info.name(), found, expected });
        }
        for blob in &image.blobs {
            let name = blob_name(blob);
            if to.len(&name).map_err(failed("look for", &name))? == Some(blob.size) {
                continue;
            }
            let mut file = self.open_blob(blob)?;
            to.put(&name, blob.size, &mut file).map_err(failed("put", &name))?;
            sent.blobs += 1;
            sent.bytes += blob.size;
        }
        let mut bytes = &image.manifest[..];
        to.put(&name, bytes.len() as u64, &mut bytes).map_err(failed("put", &name))?;
        Ok(sent)
    }

    /// Takes checkpoint `number` of `job` out of a depot into the store, as [`Store::import`] does. Returns when it is
    /// durable.
    ///
    /// # Errors
    /// As [`Store::import`]; [`StoreError::Depot`]; [`StoreError::WrongBytes`]. The store has the checkpoints it had.
    pub fn fetch(
        &self,
        job: &str,
        number: u64,
        from: &dyn Depot,
    ) -> Result<CheckpointInfo, StoreError> {
        check_name(job)?;
        let bytes = manifest(from, &object_of(job, number))?;
        let incoming = match self.import(&bytes, None)? {
            Arrival::Here(info) => {
                named(&info, job, number)?;
                return Ok(info);
            }
            Arrival::Wanted(incoming) => incoming,
        };
        named(&incoming.info(), job, number)?;
        let mut buffer = vec![0; 256 << 10];
        for blob in incoming.missing() {
            let Some(mut part) = incoming.receive(blob)? else { continue };
            part.restart()?;
            let name = blob_name(blob);
            let mut bytes = from.get(&name).map_err(failed("get", &name))?;
            loop {
                let n = bytes.read(&mut buffer);
                match n.map_err(|e| failed("get", &name)(e.to_string()))? {
                    0 => break,
                    n => part.write(&buffer[..n])?,
                }
            }
            part.finish()?;
        }
        incoming.commit()
    }
}

/// The numbers of a job's checkpoints that a depot has, ascending.
///
/// # Errors
/// [`StoreError::Depot`].
pub fn kept(job: &str, depot: &dyn Depot) -> Result<Vec<u64>, StoreError> {
    check_name(job)?;
    let prefix = format!("checkpoints/{job}/");
    let names = depot.list(&prefix).map_err(failed("list", &prefix))?;
    let number = |name: &String| name.strip_prefix(&prefix)?.parse().ok();
    let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn object_of(job: &str, number: u64) -> String {
    format!("checkpoints/{job}/{number}")
}

fn blob_name(blob: &BlobRef) -> String {
    format!("blobs/{}", blob.name().replacen(':', "/", 1))
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(String) -> StoreError {
    let name = name.to_owned();
    move |why| StoreError::Depot { action, name, why: crate::error::one_line(why) }
}

fn manifest(depot: &dyn Depot, name: &str) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![];
    let object = depot.get(name).map_err(failed("get", name))?;
    let read = object.take(MAX_MANIFEST_LEN + 1).read_to_end(&mut bytes);
    read.map_err(|e| failed("get", name)(e.to_string()))?;
    Ok(bytes)
}

/// A depot that gives another checkpoint than was asked for.
fn named(info: &CheckpointInfo, job: &str, number: u64) -> Result<(), StoreError> {
    if (info.job.as_str(), info.number) == (job, number) {
        return Ok(());
    }
    let why = format!("{} lies where {job}@{number} should", info.name());
    Err(StoreError::Foreign { why })
}
