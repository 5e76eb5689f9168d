;; A host call that can block gets a stub, which stands where the import stood. If the host was
;; interrupted the stub saves the arguments; its continuation calls it again. Other imports are called
;; as they were.
;; slots: 0 2
(module
  (import "host" "block_read" (func $read (param i32 i64) (result i32)))
  (import "host" "quick" (func $quick (param i32) (result i32)))
  (func $f (export "f") (result i32)
    (call $quick (call $read (i32.const 1) (i64.const 2)))))
