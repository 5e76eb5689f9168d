;; A tail call leaves no frame, so nothing is checked after it; the callee polls.
;; slots: 0 1
(module
  (type $t (func (param i32) (result i32)))
  (table funcref (elem $even $odd))
  (func $even (export "even") (type $t)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
    (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
  (func $odd (type $t)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
    (return_call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
  (func $f (export "f") (type $t)
    (return_call $even (local.get 0))))
