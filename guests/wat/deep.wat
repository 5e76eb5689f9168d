;; Recursion 3,000 frames deep, mutual, with live values of all types in each frame, down and up again; then loops at the bottom.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $a (param $n i32) (param $d f64) (result i64 f64) (local $k i64) (local $v v128)
    (local.set $k (i64.mul (i64.extend_i32_u (local.get $n)) (i64.const 0x9e3779b97f4a7c15)))
    (local.set $v (i64x2.splat (local.get $k)))
    (if (i32.eqz (local.get $n))
      (then
        (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 50))))
        (return (i64.extend_i32_u (local.get $n)) (local.get $d))))
    (call $b (i32.sub (local.get $n) (i32.const 1)) (f32.demote_f64 (local.get $d)))
    (f64.add (local.get $d))
    (local.set $d)
    (i64.xor (local.get $k))
    (i64.add (i64x2.extract_lane 1 (local.get $v)))
    (f64.mul (local.get $d) (f64.const 0.5)))
  (func $b (param $n i32) (param $f f32) (result i64 f64) (local $k i64)
    (f32.const 0.25)
    (call $a (local.get $n) (f64.promote_f32 (f32.add (local.get $f) (f32.const 1))))
    (local.set $f (f32.demote_f64))
    (local.set $k (i64.rotl (i64.const 3)))
    (f32.add (local.get $f))
    (local.set $f)
    (local.get $k)
    (f64.promote_f32 (local.get $f)))
  (func (export "_start") (local $i i32)
    (loop $l
      (call $a (i32.mul (local.get $i) (i32.const 500)) (f64.const 1))
      (call $outf) (call $out)
      (br_if $l (i32.le_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6)))))
)
