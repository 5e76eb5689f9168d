;; Several results: dummies for each when leaving, and all of them when going on.
;; slots: 3
(module
  (func $pair (result i32 f64) (loop (br 0)) (unreachable))
  (func $f (export "f") (param $x v128) (result i32 f64 v128 funcref)
    (i32.const 1)
    (call $pair)
    (drop)
    (i32.add)
    (block (param i32) (result i32 f64)
      (f64.const 2))
    (local.get $x)
    (ref.null func)))
