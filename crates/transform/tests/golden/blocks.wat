;; Values beneath a block that holds safepoints are in locals before it is entered, because code
;; inside cannot reach them. The continuation pushes them again before it opens the block's rest.
;; slots: 3
(module
  (func $spin (loop (br 0)))
  (func $f (export "f") (param $c i32) (result i32)
    (i32.const 1)
    (block $outer (result i32)
      (i32.const 2)
      (block $inner (result i32)
        (i32.const 3)
        (call $spin)
        (br_if $inner (local.get $c))
        (br $outer))
      (i32.add))
    (i32.add)))
