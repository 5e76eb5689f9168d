;; From a call inside a loop, the continuation holds only the rest of this iteration. A branch to the
;; header leaves the inner of two blocks; there a frame is saved as if the header's poll had fired, and
;; the header's continuation is called. Labels are counted anew.
;; slots: 4
(module
  (func $spin (loop (br 0)))
  (func $f (export "f") (param $i i32) (result i32)
    (block $out
      (loop $again
        (block $a
          (call $spin)
          (br_table $a $again $out (local.get $i)))
        (local.set $i (i32.const 1))
        (br $again)))
    (local.get $i)))
