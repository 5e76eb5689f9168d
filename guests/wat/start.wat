;; A start function that loops, calls and prints before _start runs; what it did must not be done twice.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (global $runs (mut i32) (i32.const 0))
  (global $sum (mut i64) (i64.const 0))
  (data (i32.const 512) "\2a")
  (func $init (local $i i32)
    (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
    (i32.store8 (i32.const 512) (i32.add (i32.load8_u (i32.const 512)) (i32.const 1)))
    (loop $l
      (global.set $sum (i64.add (global.get $sum) (call $square (i64.extend_i32_u (local.get $i)))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200))))
    (call $out (global.get $sum)))
  (func $square (param i64) (result i64) (i64.mul (local.get 0) (local.get 0)))
  (start $init)
  (func (export "_start")
    (call $outi (global.get $runs))
    (call $outi (i32.load8_u (i32.const 512)))
    (call $out (call $square (global.get $sum))))
)
