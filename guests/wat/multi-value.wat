;; Functions and blocks with several parameters and results.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $swap (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
  (func $divide (param i64 i64) (result i64 i64)
    (i64.div_u (local.get 0) (local.get 1)) (i64.rem_u (local.get 0) (local.get 1)))
  (func $gcd (param $a i64) (param $b i64) (result i64)
    (local.get $a) (local.get $b)
    (loop $again (param i64 i64) (result i64)
      (local.set $b) (local.set $a)
      (if (result i64) (i64.eqz (local.get $b))
        (then (local.get $a))
        (else
          (local.get $b)
          (call $divide (local.get $a) (local.get $b))
          (local.set $b) (drop)
          (local.get $b)
          (br $again)))))
  ;; ten results of all types
  (func $many (param $n i32) (result i32 i64 f32 f64 i32 i64 f32 f64 v128 i32)
    (if (result i32 i64 f32 f64 i32 i64 f32 f64 v128 i32) (i32.eqz (local.get $n))
      (then (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (i32.const 5) (i64.const 6) (f32.const 7) (f64.const 8)
            (v128.const i32x4 9 10 11 12) (i32.const 13))
      (else
        (call $many (i32.sub (local.get $n) (i32.const 1)))
        (i32.add (local.get $n)))))
  (func (export "_start") (local $i i32) (local $v v128) (local $d f64) (local $f f32) (local $l i64)
    (call $swap (i32.const 7) (i64.const 8)) (call $outi) (call $out)
    (local.set $i (i32.const 12))
    (loop $l
      (call $out (call $gcd (i64.mul (i64.extend_i32_u (local.get $i)) (i64.const 360)) (i64.const 1001000)))
      (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (call $many (i32.const 50))
    (call $outi) (call $outv) (call $outf) (local.set $f) (call $out) (call $outi) (call $outf)
    (local.set $f (f32.add (local.get $f))) (call $out) (call $outi)
    (call $outf (f64.promote_f32 (local.get $f)))
    ;; blocks that pass values through
    (i32.const 3) (i64.const 4)
    (block $b (param i32 i64) (result i64 i32)
      (call $swap) (call $swap (i32.const 5) (i64.const 6))
      (br_if $b (i32.const 0))
      (drop) (drop)
      (br $b))
    (call $outi) (call $out))
)
