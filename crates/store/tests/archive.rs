//! A checkpoint as a stream: whole, cut anywhere, damaged, and a stranger's.

mod sample;

use dormouse_store::{Care, Store, StoreError};
use sample::{assert_holds, files, save};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

fn two_stores() -> (tempfile::TempDir, Store, Store) {
    let dir = tempfile::tempdir().unwrap();
    let from = Store::create_or_open(&dir.path().join("from")).unwrap();
    let to = Store::create_or_open(&dir.path().join("to")).unwrap();
    (dir, from, to)
}

fn archive(from: &Store, number: Option<u64>) -> Vec<u8> {
    let mut bytes = vec![];
    from.write_archive("sim", number, &mut bytes).unwrap();
    bytes
}

/// Where each file's header is, and its name and size.
fn headers(archive: &[u8]) -> Vec<(usize, String, usize)> {
    let mut found = vec![];
    let mut at = 0;
    while archive[at] != 0 {
        let text = |range: std::ops::Range<usize>| {
            String::from_utf8_lossy(&archive[range]).trim_end_matches('\0').to_owned()
        };
        let size = usize::from_str_radix(&text(at + 124..at + 135), 8).unwrap();
        found.push((at, text(at..at + 100), size));
        at += 512 + size.div_ceil(512) * 512;
    }
    found
}

#[test]
fn there_and_back() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    let saved = save(&from, "sim", 2);
    let bytes = archive(&from, None);
    let mut stream = bytes.iter().copied().chain(*b"and more").collect::<Vec<u8>>();
    let mut reader = &stream[..];
    assert_eq!(to.read_archive(&mut reader, None).unwrap(), saved);
    assert_eq!(reader, b"and more", "whoever reads on finds what comes next");
    assert_holds(&to.load("sim", None).unwrap(), 2);
    assert!(to.list("sim").unwrap()[0].pulled, "what it remembers is a stranger's word");
    // Once more: nothing changes, but all of it is read. And what both have in common is passed over.
    let before = files(to.dir());
    assert_eq!(to.read_archive(&mut &bytes[..], None).unwrap().name(), "sim@2");
    assert_eq!(files(to.dir()), before);
    stream = archive(&from, Some(1));
    assert_eq!(to.read_archive(&mut &stream[..], Some("other")).unwrap().name(), "other@1");
    assert_holds(&to.load("other", None).unwrap(), 1);
    assert_eq!(to.verify().unwrap().good, 2);
}

/// Other tools see an OCI layout.
#[test]
fn tar_reads_it() {
    let (dir, from, _) = two_stores();
    save(&from, "sim", 1);
    let out = dir.path().join("out");
    std::fs::create_dir(&out).unwrap();
    let mut tar = Command::new("tar");
    let mut tar =
        tar.arg("-xf").arg("-").arg("-C").arg(&out).stdin(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&archive(&from, None)).unwrap();
    assert!(tar.wait().unwrap().success());
    assert_holds(&Store::open(&out).unwrap().load("sim", Some(1)).unwrap(), 1);
}

#[test]
fn cut_anywhere_nothing_is_listed_and_the_rest_is_enough() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    let bytes = archive(&from, None);
    let ends = (0..bytes.len()).step_by(97).chain([bytes.len() - 1, bytes.len() - 512]);
    for end in ends {
        let error = to.read_archive(&mut &bytes[..end], None).unwrap_err();
        assert!(matches!(error, StoreError::Archive { action: "read", .. }), "{end}: {error}");
        assert!(to.list("sim").unwrap().is_empty());
    }
    to.read_archive(&mut &bytes[..], None).unwrap();
    assert_holds(&to.load("sim", None).unwrap(), 1);
}

#[test]
fn a_damaged_byte_is_found() {
    let (dir, from, _) = two_stores();
    save(&from, "sim", 1);
    let good = archive(&from, None);
    let parts = headers(&good);
    assert_eq!(parts[0].1, "oci-layout");
    assert_eq!(parts[1].1, "index.json");
    for (i, (at, name, size)) in parts.iter().enumerate() {
        for byte in [at + 512, at + 512 + size / 2, at + 512 + size - 1, at + 130] {
            // What is in the list besides the digest is not looked at.
            if i == 1 && byte > *at + 512 {
                continue;
            }
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            let to = Store::create_or_open(&dir.path().join(format!("to-{byte}"))).unwrap();
            to.read_archive(&mut &bad[..], None).expect_err(&format!("{name} at {byte}"));
            assert!(to.list("sim").unwrap().is_empty());
        }
    }
}

#[test]
fn strangers_are_refused() {
    let (_dir, from, to) = two_stores();
    save(&from, "sim", 1);
    let good = archive(&from, None);
    let parts = headers(&good);
    let part = |i: usize| {
        let (at, _, size) = &parts[i];
        good[*at..at + 512 + size.div_ceil(512) * 512].to_vec()
    };
    let all: Vec<Vec<u8>> = (0..parts.len()).map(part).collect();
    let end = vec![0; 1024];
    let refused = |parts: &[&[u8]], why: &str| {
        let error = to.read_archive(&mut &parts.concat()[..], None).unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(why), "{error}");
    };
    let [layout, index, manifest, blobs @ ..] = &all[..] else { panic!() };
    refused(&[b"GIF89a", &[b'x'; 600]], "not a tar archive");
    refused(&[&end], "oci-layout does not come next");
    refused(&[layout, manifest, index, &end], "index.json does not come next");
    refused(&[layout, index, &blobs[0], &end], "does not come next");
    let whole = blobs.concat();
    refused(&[layout, index, manifest, &whole, &blobs[0], &end], "comes twice");
    refused(&[layout, index, manifest, &whole, layout, &end], "is not what its manifest says");
    refused(&[layout, index, manifest, &blobs[1..].concat(), &end], "is not in it");
    assert!(to.list("sim").unwrap().is_empty());
    // One that never ends is not read for ever, nor kept in memory.
    let mut large = manifest.clone();
    let sum = |h: &mut [u8]| {
        h[148..156].fill(b' ');
        let sum: u32 = h[..512].iter().map(|b| u32::from(*b)).sum();
        h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    };
    large[124..136].copy_from_slice(b"77777777777\0");
    sum(&mut large);
    refused(&[layout, index, &large], "at most 4194304");
    let mut endless = blobs[0].clone();
    endless[124..136].copy_from_slice(b"77777777777\0");
    sum(&mut endless);
    let stream = [&layout[..], index, manifest, &endless[..512]].concat();
    let mut reader = stream.chain(io::repeat(7).take(1 << 20));
    let error = to.read_archive(&mut reader, None).unwrap_err();
    assert!(error.to_string().contains("is not what its manifest says"), "{error}");
    to.read_archive(&mut &good[..], None).unwrap();
}

/// A stream that breaks.
#[test]
fn a_writer_that_takes_no_more() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(bytes.len()) {
                Some(left) => self.0 = left,
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_dir, from, _) = two_stores();
    save(&from, "sim", 1);
    for room in [0, 600, 5000, 12000] {
        let error = from.write_archive("sim", None, &mut Full(room)).unwrap_err();
        assert!(matches!(error, StoreError::Archive { action: "write", .. }), "{error}");
    }
    // It keeps nobody from tidying up afterwards.
    from.collect(Care::Thorough).unwrap();
}
