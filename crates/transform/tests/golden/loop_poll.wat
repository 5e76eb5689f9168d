;; A poll at a loop's header saves what is live there ($unused is not), and leaves. The header's own
;; continuation holds the whole loop.
;; slots: 1
(module
  (func $sum (export "sum") (param $n i32) (result i64)
    (local $i i32) (local $acc i64) (local $unused f64)
    (loop $again
      (local.set $acc (i64.add (local.get $acc) (i64.extend_i32_u (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (local.get $n))))
    (local.get $acc)))
