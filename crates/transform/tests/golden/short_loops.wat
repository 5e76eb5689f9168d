;; Loops that end by themselves have no poll; the one round them is polled where it goes round again, and what has no other
;; loops is atomic: no check after calls of it. But a loop with a tail call is polled at its header: it may be gone round once, and
;; the function again and again.
(module
  (memory 1)
  (func $length (param $p i32) (result i32) (local $n i32)
    (loop $l
      (br_if $l (i32.load8_u (i32.add (local.get $p)
        (local.tee $n (i32.add (local.get $n) (i32.const 1)))))))
    (local.get $n))
  (func $rows (param $a i32) (param $n i32) (param $row i32) (local $p i32) (local $end i32)
    (loop $rows
      (local.set $p (local.get $a))
      (local.set $end (i32.add (local.get $a) (local.get $row)))
      (loop $row
        (f64.store (local.get $p) (f64.mul (f64.load (local.get $p)) (f64.const 2)))
        (br_if $row (i32.ne (local.tee $p (i32.add (local.get $p) (i32.const 8))) (local.get $end))))
      (local.set $a (local.get $end))
      (br_if $rows (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
  (func $again (param $p i32)
    (loop $l
      (loop $m
        (br_if $m (i32.load8_u (local.tee $p (i32.add (local.get $p) (i32.const 1))))))
      (br_if $l (i32.load8_u offset=1 (local.get $p)))
      (return_call $again (local.get $p))))
  (func (export "_start")
    (call $rows (i32.const 0) (call $length (i32.const 0)) (i32.const 800))))
