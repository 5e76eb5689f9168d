//! Saved bytes that are damaged or made up: every one is answered, none is followed out of the sandbox.

mod guest;

use dormouse_wasi::{Wasi, WasiError};
use guest::*;
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

/// Objects with one of everything.
fn sample() -> (TempDir, Vec<u8>) {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.mkdir("sub").unwrap();
    g.open("sub", DIRECTORY, READ, 0).unwrap();
    let fd = g.open("sub/file", CREAT, READ | WRITE, APPEND).unwrap();
    g.write(fd, b"contents").unwrap();
    g.open("gone", CREAT, READ, 0).unwrap();
    g.close(6).unwrap();
    g.names(DIR, 4096).unwrap();
    g.wasi.interrupter().interrupt();
    g.subscribe_clock(DATA, 1, 1, 1 << 40, false);
    g.poll(1).unwrap_err();
    let bytes = g.wasi.save().unwrap();
    (dir, bytes)
}

#[test]
fn every_cut_is_noticed() {
    let (_dir, bytes) = sample();
    assert!(Wasi::describe(&bytes).is_ok());
    for len in 0..bytes.len() {
        assert!(
            matches!(Wasi::describe(&bytes[..len]), Err(WasiError::Damaged { .. })),
            "{len} bytes"
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(Wasi::describe(&longer), Err(WasiError::Damaged { .. })));
}

#[test]
fn a_later_version_is_named() {
    let (_dir, mut bytes) = sample();
    bytes[4] = 4;
    assert!(matches!(Wasi::describe(&bytes), Err(WasiError::Version(4))));
    bytes[4] = 0;
    assert!(matches!(Wasi::describe(&bytes), Err(WasiError::Version(0))));
}

#[test]
fn a_made_up_path_does_not_leave_its_directory() {
    let (_dir, bytes) = sample();
    let at = bytes.windows(8).position(|w| w == b"sub/file").unwrap();
    for path in [b"../etc/x", b"/etc/abc", b"sub//fil", b"sub/../f", b"./abcdef", b"sub/fil\0"] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(path);
        assert!(
            matches!(Wasi::restore(&bytes, options()), Err(WasiError::Damaged { .. })),
            "{path:?}"
        );
    }
}

/// The exact bytes of version 1: a reader must go on reading them.
#[test]
fn version_1_is_what_it_is() {
    let mut bytes = Vec::new();
    bytes.extend(b"DMWS\x01\0\0\0");
    bytes.extend(7u64.to_le_bytes());
    bytes.extend(b"\x01\0\0\0\x04\0\0\0prog");
    bytes.extend(b"\x01\0\0\0\x01\0\0\0K\x01\0\0\0V");
    bytes.extend(b"\x01\0\0\0\x01\0\0\0/\x04\0\0\0/tmp");
    bytes.extend(b"\0\x01\0");
    bytes.extend([1]);
    bytes.extend(5u64.to_le_bytes());
    bytes.extend(9u64.to_le_bytes());
    bytes.extend([1u32, 2, 3, 4].iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend(b"\x09\0\0\0\x03\0\0\0");
    bytes.extend(b"\x01\0\0\0\0\x01");
    bytes.extend(b"\x03\0\0\0\x01\0\0\0\0\0\0\0\0\x01");
    bytes.extend(8u64.to_le_bytes());
    bytes.extend(b"\x01\x01\0\0\0\x01\0\0\0a\x04");
    bytes.extend(3u64.to_le_bytes());
    bytes.extend(b"\x08\0\0\0\x02\0\0\0\0\x03\0\0\0a/b\x07");
    bytes.extend([10u64, 11, 12, 0].iter().flat_map(|n| n.to_le_bytes()));
    let described = Wasi::describe(&bytes).unwrap();
    assert_eq!(described.args, ["prog"]);
    assert_eq!(described.awake_ns, 7);
    assert_eq!(described.waiting.unwrap().left_ns, Some(2));
    let file = &described.fds[2];
    assert_eq!((file.fd, &file.path[..], file.offset, file.size), (8, "/a/b", Some(10), Some(12)));
    assert_eq!(file.flags, ["read", "write", "append"]);
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Wasi::describe(&bytes).is_err());
    }

    #[test]
    fn bytes_that_begin_well(tail in proptest::collection::vec(0u8..4, 0..300)) {
        for version in [1, 2] {
        let mut bytes = b"DMWS".to_vec();
        bytes.extend([version, 0, 0, 0]);
        bytes.extend(&tail);
        let _ = Wasi::describe(&bytes);
        }
    }

    /// Whatever is made of a few flipped bytes, it is either refused or a program that can make calls and be saved.
    /// No directory is taken from the record, so nothing outside the test's own is touched.
    #[test]
    fn flipped_bytes(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let (dir, mut bytes) = sample();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let opts = dormouse_wasi::RestoreOptions {
            dirs: vec![(dir.path().into(), "/work".to_owned())],
            recorded_dirs: false,
            ..options()
        };
        if let Ok(wasi) = Wasi::restore(&bytes, opts) {
            let mut g = Guest::of(wasi);
            for fd in 0..10 {
                let _ = g.fstat(fd);
                let _ = g.fdstat(fd);
                let _ = g.read(fd, 10);
                let _ = g.write(fd, b"x");
                let _ = g.readdir(fd, 100, 1);
                let _ = g.seek(fd, 1, 1);
            }
            let _ = g.wasi.save();
        }
    }

    /// Any call with any arguments on any small memory answers, without a panic.
    #[test]
    fn arbitrary_arguments(
        call in 0..dormouse_wasi::CALLS.len(),
        args in proptest::collection::vec(prop_oneof![0u64..10, 0u64..300, any::<u64>()], 10),
        memory in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let dir = tempdir().unwrap();
        let mut g = Guest::new(dir.path());
        g.mem = memory;
        // Nothing waits for ever.
        g.wasi.interrupter().interrupt();
        let name = dormouse_wasi::CALLS[call].name;
        let mut args = args.into_iter();
        macro_rules! by_name {
            ($(($call:ident, blocking = $blocking:literal, ($($arg:ident: $ty:ident),*) -> $result:tt))*) => {
                match name {
                    $(stringify!($call) => {
                        $(let $arg = args.next().unwrap_or(0) as $ty;)*
                        let _ = g.wasi.$call(&mut g.mem, $($arg),*);
                    })*
                    _ => unreachable!(),
                }
            };
        }
        dormouse_wasi::for_each_call!(by_name);
        prop_assert!(g.wasi.save().is_ok() || name.starts_with("path_"));
    }
}
