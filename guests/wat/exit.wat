;; Ends by proc_exit(42) some frames deep.
(module
  ;;@include _import.wat
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  ;;@include _print.wat
  (func $down (param $n i32) (result i32)
    (call $outi (local.get $n))
    (if (i32.eqz (local.get $n)) (then (call $proc_exit (i32.const 42))))
    (i32.add (i32.const 1) (call $down (i32.sub (local.get $n) (i32.const 1)))))
  (func (export "_start") (call $outi (call $down (i32.const 5)))))
