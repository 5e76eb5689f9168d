;; Nothing is polled: older versions may have stopped here, and their frames go on.
;; slots: 1 3
(module
  (func $count (result i32) (local $i i32)
    (loop $l
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
    (local.get $i))
  (func (export "_start")
    (drop (call $count))))
