;; loops round short ones: polled where they go round again; with parameters, values beneath, and within each other
(func $next (param $n i64) (result i64)
  (select
    (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1))
    (i64.shr_u (local.get $n) (i64.const 1))
    (i32.wrap_i64 (i64.and (local.get $n) (i64.const 1)))))
(func $collatz (param $n i64) (result i64) (local $i i32) (local $bits i64)
  (i64.const 1000)
  (i64.const 7)
  (loop $steps (param i64) (result i64)
    (local.set $n (call $next (local.get $n)))
    (local.set $i (i32.const 0))
    (loop $bit
      (local.set $bits (i64.add (i64.rotl (local.get $bits) (i64.const 1))
        (i64.and (i64.const 1) (i64.shr_u (local.get $n) (i64.extend_i32_u (local.get $i))))))
      (br_if $bit (i32.ne (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
    (i64.add (i64.mul (i64.const 31) (local.get $bits)))
    (br_if $steps (i64.ne (local.get $n) (i64.const 1))))
  (i64.mul))
(func $both (param $n i64) (result i64) (local $m i64) (local $i i32) (local $sum i64)
  (block $out
    (loop $outer
      (local.set $m (local.get $n))
      (loop $inner
        (local.set $i (i32.const 3))
        (loop $short
          (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 5)) (local.get $m)))
          (br_if $short (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (local.set $m (call $next (local.get $m)))
        (br_if $inner (i64.ne (local.get $m) (i64.const 1))))
      (local.set $n (call $next (local.get $n)))
      (br_if $out (i64.eq (local.get $n) (i64.const 1)))
      (br $outer)))
  (local.get $sum))
(func (export "_start")
  (call $print (call $collatz (i64.const 27)))
  (call $print (call $both (i64.const 6))))
