//! Capture and in-place resume with warm continuations, by depth of the stack.

use crate::median;
use anyhow::{Result, ensure};
use dormouse_engine::{Event, Machine, Options, Run};
use dormouse_wasi::{StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;
use std::time::Instant;

/// Recursion to a given depth, then a loop that never ends.
fn guest(depth: u32) -> String {
    format!(
        "(module (memory (export \"memory\") 1)
           (func $down (param $n i32) (param $a i64) (result i64)
             (if (i32.eqz (local.get $n)) (then (loop $l
               (local.set $a (i64.add (local.get $a) (i64.const 1))) (br $l))))
             (i64.add (local.get $a)
               (call $down (i32.sub (local.get $n) (i32.const 1)) (i64.mul (local.get $a) (i64.const 3)))))
           (func (export \"_start\") (drop (call $down (i32.const {depth}) (i64.const 1)))))"
    )
}

pub fn run() -> Result<()> {
    println!("capture + in-place resume, continuations warm: median of 301 in one run");
    println!("(target: a 20-frame stack under 1000 us)\n");
    println!("| frames | us | ns a frame | first time, ms |");
    println!("|---|---|---|---|");
    let machine = Machine::new(Options { counted: true, ..Options::default() })?;
    for frames in [5u32, 20, 100, 1_000, 10_000, 100_000] {
        let wasm = wat::parse_str(guest(frames - 2))?;
        let code = Arc::new(machine.load(wasm.into())?);
        let wasi = Wasi::new(WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() })?;
        let (first, times) = machine.on_stack(|| -> Result<_> {
            let mut run = Run::start(code, wasi)?;
            let mut lap = |n: u32| -> Result<f64> {
                run.stop_after(n);
                let t = Instant::now();
                ensure!(run.advance()? == Event::Stopped, "the guest ended");
                Ok(t.elapsed().as_secs_f64() * 1e6)
            };
            // To the bottom of the recursion, then once to compile what is needed.
            lap(frames * 2)?;
            let first = lap(1)?;
            Ok((first, (0..301).map(|_| lap(1)).collect::<Result<Vec<_>>>()?))
        })??;
        let us = median(times);
        let each = us * 1e3 / f64::from(frames);
        println!("| {frames} | {us:.1} | {each:.0} | {:.1} |", first / 1e3);
    }
    println!();
    Ok(())
}
