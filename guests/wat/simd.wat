;; v128 locals, operands and results live over calls and loops.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $stir (param $v v128) (param $n i32) (result v128) (local $keep v128)
    (local.set $keep (i8x16.swizzle (local.get $v) (v128.const i8x16 3 2 1 0 7 6 5 4 11 10 9 8 15 14 13 12)))
    (if (result v128) (local.get $n)
      (then
        (local.get $keep)
        (i32x4.mul (local.get $v) (v128.const i32x4 3 5 7 9))
        (call $stir (i16x8.add (local.get $v) (i16x8.splat (local.get $n))) (i32.sub (local.get $n) (i32.const 1)))
        (i8x16.add_sat_u)
        (v128.xor))
      (else (v128.not (local.get $keep)))))
  (func $floats (param $n i32) (result v128) (local $a v128) (local $b v128)
    (local.set $a (v128.const f32x4 1 2 3 4))
    (local.set $b (v128.const f64x2 0.5 0.25))
    (loop $l
      (local.set $a (f32x4.add (f32x4.mul (local.get $a) (f32x4.splat (f32.const 0.5))) (f32x4.splat (f32.convert_i32_u (local.get $n)))))
      (local.set $b (f64x2.sub (f64x2.splat (f64.const 3)) (f64x2.mul (local.get $b) (v128.const f64x2 0.5 0.25))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (v128.xor (local.get $a) (local.get $b)))
  (func $f64_pair (param $v v128) (param i32) (result v128)
    (f64x2.add (local.get $v) (f64x2.splat (f64.convert_i32_u (local.get 1)))))
  (func (export "_start") (local $i i32) (local $v v128)
    (local.set $v (v128.const i64x2 0x0123456789abcdef 0x0fedcba987654321))
    (loop $l
      (v128.store (i32.const 256) (local.get $v))
      (local.set $v (v128.bitselect (call $stir (local.get $v) (local.get $i)) (call $floats (i32.add (local.get $i) (i32.const 1)))
        (v128.load16_splat (i32.const 258))))
      (call $outv (local.get $v))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
    (call $outv (call $f64_pair (v128.const f64x2 1 2) (i32.const 3)))
    (call $outi (i8x16.bitmask (local.get $v))))
)
