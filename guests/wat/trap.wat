;; Ends with a trap, some frames deep, after some output.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  ;;@traps
  (func $down (param $n i32) (result i32)
    (call $outi (local.get $n))
    (i32.add (i32.const 1) (if (result i32) (local.get $n)
      (then (call $down (i32.sub (local.get $n) (i32.const 1))))
      (else (i32.div_u (i32.const 1) (local.get $n))))))
  (func (export "_start") (call $outi (call $down (i32.const 5))))
)
