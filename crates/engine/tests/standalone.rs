//! A module that goes on from a state by itself: run plainly, without safepoints, it prints what is left of what the
//! program would have printed, and ends as it would have.

mod guests;

use dormouse_engine::{Event, Machine, Options, Run};
use dormouse_state::State;
use dormouse_transform::{Glue, Program, Snapshot};
use dormouse_wasi::{RestoreOptions, Wasi};
use guests::{comparable, guests, stdio, text, wasi};
use std::sync::Arc;

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
        let p = machine.load_plain(&wasm).unwrap();
        let end = machine.on_stack(|| p.run(wasi(&whole)).unwrap()).unwrap();
        let end = comparable(&end);
        let look = || {
            for n in (1..12).chain((12..2000).step_by(97)) {
                let out = Arc::default();
                let mut run = Run::start(code.clone(), wasi(&out)).unwrap();
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
                assert_eq!(comparable(&rest), end, "{name} after safepoint {n}");
                assert_eq!(text(&out), text(&whole), "{name} after safepoint {n}");
                stops += 1;
            }
        };
        machine.on_stack(look).unwrap();
    }
    assert!(stops >= 150, "{stops} stops");
}
