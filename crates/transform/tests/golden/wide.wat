;; slots: 1 3 4
;; 64-bit memories and tables: helpers take 64-bit destinations, indices are spilled as such
(module
  (type $t (func (param i32) (result i32)))
  (memory $m i64 1)
  (memory $n 1)
  (table $f i64 2 funcref)
  (data $d "abc")
  (data (memory $m) (i64.add (i64.const 8) (i64.const 8)) "xyz")
  (elem $e func $spin)
  (elem (table $f) (i64.const 1) func $spin)
  (func $spin (type $t) (loop $l (br_if $l (local.get 0))) (local.get 0))
  (func $call (param $at i64) (result i64)
    (memory.init $m $d (local.get $at) (i32.const 1) (i32.const 2))
    (table.init $f $e (i64.const 0) (i32.const 0) (i32.const 1))
    (memory.grow $m (i64.const 1))
    (call_indirect $f (type $t) (i32.const 3) (local.get $at))
    (i64.extend_i32_u)
    (i64.add)
    (loop $l
      (memory.copy $m $n (local.get $at) (i32.const 0) (i32.const 3))
      (i64.store $m offset=16 (local.get $at) (i64.const 1))
      (br_if $l (i64.eqz (memory.size $m))))))
