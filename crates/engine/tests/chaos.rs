//! Chaos equality: a program stopped at every Nth safepoint, moved to a fresh instance each time
//! through an encoded state, prints what the plain program prints and ends in the same way.

mod guests;

use dormouse_engine::{Code, Event, Gap, Machine, Options, Run, chaos};
use dormouse_state::State;
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi};
use guests::{Output, comparable, guests, stdio, text, wasi};
use std::sync::Arc;

fn plain(machine: &Machine, wasm: &[u8]) -> (String, String) {
    let out = Output::default();
    let p = machine.load_plain(wasm).unwrap();
    let e = machine.on_stack(|| p.run(wasi(&out)).unwrap()).unwrap();
    (comparable(&e), text(&out))
}

fn under_chaos(machine: &Machine, wasm: &[u8], gap: Gap) -> (String, String, u64) {
    let out = Output::default();
    let code = Arc::new(machine.load(wasm.into()).unwrap());
    let (e, report) = machine
        .on_stack(|| {
            let restore = || RestoreOptions { stdio: stdio(&out), ..RestoreOptions::default() };
            chaos(&code, wasi(&out), gap, restore).unwrap()
        })
        .unwrap();
    (comparable(&e), text(&out), report.captures)
}

fn counting(every_loop: bool) -> Machine {
    Machine::new(Options { counted: true, every_loop, ..Options::default() }).unwrap()
}

#[test]
fn wat_guests() {
    stops_anywhere(&counting(true), 1);
}

/// The same with polls only where they are needed. Some of the guests have none then.
#[test]
fn wat_guests_as_they_are() {
    stops_anywhere(&counting(false), 0);
}

fn stops_anywhere(machine: &Machine, least: u64) {
    for (name, wasm) in guests() {
        let (end, output) = plain(machine, &wasm);
        assert!(!output.is_empty(), "{name} prints nothing: {end}");
        for gap in [Gap::Every(1), Gap::Every(2), Gap::Every(7), Gap::Random { seed: 1, most: 40 }]
        {
            let (e, o, captures) = under_chaos(machine, &wasm, gap);
            assert_eq!(o, output, "{name} under {gap:?}: {e}");
            assert_eq!(e, end, "{name} under {gap:?}");
            assert!(captures >= least, "{name} was never captured");
            println!("{name} {gap:?}: {captures} captures");
        }
    }
}

/// Stopped in a fresh instance before it goes on, a program is what it was.
#[test]
fn saved_again_before_it_runs() {
    let machine = counting(false);
    let mut stops = 0;
    for (name, wasm) in guests() {
        let code = Arc::new(machine.load((&*wasm).into()).unwrap());
        let stopped = |run: &mut Run, n| {
            run.stop_after(n);
            let saved = (run.advance().unwrap() == Event::Stopped).then(|| run.state().ok());
            saved.flatten().map(|state| (state, memories(run)))
        };
        let look = || {
            for n in 1..20 {
                let mut run = Run::start(code.clone(), wasi(&Output::default())).unwrap();
                let Some(first) = stopped(&mut run, n) else { continue };
                let mut run = resume(&code, &first.0, &first.1, StdioConfig::null());
                assert!(stopped(&mut run, 0) == Some(first), "{name}: ran on from stop {n}");
                stops += 1;
            }
        };
        machine.on_stack(look).unwrap();
    }
    assert!(stops >= 100, "{stops} stops");
}

/// What was captured where an older version had a poll, and this one has none, goes on here.
#[test]
fn frames_where_nothing_is_polled() {
    let machines = [counting(true), counting(false)];
    for (name, wasm) in guests() {
        let (end, output) = plain(&machines[0], &wasm);
        let codes = machines.each_ref().map(|m| Arc::new(m.load((&*wasm).into()).unwrap()));
        let out = Output::default();
        let hops = || {
            let mut run = Run::start(codes[0].clone(), wasi(&out)).unwrap();
            for hop in 1.. {
                run.stop_after(hop % 3 + 1);
                match run.advance().unwrap() {
                    Event::Stopped => {}
                    end => return comparable(&end),
                }
                let Ok(state) = run.state() else { continue };
                let memories = memories(&mut run);
                run = resume(&codes[hop as usize % 2], &state, &memories, stdio(&out));
            }
            unreachable!()
        };
        let found = machines[0].on_stack(hops).unwrap();
        assert_eq!((found, text(&out)), (end, output), "{name}");
    }
}

fn memories(run: &mut Run) -> Vec<Vec<u8>> {
    run.memories().unwrap().into_iter().map(|m| m.1.to_vec()).collect()
}

fn resume(code: &Arc<Code>, state: &State, memories: &[Vec<u8>], stdio: StdioConfig) -> Run {
    let wasi = Wasi::restore(&state.wasi, RestoreOptions { stdio, ..RestoreOptions::default() });
    Run::resume(code.clone(), state, wasi.unwrap(), |index, into| {
        into.copy_from_slice(&memories[index as usize]);
        Ok(())
    })
    .unwrap()
}
