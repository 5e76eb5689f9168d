;; slots: 1
;; try, catch, catch_all, rethrow and delegate become try_table and throw_ref before all else
(module
  (tag $e (param i32))
  (tag $none)
  (func $may_throw (param i32) (result i32) (loop $l (br_if $l (local.get 0))) (throw $e (i32.const 7)))
  (func $catches (param i32) (result i32) (local i64)
    try (result i32)
      local.get 0
      call $may_throw
    catch $e
      i32.const 1
      i32.add
    catch $none
      i32.const 2
    catch_all
      i32.const 3
      br 0
    end)
  (func $params (param i32) (result i32 i64)
    local.get 0
    i64.const 9
    try (param i32 i64) (result i32 i64)
      br 0
    catch $e
      i64.const 8
    end)
  (func $rethrows (param i32)
    block $b
      try $outer
        local.get 0
        call $may_throw
        br_if $b
        br $outer
      catch $e
        drop
        try
          i32.const 5
          throw $e
        catch_all
          local.get 0
          br_if 0
          rethrow 1
          rethrow 0
        end
      end
      i32.const 0
      br_table $b 0 $b
    end)
  (func $delegates (param i32)
    try $target
      try $skipped
        try
          local.get 0
          call $may_throw
          drop
        delegate $target
        try
          nop
        delegate $skipped
      catch_all
      end
    catch $e
      drop
    end)
  (func $leaves (param i32) (result i32)
    try (result i32)
      try (result i32)
        local.get 0
        i32.const 4
        br_if 1
      delegate 1
    catch_all
      i32.const 0
    end)
  (func $bare (param i32) (result i32)
    try (result i32)
      local.get 0
    end))
