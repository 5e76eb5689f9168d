//! The entries of a layer: what they say of a name, and which are refused.

use super::FileKind;
use crate::entries::{Entry, Reader, bad};
use std::io::{self, Read, Write};
use tar::{Builder, EntryType};

/// Bytes of a name.
const MAX_NAME: usize = 4200;

/// What begins a whiteout's last part.
pub(super) const WHITEOUT: &str = ".wh.";

/// Writes an item; `data` gives a file's bytes.
pub(super) fn write<W: Write>(
    out: &mut Builder<W>,
    name: &str,
    kind: &FileKind,
    data: &mut dyn Read,
) -> io::Result<()> {
    let empty = Entry::file(name, 0);
    let entry = match kind {
        FileKind::Gone => {
            let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
            Entry { name: format!("{above}/{WHITEOUT}{last}"), ..empty }
        }
        FileKind::Dir { mode } => {
            Entry { kind: EntryType::Directory, name: format!("{name}/"), mode: *mode, ..empty }
        }
        FileKind::Link { target } => {
            Entry { kind: EntryType::Symlink, link: target.clone(), mode: 0o777, ..empty }
        }
        FileKind::File { mode, mtime, size } => {
            Entry { mode: *mode, mtime: *mtime, size: *size, ..empty }
        }
    };
    entry.write(out, data)
}

/// The next item of a layer; none at the end, which nothing follows.
pub(super) fn next<R: Read>(tar: &mut Reader<R>) -> io::Result<Option<(String, FileKind)>> {
    let Some(Entry { kind, name, link, mode, mtime, size }) = tar.next_entry()? else {
        return Ok(None);
    };
    if kind != EntryType::Regular && size != 0 {
        return Err(bad(format!("{name:?} has contents, and is no file")));
    }
    let what = match kind {
        EntryType::Regular => FileKind::File { mode: mode & 0o1777, mtime, size },
        EntryType::Directory => FileKind::Dir { mode: mode & 0o777 },
        EntryType::Symlink => {
            if link.is_empty() || link.starts_with('/') || link.contains('\0') {
                return Err(bad(format!("{name:?} is a link to {link:?}")));
            }
            FileKind::Link { target: link }
        }
        EntryType::Link => return Err(bad(format!("{name:?} is a hard link"))),
        EntryType::Char | EntryType::Block => return Err(bad(format!("{name:?} is a device"))),
        other => {
            let kind = char::from(other.as_byte()).escape_default();
            return Err(bad(format!("{name:?} is of the kind '{kind}', which is not known")));
        }
    };
    let is_dir = matches!(what, FileKind::Dir { .. });
    let name = if is_dir { name.strip_suffix('/').unwrap_or(&name) } else { &name };
    let (name, gone) = plain(name)?;
    match (gone, what) {
        (false, what) => Ok(Some((name, what))),
        (true, FileKind::File { size: 0, .. }) => Ok(Some((name, FileKind::Gone))),
        (true, _) => Err(bad(format!("the whiteout of {name:?} is no empty file"))),
    }
}

/// A name that leads beneath a numbered directory and nowhere else; without `.wh.` if it is a whiteout.
fn plain(name: &str) -> io::Result<(String, bool)> {
    let shown: String = name.chars().take(100).collect();
    let wrong = || bad(format!("the name {shown:?} is not plain"));
    let mut parts = name.split('/');
    let number = parts.next().unwrap_or_default();
    let decimal = number.parse::<u32>().is_ok_and(|n| n.to_string() == number);
    let mut parts: Vec<&str> = parts.collect();
    let good = |part: &&str| !matches!(*part, "" | "." | "..") && !part.contains('\0');
    let Some(last) = parts.pop() else { return Err(wrong()) };
    if name.len() > MAX_NAME || !decimal || !parts.iter().all(good) || !good(&last) {
        return Err(wrong());
    }
    // One inside a name, or another kind of whiteout, means something that is not meant here.
    let gone = last.strip_prefix(WHITEOUT);
    let of = gone.unwrap_or(last);
    if parts.iter().any(|p| p.starts_with(WHITEOUT)) || of.starts_with(WHITEOUT) || !good(&of) {
        return Err(wrong());
    }
    parts.push(of);
    Ok((format!("{number}/{}", parts.join("/")), gone.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(entry: &Entry, why: &str) {
        let error = next(&mut Reader::strict(&entry.header().as_bytes()[..])).unwrap_err();
        assert!(error.to_string().contains(why), "{error}, not {why}");
    }

    #[test]
    fn what_is_written_is_read() {
        let file = |size, mtime| FileKind::File { mode: 0o640, mtime, size };
        let items = [
            ("0/old", FileKind::Gone, &b""[..]),
            ("0/dir", FileKind::Dir { mode: 0o750 }, b""),
            ("0/link", FileKind::Link { target: "dir/\u{f6}".to_owned() }, b""),
            ("0/a", file(5, 1_700_000_000_000_000_007), b"hello"),
            ("0/empty", file(0, 0), b""),
        ];
        let mut out = Builder::new(vec![]);
        for (name, kind, bytes) in &items {
            write(&mut out, name, kind, &mut &bytes[..]).unwrap();
        }
        let bytes = out.into_inner().unwrap();
        let mut tar = Reader::strict(&bytes[..]);
        for (name, kind, _) in &items {
            assert_eq!(next(&mut tar).unwrap(), Some(((*name).to_owned(), kind.clone())));
        }
        assert_eq!(next(&mut tar).unwrap(), None);
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        let file = |name: &str| Entry::file(name, 0);
        for name in [
            "0/../../etc/passwd",
            "/etc/passwd",
            "0",
            "0/",
            "",
            "a/b",
            "00/b",
            "-1/b",
            "0//b",
            "0/./b",
            "0/b/.wh.c/d",
            "0/.wh.",
            "0/.wh...",
            "0/.wh..wh..opq",
            "4294967296/a",
            "0/.wh..",
        ] {
            refused(&file(name), "is not plain");
        }
        for (kind, why) in [
            (b'1', "hard link"),
            (b'3', "device"),
            (b'6', "kind '6'"),
            (b'L', "kind 'L'"),
            (b'2', "is a link to"),
        ] {
            refused(&Entry { kind: EntryType::new(kind), ..file("0/a") }, why);
        }
        let kind = EntryType::Symlink;
        refused(&Entry { kind, link: "/etc".into(), ..file("0/a") }, "is a link to");
        let kind = EntryType::Directory;
        refused(&Entry { kind, ..Entry::file("0/a", 1) }, "is no file");
        refused(&Entry::file("0/.wh.a", 1), "is no empty file");
    }

    #[test]
    fn permissions_are_all_that_a_mode_gives() {
        let header = Entry { mode: 0o6755, ..Entry::file("0/a", 0) }.header();
        let found = next(&mut Reader::strict(&header.as_bytes()[..])).unwrap();
        let kind = FileKind::File { mode: 0o755, mtime: 0, size: 0 };
        assert_eq!(found, Some(("0/a".to_owned(), kind)));
    }
}
