//! A checkpoint's manifest, and its entry in `index.json`.
//!
//! ```text
//!   manifest  artifactType  application/vnd.dormouse.checkpoint.v1
//!    ├─ config              application/vnd.dormouse.state.v1
//!    ├─ layers[0]           application/wasm
//!    ├─ layers[1..]         application/vnd.dormouse.memory.v1+zstd     one a memory, ascending,
//!    │                      application/vnd.dormouse.memory-changes.v1+zstd  .. and after it these
//!    │                      application/vnd.oci.image.layer.v1.tar+zstd      last, files, oldest first
//!    └─ annotations         io.dormouse.job, io.dormouse.number, ...created, the caller's
//!   entry     descriptor of the manifest + the same annotations + sizes, so that a list needs
//!             no more than index.json
//! ```

use crate::blob::{self, BlobRef};
use crate::error::{Bad, Subject};
use crate::files::FILES_MEDIA_TYPE;
use crate::job::{CheckpointInfo, check_name};
use oci_spec::image::{Descriptor, ImageManifest, ImageManifestBuilder, MediaType, Sha256Digest};
use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

/// `artifactType` of a checkpoint's manifest.
pub const ARTIFACT_TYPE: &str = "application/vnd.dormouse.checkpoint.v1";
/// Media type of the encoded state.
pub const STATE_MEDIA_TYPE: &str = "application/vnd.dormouse.state.v1";
/// Media type of the original module.
pub const MODULE_MEDIA_TYPE: &str = "application/wasm";
/// Media type of a memory layer.
pub const MEMORY_MEDIA_TYPE: &str = "application/vnd.dormouse.memory.v1+zstd";
/// Media type of a layer of changes to the layers before it.
pub const CHANGES_MEDIA_TYPE: &str = "application/vnd.dormouse.memory-changes.v1+zstd";
/// What stands behind the media type of a part that is encrypted.
pub const SEALED_SUFFIX: &str = "+age";
/// Layers a memory may have.
pub(crate) const MAX_CHAIN: usize = 256;
/// Numbers of checkpoints go up to here: what JSON can say in every language.
pub(crate) const MAX_NUMBER: u64 = 1 << 53;
/// Bytes a module may have.
pub const MAX_MODULE_LEN: u64 = 1 << 30;
/// Bytes a manifest may have: what registries allow.
pub const MAX_MANIFEST_LEN: u64 = 4 << 20;

pub(crate) const CREATED: &str = "org.opencontainers.image.created";
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
const TITLE: &str = "org.opencontainers.image.title";
pub(crate) const JOB: &str = "io.dormouse.job";
pub(crate) const NUMBER: &str = "io.dormouse.number";
const MEMORY: &str = "io.dormouse.memory";
const MODULE: &str = "io.dormouse.module";
const STATE_SIZE: &str = "io.dormouse.state-size";
const MODULE_SIZE: &str = "io.dormouse.module-size";
/// Of an entry that came from elsewhere.
pub(crate) const PULLED: &str = "io.dormouse.pulled";
const MEMORY_SIZE: &str = "io.dormouse.memory-size";
const FILES_SIZE: &str = "io.dormouse.files-size";

/// Annotations the store writes itself.
pub(crate) const RESERVED: [&str; 12] = [
    CREATED,
    REF_NAME,
    TITLE,
    JOB,
    NUMBER,
    MODULE,
    STATE_SIZE,
    MODULE_SIZE,
    MEMORY_SIZE,
    FILES_SIZE,
    PULLED,
    crate::index::DIGEST,
];

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) job: String,
    pub(crate) number: u64,
    pub(crate) created: String,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) state: BlobRef,
    pub(crate) module: BlobRef,
    /// Index of the memory, ascending, and its layers, oldest first.
    pub(crate) memories: Vec<(u32, Vec<BlobRef>)>,
    /// Layers of files, oldest first.
    pub(crate) files: Vec<BlobRef>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut layers =
            vec![descriptor(MODULE_MEDIA_TYPE, self.module, [(TITLE, "module.wasm".to_owned())])?];
        for (index, chain) in &self.memories {
            for (at, blob) in chain.iter().enumerate() {
                let (media_type, title) = match at {
                    0 => (MEMORY_MEDIA_TYPE, format!("memory-{index}.pages")),
                    _ => (CHANGES_MEDIA_TYPE, format!("memory-{index}.changes-{at}")),
                };
                let annotations = [(TITLE, title), (MEMORY, index.to_string())];
                layers.push(descriptor(media_type, *blob, annotations)?);
            }
        }
        for (at, blob) in self.files.iter().enumerate() {
            let title = format!("files-{}.tar.zst", at + 1);
            layers.push(descriptor(FILES_MEDIA_TYPE, *blob, [(TITLE, title)])?);
        }
        let manifest = ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(MediaType::Other(ARTIFACT_TYPE.to_owned()))
            .config(descriptor(STATE_MEDIA_TYPE, self.state, [])?)
            .layers(layers)
            .annotations(self.shared_annotations())
            .build()
            .map_err(|e| e.to_string())?;
        to_json(&manifest)
    }

    /// Reads the manifest that `subject` names.
    pub(crate) fn decode(bytes: &[u8], subject: &Subject) -> Result<Manifest, Bad> {
        let manifest: ImageManifest =
            serde_json::from_slice(bytes).map_err(|e| subject.malformed(e))?;
        match manifest.artifact_type() {
            Some(MediaType::Other(kind)) if kind == ARTIFACT_TYPE => {}
            Some(MediaType::Other(kind)) if kind.starts_with("application/vnd.dormouse.") => {
                let what =
                    format!("an image of type {kind}, where this dormouse reads {ARTIFACT_TYPE}");
                return Err(subject.unsupported(what));
            }
            _ => return Err(subject.malformed("it is not the manifest of a checkpoint")),
        }
        if manifest.subject().is_some() {
            return Err(
                subject.unsupported("a manifest with a subject, which this dormouse does not know")
            );
        }
        let state = expect(manifest.config(), STATE_MEDIA_TYPE, subject)?;
        let mut layers = manifest.layers().iter();
        let module = layers.next().ok_or_else(|| subject.malformed("it has no module"))?;
        let module = expect(module, MODULE_MEDIA_TYPE, subject)?;
        let mut memories: Vec<(u32, Vec<BlobRef>)> = Vec::new();
        let mut files = Vec::new();
        for layer in layers {
            let media_type = layer.media_type().to_string();
            if media_type.trim_end_matches(SEALED_SUFFIX) == FILES_MEDIA_TYPE {
                if files.len() == MAX_CHAIN {
                    return Err(subject.malformed("it has too many layers of files"));
                }
                files.push(expect(layer, FILES_MEDIA_TYPE, subject)?);
                continue;
            }
            if !files.is_empty() {
                return Err(subject.malformed("a layer follows those of files"));
            }
            let changes = media_type.trim_end_matches(SEALED_SUFFIX) == CHANGES_MEDIA_TYPE;
            let wanted = if changes { CHANGES_MEDIA_TYPE } else { MEMORY_MEDIA_TYPE };
            let blob = expect(layer, wanted, subject)?;
            let index = layer.annotations().as_ref().and_then(|a| a.get(MEMORY)?.parse().ok());
            match (index, memories.last_mut()) {
                (Some(index), Some((last, chain))) if changes && *last == index => {
                    if chain.len() == MAX_CHAIN {
                        return Err(subject.malformed("a memory has too many layers"));
                    }
                    chain.push(blob);
                }
                (Some(index), last)
                    if !changes && last.as_ref().is_none_or(|(last, _)| *last < index) =>
                {
                    memories.push((index, vec![blob]));
                }
                _ => return Err(subject.malformed("its memory layers are not numbered in order")),
            }
        }
        let annotations = manifest.annotations().as_ref();
        let identity = annotations.and_then(identity);
        let (job, number, created, annotations) =
            identity.ok_or_else(|| subject.malformed("it does not name its job and number"))?;
        Ok(Manifest { job, number, created, annotations, state, module, memories, files })
    }

    /// Every blob it refers to: state, module, layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = BlobRef> {
        let memories = self.memories.iter().flat_map(|(_, chain)| chain).copied();
        [self.state, self.module].into_iter().chain(memories).chain(self.files.iter().copied())
    }

    /// The annotations that manifest and entry share.
    fn shared_annotations(&self) -> HashMap<String, String> {
        let mut all: HashMap<String, String> = self.annotations.clone().into_iter().collect();
        all.insert(CREATED.to_owned(), self.created.clone());
        // What other tools show of an image.
        all.insert(TITLE.to_owned(), format!("{}@{}", self.job, self.number));
        all.insert(MODULE.to_owned(), blob::name(&self.module.digest));
        all.insert(JOB.to_owned(), self.job.clone());
        all.insert(NUMBER.to_owned(), self.number.to_string());
        all
    }

    /// The entry of `index.json` for this manifest.
    pub(crate) fn entry(&self, manifest: BlobRef) -> Result<Descriptor, String> {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", manifest, [])?;
        let mut all = self.shared_annotations();
        let info = self.info(manifest);
        all.insert(REF_NAME.to_owned(), info.name());
        all.insert(STATE_SIZE.to_owned(), info.state_size.to_string());
        all.insert(MODULE_SIZE.to_owned(), info.module_size.to_string());
        all.insert(MEMORY_SIZE.to_owned(), info.memory_size.to_string());
        if info.files_size > 0 {
            all.insert(FILES_SIZE.to_owned(), info.files_size.to_string());
        }
        entry.set_annotations(Some(all));
        entry.set_artifact_type(Some(MediaType::Other(ARTIFACT_TYPE.to_owned())));
        Ok(entry)
    }

    pub(crate) fn info(&self, manifest: BlobRef) -> CheckpointInfo {
        let layers = self.memories.iter().flat_map(|(_, chain)| chain);
        CheckpointInfo {
            job: self.job.clone(),
            number: self.number,
            created: self.created.clone(),
            digest: blob::name(&manifest.digest),
            module_digest: blob::name(&self.module.digest),
            state_size: self.state.size,
            module_size: self.module.size,
            pulled: false,
            memory_size: layers.fold(0, |sum, layer| sum.saturating_add(layer.size)),
            files_size: self.files.iter().fold(0, |sum, layer| sum.saturating_add(layer.size)),
            annotations: self.annotations.clone(),
        }
    }
}

/// What an entry of `index.json` says; `None` where it is not a checkpoint's.
pub(crate) fn entry_info(entry: &Descriptor) -> Option<(CheckpointInfo, BlobRef)> {
    let all = entry.annotations().as_ref()?;
    let (job, number, created, annotations) = identity(all)?;
    let manifest = blob_ref(entry)?;
    let size = |key| all.get(key).and_then(|size| size.parse().ok()).unwrap_or(0);
    let info = CheckpointInfo {
        job,
        number,
        created,
        digest: blob::name(&manifest.digest),
        module_digest: all.get(MODULE).cloned().unwrap_or_default(),
        state_size: size(STATE_SIZE),
        module_size: size(MODULE_SIZE),
        memory_size: size(MEMORY_SIZE),
        files_size: size(FILES_SIZE),
        pulled: all.contains_key(PULLED),
        annotations,
    };
    Some((info, manifest))
}

type Identity = (String, u64, String, BTreeMap<String, String>);

/// Job, number, time, and the caller's annotations.
fn identity(all: &HashMap<String, String>) -> Option<Identity> {
    let job = all.get(JOB)?.clone();
    check_name(&job).ok()?;
    let number = all.get(NUMBER)?;
    let parsed: u64 = number.parse().ok()?;
    if parsed == 0 || parsed > MAX_NUMBER || parsed.to_string() != *number {
        return None;
    }
    let created = all.get(CREATED).cloned().unwrap_or_default();
    let mut annotations: BTreeMap<String, String> =
        all.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    annotations.retain(|key, _| !RESERVED.contains(&key.as_str()));
    Some((job, parsed, created, annotations))
}

fn descriptor<const N: usize>(
    media_type: &str,
    blob: BlobRef,
    annotations: [(&str, String); N],
) -> Result<Descriptor, String> {
    let digest = Sha256Digest::from_str(&blob::hex(&blob.digest)).map_err(|e| e.to_string())?;
    let suffix = if blob.sealed { SEALED_SUFFIX } else { "" };
    let media_type = MediaType::from(format!("{media_type}{suffix}").as_str());
    let mut descriptor = Descriptor::new(media_type, blob.size, digest);
    if N > 0 {
        let annotations = annotations.map(|(key, value)| (key.to_owned(), value));
        descriptor.set_annotations(Some(HashMap::from(annotations)));
    }
    Ok(descriptor)
}

pub(crate) fn blob_ref(descriptor: &Descriptor) -> Option<BlobRef> {
    let digest = blob::from_hex(descriptor.as_digest_sha256()?)?;
    Some(BlobRef { digest, size: descriptor.size(), sealed: false })
}

/// A part of this type, plain or sealed.
fn expect(descriptor: &Descriptor, media_type: &str, subject: &Subject) -> Result<BlobRef, Bad> {
    let found = descriptor.media_type().to_string();
    let sealed = match found.strip_prefix(media_type) {
        Some("") => false,
        Some(SEALED_SUFFIX) => true,
        _ => {
            return Err(subject.unsupported(format!(
                "a part of type {found}, where this dormouse reads {media_type}"
            )));
        }
    };
    let blob = blob_ref(descriptor).ok_or_else(|| subject.malformed("a digest is not SHA-256"))?;
    Ok(BlobRef { sealed, ..blob })
}

/// JSON with its keys in order, so that the same content has the same bytes.
pub(crate) fn to_json(document: &impl serde::Serialize) -> Result<Vec<u8>, String> {
    let value = serde_json::to_value(document).map_err(|e| e.to_string())?;
    serde_json::to_vec(&value).map_err(|e| e.to_string())
}
