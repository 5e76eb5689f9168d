//! Every way of tracking notices what compiled code writes: stores, `memory.fill`, `memory.copy`, `memory.init`, what grows,
//! pages that become zero again, and what host calls write.

use dormouse_engine::{Event, Machine, Options, Run};
use dormouse_memory::{PAGE_SIZE, PageSet, Since, Tracking};
use dormouse_wasi::{StdioConfig, Wasi, WasiConfig};
use std::sync::Arc;

const PROGRAM: &str = r#"(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 4 64)
  (data $text "dormouse")
  (func (export "store") (i64.store (i32.const 0x5ffc) (i64.const -1)))
  (func (export "fill") (memory.fill (i32.const 0x8800) (i32.const 7) (i32.const 0x1000)))
  (func (export "copy") (memory.copy (i32.const 0x14000) (i32.const 0x8000) (i32.const 0x3000)))
  (func (export "init") (memory.init $text (i32.const 0x20000) (i32.const 0) (i32.const 8)))
  (func (export "zero") (memory.fill (i32.const 0x14000) (i32.const 0) (i32.const 0x3000)))
  (func (export "grow") (i64.store offset=0xf000 (i32.shl (memory.grow (i32.const 1)) (i32.const 16)) (i64.const 1)))
  (func (export "host") (drop (call $random (i32.const 0x30ff0) (i32.const 0x1010))))
)"#;

/// What each function writes: the pages it must be found to have written.
const WRITES: [(&str, &[u64]); 7] = [
    ("store", &[5, 6]),
    ("fill", &[8, 9]),
    ("copy", &[20, 21]),
    ("init", &[32]),
    ("zero", &[20, 21]),
    ("grow", &[79]),
    ("host", &[48, 49]),
];

fn run(machine: &Machine, way: Tracking) -> Option<usize> {
    let code = Arc::new(machine.load(wat::parse_str(PROGRAM).unwrap().into()).unwrap());
    let config = WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() };
    let mut run = Run::new(code, Wasi::new(config).unwrap()).unwrap();
    assert_eq!(run.advance().unwrap(), Event::Returned(vec![]));
    let (index, watch) = run.watches().remove(0);
    assert_eq!(index, 0);
    let bytes = run.memory(0).unwrap();
    if let Err(e) = watch.begin(way, Since::Now, Some(bytes)) {
        eprintln!("{way} does not work here: {e}");
        return None;
    }
    if way == Tracking::Mprotect {
        dormouse_wasi::touch_buffers();
    }
    for (function, pages) in WRITES {
        run.call(function, &[]).unwrap();
        assert_eq!(run.advance().unwrap(), Event::Returned(vec![]), "{way}: {function}");
        let mut found = PageSet::default();
        watch.take(run.memory(0).unwrap(), &mut found).unwrap();
        let missing = pages.iter().find(|page| !found.contains(**page));
        assert_eq!(
            missing, None,
            "{way}: {function} wrote pages of {PAGE_SIZE} bytes {pages:?}, found {found:?}"
        );
        // A page that was only looked at may be told, if it had never been touched.
        let bytes = run.memory(0).unwrap();
        let zero =
            |page: u64| bytes[page as usize * PAGE_SIZE..][..PAGE_SIZE].iter().all(|b| *b == 0);
        let mut others = found.runs().flatten().filter(|page| !pages.contains(page));
        assert!(others.all(zero), "{way}: {function} wrote {pages:?}, found {found:?}");
    }
    drop(run);
    assert!(watch.is_gone());
    Some(WRITES.len())
}

#[test]
fn every_way_notices_every_write() {
    for pulley in [false, true] {
        let machine =
            Machine::new(Options { pulley, quick: true, alone: true, ..Options::default() })
                .unwrap();
        let all = [Tracking::Compare, Tracking::Mprotect, Tracking::Userfaultfd, Tracking::Auto];
        let worked = machine.on_stack(|| all.map(|way| run(&machine, way))).unwrap();
        assert!(worked[0].is_some() && worked[3].is_some());
        assert!(worked[1].is_some() || !cfg!(target_os = "linux"));
    }
}

/// The engine's own handling of faults goes on working beside ours.
#[test]
fn traps_are_traps_where_pages_are_read_only() {
    let machine = Machine::new(Options { quick: true, alone: true, ..Options::default() }).unwrap();
    let text = r#"(module (memory (export "memory") 1)
        (func (export "beyond") (i32.store (i32.const 0x7fffffff) (i32.const 1)))
        (func $deep (export "deep") (call $deep) (i32.store (i32.const 0) (i32.const 1))))"#;
    let code = Arc::new(machine.load(wat::parse_str(text).unwrap().into()).unwrap());
    let trapped = machine.on_stack(|| {
        let config = WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() };
        let mut run = Run::new(code, Wasi::new(config).unwrap()).unwrap();
        run.advance().unwrap();
        let (_, watch) = run.watches().remove(0);
        let way = if cfg!(target_os = "linux") { Tracking::Mprotect } else { Tracking::Compare };
        watch.begin(way, Since::Now, Some(run.memory(0).unwrap())).unwrap();
        ["beyond", "deep"].map(|name| {
            run.call(name, &[]).unwrap();
            matches!(run.advance().unwrap(), Event::Trapped(_))
        })
    });
    assert_eq!(trapped.unwrap(), [true, true]);
}
