//! Modules of unusual shapes, of any size. Each exports `_start` and a global `result`, which tells
//! whether everything was computed as it should be.

use std::fmt::Write as _;

/// A module with these fields, `$spin` (a function that can be stopped and gives back its argument),
/// and a `$main` that `_start` puts into `result`.
fn module(fields: &str) -> String {
    format!(
        r#"(module
  (global $result (export "result") (mut i64) (i64.const 0))
  (func $spin (param i64) (result i64) (loop (br_if 0 (i32.const 0))) (local.get 0))
  (func (export "_start") (global.set $result (call $main)))
{fields})"#
    )
}

fn repeat(n: usize, mut text: impl FnMut(&mut String, usize)) -> String {
    let mut out = String::new();
    (0..n).for_each(|i| text(&mut out, i));
    out
}

/// Types in turn, their operators to add up, and how to make one of an i64 and back.
const NUMBERS: [(&str, &str, &str); 4] = [
    ("i64", "", ""),
    ("i32", "i32.wrap_i64", "i64.extend_i32_u"),
    ("f64", "f64.convert_i64_u", "i64.trunc_f64_u"),
    ("f32", "f32.convert_i64_u", "i64.trunc_f32_u"),
];

fn number(i: usize) -> (&'static str, &'static str, &'static str) {
    NUMBERS[i % NUMBERS.len()]
}

/// A `br_table` with `n` targets, all of them others, and a value carried to each; a call with the
/// value beneath it follows every `every`th.
pub fn br_table(n: usize, every: usize) -> String {
    let targets = repeat(n, |o, i| write!(o, " {i}").unwrap());
    let ends = repeat(n, |o, i| {
        writeln!(o, "end i64.const {i} i64.add").unwrap();
        if i % every == every / 2 {
            o.push_str("i64.const 3 call $spin i64.xor\n");
        }
    });
    let blocks = "block (result i64)\n".repeat(n);
    let step = (n / 7).max(1);
    module(&format!(
        "(func $main (result i64) (local $i i32) (local $sum i64)
  loop $again
    {blocks} local.get $sum local.get $i br_table{targets} {}
    {ends} local.set $sum
    local.get $i i32.const {step} i32.add local.tee $i i32.const {n} i32.lt_u br_if $again
  end
  local.get $sum)",
        n / 2
    ))
}

/// One function of `n` parts, each with a loop, a call in it, branches, `padding` instructions of
/// arithmetic, and locals of its own; a few locals live all the time.
pub fn large_function(n: usize, padding: usize) -> String {
    let arithmetic = repeat(padding, |o, i| {
        writeln!(
            o,
            "local.get $t i64.const {} i64.mul local.get {} i64.xor local.set $t",
            i + 3,
            i % 8
        )
        .unwrap();
    });
    let parts = repeat(n, |o, i| {
        let (kept, own) = (i % 8, 8 + i % 400);
        writeln!(
            o,
            "local.get {kept} local.set {own} i64.const {i} local.set $t i32.const 2 local.set $n
loop $l
  block $b
    local.get {own} i64.const 1 i64.and i64.eqz br_if $b
    local.get {own} i64.const {i} i64.add local.set {own}
  end
  local.get {own} local.get $t call $spin i64.add local.set {own}
  {arithmetic}
  local.get $n i32.const 1 i32.sub local.tee $n br_if $l
end
local.get {own} local.get $t i64.add local.set {kept}"
        )
        .unwrap();
    });
    let sum = repeat(8, |o, i| writeln!(o, "local.get {i} i64.add").unwrap());
    module(&format!(
        "(func $main (result i64) (local {}) (local $t i64) (local $n i32)
{parts} i64.const 0 {sum})",
        "i64 ".repeat(408)
    ))
}

/// `n` functions with names, called one after the other through a table.
pub fn functions(n: usize) -> String {
    let functions = repeat(n, |o, i| {
        writeln!(
            o,
            "(func $function_number_{i} (param i64) (result i64)
  (i64.xor (call $spin (i64.add (local.get 0) (i64.const {i}))) (i64.const {})))",
            i * 31
        )
        .unwrap();
    });
    let all = repeat(n, |o, i| write!(o, " $function_number_{i}").unwrap());
    module(&format!(
        "{functions} (table funcref (elem{all}))
  (func $main (result i64) (local $i i32) (local $sum i64)
    loop $l
      local.get $sum local.get $i call_indirect (param i64) (result i64) local.set $sum
      local.get $i i32.const 1 i32.add local.tee $i i32.const {n} i32.lt_u br_if $l
    end
    local.get $sum)"
    ))
}

/// Constructs that nest.
pub const NESTED: [&str; 6] = ["block", "loop", "loops", "if", "else", "try_table"];

/// `n` constructs in each other, an operand beneath some, and a call in the innermost.
pub fn nested(kind: &str, n: usize) -> String {
    let open = repeat(n, |o, i| {
        if i.is_multiple_of(16) && i < 96 {
            writeln!(o, "i64.const {i}").unwrap();
        }
        o.push_str(match kind {
            "block" => "block (result i64)\n",
            "loop" => "loop (result i64)\n",
            // Each goes round twice where it is passed for the first time.
            "loops" => "i64.const 0 loop (param i64) (result i64) drop\n",
            "if" => "local.get $yes if (result i64)\n",
            "else" => "local.get $no if (result i64) i64.const 9 call $spin else\n",
            _ => "block (result i64) try_table (result i64) (catch $e 0)\n",
        });
    });
    let close = repeat(n, |o, i| {
        match kind {
            // A branch to the loop's header as often as there are bits in `turns`.
            "loops" => o.push_str(
                "local.set $v local.get $turns if
  local.get $turns i32.const 1 i32.sub local.set $turns local.get $v br 1 end
local.get $v ",
            ),
            "if" => o.push_str("else i64.const 7 call $spin "),
            "try_table" => o.push_str("end "),
            _ => {}
        }
        o.push_str("end ");
        if (n - 1 - i).is_multiple_of(16) && n - 1 - i < 96 {
            o.push_str("i64.add ");
        }
        o.push_str("i64.const 1 i64.add\n");
    });
    let throw = if kind == "try_table" { "call $throw" } else { "" };
    module(&format!(
        "(tag $e (param i64))
  (func $throw (param i64) (result i64) (throw $e (i64.add (call $spin (local.get 0)) (i64.const 5))))
  (func $main (result i64) (local $yes i32) (local $no i32) (local $turns i32) (local $v i64)
    i32.const 1 local.set $yes i32.const 3 local.set $turns
    {open} i64.const 100 call $spin {throw}
    {close})"
    ))
}

/// What ends a block's live part (and whether it traps), and what may stand behind it where nothing runs.
const ENDS: [(&str, bool); 9] = [
    ("br $out", false),
    ("i32.const 0 br_table $out $out", false),
    ("i64.const 1 return", false),
    ("i64.const 1 i32.const 0 br_table $function $function", false),
    ("unreachable", true),
    ("i64.const 1 throw $e", false),
    ("local.get $x throw_ref", false),
    ("i64.const 1 return_call $spin", false),
    ("i64.const 1 i32.const 0 return_call_indirect (param i64) (result i64)", false),
];

const DEAD: [&str; 16] = [
    "",
    "nop",
    "i32.add drop",
    "call $spin drop",
    "i64.const 1 call $spin drop",
    "i32.add call_indirect (param i64) (result i64) drop",
    "loop i64.const 1 call $spin drop br 0 end",
    "block (result i64) i64.const 1 call $spin end drop",
    "loop (param i64) (result i64) call $spin end drop",
    "if (result i64) i64.const 1 call $spin else i64.const 1 call $spin end drop",
    "select drop",
    "local.set $v local.get $v local.tee $v drop",
    "try_table (catch_all $out) i64.const 1 call $spin drop end",
    "br_if $out call $spin drop",
    "br_table $out $out call $spin br 0",
    "return unreachable throw $e return_call $spin",
];

const ROUND: [(&str, &str); 6] = [
    ("", ""),
    ("block $b", "end"),
    ("loop $l", "end"),
    ("local.get $n if", "else i64.const 4 call $spin local.set $v end"),
    ("local.get $n i32.eqz if i64.const 4 call $spin local.set $v else", "end"),
    ("block $h (result exnref) try_table (catch_all_ref $h)", "end unreachable end drop"),
];

/// A function for every kind of end, of dead code behind it and of construct round it, with a
/// call before and one after. Those that trap are not called.
pub fn unreachable_code() -> String {
    let (mut functions, mut calls) = (String::new(), String::new());
    let mut n = 0;
    for (end, traps) in ENDS {
        for dead in DEAD {
            for (open, close) in ROUND {
                writeln!(
                    functions,
                    "(func $f{n} (param $x exnref) (result i64) (local $v i64) (local $n i32)
  block $function (result i64)
    i32.const 1 local.set $n i64.const {n} call $spin local.set $v
    block $out {open} {end} {dead} {close} end
    local.get $v i64.const 3 call $spin i64.add
  end)"
                )
                .unwrap();
                if !traps {
                    writeln!(
                        calls,
                        "local.get $sum
block $caught (result i64) try_table (result i64) (catch $e $caught) local.get $x call $f{n} end end
i64.add i64.const 5 i64.rotl local.set $sum"
                    )
                    .unwrap();
                }
                n += 1;
            }
        }
    }
    module(&format!(
        "(tag $e (param i64)) (table funcref (elem $spin)) {functions}
  (func $main (result i64) (local $x exnref) (local $sum i64)
    block $h (result i64 exnref) try_table (catch_ref $e $h) i64.const 2 throw $e end unreachable end
    local.set $x drop
    {calls} local.get $sum)"
    ))
}

/// `n` locals that are all alive across a call and a loop.
pub fn locals(n: usize) -> String {
    let declared = repeat(n, |o, i| write!(o, " {}", number(i).0).unwrap());
    let set = repeat(n, |o, i| writeln!(o, "i64.const {i} {} local.set {i}", number(i).1).unwrap());
    let sum = repeat(n, |o, i| {
        writeln!(o, "local.get {i} {} i64.add i64.const 1 i64.rotl", number(i).2).unwrap()
    });
    module(&format!(
        "(func $main (result i64) (local{declared})
  {set} i64.const 9 call $spin drop loop (br_if 0 (i32.const 0)) end
  i64.const 0 {sum})"
    ))
}

/// A function, a block and a loop of `n` parameters and results each, with operands beneath.
pub fn multi_value(n: usize) -> String {
    let types = repeat(n, |o, i| write!(o, " {}", number(i).0).unwrap());
    let push = repeat(n, |o, i| writeln!(o, "i64.const {i} {}", number(i).1).unwrap());
    let gets = repeat(n, |o, i| writeln!(o, "local.get {i}").unwrap());
    let sum = repeat(n, |o, i| {
        writeln!(
            o,
            "{} local.get $sum i64.add i64.const 1 i64.rotl local.set $sum",
            number(n - 1 - i).2
        )
        .unwrap();
    });
    module(&format!(
        "(type $t (func (param{types}) (result{types})))
  (func $many (type $t) i64.const 1 call $spin drop {gets})
  (func $main (result i64) (local $sum i64) (local $n i32)
    i64.const 77
    {push} call $many
    block (type $t) i64.const 1 call $spin drop end
    i32.const 2 local.set $n
    loop (type $t)
      call $many
      local.get $n i32.const 1 i32.sub local.tee $n br_if 0
    end
    {sum} local.get $sum i64.add)"
    ))
}
