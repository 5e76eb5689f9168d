//! A program whose heap, rate of writing and way of writing are chosen; it says how much it gets done.
//!
//! ```text
//!   fill the heap     a quarter of each page random, the rest constant
//!   print "r"
//!   loop              a unit of work: arithmetic, and 4 loads anywhere in the heap          about 25 us
//!                     what is due by the clock: one store into each of so many pages a second
//!                     50 ms lost since the last unit? print "a"     it slept, or stood still for long
//!                     a window is over? print "w" and the units in it
//!   after so many units: print "d"
//! ```

use anyhow::Result;

/// What it is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of heap.
    pub heap: u64,
    /// Of how many of 100,000 pages one is written in a second.
    pub rate: u64,
    /// Pages at random, or one after the other.
    pub random: bool,
    /// From one line "w" to the next, in milliseconds.
    pub window: u64,
    /// It ends after so many.
    pub units: Option<u64>,
    /// So many hundredths of the heap need not be kept, it says; what it writes lies in the rest.
    pub excluded: u64,
}

impl Shape {
    pub fn pages(&self) -> u64 {
        self.heap / 4096
    }

    /// Pages that are written in a second.
    pub fn pages_a_second(&self) -> u64 {
        self.pages() * self.rate / 100_000
    }

    /// The program.
    pub fn module(&self) -> Result<Vec<u8>> {
        let pages = self.pages();
        let written = pages - pages * self.excluded / 100;
        let next = match self.random {
            true => "(i64.rem_u (call $random) (global.get $written))",
            false => {
                "(global.set $last (i64.rem_u (i64.add (global.get $last) (i64.const 1)) (global.get $written))) (global.get $last)"
            }
        };
        let exclude = match self.excluded {
            0 => ("", String::new()),
            _ => (
                r#"(import "dormouse" "exclude" (func $exclude (param i32 i32) (result i32)))"#,
                format!(
                    "(drop (call $exclude (i32.const {}) (i32.const {})))",
                    HEAP + written * 4096,
                    (pages - written) * 4096
                ),
            ),
        };
        let text = format!(
            r#"(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  {import}
  (memory (export "memory") {wasm_pages})
  (global $x (mut i64) (i64.const 88172645463325252))
  (global $last (mut i64) (i64.const 0))
  (global $pages i64 (i64.const {pages}))
  (global $written i64 (i64.const {written}))
  (func $random (result i64) (local $x i64)
    (local.set $x (global.get $x))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
    (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
    (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
    (global.set $x (local.get $x))
    (local.get $x))
  (func $now (result i64)
    (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 8)))
    (i64.load (i32.const 8)))
  (func $line (param $what i32) (param $n i64) (local $at i32)
    (local.set $at (i32.const 127))
    (i32.store8 (local.get $at) (i32.const 10))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10)))))
      (br_if $digits (i64.ne (local.tee $n (i64.div_u (local.get $n) (i64.const 10))) (i64.const 0))))
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at) (local.get $what))
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (i32.sub (i32.const 128) (local.get $at)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func $address (param $page i64) (result i32)
    (i32.add (i32.const {HEAP}) (i32.wrap_i64 (i64.shl (local.get $page) (i64.const 12)))))
  (func $work (result i64) (local $n i32) (local $sum i64)
    (loop $l
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 6364136223846793005)) (i64.extend_i32_u (local.get $n))))
      (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 15000))))
    (local.set $n (i32.const 0))
    (loop $l
      (local.set $sum (i64.add (local.get $sum)
        (i64.load (call $address (i64.rem_u (call $random) (global.get $pages))))))
      (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4))))
    (local.get $sum))
  (func $fill (local $page i64) (local $at i32) (local $end i32)
    (loop $l
      (local.set $at (call $address (local.get $page)))
      (local.set $end (i32.add (local.get $at) (i32.const 1024)))
      (loop $quarter
        (i64.store (local.get $at) (call $random))
        (br_if $quarter (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (local.get $end))))
      (memory.fill (local.get $at) (i32.const 7) (i32.const 3072))
      (br_if $l (i64.lt_u (local.tee $page (i64.add (local.get $page) (i64.const 1))) (global.get $pages)))))
  (func (export "_start")
    (local $begin i64) (local $last i64) (local $now i64) (local $window i64) (local $in i64) (local $all i64)
    (local $stores i64) (local $sum i64)
    {exclude}
    (call $fill)
    (call $line (i32.const 114) (i64.const 0))
    (local.set $begin (call $now))
    (local.set $last (local.get $begin))
    (local.set $window (local.get $begin))
    (loop $forever
      (local.set $sum (i64.add (local.get $sum) (call $work)))
      (local.set $in (i64.add (local.get $in) (i64.const 1)))
      (local.set $all (i64.add (local.get $all) (i64.const 1)))
      (local.set $now (call $now))
      (if (i64.gt_s (i64.sub (local.get $now) (local.get $last)) (i64.const 50000000)) (then
        ;; What was not written meanwhile is not made up for.
        (local.set $begin (i64.add (local.get $begin) (i64.sub (local.get $now) (local.get $last))))
        (call $line (i32.const 97) (i64.sub (local.get $now) (local.get $last)))
        (local.set $window (local.get $now))
        (local.set $in (i64.const 0))))
      (local.set $last (local.get $now))
      (block $enough (loop $due
        (br_if $enough (i64.ge_u
          (i64.mul (local.get $stores) (i64.const 1000000))
          (i64.mul (i64.div_u (i64.sub (local.get $now) (local.get $begin)) (i64.const 1000)) (i64.const {a_second}))))
        (i64.store (call $address {next}) (call $random))
        (local.set $stores (i64.add (local.get $stores) (i64.const 1)))
        (br $due)))
      (if (i64.ge_u (i64.sub (local.get $now) (local.get $window)) (i64.const {window})) (then
        (call $line (i32.const 119) (local.get $in))
        (local.set $window (local.get $now))
        (local.set $in (i64.const 0))))
      (br_if $forever (i64.lt_u (local.get $all) (i64.const {units}))))
    (call $line (i32.const 100) (i64.and (local.get $sum) (i64.const 1)))))"#,
            import = exclude.0,
            exclude = exclude.1,
            wasm_pages = 16 + self.heap / 65536,
            a_second = self.pages_a_second(),
            window = self.window * 1_000_000,
            units = self.units.unwrap_or(u64::MAX >> 1),
        );
        Ok(wat::parse_str(text)?)
    }
}

/// Where the heap begins.
const HEAP: u64 = 1 << 20;
