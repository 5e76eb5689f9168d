//! Which loops end soon by themselves, so that no poll stands in them; and, as much, which do not.

use dormouse_transform::{Kind, Options, Program};

/// Of each loop of the module's first function, whether it is polled.
fn polled(text: &str) -> Vec<bool> {
    let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let p = Program::new(wasm.into(), &Options::default()).unwrap();
    p.check().unwrap();
    let sites = (0..p.slots()).filter_map(|slot| p.site(slot).ok());
    sites.filter(|(f, s)| *f == 0 && s.kind == Kind::Loop).map(|(_, s)| s.active).collect()
}

fn in_function(body: &str) -> String {
    format!(
        "(module (memory 1) (global $g (mut i32) (i32.const 0)) (table 1 funcref) (type $t (func))
           (func (param $p i32) (param $n i32) (param $q i32) (param $w i64)
             (local $i i32) (local $j i32) (local $x i64) {body})
           (func $little) (func $loops (loop $l (br $l)))
           (func $sweeps (param i32) (loop $l (br_if $l (i32.load8_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))))))))"
    )
}

#[track_caller]
fn ends(body: &str) {
    assert_eq!(polled(&in_function(body)).first(), Some(&false), "ends by itself: {body}");
}

#[track_caller]
fn is_polled(body: &str) {
    assert_eq!(polled(&in_function(body)).first(), Some(&true), "needs a poll: {body}");
}

/// `$i` grows by `step` and the loop goes round while `goes`, having begun at `from`.
fn counting(from: &str, step: i32, goes: &str) -> String {
    format!(
        "(local.set $i {from}) (loop $l (local.set $i (i32.add (local.get $i) (i32.const {step}))) (br_if $l ({goes})))"
    )
}

#[test]
fn counts() {
    let zero = "(i32.const 0)";
    ends(&counting(zero, 1, "i32.ne (local.get $i) (i32.const 1000)"));
    ends(&counting(zero, 8, "i32.ne (local.get $i) (i32.const 1000)"));
    ends(&counting(zero, 7, "i32.lt_u (local.get $i) (i32.const 1000)"));
    ends(&counting(zero, 7, "i32.le_s (local.get $i) (i32.const 1000)"));
    ends(&counting(zero, 7, "i32.gt_s (i32.const 1000) (local.get $i)"));
    ends(&counting("(i32.const 1000)", -1, "local.get $i"));
    ends(&counting("(i32.const 1000)", -7, "i32.ge_s (local.get $i) (i32.const 3)"));
    ends(&counting("(i32.const -40)", 8, "local.get $i"));
    ends(&counting(zero, 1, "i32.eqz (i32.eq (local.get $i) (i32.const 9))"));
    ends(&counting(zero, 1, "i32.lt_u (i32.shl (local.get $i) (i32.const 2)) (i32.const 400)"));
    // A local that has never been set is zero, a parameter is not.
    ends(
        "(loop $l (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))",
    );
    is_polled(
        "(loop $l (br_if $l (i32.ne (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9))))",
    );
    // Through another local, and 64 bits.
    ends(
        "(local.set $i (i32.const 1)) (loop $l
        (local.set $j (i32.add (local.get $i) (i32.const 1))) (local.set $i (local.get $j))
        (br_if $l (i32.ne (local.get $j) (i32.const 50))))",
    );
    ends("(local.set $x (i64.const 1)) (loop $l
        (br_if $l (i64.lt_s (local.tee $x (i64.add (local.get $x) (i64.const 3))) (i64.const 50))))");
    // Tested before the work is done, with the way round at the end.
    ends(
        "(local.set $i (i32.const 0)) (block $out (loop $l
        (br_if $out (i32.ge_u (local.get $i) (i32.const 50)))
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l)))",
    );
}

#[test]
fn what_only_seems_to_count() {
    let zero = "(i32.const 0)";
    // Too far, past the number, the wrong way, over the edge.
    is_polled(&counting(zero, 1, "i32.ne (local.get $i) (i32.const 1000000000)"));
    is_polled(&counting(zero, 7, "i32.ne (local.get $i) (i32.const 1000)"));
    is_polled(&counting(zero, -1, "i32.ne (local.get $i) (i32.const 1000)"));
    is_polled(&counting(zero, -1, "i32.lt_s (local.get $i) (i32.const 1000)"));
    is_polled(&counting(
        "(i32.const 2147483000)",
        7,
        "i32.le_s (local.get $i) (i32.const 2147483647)",
    ));
    is_polled(&counting("(i32.const -100)", 1, "i32.le_u (local.get $i) (i32.const -1)"));
    is_polled(&counting(zero, 0, "i32.ne (local.get $i) (i32.const 1)"));
    // Nobody knows the beginning, the end or the step.
    is_polled(&counting("(local.get $n)", 1, "i32.ne (local.get $i) (i32.const 10)"));
    is_polled(&counting(zero, 1, "i32.ne (local.get $i) (local.get $n)"));
    is_polled("(local.set $i (i32.const 0)) (loop $l
        (local.set $i (i32.add (local.get $i) (local.get $n))) (br_if $l (i32.ne (local.get $i) (i32.const 10))))");
    // It is set on one way only, between a branch and the loop.
    is_polled("(block (br_if 0 (local.get $n)) (local.set $i (i32.const 0)))
        (loop $l (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
        (local.set $i (local.get $n))");
    is_polled("(loop $again (local.set $i (i32.const 0))
        (if (local.get $n) (then (local.set $i (local.get $n))))
        (loop $l (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
        (br $again))");
    // Not in every round.
    is_polled(
        "(local.set $i (i32.const 0)) (loop $l
        (if (local.get $n) (then (local.set $i (i32.add (local.get $i) (i32.const 1)))))
        (br_if $l (i32.ne (local.get $i) (i32.const 10))))",
    );
    is_polled(
        "(local.set $i (i32.const 0)) (loop $l
        (br_if $l (local.get $n))
        (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))",
    );
    is_polled(
        "(local.set $i (i32.const 0)) (loop $l
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (if (local.get $n) (then (local.set $i (i32.const 0))))
        (br_if $l (i32.ne (local.get $i) (i32.const 10))))",
    );
    // Set back by a loop in it.
    is_polled(
        "(local.set $i (i32.const 0)) (loop $l
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (loop $m (local.set $i (i32.sub (local.get $i) (i32.const 1)))
          (br_if $m (i32.load8_u (local.tee $p (i32.add (local.get $p) (i32.const 1))))))
        (br_if $l (i32.ne (local.get $i) (i32.const 10))))",
    );
}

#[test]
fn sweeps() {
    ends("(loop $l (i64.store (local.get $p) (i64.const 0))
        (br_if $l (i32.lt_u (local.tee $p (i32.add (local.get $p) (i32.const 8))) (local.get $n))))");
    // Whatever it waits for, and whichever way it goes.
    ends(
        "(loop $l (local.set $p (i32.sub (local.get $p) (i32.const 1))) (br_if $l (i32.load8_u (local.get $p))))",
    );
    // By an index: a[i], a[4 * i], a[q + i + 5].
    ends(
        "(loop $l (br_if $l (i32.load8_u (i32.add (local.get $q) (local.tee $i (i32.add (local.get $i) (i32.const 1)))))))",
    );
    ends(
        "(loop $l (br_if $l (i32.load (i32.add (local.get $q) (i32.shl (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))))",
    );
    ends(
        "(loop $l (local.set $x (i64.add (local.get $x) (i64.const 1)))
        (br_if $l (i32.load8_u (i32.wrap_i64 (local.get $x)))))",
    );
    // A column: how far apart is not known, but a counter ends it.
    ends("(loop $l (f64.store (local.get $p) (f64.const 0)) (local.set $p (i32.add (local.get $p) (local.get $q)))
        (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))");
    // What comes on the way out does not matter.
    ends(
        "(loop $l (block $found (br_if $found (i32.eqz (i32.load8_u (local.get $p))))
          (local.set $p (i32.add (local.get $p) (i32.const 1))) (br $l))
        (call $loops))",
    );
    // Atomic functions may be called.
    ends(
        "(loop $l (call $little) (br_if $l (i32.load8_u (local.tee $p (i32.add (local.get $p) (i32.const 1))))))",
    );
}

#[test]
fn what_only_seems_to_sweep() {
    // The same place, no place, farther than what no memory has, by nothing.
    is_polled("(loop $l (br_if $l (i32.load8_u (local.get $p))))");
    is_polled(
        "(loop $l (local.set $p (i32.add (local.get $p) (i32.const 1))) (br_if $l (local.get $n)))",
    );
    is_polled(
        "(loop $l (i32.store8 (local.tee $p (i32.add (local.get $p) (i32.const 65536))) (i32.const 1)) (br_if $l (local.get $n)))",
    );
    is_polled(
        "(loop $l (i32.store8 (local.tee $p (i32.add (local.get $p) (i32.const 0))) (i32.const 1)) (br_if $l (local.get $n)))",
    );
    is_polled(
        "(loop $l (i32.store8 (i32.shl (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const 31)) (i32.const 1)) (br_if $l (local.get $n)))",
    );
    // An address that is masked or read from memory.
    is_polled(
        "(loop $l (i32.store8 (i32.and (local.get $p) (i32.const 63)) (i32.const 1))
        (local.set $p (i32.add (local.get $p) (i32.const 1))) (br_if $l (local.get $n)))",
    );
    is_polled(
        "(loop $l (i32.store8 (i32.add (local.get $p) (i32.load (i32.const 0))) (i32.const 1))
        (local.set $p (i32.add (local.get $p) (i32.const 1))) (br_if $l (local.get $n)))",
    );
    // A step that may be nothing, without a counter or with one that never comes to its end.
    is_polled(
        "(loop $l (i32.store8 (local.tee $p (i32.add (local.get $p) (local.get $q))) (i32.const 1)) (br_if $l (local.get $n)))",
    );
    is_polled("(loop $l (i32.store8 (local.get $p) (i32.const 1)) (local.set $p (i32.add (local.get $p) (local.get $q)))
        (br_if $l (i32.le_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))");
    is_polled("(loop $l (i32.store8 (local.get $p) (i32.const 1)) (local.set $p (i32.add (local.get $p) (local.get $q)))
        (br_if $l (i64.ne (local.tee $x (i64.add (local.get $x) (i64.const 1))) (local.get $w))))");
    // Not in every round; one step forward and one back.
    is_polled(
        "(loop $l (if (local.get $n) (then (i32.store8 (local.get $p) (i32.const 1))))
        (local.set $p (i32.add (local.get $p) (i32.const 1))) (br_if $l (local.get $n)))",
    );
    is_polled(
        "(loop $l (i32.store8 (local.get $p) (i32.const 1)) (br_if $l (local.get $n))
        (local.set $p (i32.add (local.get $p) (i32.const 1))) (br_if $l (local.get $q)))",
    );
    is_polled("(loop $l (i32.store8 (local.get $p) (i32.const 1)) (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (local.set $p (i32.sub (local.get $p) (i32.const 1))) (br_if $l (local.get $n)))");
    is_polled("(loop $l (local.set $p (select (i32.add (local.get $p) (i32.const 1)) (i32.sub (local.get $p) (i32.const 1)) (local.get $n)))
        (i32.store8 (local.get $p) (i32.const 1)) (br_if $l (local.get $q)))");
    // What is called may be stopped, may be anything, or sweeps itself.
    let and = |what: &str| {
        format!(
            "(loop $l {what} (i32.store8 (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const 0)) (br_if $l (local.get $n)))"
        )
    };
    is_polled(&and("(call $loops)"));
    is_polled(&and("(call $sweeps (local.get $q))"));
    is_polled(&and(&"(local.set $j (i32.mul (local.get $j) (local.get $i)))".repeat(20)));
    // The memory may be all that there is.
    let all = in_function(
        "(loop $l (i32.store8 (local.tee $p (i32.add (local.get $p) (i32.const 1))) (i32.const 0)) (br_if $l (local.get $n)))",
    );
    assert_eq!(polled(&all.replace("(memory 1)", "(memory 65536)")), [true]);
    assert_eq!(polled(&all.replace("(memory 1)", "(memory 65535)")), [false]);
}

#[test]
fn walks() {
    ends("(loop $l (br_if $l (local.tee $p (i32.load offset=4 (local.get $p)))))");
    // A chain of offsets, and a place that is only remembered.
    ends("(loop $l (local.set $j (local.get $p))
        (br_if $l (i32.ne (local.tee $p (i32.add (local.get $p) (i32.load (local.get $p)))) (local.get $q))))
        (i32.store (i32.const 0) (local.get $j))");
    // It writes, it counts (a ring has no end), it carries more than the address, or takes it from elsewhere.
    is_polled(
        "(loop $l (i32.store (local.get $p) (i32.const 1)) (br_if $l (local.tee $p (i32.load offset=4 (local.get $p)))))",
    );
    is_polled(
        "(loop $l (global.set $g (local.get $p)) (br_if $l (local.tee $p (i32.load offset=4 (local.get $p)))))",
    );
    is_polled(
        "(loop $l (local.set $p (i32.load offset=4 (local.get $p)))
        (br_if $l (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))",
    );
    is_polled(
        "(loop $l (local.set $p (i32.load offset=4 (local.get $p)))
        (br_if $l (i64.ne (local.tee $x (i64.add (local.get $x) (i64.const 1))) (local.get $w))))",
    );
    is_polled(
        "(loop $l (local.set $p (i32.mul (local.get $p) (i32.const 5))) (br_if $l (i32.ne (local.get $p) (local.get $n))))",
    );
    is_polled(
        "(loop $l (br_if $l (i64.ne (local.tee $w (i64.load (i32.wrap_i64 (local.get $w)))) (i64.const 0))))",
    );
    is_polled(
        "(loop $l (call $little) (br_if $l (local.tee $p (i32.load offset=4 (local.get $p)))))",
    );
    is_polled(
        "(local.get $p) (loop $l (param i32) (local.set $j (i32.load)) (local.get $j) (br_if $l (local.get $j)) drop)",
    );
}

#[test]
fn loops_in_loops() {
    let inner = "(local.set $j (i32.const 0))
        (loop $m (br_if $m (i32.ne (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const N))))";
    let outer = |n: &str, m: &str| {
        let text = counting("(i32.const 0)", 1, &format!("i32.ne (local.get $i) (i32.const {n})"));
        polled(&in_function(
            &text.replace("(loop $l ", &format!("(loop $l {}", inner.replace('N', m))),
        ))
    };
    assert_eq!(outer("100", "100"), [false, false]);
    // Each is short, but not one in the other.
    assert_eq!(outer("1000", "10000"), [true, false]);
    assert_eq!(outer("100", "100000000"), [true, true]);
    // A pass over memory in each round is too much.
    let sweep =
        "(loop $m (br_if $m (i32.load8_u (local.tee $p (i32.add (local.get $p) (i32.const 1))))))";
    let text = counting("(i32.const 0)", 1, "i32.ne (local.get $i) (i32.const 100)");
    assert_eq!(
        polled(&in_function(&text.replace("(loop $l ", &format!("(loop $l {sweep}")))),
        [true, false]
    );
}

/// Functions are atomic if all their loops end soon, but not if there is too much of it.
#[test]
fn functions() {
    let stops = |text: &str| {
        let p = Program::new(wat::parse_str(text).unwrap().into(), &Options::default()).unwrap();
        let (all, atomic) = p.function_counts();
        all - atomic
    };
    let sweep = "(func $sweep (param i32) (result i32)
        (loop $l (br_if $l (i32.load8_u (local.tee 0 (i32.add (local.get 0) (i32.const 1)))))) (local.get 0))";
    let calls = |n: usize| {
        let call = "(drop (call $sweep (i32.const 0)))".repeat(n);
        format!("(module (memory 1) {sweep} (func {call}))")
    };
    assert_eq!(stops(&calls(1)), 0);
    assert_eq!(stops(&calls(8)), 0);
    assert_eq!(stops(&calls(9)), 1, "too many passes over memory come after another");
    // Twice what the one before does, a hundred times.
    let mut text = String::from("(module (func $f0)");
    for n in 1..100 {
        text += &format!("(func $f{n} (call $f{0}) (call $f{0}))", n - 1);
    }
    let stopped = stops(&format!("{text})"));
    assert!((1..100).contains(&stopped), "{stopped}");
    // All polled, if that is asked for.
    let options = Options { every_loop: true, ..Options::default() };
    let p = Program::new(wat::parse_str(calls(1)).unwrap().into(), &options).unwrap();
    assert_eq!(p.function_counts(), (2, 0));
}

/// Safepoints at which a program stops: function and kind.
fn stops(text: &str) -> Vec<(u32, Kind)> {
    let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let p = Program::new(wasm.into(), &Options::default()).unwrap();
    p.check().unwrap();
    let sites = (0..p.slots()).filter_map(|slot| p.site(slot).ok());
    sites.filter(|(_, s)| s.active).map(|(f, s)| (f, s.kind)).collect()
}

/// What calls itself comes to a poll, wherever in a loop's text the call stands.
#[test]
fn recursion() {
    let polls = |text: &str| {
        let stops =
            stops(&format!("(module (memory 1) (type $t (func)) (table 1 funcref) {text})"));
        assert!(stops.iter().any(|s| s.1 != Kind::Call), "{text}: {stops:?}");
    };
    polls("(func $f (loop (return_call $f)))");
    polls("(func $f (loop (call $f)))");
    polls(
        "(func $f (loop (return_call_indirect (type $t) (i32.const 0)))) (elem (i32.const 0) $f)",
    );
    polls("(func $f (loop (call $g))) (func $g (loop (call $f)))");
    // A loop that goes round once, and one that looks for something before.
    polls(
        "(func $fib (param $n i32) (result i32) (loop (result i32)
          (if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (local.get $n))
            (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                           (call $fib (i32.sub (local.get $n) (i32.const 2))))))))",
    );
    polls(
        "(func $f (param $p i32)
          (loop $l (block $found
            (br_if $found (i32.load8_u (local.get $p)))
            (local.set $p (i32.add (local.get $p) (i32.const 1))) (br $l))
            (call $f (local.get $p)) (call $f (local.get $p))))",
    );
}

/// A block with parameters where nothing is known of the operands.
#[test]
fn operands_beneath_what_is_not_followed() {
    let text = |block: &str| {
        format!(
            "(local.set $i (i32.const 0)) (loop $l
               local.get $i i32.const 1 i32.add local.get $i
               block $b (result i32) {block} end
               drop local.tee $i i32.const 10 i32.ne br_if $l drop)"
        )
    };
    is_polled(&text("i32.const 7 br $b block (param i32 i32) drop drop end"));
    is_polled(
        "(local.set $i (i32.const 0)) (loop $l
           local.get $i i32.const 1 i32.add local.get $i
           block $b (br_if $b (local.get $n)) i32.const 7 block (param i32) drop end return end
           local.tee $i i32.const 10 i32.ne br_if $l drop)",
    );
}

/// Instructions and host calls may take long, and much that is little is not.
#[test]
fn what_takes_long() {
    let rounds = |n: u32, what: &str| {
        let text = counting("(i32.const 0)", 1, &format!("i32.ne (local.get $i) (i32.const {n})"));
        text.replace("(loop $l ", &format!("(loop $l {what}"))
    };
    let fill = "(memory.fill (local.get $p) (i32.const 0) (local.get $n))";
    is_polled(&rounds(1000, fill));
    ends(&rounds(1000, &fill.replace("(local.get $n)", "(i32.const 16)")));
    is_polled(&rounds(1000, &fill.replace("(local.get $n)", "(i32.const 1000000)")));
    is_polled(&rounds(1000, "(drop (memory.grow (i32.const 0)))"));
    // A host call.
    let options = Options { restartable: |_, _| false, ..Options::default() };
    let text = format!(
        "(module (import \"\" \"\" (func $host)) (func (local $i i32) {}))",
        rounds(1000, "(call $host)")
    );
    let p = Program::new(wat::parse_str(text).unwrap().into(), &options).unwrap();
    assert!((0..p.slots()).any(|slot| p.site(slot).is_ok_and(|(_, s)| s.active)));
    // One after another.
    let count = rounds(100_000, "");
    ends(&count);
    is_polled(&count.repeat(30));
}
