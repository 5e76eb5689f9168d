//! Programs that a debugger stops: when a function is entered, or anywhere. They go on in ordinary code and print what the
//! plain program prints.

mod guests;

use dormouse_engine::{Chaos, Code, Entries, Event, Gap, HostFunctions, Machine, Options, Run};
use dormouse_state::State;
use dormouse_wasi::{RestoreOptions, Wasi};
use guests::{Output, comparable, guests, stdio, text, wasi};
use std::sync::{Arc, Mutex};

fn start(code: &Arc<Code>, out: &Output) -> Run {
    Run::start(code.clone(), wasi(out)).unwrap()
}

fn machine(counted: bool, every_loop: bool, entries: Entries) -> Machine {
    let (quick, alone, stack) = (true, true, 8 << 20);
    let options =
        Options { counted, every_loop, entries, quick, alone, stack, ..Options::default() };
    Machine::new(options).unwrap()
}

fn plain(wasm: &[u8]) -> (String, String) {
    let machine = machine(true, false, Entries::default());
    let out = Output::default();
    let code = Arc::new(machine.load(wasm.into()).unwrap());
    let end = machine.on_stack(|| comparable(&start(&code, &out).advance().unwrap())).unwrap();
    (end, text(&out))
}

/// A stopped program.
struct Stop {
    state: State,
    memories: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Stop {
    /// Through its encoding, as a checkpoint has it.
    fn of(run: &mut Run, out: &Output) -> Option<Stop> {
        let state = State::decode(&run.state().ok()?.encode()).unwrap();
        let memories = run.memories().unwrap().into_iter().map(|m| m.1.to_vec()).collect();
        Some(Stop { state, memories, out: out.lock().unwrap().clone() })
    }

    fn go_on(&self, code: &Arc<Code>) -> (Run, Output) {
        let out: Output = Arc::new(Mutex::new(self.out.clone()));
        let options = RestoreOptions { stdio: stdio(&out), unnoticed: true, ..Default::default() };
        let wasi = Wasi::restore(&self.state.wasi, options).unwrap();
        let fill = |index: u32, into: &mut [u8]| {
            into.copy_from_slice(&self.memories[index as usize]);
            Ok(())
        };
        (Run::resume(code.clone(), &self.state, wasi, fill).unwrap(), out)
    }
}

#[test]
fn every_entry_is_a_safepoint() {
    let all = machine(true, true, Entries { all: true, ..Entries::default() });
    let few = machine(true, true, Entries::default());
    let (mut more, mut fewer) = (0, 0);
    for (name, wasm) in guests() {
        let (end, output) = plain(&wasm);
        for gap in [Gap::Every(1), Gap::Random { seed: 1, most: 40 }] {
            let captures = [&all, &few].map(|machine| {
                let code = Arc::new(machine.load((&*wasm).into()).unwrap());
                let out = Output::default();
                let restore = || RestoreOptions { stdio: stdio(&out), ..Default::default() };
                let run = || {
                    let mut chaos = Chaos::new(gap, restore);
                    let (event, _) = chaos.advance(start(&code, &out)).unwrap();
                    (comparable(&event), chaos.report().captures)
                };
                let (event, captures) = machine.on_stack(run).unwrap();
                assert_eq!((event, text(&out)), (end.clone(), output.clone()), "{name} {gap:?}");
                captures
            });
            more += captures[0];
            fewer += captures[1];
        }
    }
    assert!(more > fewer + 500, "{more} and {fewer}");
}

/// Where it stands after so many safepoints does not depend on where it was stopped before.
#[test]
fn steps_add_up() {
    let machine = machine(true, true, Entries { all: true, ..Entries::default() });
    let mut compared = 0;
    for (name, wasm) in guests() {
        let code = Arc::new(machine.load((&*wasm).into()).unwrap());
        let at = |mut run: Run, out: Output, n| {
            run.stop_after(n);
            let stopped = run.advance().unwrap() == Event::Stopped;
            if stopped && !run.asks_for_checkpoint() { Stop::of(&mut run, &out) } else { None }
        };
        let look = || {
            let begin = |n| {
                let out = Output::default();
                at(start(&code, &out), out, n)
            };
            for (first, then) in [(1, 1), (1, 2), (3, 4), (10, 1), (10, 30), (50, 51)] {
                let Some(stop) = begin(first) else { continue };
                let (run, out) = stop.go_on(&code);
                let (Some(two), Some(one)) = (at(run, out, then), begin(first + then)) else {
                    continue;
                };
                assert_eq!(two.state.frames, one.state.frames, "{name} {first} {then}");
                assert!(two.memories == one.memories, "{name} {first} {then}");
                compared += 1;
            }
        };
        machine.on_stack(look).unwrap();
    }
    assert!(compared >= 30, "{compared}");
}

/// Stopped at its first, second, and fifth entry of each function, imports too, a program goes on in ordinary code, where most
/// functions have no safepoint at their entry.
#[test]
fn stopped_at_entries() {
    let ordinary = machine(false, false, Entries::default());
    let (mut stops, mut elsewhere) = (0, 0);
    for (name, wasm) in guests() {
        let (end, output) = plain(&wasm);
        let usual = Arc::new(ordinary.load((&*wasm).into()).unwrap());
        let (functions, imports) = (
            usual.program().unwrap().function_counts().0,
            usual.program().unwrap().imports().len(),
        );
        for func in 0..functions as u32 {
            let watched = Entries { watched: [func].into(), ..Entries::default() };
            let watching = machine(false, false, watched);
            let code = Arc::new(watching.load((&*wasm).into()).unwrap());
            let one = || {
                let out = Output::default();
                let mut run = start(&code, &out);
                let mut before: Option<(u32, Stop)> = None;
                for n in [1, 2, 5] {
                    // In place from the second on.
                    run.stop_at_entry(n - before.as_ref().map_or(0, |b| b.0)).unwrap();
                    let event = run.advance().unwrap();
                    if event != Event::Stopped {
                        assert_eq!((comparable(&event), text(&out)), (end.clone(), output.clone()));
                        break;
                    }
                    assert!(run.has_entered());
                    let Some(stop) = Stop::of(&mut run, &out) else { continue };
                    let innermost = stop.state.frames.last().unwrap();
                    assert_eq!(innermost.site.func, func, "{name}");
                    assert_eq!(innermost.site.offset == 0, (func as usize) < imports, "{name}");
                    // The same from the stop before, elsewhere.
                    if let Some((m, before)) = &before {
                        let (mut run, out) = before.go_on(&code);
                        run.stop_at_entry(n - m).unwrap();
                        assert_eq!(run.advance().unwrap(), Event::Stopped, "{name} {func} {n}");
                        let again = Stop::of(&mut run, &out).unwrap();
                        assert_eq!(again.state.frames, stop.state.frames, "{name} {func} {n}");
                        assert!(again.memories == stop.memories && again.out == stop.out);
                    }
                    let known = usual.program().unwrap().stopped_elsewhere(&stop.state);
                    elsewhere += u32::from(!known.is_empty());
                    let host = HostFunctions::new();
                    let code = ordinary.load_for((&*wasm).into(), &host, &stop.state).unwrap();
                    let (mut run, out) = stop.go_on(&Arc::new(code));
                    let found = comparable(&run.advance().unwrap());
                    assert_eq!((found, text(&out)), (end.clone(), output.clone()), "{name} {func}");
                    stops += 1;
                    before = Some((n, stop));
                }
            };
            watching.on_stack(one).unwrap();
        }
    }
    assert!(stops >= 100, "{stops} stops");
    assert!(elsewhere >= 8, "{elsewhere} of them where nothing can be stopped otherwise");
}
