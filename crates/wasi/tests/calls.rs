//! The calls, one by one, against what stock wasmtime answers.

mod guest;

use dormouse_wasi::{CALLS, Call, Errno, Stdio, StdioConfig, Stop, ValType};
use guest::*;
use std::sync::{Arc, Mutex};
use tempfile::tempdir;

/// What WASI preview 1 has, and nothing else: no locks, mappings, processes, users or limits.
const PREVIEW_1: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

#[test]
fn table_lists_every_import_once() {
    let names: Vec<_> = CALLS.iter().map(|call| call.name).collect();
    assert_eq!(names, PREVIEW_1);
    let open = Call::named("path_open").unwrap();
    use ValType::{I32, I64};
    assert_eq!(open.params, [I32, I32, I32, I32, I32, I64, I64, I32, I32]);
    assert_eq!(open.results, [I32]);
    assert!(Call::named("proc_exit").unwrap().results.is_empty());
    assert!(Call::named("poll_oneoff").unwrap().blocking && !open.blocking);
}

#[test]
fn arguments_and_environment() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    assert_eq!(g.wasi.args_get(&mut g.mem, 0, 100), Ok(Errno::Success));
    assert_eq!(g.mem[..8], [100, 0, 0, 0, 105, 0, 0, 0]);
    assert_eq!(&g.mem[100..109], b"prog\0arg\0");
    assert_eq!(g.wasi.environ_sizes_get(&mut g.mem, 0, 4), Ok(Errno::Success));
    assert_eq!((g.u32(0), g.u32(4)), (1, 10));
    assert_eq!(g.wasi.environ_get(&mut g.mem, 0, 100), Ok(Errno::Success));
    assert_eq!(&g.mem[100..110], b"KEY=value\0");
}

#[test]
fn exit() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    assert_eq!(g.wasi.proc_exit(&mut g.mem, 7), Err(Stop::Exit(7)));
    assert!(matches!(g.wasi.proc_exit(&mut g.mem, 126), Err(Stop::Trap(_))));
}

#[test]
fn write_seek_read() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", CREAT | EXCL, READ | WRITE, 0).unwrap();
    assert_eq!(g.write(fd, b"hello world"), Ok(11));
    assert_eq!(g.seek(fd, -5, 1), Ok(6));
    assert_eq!(g.read(fd, 100).unwrap(), b"world");
    assert_eq!(g.read(fd, 100).unwrap(), b"");
    assert_eq!(g.seek(fd, -1, 0), Err(Errno::Inval));
    assert_eq!(g.seek(fd, 2, 2), Ok(13));
    assert_eq!(g.write(fd, b"!"), Ok(1));
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"hello world\0\0!");
    assert_eq!(g.wasi.fd_allocate(&mut g.mem, fd, 0, 1), Ok(Errno::Notsup));
    assert_eq!(g.wasi.fd_filestat_set_size(&mut g.mem, fd, 5), Ok(Errno::Success));
    assert_eq!(g.fstat(fd).unwrap().2, 5);
    let iov = g.iovec(DATA, 3);
    assert_eq!(g.wasi.fd_pread(&mut g.mem, fd, iov, 1, 1, RESULT), Ok(Errno::Success));
    assert_eq!(g.data(g.u32(RESULT)), b"ell");
    assert_eq!(g.tell(fd), Ok(14));
    assert_eq!(g.open("f", CREAT | EXCL, READ, 0), Err(Errno::Exist));
    assert_eq!(g.open("g", 0, READ, 0), Err(Errno::Noent));
    assert_eq!(g.open("f", DIRECTORY, READ, 0), Err(Errno::Notdir));
    assert_eq!(g.open("f", 0, READ, 16), Err(Errno::Notsup));
    assert_eq!(g.open_at(fd, 1, "x", 0, READ, 0), Err(Errno::Notdir));
}

#[test]
fn only_the_first_buffer_that_is_not_empty() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", CREAT, READ | WRITE, 0).unwrap();
    g.put(DATA, b"abcdef");
    for (i, (ptr, len)) in [(0, 0), (DATA, 3), (DATA + 3, 3)].into_iter().enumerate() {
        let at = 600 + 8 * i as u32;
        g.put(at, &u32::to_le_bytes(ptr));
        g.put(at + 4, &u32::to_le_bytes(len));
    }
    assert_eq!(g.wasi.fd_write(&mut g.mem, fd, 600, 3, RESULT), Ok(Errno::Success));
    assert_eq!(g.u32(RESULT), 3);
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"abc");
}

#[test]
fn append_goes_to_the_end() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "123").unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", 0, WRITE, APPEND).unwrap();
    assert_eq!(g.write(fd, b"4"), Ok(1));
    assert_eq!(g.tell(fd), Ok(4));
    assert_eq!(g.fdstat(fd).unwrap().1, APPEND as u16);
    assert_eq!(g.wasi.fd_fdstat_set_flags(&mut g.mem, fd, NONBLOCK), Ok(Errno::Success));
    assert_eq!(g.fdstat(fd).unwrap().1, NONBLOCK as u16);
    g.seek(fd, 0, 0).unwrap();
    assert_eq!(g.write(fd, b"x"), Ok(1));
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"x234");
    assert_eq!(g.wasi.fd_fdstat_set_flags(&mut g.mem, fd, 2), Ok(Errno::Inval));
}

#[test]
fn rights_are_reported_and_the_system_enforces_them() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "123").unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", 0, READ, 0).unwrap();
    let rights = g.fdstat(fd).unwrap().2;
    assert_eq!((rights & READ, rights & WRITE), (READ, 0));
    assert_eq!(g.write(fd, b"x"), Err(Errno::Badf));
    let fd = g.open("f", 0, WRITE, 0).unwrap();
    assert_eq!(g.read(fd, 1), Err(Errno::Badf));
    assert_eq!(g.fdstat(fd).unwrap().2 & (READ | WRITE), WRITE);
    assert_eq!(g.wasi.fd_fdstat_set_rights(&mut g.mem, fd, 0, 0), Ok(Errno::Notsup));
    assert_eq!(g.fdstat(DIR).unwrap().0, 3);
    assert_eq!(g.fdstat(0).unwrap(), (0, 0, READ));
    assert_eq!(g.fdstat(1).unwrap(), (0, 0, WRITE));
}

#[test]
fn numbers_are_those_of_stock_wasmtime() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fds: Vec<_> = (0..4).map(|_| g.open("f", CREAT, READ, 0).unwrap()).collect();
    assert_eq!(fds, [4, 5, 6, 7]);
    g.close(4).unwrap();
    g.close(6).unwrap();
    assert_eq!(g.close(6), Err(Errno::Badf));
    // The highest that is free, then the others, then new ones.
    let fds: Vec<_> = (0..3).map(|_| g.open("f", 0, READ, 0).unwrap()).collect();
    assert_eq!(fds, [6, 4, 8]);
    assert_eq!(g.wasi.fd_renumber(&mut g.mem, 5, 8), Ok(Errno::Success));
    assert_eq!(g.wasi.fd_renumber(&mut g.mem, 5, 8), Ok(Errno::Badf));
    assert_eq!(g.wasi.fd_renumber(&mut g.mem, 8, 100), Ok(Errno::Badf));
    assert_eq!(g.open("f", 0, READ, 0), Ok(5));
}

#[test]
fn standard_streams() {
    let dir = tempdir().unwrap();
    let out = Arc::new(Mutex::new(Vec::new()));
    let stdio = StdioConfig {
        stdin: Stdio::Bytes(b"input".to_vec()),
        stdout: Stdio::Buffer(out.clone()),
        stderr: Stdio::Null,
    };
    let mut g = Guest::with(dir.path(), stdio);
    assert_eq!(g.read(0, 3).unwrap(), b"inp");
    assert_eq!(g.read(0, 3).unwrap(), b"ut");
    assert_eq!(g.read(0, 3).unwrap(), b"");
    assert_eq!(g.write(1, b"out"), Ok(3));
    assert_eq!(g.write(2, b"err"), Ok(3));
    assert_eq!(*out.lock().unwrap(), b"out");
    assert_eq!(g.write(0, b"x"), Err(Errno::Badf));
    assert_eq!(g.read(1, 1), Err(Errno::Badf));
    assert_eq!(g.seek(1, 0, 1), Err(Errno::Spipe));
    let iov = g.iovec(DATA, 1);
    assert_eq!(g.wasi.fd_pread(&mut g.mem, 0, iov, 1, 0, RESULT), Ok(Errno::Spipe));
    assert_eq!(g.wasi.sock_shutdown(&mut g.mem, 0, 1), Ok(Errno::Notsock));
    assert_eq!(g.wasi.sock_shutdown(&mut g.mem, 77, 1), Ok(Errno::Badf));
}

#[test]
fn preopens_are_named() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    assert_eq!(g.wasi.fd_prestat_get(&mut g.mem, DIR, 0), Ok(Errno::Success));
    assert_eq!((g.u32(0), g.u32(4)), (0, 5));
    assert_eq!(g.wasi.fd_prestat_dir_name(&mut g.mem, DIR, 0, 5), Ok(Errno::Success));
    assert_eq!(&g.mem[..5], b"/work");
    assert_eq!(g.wasi.fd_prestat_dir_name(&mut g.mem, DIR, 0, 4), Ok(Errno::Nametoolong));
    assert_eq!(g.wasi.fd_prestat_get(&mut g.mem, 4, 0), Ok(Errno::Badf));
    assert_eq!(g.wasi.fd_prestat_dir_name(&mut g.mem, 1, 0, 4), Ok(Errno::Notdir));
}

#[test]
fn directories_are_listed_with_any_buffer() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    for i in 0..50 {
        std::fs::write(dir.path().join(format!("file{i}")), "").unwrap();
    }
    g.mkdir("sub").unwrap();
    let all = g.names(DIR, 1 << 16).unwrap();
    assert_eq!(all[..2], [".", ".."]);
    assert_eq!(all.len(), 53);
    for len in [24 + 6, 31, 64, 100] {
        assert_eq!(g.names(DIR, len).unwrap(), all, "with {len} bytes");
    }
    let types: Vec<_> = g.readdir(DIR, 1 << 16, 0).unwrap().0;
    assert_eq!(types.iter().find(|(_, name, _)| name == "sub").unwrap().2, 3);
    assert_eq!(types.iter().find(|(_, name, _)| name == "file7").unwrap().2, 4);
    assert_eq!(g.readdir(0, 100, 0), Err(Errno::Badf));
}

#[test]
fn a_listing_does_not_change_under_the_reader() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    for name in ["a", "b", "c"] {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let all = g.names(DIR, 4096).unwrap();
    let first = g.readdir(DIR, 26, 0).unwrap().0;
    assert_eq!(first.len(), 1);
    for name in ["a", "b", "c"] {
        g.unlink(name).unwrap();
    }
    let rest: Vec<_> =
        g.readdir(DIR, 4096, first[0].0).unwrap().0.into_iter().map(|e| e.1).collect();
    assert_eq!(rest, all[1..]);
    assert_eq!(g.names(DIR, 4096).unwrap(), [".", ".."]);
}

#[test]
fn paths() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.mkdir("d").unwrap();
    assert_eq!(g.mkdir("d"), Err(Errno::Exist));
    g.open("d/f", CREAT, WRITE, 0).unwrap();
    assert_eq!(g.rmdir("d"), Err(Errno::Notempty));
    assert_eq!(g.unlink("d"), Err(Errno::Isdir));
    g.link("d/f", "hard").unwrap();
    assert_eq!(g.stat("hard", 0).unwrap(), g.stat("d/f", 0).unwrap());
    g.symlink("d/f", "soft").unwrap();
    assert_eq!(g.readlink("soft", 100).unwrap(), "d/f");
    assert_eq!(g.readlink("soft", 2).unwrap(), "d/");
    assert_eq!(g.stat("soft", 0).unwrap().1, 7);
    assert_eq!(g.stat("soft", 1).unwrap(), g.stat("d/f", 0).unwrap());
    assert_eq!(g.open_at(DIR, 0, "soft", 0, READ, 0), Err(Errno::Loop));
    assert!(g.open_at(DIR, 1, "soft", 0, READ, 0).is_ok());
    g.rename("hard", "d/moved").unwrap();
    assert_eq!(g.stat("hard", 0), Err(Errno::Noent));
    g.unlink("d/f").unwrap();
    g.unlink("d/moved").unwrap();
    g.rmdir("d").unwrap();
    assert_eq!(g.stat("d", 0), Err(Errno::Noent));
    assert_eq!(g.stat("a\0b", 0), Err(Errno::Inval));
    g.mem[PATH as usize] = 0xff;
    assert_eq!(g.wasi.path_unlink_file(&mut g.mem, DIR, PATH, 1), Ok(Errno::Ilseq));
}

#[test]
fn times_are_set() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", CREAT, WRITE, 0).unwrap();
    let at = |g: &Guest, field| g.u64(DATA + field);
    assert_eq!(
        g.wasi.fd_filestat_set_times(&mut g.mem, fd, 1_000_000_001, 2_000_000_002, 5),
        Ok(Errno::Success)
    );
    g.fstat(fd).unwrap();
    assert_eq!((at(&g, 40), at(&g, 48)), (1_000_000_001, 2_000_000_002));
    let (p, l) = g.put(PATH, b"f");
    assert_eq!(
        g.wasi.path_filestat_set_times(&mut g.mem, DIR, 0, p, l, 0, 3_000_000_003, 4),
        Ok(Errno::Success)
    );
    g.fstat(fd).unwrap();
    assert_eq!((at(&g, 40), at(&g, 48)), (1_000_000_001, 3_000_000_003));
    assert_eq!(g.wasi.fd_filestat_set_times(&mut g.mem, fd, 0, 0, 3), Ok(Errno::Inval));
    assert_eq!(
        g.wasi.fd_filestat_set_times(&mut g.mem, DIR, 0, 4_000_000_004, 4),
        Ok(Errno::Success)
    );
    g.fstat(DIR).unwrap();
    assert_eq!(at(&g, 48), 4_000_000_004);
}

#[test]
fn nothing_leads_out_of_the_sandbox() {
    let outer = tempdir().unwrap();
    std::fs::write(outer.path().join("secret"), "s").unwrap();
    let inner = outer.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::os::unix::fs::symlink("../secret", inner.join("up")).unwrap();
    std::os::unix::fs::symlink(outer.path().join("secret"), inner.join("absolute")).unwrap();
    std::os::unix::fs::symlink("..", inner.join("parent")).unwrap();
    let mut g = Guest::new(&inner);
    let absolute = outer.path().join("secret").to_str().unwrap().to_owned();
    for path in
        ["../secret", "up", "absolute", "parent/secret", "x/../../secret", absolute.as_str()]
    {
        let refused = |e| matches!(e, Errno::Perm | Errno::Notcapable | Errno::Noent);
        assert!(g.open(path, 0, READ, 0).is_err_and(refused), "open {path}");
        assert!(g.stat(path, 1).is_err_and(refused), "stat {path}");
        assert!(g.open(path, CREAT | TRUNC, WRITE, 0).is_err_and(refused), "create {path}");
    }
    assert_eq!(g.open("../secret", 0, READ, 0), Err(Errno::Perm));
    assert_eq!(g.open("up", 0, READ, 0), Err(Errno::Perm));
    assert_eq!(g.rename("up", "../stolen"), Err(Errno::Perm));
    assert_eq!(g.link("../secret", "got"), Err(Errno::Perm));
    assert_eq!(g.symlink("/etc/passwd", "abs"), Err(Errno::Perm));
    assert_eq!(g.unlink("parent/secret"), Err(Errno::Perm));
    assert_eq!(g.mkdir("../made"), Err(Errno::Perm));
    assert_eq!(std::fs::read(outer.path().join("secret")).unwrap(), b"s");
    assert_eq!(std::fs::read_dir(outer.path()).unwrap().count(), 2);
}

/// What stock wasmtime ends the program for; the message names the call.
fn ends<T: std::fmt::Debug>(answer: Result<T, Stop>, call: &str, why: &str) {
    match answer {
        Err(Stop::Trap(said)) => assert!(said.starts_with(call) && said.contains(why), "{said}"),
        other => panic!("{call}: {other:?}"),
    }
}

#[test]
fn bad_addresses_end_the_program() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", CREAT, READ | WRITE, 0).unwrap();
    let end = MEMORY as u32;
    g.iovec(end - 1, 2);
    ends(g.wasi.fd_write(&mut g.mem, fd, IOVEC, 1, RESULT), "fd_write: ", "outside");
    g.iovec(DATA, 2);
    for nwritten in [end - 3, u32::MAX] {
        ends(g.wasi.fd_write(&mut g.mem, fd, IOVEC, 1, nwritten), "fd_write: ", "outside");
    }
    ends(g.wasi.fd_write(&mut g.mem, fd, IOVEC + 2, 1, RESULT), "fd_write: ", "multiple of 4");
    assert_eq!(g.wasi.fd_write(&mut g.mem, fd, IOVEC, u32::MAX, RESULT), Ok(Errno::Nomem));
    ends(g.wasi.args_get(&mut g.mem, end - 4, 0), "args_get: ", "outside");
    ends(g.wasi.random_get(&mut g.mem, end - 1, 2), "random_get: ", "outside");
    assert_eq!(g.wasi.random_get(&mut g.mem, u32::MAX, 0), Ok(Errno::Success));
    assert_eq!(g.wasi.poll_oneoff(&mut g.mem, 0, 0, u32::MAX, 0), Ok(Errno::Nomem));
    ends(g.wasi.path_unlink_file(&mut g.mem, DIR, end, 1), "path_unlink_file: ", "outside");
    assert_eq!(g.wasi.path_unlink_file(&mut g.mem, 77, end, 1), Ok(Errno::Badf));
}

#[test]
fn numbers_that_there_are_not_end_the_program() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let fd = g.open("f", CREAT, READ | WRITE, 0).unwrap();
    ends(g.wasi.fd_seek(&mut g.mem, fd, 0, 3, RESULT), "fd_seek: ", "whence 3");
    ends(g.wasi.fd_fdstat_set_flags(&mut g.mem, fd, 65), "fd_fdstat_set_flags: ", "flags 0x40");
    ends(g.wasi.clock_time_get(&mut g.mem, 9, 0, RESULT), "clock_time_get: ", "clock 9");
    ends(
        g.wasi.fd_fdstat_set_rights(&mut g.mem, fd, 1 << 30, 0),
        "fd_fdstat_set_rights: ",
        "rights",
    );
    ends(g.wasi.proc_exit(&mut g.mem, 126), "proc_exit: ", "126");
}

#[test]
fn random_bytes_differ() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    assert_eq!(g.wasi.random_get(&mut g.mem, 0, 32), Ok(Errno::Success));
    assert_eq!(g.wasi.random_get(&mut g.mem, 32, 32), Ok(Errno::Success));
    assert_ne!(g.mem[..32], g.mem[32..64]);
    assert_ne!(g.mem[..32], [0; 32]);
}

#[test]
fn clocks() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let first = g.monotonic();
    assert!(g.monotonic() >= first);
    assert!(first < 10_000_000_000, "the monotonic clock begins at 0");
    assert_eq!(g.wasi.clock_time_get(&mut g.mem, 0, 0, RESULT), Ok(Errno::Success));
    assert!(g.u64(RESULT) > 1_600_000_000_000_000_000);
    assert_eq!(g.wasi.clock_time_get(&mut g.mem, 2, 0, RESULT), Ok(Errno::Badf));
    assert_eq!(g.wasi.clock_res_get(&mut g.mem, 1, RESULT), Ok(Errno::Success));
    assert!(g.u64(RESULT) > 0);
}
