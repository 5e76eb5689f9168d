//! Functions called one after the other on one instance, stopped and moved in between.

use dormouse_engine::{
    Caller, Chaos, Error, Event, Gap, HostFunctions, Machine, Options, Passed, Run, Type,
};
use dormouse_state::Value;
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;

fn wasi() -> Wasi {
    Wasi::new(WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() }).unwrap()
}

fn restore() -> RestoreOptions {
    RestoreOptions { stdio: StdioConfig::null(), ..RestoreOptions::default() }
}

const COUNTER: &str = r#"(module
  (import "env" "twice" (func $twice (param i64) (result i64)))
  (global $sum (mut i64) (i64.const 0))
  (table $t 2 funcref)
  (func $add (export "add") (param $n i64) (result i64)
    (loop $l
      (if (i64.ne (local.get $n) (i64.const 0)) (then
        (global.set $sum (i64.add (global.get $sum) (call $twice (i64.const 1))))
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br $l))))
    (global.get $sum))
  (func (export "trap") (param $n i64) (drop (call $add (local.get $n))) unreachable)
  (func (export "tail") (param $n i64) (result i64) (return_call $add (local.get $n)))
  (func (export "f") (param funcref externref) (result externref funcref i32)
    (drop (call $add (i64.const 3)))
    (local.get 1) (local.get 0) (ref.is_null (local.get 1))))"#;

fn i64(v: u64) -> Passed {
    Value::I64(v).into()
}

#[test]
fn one_after_the_other() {
    let machine = Machine::new(Options { counted: true, ..Options::default() }).unwrap();
    let twice = |_: &mut Caller<'_>, args: &[Passed]| match args {
        [Passed::Value(Value::I64(v))] => Ok(vec![i64(v * 2)]),
        _ => Err("not an i64".to_owned()),
    };
    let host = HostFunctions::new().with("env", "twice", &[Type::I64], &[Type::I64], twice);
    let wasm = wat::parse_str(COUNTER).unwrap();
    let code = Arc::new(machine.load_with(wasm.clone().into(), &host).unwrap());
    machine
        .on_stack(|| {
            let mut chaos = Chaos::new(Gap::Every(1), restore);
            let mut run = Run::new(code.clone(), wasi()).unwrap();
            let mut event;
            (event, run) = chaos.advance(run).unwrap();
            assert_eq!(event, Event::Returned(vec![]));
            // Two that were asked for at once: the second one's results count.
            run.call("add", &[i64(3)]).unwrap();
            run.call("tail", &[i64(4)]).unwrap();
            (event, run) = chaos.advance(run).unwrap();
            assert_eq!(event, Event::Returned(vec![i64(14)]));
            run.call("trap", &[i64(2)]).unwrap();
            (event, run) = chaos.advance(run).unwrap();
            assert!(matches!(event, Event::Trapped(t) if t.contains("unreachable")));
            run.call("add", &[i64(1)]).unwrap();
            (event, run) = chaos.advance(run).unwrap();
            assert_eq!(event, Event::Returned(vec![i64(20)]), "a trap ends the call only");
            let captures = chaos.report().captures;
            assert!(captures > 10 && chaos.report().passed == 0);

            // An object of the host stays where it is; functions and null references move.
            let function = Passed::from(Value::FuncRef(Some(1)));
            run.call("f", &[function, Passed::Object(7)]).unwrap();
            (event, run) = chaos.advance(run).unwrap();
            let no = Value::I32(0).into();
            assert_eq!(event, Event::Returned(vec![Passed::Object(7), function, no]));
            assert!(chaos.report().passed > 0 && chaos.report().captures == captures);
            let null = Passed::from(Value::ExternRefNull);
            run.call("f", &[function, null]).unwrap();
            (event, run) = chaos.advance(run).unwrap();
            assert_eq!(event, Event::Returned(vec![null, function, Value::I32(1).into()]));
            assert!(chaos.report().captures > captures);

            let bad = |r: Result<(), Error>| r.unwrap_err().to_string();
            assert!(bad(run.call("none", &[])).contains("no function `none`"));
            assert!(bad(run.call("dormouse.init", &[])).contains("no function"));
            assert!(bad(run.call("add", &[])).contains("takes 1 argument, and 0 were given"));
            assert!(bad(run.call("add", &[null])).contains("argument 1 of `add` is a i64"));
        })
        .unwrap();

    let other = HostFunctions::new().with("env", "twice", &[Type::I32], &[], |_, _| Ok(vec![]));
    assert!(matches!(
        machine.load_with(wasm.clone().into(), &other),
        Err(Error::HostImportType { .. })
    ));
    assert!(matches!(machine.load(wasm.into()), Err(Error::Imports { .. })));
}
