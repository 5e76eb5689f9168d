;; For drivers: standard input as a whole, and bytes to standard output. The memory is the program's; the driver gives
;; `$allocate`, a function from bytes to an address, before it includes this.
(func $read_all (result i32 i32) (local $text i32) (local $length i32) (local $io i32)
  ;; at most 4 MB; where it lies, how long it is
  (local.set $io (call $allocate (i32.const 16)))
  (local.set $text (call $allocate (i32.const 4194305)))
  (loop $more
    (i32.store (local.get $io) (i32.add (local.get $text) (local.get $length)))
    (i32.store offset=4 (local.get $io) (i32.sub (i32.const 4194304) (local.get $length)))
    (if (call $fd_read (i32.const 0) (local.get $io) (i32.const 1) (i32.add (local.get $io) (i32.const 8)))
      (then (unreachable)))
    (local.set $length (i32.add (local.get $length) (i32.load offset=8 (local.get $io))))
    (br_if $more (i32.load offset=8 (local.get $io))))
  (i32.store8 (i32.add (local.get $text) (local.get $length)) (i32.const 0))
  (local.get $text) (local.get $length))
(func $write_all (param $text i32) (param $length i32) (local $io i32)
  (local.set $io (call $allocate (i32.const 16)))
  (loop $more
    (i32.store (local.get $io) (local.get $text))
    (i32.store offset=4 (local.get $io) (local.get $length))
    (if (call $fd_write (i32.const 1) (local.get $io) (i32.const 1) (i32.add (local.get $io) (i32.const 8)))
      (then (unreachable)))
    (local.set $text (i32.add (local.get $text) (i32.load offset=8 (local.get $io))))
    (local.set $length (i32.sub (local.get $length) (i32.load offset=8 (local.get $io))))
    (br_if $more (local.get $length))))
