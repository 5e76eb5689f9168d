;; A redactor of logs as a library: a text on standard input, the same without secrets on standard output.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "program" "memory" (memory 1))
  (import "program" "_initialize" (func $initialize))
  (import "program" "allocate" (func $allocate (param i32) (result i32)))
  (import "program" "init_config" (func $configure (param i32 i32)))
  (import "program" "redact" (func $redact (param i32 i32) (result i64)))
  (data $config "{\"salt\":\"dormouse\"}")
  ;;@include _io.wat
  (func (export "_start") (local $config i32) (local $clean i64)
    (local $text i32) (local $length i32) (local $times i32)
    (call $initialize)
    (local.set $config (call $allocate (i32.const 19)))
    (memory.init $config (local.get $config) (i32.const 0) (i32.const 19))
    (call $configure (local.get $config) (i32.const 19))
    (call $read_all)
    (local.set $length)
    (local.set $text)
    ;; many times, so that there is something to interrupt
    (local.set $times (i32.const 200))
    (loop $again
      (local.set $clean (call $redact (local.get $text) (local.get $length)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (call $write_all
      (i32.wrap_i64 (i64.shr_u (local.get $clean) (i64.const 32)))
      (i32.wrap_i64 (local.get $clean)))))
