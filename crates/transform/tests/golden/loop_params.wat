;; A loop's parameters change with every iteration, so they are put into locals at its header; what
;; lies beneath is put there once, before the loop.
;; slots: 1
(module
  (func $f (export "f") (param $n i32) (result i32)
    (i32.const 7)
    (local.get $n)
    (loop $down (param i32) (result i32)
      (i32.sub (i32.const 1))
      (local.tee $n)
      (local.get $n)
      (br_if $down))
    (i32.add)))
