;; Three memories, copied between, grown, filled from segments; memory 0 is WASI's.
(module
  ;;@include _import.wat
  (memory $m (export "memory") 1)
  (memory $a 1 5)
  (memory $b 0 3)
  ;;@include _print.wat
  (data $d "in memory b")
  (data (memory $a) (i32.const 10) "in memory a")
  (func $sum (param $n i32) (result i64) (local $s i64)
    (loop $l
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (local.set $s (i64.add (i64.mul (local.get $s) (i64.const 31)) (i64.add (i64.load8_u $a (local.get $n)) (i64.load8_u $b (local.get $n)))))
      (br_if $l (local.get $n)))
    (local.get $s))
  (func (export "_start") (local $i i32)
    (call $outi (memory.grow $b (i32.const 1)))
    (memory.init $b $d (i32.const 5) (i32.const 0) (i32.const 11))
    (data.drop $d)
    (call $out (call $sum (i32.const 100)))
    (memory.copy $b $a (i32.const 50) (i32.const 8) (i32.const 20))
    (memory.copy $m $b (i32.const 1000) (i32.const 0) (i32.const 100))
    (call $out (i64.load $m (i32.const 1010)))
    (loop $l
      (i32.store16 $a (i32.mul (local.get $i) (i32.const 7)) (i32.mul (local.get $i) (i32.const 13)))
      (memory.fill $b (i32.add (i32.const 200) (local.get $i)) (local.get $i) (i32.const 3))
      (call $outi (memory.grow $a (i32.const 1)))
      (call $out (call $sum (i32.const 300)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6))))
    (call $outi (memory.size $m)) (call $outi (memory.size $a)) (call $outi (memory.size $b)))
)
