//! Which functions can be stopped, and what is alive where they are.

use dormouse_transform::{Kind, Options, Program, Source, ValType};

fn program(text: &str) -> Program {
    let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let options = Options { restartable: |_, name| name == "block", ..Options::default() };
    Program::new(wasm.into(), &options).unwrap()
}

/// Function, kind and the locals saved, of every safepoint where the program stops.
fn sites(p: &Program) -> Vec<(u32, Kind, Vec<u32>)> {
    let all = (0..p.slots()).filter_map(|s| p.site(s).ok()).filter(|s| s.1.active);
    let locals = |(f, s): (u32, dormouse_transform::Site)| {
        let of = |v: &(Source, ValType)| match v.0 {
            Source::Local(l) => Some(l),
            Source::Operand(_) => None,
        };
        (f, s.kind, s.layout.values.iter().filter_map(of).collect())
    };
    all.map(locals).collect()
}

/// The locals alive at the only call to `$spin` in a function with `params` and this body.
fn alive(params: &str, body: &str) -> Vec<u32> {
    let p =
        program(&format!("(module (tag $e) (func $spin (loop (br 0))) (func {params} {body}))"));
    let mut at_calls = sites(&p).into_iter().filter(|s| s.0 == 1 && s.1 == Kind::Call);
    let mut locals = at_calls.next().unwrap().2;
    assert!(at_calls.next().is_none());
    locals.sort_unstable();
    locals
}

#[test]
fn only_locals_that_are_read_later_are_saved() {
    let p = "(param i32 i64 f32)";
    assert_eq!(alive(p, "(drop (local.get 0)) (call $spin)"), []);
    assert_eq!(alive(p, "(call $spin) (drop (local.get 1))"), [1]);
    assert_eq!(alive(p, "(call $spin) (local.set 0 (i32.const 1)) (drop (local.get 0))"), []);
    assert_eq!(
        alive(p, "(call $spin) (drop (local.tee 0 (i32.const 1))) (drop (local.get 0))"),
        []
    );
    // On one path only.
    let one =
        "(call $spin) (if (i32.const 1) (then (drop (local.get 2))) (else (drop (local.get 0))))";
    assert_eq!(alive(p, one), [0, 2]);
    // Never reached again.
    assert_eq!(alive(p, "(call $spin) (return) (drop (local.get 0))"), []);
    assert_eq!(alive(p, "(call $spin) (unreachable)"), []);
    let over = "(block (call $spin) (br 0) (drop (local.get 0))) (drop (local.get 1))";
    assert_eq!(alive(p, over), [1]);
    let tables = "(block (block (call $spin) (br_table 0 1 (i32.const 0))) (drop (local.get 0)) (return)) (drop (local.get 1))";
    assert_eq!(alive(p, tables), [0, 1]);
}

#[test]
fn loops_keep_alive_what_the_next_iteration_reads() {
    let p = "(param i32 i64)";
    let body = "(loop (drop (local.get 1)) (call $spin) (br_if 0 (i32.const 1)))";
    assert_eq!(alive(p, body), [1]);
    let set_first = "(loop (local.set 1 (i64.const 1)) (drop (local.get 1)) (call $spin) (br_if 0 (i32.const 1)))";
    assert_eq!(alive(p, set_first), []);
    let nested = "(loop (drop (local.get 0)) (loop (call $spin) (br_if 0 (i32.const 1)) (br_if 1 (i32.const 1))))";
    assert_eq!(alive(p, nested), [0]);
}

#[test]
fn handlers_keep_alive_what_they_read() {
    let p = "(param i32 i64)";
    // The call may throw, even though the code after it never reads the local.
    let handler =
        "(block $h (try_table (catch_all $h) (call $spin)) (return)) (drop (local.get 1))";
    assert_eq!(alive(p, handler), [1]);
    // Whatever the body does to it: the throw may come before or after.
    let set = "(block $h (try_table (catch_all $h) (call $spin) (local.set 1 (i64.const 0)) (throw $e)) (return)) (drop (local.get 1))";
    assert_eq!(alive(p, set), [1]);
    let outer = "(block $h (try_table (catch_all $h) (block $i (try_table (catch $e $i) (call $spin)))) (return)) (drop (local.get 0))";
    assert_eq!(alive(p, outer), [0]);
}

#[test]
fn functions_that_end_soon_are_atomic() {
    let p = program(
        r#"(module
        (import "x" "quick" (func $quick))
        (import "x" "block" (func $block))
        (type $a (func (param f32)))
        (type $b (func (param f64)))
        (table funcref (elem $leaf_b $loop_a))
        (func $leaf)
        (func $caller_of_leaf (call $leaf) (call $quick))
        (func $leaf_b (type $b))
        (func $loop_a (type $a) (loop (br 0)))
        (func $indirect_b (param i32) (call_indirect (type $b) (f64.const 0) (i32.const 0)))
        (func $indirect_a (param i32) (call_indirect (type $a) (f32.const 0) (i32.const 0)))
        (func $self (param i64) (call $self (local.get 0)))
        (func $blocks (call $block))
        (func $tail_loop (return_call $loop_a (f32.const 0)))
        (func $tail_leaf (return_call $leaf)))"#,
    );
    let names = [
        "quick",
        "block",
        "leaf",
        "caller_of_leaf",
        "leaf_b",
        "loop_a",
        "indirect_b",
        "indirect_a",
        "self",
        "blocks",
        "tail_loop",
        "tail_leaf",
    ];
    let with_sites: Vec<&str> = sites(&p).iter().map(|s| names[s.0 as usize]).collect();
    assert_eq!(with_sites, ["block", "loop_a", "indirect_a", "self", "self", "blocks"]);
    // `tail_loop` has no frame of its own, but a call to it can be left.
    assert_eq!(p.function_counts(), (12, 5 + 1));
}

#[test]
fn every_cycle_of_calls_has_a_poll() {
    let p = program(
        "(module (func $a (call $b)) (func $b (call $c)) (func $c (call $a) (call $d)) (func $d))",
    );
    let entries: Vec<u32> = sites(&p).iter().filter(|s| s.1 == Kind::Entry).map(|s| s.0).collect();
    assert_eq!(entries, [0]);
    // Through a table: any function of that type may be the callee.
    let p = program(
        "(module (type $t (func)) (table funcref (elem $a)) (func $a (call $b)) (func $b (call_indirect (type $t) (i32.const 0))))",
    );
    assert!(sites(&p).iter().any(|s| s.1 == Kind::Entry));
    // Tail calls loop as well.
    let p = program("(module (func $a (return_call $b)) (func $b (return_call $a)))");
    assert_eq!(sites(&p).iter().filter(|s| s.1 == Kind::Entry).count(), 1);
}

/// Where a function of one type is called, one of a subtype may answer: its loops, and its calls back.
#[test]
fn calls_through_references_reach_subtypes() {
    let types = "(type $top (sub (func))) (type $sub (sub $top (func)))";
    let p = program(&format!(
        "(module {types} (elem declare func $f) (func $f (type $sub) (loop (br 0)))
            (func (param (ref $top)) (call_ref $top (local.get 0))))"
    ));
    assert!(sites(&p).contains(&(1, Kind::Call, vec![])));
    // Another type of the same form, but not a subtype.
    let p = program(&format!(
        "(module {types} (type $other (sub (func))) (elem declare func $f) (func $f (type $top) (loop (br 0)))
            (func (param (ref $sub)) (call_ref $sub (local.get 0))))"
    ));
    assert_eq!(sites(&p).len(), 1);
    // The cycle closes from one type to another: its poll is in a function all the same.
    let p = program(&format!(
        "(module {types} (elem declare func $g)
            (func $f (param (ref $sub)) (call_ref $sub (local.get 0)))
            (func $g (type $sub) (call_ref $top (ref.func $g))))"
    ));
    let entries: Vec<u32> = sites(&p).iter().filter(|s| s.1 == Kind::Entry).map(|s| s.0).collect();
    assert_eq!(entries, [1]);
}

#[test]
fn sites_in_dead_code_keep_their_number() {
    let p = program(
        "(module (func $spin (loop (br 0))) (func (call $spin) (return) (call $spin) (loop (br 0))) (func (call $spin)))",
    );
    // Each function's entry, then its calls and loops.
    assert_eq!(p.slots(), 8);
    let live: Vec<u32> = (0..8).filter(|&s| p.site(s).is_ok()).collect();
    assert_eq!(live, [0, 1, 2, 3, 6, 7]);
    assert!(p.continuations(&[4]).is_err());
    assert!(p.site(8).is_err() && p.continuations(&[8]).is_err());
}

#[test]
fn the_same_module_gives_the_same_bytes() {
    let text = include_str!("golden/segments.wat");
    assert_eq!(program(text).instrument().unwrap(), program(text).instrument().unwrap());
    assert_eq!(
        program(text).continuations(&[0]).unwrap(),
        program(text).continuations(&[0]).unwrap()
    );
}
