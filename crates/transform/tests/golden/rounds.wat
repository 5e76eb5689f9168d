;; The example of docs/mechanism.md.
;; slots: 4
(module
  (func $sum (param $n i32) (result i64) (local $total i64)
    loop $again
      local.get $total
      local.get $n
      i64.extend_i32_u
      i64.add
      local.set $total
      local.get $n
      i32.const 1
      i32.sub
      local.tee $n
      br_if $again
    end
    local.get $total)
  (func $rounds (param $r i32) (result i64) (local $all i64)
    loop $round
      local.get $all
      local.get $r
      call $sum
      i64.add
      local.set $all
      local.get $r
      i32.const 1
      i32.sub
      local.tee $r
      br_if $round
    end
    local.get $all)
  (func (export "_start")
    i32.const 1000
    call $rounds
    drop))
