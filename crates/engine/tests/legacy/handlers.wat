;; every construct of the first form, in an order that shows who catches what; each line of output is
;; what the specification of that form says
(tag $e (param i32))
(tag $f (param i64))
(tag $g)
(func $spin (param $n i32) (result i32) (local $i i32)
  (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
  (local.get $n))
(func $throw_e (param i32) (drop (call $spin (i32.const 3))) (throw $e (local.get 0)))
(func $throw_f (param i32) (drop (call $spin (i32.const 2))) (throw $f (i64.extend_i32_u (local.get 0))))
(func $throw (param $what i32) (result i32)
  block $f block $g block $none
    local.get $what
    i32.const 15
    i32.and
    br_table $none $g $f $none
  end (return (call $spin (i32.const 40)))
  end (throw $g)
  end (call $throw_f (local.get $what))
  unreachable)
;; 0: returns, 1: $g, 2: $f, others: $e
(func $any (param $what i32) (result i32)
  (if (i32.gt_u (i32.and (local.get $what) (i32.const 15)) (i32.const 2)) (then (call $throw_e (local.get $what))))
  (call $throw (local.get $what)))

;; by tag, then all; the operand beneath stays
(func $by_tag (param $what i32) (result i32)
  i32.const 1000
  try (result i32)
    local.get $what
    call $any
  catch $e
    call $spin
    i32.const 1
    i32.add
  catch $f
    i32.wrap_i64
    call $spin
    i32.const 200
    i32.add
  catch_all
    i32.const 300
    call $spin
  end
  i32.add)

;; a loop in a body and in a handler, branches to and over the try
(func $loops (param $what i32) (result i32) (local $n i32) (local $sum i32)
  block $out
    loop $again
      try $t
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $t (i32.eq (local.get $n) (i32.const 2)))
        (br_if $out (i32.eq (local.get $n) (i32.const 6)))
        (drop (call $any (i32.add (local.get $what) (local.get $n))))
        (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
      catch $e
        local.get $sum
        i32.add
        local.set $sum
        (loop $in (br_if $in (i32.eqz (call $spin (i32.const 2)))))
        br $again
      catch_all
        (local.set $sum (i32.add (local.get $sum) (i32.const 10000)))
      end
      br $again
    end
  end
  local.get $sum)

;; thrown again to the outer handler, past a handler that has caught another
(func $rethrown (param $what i32) (result i32) (local $seen i32)
  try $outer (result i32)
    try $inner (result i32)
      local.get $what
      call $any
    catch $e
      drop
      (local.set $seen (i32.const 7000))
      try (result i32)
        (call $throw (i32.const 2))
      catch $f
        drop
        (local.set $seen (i32.add (local.get $seen) (i32.const 500)))
        rethrow 1
      end
    catch_all
      (local.set $seen (i32.const 9000))
      rethrow 0
    end
  catch $e
    local.get $seen
    i32.add
  catch $f
    i32.wrap_i64
    local.get $seen
    i32.add
  catch_all
    local.get $seen
  end)

;; delegated over a handler, which must not see it
(func $delegated (param $what i32) (result i32)
  try $outer (result i32)
    try $skipped (result i32)
      try (result i32)
        local.get $what
        call $any
      delegate $outer
    catch_all
      i32.const 66
    end
  catch $e
    call $spin
    i32.const 4000
    i32.add
  catch_all
    i32.const 5000
  end)

;; delegated out of the function, from a body and from a handler
(func $out (param $what i32) (result i32)
  try $a (result i32)
    try (result i32)
      local.get $what
      call $any
    delegate 1
  catch_all
    i32.const 67
  end)
(func $out_of_handler (param $what i32) (result i32)
  try $a (result i32)
    (call $throw (i32.const 1))
  catch_all
    try $skipped (result i32)
      try (result i32)
        local.get $what
        call $any
      delegate $a
    catch_all
      i32.const 68
    end
  end)
;; delegated to a block, and to a try that delegates in turn
(func $far (param $what i32) (result i32)
  try $reached (result i32)
    try $skipped (result i32)
      block $b (result i32)
        try $chain (result i32)
          try (result i32)
            try (result i32)
              local.get $what
              call $any
            delegate $chain
          catch_all
            i32.const 69
          end
        delegate $reached
      end
    catch_all
      i32.const 70
    end
  catch $e
    i32.const 8000
    i32.add
  catch $f
    i32.wrap_i64
    i32.const 8100
    i32.add
  catch_all
    i32.const 8200
  end)
(func $to_block (param $what i32) (result i32)
  try (result i32)
    try (result i32)
      block $b (result i32)
        try (result i32)
          try (result i32)
            local.get $what
            call $any
          delegate $b
        catch_all
          i32.const 71
        end
      end
    catch_all
      i32.const 600
    end
  catch_all
    i32.const 72
  end)
(func $caught (param $f i32) (param $what i32) (result i32)
  try (result i32)
    local.get $what
    local.get $f
    call_indirect (param i32) (result i32)
  catch $e
    i32.const 20000
    i32.add
  catch $f
    i32.wrap_i64
    i32.const 30000
    i32.add
  catch_all
    i32.const 40000
  end)
(table funcref (elem $by_tag $loops $rethrown $delegated $out $out_of_handler $far $to_block))
(func (export "_start") (local $f i32) (local $what i32)
  (loop $functions
    (local.set $what (i32.const 0))
    (loop $whats
      (call $print32 (call $caught (local.get $f) (local.get $what)))
      (br_if $whats (i32.lt_u (local.tee $what (i32.add (local.get $what) (i32.const 1))) (i32.const 4))))
    (br_if $functions (i32.lt_u (local.tee $f (i32.add (local.get $f) (i32.const 1))) (i32.const 8))))
  ;; not caught by anybody
  try
    (drop (call $any (i32.const 5)))
  catch $g
  end)
