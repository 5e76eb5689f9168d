//! Deep stacks: captured and resumed without overflow, in place and in a fresh instance, and what ran
//! before a capture can go on after it.

mod guests;

use dormouse_engine::{Code, Event, HEADROOM, Machine, Options, Run};
use dormouse_state::State;
use dormouse_wasi::{RestoreOptions, Wasi};
use guests::{Output, stdio, text, wasi};
use std::sync::Arc;

fn machine(stack: usize) -> Machine {
    Machine::new(Options { counted: true, stack, ..Options::default() }).unwrap()
}

fn code(machine: &Machine, body: &str) -> Arc<Code> {
    let prelude = include_str!("wat/prelude.txt");
    let wasm = wat::parse_str(format!("(module\n{prelude}{body})")).unwrap();
    Arc::new(machine.load(wasm.into()).unwrap())
}

/// Little lives across the call.
fn small(depth: u32) -> String {
    format!(
        r#"(func $down (param $n i32) (result i32)
          (if (result i32) (local.get $n)
            (then (i32.add (local.get $n) (call $down (i32.sub (local.get $n) (i32.const 1)))))
            (else (i32.const 7))))
        (func (export "_start") (call $print32 (call $down (i32.const {depth}))))"#
    )
}

/// Much lives across the call: sixteen numbers of three types, and operands.
fn large(depth: u32) -> String {
    let mut locals = String::new();
    let (mut set, mut sum) = (String::new(), String::from("(f64.const 0)"));
    for i in 0..16 {
        let (ty, convert) = match i % 3 {
            0 => ("i64", "f64.convert_i64_s"),
            1 => ("f64", "f64.neg"),
            _ => ("i32", "f64.convert_i32_s"),
        };
        let from = match ty {
            "i64" => "i64.extend_i32_u",
            "f64" => "f64.convert_i32_u",
            _ => "i32.clz",
        };
        locals += &format!("(local $v{i} {ty})");
        set += &format!("(local.set $v{i} ({from} (i32.add (local.get $n) (i32.const {i}))))");
        sum = format!("(f64.add {sum} ({convert} (local.get $v{i})))");
    }
    format!(
        r#"(func $down (param $n i32) (result f64) {locals}
          (if (i32.eqz (local.get $n)) (then (return (f64.const 1))))
          {set}
          (f64.add (f64.convert_i32_u (local.get $n))
            (f64.add (call $down (i32.sub (local.get $n) (i32.const 1))) {sum})))
        (func (export "_start") (call $print (i64.reinterpret_f64 (call $down (i32.const {depth})))))"#
    )
}

/// Forty vectors on the operand stack, and many places to go on from.
fn vectors(depth: u32) -> String {
    let operands = "(i32x4.splat (local.get $n))".repeat(40);
    let sum = "i32x4.add ".repeat(40);
    let call = "(call $down (i32.sub (local.get $n) (i32.const 1)))";
    format!(
        r#"(func $down (param $n i32) (result i32)
          (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
          {operands}
          (if (result i32) (i32.and (local.get $n) (i32.const 1)) (then {call}) (else (block (result i32) {call})))
          i32x4.splat
          {sum}
          i32x4.extract_lane 0)
        (func (export "_start") (call $print32 (call $down (i32.const {depth}))))"#
    )
}

/// Much lives across the call, and the engine keeps nothing of it: constants, of which a continuation knows no more than that
/// they were saved.
fn constants(depth: u32) -> String {
    constant("i32", "i32.const 1", 2500, depth)
}

/// References, which lie elsewhere while they are saved.
fn references(depth: u32) -> String {
    constant("funcref", "ref.null func", 100, depth)
}

fn constant(ty: &str, value: &str, n: u32, depth: u32) -> String {
    let each = |f: &dyn Fn(u32) -> String| (1..=n).map(f).collect::<String>();
    let set = each(&|l| format!("(local.set {l} ({value}))"));
    let used = each(&|l| format!("(drop (call $used (local.get {l})))"));
    format!(
        r#"(func $used (param {ty}) (result {ty}) (local.get 0))
        (func $down (param $n i32) (local {})
          (if (i32.eqz (local.get $n)) (then (return)))
          {set}
          (call $down (i32.sub (local.get $n) (i32.const 1)))
          {used})
        (func (export "_start") (call $down (i32.const {depth})) (call $print32 (i32.const 5)))"#,
        format!("{ty} ").repeat(n as usize)
    )
}

/// Little lives across the call, but much in a loop of the same function that never runs.
fn cold(depth: u32) -> String {
    let each = |f: &dyn Fn(u32) -> String| (1..=20_000).map(f).collect::<String>();
    let set = each(&|l| format!("(local.set {l} (i64.load (i32.const 0)))"));
    let used = each(&|l| format!("(i64.store (i32.const 0) (local.get {l}))"));
    format!(
        r#"(func $down (param $n i32) (local {})
          (if (i32.eqz (local.get $n)) (then (return)))
          (if (i32.eq (local.get $n) (i32.const -1))
            (then {set} (loop $l (br_if $l (i32.load8_u (i32.load (i32.const 4))))) {used}))
          (call $down (i32.sub (local.get $n) (i32.const 1)))
          (global.set $sum (i32.add (global.get $sum) (local.get $n))))
        (global $sum (mut i32) (i32.const 0))
        (func (export "_start") (call $down (i32.const {depth})) (call $print32 (global.get $sum)))"#,
        "i64 ".repeat(20_000)
    )
}

/// Runs without a capture.
fn uninterrupted(machine: &Machine, body: &str) -> (Event, String) {
    let (out, code) = (Output::default(), code(machine, body));
    let event = machine.on_stack(|| {
        let mut run = Run::start(code, wasi(&out)).unwrap();
        run.stop_after(i32::MAX as u32);
        run.advance().unwrap()
    });
    (event.unwrap(), text(&out))
}

/// Captures at the `at`th safepoint and goes on in place.
fn in_place(machine: &Machine, body: &str, at: u32) -> (Event, String) {
    let (out, code) = (Output::default(), code(machine, body));
    let event = machine.on_stack(|| {
        let mut run = Run::start(code, wasi(&out)).unwrap();
        run.stop_after(at);
        match run.advance().unwrap() {
            Event::Stopped => {}
            too_deep => return too_deep,
        }
        assert!(run.state().unwrap().frames.len() as u32 > at);
        run.stop_after(i32::MAX as u32);
        run.advance().unwrap()
    });
    (event.unwrap(), text(&out))
}

/// Captures at the `at`th safepoint and goes on in a fresh instance of `then`.
fn afresh(machine: &Machine, then: &Machine, body: &str, at: u32) -> (Event, String) {
    let (out, first) = (Output::default(), code(machine, body));
    let (state, memory) = machine
        .on_stack(|| {
            let mut run = Run::start(first, wasi(&out)).unwrap();
            run.stop_after(at);
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            (run.state().unwrap().encode(), run.memory(0).unwrap().to_vec())
        })
        .unwrap();
    let state = State::decode(&state).unwrap();
    assert!(state.frames.len() as u32 > at);
    let code = code(then, body);
    let event = then.on_stack(|| {
        let restore = RestoreOptions { stdio: stdio(&out), ..RestoreOptions::default() };
        let wasi = Wasi::restore(&state.wasi, restore).unwrap();
        let mut run = Run::resume(code, &state, wasi, |_, into| {
            into.copy_from_slice(&memory);
            Ok(())
        })
        .unwrap();
        run.stop_after(i32::MAX as u32);
        run.advance().unwrap()
    });
    (event.unwrap(), text(&out))
}

#[test]
fn a_hundred_thousand_frames() {
    let depth = 100_000;
    let machine = machine(Options::default().stack);
    for body in [small(depth), large(depth)] {
        let plain = uninterrupted(&machine, &body);
        assert_eq!(plain.0, Event::Exited(0));
        assert!(!plain.1.is_empty());
        assert_eq!(in_place(&machine, &body, depth), plain);
        assert_eq!(afresh(&machine, &machine, &body, depth), plain);
    }
}

/// A large frame that a function may leave does not make all of its frames large.
#[test]
fn one_large_frame_of_many() {
    let machine = machine(Options::default().stack);
    let depth = 30_000;
    let body = cold(depth);
    let plain = uninterrupted(&machine, &body);
    assert_eq!(plain.0, Event::Exited(0));
    assert_eq!(in_place(&machine, &body, depth), plain);
    assert_eq!(afresh(&machine, &machine, &body, depth), plain);
}

/// The greatest depth at which `ok` holds.
fn deepest(most: u32, ok: impl Fn(u32) -> bool) -> u32 {
    let (mut good, mut bad) = (1, most);
    assert!(ok(good) && !ok(bad));
    while bad - good > good / 50 + 1 {
        let middle = good + (bad - good) / 2;
        if ok(middle) { good = middle } else { bad = middle }
    }
    good
}

#[test]
fn what_ran_can_go_on() {
    // `tight` has just the stack that `machine` says the program can count on.
    let stack = 1 << 20;
    let (machine, tight) = (machine(stack), machine(stack / HEADROOM));
    for (name, body) in [
        ("small", small as fn(u32) -> String),
        ("large", large),
        ("vectors", vectors),
        ("constants", constants),
        ("references", references),
    ] {
        let ends = |e: (Event, String)| e.0 == Event::Exited(0);
        let most = deepest(200_000, |n| ends(uninterrupted(&tight, &body(n))));
        let after = deepest(200_000, |n| ends(in_place(&tight, &body(n), n)));
        println!("{name}: {most} frames before a capture, {after} after it, in the same stack");
        let expected = uninterrupted(&machine, &body(most));
        assert!(ends(expected.clone()));
        for at in [most / 3, most * 2 / 3, most] {
            assert_eq!(in_place(&machine, &body(most), at), expected, "{name}, in place at {at}");
            assert_eq!(
                afresh(&machine, &machine, &body(most), at),
                expected,
                "{name}, afresh at {at}"
            );
        }
    }
}
