;; From inside the then-branch only its rest is left: the else-branch goes, and so does the condition.
;; slots: 3 4
(module
  (func $spin (loop (br 0)))
  (func $f (export "f") (param $c i32) (result i32)
    (i32.const 1)
    (if (result i32) (local.get $c)
      (then (call $spin) (i32.const 2))
      (else (i32.const 3) (call $spin)))
    (i32.add)))
