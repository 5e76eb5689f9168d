//! Programs that say something about their checkpoints, and a lone run that serves them.

use dormouse_engine::{Chaos, Code, Error, Event, Gap, Machine, Options, Passed, Run};
use dormouse_state::{State, Value};
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;

/// `calls` gives a number, and so does `section`, which takes a while between `disable` and `enable`.
const PROGRAM: &str = r#"(module
  (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
  (import "dormouse" "exclude" (func $exclude (param i32 i32) (result i32)))
  (import "dormouse" "disable" (func $disable (result i32)))
  (import "dormouse" "enable" (func $enable (result i32)))
  (import "dormouse" "restored_count" (func $count (result i32)))
  (memory 1)
  (memory $calls (export "memory") 4)
  (func (export "calls") (result i32) (local $n i32)
    (drop (call $exclude (i32.const 4096) (i32.const 8193)))
    (local.set $n (i32.mul (call $checkpoint) (i32.const 100)))
    (local.set $n (i32.add (local.get $n) (i32.mul (call $count) (i32.const 10))))
    (i32.add (local.get $n) (call $checkpoint)))
  (func (export "section") (param $steps i32) (result i32)
    (drop (call $disable))
    (loop $l
      (i32.store (i32.const 0) (local.get $steps))
      (br_if $l (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
    (drop (call $enable))
    (i32.const 7)))"#;

fn wasi() -> Wasi {
    Wasi::new(WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() }).unwrap()
}

fn options() -> RestoreOptions {
    RestoreOptions { stdio: StdioConfig::null(), ..RestoreOptions::default() }
}

fn machine(counted: bool) -> Machine {
    Machine::new(Options { counted, quick: true, alone: true, ..Options::default() }).unwrap()
}

fn load(machine: &Machine) -> Arc<Code> {
    Arc::new(machine.load(wat::parse_str(PROGRAM).unwrap().into()).unwrap())
}

fn number(event: Event) -> i32 {
    match event {
        Event::Returned(values) => match values[..] {
            [Passed::Value(Value::I32(n))] => n as i32,
            _ => panic!("{values:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn call(code: &Arc<Code>, name: &str, args: &[Passed]) -> Run {
    let mut run = Run::new(code.clone(), wasi()).unwrap();
    run.call(name, args).unwrap();
    run
}

fn resume(code: &Arc<Code>, state: &State) -> Run {
    let wasi = Wasi::restore(&state.wasi, options()).unwrap();
    Run::resume(code.clone(), state, wasi, |_, _| Ok(())).unwrap()
}

#[test]
fn a_checkpoint_stops_the_run() {
    let machine = machine(false);
    let code = load(&machine);
    machine
        .on_stack(|| {
            let mut run = call(&code, "calls", &[]);
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            assert!(run.asks_for_checkpoint());
            let (index, exclusions) = run.exclusions().unwrap();
            assert_eq!((index, &exclusions.pages()[..]), (1, std::slice::from_ref(&(1..3))));
            let first = run.state().unwrap();
            run.answer_checkpoint(true);
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            run.answer_checkpoint(false);
            assert_eq!(number(run.advance().unwrap()), -2, "the second was refused");

            let mut run = resume(&code, &first);
            assert!(!run.asks_for_checkpoint());
            // Somebody wants one before the call is made again.
            run.requester().request();
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            let again = run.state().unwrap();
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            assert!(run.asks_for_checkpoint(), "the second");
            // Not answered: all is well.
            assert_eq!(number(run.advance().unwrap()), 110);

            let mut run = resume(&code, &again);
            assert_eq!(run.exclusions().unwrap().1.pages(), std::slice::from_ref(&(1..3)));
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            assert_eq!(number(run.advance().unwrap()), 120);
        })
        .unwrap();
}

#[test]
fn a_section_is_left_only_to_end() {
    let machine = machine(false);
    let code = load(&machine);
    machine
        .on_stack(|| {
            let steps = Passed::Value(Value::I32(30_000_000));
            let mut run = call(&code, "section", &[steps]);
            let requester = run.requester();
            std::thread::scope(|threads| {
                let (over, is_over) = std::sync::mpsc::channel::<()>();
                threads.spawn(move || {
                    let often = std::time::Duration::from_micros(200);
                    while is_over.recv_timeout(often) == Err(RecvTimeoutError::Timeout) {
                        requester.request();
                    }
                });
                let (mut stops, mut split) = (0, 0);
                let event = loop {
                    match run.advance().unwrap() {
                        Event::Stopped => stops += 1,
                        end => break end,
                    }
                    split += u32::from(run.is_disabled());
                };
                assert_eq!((number(event), split), (7, 0), "{stops} stops");
                drop(over);
            });

            let mut run = call(&code, "section", &[Passed::Value(Value::I32(2_000_000_000))]);
            let requester = run.requester();
            std::thread::scope(|threads| {
                threads.spawn(move || {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    requester.request();
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    requester.request_end();
                });
                assert_eq!(run.advance().unwrap(), Event::Stopped);
                assert!(run.is_disabled());
                assert!(matches!(run.state(), Err(Error::CannotCapture(_))));
            });
        })
        .unwrap();
}

/// Under chaos it is as in a plain run, which is as under an engine that serves nothing.
#[test]
fn chaos_is_not_noticed() {
    let counting = machine(true);
    let (code, plain) =
        (load(&counting), counting.load_plain(&wat::parse_str(PROGRAM).unwrap()).unwrap());
    counting
        .on_stack(|| {
            assert_eq!(number(plain.invoke(wasi(), "calls", &[]).unwrap()), 0);
            for gap in [1, 2, 1000] {
                let mut chaos = Chaos::new(Gap::Every(gap), options);
                let (event, _) = chaos.advance(call(&code, "calls", &[])).unwrap();
                assert_eq!(number(event), 0);
                assert!(chaos.report().captures >= 2, "{:?}", chaos.report());
                let mut chaos = Chaos::new(Gap::Every(gap), options);
                let run = call(&code, "section", &[Passed::Value(Value::I32(50))]);
                assert_eq!(number(chaos.advance(run).unwrap().0), 7);
                assert!(gap > 50 || chaos.report().passed > 10, "{:?}", chaos.report());
            }
        })
        .unwrap();
}
