;; Segments, and references as the program sees them, belong to the main instance: instructions that
;; need them become calls to helpers that continuations can import.
;; slots: 1
(module
  (memory 1)
  (table $t 4 funcref)
  (data $d "hello")
  (elem $e func $f)
  (elem declare func $g)
  (func $g)
  (func $f (export "f") (param $i i32) (result funcref)
    (loop $l
      (memory.init $d (i32.const 0) (i32.const 1) (i32.const 2))
      (data.drop $d)
      (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
      (elem.drop $e)
      (memory.grow (i32.const 1))
      (br_if $l))
    (ref.func $g)))
