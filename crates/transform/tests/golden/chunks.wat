;; Values of all types in one large frame.
;; slots: 3
(module
  (func $spin (loop (br 0)))
  (func $f (export "f") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 f32 f64) (result i32)
    (call $spin)
    (drop (local.get 9))
    (drop (local.get 10))
    (drop (local.get 11))
    (i32.add (local.get 0) (i32.add (local.get 1) (i32.add (local.get 2) (i32.add (local.get 3)
      (i32.add (local.get 4) (i32.add (local.get 5) (i32.add (local.get 6) (i32.add (local.get 7)
        (local.get 8)))))))))))
