//! A program that moves into other code of the same module: compiled quickly, well, and interpreted; anywhere, and while it
//! is blocked in a call.
#![allow(missing_docs)]

mod guests;

use dormouse_engine::{Code, Error, Event, HostFunctions, Machine, Options, Run};
use dormouse_wasi::{Stdio, StdioConfig, Wasi, WasiConfig};
use guests::{Output, guests};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

fn wasi(stdin: Stdio, out: &Output) -> Wasi {
    let stdio = StdioConfig { stdin, stdout: Stdio::Buffer(out.clone()), ..StdioConfig::null() };
    Wasi::new(WasiConfig { args: vec![b"test".to_vec()], stdio, ..WasiConfig::default() }).unwrap()
}

/// The ways to compile: quickly, well, for the interpreter.
fn machines(counted: bool) -> [Machine; 3] {
    [(true, false), (false, false), (true, true)].map(|(quick, pulley)| {
        // One NaN, so that it can be compared.
        let (alone, deterministic, every_loop) = (true, true, counted);
        let (stack, default) = (8 << 20, Options::default());
        let places = Options { counted, every_loop, ..default };
        let options = Options { quick, pulley, alone, deterministic, stack, ..places };
        Machine::new(options).unwrap()
    })
}

/// Stops after every `gap` safepoints and moves on, in turn; the end, the output, and how often it moved.
fn moving(codes: &[Arc<Code>], gap: u32) -> (String, Vec<u8>, u32) {
    let out = Output::default();
    let (mut stops, mut moves) = (0, 0);
    let mut run = Run::start(codes[0].clone(), wasi(Stdio::Null, &out)).unwrap();
    let end = loop {
        // Long programs stop a few hundred times.
        run.stop_after(if stops < 300 { gap } else { i32::MAX as u32 });
        match run.advance().unwrap() {
            Event::Stopped => {
                stops += 1;
                let next = codes[stops as usize % codes.len()].clone();
                match run.move_to(next) {
                    Ok(()) => moves += 1,
                    Err(e) => assert!(matches!(e, Error::CannotCapture(_)), "{e}"),
                }
            }
            // Where it trapped is told of another code each time.
            Event::Trapped(trap) => break trap.message().to_owned(),
            end => break format!("{end:?}"),
        }
    };
    let text = out.lock().unwrap().clone();
    (end, text, moves)
}

#[test]
fn programs_move_at_any_safepoint() {
    let machines = machines(true);
    let mut all = 0;
    for (name, wasm) in guests() {
        let wasm: Arc<[u8]> = wasm.into();
        // Where the interpreter lacks something there are two.
        let codes: Vec<_> = machines.iter().filter_map(|m| m.load(wasm.clone()).ok()).collect();
        let codes: Vec<_> = codes.into_iter().map(Arc::new).collect();
        if codes.len() < 2 {
            continue;
        }
        machines[0]
            .on_stack(|| {
                let plain = moving(&codes[..1], i32::MAX as u32);
                for gap in [1, 7, 40] {
                    let (end, out, moves) = moving(&codes, gap);
                    assert_eq!(end, plain.0, "{name}, every {gap}");
                    assert!(out == plain.1, "{name}, every {gap}: it prints something else");
                    all += moves;
                }
            })
            .unwrap();
    }
    assert!(all > 1000, "only {all} moves");
}

/// Reads from a pipe that nobody has written into, is stopped there, moves, and gets what is written then.
#[test]
fn a_blocked_read_goes_on_elsewhere() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 16))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    let wasm: Arc<[u8]> = wat::parse_str(text).unwrap().into();
    let [quick, well, interpreter] = machines(false);
    let code = |m: &Machine| Arc::new(m.load(wasm.clone()).unwrap());
    let codes = [code(&well), code(&interpreter), code(&well)];
    let (reader, mut writer) = std::io::pipe().unwrap();
    let out = Output::default();
    let end = quick
        .on_stack(|| {
            let wasi = wasi(Stdio::Fd(reader.into()), &out);
            let mut run = Run::start(code(&quick), wasi).unwrap();
            for next in codes {
                let requester = run.requester();
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    requester.request();
                });
                assert_eq!(run.advance().unwrap(), Event::Stopped);
                run.move_to(next).unwrap();
            }
            writer.write_all(b"late").unwrap();
            run.advance().unwrap()
        })
        .unwrap();
    assert_eq!(end, Event::Exited(0));
    assert_eq!(*out.lock().unwrap(), b"late");
}

#[test]
fn code_that_is_compiled_well_is_compiled_once() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { cache: Some(dir.path().into()), ..Options::default() };
    let wasm: Arc<[u8]> = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap().into();
    let machine = Machine::new(options).unwrap();
    let (quick, better) = machine.load_quickly(wasm.clone(), &HostFunctions::new()).unwrap();
    let code = better.expect("nothing is in the cache").compile().unwrap();
    assert_eq!(code.digest(), quick.digest());
    let (_, better) = machine.load_quickly(wasm, &HostFunctions::new()).unwrap();
    assert!(better.is_none(), "it is in the cache");
}
