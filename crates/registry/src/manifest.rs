//! Manifests on their way, either way.

use crate::Error;
use crate::client::{Client, Content, Request, body, said};
use crate::reference::is_digest;
use dormouse_store::{MAX_MANIFEST_LEN, hex, sha256};
use serde::Deserialize;
use std::io::Read;
use ureq::http::{HeaderName, Method, header};

const MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The others only to say what there is instead of a checkpoint.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Tags that are told where one is missing.
const SHOWN: usize = 10;

/// `sha256:...` of these bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&sha256(bytes)))
}

/// The digest of what is there under the reference, if anything is and the registry tells.
pub(crate) fn find(client: &Client) -> Result<Option<String>, Error> {
    let request = Request {
        method: Method::HEAD,
        url: client.url(&format!("manifests/{}", client.reference.manifest())),
        headers: vec![(header::ACCEPT, ACCEPT.to_owned())],
        body: Content::None,
        action: "say whether it has a manifest",
    };
    let response = client.ask(&request)?;
    let digest = response.headers().get(DIGEST).and_then(|d| d.to_str().ok());
    let digest = digest.filter(|d| response.status() == 200 && is_digest(d));
    Ok(digest.map(str::to_owned))
}

/// Gives it a name; only now others see it.
pub(crate) fn put(client: &Client, bytes: &[u8]) -> Result<(), Error> {
    let action = "take a manifest";
    let request = Request {
        method: Method::PUT,
        url: client.url(&format!("manifests/{}", client.reference.manifest())),
        headers: vec![(header::CONTENT_TYPE, MEDIA_TYPE.to_owned())],
        body: Content::Bytes(bytes),
        action,
    };
    let mut response = client.ask(&request)?;
    if !response.status().is_success() {
        return Err(client.unexpected(action, &mut response));
    }
    let expected = digest(bytes);
    match response.headers().get(DIGEST).and_then(|d| d.to_str().ok()) {
        Some(found) if is_digest(found) && found != expected => Err(Error::WrongBytes {
            registry: client.reference.registry().to_owned(),
            expected,
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What is there, whatever it is; its digest is that of the reference if that has one.
pub(crate) fn get(client: &Client) -> Result<Vec<u8>, Error> {
    let action = "give a manifest";
    let request = Request {
        method: Method::GET,
        url: client.url(&format!("manifests/{}", client.reference.manifest())),
        headers: vec![(header::ACCEPT, ACCEPT.to_owned())],
        body: Content::None,
        action,
    };
    let mut response = client.ask(&request)?;
    match response.status().as_u16() {
        200 => {}
        404 => return Err(missing(client, &body(&mut response))),
        _ => return Err(client.unexpected(action, &mut response)),
    }
    let mut bytes = vec![];
    let mut reader = response.body_mut().as_reader().take(MAX_MANIFEST_LEN + 1);
    if let Err(error) = reader.read_to_end(&mut bytes) {
        return Err(*crate::client::fault(client.reference.registry(), error.into()).error);
    }
    let found = digest(&bytes);
    match client.reference.digest() {
        Some(expected) if expected != found && bytes.len() as u64 <= MAX_MANIFEST_LEN => {
            Err(Error::WrongBytes {
                registry: client.reference.registry().to_owned(),
                expected: expected.to_owned(),
                found,
            })
        }
        _ => Ok(bytes),
    }
}

/// Whether it is the repository that is not there, or the tag.
fn missing(client: &Client, body: &[u8]) -> Error {
    let tags = tags(client);
    match (&*said(body).0, &tags) {
        ("NAME_UNKNOWN", _) | (_, None) => Error::NoSuchName {
            registry: client.reference.registry().to_owned(),
            name: client.reference.name().to_owned(),
        },
        (_, Some(have)) => {
            Error::NoSuchTag { reference: client.reference.to_string(), have: have.clone() }
        }
    }
}

/// Some of the tags that are there, the last ones. `None` if there is no such repository.
fn tags(client: &Client) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Tags {
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let request = Request {
        method: Method::GET,
        url: client.url("tags/list?n=1000"),
        headers: vec![],
        body: Content::None,
        action: "list tags",
    };
    let Ok(mut response) = client.once(&request) else {
        return Some(vec![]);
    };
    if response.status() == 404 {
        return None;
    }
    let parsed: Option<Tags> = serde_json::from_slice(&body(&mut response)).ok();
    let mut tags = parsed.and_then(|t| t.tags).unwrap_or_default();
    // Numbers by their value, before words.
    tags.sort_by_key(|tag| {
        (tag.parse::<u64>().is_err(), tag.parse::<u64>().unwrap_or(0), tag.clone())
    });
    let first = tags.len().saturating_sub(SHOWN);
    Some(tags[first..].iter().map(|tag| crate::error::quoted(tag)).collect())
}
