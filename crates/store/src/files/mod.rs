//! Contents of a program's files, as layers that other tools unpack too.
//!
//! ```text
//!   sim@1   files: base                        every file
//!   sim@2   files: base  f2                    what changed since sim@1, what is gone
//!   sim@9   files: base'                       all anew, where layers became many
//!
//!   layer = tar+zstd, media type application/vnd.oci.image.layer.v1.tar+zstd:
//!     0/out/.wh.old     out/old is gone        whiteouts first, deepest first
//!     0/out/            a directory            0: the program's first directory
//!     0/out/sim.log     a file
//! ```
//!
//! Layers come from strangers. A layer holds files, directories and symbolic links beneath numbered directories, by plain
//! names; anything else is refused, and only what writers write is read ([`item`]).

mod item;
mod tree;
mod write;

pub(crate) use tree::Opened;
pub use tree::{FileTree, MAX_FILE_NAMES, MAX_FILES};

use std::fs::File;

/// Media type of a layer of files.
pub const FILES_MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// What is to be known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// There is nothing.
    Gone,
    /// A directory.
    Dir {
        /// Permissions, of the lowest 9 bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: String,
    },
    /// A regular file.
    File {
        /// Permissions, of the lowest 9 bits; and 0o1000 for one that the program has only read.
        mode: u32,
        /// When it was changed, in nanoseconds since 1970.
        mtime: u64,
        /// Bytes.
        size: u64,
    },
}

/// What a new checkpoint holds of files.
#[derive(Debug)]
pub struct NewFiles<'a> {
    /// Names such as `0/out/sim.log`, what they are, and where the bytes of files begin in `spool`. None: as in the parent.
    pub items: &'a [(String, FileKind, u64)],
    /// Copies of the contents ([`Store::spool`](crate::Store::spool)), if there are any.
    pub spool: Option<&'a File>,
    /// Whether this is all, and not what changed since the parent.
    pub whole: bool,
}
