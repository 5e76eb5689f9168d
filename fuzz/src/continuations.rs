//! Frames of random values at random safepoints: written to a frames memory and read back; and whole
//! states that nobody saved, which a fresh instance must either refuse by name or hold exactly, and
//! then run (it is only WebAssembly) without harm to the host.

use crate::random::Random;
use crate::{corpus, modules, mutate::mutate, tally};
use dormouse_engine::{Code, Error, Event, Run};
use dormouse_state::{Frame, State, Value};
use dormouse_transform::{Cell, FramesMemory, Hierarchy, Kind, Program, Site, Source, ValType};
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// How many programs there are: the guests of the chaos tests, and generated modules.
const PROGRAMS: usize = 64;
/// How often a program that goes on from a made-up state is stopped again.
const STOPS: usize = 8;

/// A program whose safepoints are known.
struct Known {
    code: Arc<Code>,
    /// Function and safepoint, for those that are not in dead code.
    sites: Vec<(u32, Site)>,
    /// A state of it to begin with.
    state: State,
    memories: Vec<Vec<u8>>,
}

thread_local! {
    static KNOWN: RefCell<HashMap<usize, Option<Rc<Known>>>> = RefCell::default();
}

fn known(n: usize) -> Option<Rc<Known>> {
    KNOWN.with_borrow_mut(|all| all.entry(n).or_insert_with(|| load(n).map(Rc::new)).clone())
}

fn load(n: usize) -> Option<Known> {
    let guests = corpus::guests();
    let wasm = match guests.get(n) {
        Some(guest) => guest.1.clone(),
        None => modules::module(&(n as u64).to_le_bytes())?,
    };
    let machine = modules::counting();
    let code = Arc::new(machine.load(wasm.into()).ok()?);
    let program = code.program().ok()?;
    let sites = (0..program.slots()).filter_map(|s| program.site(s).ok()).collect();
    let stopped = machine.on_stack(|| {
        let mut run = Run::start(code.clone(), wasi()).ok()?;
        run.stop_after(1);
        match run.advance().ok()? {
            Event::Stopped => {
                let memories = run.memories().ok()?;
                let memories = memories.into_iter().map(|m| m.1.to_vec()).collect();
                Some((run.state().ok()?, memories))
            }
            _ => None,
        }
    });
    let (state, memories) = stopped.ok()??;
    Some(Known { code, sites, state, memories })
}

fn wasi() -> Wasi {
    let (args, stdio) = (vec![b"fuzz".to_vec()], StdioConfig::null());
    Wasi::new(WasiConfig { args, stdio, ..WasiConfig::default() }).expect("no directories")
}

/// Makes frames as `data` says.
///
/// # Panics
/// If they do not come back as they were.
pub fn run(data: &[u8]) {
    let mut r = Random::of(data);
    let Some(known) = known(r.below(PROGRAMS)) else { return tally::add("no program", 1) };
    let program = known.code.program().expect("it was parsed before");
    match r.below(20) {
        0 => made_up_state(&known, program, &mut r),
        _ => round_trip(&known, program, &mut r),
    }
}

/// A value that fits, as the bits that `push_frame` takes.
fn bits(ty: ValType, r: &mut Random) -> u128 {
    let (low, high) = (u128::from(r.bits()), u128::from(r.bits()));
    match ty {
        ValType::I32 | ValType::F32 => low & 0xffff_ffff,
        ValType::I64 | ValType::F64 => low,
        ValType::V128 => high << 64 | low,
        ValType::Ref(_) => 0,
    }
}

/// What is saved of a frame: from where, its type, its bits.
type Saved = (Source, ValType, u128);

fn round_trip(known: &Known, program: &Program, r: &mut Random) {
    let mut out = FramesMemory::default();
    let mut expected: Vec<(u32, u32, Vec<Saved>)> = vec![];
    for _ in 0..1 + r.below(8) {
        let (func, site) = r.pick(&known.sites);
        let mut values = vec![];
        let operands = program
            .push_frame(&mut out, *func, site.offset, |source, ty| {
                let v = bits(ty, r);
                values.push((source, ty, v));
                Some(v)
            })
            .expect("a safepoint of this module");
        assert_eq!(operands as usize, site.operands.len());
        expected.push((*func, site.offset, values));
    }
    let mut fill = [0; Hierarchy::ALL.len()];
    for &slot in &out.slots {
        let (_, site) = program.site(slot).expect("its slot");
        fill.iter_mut().zip(site.layout.references).for_each(|(f, n)| *f += n);
    }
    let read = program.read_frames(&out.bytes, fill).expect("frames just written");
    let slots = program.slots_of(&out.bytes).expect("frames just written");
    assert!(slots.iter().eq(out.slots.iter().rev()), "other slots than were written");
    assert_eq!(read.len(), expected.len());
    let mut next = [0; Hierarchy::ALL.len()];
    // Written innermost first, read outermost first.
    for (frame, (func, offset, values)) in read.iter().rev().zip(&expected) {
        assert_eq!((frame.func, frame.offset), (*func, *offset));
        assert_eq!(frame.values.len(), values.len());
        for (&(source, ty, cell), &(s, t, v)) in frame.values.iter().zip(values) {
            assert_eq!((source, ty), (s, t));
            match cell {
                Cell::Bits(b) => assert_eq!(b, v, "{ty:?} {source:?}"),
                Cell::Reference(h, i) => {
                    assert_eq!(i, next[h as usize], "{h:?}");
                    next[h as usize] += 1;
                }
            }
        }
    }
    tally::add("frames", read.len() as u64);

    let other = std::mem::take(&mut out.bytes);
    let mut bytes = other.clone();
    mutate(&mut bytes, &other, r);
    match (program.slots_of(&bytes), program.read_frames(&bytes, fill)) {
        (Err(_), Ok(_)) => panic!("frames without slots"),
        (_, Ok(_)) => tally::add("damaged, readable", 1),
        (_, Err(e)) => {
            tally::add("damaged, refused", 1);
            assert!(!e.to_string().contains('\n'), "not a one-line error: {e}");
        }
    }
}

/// A value of this type that the module can hold; none if it must be a reference that is not null, and
/// no function fits.
fn value(ty: ValType, program: &Program, references: &[u32], r: &mut Random) -> Option<Value> {
    let b = bits(ty, r);
    // Small numbers as well, so that loops end and addresses are right.
    let b = if r.chance(2) { b & 0xff } else { b };
    let null = |v: Value| matches!(ty, ValType::Ref(t) if t.is_nullable()).then_some(v);
    Some(match ty {
        ValType::I32 => Value::I32(b as u32),
        ValType::I64 => Value::I64(b as u64),
        ValType::F32 => Value::F32(b as u32),
        ValType::F64 => Value::F64(b as u64),
        ValType::V128 => Value::V128(b),
        ValType::Ref(_) => match Hierarchy::of(ty) {
            Some(Hierarchy::Exn) => null(Value::ExnRef(None))?,
            Some(Hierarchy::Extern) => null(Value::ExternRefNull)?,
            _ => {
                let fits = references.iter().filter(|&&f| program.function_fits(Some(f), ty));
                let fits: Vec<u32> = fits.copied().collect();
                match null(Value::FuncRef(None)) {
                    Some(null) if fits.is_empty() || r.chance(3) => null,
                    None if fits.is_empty() => return None,
                    _ => Value::FuncRef(Some(*r.pick(&fits))),
                }
            }
        },
    })
}

fn frame(
    func: u32,
    site: &Site,
    program: &Program,
    references: &[u32],
    r: &mut Random,
) -> Option<Frame> {
    let mut locals = vec![];
    let mut operands = vec![];
    for &(source, ty) in &site.layout.values {
        match source {
            Source::Local(l) => locals.push((l, value(ty, program, references, r)?)),
            Source::Operand(p) => operands.push((p, value(ty, program, references, r)?)),
        }
    }
    locals.sort_unstable_by_key(|l| l.0);
    operands.sort_unstable_by_key(|o| o.0);
    let site = dormouse_state::Site { func, offset: site.offset };
    Some(Frame { site, locals, operands: operands.into_iter().map(|o| o.1).collect() })
}

fn made_up_state(known: &Known, program: &Program, r: &mut Random) {
    let inventory = program.inventory();
    let mut state = known.state.clone();
    let calls: Vec<&(u32, Site)> = known.sites.iter().filter(|s| s.1.kind == Kind::Call).collect();
    let ends: Vec<&(u32, Site)> = known.sites.iter().filter(|s| s.1.kind != Kind::Call).collect();
    if ends.is_empty() {
        return;
    }
    state.frames.clear();
    if !calls.is_empty() {
        for _ in 0..r.below(5) {
            let (func, site) = r.pick(&calls);
            let Some(frame) = frame(*func, site, program, &inventory.references, r) else { return };
            state.frames.push(frame);
        }
    }
    let (func, site) = r.pick(&ends);
    let Some(frame) = frame(*func, site, program, &inventory.references, r) else { return };
    state.frames.push(frame);
    for (&(_, ty), global) in inventory.globals.iter().zip(&mut state.globals) {
        let Some(v) = value(ty, program, &inventory.references, r) else { return };
        global.1 = v;
    }
    for table in &mut state.tables {
        // Any order of what is there is of the table's type.
        for i in (1..table.entries.len()).rev() {
            table.entries.swap(i, r.below(i + 1));
        }
    }
    // Some states do not fit.
    let damaged = r.chance(3);
    if damaged {
        let mut bytes = state.encode();
        let head = 12 + 32;
        let mut tail = bytes.split_off(head);
        mutate(&mut tail, &known.state.encode()[head..], r);
        bytes.extend(tail);
        match State::decode(&bytes) {
            Ok(s) if s.memories == state.memories => state = s,
            _ => return tally::add("damaged, refused", 1),
        }
    }
    let code = &known.code;
    let gap = 1 + r.below(200) as u32;
    let result = modules::counting().on_stack(|| go_on(code, &state, &known.memories, gap));
    match result.expect("a thread") {
        Ok(captures) => {
            tally::add("resumed", 1);
            tally::add("captures", captures);
        }
        Err(e) if damaged => {
            tally::add("damaged, refused", 1);
            assert!(!e.contains('\n'), "not a one-line error: {e}");
        }
        Err(e) => panic!("a state that fits is refused: {e}"),
    }
}

fn go_on(code: &Arc<Code>, state: &State, memories: &[Vec<u8>], gap: u32) -> Result<u64, String> {
    let restore = RestoreOptions { stdio: StdioConfig::null(), ..RestoreOptions::default() };
    let wasi = match Wasi::restore(&state.wasi, restore) {
        Ok(wasi) => wasi,
        Err(_) => wasi(),
    };
    let resumed = Run::resume(code.clone(), state, wasi, |index, into| {
        let from = &memories[index as usize];
        into[..from.len()].copy_from_slice(from);
        Ok(())
    });
    let mut run = resumed.map_err(|e| e.to_string())?;
    let again = run.state().expect("the state of a resumed run");
    let again = State { wasi: state.wasi.clone(), ..again };
    assert!(again.encode() == state.encode(), "a resumed run has another state");
    let mut captures = 0;
    for _ in 0..STOPS {
        run.stop_after(gap);
        match run.advance() {
            Ok(Event::Stopped) => {}
            Ok(_) => break,
            // The frames that were made up need not follow from each other.
            Err(Error::State(_)) => break,
            Err(e) => panic!("cannot go on: {e}"),
        }
        captures += 1;
        run.state().expect("a stopped run has a state");
    }
    Ok(captures)
}
