//! Modules of unusual shapes (`dormouse-transform`'s, of a size that is compiled quickly): plain and
//! under chaos they compute the same.

#[path = "../../transform/tests/shape/mod.rs"]
mod shape;

use dormouse_engine::{Chaos, Error, Event, Gap, Machine, Options, Run};
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;

fn wasi() -> Wasi {
    Wasi::new(WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() }).unwrap()
}

/// Compares what a module computes; how often it was captured.
fn same(text: &str, gap: Gap) -> u64 {
    let (counted, every_loop, quick, alone) = (true, true, true, true);
    let stack = 16 << 20;
    let options = Options { counted, every_loop, quick, alone, stack, ..Options::default() };
    let machine = Machine::new(options).unwrap();
    let wasm = wat::parse_str(text).unwrap();
    let plain = machine.load_plain(&wasm).unwrap();
    let (event, expected) = machine.on_stack(|| plain.run_observed(wasi()).unwrap()).unwrap();
    assert!(matches!(event, Event::Exited(0)), "{event:?}");
    let expected = expected.unwrap();
    assert_ne!(expected["result"], [0; 8]);

    let code = Arc::new(machine.load(wasm.into()).unwrap());
    let (event, observed, captures) = machine
        .on_stack(|| {
            let restore = || RestoreOptions { stdio: StdioConfig::null(), ..Default::default() };
            let mut chaos = Chaos::new(gap, restore);
            let (event, mut run) = chaos.advance(Run::start(code, wasi()).unwrap()).unwrap();
            (event, run.observe(), chaos.report().captures)
        })
        .unwrap();
    assert!(matches!(event, Event::Exited(0)), "{event:?}");
    assert_eq!(observed["result"], expected["result"]);
    println!("{captures} captures");
    captures
}

/// Where there are no atomic instructions, they are refused by name.
#[test]
fn atomics_on_an_interpreter() {
    let machine = Machine::new(Options { pulley: true, ..Options::default() }).unwrap();
    let load = |text: &str| machine.load(wat::parse_str(text).unwrap().into());
    let atomic = "(module (memory 1) (func (export \"_start\")
        (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))";
    assert!(matches!(load(atomic).err(), Some(Error::Atomics)));
    assert!(load("(module (func (export \"_start\") (loop (br_if 0 (i32.const 0)))))").is_ok());
}

#[test]
fn branch_tables() {
    assert!(same(&shape::br_table(4000, 200), Gap::Every(3)) > 10);
    assert!(same(&shape::br_table(20, 2), Gap::Every(1)) > 50);
}

#[test]
fn large_functions() {
    assert!(same(&shape::large_function(150, 5), Gap::Every(30)) > 10);
}

#[test]
fn many_functions() {
    assert!(same(&shape::functions(10_000), Gap::Every(1500)) > 5);
}

#[test]
fn deep_nesting() {
    for kind in shape::NESTED {
        let gap =
            if kind.contains("loop") { Gap::Random { seed: 3, most: 200 } } else { Gap::Every(1) };
        assert!(same(&shape::nested(kind, 800), gap) > 0, "{kind}");
        assert!(same(&shape::nested(kind, 12), Gap::Every(1)) > 0, "{kind}");
    }
}

#[test]
fn unreachable_code() {
    assert!(same(&shape::unreachable_code(), Gap::Every(60)) > 20);
}

#[test]
fn many_locals() {
    assert!(same(&shape::locals(3000), Gap::Every(1)) >= 2);
}

#[test]
fn a_thousand_values() {
    assert!(same(&shape::multi_value(1000), Gap::Every(1)) >= 6);
}
