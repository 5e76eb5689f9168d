//! Chaos equality: a program stopped at every Nth safepoint, moved to a fresh instance each time
//! through an encoded state, prints what the plain program prints and ends in the same way.

use dormouse_engine::{Event, Gap, Machine, Options, chaos};
use dormouse_wasi::{RestoreOptions, Stdio, StdioConfig, Wasi, WasiConfig};
use std::sync::{Arc, Mutex};

struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn new() -> Output {
        Output(Arc::default())
    }
    fn stdio(&self) -> StdioConfig {
        StdioConfig { stdout: Stdio::Buffer(self.0.clone()), ..StdioConfig::null() }
    }
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn wasi(stdio: StdioConfig) -> Wasi {
    Wasi::new(WasiConfig { args: vec![b"test".to_vec()], stdio, ..WasiConfig::default() }).unwrap()
}

/// Traps name functions of the transformed module; only the trap itself is compared.
fn comparable(e: Event) -> String {
    match e {
        Event::Trapped(t) => {
            let last = t.lines().last().unwrap_or_default();
            t.lines().rev().find(|l| l.contains("trap")).unwrap_or(last).trim().into()
        }
        Event::Aborted(t) => t.to_string(),
        other => format!("{other:?}"),
    }
}

fn plain(machine: &Machine, wasm: &[u8]) -> (String, String) {
    let out = Output::new();
    let p = machine.load_plain(wasm).unwrap();
    let e = machine.on_stack(|| p.run(wasi(out.stdio())).unwrap()).unwrap();
    (comparable(e), out.text())
}

fn under_chaos(machine: &Machine, wasm: &[u8], gap: Gap) -> (String, String, u64) {
    let out = Output::new();
    let code = Arc::new(machine.load(wasm.into()).unwrap());
    let (e, report) = machine
        .on_stack(|| {
            let restore = || RestoreOptions { stdio: out.stdio(), ..RestoreOptions::default() };
            chaos(&code, wasi(out.stdio()), gap, restore).unwrap()
        })
        .unwrap();
    (comparable(e), out.text(), report.captures)
}

#[test]
fn wat_guests() {
    let machine = Machine::new(Options { counted: true, ..Options::default() }).unwrap();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wat");
    let prelude = std::fs::read_to_string(format!("{dir}/prelude.txt")).unwrap();
    let mut tried = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some("wat".as_ref()) {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = format!("(module\n{prelude}{})", std::fs::read_to_string(&path).unwrap());
        let wasm = wat::parse_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (end, output) = plain(&machine, &wasm);
        assert!(!output.is_empty(), "{name} prints nothing: {end}");
        for gap in [Gap::Every(1), Gap::Every(2), Gap::Every(7), Gap::Random { seed: 1, most: 40 }]
        {
            let (e, o, captures) = under_chaos(&machine, &wasm, gap);
            assert_eq!(o, output, "{name} under {gap:?}: {e}");
            assert_eq!(e, end, "{name} under {gap:?}");
            assert!(captures > 0, "{name} was never captured");
            println!("{name} {gap:?}: {captures} captures");
        }
        tried += 1;
    }
    assert!(tried >= 8);
}
