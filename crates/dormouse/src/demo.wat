;; The demo's program: 24 rounds of real work, each at the bottom of a deep recursion.
;;
;;   _start ─> round ─> deep ─> deep ─> ... 2,000 deep ... ─> queens (recursive search)
;;                                                       └─> matrix (floating point, in memory)
;;
;; Every round's result goes into a checksum and as a line into the file progress.txt; at the end the
;; checksum is printed. A computation that lost or repeated anything arrives at another one.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  ;; 0 iovec, 16 result of a call, 64 a line of text; 65536 the matrix, 524288 the vectors
  (memory (export "memory") 16)
  (data (i32.const 32) "progress.txt")
  (data (i32.const 128) "0123456789abcdef")
  (global $checksum (mut i64) (i64.const 0x0d0e))
  (global $file (mut i32) (i32.const 0))

  (func $mix (param $x i64)
    (global.set $checksum
      (i64.rotl
        (i64.mul (i64.xor (global.get $checksum) (local.get $x)) (i64.const 0x9e3779b97f4a7c15))
        (i64.const 29))))

  ;; How many ways there are to place the remaining queens.
  (func $queens (param $all i32) (param $columns i32) (param $left i32) (param $right i32) (result i32)
    (local $free i32) (local $bit i32) (local $count i32)
    (if (i32.eq (local.get $columns) (local.get $all)) (then (return (i32.const 1))))
    (local.set $free
      (i32.and (local.get $all)
        (i32.xor (i32.const -1)
          (i32.or (local.get $columns) (i32.or (local.get $left) (local.get $right))))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $free)))
        (local.set $bit (i32.and (local.get $free) (i32.sub (i32.const 0) (local.get $free))))
        (local.set $free (i32.xor (local.get $free) (local.get $bit)))
        (local.set $count
          (i32.add (local.get $count)
            (call $queens
              (local.get $all)
              (i32.or (local.get $columns) (local.get $bit))
              (i32.shl (i32.or (local.get $left) (local.get $bit)) (i32.const 1))
              (i32.shr_u (i32.or (local.get $right) (local.get $bit)) (i32.const 1)))))
        (br $next)))
    (local.get $count))

  ;; The 128 x 128 matrix 1 / (1 + row + column), times a vector, again and again; of each result
  ;; only the fractions are kept, so that a single wrong bit changes all that comes after.
  (func $matrix (param $times i32) (param $seed i32) (result f64)
    (local $row i32) (local $column i32) (local $sum f64)
    (local.set $row (i32.const 0))
    (loop $rows
      (f64.store (i32.add (i32.const 524288) (i32.shl (local.get $row) (i32.const 3)))
        (f64.convert_i32_u (i32.add (local.get $seed) (local.get $row))))
      (local.set $column (i32.const 0))
      (loop $columns
        (f64.store
          (i32.add (i32.const 65536)
            (i32.shl (i32.add (i32.shl (local.get $row) (i32.const 7)) (local.get $column)) (i32.const 3)))
          (f64.div (f64.const 1)
            (f64.convert_i32_u
              (i32.add (i32.const 1) (i32.add (local.get $row) (local.get $column))))))
        (br_if $columns
          (i32.lt_u (local.tee $column (i32.add (local.get $column) (i32.const 1))) (i32.const 128))))
      (br_if $rows
        (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 1))) (i32.const 128))))
    (loop $again
      (local.set $row (i32.const 0))
      (loop $rows
        (local.set $sum (f64.const 0))
        (local.set $column (i32.const 0))
        (loop $columns
          (local.set $sum
            (f64.add (local.get $sum)
              (f64.mul
                (f64.load
                  (i32.add (i32.const 65536)
                    (i32.shl
                      (i32.add (i32.shl (local.get $row) (i32.const 7)) (local.get $column))
                      (i32.const 3))))
                (f64.load (i32.add (i32.const 524288) (i32.shl (local.get $column) (i32.const 3)))))))
          (br_if $columns
            (i32.lt_u (local.tee $column (i32.add (local.get $column) (i32.const 1))) (i32.const 128))))
        (f64.store (i32.add (i32.const 524288) (i32.shl (local.get $row) (i32.const 3)))
          (f64.sub
            (local.tee $sum (f64.mul (local.get $sum) (f64.const 7)))
            (f64.floor (local.get $sum))))
        (br_if $rows
          (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 1))) (i32.const 128))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (f64.load (i32.const 524800)))

  (func $deep (param $depth i32) (param $round i32) (result i64)
    (if (result i64) (local.get $depth)
      (then
        ;; What is added after the call can only be right if every frame came back.
        (i64.add
          (i64.mul
            (call $deep (i32.sub (local.get $depth) (i32.const 1)) (local.get $round))
            (i64.const 31))
          (i64.extend_i32_u (local.get $depth))))
      (else
        (i64.add
          (i64.extend_i32_u
            (call $queens (i32.const 0xfff) (i32.const 0) (i32.const 0) (i32.const 0)))
          (i64.reinterpret_f64 (call $matrix (i32.const 12000) (local.get $round)))))))

  ;; 16 hexadecimal digits and a line feed at 64.
  (func $format (param $x i64)
    (local $i i32)
    (local.set $i (i32.const 16))
    (i32.store8 (i32.const 80) (i32.const 10))
    (loop $digits
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (i32.store8 (i32.add (i32.const 64) (local.get $i))
        (i32.load8_u (i32.add (i32.const 128) (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 15)))))
      (local.set $x (i64.shr_u (local.get $x) (i64.const 4)))
      (br_if $digits (local.get $i))))

  (func $write_line (param $fd i32)
    (call $format (global.get $checksum))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 17))
    (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16))
      (then (call $proc_exit (i32.const 3)))))

  (func (export "_start")
    (local $round i32)
    ;; The first directory given is fd 3; create, truncate; the rights to write.
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 12)
          (i32.const 9) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 16))
      (then (call $proc_exit (i32.const 4))))
    (global.set $file (i32.load (i32.const 16)))
    (loop $rounds
      (call $mix (call $deep (i32.const 2000) (local.get $round)))
      (call $write_line (global.get $file))
      (br_if $rounds
        (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 24))))
    (call $write_line (i32.const 1))))
