//! `Program::new` and what follows it, on damaged modules: no panic, bounded memory, only what
//! wasmparser accepts, and everything that is made of it is valid again.

use crate::random::Random;
use crate::{allocation, corpus, modules, mutate::mutate, tally};
use dormouse_transform::{Error, Options, Poll, Program};
use std::cell::RefCell;
use std::sync::LazyLock;
use wasmparser::{Validator, WasmFeatures};

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let files = corpus::files("module-decoder").into_iter().chain(corpus::files("modules"));
    files.chain(corpus::guests()).map(|f| f.1).filter(|m| m.starts_with(b"\0asm")).collect()
});

/// Modules are made by hundreds, since that takes longer than changing them: the seeds of one
/// hundred mutate the same.
const FROM_ONE: u64 = 100;

thread_local! {
    static MADE: RefCell<(u64, Vec<u8>)> = const { RefCell::new((u64::MAX, vec![])) };
}

/// A module of the corpus or a generated one, mutated.
pub fn input(seed: u64) -> Vec<u8> {
    let mut r = Random(seed);
    let made = |n: u64| {
        MADE.with_borrow_mut(|(last, bytes)| {
            if *last != n {
                let mut r = Random(n);
                // Enough entropy for a small module.
                let entropy: Vec<u8> = (0..120).flat_map(|_| r.bits().to_le_bytes()).collect();
                (*last, *bytes) = (n, modules::module(&entropy).unwrap_or_default());
            }
            bytes.clone()
        })
    };
    let mut bytes = match r.chance(3) {
        true => r.pick(&CORPUS).clone(),
        false => made(seed / FROM_ONE),
    };
    let other = r.pick(&CORPUS);
    // Names and headers are the least interesting part.
    let mut tail = bytes.split_off(bytes.len().min(8));
    if !r.chance(32) {
        mutate(&mut tail, other, &mut r);
    }
    bytes.extend(tail);
    bytes
}

/// Parses, instruments, makes continuations.
///
/// # Panics
/// If any of that breaks a promise.
pub fn run(data: &[u8]) {
    let poll = match data.len() % 3 {
        0 => Poll::Atomic,
        1 => Poll::Store,
        _ => Poll::Counted,
    };
    let options = Options { poll, ..Options::default() };
    let bytes: std::sync::Arc<[u8]> = data.into();
    let (program, peak) = allocation::peak(|| Program::new(bytes, &options));
    // Two validations, each with tables of types, functions and locals.
    let bound = data.len() * 1000 + (16 << 20);
    assert!(peak <= bound, "{peak} bytes allocated for a module of {} bytes", data.len());
    let valid = || Validator::new_with_features(WasmFeatures::all()).validate_all(data);
    let program = match program {
        Ok(p) => p,
        Err(e) => {
            if matches!(e, Error::Invalid { .. }) {
                tally::add("invalid", 1);
                assert!(valid().is_err(), "a valid module is called invalid: {e}");
            } else {
                tally::add("refused", 1);
            }
            return assert!(!e.to_string().contains('\n'), "not a one-line error: {e}");
        }
    };
    if let Err(e) = valid() {
        panic!("an invalid module is accepted: {e}");
    }
    match program.instrument() {
        Ok(main) => check_valid("the instrumented module", &main),
        Err(e) => {
            tally::add("refused", 1);
            return assert!(!e.to_string().contains('\n'), "not a one-line error: {e}");
        }
    }
    tally::add("accepted", 1);
    let slots: Vec<u32> = (0..program.slots()).filter(|&s| program.site(s).is_ok()).collect();
    let mut r = Random(data.len() as u64);
    let mut some: Vec<u32> = (0..4.min(slots.len())).map(|_| *r.pick(&slots)).collect();
    some.sort_unstable();
    some.dedup();
    if !some.is_empty() {
        tally::add("continuations", some.len() as u64);
        match program.continuations(&some) {
            Ok(m) => check_valid("a continuation", &m),
            Err(e) => panic!("no continuation of {some:?}: {e}"),
        }
    }
    program.inventory();
}

fn check_valid(what: &str, wasm: &[u8]) {
    if let Err(e) = Validator::new_with_features(WasmFeatures::all()).validate_all(wasm) {
        panic!("{what} is invalid: {e}");
    }
}
