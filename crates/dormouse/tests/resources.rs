//! What becomes of the things a process has, through the real binary: the rows of docs/resources.md that are not shown
//! elsewhere.
//!
//! Most programs here do something, print `>` and wait for a byte; there they are stopped, and resumed in another process, which
//! gives them the byte.
#![allow(missing_docs)]

mod harness;

use harness::program::program;
use harness::*;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

/// Waits until the program has printed `>`; then it waits for a byte.
fn has_come_to_wait(job: &mut Child) {
    assert_eq!(read(job.stdout.as_mut().unwrap(), 1), ">");
}

/// Runs a job until it waits, and stops it there.
fn stopped_at_its_wait(p: &Place, args: &[&str]) {
    let mut job = p.start("job", args);
    has_come_to_wait(&mut job);
    p.ok(&["checkpoint", "--stop", "job"]);
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(85), "{}", ended.err);
}

/// Gives a command some input, and waits for its end.
fn fed(mut command: Command, input: &[u8]) -> Ended {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    Ended::wait(child)
}

/// The same command in a shell, after some other commands.
fn after(p: &Place, before: &str, args: &[&str]) -> Command {
    let with = p.command(&[]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{before}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_dormouse")])
        .args(args);
    shell
        .current_dir(p.dir.path())
        .envs(with.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[test]
fn arguments_and_environment_are_kept() {
    let show = "(drop (call $wait))
      (call $must (call $args_sizes_get (i32.const 8) (i32.const 12)))
      (call $must (call $args_get (i32.const 1024) (i32.const 2048)))
      (drop (call $write (i32.const 1) (i32.const 2048) (i32.load (i32.const 12))))
      (call $must (call $environ_sizes_get (i32.const 8) (i32.const 12)))
      (call $must (call $environ_get (i32.const 1024) (i32.const 4096)))
      (drop (call $write (i32.const 1) (i32.const 4096) (i32.load (i32.const 12))))";
    let p = Place::new();
    let show = p.guest("show", &program("", show));
    stopped_at_its_wait(&p, &["--env", "A=1", "--env", "B=2", &show, "--", "one", "two"]);
    assert_eq!(p.ok(&["resume", "job"]), "show.wasm\0one\0two\0A=1\0B=2\0");
    let others = p.ok(&["resume", "job", "--env", "B=3", "--env", "C=4"]);
    assert_eq!(others, "show.wasm\0one\0two\0A=1\0B=3\0C=4\0");
}

#[test]
fn it_ends_as_it_would_have() {
    // `e`: exits with 7. `t`: divides by zero. `a`: passes an address that there is not. Else it returns.
    let ends = "(local $c i32)
      (drop (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
      (local.set $c (call $wait))
      (if (i32.eq (local.get $c) (i32.const 101)) (then (call $proc_exit (i32.const 7))))
      (if (i32.eq (local.get $c) (i32.const 116)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
      (if (i32.eq (local.get $c) (i32.const 97)) (then (drop (call $fd_tell (i32.const 4) (i32.const -8)))))";
    let p = Place::new();
    fs::create_dir(p.path("d")).unwrap();
    fs::write(p.path("d/f"), "").unwrap();
    let ends = p.guest("ends", &program("(data (i32.const 1024) \"f\")", ends));
    stopped_at_its_wait(&p, &["--dir", "d", &ends]);
    for (input, code) in [(b"e", 7), (b"t", 134), (b"a", 1), (b"x", 0)] {
        let plain = fed(p.command(&["run", "--dir", "d", &ends]), input);
        let resumed = fed(p.command(&["resume", "job"]), input);
        assert_eq!((plain.code, plain.out.as_str()), (Some(code), ">"), "{}", plain.err);
        assert_eq!((resumed.code, resumed.out.as_str()), (Some(code), ""), "{}", resumed.err);
        assert_eq!(plain.err, resumed.err);
    }
}

#[test]
fn signals_of_the_host_are_not_the_programs() {
    let raise = "(call $note (call $proc_raise (i32.const 1))) (drop (call $wait))
      (call $note (call $proc_raise (i32.const 15)))";
    let p = Place::new();
    let raise = p.guest("raise", &program("", raise));
    stopped_at_its_wait(&p, &[&raise]);
    // `notsup`, both times.
    assert_eq!(p.ok(&["resume", "job"]), "jj");
}

#[test]
fn descriptors_of_the_host_are_not_the_programs() {
    let each = "
      (call $note (call $fd_fdstat_get (i32.const 3) (i32.const 1024)))
      (call $note (call $read_one (i32.const 3)))
      (call $note (call $fd_fdstat_get (i32.const 4) (i32.const 1024)))
      (call $note (call $sock_accept (i32.const 4) (i32.const 0) (i32.const 1024)))
      (call $note (call $sock_shutdown (i32.const 4) (i32.const 1)))";
    let read_one = "(func $read_one (param $fd i32) (result i32)
      (i64.store (i32.const 0) (i64.const 0x100000400))
      (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))";
    let p = Place::new();
    let ask = p.guest("ask", &program(read_one, &format!("{each} (drop (call $wait)) {each}")));
    fs::write(p.path("secret"), "x").unwrap();
    // 3 is a file, 4 a socket that listens (the shell gets it as 2), as a service manager passes them on.
    let with_both = |args: &[&str]| {
        let listening = UnixListener::bind(p.path(args[0])).unwrap();
        let mut command = after(&p, "exec 3<secret 4<&2 2>errors", args);
        command.stdin(Stdio::piped()).stderr(OwnedFd::from(listening));
        command
    };
    let mut job = with_both(&["run", "--name", "job", &ask]).spawn().unwrap();
    has_come_to_wait(&mut job);
    p.ok(&["checkpoint", "--stop", "job"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let ended = fed(with_both(&["resume", "job"]), b"x");
    // `badf`, every time, before and after.
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "8888888888"));
}

#[test]
fn a_stream_that_is_a_socket_is_a_stream() {
    let ask = "(call $note (call $sock_recv (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 8) (i32.const 12)))
      (call $note (call $sock_shutdown (i32.const 0) (i32.const 1)))
      (call $note (i32.sub (call $wait) (i32.const 48)))";
    let p = Place::new();
    let ask =
        p.guest("ask", &program("(data (i32.const 0) \"\\00\\04\\00\\00\\01\\00\\00\\00\")", ask));
    let (theirs, mut ours) = UnixStream::pair().unwrap();
    let theirs: OwnedFd = theirs.into();
    ours.write_all(b"5").unwrap();
    let ended = Ended::of(p.command(&["run", &ask]).stdin(Stdio::from(theirs)).output().unwrap());
    // `notsock` twice; and it can be read.
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ">ii5"), "{}", ended.err);
}

#[test]
fn files_that_sync_at_each_write_are_refused() {
    // SYNC, DSYNC, RSYNC; then the same for a file that is open.
    let open = |flag: u32| {
        format!(
            "(call $note (call $path_open (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 0)
               (i64.const 66) (i64.const 66) (i32.const {flag}) (i32.const 8)))"
        )
    };
    let set = |flag: u32| {
        format!("(call $note (call $fd_fdstat_set_flags (i32.const 4) (i32.const {flag})))")
    };
    let sets = "(drop (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))";
    let all = [16, 2, 8].map(open).join("\n") + sets + &[16, 2, 8].map(set).join("\n");
    let p = Place::new();
    fs::create_dir(p.path("d")).unwrap();
    fs::write(p.path("d/f"), "").unwrap();
    let all = p.guest("all", &program("(data (i32.const 1024) \"f\")", &all));
    // `notsup`, `inval`.
    assert_eq!(p.ok(&["run", "--dir", "d", &all]), "jjjLLL");
}

#[test]
fn standard_streams_that_were_renumbered() {
    // 2 becomes a file, and 4 what was 0: standard input.
    let moves = "
      (drop (call $open (i32.const 1024) (i32.const 1) (i32.const 1) (i32.const 0)))
      (call $must (call $fd_renumber (i32.const 4) (i32.const 2)))
      (drop (call $write (i32.const 2) (i32.const 1025) (i32.const 2)))
      (drop (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
      (call $must (call $fd_renumber (i32.const 0) (i32.const 4)))
      (drop (call $write (i32.const 1) (i32.const 1029) (i32.const 1)))
      (drop (call $read (i32.const 4) (i32.const 16) (i32.const 1)))
      (call $note (i32.sub (i32.load8_u (i32.const 16)) (i32.const 48)))
      (call $note (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (drop (call $write (i32.const 2) (i32.const 1027) (i32.const 2)))";
    let p = Place::new();
    fs::create_dir(p.path("d")).unwrap();
    let moves = p.guest("moves", &program("(data (i32.const 1024) \"fabcd>\")", moves));
    stopped_at_its_wait(&p, &["--dir", "d", &moves]);
    let ended = fed(p.command(&["resume", "job"]), b"7");
    // 0 is free (`badf`) still.
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), "78", ""));
    assert_eq!(fs::read(p.path("d/f")).unwrap(), b"abcd");
}

/// Stopped at each place, before, between and after its reads and writes, with input from a file and output to one.
#[test]
fn input_from_a_file_and_output_to_one() {
    let copy = "(local $n i32)
      (block $end (loop $l
        (local.set $n (call $read (i32.const 0) (i32.const 1024) (i32.const 4)))
        (br_if $end (i32.eqz (local.get $n)))
        (drop (call $write (i32.const 1) (i32.const 1024) (local.get $n)))
        (br $l)))";
    let p = Place::new();
    let copy = p.guest("copy", &program("", copy));
    fs::write(p.path("in"), "0123456789abcdef").unwrap();
    let streams = |command: &mut Command, out: &str| {
        let mut options = File::options();
        options.create(true).append(true);
        command.stdin(File::open(p.path("in")).unwrap());
        command.stdout(options.open(p.path(out)).unwrap());
    };
    for n in 1.. {
        let (job, at) = (format!("job{n}"), n.to_string());
        let mut command = p.command(&["run", "--name", &job, "--stop-at", &at, &copy]);
        streams(&mut command, &job);
        let first = Ended::of(command.output().unwrap());
        if first.code == Some(85) {
            // Somebody else's line, which goes; see docs/wasi.md.
            File::options().append(true).open(p.path(&job)).unwrap().write_all(b"?").unwrap();
            let mut command = p.command(&["resume", &job]);
            streams(&mut command, &job);
            assert_eq!(Ended::of(command.output().unwrap()).code, Some(0));
        }
        assert_eq!(fs::read(p.path(&job)).unwrap(), b"0123456789abcdef", "stopped at {n}");
        if first.code == Some(0) {
            assert!(n > 8, "{n}");
            break;
        }
    }
}

#[test]
fn what_is_far_into_a_file() {
    let far = "(local $fd i32)
      (local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 1) (i32.const 0)))
      (call $must (call $fd_seek (local.get $fd) (i64.const 6000000000) (i32.const 0) (i32.const 8)))
      (drop (call $write (local.get $fd) (i32.const 1025) (i32.const 2)))
      (drop (call $wait))
      (call $must (call $fd_tell (local.get $fd) (i32.const 8)))
      (call $whether (i64.eq (i64.load (i32.const 8)) (i64.const 6000000002)))
      (drop (call $write (local.get $fd) (i32.const 1027) (i32.const 2)))
      (call $must (call $fd_seek (local.get $fd) (i64.const -3) (i32.const 1) (i32.const 8)))
      (drop (call $read (local.get $fd) (i32.const 1040) (i32.const 9)))
      (drop (call $write (i32.const 1) (i32.const 1040) (i32.const 3)))";
    let p = Place::new();
    fs::create_dir(p.path("d")).unwrap();
    let far = p.guest("far", &program("(data (i32.const 1024) \"fabcd\")", far));
    stopped_at_its_wait(&p, &["--dir", "d", &far]);
    assert_eq!(p.ok(&["resume", "job"]), "bcd1");
    let file = fs::metadata(p.path("d/f")).unwrap();
    assert_eq!(file.len(), 6_000_000_004);
    assert!(file.blocks() * 512 < 1 << 20, "it has a hole still");
}

/// Files are made with the permissions that the process has given them in whose life they are made; and those that are put back
/// have the permissions that they had.
#[test]
fn permissions() {
    // Makes `a`, waits; makes `b`, replaces `c`, and waits again.
    let make = "(drop (call $open (i32.const 1024) (i32.const 1) (i32.const 1) (i32.const 0)))
      (drop (call $wait))
      (drop (call $open (i32.const 1025) (i32.const 1) (i32.const 1) (i32.const 0)))
      (call $must (call $path_unlink_file (i32.const 3) (i32.const 1026) (i32.const 1)))
      (drop (call $open (i32.const 1026) (i32.const 1) (i32.const 1) (i32.const 0)))
      (drop (call $wait))";
    let p = Place::new();
    fs::create_dir(p.path("d")).unwrap();
    fs::write(p.path("d/c"), "c").unwrap();
    fs::set_permissions(p.path("d/c"), fs::Permissions::from_mode(0o640)).unwrap();
    let make = p.guest("make", &program("(data (i32.const 1024) \"abc\")", make));
    let mode = |name: &str| fs::metadata(p.path("d").join(name)).unwrap().mode() & 0o777;

    let mut first = after(&p, "umask 077", &["run", "--name", "job", "--dir", "d", &make]);
    let mut job = first.stdin(Stdio::piped()).spawn().unwrap();
    has_come_to_wait(&mut job);
    p.ok(&["checkpoint", "job"]);
    job.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    has_come_to_wait(&mut job);
    assert_eq!(["a", "b", "c"].map(mode), [0o600, 0o600, 0o600]);
    job.kill().unwrap();
    job.wait().unwrap();

    let mut second = after(&p, "umask 002", &["resume", "job"]);
    let mut job = second.stdin(Stdio::piped()).spawn().unwrap();
    p.wait_answering("job");
    assert!(!p.path("d/b").exists());
    assert_eq!(["a", "c"].map(mode), [0o600, 0o640]);
    job.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    has_come_to_wait(&mut job);
    assert_eq!(["a", "b", "c"].map(mode), [0o600, 0o664, 0o664]);
    drop(job.stdin.take());
    let ended = Ended::wait(job);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

/// Directories are found where they were, wherever the resuming process is, and whatever bytes their path has.
#[test]
fn the_working_directory_does_not_matter() {
    let writes = "(local $fd i32)
      (local.set $fd (call $open (i32.const 1024) (i32.const 1) (i32.const 1) (i32.const 0)))
      (drop (call $write (local.get $fd) (i32.const 1025) (i32.const 2)))
      (drop (call $wait))
      (drop (call $write (local.get $fd) (i32.const 1027) (i32.const 2)))
      (drop (call $open (i32.const 1029) (i32.const 1) (i32.const 1) (i32.const 0)))";
    let p = Place::new();
    let writes = p.guest("writes", &program("(data (i32.const 1024) \"fabcdg\")", writes));
    let (here, there) = (p.dir.path().join(OsStr::from_bytes(b"h\xffre")), p.path("there"));
    fs::create_dir_all(here.join("d")).unwrap();
    fs::create_dir_all(there.join("d")).unwrap();
    let mut command = p.command(&["run", "--name", "job", "--dir", "d", &writes]);
    let mut job = command.current_dir(&here).stdin(Stdio::piped()).spawn().unwrap();
    has_come_to_wait(&mut job);
    p.ok(&["checkpoint", "--stop", "job"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let ended = Ended::of(p.command(&["resume", "job"]).current_dir(&there).output().unwrap());
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(fs::read(here.join("d/f")).unwrap(), b"abcd");
    assert!(here.join("d/g").exists());
    assert_eq!(fs::read_dir(there.join("d")).unwrap().count(), 0);
}

/// A directory that was given, beneath another one that was given, is renamed by the program.
#[test]
fn a_given_directory_that_was_renamed() {
    let rename = "
      (call $must (call $path_rename (i32.const 3) (i32.const 1024) (i32.const 1) (i32.const 3) (i32.const 1025) (i32.const 1)))
      (drop (call $wait))
      (call $must (call $path_create_directory (i32.const 4) (i32.const 1026) (i32.const 1)))";
    let p = Place::new();
    fs::create_dir_all(p.path("d/b")).unwrap();
    let rename = p.guest("rename", &program("(data (i32.const 1024) \"bce\")", rename));
    stopped_at_its_wait(&p, &["--dir", "d", "--dir", "d/b", &rename]);
    assert_eq!(p.ok(&["resume", "job"]), "");
    assert!(p.path("d/c/e").exists() && !p.path("d/b").exists());
}

#[test]
fn names_that_are_not_utf8() {
    // Opens `f`; is told of the names in its directory; waits.
    let lists = "(drop (call $open (i32.const 1024) (i32.const 1) (i32.const 0) (i32.const 0)))
      (call $note (call $fd_readdir (i32.const 3) (i32.const 1040) (i32.const 1000) (i64.const 0) (i32.const 8)))
      (call $note (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 1025) (i32.const 2) (i32.const 1040)))
      (drop (call $wait))";
    let p = Place::new();
    fs::create_dir(p.path("d")).unwrap();
    fs::write(p.path("d/f"), "").unwrap();
    let odd = p.path("d").join(OsStr::from_bytes(b"g\xff"));
    fs::write(&odd, "").unwrap();
    let lists = p.guest("lists", &program("(data (i32.const 1024) \"fg\\ff\")", lists));
    // `ilseq`, both times; and they are in nobody's way.
    stopped_at_its_wait(&p, &["--dir", "d", &lists]);
    assert_eq!(p.ok(&["resume", "job"]), "II");
    // Somebody gives the open file such a name: refused, and the program goes on.
    fs::remove_file(&odd).unwrap();
    let mut job = p.command(&["resume", "job"]).stdin(Stdio::piped()).spawn().unwrap();
    p.wait_answering("job");
    fs::rename(p.path("d/f"), &odd).unwrap();
    let refused = p.dormouse(&["checkpoint", "job"]);
    assert!(
        refused.error().contains("fd 4 is open on \"d/f\", which somebody moved"),
        "{}",
        refused.err
    );
    drop(job.stdin.take());
    assert_eq!(Ended::wait(job).code, Some(0));
}

#[test]
fn deadlines_and_clocks() {
    // Until a moment some time from now, by the realtime clock; then whether that is over, and whether less than that has
    // passed on the monotonic one: the time between the two processes does not count there.
    let until = "(local $real i64) (local $mono i64)
      (local.set $real (i64.add (call $time (i32.const 0)) (i64.const TIME)))
      (local.set $mono (call $time (i32.const 1)))
      (i64.store (i32.const 1064) (local.get $real)) (i32.store (i32.const 1080) (i32.const 1))
      (call $must (call $poll_oneoff (i32.const 1040) (i32.const 1104) (i32.const 1) (i32.const 8)))
      (call $whether (i64.ge_u (call $time (i32.const 0)) (local.get $real)))
      (local.set $mono (i64.sub (call $time (i32.const 1)) (local.get $mono)))
      (call $whether (i64.ge_s (local.get $mono) (i64.const 0)))
      (call $whether (i64.lt_s (local.get $mono) (i64.const TIME)))";
    // On a busy machine so much may really pass while it runs; then that is no answer, and it is to wait for longer.
    for seconds in [2, 8, 32, 128] {
        let p = Place::new();
        let text = until.replace("TIME", &format!("{seconds}000000000"));
        let until = p.guest("until", &program("", &text));
        let mut job = p.command(&["run", "--name", "job", &until]).spawn().unwrap();
        p.wait_for("it to answer, or to end", || {
            p.dormouse(&["checkpoint", "job"]).code == Some(0) || job.try_wait().unwrap().is_some()
        });
        let stopped = stop_in(&p, "poll_oneoff");
        let ended = Ended::wait(job);
        if !stopped {
            assert_eq!(ended.code, Some(0), "{}", ended.err);
            continue;
        }
        assert_eq!(ended.code, Some(85), "{}", ended.err);
        // It has read the clock before this.
        std::thread::sleep(std::time::Duration::from_secs(seconds));
        match p.ok(&["resume", "job"]).as_str() {
            "111" => return,
            said => assert_eq!(said, "110", "the moment is over"),
        }
    }
    panic!("the time between the processes counts");
}

/// Waits for a moment an hour from now, by the realtime clock, or for input, and is resumed long before: input it is that comes.
#[test]
fn a_deadline_that_is_not_over_is_waited_for() {
    // Two subscriptions; then how many events there are, which the first is, and whether the moment is still to come.
    let either = "(local $real i64)
      (local.set $real (i64.add (call $time (i32.const 0)) (i64.const 3600000000000)))
      (i64.store (i32.const 1064) (local.get $real)) (i32.store (i32.const 1080) (i32.const 1))
      (i64.store (i32.const 1088) (i64.const 7)) (i32.store (i32.const 1096) (i32.const 1))
      (call $must (call $poll_oneoff (i32.const 1040) (i32.const 1200) (i32.const 2) (i32.const 8)))
      (call $note (i32.load (i32.const 8)))
      (call $note (i32.load (i32.const 1200)))
      (call $whether (i64.lt_u (call $time (i32.const 0)) (local.get $real)))";
    let p = Place::new();
    let either = p.guest("either", &program("", either));
    let job = p.start("job", &[&either]);
    blocked_in(&p, "poll_oneoff");
    p.ok(&["checkpoint", "--stop", "job"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let mut job = p.command(&["resume", "job"]).stdin(Stdio::piped()).spawn().unwrap();
    p.wait_answering("job");
    blocked_in(&p, "poll_oneoff");
    job.stdin.take().unwrap().write_all(b"x").unwrap();
    let ended = Ended::wait(job);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "171"), "{}", ended.err);
}

#[test]
fn paths_longer_than_the_system_takes() {
    // Goes down through 30 directories whose names have 200 letters, each of which it makes, and opens a file in the last.
    let deep = "(local $fd i32) (local $n i32)
      (memory.fill (i32.const 1024) (i32.const 100) (i32.const 200))
      (local.set $fd (i32.const 3))
      (drop (call $wait))
      (loop $l
        (call $must (call $path_create_directory (local.get $fd) (i32.const 1024) (i32.const 200)))
        (call $must (call $path_open (local.get $fd) (i32.const 0) (i32.const 1024) (i32.const 200) (i32.const 2)
          (i64.const 0x4002) (i64.const 0x4002) (i32.const 0) (i32.const 8)))
        (if (i32.ne (local.get $fd) (i32.const 3)) (then (call $must (call $fd_close (local.get $fd)))))
        (local.set $fd (i32.load (i32.const 8)))
        (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 30))))
      (drop (call $wait))
      (call $note (call $fd_close (local.get $fd)))
      (drop (call $wait))";
    let p = Place::new();
    fs::create_dir(p.path("d")).unwrap();
    let deep = p.guest("deep", &program("", deep));
    let mut job = p.start("job", &["--dir", "d", &deep]);
    has_come_to_wait(&mut job);
    p.ok(&["checkpoint", "job"]);
    job.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    has_come_to_wait(&mut job);
    let refused = p.dormouse(&["checkpoint", "job"]);
    assert_eq!(refused.code, Some(125));
    let why = "job job took no checkpoint: fd 5 is open on a path of 6029 bytes, more than the system opens at once;";
    assert!(refused.error().starts_with(why), "{}", refused.err);
    job.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    has_come_to_wait(&mut job);
    p.ok(&["checkpoint", "--stop", "job"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    assert_eq!(p.ok(&["resume", "job"]), "0");
    // What was made there cannot be removed again by its path.
    let refused = p.dormouse(&["resume", "job@1"]);
    assert!(
        refused.error().starts_with("the files cannot go back to the checkpoint: undo log "),
        "{}",
        refused.err
    );
    assert!(p.path("d").join("d".repeat(200)).exists());
}
