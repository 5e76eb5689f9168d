;; Graphviz as a library: a graph on standard input, a picture on standard output.
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "program" "memory" (memory 1))
  (import "program" "malloc" (func $allocate (param i32) (result i32)))
  (import "program" "graphviz_render" (func $render (param i32 i32 i32 i32) (result i32)))
  (import "program" "graphviz_last_error" (func $last_error (result i32)))
  (data $words "svg\00dot\00")
  ;;@include _io.wat
  (func (export "_start") (local $graph i32) (local $words i32) (local $picture i32) (local $times i32)
    (local.set $words (call $allocate (i32.const 12)))
    (memory.init $words (local.get $words) (i32.const 0) (i32.const 8))
    (call $read_all) (drop) (local.set $graph)
    ;; many times, so that there is something to interrupt
    (local.set $times (i32.const 30))
    (loop $again
      (local.set $picture
        (call $render
          (local.get $graph)
          (local.get $words)
          (i32.add (local.get $words) (i32.const 4))
          (i32.add (local.get $words) (i32.const 8))))
      (if (i32.eqz (local.get $picture))
        (then (call $write_all (call $last_error) (i32.const 80)) (unreachable)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (call $write_all (local.get $picture) (i32.load offset=8 (local.get $words)))))
