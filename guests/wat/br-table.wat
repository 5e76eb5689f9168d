;; br_table as a byte-code machine's heart, with and without values, to loops and to blocks.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (data (i32.const 128) "\00\01\02\00\03\01\04\02\05\03\00\01\06")
  (func $step (param $op i32) (param $v i64) (result i64)
    (block $default (result i64)
      (block $two (result i64)
        (block $one (result i64)
          (block $zero (result i64)
            (local.get $v) (local.get $op)
            (br_table $zero $one $two $zero $default))
          (i64.add (i64.const 11)) (return))
        (i64.mul (i64.const 3)) (br $default))
      (i64.xor (i64.const 0x5a5a)) (call $twice))
    (i64.rotl (i64.const 7)))
  (func $twice (param i64) (result i64) (i64.add (local.get 0) (local.get 0)))
  (func $machine (param $rounds i32) (result i64) (local $pc i32) (local $acc i64)
    (loop $again
      (block $end (block $six (block $five (block $four (block $plain
        (br_table $plain $plain $plain $plain $four $five $six $end (i32.load8_u offset=128 (local.get $pc))))
        (local.set $acc (call $step (i32.load8_u offset=128 (local.get $pc)) (local.get $acc)))
        (br $end))
        (local.set $acc (i64.sub (local.get $acc) (i64.const 12345)))
        (br $end))
        (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
        (br $end))
        (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
        (local.set $pc (i32.const -1))
        (if (i32.eqz (local.get $rounds)) (then (return (local.get $acc)))))
      (local.set $pc (i32.add (local.get $pc) (i32.const 1)))
      (br $again))
    (unreachable))
  ;; br_table straight to loop headers
  (func $loops (param $n i32) (result i32) (local $a i32) (local $b i32)
    (block $out_
      (loop $outer
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (loop $inner
          (local.set $b (i32.add (i32.mul (local.get $b) (i32.const 3)) (local.get $a)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $out_ (i32.le_s (local.get $n) (i32.const 0)))
          (br_table $inner $outer $inner $outer (i32.and (local.get $b) (i32.const 3))))))
    (local.get $b))
  (func (export "_start") (local $i i32)
    (loop $l
      (call $out (call $step (local.get $i) (i64.const 1000)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 7))))
    (call $out (call $machine (i32.const 10)))
    (call $outi (call $loops (i32.const 100))))
)
