;; Three GiB of memory, nearly all of it zero: more than a host of 32 bits can give.
(module
  (memory (export "memory") 1)
  (func (export "_start") (local $i i32)
    (drop (memory.grow (i32.const 49151)))
    (i32.store (i32.const 3000000000) (i32.const 7))
    (loop $again
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))))
