//! `run --invoke`: functions called with typed arguments, checkpointed and resumed like programs.
#![allow(missing_docs)]

mod harness;

use harness::*;

/// A reactor: what it gives back tells that the start function, `_initialize` and the call have
/// each run once, in this order.
const REACTOR: &str = r#"(module
  (global $g (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func $count (param $to i32) (loop $l
    (global.set $g (i32.add (global.get $g) (i32.const 1)))
    (br_if $l (i32.lt_u (global.get $g) (local.get $to)))))
  (func $start (call $count (i32.const 5)))
  (start $start)
  (func (export "_initialize")
    (call $count (i32.const 7)) (global.set $g (i32.mul (global.get $g) (i32.const 10))))
  (func (export "get") (result i32) (call $count (i32.const 75)) (global.get $g))
  (func (export "nothing"))
  (func $fac (export "fac") (param $n i64) (result i64)
    (if (result i64) (i64.eqz (local.get $n)) (then (i64.const 1))
      (else (i64.mul (local.get $n) (call $fac (i64.sub (local.get $n) (i64.const 1)))))))
  (func (export "all") (param i32 i64 f32 f64 v128) (result v128 f64 f32 i64 i32 funcref externref)
    (drop (call $fac (i64.const 3)))
    (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0)
    (ref.null func) (ref.null extern))
  (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1))))"#;

#[test]
fn results_are_printed() {
    let p = Place::new();
    let reactor = p.guest("reactor", REACTOR);
    for chaos in [&[][..], &["--chaos", "1"]] {
        let call = |name, args: &[&str]| {
            let start = [&["run", "--invoke", name], chaos, &[&*reactor, "--"], args].concat();
            p.dormouse(&start)
        };
        let prints = |name, args: &[&str], expected: &str| {
            let ended = call(name, args);
            assert_eq!((ended.code, &*ended.out), (Some(0), expected), "{name}: {}", ended.err);
        };
        prints("get", &[], "75\n");
        prints("nothing", &[], "");
        prints("_initialize", &[], "");
        prints("fac", &["20"], "2432902008176640000\n");
        prints(
            "all",
            &["-1", "0xffffffffffffffff", "1.25", "-1e3", "0x1ffffffffffffffff"],
            "36893488147419103231\n-1000\n1.25\n-1\n-1\n<null funcref>\n<null externref>\n",
        );
        let trapped = call("divide", &["1", "0"]);
        assert_eq!(trapped.code, Some(134), "{}", trapped.err);
        assert!(trapped.err.contains("integer divide by zero"), "{}", trapped.err);
    }
}

#[test]
fn bad_calls() {
    let p = Place::new();
    let reactor = p.guest("reactor", REACTOR);
    let error = |name: &str, args: &[&str]| {
        let ended = p.dormouse(&[&["run", "--invoke", name, &*reactor, "--"], args].concat());
        assert_eq!(ended.code, Some(125));
        ended.error().to_owned()
    };
    assert!(error("none", &[]).contains("exports no function `none`; `dormouse check`"));
    assert!(error("dormouse.init", &[]).contains("exports no function"));
    assert!(error("memory", &[]).contains("exports no function"));
    assert!(error("fac", &[]).contains("`fac` takes 1 argument, and 0 were given"));
    assert!(error("get", &["1"]).contains("`get` takes 0 arguments, and 1 were given"));
    assert!(error("fac", &["x"]).contains("argument 1 of `fac`: `x` is not an integer"));
    assert!(error("divide", &["1", "4294967296"]).contains("argument 2 of `divide`"));
    let check = p.ok(&["check", &reactor]);
    assert!(check.contains("can be checkpointed") && check.contains("divide"), "{check}");
}

/// Killed in the middle of a call, and stopped in the start function before it.
#[test]
fn a_call_is_resumed() {
    let p = Place::new();
    let spin = |name: &str| {
        spin().replace(
            r#"(func (export "_start")"#,
            &format!(
                r#"(func (export "more") (param i32 f64) (result f64 i64)
                (f64.add (f64.convert_i32_s (local.get 0)) (local.get 1))
                (call $deep (local.get 0)))
              (func {name}"#
            ),
        )
    };
    let guest = p.guest("call", &spin("(export \"_start\")"));
    let call = ["--invoke", "more", &guest, "--", "100", "0.5"];
    let expected = p.ok(&[&["run"], &call[..]].concat());
    assert!(expected.starts_with("100.5\n") && expected.lines().count() == 2, "{expected}");
    let mut job = p.start("call", &[&["--every", "20ms"], &call[..]].concat());
    p.wait_for("two checkpoints", || p.checkpoints("call") >= 2);
    job.kill().unwrap();
    job.wait().unwrap();
    assert_eq!(p.ok(&["resume", "call", "--every", "never"]), expected);

    // Its start function prints, and computes as long; the call waits meanwhile.
    let guest =
        p.guest("late", &spin("$start").replace("(func $spin", "(start $start) (func $spin"));
    let job = p.start("late", &["--invoke", "more", &guest, "--", "100", "0.5"]);
    p.ok(&["checkpoint", "late", "--stop"]);
    assert_eq!(Ended::wait(job).code, Some(85));
    let ended = p.ok(&["resume", "late"]);
    assert!(ended.ends_with(&expected) && ended.lines().count() == 3, "{ended}");
}
