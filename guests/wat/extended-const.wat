;; Constant expressions with arithmetic, in globals and in the offsets of segments. (A global.get of a global that is not
;; imported would belong to the GC proposal.)
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (global $at i32 (i32.add (i32.const 400) (i32.mul (i32.const 3) (i32.const 50))))
  (global $big (mut i64) (i64.sub (i64.mul (i64.const 0x100000001) (i64.const 77)) (i64.const 5)))
  (table $t 10 funcref)
  (data (i32.add (i32.sub (i32.const 600) (i32.const 50)) (i32.const 6)) "segment")
  (elem (table $t) (offset (i32.sub (i32.const 9) (i32.const 4))) func $f)
  (func $f (result i32) (global.get $at))
  (func (export "_start") (local $i i32)
    (call $outi (call_indirect $t (result i32) (i32.const 5)))
    (loop $l
      (global.set $big (i64.add (global.get $big) (i64.load8_u (i32.add (global.get $at) (local.get $i)))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 20))))
    (call $out (global.get $big)))
)
