;; An indirect call is checked if any function of its type whose reference exists can be stopped.
;; slots: 3
(module
  (type $t (func (param i32) (result i32)))
  (type $quick (func (result i64)))
  (table funcref (elem $spin $const))
  (func $spin (type $t) (loop (br_if 0 (local.get 0))) (local.get 0))
  (func $const (type $quick) (i64.const 1))
  (func $f (export "f") (param $i i32) (result i64)
    (i64.const 5)
    (call_indirect (type $t) (i32.const 6) (local.get $i))
    (i64.extend_i32_u)
    (i64.add))
  (func $atomic (export "atomic") (result f32)
    (f32.convert_i64_s (call_indirect (type $quick) (i32.const 1)))))
