//! Small programs that call WASI, written as the body of their `_start`.
//!
//! ```text
//! program("", "(call $note (call $fd_sync (i32.const 4)))")
//!
//!   memory   0 vector | 8 result | 16 byte | 24 time | 32 notes ... | 1024 the body's own
//!   _start   the body, then $tell, which prints the notes
//! ```

use dormouse_wasi::{CALLS, Call, ValType};

/// What bodies call besides WASI.
const HELP: &str = r#"
  (memory (export "memory") 8)
  (global $end (mut i32) (i32.const 32))
  ;; Notes a number below 78, as the character of that number from `0` on.
  (func $note (param $n i32)
    (i32.store8 (global.get $end) (i32.add (local.get $n) (i32.const 48)))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))
  ;; Notes 1 if it is so, else 0.
  (func $whether (param $so i32) (call $note (i32.ne (local.get $so) (i32.const 0))))
  ;; What a call answers when all is well.
  (func $must (param $errno i32) (if (local.get $errno) (then (unreachable))))
  (func $write (param $fd i32) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
    (call $must (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)))
  (func $read (param $fd i32) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
    (call $must (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)))
  ;; Prints `>` and waits for a byte of standard input, which it answers; 0 at its end.
  (func $wait (result i32)
    (i32.store8 (i32.const 16) (i32.const 62)) (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1)))
    (i32.store8 (i32.const 16) (i32.const 0)) (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1)))
    (i32.load8_u (i32.const 16)))
  ;; Opens a file in the first directory for reading and writing; with oflags and fdflags.
  (func $open (param $at i32) (param $len i32) (param $oflags i32) (param $fdflags i32) (result i32)
    (call $must (call $path_open (i32.const 3) (i32.const 0) (local.get $at) (local.get $len) (local.get $oflags)
      (i64.const 0x600066) (i64.const 0x600066) (local.get $fdflags) (i32.const 8)))
    (i32.load (i32.const 8)))
  (func $time (param $clock i32) (result i64)
    (call $must (call $clock_time_get (local.get $clock) (i64.const 1) (i32.const 24)))
    (i64.load (i32.const 24)))
  ;; Prints what was noted.
  (func $tell (local $len i32)
    (local.set $len (i32.sub (global.get $end) (i32.const 32)))
    (global.set $end (i32.const 32))
    (if (local.get $len) (then (drop (call $write (i32.const 1) (i32.const 32) (local.get $len))))))
"#;

/// The program whose `_start` this is. It has all of WASI; `data` stands outside of functions.
pub fn program(data: &str, start: &str) -> String {
    let import = |call: &Call| {
        let types = |types: &[ValType]| -> String {
            types.iter().map(|t| if *t == ValType::I64 { " i64" } else { " i32" }).collect()
        };
        let (name, params, results) = (call.name, types(call.params), types(call.results));
        format!(
            "  (import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{params}) (result{results})))\n"
        )
    };
    let imports: String = CALLS.iter().map(import).collect();
    format!(
        "(module\n{imports}{HELP}\n  {data}\n  (func (export \"_start\") {start}\n  (call $tell)))"
    )
}
