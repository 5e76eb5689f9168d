//! `State::decode` on arbitrary bytes: no panic, memory bounded by the input, and what is accepted
//! keeps the rules and encodes to the same bytes again.

use crate::random::Random;
use crate::{allocation, corpus, mutate::mutate, tally};
use dormouse_state::{
    Exception, Frame, HostState, MAX_EXPANSION, Memory, Site, State, Table, Value,
};
use std::sync::LazyLock;

static CORPUS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| corpus::files("state-decoder").into_iter().map(|f| f.1).collect());

/// A made-up state or one of the corpus; mutated, nearly always.
pub fn input(seed: u64) -> Vec<u8> {
    let mut r = Random(seed);
    let made = |r: &mut Random| match r.chance(3) && !CORPUS.is_empty() {
        true => r.pick(&CORPUS).clone(),
        false => state(r).encode(),
    };
    let mut bytes = made(&mut r);
    if !r.chance(16) {
        let other = made(&mut r);
        mutate(&mut bytes, &other, &mut r);
    }
    bytes
}

/// Decodes.
///
/// # Panics
/// If the decoder breaks a promise.
pub fn run(data: &[u8]) {
    let (decoded, peak) = allocation::peak(|| State::decode(data));
    // An error may hold a few words of its own.
    let bound = data.len() * MAX_EXPANSION + 256;
    assert!(peak <= bound, "{peak} bytes allocated for {} bytes of input", data.len());
    match decoded {
        Ok(state) => {
            tally::add("accepted", 1);
            assert_eq!(state.check(), Ok(()), "accepted against the rules");
            assert!(state.encode() == data, "accepted, but its encoding differs");
        }
        Err(e) => {
            tally::add("refused", 1);
            assert!(!e.to_string().is_empty());
        }
    }
}

/// A state that keeps the rules.
pub fn state(r: &mut Random) -> State {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&r.bits().to_le_bytes());
    State {
        module_digest: digest,
        frames: (0..1 + r.below(6)).map(|_| frame(r)).collect(),
        globals: ascending(r, 5).into_iter().map(|i| (i, value(r))).collect(),
        tables: ascending(r, 3).into_iter().map(|index| table(index, r)).collect(),
        exceptions: (0..EXCEPTIONS).map(|i| exception(i, r)).collect(),
        memories: ascending(r, 3)
            .into_iter()
            .map(|index| Memory { index, pages: r.bits() >> (16 + r.below(48)) })
            .collect(),
        dropped_data: ascending(r, 4),
        dropped_elems: ascending(r, 4),
        wasi: (0..r.below(40)).map(|_| r.bits() as u8).collect(),
        host: ascending(r, 2)
            .into_iter()
            .map(|i| HostState { name: format!("{i:010}"), bytes: vec![r.bits() as u8; 3] })
            .collect(),
    }
}

/// Exceptions every made-up state has, so that there is something to refer to.
const EXCEPTIONS: u32 = 5;

/// The one at place `i`: it can hold those before it.
fn exception(i: u32, r: &mut Random) -> Exception {
    let field = |r: &mut Random| match value(r) {
        Value::ExnRef(Some(e)) if e >= i => Value::ExnRef(None),
        v => v,
    };
    Exception { tag: r.below(9) as u32, fields: (0..r.below(4)).map(|_| field(r)).collect() }
}

fn frame(r: &mut Random) -> Frame {
    Frame {
        site: Site { func: r.below(300) as u32, offset: (r.bits() >> (32 + r.below(32))) as u32 },
        locals: ascending(r, 6).into_iter().map(|i| (i, value(r))).collect(),
        operands: (0..r.below(5)).map(|_| value(r)).collect(),
    }
}

fn table(index: u32, r: &mut Random) -> Table {
    let kind = r.below(4);
    let entry = |r: &mut Random| match (kind, r.chance(3)) {
        (0, _) => Value::ExternRefNull,
        (1, true) => Value::ExnRef(None),
        (1, _) => Value::ExnRef(Some(r.below(EXCEPTIONS as usize) as u32)),
        (_, true) => Value::FuncRef(None),
        _ => Value::FuncRef(Some(r.below(1000) as u32)),
    };
    Table { index, entries: (0..r.below(12)).map(|_| entry(r)).collect() }
}

fn value(r: &mut Random) -> Value {
    let bits = r.bits() >> r.below(64);
    match r.below(9) {
        0 | 1 => Value::I32(bits as u32),
        2 => Value::I64(bits),
        3 => Value::F32(bits as u32),
        4 => Value::F64(bits),
        5 => Value::V128(u128::from(bits) << 64 | u128::from(r.bits())),
        6 => Value::FuncRef((!r.chance(3)).then_some(bits as u32)),
        7 => Value::ExnRef((!r.chance(3)).then_some(bits as u32 % EXCEPTIONS)),
        _ => Value::ExternRefNull,
    }
}

fn ascending(r: &mut Random, most: usize) -> Vec<u32> {
    let mut next = 0;
    (0..r.below(most + 1))
        .map(|_| {
            let i = next + r.below(20) as u32;
            next = i + 1;
            i
        })
        .collect()
}
