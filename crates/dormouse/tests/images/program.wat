;; What the images beside this file hold: a program stopped in the middle of a loop, three calls deep, with a value of every
;; type alive, changed globals and tables, two memories, a dropped segment and a caught exception. It ends by printing sixteen
;; hexadecimal digits that depend on all of it.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (memory $second 1 4)
  (type $step (func (param i64) (result i64)))
  (table $steps 4 funcref)
  (global $sum (mut i64) (i64.const 0))
  (global $half (mut f32) (f32.const 0.5))
  (tag $told (param i64))
  (data $words "checkpoint and restart")
  (data (i32.const 16) "0123456789abcdef")
  (elem declare func $xor $rotate)

  (func $xor (param $n i64) (result i64) (i64.xor (local.get $n) (i64.const 0x5bd1e9955bd1e995)))
  (func $rotate (param $n i64) (result i64) (i64.rotl (local.get $n) (i64.const 13)))
  (func $mix (param $n i64)
    (global.set $sum (i64.add (i64.mul (global.get $sum) (i64.const 0x100000001b3)) (local.get $n))))

  ;; The innermost frame: stopped in here.
  (func $work (param $rounds i32) (param $x f64) (result f64)
    (local $v v128) (local $f f32) (local $g funcref) (local $e exnref) (local $none externref)
    (local.set $v (v128.const i64x2 0x0102030405060708 0x1112131415161718))
    (local.set $f (f32.reinterpret_i32 (i32.const 0x7fa12345))) ;; a NaN with a payload, signalling
    (local.set $g (ref.func $rotate))
    (local.set $e (block $caught (result exnref)
      (try_table (catch_all_ref $caught) (throw $told (i64.const 77)))
      (unreachable)))
    (loop $again
      (local.set $x (f64.mul (f64.const 3.75) (f64.mul (local.get $x) (f64.sub (f64.const 1) (local.get $x)))))
      (local.set $v (i8x16.add (local.get $v) (i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0 (local.get $v) (local.get $v))))
      (table.set $steps (i32.and (local.get $rounds) (i32.const 3))
        (select (result funcref) (local.get $g) (ref.func $xor) (i32.and (local.get $rounds) (i32.const 4))))
      (i64.store $second (i32.and (i32.mul (local.get $rounds) (i32.const 72)) (i32.const 0xfff8)) (global.get $sum))
      (call $mix (i64.reinterpret_f64 (local.get $x)))
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (call $mix (i64x2.extract_lane 0 (local.get $v)))
    (call $mix (i64x2.extract_lane 1 (local.get $v)))
    (call $mix (i64.extend_i32_u (i32.reinterpret_f32 (local.get $f))))
    (call $mix (i64.extend_i32_u (ref.is_null (local.get $none))))
    (call $mix (block $value (result i64)
      (try_table (catch $told $value) (throw_ref (local.get $e)))
      (unreachable)))
    (local.get $x))

  (func $middle (param $deep i32) (result i64)
    (local $kept i64)
    (local.set $kept (i64.const -3))
    (i64.add
      (i64.mul (local.get $kept) (i64.extend_i32_s (local.get $deep)))
      (i64.trunc_sat_f64_s (f64.mul (f64.const 1e9) (call $work (i32.const 200) (f64.const 0.25))))))

  (func (export "_start")
    (local $i i32)
    (drop (memory.grow $second (i32.const 1)))
    (memory.init $words (i32.const 65536) (i32.const 0) (i32.const 22))
    (data.drop $words)
    (table.set $steps (i32.const 1) (ref.func $xor))
    (global.set $half (f32.mul (global.get $half) (f32.const -3)))
    (i64.store (i32.const 70000) (i64.const 0x1122334455667788))
    (call $mix (call $middle (i32.const 5)))
    (call $mix (i64.extend_i32_u (i32.reinterpret_f32 (global.get $half))))
    (loop $each
      (global.set $sum (call_indirect $steps (type $step) (global.get $sum) (local.get $i)))
      (br_if $each (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
    (local.set $i (i32.const 0))
    (loop $each
      (call $mix (i64.load $second (local.get $i)))
      (br_if $each (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 8))) (i32.const 131072))))
    (call $mix (i64.load (i32.const 65550)))
    (call $mix (i64.load (i32.const 70000)))
    ;; sixteen digits and a newline at 40, the vector at 0
    (local.set $i (i32.const 56))
    (i32.store8 (local.get $i) (i32.const 10))
    (loop $digit
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (i32.store8 (local.get $i) (i32.load8_u offset=16 (i32.wrap_i64 (i64.and (global.get $sum) (i64.const 15)))))
      (global.set $sum (i64.shr_u (global.get $sum) (i64.const 4)))
      (br_if $digit (i32.gt_u (local.get $i) (i32.const 40))))
    (i32.store (i32.const 0) (i32.const 40))
    (i32.store (i32.const 4) (i32.const 17))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
