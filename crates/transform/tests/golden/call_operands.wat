;; Operands beneath a call's arguments are put into locals before the call; the frame holds them, not
;; the arguments.
;; slots: 3
(module
  (func $spin (param i32 f32) (result i32) (loop (br_if 0 (local.get 0))) (local.get 0))
  (func $f (export "f") (param $a i64) (result f64)
    (f64.const 1.5)
    (i64.const 2)
    (call $spin (i32.const 3) (f32.const 4))
    (i64.extend_i32_s)
    (i64.add)
    (local.get $a)
    (i64.add)
    (f64.convert_i64_s)
    (f64.add)))
