;; Calls and loops in code that is never reached, after br, return, unreachable, br_table and throw-like ends.
(module
  ;;@include _import.wat
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $f (param i32) (result i32) (local $i i32)
    (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))
    (i32.add (local.get 0) (local.get $i)))
  (func $a (param $n i32) (result i32)
    (block $b (result i32)
      (br $b (call $f (local.get $n)))
      (call $f) (loop $l (param i32) (result i32) (call $f) (br $l)) (i32.add))
    (return (call $f))
    (call $f) (drop) (i32.const 1) (call $f))
  (func $b (param $n i32) (result i32)
    (if (result i32) (i32.and (local.get $n) (i32.const 1))
      (then (return (call $f (local.get $n))) (call $f (i32.const 1)))
      (else
        (block $x (block $y (br_table $x $y $x (call $f (local.get $n))) (call $f) (drop)) (local.set $n (i32.const 40)))
        (loop $l (br_if $l (i32.lt_u (local.tee $n (call $f (local.get $n))) (i32.const 30)))
          (if (i32.gt_u (local.get $n) (i32.const 1000)) (then (unreachable) (drop (call $f)) (br $l))))
        (call $f (local.get $n)))))
  (func (export "_start") (local $i i32)
    (loop $l
      (call $outi (call $a (local.get $i))) (call $outi (call $b (local.get $i)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6)))
      (return)))
)
