;; the instructions of threads on a memory that is not shared: all kinds, with values alive across
;; safepoints; waiting on such a memory traps
(memory $second 1)
(func $spin (param i32) (result i32) (local $i i32) (local.set $i (i32.const 2))
  (loop $l (br_if $l (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) (local.get 0))
(func $bump (param $at i32) (result i64)
  (drop (i32.atomic.rmw.add (local.get $at) (i32.const 3)))
  (drop (i32.atomic.rmw8.sub_u offset=1 (local.get $at) (i32.const 1)))
  (drop (i32.atomic.rmw16.or_u offset=2 (local.get $at) (i32.const 0x4100)))
  (drop (i64.atomic.rmw32.xor_u offset=4 (local.get $at) (i64.const 0x5a5a)))
  (atomic.fence)
  (i64.atomic.rmw.and (local.get $at) (i64.const -3)))
(func (export "_start") (local $n i32) (local $old i32)
  (loop $again
    (call $print (call $bump (i32.const 64)))
    ;; a lock, taken and given back round a call
    (call $print32 (i32.atomic.rmw.cmpxchg (call $spin (i32.const 128)) (i32.const 0) (i32.const 7)))
    (call $print32 (i32.atomic.rmw.xchg (i32.const 128) (call $spin (i32.const 0))))
    (i64.atomic.store8 $second (i32.const 0) (i64.const 300))
    (call $print (i64.add (i64.atomic.load $second (i32.const 0)) (i64.extend_i32_u (call $spin (i32.const 1)))))
    (call $print32 (memory.atomic.notify (i32.const 64) (i32.const 1)))
    (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5))))
  (drop (memory.atomic.wait32 (i32.const 64) (i32.const 0) (i64.const 0))))
