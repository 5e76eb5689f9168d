;; Safepoints in code that is never reached keep their number but have no frame, and the code is left out.
;; slots: 3
(module
  (func $spin (loop (br 0)))
  (func $f (export "f") (result i32)
    (call $spin)
    (return (i32.const 1))
    (call $spin)
    (loop (br 0))
    (i32.const 2)))
