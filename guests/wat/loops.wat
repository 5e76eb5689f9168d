;; Loops in loops, branches to each of them, loops with parameters and results, operands beneath a loop.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $collatz (param $n i64) (result i32) (local $steps i32)
    (block $done
      (loop $again
        (br_if $done (i64.le_u (local.get $n) (i64.const 1)))
        (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
        (if (i64.eqz (i64.and (local.get $n) (i64.const 1)))
          (then (local.set $n (i64.shr_u (local.get $n) (i64.const 1))) (br $again)))
        (local.set $n (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))
        (br $again)))
    (local.get $steps))
  ;; three nested loops; the inner ones go on with the outer ones
  (func $nest (param $n i32) (result i32) (local $i i32) (local $j i32) (local $k i32) (local $sum i32)
    (loop $a
      (local.set $j (i32.const 0))
      (loop $b
        (local.set $k (i32.const 0))
        (loop $c
          (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.xor (local.get $i) (i32.add (local.get $j) (local.get $k)))))
          (local.set $k (i32.add (local.get $k) (i32.const 1)))
          (br_if $c (i32.lt_u (local.get $k) (i32.const 3)))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $b (i32.lt_u (local.get $j) (i32.const 4))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $a (i32.lt_u (local.get $i) (local.get $n)))))
    (local.get $sum))
  ;; operands lie beneath the loop, the loop has parameters of four types and results
  (func $params (param $n i32) (result f64) (local $i i32) (local $d f64) (local $f f32) (local $l i64) (local $w i32)
    (local.set $i (local.get $n))
    (f64.const 0.5)
    (i64.const 77)
    (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4)
    (loop $again (param i32 i64 f32 f64) (result i64 f64)
      (local.set $d) (local.set $f) (local.set $l) (local.set $w)
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (i32.add (local.get $w) (local.get $i))
      (i64.add (i64.mul (local.get $l) (i64.const 5)) (i64.extend_i32_u (local.get $w)))
      (f32.add (f32.mul (local.get $f) (f32.const 0.75)) (f32.convert_i32_u (local.get $i)))
      (f64.add (f64.mul (local.get $d) (f64.const 0.25)) (f64.promote_f32 (local.get $f)))
      (br_if $again (local.get $i))
      (local.set $d) (local.set $f) (local.set $l) (local.set $w)
      (i64.xor (local.get $l) (i64.extend_i32_u (local.get $w)))
      (f64.add (local.get $d) (f64.promote_f32 (local.get $f))))
    (local.set $d) (local.set $l)
    (call $out (local.get $l))
    (call $out)
    (f64.add (local.get $d)))
  (func (export "_start") (local $i i32)
    (local.set $i (i32.const 20))
    (loop $l
      (call $outi (call $collatz (i64.extend_i32_u (local.get $i))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30))))
    (call $outi (call $collatz (i64.const 837799)))
    (call $outi (call $nest (i32.const 40)))
    (call $outf (call $params (i32.const 25))))
)
