//! A module that goes on from a state by itself: run plainly, without safepoints, it prints what is left of what the
//! program would have printed, and ends as it would have.

use dormouse_engine::{Event, Machine, Options, Run};
use dormouse_state::State;
use dormouse_transform::{Glue, Program, Snapshot};
use dormouse_wasi::{RestoreOptions, Stdio, StdioConfig, Wasi, WasiConfig};
use std::path::Path;
use std::sync::{Arc, Mutex};

fn stdio(out: &Arc<Mutex<Vec<u8>>>) -> StdioConfig {
    StdioConfig { stdout: Stdio::Buffer(out.clone()), ..StdioConfig::null() }
}

fn text(out: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&out.lock().unwrap()).into_owned()
}

/// Traps name functions by their index, which is another.
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

fn guests() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wat");
    let prelude = std::fs::read_to_string(dir.join("prelude.txt")).unwrap();
    let paths = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let is_wat = |p: &std::path::PathBuf| p.extension() == Some("wat".as_ref());
    paths
        .filter(is_wat)
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = format!("(module\n{prelude}{})", std::fs::read_to_string(&path).unwrap());
            (name, wat::parse_str(&text).unwrap())
        })
        .collect()
}

/// What of a memory is not zero, in runs of pages.
fn runs(memory: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let pages = (0..).step_by(4096).zip(memory.chunks(4096));
    let some = pages.filter(|(_, page)| page.iter().any(|&b| b != 0));
    some.map(|(at, page)| (at, page.to_vec())).collect()
}

fn standalone(program: &Program, state: &State, memories: &[Vec<u8>]) -> Vec<u8> {
    let memories = memories.iter().map(|m| runs(m)).collect();
    let export = "_start".to_owned();
    program.standalone(&Snapshot { state, memories, export, glue: Glue::default() }).unwrap()
}

/// Stopped at each of the first safepoints, and at some later ones.
#[test]
fn goes_on_by_itself() {
    let options = Options { counted: true, every_loop: true, ..Options::default() };
    let machine = Machine::new(options).unwrap();
    let mut stops = 0;
    for (name, wasm) in guests() {
        let code = Arc::new(machine.load((&*wasm).into()).unwrap());
        let whole = Arc::default();
        let config = || WasiConfig { args: vec![b"test".to_vec()], ..WasiConfig::default() };
        let wasi = |stdio| Wasi::new(WasiConfig { stdio, ..config() }).unwrap();
        let p = machine.load_plain(&wasm).unwrap();
        let end = machine.on_stack(|| p.run(wasi(stdio(&whole))).unwrap()).unwrap();
        let end = comparable(end);
        let look = || {
            for n in (1..12).chain((12..2000).step_by(97)) {
                let out = Arc::default();
                let mut run = Run::start(code.clone(), wasi(stdio(&out))).unwrap();
                run.stop_after(n);
                if run.advance().unwrap() != Event::Stopped {
                    break;
                }
                // An object of the host cannot be carried.
                let Ok(state) = run.state() else { continue };
                let memories: Vec<Vec<u8>> =
                    run.memories().unwrap().into_iter().map(|m| m.1.to_vec()).collect();
                let rest = standalone(code.program().unwrap(), &state, &memories);
                let restore = RestoreOptions { stdio: stdio(&out), ..RestoreOptions::default() };
                let wasi = Wasi::restore(&state.wasi, restore).unwrap();
                let rest = machine.load_plain(&rest).unwrap().run(wasi).unwrap();
                assert_eq!(comparable(rest), end, "{name} after safepoint {n}");
                assert_eq!(text(&out), text(&whole), "{name} after safepoint {n}");
                stops += 1;
            }
        };
        machine.on_stack(look).unwrap();
    }
    assert!(stops >= 150, "{stops} stops");
}
