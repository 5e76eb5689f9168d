//! What a resume does for each file.

use dormouse_store::{FileKind, FileTree};
use dormouse_wasi::{Description, ONLY_READ};
use serde::Serialize;
use std::collections::HashSet;

/// A file that travels with a checkpoint, or that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// The program's name for it.
    pub path: String,
    /// `copied`: its contents are in the image; `checked`; `left alone`.
    pub rule: &'static str,
    /// `file`, `directory`, `link`, or `gone`: there is to be nothing.
    pub kind: &'static str,
    /// Of a file.
    pub size: Option<u64>,
}

/// Those that travel with the checkpoint, and those that are open.
pub(super) fn files(
    tree: Option<&FileTree>,
    rule: Option<&String>,
    wasi: &Description,
) -> Vec<File> {
    let carried = tree.into_iter().flat_map(FileTree::iter).filter_map(|(name, kind)| {
        let (dir, path) = crate::split(name)?;
        // What was only read, and closed, does not matter any more.
        let path = wasi.path_of(dir, path);
        let only_read = matches!(kind, FileKind::File { mode, .. } if mode & ONLY_READ != 0);
        if only_read && !wasi.fds.iter().any(|fd| fd.path == path) {
            return None;
        }
        let (kind, size) = match kind {
            FileKind::Gone => ("gone", None),
            FileKind::Dir { .. } => ("directory", None),
            FileKind::Link { .. } => ("link", None),
            FileKind::File { size, .. } => ("file", Some(*size)),
        };
        Some(File { path, rule: "copied", kind, size })
    });
    let mut files: Vec<File> = carried.collect();
    let told: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
    let rule = if rule.is_some_and(|rule| rule == "none") { "left alone" } else { "checked" };
    for fd in wasi.fds.iter().filter(|fd| fd.kind == "file") {
        if !told.contains(&fd.path) {
            files.push(File { path: fd.path.clone(), rule, kind: "file", size: fd.size });
        }
    }
    files
}
