//! Standard streams that are regular files: output written after the checkpoint is not there twice, input goes on where
//! it was, and nothing else is touched.

mod guest;

use dormouse_wasi::{RestoreOptions, Stdio, StdioConfig, Wasi};
use guest::*;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use tempfile::tempdir;

/// Standard output that is a file: what the next guest, resumed from before the last write, leaves in it.
fn stdout_file(open: impl Fn() -> File, before: &str, after: &str) -> Vec<u8> {
    let dir = tempdir().unwrap();
    let stdio = || StdioConfig { stdout: Stdio::Fd(open().into()), ..StdioConfig::null() };
    let mut g = Guest::with(dir.path(), stdio());
    g.write(1, before.as_bytes()).unwrap();
    let bytes = g.wasi.save().unwrap();
    g.write(1, after.as_bytes()).unwrap();
    drop(g);
    let mut g =
        Guest::of(Wasi::restore(&bytes, RestoreOptions { stdio: stdio(), ..options() }).unwrap());
    g.write(1, after.as_bytes()).unwrap();
    let mut content = Vec::new();
    std::io::Read::read_to_end(
        &mut {
            let mut f = open();
            f.rewind().unwrap();
            f
        },
        &mut content,
    )
    .unwrap();
    content
}

#[test]
fn output_to_a_file_is_not_there_twice() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, "older\n").unwrap();
    let append = || OpenOptions::new().read(true).append(true).open(&path).unwrap();
    assert_eq!(stdout_file(append, "one\n", "two\n"), b"older\none\ntwo\n");
    // Appending, with nothing written yet: the position says 0, but nothing older may go.
    fs::write(&path, "older\n").unwrap();
    assert_eq!(stdout_file(append, "", "two\n"), b"older\ntwo\n");
    // Opened at its end without the append flag.
    fs::write(&path, "older\n").unwrap();
    let at_end = || {
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file
    };
    assert_eq!(stdout_file(at_end, "one\n", "two\n"), b"older\none\ntwo\n");
}

#[test]
fn output_in_the_middle_of_a_file_cuts_nothing() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("f");
    fs::write(&path, "0123456789").unwrap();
    let open = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
    assert_eq!(stdout_file(open, "ab", "cd"), b"cdcd456789");
}

#[test]
fn another_or_a_shorter_output_file_is_left_alone() {
    let dir = tempdir().unwrap();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let open = |path| OpenOptions::new().create(true).append(true).open(path).unwrap();
    let stdio = |path| StdioConfig { stdout: Stdio::Fd(open(path).into()), ..StdioConfig::null() };
    let mut g = Guest::with(dir.path(), stdio(&first));
    g.write(1, b"12345").unwrap();
    let bytes = g.wasi.save().unwrap();
    fs::write(&second, "something longer").unwrap();
    Wasi::restore(&bytes, RestoreOptions { stdio: stdio(&second), ..options() }).unwrap();
    assert_eq!(fs::read(&second).unwrap(), b"something longer");
    File::options().write(true).open(&first).unwrap().set_len(2).unwrap();
    Wasi::restore(&bytes, RestoreOptions { stdio: stdio(&first), ..options() }).unwrap();
    assert_eq!(fs::read(&first).unwrap(), b"12");
}

#[test]
fn without_the_check_of_files_no_output_is_cut() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("log");
    let stdio = || {
        let log =
            || Stdio::Fd(OpenOptions::new().create(true).append(true).open(&path).unwrap().into());
        StdioConfig { stdout: log(), stderr: log(), ..StdioConfig::null() }
    };
    let mut g = Guest::with(dir.path(), stdio());
    g.write(1, b"one ").unwrap();
    let bytes = g.wasi.save().unwrap();
    g.write(2, b"two ").unwrap();
    let again = |check_files| {
        let options = RestoreOptions { stdio: stdio(), check_files, ..options() };
        Guest::of(Wasi::restore(&bytes, options).unwrap()).write(1, b"three ").unwrap();
        fs::read_to_string(&path).unwrap()
    };
    assert_eq!(again(false), "one two three ");
    assert_eq!(again(true), "one three ");

    // It is the first job's, as far as a clone knows.
    fs::write(&path, "one two ").unwrap();
    let options = RestoreOptions { stdio: stdio(), clone: true, ..options() };
    Guest::of(Wasi::restore(&bytes, options).unwrap()).write(1, b"three ").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "one two three ");
}

#[test]
fn input_from_a_file_goes_on_where_it_was() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("in");
    fs::write(&path, "one two three").unwrap();
    let stdio = |path| StdioConfig {
        stdin: Stdio::Fd(File::open(path).unwrap().into()),
        ..StdioConfig::null()
    };
    let mut g = Guest::with(dir.path(), stdio(&path));
    assert_eq!(g.read(0, 4).unwrap(), b"one ");
    let bytes = g.wasi.save().unwrap();
    drop(g);
    let mut g = Guest::of(
        Wasi::restore(&bytes, RestoreOptions { stdio: stdio(&path), ..options() }).unwrap(),
    );
    assert_eq!(g.read(0, 4).unwrap(), b"two ");
    let other = dir.path().join("other");
    fs::write(&other, "abc").unwrap();
    let mut g = Guest::of(
        Wasi::restore(&bytes, RestoreOptions { stdio: stdio(&other), ..options() }).unwrap(),
    );
    assert_eq!(g.read(0, 4).unwrap(), b"abc");
}
