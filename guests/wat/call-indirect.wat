;; Calls through tables: several types, recursion through the table, entries changed while they run.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (type $unary (func (param i64) (result i64)))
  (type $binary (func (param i64 f64) (result f64)))
  (table $t 8 funcref)
  (table $u 4 funcref)
  (elem (table $t) (i32.const 0) func $double $square $inverse $recurse)
  (elem (table $u) (i32.const 1) func $mix $scale)
  (func $double (type $unary) (i64.shl (local.get 0) (i64.const 1)))
  (func $square (type $unary) (i64.mul (local.get 0) (local.get 0)))
  (func $inverse (type $unary) (i64.xor (local.get 0) (i64.const -1)))
  (func $recurse (type $unary)
    (if (result i64) (i64.le_u (local.get 0) (i64.const 1))
      (then (i64.const 1))
      (else
        (i64.add
          (call_indirect $t (type $unary) (i64.sub (local.get 0) (i64.const 1)) (i32.const 3))
          (call_indirect $t (type $unary) (i64.sub (local.get 0) (i64.const 2)) (i32.const 3))))))
  ;; changes the table that it was called through
  (func $change (type $unary)
    (table.set $t (i32.const 4) (table.get $t (i32.wrap_i64 (i64.rem_u (local.get 0) (i64.const 3)))))
    (call_indirect $t (type $unary) (local.get 0) (i32.const 4)))
  (func $mix (type $binary) (f64.add (f64.convert_i64_s (local.get 0)) (local.get 1)))
  (func $scale (type $binary) (f64.mul (local.get 1) (f64.const 0.5)))
  (elem declare func $change)
  (func (export "_start") (local $i i32) (local $v i64) (local $d f64)
    (call $out (call_indirect $t (type $unary) (i64.const 15) (i32.const 3)))
    (local.set $v (i64.const 3))
    (loop $l
      (table.set $t (i32.const 4) (ref.func $change))
      (local.set $v (i64.add (call_indirect $t (type $unary) (local.get $v) (i32.const 4)) (i64.extend_i32_u (local.get $i))))
      (local.set $v (call_indirect $t (type $unary) (local.get $v) (i32.rem_u (local.get $i) (i32.const 3))))
      (local.set $d (call_indirect $u (type $binary) (i64.shr_s (local.get $v) (i64.const 20)) (local.get $d)
        (i32.add (i32.const 1) (i32.and (local.get $i) (i32.const 1)))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30))))
    (call $out (local.get $v))
    (call $outf (local.get $d)))
)
