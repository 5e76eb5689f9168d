//! Writing a layer of files, and the place where their contents wait for it.

use super::{FileKind, NewFiles, item};
use crate::blob::{self, Staged, Stager};
use crate::error::StoreError;
use crate::open::Store;
use crate::seal::Sink;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

const LEVEL: i32 = 3;

impl Store {
    /// A file without a name, in the file system of the blobs: copies in it share their blocks with the files they are of,
    /// where the file system can do that. It is gone when it is dropped, and when the process ends in whatever way.
    ///
    /// # Errors
    /// What the system says.
    pub fn spool(&self) -> Result<File, StoreError> {
        blob::nameless(&self.blobs())
    }

    /// Stages a layer. The same items make the same tar, in whatever order they are given.
    pub(crate) fn stage_files(&self, new: &NewFiles<'_>) -> Result<Staged, StoreError> {
        let stager = Stager::new(&self.blobs())?;
        let path = stager.path().to_owned();
        let mut sink = Sink::new(stager, &self.keys, true)?;
        write(new, &mut sink).map_err(StoreError::io("write", &path))?;
        sink.finish()
    }
}

fn write(new: &NewFiles<'_>, sink: &mut Sink) -> io::Result<()> {
    let zstd = zstd::stream::write::Encoder::new(BufWriter::with_capacity(1 << 16, sink), LEVEL)?;
    let mut tar = tar::Builder::new(zstd);
    let mut items: Vec<_> = new.items.iter().collect();
    // What is gone first, the deepest first: some tools make the directory of each whiteout anew.
    items.sort_by(|(a, what_a, _), (b, what_b, _)| {
        let gone = |what: &FileKind| *what == FileKind::Gone;
        gone(what_b).cmp(&gone(what_a)).then(if gone(what_a) { b.cmp(a) } else { a.cmp(b) })
    });
    for (name, kind, from) in items {
        match new.spool {
            Some(mut spool) => {
                spool.seek(SeekFrom::Start(*from))?;
                item::write(&mut tar, name, kind, &mut spool)?;
            }
            None => item::write(&mut tar, name, kind, &mut io::empty())?,
        }
    }
    tar.into_inner()?.finish()?.flush()
}
