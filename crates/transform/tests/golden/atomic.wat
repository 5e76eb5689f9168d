;; A function that cannot reach a poll is left as it is, and calls to it are not checked. No frame is
;; ever made of it.
;; slots: 1
(module
  (memory 1)
  (func $hash (param $x i32) (result i32)
    (i32.mul (local.get $x) (i32.const 0x9e3779b1)))
  (func $twice (param $x i32) (result i32)
    (call $hash (call $hash (local.get $x))))
  (func $f (export "f") (param $x i32) (result i32)
    (loop $l
      (local.set $x (call $twice (local.get $x)))
      (br_if $l (local.get $x)))
    (local.get $x)))
