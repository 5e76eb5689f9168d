//! Calls that wait: timeouts, pipes, and being interrupted.

mod guest;

use dormouse_wasi::{Errno, Interrupter, RestoreOptions, Stdio, StdioConfig, Stop, Wasi};
use guest::*;
use std::io::{Read, Write, pipe};
use std::time::{Duration, Instant};
use tempfile::tempdir;

const MS: u64 = 1_000_000;

fn interrupt_after(interrupter: Interrupter, ms: u64) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(ms));
        interrupter.interrupt();
    })
}

#[test]
fn a_timeout_is_waited_for() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let begin = Instant::now();
    g.subscribe_clock(DATA, 42, 1, 30 * MS, false);
    assert_eq!(g.poll(1), Ok(Ok(vec![42])));
    assert!(begin.elapsed() >= Duration::from_millis(30));
    // As stock wasmtime answers a single relative timeout.
    assert_eq!((g.mem[DATA as usize + 48 + 10], g.u64(DATA + 48 + 16)), (0, 1));

    let deadline = g.monotonic() + 20 * MS;
    g.subscribe_clock(DATA, 1, 1, deadline, true);
    assert_eq!(g.poll(1), Ok(Ok(vec![1])));
    assert!(g.monotonic() >= deadline);
}

#[test]
fn the_first_of_several_ends_the_wait() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let begin = Instant::now();
    g.subscribe_clock(DATA, 1, 1, 3_600_000 * MS, false);
    g.subscribe_clock(DATA + 48, 2, 0, 10 * MS, false);
    assert_eq!(g.poll(2), Ok(Ok(vec![2])));
    assert!(begin.elapsed() < Duration::from_secs(60));
    let fd = g.open("f", CREAT, READ | WRITE, 0).unwrap();
    g.subscribe_clock(DATA, 1, 1, 3_600_000 * MS, false);
    g.subscribe_fd(DATA + 48, 7, fd, false);
    g.subscribe_fd(DATA + 96, 8, fd, true);
    assert_eq!(g.poll(3), Ok(Ok(vec![7, 8])));
    // At its end: hang-up.
    assert_eq!(g.mem[(DATA + 3 * 48 + 24) as usize], 1);
}

#[test]
fn what_cannot_be_polled() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    assert_eq!(g.wasi.poll_oneoff(&mut g.mem, DATA, DATA, 0, RESULT), Ok(Errno::Inval));
    g.subscribe_fd(DATA, 1, DIR, false);
    assert_eq!(g.poll(1), Ok(Err(Errno::Badf)));
    g.subscribe_fd(DATA, 1, 1, false);
    assert_eq!(g.poll(1), Ok(Err(Errno::Badf)));
    g.subscribe_clock(DATA, 1, 2, 1, true);
    assert_eq!(g.poll(1), Ok(Err(Errno::Inval)));
    g.mem[DATA as usize + 8] = 3;
    assert_eq!(g.poll(1), Ok(Err(Errno::Inval)));
}

#[test]
fn an_interrupted_wait_goes_on_where_it_was() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    let total = 1_000 * MS;
    g.subscribe_clock(DATA, 5, 1, total, false);
    let thread = interrupt_after(g.wasi.interrupter(), 800);
    let begin = g.monotonic();
    assert_eq!(g.poll(1), Err(Stop::Interrupted));
    thread.join().unwrap();
    let bytes = g.wasi.save().unwrap();
    let waiting = Wasi::describe(&bytes).unwrap().waiting.unwrap();
    assert!(waiting.left_ns.unwrap() <= 200 * MS, "{waiting:?}");
    let mem = g.mem;
    drop(g.wasi);
    // Asleep: this does not count.
    std::thread::sleep(Duration::from_millis(500));

    let mut g = Guest { wasi: Wasi::restore(&bytes, options()).unwrap(), mem };
    let resumed = Instant::now();
    assert_eq!(g.poll(1), Ok(Ok(vec![5])));
    let rest = resumed.elapsed();
    assert!(
        rest >= Duration::from_nanos(waiting.left_ns.unwrap()),
        "waited {rest:?} of {waiting:?}"
    );
    assert!(rest < Duration::from_millis(900), "the wait began anew: {rest:?}");
    assert!(g.monotonic() - begin >= total);
    assert!(Wasi::describe(&g.wasi.save().unwrap()).unwrap().waiting.is_none());
}

#[test]
fn another_wait_than_the_interrupted_one_is_new() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    g.wasi.interrupter().interrupt();
    g.subscribe_clock(DATA, 5, 1, 100 * MS, false);
    assert_eq!(g.poll(1), Err(Stop::Interrupted));
    g.wasi.interrupter().clear();
    std::thread::sleep(Duration::from_millis(120));
    g.subscribe_clock(DATA, 5, 1, 80 * MS, false);
    g.subscribe_clock(DATA + 48, 6, 1, 200 * MS, false);
    let begin = Instant::now();
    assert_eq!(g.poll(2), Ok(Ok(vec![5])));
    assert!(begin.elapsed() >= Duration::from_millis(80));
}

#[test]
fn while_interrupted_only_waiting_is_refused() {
    let dir = tempdir().unwrap();
    let (read, mut write) = pipe().unwrap();
    let (_out_read, out_write) = pipe().unwrap();
    let stdio = StdioConfig {
        stdin: Stdio::Fd(read.into()),
        stdout: Stdio::Fd(out_write.into()),
        stderr: Stdio::Null,
    };
    let mut g = Guest::with(dir.path(), stdio);
    let fd = g.open("f", CREAT, READ | WRITE, 0).unwrap();
    g.wasi.interrupter().interrupt();
    assert_eq!(g.write(fd, b"abc"), Ok(3));
    assert_eq!(g.write(1, b"room in the pipe"), Ok(16));
    let iov = g.iovec(DATA, 10);
    assert_eq!(g.wasi.fd_read(&mut g.mem, 0, iov, 1, RESULT), Err(Stop::Interrupted));
    write.write_all(b"xy").unwrap();
    assert_eq!(g.read(0, 10).unwrap(), b"xy");
    g.subscribe_clock(DATA, 1, 1, 0, false);
    assert_eq!(g.poll(1), Ok(Ok(vec![1])));
    g.subscribe_clock(DATA, 1, 1, 1_000 * MS, false);
    g.subscribe_fd(DATA + 48, 2, 0, false);
    assert_eq!(g.poll(2), Err(Stop::Interrupted));
    write.write_all(b"z").unwrap();
    assert_eq!(g.poll(2), Ok(Ok(vec![2])));
    g.wasi.interrupter().clear();
    assert_eq!(g.read(0, 10).unwrap(), b"z");
    drop(write);
    assert_eq!(g.read(0, 10).unwrap(), b"");
}

#[test]
fn a_read_that_waits_is_interrupted_from_another_thread() {
    let dir = tempdir().unwrap();
    let (read, mut write) = pipe().unwrap();
    let stdio = StdioConfig { stdin: Stdio::Fd(read.into()), ..StdioConfig::null() };
    let mut g = Guest::with(dir.path(), stdio);
    let thread = interrupt_after(g.wasi.interrupter(), 50);
    let iov = g.iovec(DATA, 10);
    assert_eq!(g.wasi.fd_read(&mut g.mem, 0, iov, 1, RESULT), Err(Stop::Interrupted));
    thread.join().unwrap();
    g.wasi.interrupter().clear();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        write.write_all(b"later").unwrap();
    });
    assert_eq!(g.read(0, 10).unwrap(), b"later");
    thread.join().unwrap();
}

#[test]
fn an_interrupted_write_loses_and_repeats_nothing() {
    let dir = tempdir().unwrap();
    let (mut read, write) = pipe().unwrap();
    let stdio = StdioConfig { stdout: Stdio::Fd(write.into()), ..StdioConfig::null() };
    let mut g = Guest::with(dir.path(), stdio);
    let data: Vec<u8> = (0..500_000u32).map(|i| (i % 251) as u8).collect();
    g.put(DATA, &data);
    let interrupter = g.wasi.interrupter();
    // No one reads yet: the pipe fills, the part that fitted is the answer, and the next call has room for nothing.
    interrupter.interrupt();
    let iov = g.iovec(DATA, data.len() as u32);
    assert_eq!(g.wasi.fd_write(&mut g.mem, 1, iov, 1, RESULT), Ok(Errno::Success));
    let mut done = g.u32(RESULT) as usize;
    assert!(0 < done && done < data.len());
    let iov = g.iovec(DATA + done as u32, 10);
    assert_eq!(g.wasi.fd_write(&mut g.mem, 1, iov, 1, RESULT), Err(Stop::Interrupted));
    interrupter.clear();
    let reader = std::thread::spawn(move || {
        let (mut all, mut chunk) = (Vec::new(), [0; 10_000]);
        loop {
            std::thread::sleep(Duration::from_micros(100));
            match read.read(&mut chunk).unwrap() {
                0 => return all,
                n => all.extend_from_slice(&chunk[..n]),
            }
        }
    });
    let chaos = {
        let interrupter = interrupter.clone();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(2)).is_err() {
                interrupter.interrupt();
            }
        });
        (stop, thread)
    };
    while done < data.len() {
        let iov = g.iovec(DATA + done as u32, (data.len() - done) as u32);
        match g.wasi.fd_write(&mut g.mem, 1, iov, 1, RESULT) {
            Ok(Errno::Success) => {
                done += g.u32(RESULT) as usize;
                interrupter.clear();
            }
            Err(Stop::Interrupted) => interrupter.clear(),
            other => panic!("{other:?}"),
        }
    }
    chaos.0.send(()).unwrap();
    chaos.1.join().unwrap();
    drop(g);
    assert!(reader.join().unwrap() == data, "the reader saw something else than was written");
}

/// As stock wasmtime has it.
#[test]
fn a_broken_pipe_is_an_error() {
    let dir = tempdir().unwrap();
    let (read, write) = pipe().unwrap();
    drop(read);
    let stdio = StdioConfig { stdout: Stdio::Fd(write.into()), ..StdioConfig::null() };
    let mut g = Guest::with(dir.path(), stdio);
    assert_eq!(g.write(1, b"x"), Err(Errno::Io));
}

/// The same: what cannot be read is empty, what cannot be written to takes everything.
#[test]
fn streams_the_wrong_way_round() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("file");
    let write = std::fs::File::create(&path).unwrap();
    let read = std::fs::File::open(&path).unwrap();
    let directory = std::fs::File::open(dir.path()).unwrap();
    let stdio = StdioConfig {
        stdin: Stdio::Fd(write.into()),
        stdout: Stdio::Fd(read.into()),
        stderr: Stdio::Fd(directory.into()),
    };
    let mut g = Guest::with(dir.path(), stdio);
    assert_eq!(g.read(0, 10), Ok(vec![]));
    assert_eq!(g.write(1, b"text"), Ok(4));
    assert_eq!(g.write(2, b"text"), Ok(4));
    let directory = std::fs::File::open(dir.path()).unwrap();
    let stdio = StdioConfig { stdin: Stdio::Fd(directory.into()), ..StdioConfig::null() };
    assert_eq!(Guest::with(dir.path(), stdio).read(0, 10), Ok(vec![]));
}

#[test]
fn time_stands_still_asleep_and_never_goes_back() {
    let dir = tempdir().unwrap();
    let mut g = Guest::new(dir.path());
    std::thread::sleep(Duration::from_millis(20));
    let before = g.monotonic();
    let bytes = g.wasi.save().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let wasi = Wasi::restore(&bytes, options()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    // Restored, but not started: the same bytes again.
    assert_eq!(wasi.save().unwrap(), bytes);
    let after = Guest::of(wasi).monotonic();
    assert!(after >= before);
    assert!(after - before < 550 * MS, "{before} {after}");
}

#[test]
fn an_interrupted_program_can_be_restored_with_pipes() {
    let dir = tempdir().unwrap();
    let (read, _write) = pipe().unwrap();
    let g = Guest::with(
        dir.path(),
        StdioConfig { stdin: Stdio::Fd(read.into()), ..StdioConfig::null() },
    );
    let bytes = g.wasi.save().unwrap();
    let (read, mut write) = pipe().unwrap();
    write.write_all(b"new pipe").unwrap();
    let stdio = StdioConfig { stdin: Stdio::Fd(read.into()), ..StdioConfig::null() };
    let mut g = Guest::of(Wasi::restore(&bytes, RestoreOptions { stdio, ..options() }).unwrap());
    assert_eq!(g.read(0, 100).unwrap(), b"new pipe");
}
