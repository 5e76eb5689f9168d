  ;; _import.wat: the WASI functions that _print.wat needs (imports come before all else)
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
