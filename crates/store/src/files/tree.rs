//! What layers of files come to, one above the other.
//!
//! ```text
//!   f1   0/a   0/d/   0/d/x                    0/a    f2
//!   f2   0/a   0/.wh.d            together:    0/d    gone
//! ```
//!
//! A whiteout takes away what lies beneath its name in the layers below; so does what is no directory. A name makes
//! directories of all that is above it. So any layers come to something.

use super::FileKind;
use super::item;
use crate::blob::{self, BlobRef};
use crate::entries::{Reader, bad};
use crate::error::{Bad, Subject};
use crate::layer::ReadAt;
use crate::open::Store;
use crate::seal::{self, Source};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Names a checkpoint's files may have.
pub const MAX_FILES: usize = 1 << 20;
/// Bytes of all those names.
pub const MAX_FILE_NAMES: usize = 128 << 20;
/// Memory that a layer may want for being read: 2 to the power of this.
const WINDOW: u32 = 27;

/// The files of a checkpoint, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTree {
    nodes: BTreeMap<String, Node>,
    /// Bytes of names.
    names: usize,
    written: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    kind: FileKind,
    /// Which layer has it, and at which place.
    at: (usize, usize),
}

impl FileTree {
    /// Names, such as `0/out/sim.log`, and what they are, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FileKind)> {
        self.nodes.iter().map(|(name, node)| (&name[..], &node.kind))
    }

    /// What a name is.
    pub fn get(&self, name: &str) -> Option<&FileKind> {
        self.nodes.get(name).map(|node| &node.kind)
    }

    /// How many names there are, and their bytes.
    pub fn names(&self) -> (usize, usize) {
        (self.nodes.len(), self.names)
    }

    /// Bytes of files in all layers, with those that newer ones replace.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn add(&mut self, name: String, kind: FileKind, at: (usize, usize)) -> io::Result<()> {
        let mut above = &name[..];
        while let Some((dir, _)) = above.rsplit_once('/') {
            above = dir;
            if self.get(dir).is_some_and(|kind| !matches!(kind, FileKind::Dir { .. })) {
                self.remove(dir);
            }
        }
        if !matches!(kind, FileKind::Dir { .. }) {
            // Those of this layer that it has said so far stay: they are gone too.
            let (from, to) = (format!("{name}/"), format!("{name}0"));
            let beneath = self.nodes.range(from..to);
            let old: Vec<_> =
                beneath.filter(|(_, n)| n.at.0 < at.0).map(|(n, _)| n.clone()).collect();
            old.iter().for_each(|name| self.remove(name));
        }
        if let FileKind::File { size, .. } = kind {
            self.written = self.written.saturating_add(size);
        }
        self.remove(&name);
        self.names += name.len();
        self.nodes.insert(name, Node { kind, at });
        match self.nodes.len() > MAX_FILES || self.names > MAX_FILE_NAMES {
            true => Err(io::Error::other("there are more files than a checkpoint may have")),
            false => Ok(()),
        }
    }

    fn remove(&mut self, name: &str) {
        if self.nodes.remove(name).is_some() {
            self.names -= name.len();
        }
    }
}

/// Layers of files that were opened, oldest first.
#[derive(Debug)]
pub(crate) struct Opened {
    layers: Vec<(Subject, Source)>,
    pub(crate) tree: FileTree,
}

/// Reads a source from its beginning.
struct FromStart<'a> {
    source: &'a Source,
    at: u64,
    size: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(into.len());
        self.source.read_at(&mut into[..most], self.at)?;
        self.at += most as u64;
        Ok(most)
    }
}

fn tar(source: &Source) -> io::Result<Reader<impl Read>> {
    let start = FromStart { source, at: 0, size: source.size()? };
    let mut zstd = zstd::stream::read::Decoder::new(start)?;
    zstd.window_log_max(WINDOW)?;
    Ok(Reader::strict(zstd))
}

impl Opened {
    pub(crate) fn new() -> Opened {
        Opened { layers: vec![], tree: FileTree::default() }
    }

    /// Puts a layer above the others; all of it is read.
    pub(crate) fn push(&mut self, subject: Subject, source: Source) -> Result<(), Bad> {
        let layer = self.layers.len();
        let mut read = || {
            let mut tar = tar(&source)?;
            for at in 0.. {
                match item::next(&mut tar)? {
                    Some((name, kind)) => self.tree.add(name, kind, (layer, at))?,
                    None => break,
                }
            }
            match tar.into_rest().read(&mut [0])? {
                0 => Ok(()),
                _ => Err(bad("something follows its end")),
            }
        };
        read().map_err(|e: io::Error| subject.malformed(e))?;
        self.layers.push((subject, source));
        Ok(())
    }

    /// Gives each file's bytes.
    pub(crate) fn read(
        &self,
        each: &mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        for (layer, (subject, source)) in self.layers.iter().enumerate() {
            let damaged = |e: io::Error| {
                io::Error::new(e.kind(), format!("{} cannot be read: {e}", subject.path.display()))
            };
            let mut tar = tar(source).map_err(damaged)?;
            for at in 0.. {
                let Some((name, kind)) = item::next(&mut tar).map_err(damaged)? else { break };
                let live = self.tree.nodes.get(&name).is_some_and(|node| node.at == (layer, at));
                if live && matches!(kind, FileKind::File { .. }) {
                    each(&name, &mut tar)?;
                }
            }
        }
        Ok(())
    }
}

impl Store {
    /// Opens a layer of files whose digest holds, and reads it; alone, it comes to something too.
    pub(crate) fn check_files(&self, subject: &Subject, blob: &BlobRef) -> Result<(), Bad> {
        self.push_files(&mut Opened::new(), subject.clone(), blob)
    }

    pub(crate) fn push_files(
        &self,
        opened: &mut Opened,
        subject: Subject,
        blob: &BlobRef,
    ) -> Result<(), Bad> {
        let file = blob::open_verified(&self.dir, &subject, &blob.digest, blob.size)?;
        let source = seal::source(file, blob.sealed, &self.keys, &subject)?;
        opened.push(subject, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(layers: &[&[(&str, FileKind)]]) -> Vec<String> {
        let mut tree = FileTree::default();
        for (layer, items) in layers.iter().enumerate() {
            for (at, (name, kind)) in items.iter().enumerate() {
                tree.add((*name).to_owned(), kind.clone(), (layer, at)).unwrap();
            }
        }
        let word = |kind: &FileKind| match kind {
            FileKind::Gone => "gone".to_owned(),
            FileKind::Dir { .. } => "dir".to_owned(),
            FileKind::Link { target } => format!("-> {target}"),
            FileKind::File { size, .. } => size.to_string(),
        };
        assert_eq!(tree.names, tree.nodes.keys().map(String::len).sum::<usize>());
        tree.iter().map(|(name, kind)| format!("{name} {}", word(kind))).collect()
    }

    #[test]
    fn layers_come_to_something() {
        use FileKind::Gone;
        let (dir, file) =
            (FileKind::Dir { mode: 0 }, |size| FileKind::File { mode: 0, mtime: 0, size });
        let link = FileKind::Link { target: "a".to_owned() };
        let base = [("0/a", file(1)), ("0/d", dir.clone()), ("0/d/x", file(2)), ("0/d0", file(3))];
        assert_eq!(tree(&[&base]), ["0/a 1", "0/d dir", "0/d/x 2", "0/d0 3"]);
        assert_eq!(
            tree(&[&base, &[("0/d", Gone), ("0/a", file(4))]]),
            ["0/a 4", "0/d gone", "0/d0 3"]
        );
        let both = [("0/d/x", Gone), ("0/d", Gone)];
        assert_eq!(tree(&[&base, &both]), ["0/a 1", "0/d gone", "0/d/x gone", "0/d0 3"]);
        let replaced = [("0/d", link)];
        assert_eq!(tree(&[&base, &replaced]), ["0/a 1", "0/d -> a", "0/d0 3"]);
        assert_eq!(
            tree(&[&base, &replaced, &[("0/d/y/z", file(5))]]),
            ["0/a 1", "0/d/y/z 5", "0/d0 3"]
        );
        assert_eq!(tree(&[&base, &[("0/d", dir)]]), ["0/a 1", "0/d dir", "0/d/x 2", "0/d0 3"]);
        assert_eq!(tree(&[&[("0/a/b", Gone)], &[("0/a/b", file(1))]]), ["0/a/b 1"]);
    }
}
