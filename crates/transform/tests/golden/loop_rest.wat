;; A loop with parameters, left from a call in its body: the rest's branch carries the parameters to
;; the header's frame. The first continuation is the call's, the second the header's.
;; slots: 4 3
(module
  (func $spin (loop (br 0)))
  (func $f (export "f") (param $n i32) (result i64 i32)
    (i64.const 9)
    (local.get $n)
    (loop $down (param i32) (result i32)
      (call $spin)
      (i32.sub (i32.const 1))
      (local.tee $n)
      (local.get $n)
      (br_if $down))))
