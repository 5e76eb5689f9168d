;; Floats of both widths live over calls and loops: rounding, minus zero, infinities, subnormals (and no NaN).
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $series (param $n i32) (param $x f64) (result f64) (local $sum f64) (local $term f64) (local $k f64)
    (local.set $term (f64.const 1))
    (loop $l
      (local.set $sum (f64.add (local.get $sum) (local.get $term)))
      (local.set $k (f64.add (local.get $k) (f64.const 1)))
      (local.set $term (f64.div (f64.mul (local.get $term) (local.get $x)) (local.get $k)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func $newton (param $v f32) (result f32) (local $x f32) (local $i i32)
    (local.set $x (local.get $v))
    (local.set $i (i32.const 12))
    (loop $l
      (local.set $x (f32.mul (f32.const 0.5) (f32.add (local.get $x) (f32.div (local.get $v) (local.get $x)))))
      (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (local.get $x))
  (func $down (param $d f64) (param $n i32) (result f64)
    (if (result f64) (local.get $n)
      (then (f64.copysign (f64.add (local.get $d) (call $down (f64.mul (local.get $d) (f64.const 0.001)) (i32.sub (local.get $n) (i32.const 1)))) (local.get $d)))
      (else (local.get $d))))
  (func (export "_start") (local $i i32)
    (local.set $i (i32.const 1))
    (loop $l
      (call $outf (call $series (i32.const 25) (f64.neg (f64.convert_i32_u (local.get $i)))))
      (call $outf (f64.promote_f32 (call $newton (f32.convert_i32_u (local.get $i)))))
      (call $outf (call $down (f64.const -1e-300) (local.get $i)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9))))
    (call $outf (call $down (f64.const -0) (i32.const 3)))
    (call $outf (call $down (f64.const inf) (i32.const 3)))
    (call $outf (f64.nearest (call $series (i32.const 30) (f64.const 3)))))
)
