;; return_call and return_call_indirect: very many, with more and fewer parameters, out of loops and blocks.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (type $odd_even (func (param i32 i64) (result i64)))
  (table funcref (elem $even $odd $finish))
  (func $even (type $odd_even)
    (if (i32.eqz (local.get 0)) (then (return_call $finish (local.get 0) (local.get 1))))
    (return_call_indirect (type $odd_even) (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 3)) (i32.const 1)))
  (func $odd (type $odd_even)
    (return_call $even (i32.sub (local.get 0) (i32.const 1)) (i64.mul (local.get 1) (i64.const 5))))
  (func $finish (type $odd_even) (i64.xor (local.get 1) (i64.const 0x55)))
  ;; grows and sheds parameters
  (func $wide (param i32 i64 i64 i64 i64 i64 i64 i64 i64 f64) (result i64)
    (return_call $narrow (i32.sub (local.get 0) (i32.const 1))
      (i64.add (i64.add (i64.add (local.get 1) (local.get 2)) (i64.add (local.get 3) (local.get 4)))
        (i64.add (i64.add (local.get 5) (local.get 6)) (i64.trunc_sat_f64_s (local.get 9))))))
  (func $narrow (param $n i32) (param $v i64) (result i64) (local $i i32)
    (loop $l
      (if (i32.eqz (local.get $n)) (then (return (local.get $v))))
      (local.set $v (i64.add (local.get $v) (call $even (i32.const 4) (local.get $v))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3)))
      (block $b
        (br_if $b (i32.const 0))
        (return_call $wide (local.get $n) (local.get $v) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5)
          (i64.const 6) (i64.const 7) (f64.convert_i32_u (local.get $i)))))
    (unreachable))
  (func (export "_start")
    (call $out (call $even (i32.const 3000) (i64.const 1)))
    (call $out (call $even (i32.const 2) (i64.const 1)))
    (call $out (call $narrow (i32.const 30) (i64.const 1))))
)
