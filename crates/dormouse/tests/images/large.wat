;; Three GiB of memory, nearly all of it zero: more than a host of 32 bits can give. Then a loop of which nobody can tell that it ends.
(module
  (memory (export "memory") 1)
  (func (export "_start") (local $n i32)
    (drop (memory.grow (i32.const 49151)))
    (i32.store (i32.const 3000000000) (i32.const 7))
    (local.set $n (i32.const 97))
    (loop $again
      (local.set $n (select
        (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1))
        (i32.shr_u (local.get $n) (i32.const 1))
        (i32.and (local.get $n) (i32.const 1))))
      (br_if $again (i32.ne (local.get $n) (i32.const 1))))))
