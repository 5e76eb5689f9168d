//! What can go wrong between here and a registry, and what to do about it.

use dormouse_store::StoreError;
use std::path::PathBuf;

/// Why a checkpoint could not be pushed or pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the name of an image.
    #[error(
        "\"{text}\" does not name an image: {why}; write REGISTRY/NAME:TAG, such as registry.example/sims/heat:12"
    )]
    BadReference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A checkpoint is pushed under a digest, which it has or has not.
    #[error(
        "{reference} names a digest, but a checkpoint is pushed under a tag; write REGISTRY/NAME:TAG"
    )]
    PushToDigest {
        /// What was given.
        reference: String,
    },
    /// Nobody answers.
    #[error(
        "cannot reach the registry {registry}: {why}; check its name and the network, then try again"
    )]
    Unreachable {
        /// Host and port.
        registry: String,
        /// What the system said.
        why: String,
    },
    /// It answers, but no certificate is to be trusted.
    #[error(
        "cannot speak TLS with the registry {registry}: {why}; if it has a certificate of your own, let the system trust \
         it; if it speaks plain HTTP, and you trust the network, add --plain-http"
    )]
    Tls {
        /// Host and port.
        registry: String,
        /// What is wrong.
        why: String,
    },
    /// It sends us to a place without TLS.
    #[error(
        "the registry {registry} sends us on to {to}, which is not encrypted; nothing was sent there"
    )]
    Downgrade {
        /// Host and port.
        registry: String,
        /// The address.
        to: String,
    },
    /// It wants to know who we are, or does not believe us.
    #[error("the registry {registry} does not let us {action} {name}: {why}; {}", login(*known, registry))]
    Unauthorised {
        /// Host and port.
        registry: String,
        /// `pull` or `push`.
        action: &'static str,
        /// The repository.
        name: String,
        /// What it said.
        why: String,
        /// Whether we had a name and a password for it.
        known: bool,
    },
    /// The credentials cannot be read.
    #[error("cannot get the credentials for {registry} from {}: {why}; `docker login {registry}` writes them anew", path.display())]
    Credentials {
        /// Host and port.
        registry: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No such repository.
    #[error(
        "the registry {registry} has no {name}; check the name (it may also be one that you may not see: then log in)"
    )]
    NoSuchName {
        /// Host and port.
        registry: String,
        /// The repository.
        name: String,
    },
    /// No such tag or digest.
    #[error("{reference} is not there; {}", tags(have))]
    NoSuchTag {
        /// What was asked for.
        reference: String,
        /// Tags that are there.
        have: Vec<String>,
    },
    /// The registry has the manifest, but not all that it names.
    #[error("{reference} is not whole: the registry has lost {digest}; push it again")]
    NoSuchBlob {
        /// What was asked for.
        reference: String,
        /// The blob.
        digest: String,
    },
    /// Another kind of image.
    #[error("{reference} is not a checkpoint of dormouse: {why}")]
    NotACheckpoint {
        /// What was asked for.
        reference: String,
        /// How that can be told.
        why: String,
    },
    /// Written by a dormouse that knows more than this one.
    #[error("{reference} holds {what}; use a newer dormouse")]
    Newer {
        /// What was asked for.
        reference: String,
        /// What is in it.
        what: String,
    },
    /// Other bytes came than were asked for.
    #[error(
        "the registry {registry} sent other bytes than those of {expected}: their digest is {found}; nothing of them was kept. It is damaged there, or on the way: try again, or push it again"
    )]
    WrongBytes {
        /// Host and port.
        registry: String,
        /// The digest that was asked for.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// More or fewer bytes came than were announced.
    #[error(
        "the registry {registry} sent {came} bytes of {digest}, which has {size}; nothing of them is used"
    )]
    WrongLength {
        /// Host and port.
        registry: String,
        /// The blob.
        digest: String,
        /// Its size.
        size: u64,
        /// How many came, at least.
        came: u64,
    },
    /// It said no, for another reason.
    #[error("the registry {registry} cannot {action}: it answers {status}{}", said(message))]
    Refused {
        /// Host and port.
        registry: String,
        /// What was tried.
        action: String,
        /// The HTTP status.
        status: u16,
        /// What it said, in one line.
        message: String,
    },
    /// It does not keep to the protocol.
    #[error("the registry {registry} cannot be understood: {why}; is it an OCI registry?")]
    Strange {
        /// Host and port.
        registry: String,
        /// What is wrong.
        why: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A blob of the store cannot be read while it is sent.
    #[error("cannot read {digest} of the store: {source}")]
    Read {
        /// The blob.
        digest: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

fn login(known: bool, registry: &str) -> String {
    match known {
        false => format!(
            "`docker login {registry}` (or podman's or skopeo's login) tells it who you are"
        ),
        true => {
            format!("log in again with `docker login {registry}`, or ask for the right to do that")
        }
    }
}

fn tags(have: &[String]) -> String {
    match have {
        [] => "check the tag".to_owned(),
        have => format!("there are: {}", have.join(", ")),
    }
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" ({message})") }
}

/// What a registry says may hold anything, at any length: no line ends, nothing a terminal obeys.
pub(crate) fn quoted(text: &str) -> String {
    let clean: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    clean.trim().to_owned()
}
