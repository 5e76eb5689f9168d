;; if with parameters and results, with and without else, nested, calls and loops inside.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $work (param i32) (result i32) (local $i i32)
    (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
    (i32.add (local.get 0) (local.get $i)))
  (func $f (param $n i32) (result i64) (local $d f64)
    (i64.const 100) (local.get $n) (f64.const 1.5)
    (i32.and (local.get $n) (i32.const 1))
    (if (param i32 f64) (result i64)
      (then (local.set $d) (call $work) (i64.extend_i32_u) (i64.add (i64.trunc_f64_s (f64.mul (local.get $d) (f64.const 8)))))
      (else (drop)
        (local.get $n) (i32.and (local.get $n) (i32.const 2))
        (if (param i32 i32) (result i32)
          (then (call $work) (i32.mul))
          (else (i32.sub) (call $work)))
        (i64.extend_i32_s)))
    (i64.add))
  ;; no else: the parameters are the results
  (func $g (param $n i32) (result i32)
    (local.get $n)
    (i32.gt_u (local.get $n) (i32.const 5))
    (if (param i32) (result i32) (then (call $work) (loop $l (param i32) (result i32) (call $work) (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 3))) (i32.const 20))))))
    (call $work))
  (func (export "_start") (local $i i32)
    (loop $l
      (call $out (call $f (local.get $i)))
      (call $outi (call $g (local.get $i)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 12)))))
)
