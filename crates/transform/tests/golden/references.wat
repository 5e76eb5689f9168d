;; References do not fit a memory: they are saved to tables beside the frames memory, one at a time.
;; slots: 3
(module
  (func $spin (loop (br 0)))
  (func $f (export "f") (param $f funcref) (param $x externref) (result funcref externref i32)
    (local.get $f)
    (ref.null func)
    (call $spin)
    (drop)
    (local.get $x)
    (i32.const 1)))
