//! Damaged records of WASI objects: described and restored without a panic, in bounded memory, and
//! without leaving the directory that was given. What is restored can be saved, and is the same when
//! it is restored again.

use crate::random::Random;
use crate::{allocation, corpus, mutate::mutate, tally};
use dormouse_wasi::{Errno, RestoreOptions, StdioConfig, Stop, Wasi, WasiConfig};
use std::path::PathBuf;
use std::sync::LazyLock;

/// Where records point to: one directory for each thread, as restoring cuts files back.
struct Place {
    dir: tempfile::TempDir,
}

const CONTENTS: &[u8] = b"0123456789 of a file that is open";

thread_local! {
    static PLACE: Place = {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("sub")).expect("sub");
        let place = Place { dir };
        place.put_files();
        place
    };
}

impl Place {
    fn file(&self) -> PathBuf {
        self.dir.path().join("sub/file")
    }

    fn put_files(&self) {
        std::fs::write(self.file(), CONTENTS).expect("sub/file");
        std::fs::write(self.dir.path().join("a"), CONTENTS).expect("a");
    }

    fn options(&self, check_files: bool) -> RestoreOptions {
        RestoreOptions {
            dirs: vec![(self.dir.path().into(), "/work".into())],
            recorded_dirs: false,
            stdio: StdioConfig::null(),
            check_files,
            ..RestoreOptions::default()
        }
    }
}

static CORPUS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| corpus::files("wasi-decoder").into_iter().map(|f| f.1).collect());

/// A record of the corpus, mutated.
pub fn input(seed: u64) -> Vec<u8> {
    let mut r = Random(seed);
    let mut bytes = r.pick(&CORPUS).clone();
    if !r.chance(16) {
        let other = r.pick(&CORPUS);
        mutate(&mut bytes, other, &mut r);
    }
    bytes
}

/// Describes and restores.
///
/// # Panics
/// If any of that breaks a promise.
pub fn run(data: &[u8]) {
    let (described, peak) = allocation::peak(|| Wasi::describe(data));
    let bound = data.len() * 128 + 4096;
    assert!(peak <= bound, "{peak} bytes allocated for {} bytes of input", data.len());
    if let Err(e) = &described {
        tally::add("refused", 1);
        assert!(!e.to_string().contains('\n'), "not a one-line error: {e}");
    }
    PLACE.with(|place| {
        let check = data.len().is_multiple_of(2);
        let (wasi, peak) = allocation::peak(|| Wasi::restore(data, place.options(check)));
        // Descriptors are numbers below 2^20, and those that are free are kept in a set.
        let bound = data.len() * 256 + (40 << 20);
        assert!(peak <= bound, "{peak} bytes allocated for {} bytes of input", data.len());
        match wasi {
            Ok(wasi) => {
                assert!(described.is_ok(), "restored, but cannot be described");
                tally::add("restored", 1);
                use_restored(wasi, place);
            }
            Err(e) => {
                if described.is_ok() {
                    tally::add("not restored", 1);
                }
                assert!(!e.to_string().contains('\n'), "not a one-line error: {e}");
            }
        }
        let right = |p: PathBuf| p.metadata().is_ok_and(|m| m.len() == CONTENTS.len() as u64);
        if !right(place.file()) || !right(place.dir.path().join("a")) {
            place.put_files();
        }
    });
}

fn use_restored(wasi: Wasi, place: &Place) {
    let saved = wasi.save().expect("what was just restored can be saved");
    drop(wasi);
    let again = Wasi::restore(&saved, place.options(true)).expect("what was just saved");
    assert!(again.save().expect("saved again") == saved, "saving after restoring differs");
    let mut wasi = again;
    let mut memory = vec![0u8; 1024];
    for fd in 0..10 {
        let _ = wasi.fd_fdstat_get(&mut memory, fd, 64);
        let _ = wasi.fd_filestat_get(&mut memory, fd, 64);
        let _ = wasi.fd_seek(&mut memory, fd, 1, 1, 64);
        let _ = wasi.fd_readdir(&mut memory, fd, 128, 256, 0, 64);
        // One buffer of 16 bytes at 512.
        memory[..8].copy_from_slice(&[0, 2, 0, 0, 16, 0, 0, 0]);
        let read = wasi.fd_read(&mut memory, fd, 0, 1, 64);
        assert!(!matches!(read, Err(Stop::Trap(_))), "reading traps: {read:?}");
    }
    let _: Result<Errno, Stop> = wasi.args_sizes_get(&mut memory, 0, 4);
    let before = wasi.exclusions().pages();
    assert!(before.windows(2).all(|w| w[0].end < w[1].start), "{before:?}");
    let _ = (wasi.exclude(&mut memory, 0, 512), wasi.include(&mut memory, 0, 1024));
    assert!(wasi.checkpoint().is_ok_and(|answer| answer == 0 || answer == 1));
    assert!(wasi.save().is_ok());
}

/// A record of a program that has one of everything, for the corpus: `place` is its `/work`.
pub fn sample() -> Vec<u8> {
    PLACE.with(|place| {
        let config = WasiConfig {
            args: vec![b"prog".to_vec(), b"--flag".to_vec()],
            env: vec![(b"HOME".to_vec(), b"/work".to_vec())],
            dirs: vec![(place.dir.path().into(), "/work".into())],
            stdio: StdioConfig::null(),
            ..WasiConfig::default()
        };
        let mut wasi = Wasi::new(config).expect("a directory");
        let mut memory = vec![0u8; 4096];
        memory[..8].copy_from_slice(b"sub/file");
        // A directory, being read; a file open for both, appending; one open for reading.
        let (all, none) = (u64::MAX >> 35, 0);
        wasi.path_open(&mut memory, 3, 0, 0, 3, 2, all, none, 0, 64).expect("sub");
        wasi.path_open(&mut memory, 3, 0, 0, 8, 0, 2 | 64, none, 1, 64).expect("sub/file");
        wasi.path_open(&mut memory, 3, 0, 0, 8, 0, 2, none, 0, 64).expect("sub/file");
        wasi.fd_readdir(&mut memory, 3, 128, 256, 0, 64).expect("a listing");
        assert_eq!(wasi.exclude(&mut memory, 100, 1000), 0);
        assert_eq!(wasi.exclude(&mut memory, 2000, 2000), 0);
        wasi.serve_checkpoints();
        assert_eq!(wasi.checkpoint(), Err(Stop::Interrupted));
        wasi.save().expect("a record")
    })
}
