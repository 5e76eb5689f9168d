//! Save and restore: what is found again, what is cut back, what is refused and in which words.

mod guest;

use dormouse_wasi::{Errno, RestoreOptions, Wasi, WasiConfig, WasiError};
use guest::*;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};
use tempfile::tempdir;

fn message<T>(result: Result<T, WasiError>) -> String {
    match result {
        Ok(_) => panic!("this should have failed"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn everything_is_as_it_was() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("in"), "some input").unwrap();
    let mut g = Guest::with(dir.path(), quiet(b"standard input"));
    g.mkdir("sub").unwrap();
    let input = g.open("in", 0, READ, 0).unwrap();
    let sub = g.open("sub", DIRECTORY, READ, 0).unwrap();
    let out = g.open_at(sub, 1, "out", CREAT, READ | WRITE, 0).unwrap();
    let log = g.open("log", CREAT, WRITE, APPEND | NONBLOCK).unwrap();
    g.read(input, 5).unwrap();
    g.write(out, b"0123456789").unwrap();
    g.seek(out, 3, 0).unwrap();
    g.write(log, b"line 1\n").unwrap();
    g.read(0, 9).unwrap();
    let numbers = [input, sub, out, log].map(|fd| g.fstat(fd).unwrap().0);
    let flags = [input, sub, out, log].map(|fd| g.fdstat(fd).unwrap());
    let bytes = g.wasi.save().unwrap();
    drop(g);

    let opts = RestoreOptions { stdio: quiet(b"standard input"), ..options() };
    let wasi = Wasi::restore(&bytes, opts).unwrap();
    assert_eq!(wasi.save().unwrap(), bytes, "saving right after resuming gives the same state");
    let mut g = Guest::of(wasi);
    assert_eq!([input, sub, out, log].map(|fd| g.fstat(fd).unwrap().0), numbers);
    assert_eq!([input, sub, out, log].map(|fd| g.fdstat(fd).unwrap()), flags);
    assert_eq!(g.read(input, 100).unwrap(), b"input");
    assert_eq!(g.tell(out), Ok(3));
    assert_eq!(g.write(out, b"x"), Ok(1));
    assert_eq!(g.write(log, b"line 2\n"), Ok(7));
    assert_eq!(g.read(0, 100).unwrap(), b"input");
    assert_eq!(fs::read(dir.path().join("sub/out")).unwrap(), b"012x456789");
    assert_eq!(fs::read(dir.path().join("log")).unwrap(), b"line 1\nline 2\n");
    assert_eq!(g.wasi.args_get(&mut g.mem, 0, 100), Ok(Errno::Success));
    assert_eq!(&g.mem[100..109], b"prog\0arg\0");
    g.open_at(sub, 1, "new", CREAT, WRITE, 0).unwrap();
    assert!(dir.path().join("sub/new").exists());
}

#[test]
fn free_numbers_are_remembered() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    for _ in 0..5 {
        g.open("f", CREAT, READ, 0).unwrap();
    }
    for fd in [5, 8] {
        g.close(fd).unwrap();
    }
    g.close(DIR).unwrap();
    let mut g = g.sleep().unwrap();
    assert_eq!(g.open("f", 0, READ, 0), Err(Errno::Badf), "the preopen stays closed");
    assert_eq!(g.fstat(7).unwrap().1, 4, "and what was opened beneath it is found");
    assert_eq!(g.wasi.fd_renumber(&mut g.mem, 4, 6), Ok(Errno::Success));
}

#[test]
fn next_number_after_a_resume_is_the_same() {
    let dir = tempdir().unwrap();
    let run = |sleep: bool| {
        let mut g = Guest::new(dir.path());
        for _ in 0..5 {
            g.open("f", CREAT, READ, 0).unwrap();
        }
        for fd in [5, 8] {
            g.close(fd).unwrap();
        }
        if sleep {
            g = g.sleep().unwrap();
        }
        [0; 4].map(|_| g.open("f", 0, READ, 0).unwrap())
    };
    assert_eq!(run(true), run(false));
    assert_eq!(run(true), [8, 5, 9, 10]);
}

#[test]
fn a_clone_cuts_only_what_it_was_given() {
    let (dir, own) = (tempdir().unwrap(), tempdir().unwrap());
    let mut g = Guest::new(dir.path());
    let fd = g.open("out", CREAT, WRITE, 0).unwrap();
    g.write(fd, b"before").unwrap();
    let bytes = g.wasi.save().unwrap();
    let clone = || RestoreOptions { clone: true, ..options() };
    drop(Wasi::restore(&bytes, clone()).unwrap());
    g.write(fd, b" after").unwrap();
    for refused in [
        Wasi::restore(&bytes, clone()).map(drop).unwrap_err(),
        Wasi::rehearse(&bytes, clone()).map(drop).unwrap_err(),
    ] {
        assert!(matches!(refused, WasiError::NotOurs { then: 6, now: 12, .. }), "{refused}");
    }
    drop(Wasi::restore(&bytes, RestoreOptions { check_files: false, ..clone() }).unwrap());
    fs::copy(dir.path().join("out"), own.path().join("out")).unwrap();
    let guest = Wasi::rehearse(&bytes, options()).unwrap().dirs[0].0.clone();
    let given = RestoreOptions { dirs: vec![(own.path().into(), guest)], ..clone() };
    drop(Wasi::restore(&bytes, given).unwrap());
    assert_eq!(fs::read(own.path().join("out")).unwrap(), b"before");
    assert_eq!(fs::read(dir.path().join("out")).unwrap(), b"before after");
}

#[test]
fn output_after_the_checkpoint_is_cut_back() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("out");
    let mut g = Guest::new(dir.path());
    let fd = g.open("out", CREAT, WRITE, 0).unwrap();
    g.write(fd, b"before").unwrap();
    let bytes = g.wasi.save().unwrap();
    g.write(fd, b" after").unwrap();
    drop(g);
    assert_eq!(fs::read(&path).unwrap(), b"before after");
    let mut g = Guest::of(Wasi::restore(&bytes, options()).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"before");
    g.write(fd, b" again").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before again");
    drop(g);

    let kept = RestoreOptions { check_files: false, ..options() };
    fs::write(&path, "before and someone else").unwrap();
    Wasi::restore(&bytes, kept).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"before and someone else");

    fs::write(&path, "bef").unwrap();
    let said = message(Wasi::restore(&bytes, options()));
    assert!(
        said.contains("fd 4") && said.contains("/work/out") && said.contains("--files none"),
        "{said}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"bef");
}

#[test]
fn a_failed_restore_cuts_nothing() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    fs::write(dir.path().join("in"), "x").unwrap();
    let out = g.open("out", CREAT, WRITE, 0).unwrap();
    g.open("in", 0, READ, 0).unwrap();
    let bytes = g.wasi.save().unwrap();
    g.write(out, b"after").unwrap();
    fs::remove_file(dir.path().join("in")).unwrap();
    let said = message(Wasi::restore(&bytes, options()));
    assert!(said.contains("fd 5") && said.contains("/work/in"), "{said}");
    assert_eq!(fs::read(dir.path().join("out")).unwrap(), b"after");
}

#[test]
fn changed_input_is_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("in");
    // Too large for being read while the program stands.
    File::create(&path).unwrap().set_len(5 << 20).unwrap();
    let then = fs::metadata(&path).unwrap().modified().unwrap();
    let mut g = Guest::new(dir.path());
    g.open("in", 0, READ, 0).unwrap();
    let bytes = g.wasi.save().unwrap();
    drop(g);

    File::create(&path).unwrap().set_len(6 << 20).unwrap();
    let said = message(Wasi::restore(&bytes, options()));
    assert!(said.contains("6291456 bytes long, was 5242880"), "{said}");
    File::create(&path).unwrap().set_len(5 << 20).unwrap();
    let set = |time| File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    set(then + Duration::from_secs(1));
    assert!(message(Wasi::restore(&bytes, options())).contains("modification time"));
    Wasi::restore(&bytes, RestoreOptions { check_files: false, ..options() }).unwrap();
    set(then);
    Wasi::restore(&bytes, options()).unwrap();

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(matches!(Wasi::restore(&bytes, options()), Err(WasiError::Changed { fd: 4, .. })));
}

#[test]
fn a_file_read_and_written_by_the_program_itself_is_no_changed_input() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let write = g.open("f", CREAT, WRITE, 0).unwrap();
    g.open("f", 0, READ, 0).unwrap();
    let bytes = g.wasi.save().unwrap();
    g.write(write, b"after").unwrap();
    Wasi::restore(&bytes, options()).unwrap();
}

#[test]
fn deleted_files_are_refused_by_name_and_the_program_goes_on() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("temp", CREAT, READ | WRITE, 0).unwrap();
    g.unlink("temp").unwrap();
    match g.wasi.save() {
        Err(WasiError::Unlinked { fd: 4, path }) => assert_eq!(path, "/work/temp"),
        other => panic!("{other:?}"),
    }
    assert_eq!(g.write(fd, b"still there"), Ok(11));
    // Another file of that name is not the same file.
    fs::write(dir.path().join("temp"), "other").unwrap();
    assert!(matches!(g.wasi.save(), Err(WasiError::Unlinked { fd: 4, .. })));
    g.close(fd).unwrap();
    g.wasi.save().unwrap();

    g.mkdir("d").unwrap();
    g.open("d", DIRECTORY, READ, 0).unwrap();
    g.rmdir("d").unwrap();
    assert!(matches!(g.wasi.save(), Err(WasiError::Unlinked { fd: 4, .. })));
}

#[test]
fn renamed_files_are_found() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.mkdir("a").unwrap();
    let fd = g.open("a/f", CREAT, READ | WRITE, 0).unwrap();
    let sub = g.open("a", DIRECTORY, READ, 0).unwrap();
    g.write(fd, b"x").unwrap();
    g.rename("a/f", "a/g").unwrap();
    g.rename("a", "b").unwrap();
    let bytes = g.wasi.save().unwrap();
    let paths: Vec<_> = Wasi::describe(&bytes).unwrap().fds.into_iter().map(|fd| fd.path).collect();
    assert_eq!(paths[4..], ["/work/b/g", "/work/b"]);
    let mut g = g.sleep().unwrap();
    g.write(fd, b"y").unwrap();
    assert_eq!(fs::read(dir.path().join("b/g")).unwrap(), b"xy");
    g.open_at(sub, 1, "g", 0, READ, 0).unwrap();

    // Renamed over: the open file is gone, whatever has its name now.
    g.open("new", CREAT, WRITE, 0).unwrap();
    g.rename("new", "b/g").unwrap();
    assert!(matches!(g.wasi.save(), Err(WasiError::Unlinked { .. })));
}

#[test]
fn files_moved_by_others_are_found_or_refused() {
    let dir = tempdir().unwrap();
    let elsewhere = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.open("f", CREAT, READ | WRITE, 0).unwrap();
    fs::rename(dir.path().join("f"), dir.path().join("g")).unwrap();
    if cfg!(target_os = "linux") {
        let bytes = g.wasi.save().unwrap();
        assert_eq!(Wasi::describe(&bytes).unwrap().fds[4].path, "/work/g");
    }
    fs::hard_link(dir.path().join("g"), elsewhere.path().join("g")).unwrap();
    fs::remove_file(dir.path().join("g")).unwrap();
    assert!(matches!(g.wasi.save(), Err(WasiError::Moved { fd: 4, .. })));
}

#[test]
fn symlinks_are_followed_once() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.mkdir("real").unwrap();
    fs::write(dir.path().join("real/one"), "one").unwrap();
    fs::write(dir.path().join("two"), "two").unwrap();
    g.symlink("real", "way").unwrap();
    g.symlink("real/one", "link").unwrap();
    g.open("link", 0, READ, 0).unwrap();
    g.open("way/../way/one", 0, READ, 0).unwrap();
    let bytes = g.wasi.save().unwrap();
    g.unlink("link").unwrap();
    g.symlink("two", "link").unwrap();
    g.unlink("way").unwrap();
    let mut g = Guest::of(Wasi::restore(&bytes, options()).unwrap());
    assert_eq!(g.read(4, 10).unwrap(), b"one");
    assert_eq!(g.read(5, 10).unwrap(), b"one");
}

#[test]
fn a_place_that_became_a_symlink_is_not_followed() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.open("f", CREAT, WRITE, 0).unwrap();
    fs::write(dir.path().join("other"), "other").unwrap();
    let bytes = g.wasi.save().unwrap();
    g.unlink("f").unwrap();
    g.symlink("other", "f").unwrap();
    assert!(matches!(Wasi::restore(&bytes, options()), Err(WasiError::Missing { fd: 4, .. })));
    assert_eq!(fs::read(dir.path().join("other")).unwrap(), b"other");
}

#[test]
fn a_listing_goes_on_after_a_resume() {
    let dir = tempdir().unwrap();
    for i in 0..20 {
        fs::write(dir.path().join(format!("f{i}")), "").unwrap();
    }
    let mut g = Guest::new(dir.path());
    let all = g.names(DIR, 4096).unwrap();
    let some = g.readdir(DIR, 200, 0).unwrap().0;
    let mut g = g.sleep().unwrap();
    fs::remove_file(dir.path().join("f3")).unwrap();
    fs::write(dir.path().join("more"), "").unwrap();
    let mut names: Vec<_> = some.iter().map(|e| e.1.clone()).collect();
    let cookie = some.last().unwrap().0;
    names.extend(g.readdir(DIR, 4096, cookie).unwrap().0.into_iter().map(|e| e.1));
    assert_eq!(names, all);
}

#[test]
fn directories_can_be_elsewhere() {
    let (here, there) = (tempdir().unwrap(), tempdir().unwrap());
    let mut g = Guest::new(here.path());
    let fd = g.open("f", CREAT, READ | WRITE, 0).unwrap();
    g.write(fd, b"abc").unwrap();
    let bytes = g.wasi.save().unwrap();
    let number = g.fstat(fd).unwrap().0;
    drop(g);
    fs::copy(here.path().join("f"), there.path().join("f")).unwrap();
    fs::remove_dir_all(here.path()).unwrap();

    let said = message(Wasi::restore(&bytes, options()));
    assert!(said.contains("--dir HOST::/work"), "{said}");
    let to = |guest: &str| RestoreOptions {
        dirs: vec![(there.path().into(), guest.to_owned())],
        ..options()
    };
    let said = message(Wasi::restore(&bytes, to("/wrong")));
    assert!(said.contains("/wrong") && said.contains("/work"), "{said}");
    let mut g = Guest::of(Wasi::restore(&bytes, to("/work")).unwrap());
    g.write(fd, b"def").unwrap();
    assert_eq!(fs::read(there.path().join("f")).unwrap(), b"abcdef");
    assert_eq!(g.fstat(fd).unwrap().0, number, "the guest sees the same inode number");
    assert_eq!(g.stat("f", 0).unwrap().0, number);

    let strict = RestoreOptions { recorded_dirs: false, ..options() };
    assert!(matches!(Wasi::restore(&bytes, strict), Err(WasiError::DirNotGiven { .. })));
}

#[test]
fn named_pipes_are_refused_and_devices_are_not() {
    let dir = tempdir().unwrap();
    let status =
        std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
    assert!(status.success());
    let mut g = Guest::new(dir.path());
    let fd = g.open("pipe", 0, READ, 0).unwrap();
    let said = message(g.wasi.save());
    assert!(said.contains("/work/pipe") && said.contains("named pipe"), "{said}");
    g.close(fd).unwrap();

    let cfg = WasiConfig {
        dirs: vec![("/dev".into(), "/dev".into())],
        stdio: quiet(b""),
        ..WasiConfig::default()
    };
    let mut g = Guest::of(Wasi::new(cfg).unwrap());
    let fd = g.open("zero", 0, READ, 0).unwrap();
    let mut g = g.sleep().unwrap();
    assert_eq!(g.read(fd, 3).unwrap(), [0; 3]);
}

#[test]
fn environment_can_be_changed() {
    let dir = tempdir().unwrap();
    let bytes = Guest::new(dir.path()).wasi.save().unwrap();
    let env = vec![(b"KEY".to_vec(), b"new".to_vec()), (b"MORE".to_vec(), b"1".to_vec())];
    let wasi = Wasi::restore(&bytes, RestoreOptions { env, ..options() }).unwrap();
    assert_eq!(Wasi::describe(&wasi.save().unwrap()).unwrap().env, ["KEY=new", "MORE=1"]);
}

#[test]
fn a_description_names_what_is_open() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", CREAT, READ | WRITE, APPEND).unwrap();
    g.write(fd, b"abc").unwrap();
    g.wasi.interrupter().interrupt();
    g.subscribe_clock(DATA, 1, 1, 1 << 40, false);
    g.poll(1).unwrap_err();
    let described = Wasi::describe(&g.wasi.save().unwrap()).unwrap();
    let json = serde_json::to_value(&described).unwrap();
    assert_eq!(json["args"], serde_json::json!(["prog", "arg"]));
    assert_eq!(json["preopens"][0]["guest"], "/work");
    assert_eq!(json["fds"][0]["kind"], "stdin");
    let expected = serde_json::json!({
        "fd": 4, "kind": "file", "path": "/work/f", "offset": 3, "size": 3, "flags": ["read", "write", "append"],
        "digest": "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358",
    });
    assert_eq!(json["fds"][4], expected);
    assert!(json["waiting"]["left_ns"].as_u64().unwrap() <= 1 << 40);
}

#[test]
fn saving_does_not_depend_on_when_files_were_written() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.open("f", CREAT, READ | WRITE, 0).unwrap();
    let bytes = g.wasi.save().unwrap();
    let touched = File::options().write(true).open(dir.path().join("f")).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let wasi = Wasi::restore(&bytes, options()).unwrap();
    assert_eq!(wasi.save().unwrap(), bytes);
}

#[test]
fn written_files_are_flushed() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.open("f", CREAT, WRITE, 0).unwrap();
    g.wasi.unsynced().unwrap().sync().unwrap();
}

/// What is destroyed in files is kept by copies where there are no hard links; each is synced once, and no descriptor is kept
/// for it.
#[test]
#[cfg(target_os = "linux")]
fn copies_in_the_undo_log_are_synced_once() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        return eprintln!("there is no other file system here");
    };
    let (dir, undo) = (tempdir().unwrap(), elsewhere.path().join("undo"));
    let config = WasiConfig {
        dirs: vec![(dir.path().to_owned(), "/".to_owned())],
        stdio: dormouse_wasi::StdioConfig::null(),
        undo: Some(undo),
        ..WasiConfig::default()
    };
    let mut g = Guest::of(Wasi::new(config).unwrap());
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    for n in 0..50 {
        for name in ["a", "b"] {
            let fd = g.open(name, CREAT, READ | WRITE, 0).unwrap();
            g.write(fd, &[n; 100]).unwrap();
            g.close(fd).unwrap();
        }
        g.rename("b", "a").unwrap();
        g.wasi.mark().unwrap();
        let unsynced = g.wasi.unsynced().unwrap();
        // Other tests open files as well.
        assert!(open() < before + 30, "{n}: {} descriptors, {before} before", open());
        unsynced.sync().unwrap();
    }
}
