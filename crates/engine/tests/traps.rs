//! Traps: the same message, and the same functions at the same offsets, as the module has without
//! safepoints; however often the program was captured before.

use dormouse_engine::{Chaos, Code, Event, Gap, Machine, Options, Place, Run};
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;

fn wasi() -> Wasi {
    Wasi::new(WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() }).unwrap()
}

fn restore() -> RestoreOptions {
    RestoreOptions { stdio: StdioConfig::null(), ..RestoreOptions::default() }
}

/// Each traps below `$main`, after a loop that is a safepoint in every function on the stack.
const PROGRAMS: [(&str, &str); 12] = [
    ("unreachable", "(func $f (param i32) (result i32) (call $work) unreachable)"),
    (
        "divide by zero",
        "(func $f (param i32) (result i32) (call $work)
           (i32.add (i32.const 7) (i32.div_s (local.get 0) (i32.const 0))))",
    ),
    (
        "in a leaf that is never stopped",
        "(func $leaf (param i32) (result i32) (i32.load (i32.sub (local.get 0) (i32.const 100000))))
         (func $f (param i32) (result i32) (call $work) (call $leaf (local.get 0)))",
    ),
    (
        "in a loop",
        "(func $f (param $n i32) (result i32) (local $i i32)
           (loop $l
             (local.set $i (i32.add (local.get $i) (i32.const 1)))
             (drop (i32.div_u (i32.const 100) (i32.sub (i32.const 3) (local.get $i))))
             (br_if $l (i32.lt_u (local.get $i) (i32.const 9))))
           (local.get $i))",
    ),
    (
        "in nested constructs, with operands beneath",
        "(func $f (param $n i32) (result i32)
           (i32.add (i32.const 1) (block $b (result i32)
             (loop $l (result i32)
               (if (result i32) (local.get $n)
                 (then (i32.add (local.get $n) (call $f (i32.sub (local.get $n) (i32.const 1)))))
                 (else (call $work) (i32.trunc_f64_s (f64.const nan))))))))",
    ),
    (
        "recursion",
        "(func $f (param $n i32) (result i32)
           (call $work)
           (if (i32.eqz (local.get $n)) (then (memory.fill (i32.const -1) (i32.const 0) (i32.const 9))))
           (i32.add (call $g (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
         (func $g (param $n i32) (result i32)
           (i32.mul (call $f (local.get $n)) (i32.const 3)))",
    ),
    (
        "indirect call of another type",
        "(type $other (func (param f64) (result f64)))
         (func $f (param i32) (result i32) (call $work)
           (drop (call_indirect (type $other) (f64.const 1) (i32.const 0))) (i32.const 0))",
    ),
    (
        "indirect call of nothing",
        "(func $f (param i32) (result i32) (call $work)
           (call_indirect (param i32) (result i32) (i32.const 1) (i32.const 1)))",
    ),
    (
        "memory.init, which is a helper's",
        "(data $d \"abc\")
         (func $f (param i32) (result i32) (call $work)
           (i32.const 5)
           (memory.init $d (i32.const 0) (i32.const 2) (i32.const 8)))",
    ),
    (
        "a tail call",
        "(func $g (param i32) (result i32) (call $work) (i32.rem_u (i32.const 1) (local.get 0)))
         (func $f (param i32) (result i32) (call $work) (return_call $g (i32.const 0)))",
    ),
    (
        "an exception nobody catches",
        "(tag $e (param i32))
         (func $f (param i32) (result i32) (call $work) (throw $e (i32.const 1)))",
    ),
    (
        "a full stack",
        "(func $f (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1)))",
    ),
];

fn module(functions: &str) -> Vec<u8> {
    let text = format!(
        r#"(module $m
      (memory (export "memory") 1)
      (table 4 funcref)
      (elem (i32.const 0) $f)
      (func $work (local $i i32)
        (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))))
      {functions}
      (func $main (export "_start") (local i64)
        (call $work)
        (drop (call $f (i32.const 2)))))"#
    );
    wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The message, and the places.
type End = (String, Vec<Place>);

fn plain(machine: &Machine, wasm: &[u8]) -> End {
    let plain = machine.load_plain(wasm).unwrap();
    match machine.on_stack(|| plain.run(wasi()).unwrap()).unwrap() {
        Event::Trapped(trap) => (trap.message().to_owned(), plain.backtrace(&trap)),
        other => panic!("{other:?}"),
    }
}

fn transformed(machine: &Machine, code: &Arc<Code>, gap: Gap) -> (End, u64) {
    let mut chaos = Chaos::new(gap, restore);
    let advance = || chaos.advance(Run::start(code.clone(), wasi()).unwrap()).unwrap().0;
    match machine.on_stack(advance).unwrap() {
        Event::Trapped(trap) => {
            let end = (trap.message().to_owned(), code.backtrace(&trap).unwrap());
            (end, chaos.report().captures)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_without_safepoints() {
    let (counted, every_loop, stack) = (true, true, 256 << 10);
    let machine =
        Machine::new(Options { counted, every_loop, stack, ..Options::default() }).unwrap();
    for (what, functions) in PROGRAMS {
        let wasm = module(functions);
        let expected = plain(&machine, &wasm);
        println!("{what}: {}", expected.0);
        for place in &expected.1 {
            println!("  {place}");
        }
        let code = Arc::new(machine.load(wasm.into()).unwrap());
        for gap in [Gap::Every(u32::MAX / 4), Gap::Growing { after: 16 }, Gap::Every(2)] {
            if what == "a full stack" && gap != (Gap::Every(u32::MAX / 4)) {
                continue;
            }
            let (mut found, captures) = transformed(&machine, &code, gap);
            let mut expected = expected.clone();
            // The engine tells the innermost 20; a helper of ours may have been one of them.
            let most = expected.1.len().min(19);
            expected.1.truncate(most);
            found.1.truncate(most);
            assert_eq!(found, expected, "{what} under {gap:?}");
            assert_eq!(captures > 0, gap != Gap::Every(u32::MAX / 4), "{what}");
        }
    }
}

/// With DWARF in the original, places are lines of its source, before and after captures.
#[test]
fn lines_of_source() {
    let text = [
        "(module",
        "  (func $work (local $i i32)",
        "    (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))))",
        "  (func $divide (param i32) (result i32)",
        "    call $work",
        "    i32.const 1",
        "    local.get 0",
        "    i32.div_u)",
        "  (func (export \"_start\")",
        "    call $work",
        "    i32.const 0",
        "    call $divide",
        "    drop))",
    ]
    .join("\n");
    let mut parser = wat::Parser::new();
    parser.generate_dwarf(wat::GenerateDwarf::Lines);
    let wasm = parser.parse_str(Some("divide.wat".as_ref()), &text).unwrap();
    let machine = Machine::new(Options { counted: true, ..Options::default() }).unwrap();
    let code = Arc::new(machine.load(wasm.into()).unwrap());
    for gap in [Gap::Every(u32::MAX / 4), Gap::Every(1)] {
        let ((_, places), _) = transformed(&machine, &code, gap);
        let lines: Vec<String> = places.iter().map(|p| p.lines[0].to_string()).collect();
        assert_eq!(lines, ["./divide.wat:8:5", "./divide.wat:12:5"], "{gap:?}");
        let whole = places[0].to_string();
        assert!(
            whole.starts_with("divide at 0x") && whole.ends_with(" (./divide.wat:8:5)"),
            "{whole}"
        );
    }
}
