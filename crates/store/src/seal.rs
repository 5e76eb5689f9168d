//! Encryption at rest: parts of a checkpoint that only holders of a key can read.
//!
//! ```text
//!   part -> age (X25519, ChaCha20-Poly1305 in chunks of 64 KiB) -> blob       its digest is of what is stored
//!            |-- for every recipient that was named
//!            '-- for a key of this process alone: to build on its own layers it needs no secret of the user's
//! ```
//!
//! State and memory layers are sealed; the module on request; manifests and the list are not. A sealed part has `+age` behind
//! its media type, and is an age file (<https://age-encryption.org/v1>): the command `age -d` opens it too.

use crate::blob::{Staged, Stager};
use crate::error::{Bad, StoreError, Subject};
use crate::layer::ReadAt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Who is to read what is saved, and what can be read here.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use dormouse_store::{Keys, Store};
///
/// let secret = age::x25519::Identity::generate();
/// let keys = Keys::default().recipient(&secret.to_public().to_string())?;
/// let store = Store::create_or_open(&dir.path().join("store"))?.with_keys(keys);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Keys {
    recipients: Vec<Arc<dyn age::Recipient + Send + Sync>>,
    identities: Vec<Arc<dyn age::Identity + Send + Sync>>,
    /// The module too.
    module: bool,
}

impl std::fmt::Debug for Keys {
    /// How many; never the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (recipients, identities) = (self.recipients.len(), self.identities.len());
        write!(f, "Keys({recipients} recipients, {identities} identities)")
    }
}

impl Keys {
    /// Seals what is saved for a recipient: `age1...`.
    ///
    /// # Errors
    /// [`StoreError::BadKey`] if it is none.
    pub fn recipient(mut self, text: &str) -> Result<Keys, StoreError> {
        let bad = |why: &str| StoreError::BadKey {
            what: format!("\"{text}\" is not a recipient: {why}"),
        };
        if self.recipients.is_empty() {
            let own = age::x25519::Identity::generate();
            self.recipients.push(Arc::new(own.to_public()));
            self.identities.push(Arc::new(own));
        }
        let recipient = age::x25519::Recipient::from_str(text).map_err(bad)?;
        self.recipients.push(Arc::new(recipient));
        Ok(self)
    }

    /// Opens what was sealed for one of these identities: the contents of a file as `age-keygen` writes it.
    ///
    /// # Errors
    /// [`StoreError::BadKey`] if there is none in it.
    pub fn identities(mut self, text: &str) -> Result<Keys, StoreError> {
        let bad =
            |why: String| StoreError::BadKey { what: format!("no identity can be read: {why}") };
        let file =
            age::IdentityFile::from_buffer(text.as_bytes()).map_err(|e| bad(e.to_string()))?;
        let found = file.into_identities().map_err(|e| bad(e.to_string()))?;
        if found.is_empty() {
            return Err(bad("there is no line that begins with AGE-SECRET-KEY-".to_owned()));
        }
        self.identities.extend(found.into_iter().map(Arc::from));
        Ok(self)
    }

    /// Whether the module is sealed too; by default not.
    pub fn seal_module(mut self, seal: bool) -> Keys {
        self.module = seal;
        self
    }

    /// Whether states and memories are sealed.
    pub(crate) fn seal(&self) -> bool {
        !self.recipients.is_empty()
    }

    pub(crate) fn seals_module(&self) -> bool {
        self.seal() && self.module
    }
}

/// A blob being written, sealed or not.
pub(crate) enum Sink {
    Plain(Stager),
    Sealed(Box<age::stream::StreamWriter<Stager>>),
}

impl Sink {
    /// Seals if `keys` do and `seal` is wanted.
    pub(crate) fn new(stager: Stager, keys: &Keys, seal: bool) -> Result<Sink, StoreError> {
        if !seal || !keys.seal() {
            return Ok(Sink::Plain(stager));
        }
        let path = stager.path().to_owned();
        let recipients = keys.recipients.iter().map(|r| &**r as &dyn age::Recipient);
        age::Encryptor::with_recipients(recipients)
            .map_err(io::Error::other)
            .and_then(|encryptor| encryptor.wrap_output(stager))
            .map(|writer| Sink::Sealed(Box::new(writer)))
            .map_err(StoreError::io("write", &path))
    }

    /// Waits until everything is on the disk.
    pub(crate) fn finish(self) -> Result<Staged, StoreError> {
        let staged = self.finish_unsynced()?;
        staged.sync()?;
        Ok(staged)
    }

    /// The same, but [`Staged::sync`] is still to come.
    pub(crate) fn finish_unsynced(self) -> Result<Staged, StoreError> {
        match self {
            Sink::Plain(stager) => stager.finish_unsynced(),
            Sink::Sealed(writer) => {
                let stager =
                    writer.finish().map_err(StoreError::io("write", "a sealed blob".as_ref()))?;
                let mut staged = stager.finish_unsynced()?;
                staged.sealed = true;
                Ok(staged)
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(stager) => stager.write(bytes),
            Sink::Sealed(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(stager) => stager.flush(),
            Sink::Sealed(writer) => writer.flush(),
        }
    }
}

/// A blob being read, opened if it was sealed.
pub(crate) enum Source {
    Plain(File),
    /// And its length when opened.
    Sealed(Box<Mutex<age::stream::StreamReader<File>>>, u64),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Source::Plain(_) => "Plain",
            Source::Sealed(..) => "Sealed",
        })
    }
}

/// What a blob's file holds.
pub(crate) fn source(
    mut file: File,
    sealed: bool,
    keys: &Keys,
    subject: &Subject,
) -> Result<Source, Bad> {
    if !sealed {
        return Ok(Source::Plain(file));
    }
    file.rewind().map_err(|e| subject.io(e))?;
    let mut reader = open(file, keys, subject)?;
    let len = reader.seek(SeekFrom::End(0)).map_err(|e| damaged(e, subject))?;
    Ok(Source::Sealed(Box::new(Mutex::new(reader)), len))
}

impl ReadAt for Source {
    fn size(&self) -> io::Result<u64> {
        match self {
            Source::Plain(file) => file.size(),
            Source::Sealed(_, len) => Ok(*len),
        }
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Source::Plain(file) => file.read_at(into, offset),
            Source::Sealed(reader, _) => {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.seek(SeekFrom::Start(offset))?;
                reader.read_exact(into)
            }
        }
    }
}

/// The bytes of a part that was read as a whole.
pub(crate) fn reveal(
    bytes: Vec<u8>,
    sealed: bool,
    keys: &Keys,
    subject: &Subject,
) -> Result<Vec<u8>, Bad> {
    if !sealed {
        return Ok(bytes);
    }
    let mut reader = open(&bytes[..], keys, subject)?;
    // Less than what is sealed.
    let mut plain = Vec::with_capacity(bytes.len());
    reader.read_to_end(&mut plain).map_err(|e| damaged(e, subject))?;
    Ok(plain)
}

fn open<R: Read>(
    from: R,
    keys: &Keys,
    subject: &Subject,
) -> Result<age::stream::StreamReader<R>, Bad> {
    use age::DecryptError as E;
    let identities = keys.identities.iter().map(|i| &**i as &dyn age::Identity);
    age::Decryptor::new(from).and_then(|sealed| sealed.decrypt(identities)).map_err(|e| match e {
        E::NoMatchingKeys | E::KeyDecryptionFailed | E::DecryptionFailed => {
            Bad::Fatal(StoreError::NoKey {
                what: subject.name(),
                given: !keys.identities.is_empty(),
            })
        }
        E::Io(e) => subject.io(e),
        E::UnknownFormat => {
            subject.unsupported("another version of age, which this dormouse does not know")
        }
        e => subject.malformed(e),
    })
}

/// The chunks of a sealed file tell damage from what was written.
fn damaged(error: io::Error, subject: &Subject) -> Bad {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            subject.malformed(error)
        }
        _ => subject.io(error),
    }
}
