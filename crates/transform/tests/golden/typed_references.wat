;; slots: 3 5 6
(module
  (type $f (func (param i32) (result i32)))
  (rec (type $a (func (result (ref $f) i32))) (type $b (func (param (ref null $a)))))
  (elem declare func $one)
  (func $one (type $f) (loop (br_if 0 (local.get 0))) (i32.const 1))
  ;; a local and an operand that cannot be null, across a call through a reference
  (func $two (type $a) (local $kept (ref $f))
    (local.set $kept (ref.func $one))
    (ref.func $one)
    (call_ref $f (i32.const 3) (local.get $kept)))
  ;; results get their types back after a continuation
  (func $three (param $in (ref $f)) (result i32)
    (call $two)
    (drop)
    (drop)
    (call_ref $f (i32.const 5) (local.get $in)))
)
