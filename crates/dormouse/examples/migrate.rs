//! A job that moves from one process to another, over a socket, while it runs.
//!
//! ```text
//!   sender                                        receiver (this program again, with `receive`)
//!     1 2 3 4 5 ..   checkpoint, and stop
//!     archive of the checkpoint ──────────────────> its store
//!            <────────────────────────── "have"     durable here; not run yet
//!     removes its own copy
//!            "go" ──────────────────────────────>   6 7 8 .. 12
//! ```
//!
//! There are never two that run: the receiver waits for "go", and the sender has nothing left to resume when it says that.
//! If the connection breaks before "have", the sender has its copy and goes on from it. If it breaks later, the
//! checkpoint lies in at least one of the two stores, and nobody runs it by accident.
//!
//! `cargo run --release --example migrate`

use dormouse::control::{Request, ask};
use dormouse::store::{Care, Store};
use dormouse::{HostFunctions, Job, Outcome, StdioConfig, Type::I32};
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// Says 1 to 12, 50 milliseconds apart, and ends with the sum of them: 78.
const PROGRAM: &str = r#"(module
  (import "host" "say" (func $say (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $sleep
    (i32.store (i32.const 16) (i32.const 1))         ;; the monotonic clock
    (i64.store (i32.const 24) (i64.const 50000000))  ;; from now on
    (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))))
  (func (export "_start") (local $n i32) (local $sum i32)
    (loop $next
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (local.set $sum (i32.add (local.get $sum) (local.get $n)))
      (call $say (local.get $n))
      (call $sleep)
      (br_if $next (i32.lt_u (local.get $n) (i32.const 12))))
    (call $exit (local.get $sum))))"#;

/// What the program says is printed, and told.
fn host(who: &'static str, told: mpsc::Sender<u32>) -> HostFunctions {
    HostFunctions::new().with("host", "say", &[I32], &[], move |_, args| {
        let n = u32::try_from(args[0])?;
        println!("{who}: {n}");
        let _ = told.send(n);
        Ok(vec![])
    })
}

/// The program's streams are not this process's, which a resume would cut back if it is a file.
fn job(store: &Path) -> Job {
    Job::new(store).stdio(StdioConfig::null())
}

fn main() -> Done {
    let dir = tempfile::tempdir()?;
    match std::env::args().nth(1).as_deref() {
        Some("receive") => receive(&dir.path().join("store")),
        _ => send(&dir.path().join("store")),
    }
}

fn send(store: &Path) -> Done {
    let mut receiver =
        Command::new(std::env::current_exe()?).arg("receive").stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(receiver.stdout.take().ok_or("no output")?).lines();
    let address = lines.next().ok_or("the receiver ended")??;

    // The job runs; once it has said 5, somebody wants it elsewhere.
    let (told, said) = mpsc::channel();
    let moves = job(store).name("moves").host(host("sender", told));
    let module = wat::parse_str(PROGRAM)?;
    let running = std::thread::spawn(move || moves.run("moves", module.into(), vec![]));
    let mut last = said.iter().find(|n| *n == 5).ok_or("it ended early")?;
    ask(store, "moves", Request::Checkpoint { stop: true })?;
    let outcome = running.join().map_err(|_| "the job panicked")??;
    let Outcome::Stopped { checkpoint, .. } = outcome else {
        return Err(format!("it was not stopped: {outcome:?}").into());
    };
    last = said.try_iter().last().unwrap_or(last);

    let here = Store::open(store)?;
    let mut socket = TcpStream::connect(address)?;
    let hand_over = |socket: &mut TcpStream| -> Done {
        here.write_archive("moves", Some(checkpoint.number), socket)?;
        let mut answer = [0; 4];
        socket.read_exact(&mut answer)?;
        if answer == *b"have" { Ok(()) } else { Err("the receiver refused it".into()) }
    };
    if let Err(e) = hand_over(&mut socket) {
        println!("not handed over ({e}): it goes on here");
        let (told, _) = mpsc::channel();
        job(store).host(host("sender", told)).resume(&"moves".parse()?)?;
        return Ok(());
    }
    here.remove(&[("moves".to_owned(), checkpoint.number)], Care::Thorough)?;
    assert!(job(store).resume(&"moves".parse()?).is_err(), "nothing is left to resume");
    socket.write_all(b"go")?;
    socket.shutdown(Shutdown::Write)?;

    let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
    lines.iter().for_each(|line| println!("{line}"));
    assert!(receiver.wait()?.success());
    let rest = (last + 1..=12).map(|n| format!("receiver: {n}"));
    let rest: Vec<String> = rest.chain(["receiver: Exited(78)".to_owned()]).collect();
    assert_eq!(lines, rest, "it went on where it was, and knows the sum");
    Ok(())
}

fn receive(store: &Path) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let (mut socket, _) = listener.accept()?;
    let store_here = Store::create_or_open(store)?;
    let checkpoint = store_here.read_archive(&mut socket, None)?;
    socket.write_all(b"have")?;
    let mut word = [0; 2];
    if socket.read_exact(&mut word).is_err() || word != *b"go" {
        return Err(format!("{} is here, but not to be run yet", checkpoint.name()).into());
    }
    let (told, _) = mpsc::channel();
    let moves = job(store).host(host("receiver", told));
    let outcome = moves.resume(&checkpoint.name().parse()?)?;
    println!("receiver: {outcome:?}");
    Ok(())
}
