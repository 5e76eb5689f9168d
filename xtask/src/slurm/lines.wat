;; Prints a hundred lines, each of eight letters that depend on every step before.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $print (param $x i64) (local $i i32)
    (loop $l
      (i32.store8 (i32.add (local.get $i) (i32.const 16))
        (i32.add (i32.const 97) (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 15))))
      (local.set $x (i64.shr_u (local.get $x) (i64.const 8)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
    (i32.store8 (i32.const 24) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 16))
    (i32.store (i32.const 4) (i32.const 9))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start") (local $x i64) (local $n i64) (local $k i32)
    (loop $outer
      (local.set $n (i64.const 60000000))
      (loop $l
        (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005)) (local.get $n)))
        (br_if $l (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
      (call $print (local.get $x))
      (br_if $outer (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 100))))))
