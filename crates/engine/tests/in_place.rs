//! Requests as a running program gets them: from another thread, at any time, while it computes and
//! while it is blocked in a call; it goes on in place. And what the code cache spares and survives.

use dormouse_engine::{Code, Event, Machine, Options, Run};
use dormouse_state::{Exception, State, Value};
use dormouse_wasi::{RestoreOptions, Stdio, StdioConfig, Wasi, WasiConfig};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Output = Arc<Mutex<Vec<u8>>>;

fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.lock().unwrap()).into_owned()
}

fn wasi(stdin: Stdio, out: &Output) -> Wasi {
    let stdio = StdioConfig { stdin, stdout: Stdio::Buffer(out.clone()), ..StdioConfig::null() };
    Wasi::new(WasiConfig { args: vec![b"test".to_vec()], stdio, ..WasiConfig::default() }).unwrap()
}

fn machine(cache: Option<PathBuf>) -> Machine {
    Machine::new(Options { cache, stack: 8 << 20, ..Options::default() }).unwrap()
}

fn code(machine: &Machine, body: &str) -> Arc<Code> {
    let prelude = include_str!("wat/prelude.txt");
    let wasm = wat::parse_str(format!("(module\n{prelude}{body})")).unwrap();
    Arc::new(machine.load(wasm.into()).unwrap())
}

/// Recursion, nested loops, floats, memory, indirect calls; about `rounds` milliseconds.
fn work(rounds: u32) -> String {
    format!(
        r#"(type $step (func (param f64) (result f64)))
        (table funcref (elem $half $more))
        (func $half (type $step) (f64.mul (local.get 0) (f64.const 0.5)))
        (func $more (type $step) (f64.add (local.get 0) (f64.convert_i32_u (call $fib (i32.const 6)))))
        (func $fib (param $n i32) (result i32)
          (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
            (then (local.get $n))
            (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                           (call $fib (i32.sub (local.get $n) (i32.const 2)))))))
        (func (export "_start") (local $i i32) (local $j i32) (local $sum f64) (local $hash i64)
          (loop $outer
            (local.set $j (i32.const 0))
            (loop $inner
              (local.set $sum (call_indirect (type $step) (local.get $sum) (i32.and (local.get $j) (i32.const 1))))
              (i64.store (i32.add (i32.const 4096) (i32.and (i32.shl (local.get $j) (i32.const 3)) (i32.const 4095)))
                (i64.add (local.get $hash) (i64.reinterpret_f64 (local.get $sum))))
              (local.set $hash (i64.xor (i64.rotl (local.get $hash) (i64.const 7))
                (i64.load (i32.add (i32.const 4096) (i32.and (i32.mul (local.get $j) (i32.const 40)) (i32.const 4088))))))
              (br_if $inner (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 10000))))
            (call $print (local.get $hash))
            (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {rounds}))))
          (call $print (i64.reinterpret_f64 (local.get $sum))))"#
    )
}

/// Runs to the end; meanwhile another thread requests a stop after each of the `gaps`, over and over.
/// Gives the output, and how often it stopped.
fn interrupted(
    machine: &Machine,
    code: &Arc<Code>,
    stdin: Stdio,
    gaps: &[u64],
) -> (Event, String, u32) {
    let out = Output::default();
    let over = AtomicBool::new(false);
    let (send, receive) = std::sync::mpsc::channel();
    let (event, stops) = std::thread::scope(|threads| {
        let over = &over;
        threads.spawn(move || {
            let requester: dormouse_engine::Requester = receive.recv().unwrap();
            for &gap in gaps.iter().cycle() {
                if over.load(Ordering::Acquire) {
                    break;
                }
                std::thread::sleep(Duration::from_micros(gap));
                requester.request();
            }
            // Harmless after the end.
            requester.request();
        });
        machine
            .on_stack(|| {
                let mut run = Run::start(code.clone(), wasi(stdin, &out)).unwrap();
                send.send(run.requester()).unwrap();
                let mut stops = 0;
                let event = loop {
                    match run.advance().unwrap() {
                        Event::Stopped => stops += 1,
                        end => break end,
                    }
                    if stops % 7 == 0 {
                        let state = run.state().unwrap();
                        assert_eq!(State::decode(&state.encode()).unwrap(), state);
                    }
                };
                drop(run);
                over.store(true, Ordering::Release);
                (event, stops)
            })
            .unwrap()
    });
    (event, text(&out), stops)
}

fn uninterrupted(machine: &Machine, code: &Arc<Code>) -> (Event, String) {
    let out = Output::default();
    let event = machine
        .on_stack(|| Run::start(code.clone(), wasi(Stdio::Null, &out)).unwrap().advance().unwrap());
    (event.unwrap(), text(&out))
}

#[test]
fn stopped_at_random_times() {
    let machine = machine(None);
    let code = code(&machine, &work(400));
    let (event, output) = uninterrupted(&machine, &code);
    assert_eq!((event.clone(), output.lines().count()), (Event::Exited(0), 401));
    // Some right after each other, some apart.
    let mut seed = 7u64;
    let gaps: Vec<u64> = (0..61)
        .map(|_| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) % 900
        })
        .collect();
    let (e, o, stops) = interrupted(&machine, &code, Stdio::Null, &gaps);
    assert_eq!((e, o), (event, output));
    println!("{stops} stops");
    assert!(stops >= 20, "only {stops} stops");
}

#[test]
fn a_request_before_the_beginning_counts() {
    let machine = machine(None);
    let code = code(&machine, &work(2));
    let out = Output::default();
    let event = machine.on_stack(|| {
        let mut run = Run::start(code.clone(), wasi(Stdio::Null, &out)).unwrap();
        run.requester().request();
        assert_eq!(run.advance().unwrap(), Event::Stopped);
        assert_eq!(text(&out), "");
        run.advance().unwrap()
    });
    assert_eq!((event.unwrap(), text(&out)), uninterrupted(&machine, &code));
}

/// `poll_oneoff` with a relative time on the monotonic clock, in nanoseconds.
fn sleeper(nanoseconds: u64) -> String {
    format!(
        r#"(func (export "_start")
          (i32.store8 (i32.const 1008) (i32.const 0))
          (i32.store (i32.const 1016) (i32.const 1))
          (i64.store (i32.const 1024) (i64.const {nanoseconds}))
          (call $print32 (call $poll_oneoff (i32.const 1000) (i32.const 2000) (i32.const 1) (i32.const 3000)))
          (call $print32 (i32.load (i32.const 3000))))"#
    )
}

fn with_poll(body: &str) -> Vec<u8> {
    let prelude = include_str!("wat/prelude.txt");
    let import = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))"#;
    wat::parse_str(format!("(module\n{import}\n{prelude}{body})")).unwrap()
}

#[test]
fn a_long_sleep_is_interrupted_at_once() {
    let machine = machine(None);
    let code = Arc::new(machine.load(with_poll(&sleeper(3_600_000_000_000)).into()).unwrap());
    let began = Instant::now();
    machine
        .on_stack(|| {
            let mut run = Run::start(code, wasi(Stdio::Null, &Output::default())).unwrap();
            let requester = run.requester();
            for n in 0..20 {
                let asks = requester.clone();
                let thread = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(n % 4));
                    asks.request();
                });
                assert_eq!(run.advance().unwrap(), Event::Stopped);
                assert_eq!(run.state().unwrap().frames.len(), 2);
                thread.join().unwrap();
            }
        })
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_interrupted_sleep_is_as_long_as_it_was() {
    let machine = machine(None);
    let code = Arc::new(machine.load(with_poll(&sleeper(400_000_000)).into()).unwrap());
    let began = Instant::now();
    let (event, output, stops) = interrupted(&machine, &code, Stdio::Null, &[20_000]);
    let took = began.elapsed();
    assert_eq!((event, &*output), (Event::Exited(0), "0000000000000000\n0000000000000001\n"));
    assert!(stops > 3, "only {stops} stops");
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_blocked_read_is_interrupted_and_then_reads() {
    let machine = machine(None);
    let body = r#"(func (export "_start")
      (i32.store (i32.const 1000) (i32.const 1100))
      (i32.store (i32.const 1004) (i32.const 8))
      (call $print32 (call $fd_read (i32.const 0) (i32.const 1000) (i32.const 1) (i32.const 1008)))
      (call $print32 (i32.load (i32.const 1008)))
      (call $print (i64.load (i32.const 1100))))"#;
    let code = Arc::new(machine.load(with_poll(body).into()).unwrap());
    let (reader, mut writer) = std::io::pipe().unwrap();
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        writer.write_all(b"dormouse").unwrap();
    });
    let stdin = Stdio::Fd(reader.into());
    let (event, output, stops) = interrupted(&machine, &code, stdin, &[10_000]);
    late.join().unwrap();
    assert_eq!(event, Event::Exited(0));
    let expected = u64::from_le_bytes(*b"dormouse");
    assert_eq!(output, format!("{:016x}\n{:016x}\n{expected:016x}\n", 0, 8));
    assert!(stops > 2, "only {stops} stops");
}

/// All files of the cache.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for engine in std::fs::read_dir(dir).unwrap() {
        all.extend(std::fs::read_dir(engine.unwrap().path()).unwrap().map(|f| f.unwrap().path()));
    }
    all.sort();
    all
}

/// Runs with three stops at the same places; how many continuations had to be compiled.
fn counted(cache: &Path, body: &str) -> (String, u64) {
    let options =
        Options { cache: Some(cache.into()), counted: true, stack: 8 << 20, ..Options::default() };
    let machine = Machine::new(options).unwrap();
    let code = code(&machine, body);
    let out = Output::default();
    machine
        .on_stack(|| {
            let mut run = Run::start(code.clone(), wasi(Stdio::Null, &out)).unwrap();
            for gap in [3, 50, 1000] {
                run.stop_after(gap);
                assert_eq!(run.advance().unwrap(), Event::Stopped);
            }
            run.stop_after(i32::MAX as u32);
            assert_eq!(run.advance().unwrap(), Event::Exited(0));
        })
        .unwrap();
    (text(&out), code.continuations_compiled())
}

#[test]
fn nothing_is_compiled_twice_and_damage_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let body = work(1);
    let (output, compiled) = counted(dir.path(), &body);
    assert!(compiled > 0);
    let all = files(dir.path());
    assert!(all.iter().any(|f| f.extension() == Some("main".as_ref())));
    assert!(all.len() as u64 > compiled);
    let main = all.iter().find(|f| f.extension() == Some("main".as_ref())).unwrap();
    let written = std::fs::metadata(main).unwrap().modified().unwrap();

    assert_eq!(counted(dir.path(), &body), (output.clone(), 0));
    assert_eq!(
        std::fs::metadata(main).unwrap().modified().unwrap(),
        written,
        "main was compiled again"
    );
    assert_eq!(files(dir.path()), all);

    // Cut off, empty, or something else.
    for (n, file) in all.iter().enumerate() {
        let bytes = std::fs::read(file).unwrap();
        std::fs::remove_file(file).unwrap();
        match n % 3 {
            0 => std::fs::write(file, &bytes[..bytes.len() / 3]),
            1 => std::fs::write(file, b""),
            _ => std::fs::write(file, b"something else"),
        }
        .unwrap();
    }
    assert_eq!(counted(dir.path(), &body), (output.clone(), compiled));
    assert_eq!(counted(dir.path(), &body), (output, 0));
    assert_eq!(files(dir.path()), all);
}

/// A program at its first safepoint, and its memory.
fn stopped(machine: &Machine, code: &Arc<Code>) -> (State, Vec<u8>) {
    let stop = || {
        let mut run = Run::start(code.clone(), wasi(Stdio::Null, &Output::default())).unwrap();
        run.requester().request();
        assert_eq!(run.advance().unwrap(), Event::Stopped);
        (run.state().unwrap(), run.memory(0).unwrap().to_vec())
    };
    machine.on_stack(stop).unwrap()
}

#[test]
fn wasi_objects_come_last() {
    let machine = machine(None);
    let code = code(&machine, &work(1));
    let (mut state, memory) = stopped(&machine, &code);
    let resume = |state: &State, good_memory: bool| {
        let mut asked = false;
        let restored = || {
            asked = true;
            let stdio = StdioConfig::null();
            Ok(Wasi::restore(&state.wasi, RestoreOptions { stdio, ..RestoreOptions::default() })?)
        };
        let run = Run::resume_with(code.clone(), state, restored, |_, into| {
            into.copy_from_slice(&memory);
            if good_memory { Ok(()) } else { Err("damaged".into()) }
        });
        (run.is_ok(), asked)
    };
    assert_eq!(resume(&state, true), (true, true));
    assert_eq!(resume(&state, false), (false, false));
    let good = state.clone();
    state.module_digest[0] ^= 1;
    assert_eq!(resume(&state, true), (false, false));
    state = good.clone();
    state.globals.push((0, dormouse_state::Value::I32(0)));
    assert_eq!(resume(&state, true), (false, false));
    state = good.clone();
    state.frames.push(state.frames[0].clone());
    assert_eq!(resume(&state, true), (false, false), "two innermost frames");
    state = good.clone();
    state.frames[0].site.offset += 1;
    assert_eq!(resume(&state, true), (false, false));
    state = good;
    state.frames.clear();
    assert_eq!(resume(&state, true), (false, false));
}

/// References in a state are to what the module's types allow, or nothing is run.
#[test]
fn references_are_of_their_types() {
    let machine = machine(None);
    let body = r#"
        (type $f (func (result i32))) (tag $e (param i64))
        (table $t 1 (ref $f) (ref.func $seven)) (global $g (mut exnref) (ref.null exn))
        (elem declare func $seven $other)
        (func $seven (type $f) (i32.const 7))
        (func $other (param f32))
        (func (export "_start") (local $r (ref $f)) (local $x exnref)
          (local.set $r (ref.func $seven))
          (drop (ref.func $other))
          (table.set $t (i32.const 0) (local.get $r))
          (block $h (result i64 exnref)
            (try_table (catch_ref $e $h) (throw $e (i64.const 5)))
            (unreachable))
          (local.set $x)
          (drop)
          (global.set $g (local.get $x))
          (loop $again (br_if $again (call_ref $f (local.get $r)))))"#;
    let code = code(&machine, body);
    let (state, memory) = stopped(&machine, &code);
    let func = |v: Value| match v {
        Value::FuncRef(Some(f)) => f,
        other => panic!("{other:?}"),
    };
    let seven = func(state.frames[0].locals[0].1);
    assert_eq!(state.tables[0].entries, [Value::FuncRef(Some(seven))]);
    assert_eq!(state.globals, [(0, Value::ExnRef(Some(0)))]);
    assert_eq!(state.exceptions, [Exception { tag: 0, fields: vec![Value::I64(5)] }]);
    let resume = |change: &dyn Fn(&mut State)| {
        let mut state = state.clone();
        change(&mut state);
        let resumed =
            Run::resume(code.clone(), &state, wasi(Stdio::Null, &Output::default()), |_, into| {
                into.copy_from_slice(&memory);
                Ok(())
            });
        resumed.map(|_| ()).map_err(|e| println!("{e}"))
    };
    assert_eq!(resume(&|_| {}), Ok(()));
    let other = Value::FuncRef(Some(seven + 1));
    for wrong in [other, Value::FuncRef(None), Value::FuncRef(Some(999)), Value::ExnRef(None)] {
        assert_eq!(resume(&|s| s.frames[0].locals[0].1 = wrong), Err(()), "{wrong:?} in a local");
        assert_eq!(resume(&|s| s.tables[0].entries[0] = wrong), Err(()), "{wrong:?} in a table");
    }
    assert_eq!(resume(&|s| s.globals[0].1 = Value::ExnRef(None)), Ok(()));
    assert_eq!(resume(&|s| s.globals[0].1 = Value::ExnRef(Some(1))), Err(()));
    assert_eq!(resume(&|s| s.globals[0].1 = other), Err(()));
    assert_eq!(resume(&|s| s.exceptions[0].tag = 1), Err(()));
    assert_eq!(resume(&|s| s.exceptions[0].fields[0] = Value::I32(5)), Err(()));
    assert_eq!(resume(&|s| s.exceptions[0].fields.clear()), Err(()));
}
