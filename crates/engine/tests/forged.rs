//! States that nobody saved (found by fuzzing).

use dormouse_engine::{Error, Event, Machine, Options, Run};
use dormouse_state::Value;
use dormouse_wasi::{StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;

/// `$called` is exported to continuations, but the program never refers to it: a state that does
/// could be resumed and then never be captured again.
#[test]
fn a_reference_the_program_cannot_make() {
    let wasm = wat::parse_str(
        r#"(module
          (global $g (mut funcref) (ref.null func))
          (func $called (call $looping))
          (func $looping (loop (br_if 0 (i32.const 1))))
          (func (export "_start") (call $called)))"#,
    )
    .unwrap();
    let machine = Machine::new(Options { counted: true, ..Options::default() }).unwrap();
    let code = Arc::new(machine.load(wasm.into()).unwrap());
    let wasi = || {
        let stdio = StdioConfig::null();
        Wasi::new(WasiConfig { stdio, ..WasiConfig::default() }).unwrap()
    };
    let refused = machine
        .on_stack(|| {
            let mut run = Run::start(code.clone(), wasi()).unwrap();
            run.stop_after(1);
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            let mut state = run.state().unwrap();
            (0..2)
                .map(|func| {
                    state.globals[0].1 = Value::FuncRef(Some(func));
                    Run::resume(code.clone(), &state, wasi(), |_, _| Ok(())).err()
                })
                .collect::<Vec<_>>()
        })
        .unwrap();
    for e in refused {
        assert!(matches!(e, Some(Error::State(ref s)) if s.contains("never makes")), "{e:?}");
    }
}
