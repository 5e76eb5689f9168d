//! The first form of exception handling, which is translated when a module is loaded: plain and under
//! chaos. No engine at hand runs it, so the oracles are what its specification says (`handlers.wat`),
//! and what the same program compiled to the form that became the standard prints (C and C++).
//!
//! ```text
//! jump.c    clang -O1 -mllvm -wasm-enable-sjlj -lsetjmp
//! cpp.cpp   clang++ -O1 -fno-rtti -fno-sized-deallocation -fwasm-exceptions -nostdlib++
//!           with -mllvm -wasm-use-legacy-eh=true: NAME.legacy.wasm, and =false: NAME.wasm (clang 21)
//! ```

mod guests;

use dormouse_engine::{Event, Gap, Machine, Options, chaos};
use dormouse_transform::{OffsetMap, Program};
use dormouse_wasi::RestoreOptions;
use guests::{Output, stdio, text, wasi};
use std::sync::Arc;

const GAPS: [Gap; 4] =
    [Gap::Every(1), Gap::Every(2), Gap::Every(7), Gap::Random { seed: 5, most: 60 }];

fn machine() -> Machine {
    Machine::new(Options { counted: true, every_loop: true, stack: 8 << 20, ..Options::default() })
        .unwrap()
}

fn plain(machine: &Machine, wasm: &[u8]) -> (Event, String) {
    let out = Output::default();
    let program = machine.load_plain(wasm).unwrap();
    let event = machine.on_stack(|| program.run(wasi(&out)).unwrap()).unwrap();
    (event, text(&out))
}

/// The translation of a module.
fn translated(wasm: &[u8]) -> Arc<[u8]> {
    let p = Program::new(wasm.into(), &Default::default()).unwrap();
    assert!(**p.bytes() != *wasm, "nothing was translated");
    p.bytes().clone()
}

fn under_chaos(machine: &Machine, wasm: &[u8], gap: Gap) -> (Event, String, u64) {
    let out = Output::default();
    let code = Arc::new(machine.load(wasm.into()).unwrap());
    let restore = || RestoreOptions { stdio: stdio(&out), ..RestoreOptions::default() };
    let run = || chaos(&code, wasi(&out), gap, restore).unwrap();
    let (event, report) = machine.on_stack(run).unwrap();
    (event, text(&out), report.captures)
}

#[test]
fn handlers_catch_what_the_specification_says() {
    let expected = [
        ("by_tag", [1040, 1300, 1202, 1004]),
        ("loops", [10012, 10015, 21, 25]),
        ("rethrown", [40, 9000, 9002, 7503]),
        ("delegated", [40, 5000, 5000, 4003]),
        ("out", [40, 40000, 30002, 20003]),
        ("out_of_handler", [40, 40000, 30002, 20003]),
        ("far", [40, 8200, 8102, 8003]),
        ("to_block", [40, 600, 600, 600]),
    ];
    let prelude = include_str!("wat/prelude.txt");
    let body = include_str!("legacy/handlers.wat");
    let wasm = wat::parse_str(format!("(module\n{prelude}{body})")).unwrap();
    let machine = machine();
    let (end, output) = plain(&machine, &translated(&wasm));
    let mut lines = output.lines();
    for (function, results) in expected {
        for (what, result) in results.into_iter().enumerate() {
            let got = lines.next().and_then(|l| i64::from_str_radix(l, 16).ok());
            assert_eq!(got, Some(result), "{function}({what})");
        }
    }
    assert!(matches!(&end, Event::Trapped(t) if t.message().contains("exception")), "{end:?}");
    for gap in GAPS {
        let (e, o, captures) = under_chaos(&machine, &wasm, gap);
        assert_eq!(o, output, "{gap:?}");
        assert!(matches!(&e, Event::Trapped(t) if t.message().contains("exception")), "{e:?}");
        assert!(captures > 10, "{gap:?}: {captures}");
    }
}

fn compiled(name: &str, legacy: &[u8], new: &[u8]) {
    let machine = machine();
    let (end, output) = plain(&machine, new);
    assert!(output.len() > 500 && matches!(end, Event::Exited(_)), "{name}: {end:?}");
    assert_eq!(plain(&machine, &translated(legacy)), (end.clone(), output.clone()), "{name}");
    for gap in GAPS {
        let (e, o, captures) = under_chaos(&machine, legacy, gap);
        assert_eq!((e, o), (end.clone(), output.clone()), "{name} under {gap:?}");
        assert!(captures > 20, "{name} under {gap:?}: {captures}");
    }
}

#[test]
fn setjmp_and_longjmp() {
    compiled("jump", include_bytes!("legacy/jump.legacy.wasm"), include_bytes!("legacy/jump.wasm"));
}

#[test]
fn cpp() {
    compiled("cpp", include_bytes!("legacy/cpp.legacy.wasm"), include_bytes!("legacy/cpp.wasm"));
}

/// Typed function references in the same module: in locals and operands across calls, in handlers, as
/// parameters of tags.
#[test]
fn with_typed_references() {
    let prelude = include_str!("wat/prelude.txt");
    let wasm = wat::parse_str(format!(
        r#"(module {prelude}
        (type $unary (func (param i32) (result i32)))
        (tag $e (param (ref $unary) i32))
        (elem declare func $double $spin)
        (func $double (type $unary) (i32.mul (call $spin (local.get 0)) (i32.const 2)))
        (func $spin (type $unary) (local $i i32)
          (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
          (local.get 0))
        (func $throw (param $f (ref $unary)) (param $n i32) (result i32)
          (throw $e (local.get $f) (call_ref $unary (local.get $n) (local.get $f))))
        (func $try (param $n i32) (result i32) (local $f (ref $unary)) (local $m i32)
          (local.set $f (ref.func $double))
          i32.const 100
          try (result i32)
            local.get $f
            local.get $n
            call $throw
          catch $e
            local.set $m
            local.set $f
            local.get $m
            local.get $f
            call_ref $unary
            try
              (drop (call $throw (local.get $f) (i32.const 1)))
            catch_all
              (call $print32 (call_ref $unary (local.get $m) (local.get $f)))
              rethrow 0
            end
          end
          i32.add)
        (func (export "_start") (local $n i32) (local $f (ref null $unary))
          (loop $again
            try
              (call $print32 (call $try (local.get $n)))
            catch $e
              (call $print32)
              local.set $f
              (call $print32 (call_ref $unary (i32.const 21) (local.get $f)))
            end
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4))))))"#
    ))
    .unwrap();
    let machine = machine();
    let (end, output) = plain(&machine, &translated(&wasm));
    let lines: Vec<i64> =
        output.lines().map(|l| i64::from_str_radix(l.trim(), 16).unwrap()).collect();
    assert_eq!(lines, [0, 2, 42, 4, 2, 42, 8, 2, 42, 12, 2, 42]);
    for gap in GAPS {
        let (e, o, captures) = under_chaos(&machine, &wasm, gap);
        assert_eq!((e, o), (end.clone(), output.clone()), "{gap:?}");
        assert!(captures > 5, "{gap:?}: {captures}");
    }
}

/// Every instruction that was taken over is found at its offset in the original.
#[test]
fn offsets_lead_back() {
    for legacy in
        [&include_bytes!("legacy/jump.legacy.wasm")[..], include_bytes!("legacy/cpp.legacy.wasm")]
    {
        let new = translated(legacy);
        let map = OffsetMap::of(&new).unwrap();
        assert_eq!(OffsetMap::of(legacy), None);
        let (mut calls, mut moved) = (0, 0);
        for payload in wasmparser::Parser::new(0).parse_all(&new) {
            let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
            for op in body.get_operators_reader().unwrap().into_iter_with_offsets() {
                let (op, offset) = op.unwrap();
                let raw = match op {
                    wasmparser::Operator::Call { function_index: f } => (0x10, f),
                    wasmparser::Operator::Throw { tag_index } => (0x08, tag_index),
                    wasmparser::Operator::LocalSet { local_index } => (0x21, local_index),
                    _ => continue,
                };
                let old = map.original(offset as u32) as usize;
                if raw.0 == 0x21 && legacy[old] != 0x21 {
                    // The translation's own: it stands for the handler.
                    assert!([0x07, 0x19].contains(&legacy[old]), "{:#x} -> {old:#x}", offset);
                    continue;
                }
                let here = &new[offset..offset + 2];
                assert_eq!(here, &legacy[old..old + 2], "{offset:#x} -> {old:#x}");
                calls += 1;
                moved += usize::from(old != offset);
            }
        }
        assert!(calls > 300 && moved > 100, "{calls} {moved}");
    }
}

/// Traps name places of the module that was given.
#[test]
fn traps_in_the_original() {
    let text = r#"(module (tag $e)
      (func $spin (param $n i32)
        (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
      (func $ends try throw $e catch $e i32.const 2 call $spin unreachable end)
      (func (export "_start") try call $ends catch_all end))"#;
    let wasm = wat::parse_str(text).unwrap();
    let at = |bytes: &[u8]| {
        wasm.windows(bytes.len()).rposition(|w| w == bytes).map(|at| at as u32).unwrap()
    };
    let expected = vec![(1, Some(at(&[0x00, 0x0b, 0x0b]))), (2, Some(at(&[0x10, 1])))];
    let machine = machine();
    for gap in [Gap::Every(1), Gap::Every(1000)] {
        let code = Arc::new(machine.load(wasm.clone().into()).unwrap());
        let out = Output::default();
        let restore = || RestoreOptions { stdio: stdio(&out), ..RestoreOptions::default() };
        let run = || chaos(&code, wasi(&out), gap, restore).unwrap().0;
        let Event::Trapped(trap) = machine.on_stack(run).unwrap() else { panic!("no trap") };
        let places = code.backtrace(&trap).unwrap();
        let places: Vec<_> = places.iter().map(|p| (p.func, p.offset)).collect();
        assert_eq!(places, expected, "{gap:?}");
    }
}
