//! Memories of 64-bit addresses: more than 4 GiB in one, as the program's main memory with the 32-bit
//! pointers of WASI, and of sizes that no host has.

use dormouse_engine::{Error, Event, Gap, Machine, Options, Run, chaos};
use dormouse_state::{Memory, State};
use dormouse_wasi::{RestoreOptions, Stdio, StdioConfig, Wasi, WasiConfig};
use std::sync::{Arc, Mutex};

type Output = Arc<Mutex<Vec<u8>>>;

fn machine() -> Machine {
    Machine::new(Options { counted: true, stack: 1 << 20, ..Options::default() }).unwrap()
}

fn stdio(out: &Output) -> StdioConfig {
    StdioConfig { stdout: Stdio::Buffer(out.clone()), ..StdioConfig::null() }
}

fn wasi(out: &Output) -> Wasi {
    Wasi::new(WasiConfig { stdio: stdio(out), ..WasiConfig::default() }).unwrap()
}

fn under_chaos(text: &str, gap: u32) -> (Event, String, u64) {
    let (machine, out) = (machine(), Output::default());
    let code = Arc::new(machine.load(wat::parse_str(text).unwrap().into()).unwrap());
    let restore = || RestoreOptions { stdio: stdio(&out), ..RestoreOptions::default() };
    let run = || chaos(&code, wasi(&out), Gap::Every(gap), restore).unwrap();
    let (event, report) = machine.on_stack(run).unwrap();
    let text = String::from_utf8(out.lock().unwrap().clone()).unwrap();
    (event, text, report.captures)
}

/// The program's memory is 64-bit, WASI's pointers are not: they reach the first 4 GiB.
const MAIN: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
      (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") i64 1)
    (func (export "_start") (local $page i64) (local $i i32)
      (i64.store (i64.const 0) (i64.const 0x0000000100000020))
      (local.set $page (memory.grow (i64.const 81920)))
      (loop $l
        ;; the last byte of the memory, 5 GiB up
        (i64.store8 (i64.const 0x14000ffff) (i64.add (i64.const 97) (i64.extend_i32_u (local.get $i))))
        (i64.store8 (i64.const 32) (i64.load8_u (i64.const 0x14000ffff)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 6))))
      (i64.store8 (i64.const 0x140010000) (i64.const 1))))"#;

#[cfg(target_pointer_width = "64")]
#[test]
fn five_gibibytes() {
    let (event, output, captures) = under_chaos(MAIN, 2);
    assert_eq!(output, "abcdef");
    assert!(
        matches!(&event, Event::Trapped(t) if t.message().contains("out of bounds")),
        "{event:?}"
    );
    assert!(captures >= 3, "{captures}");
}

#[test]
fn sizes_that_no_host_has() {
    // Declared so.
    let machine = machine();
    for what in ["(memory i64 0x800000000000)", "(memory i64 0x1000000000000)"] {
        let text = format!(r#"(module {what} (func (export "_start") (loop (br 0))))"#);
        let wasm = wat::parse_str(text).unwrap();
        let refused = machine
            .load(wasm.into())
            .and_then(|code| Run::start(Arc::new(code), wasi(&Output::default())).map(|_| ()));
        let e = refused.expect_err(what).to_string();
        assert!(e.contains("no room") || e.contains("pages"), "{what}: {e}");
        assert_eq!(e.lines().count(), 1, "{e}");
    }
    // Grown so, says the image. Its WASI objects are not touched: nothing is lost.
    let text =
        r#"(module (memory i64 1) (memory 1 20) (func (export "_start") (loop $l (br $l))))"#;
    let code = Arc::new(machine.load(wat::parse_str(text).unwrap().into()).unwrap());
    let state: State = machine
        .on_stack(|| {
            let mut run = Run::start(code.clone(), wasi(&Output::default())).unwrap();
            run.stop_after(3);
            assert_eq!(run.advance().unwrap(), Event::Stopped);
            run.state().unwrap()
        })
        .unwrap();
    let resume = |memories: Vec<Memory>| {
        let state = State { memories, ..state.clone() };
        let wasi = || panic!("WASI objects were made too early");
        machine.on_stack(|| Run::resume_with(code.clone(), &state, wasi, |_, _| Ok(())).map(|_| ()))
    };
    for pages in [1 << 33, 1 << 47, 1 << 48] {
        let e = resume(vec![Memory { index: 0, pages }, Memory { index: 1, pages: 1 }]);
        let e = e.unwrap().expect_err("resumed");
        assert!(matches!(e, Error::NoRoom(_)), "{e}");
        assert!(e.to_string().contains(&format!("memory 0 had {pages} pages")), "{e}");
    }
    let e = resume(vec![Memory { index: 0, pages: 1 }, Memory { index: 1, pages: 21 }]);
    let e = e.unwrap().expect_err("resumed");
    assert!(e.to_string().contains("larger than the module allows"), "{e}");
}

/// A call of WASI whose pointers are 64 bits wide is not of preview 1.
#[test]
fn wide_pointers_in_calls() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write"
          (func (param i32 i64 i64 i64) (result i32)))
        (memory (export "memory") i64 1) (func (export "_start")))"#;
    let e = machine().load(wat::parse_str(text).unwrap().into()).map(|_| ()).unwrap_err();
    assert!(matches!(&e, Error::ImportType { name } if name.contains("fd_write")), "{e}");
}
