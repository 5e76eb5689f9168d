;; A try_table round a call is opened again in the continuation. $x is live at the call because the
;; handler reads it.
;; slots: 3
(module
  (tag $e (param i32))
  (func $spin (loop (br 0)))
  (func $f (export "f") (param $x i32) (result i32)
    (block $caught (result i32)
      (try_table (catch $e $caught)
        (call $spin)
        (throw $e (i32.const 2)))
      (unreachable))
    (local.get $x)
    (i32.add)))
