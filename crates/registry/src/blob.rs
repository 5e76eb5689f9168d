//! Blobs on their way, either way.
//!
//! ```text
//!   up     HEAD blobs/D ─ 200: it is there
//!            └ 404: POST uploads/ ─> Location ─ PATCH 32 MiB ─> Location ─ .. ─ PUT ?digest=D
//!                                                 └ cut off: GET Location says how far it came
//!   down   GET blobs/D ─> part ─ cut off: GET with Range, from where it stopped
//! ```

use crate::Error;
use crate::client::{Client, Content, Fault, Patience, Request};
use dormouse_store::{BlobRef, Incoming, Store, StoreError};
use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use ureq::http::{Method, Response, header};
use ureq::{Body, ResponseExt as _};

/// Bytes that are sent at once. What is smaller goes in one piece.
const CHUNK_LEN: u64 = 32 << 20;
/// How often all chunks of a blob may be taken without its end being taken.
const WHOLE_TRIES: u32 = 3;

/// Sends a blob unless the registry has it; whether it was sent. `progress` hears of bytes, and of bytes that have to be
/// sent once more as negative ones.
pub(crate) fn upload(
    client: &Client,
    store: &Store,
    blob: &BlobRef,
    progress: &dyn Fn(i64),
) -> Result<bool, Error> {
    if has(client, blob)? {
        progress(blob.size as i64);
        return Ok(false);
    }
    let file = store.open_blob(blob)?;
    let chunked = Cell::new(blob.size > CHUNK_LEN);
    let (furthest, wholes) = (Cell::new(0), Cell::new(0));
    let upload = Upload { client, blob, file: &file, progress, chunked, furthest, wholes };
    let mut patience = Patience::default();
    loop {
        let counted = Cell::new(0);
        match upload.run(&counted, &mut patience) {
            Ok(()) => return Ok(true),
            Err(fault) => {
                progress(-(counted.get() as i64));
                if upload.wholes.get() >= WHOLE_TRIES {
                    return Err(*fault.error);
                }
                patience.wait(client, fault)?;
            }
        }
        // The answer to the last request may be all that was lost.
        if has(client, blob)? {
            progress(blob.size as i64);
            return Ok(true);
        }
    }
}

fn has(client: &Client, blob: &BlobRef) -> Result<bool, Error> {
    let action = "say whether it has a blob";
    let url = client.url(&format!("blobs/{}", blob.name()));
    let request =
        Request { method: Method::HEAD, url, headers: vec![], body: Content::None, action };
    let mut response = client.ask(&request)?;
    match response.status().as_u16() {
        200 => Ok(true),
        404 => Ok(false),
        _ => Err(client.unexpected(action, &mut response)),
    }
}

struct Upload<'a> {
    client: &'a Client,
    blob: &'a BlobRef,
    file: &'a File,
    progress: &'a dyn Fn(i64),
    chunked: Cell<bool>,
    /// How far any of the tries came.
    furthest: Cell<u64>,
    /// In how many of them all chunks were taken.
    wholes: Cell<u32>,
}

impl Upload<'_> {
    const ACTION: &'static str = "take a blob";

    /// From the beginning. `counted`: what `progress` has heard.
    fn run(&self, counted: &Cell<u64>, patience: &mut Patience) -> Result<(), Fault> {
        let begin =
            self.request(Method::POST, self.client.url("blobs/uploads/"), Content::Bytes(&[]));
        let mut response = self.client.once(&begin)?;
        if response.status() != 202 {
            return Err(match response.status().as_u16() {
                404 => Error::NoSuchName {
                    registry: self.client.reference.registry().to_owned(),
                    name: self.client.reference.name().to_owned(),
                },
                _ => self.client.unexpected(Self::ACTION, &mut response),
            }
            .into());
        }
        let mut url = self.location(&response)?;
        let mut at = 0;
        let sent = |n: u64| {
            counted.set(counted.get() + n);
            (self.progress)(n as i64);
        };
        while self.chunked.get() && at < self.blob.size {
            let len = CHUNK_LEN.min(self.blob.size - at);
            let part = Content::Part { file: self.file, from: at, len, sent: &sent };
            let mut patch = self.request(Method::PATCH, url.clone(), part);
            patch.headers.push((header::CONTENT_TYPE, "application/octet-stream".to_owned()));
            patch.headers.push((header::CONTENT_RANGE, format!("{at}-{}", at + len - 1)));
            let before = counted.get();
            let mut response = match self.client.once(&patch) {
                Ok(response) => response,
                Err(fault) => {
                    patience.wait(self.client, fault)?;
                    (url, at) = self.how_far(url)?;
                    // What is to be sent once more.
                    (self.progress)(at as i64 - counted.get() as i64);
                    counted.set(at);
                    continue;
                }
            };
            match response.status().as_u16() {
                201 | 202 | 204 => {
                    url = self.location(&response)?;
                    at += len;
                    if is_further(&self.furthest, at) {
                        patience.renew();
                    }
                }
                // Not every registry takes chunks: in one piece, then.
                400..500 if before == at => {
                    self.chunked.set(false);
                    return Err(Fault::passing(
                        self.client.unexpected(Self::ACTION, &mut response),
                    ));
                }
                _ => return Err(self.client.unexpected(Self::ACTION, &mut response).into()),
            }
        }
        if self.chunked.get() {
            self.wholes.set(self.wholes.get() + 1);
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}digest={}", self.blob.name());
        let rest = match self.blob.size - at {
            0 => Content::Bytes(&[]),
            len => Content::Part { file: self.file, from: at, len, sent: &sent },
        };
        let mut put = self.request(Method::PUT, url, rest);
        put.headers.push((header::CONTENT_TYPE, "application/octet-stream".to_owned()));
        let mut response = self.client.once(&put)?;
        match response.status().as_u16() {
            201 | 204 => Ok(()),
            _ => Err(self.client.unexpected(Self::ACTION, &mut response).into()),
        }
    }

    fn request<'a>(&self, method: Method, url: String, body: Content<'a>) -> Request<'a> {
        Request { method, url, headers: vec![], body, action: Self::ACTION }
    }

    fn location(&self, response: &Response<Body>) -> Result<String, Error> {
        let location = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
        let location =
            location.ok_or_else(|| self.client.strange("it does not say where to send a blob"))?;
        self.client.resolve(location)
    }

    /// How much has come, after a request that was cut off, and where the rest goes.
    fn how_far(&self, url: String) -> Result<(String, u64), Fault> {
        let request = self.request(Method::GET, url.clone(), Content::None);
        let response = self.client.ask(&request).map_err(Fault::passing)?;
        let range = response.headers().get(header::RANGE).and_then(|r| r.to_str().ok());
        let last = range.and_then(|r| r.rsplit_once('-')?.1.parse::<u64>().ok());
        match (response.status().as_u16(), last) {
            // Nothing came: registries write that as 0-0, like one byte.
            (204, None | Some(0)) => Ok((self.location(&response).unwrap_or(url), 0)),
            (204, Some(last)) if last < self.blob.size => {
                Ok((self.location(&response).unwrap_or(url), last + 1))
            }
            // It has forgotten about it.
            _ => Err(Fault::passing(
                self.client.strange("it does not know how much of a blob has come"),
            )),
        }
    }
}

/// Fetches a blob that the store lacks; how many bytes were fetched.
pub(crate) fn download(
    client: &Client,
    incoming: &Incoming<'_>,
    blob: &BlobRef,
    progress: &dyn Fn(i64),
) -> Result<u64, Error> {
    let Some(mut part) = incoming.receive(blob)? else {
        // Another process was faster.
        progress(blob.size as i64);
        return Ok(0);
    };
    progress(part.len() as i64);
    let mut fetched = 0;
    let mut patience = Patience::default();
    // Whether all of the bytes are of this one answer: only then are wrong ones the registry's fault for sure.
    let mut whole = part.len() == 0;
    let mut begun_anew = false;
    let furthest = Cell::new(part.len());
    loop {
        while part.len() < blob.size {
            let end = attempt(client, &mut part, blob, progress, &mut fetched);
            if is_further(&furthest, part.len()) {
                patience.renew();
            }
            match end {
                Ok(()) => {}
                Err(fault) => {
                    patience.wait(client, fault)?;
                    whole &= part.len() == 0;
                }
            }
        }
        match part.finish() {
            Ok(()) => return Ok(fetched),
            // Once: a registry that damages bytes and breaks off too would be asked for ever.
            Err(StoreError::WrongBytes { .. }) if !whole && !begun_anew => {
                tracing::debug!(
                    "{} came in parts that do not fit together; once more",
                    blob.name()
                );
                progress(-(blob.size as i64));
                (whole, begun_anew) = (true, true);
                furthest.set(0);
                part = match incoming.receive(blob)? {
                    Some(part) => part,
                    None => return Ok(fetched),
                };
            }
            Err(StoreError::WrongBytes { expected, found }) => {
                let registry = client.reference.registry().to_owned();
                return Err(Error::WrongBytes { registry, expected, found });
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// One request for what is left.
fn attempt(
    client: &Client,
    part: &mut dormouse_store::Part<'_>,
    blob: &BlobRef,
    progress: &dyn Fn(i64),
    fetched: &mut u64,
) -> Result<(), Fault> {
    let action = "give a blob";
    let url = client.url(&format!("blobs/{}", blob.name()));
    let mut headers = vec![];
    if part.len() > 0 {
        headers.push((header::RANGE, format!("bytes={}-", part.len())));
    }
    let request = Request { method: Method::GET, url, headers, body: Content::None, action };
    let mut response = client.once(&request)?;
    let again = |part: &mut dormouse_store::Part<'_>| -> Result<(), Fault> {
        progress(-(part.len() as i64));
        Ok(part.restart().map_err(Error::from)?)
    };
    match response.status().as_u16() {
        200 if part.len() > 0 => again(part)?,
        200 => {}
        206 if begins(&response) == Some(part.len()) => {}
        206 | 416 => {
            again(part)?;
            return Err(Fault::passing(client.strange("it answers with another range")));
        }
        404 => {
            return Err(Error::NoSuchBlob {
                reference: client.reference.to_string(),
                digest: blob.name(),
            }
            .into());
        }
        _ => return Err(client.unexpected(action, &mut response).into()),
    }
    let from = response.get_uri().host().unwrap_or_default().to_owned();
    let mut reader = response.body_mut().as_reader();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) if part.len() == blob.size => return Ok(()),
            Ok(0) => {
                let why = format!("{from} ended the transfer early");
                let registry = client.reference.registry().to_owned();
                return Err(Fault::passing(Error::Unreachable { registry, why }));
            }
            Ok(n) if part.len() + n as u64 > blob.size => {
                let came = part.len() + n as u64;
                let registry = client.reference.registry().to_owned();
                let (digest, size) = (blob.name(), blob.size);
                part.restart().map_err(Error::from)?;
                return Err(Error::WrongLength { registry, digest, size, came }.into());
            }
            Ok(n) => {
                part.write(&buffer[..n]).map_err(Error::from)?;
                *fetched += n as u64;
                progress(n as i64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(crate::client::fault(client.reference.registry(), error.into()));
            }
        }
    }
}

/// Whether a transfer has come further than ever before. Only that renews the patience: a transfer that begins again at
/// the beginning each time comes forward too, but not to an end.
fn is_further(furthest: &Cell<u64>, at: u64) -> bool {
    at > furthest.replace(furthest.get().max(at))
}

/// `Content-Range: bytes 100-199/200`: 100
fn begins(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_ground_counts() {
        let furthest = Cell::new(10);
        // A download that starts again at 0 each time, and breaks off anywhere.
        let came = [10, 3, 11, 11, 4, 7, 12, 0, 12];
        let further = came.map(|at| is_further(&furthest, at));
        assert_eq!(further, [false, false, true, false, false, false, true, false, false]);
        assert_eq!(furthest.get(), 12);
    }
}
