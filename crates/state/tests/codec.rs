//! The codec against arbitrary states, arbitrary bytes, and every flipped bit.

use dormouse_state::{
    DecodeError, Exception, Frame, HostState, InvalidState, Memory, Site, State, Table, Value, What,
};
use proptest::prelude::*;

/// Exceptions a state of these tests has: enough for every value's reference.
const EXCEPTIONS: u32 = 9;

fn exnref(known: u32) -> impl Strategy<Value = Value> {
    any::<Option<prop::sample::Index>>().prop_map(move |e| {
        Value::ExnRef(e.filter(|_| known > 0).map(|e| e.index(known as usize) as u32))
    })
}

fn exceptions() -> impl Strategy<Value = Vec<Exception>> {
    (0..EXCEPTIONS)
        .map(|i| {
            (any::<u32>(), prop::collection::vec(value(i), 0..4))
                .prop_map(|(tag, fields)| Exception { tag, fields })
        })
        .collect::<Vec<_>>()
}

/// Any value; `exnref`s to the first `known` exceptions.
fn value(known: u32) -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::I64),
        any::<u32>().prop_map(Value::F32),
        any::<u64>().prop_map(Value::F64),
        any::<u128>().prop_map(Value::V128),
        any::<Option<u32>>().prop_map(Value::FuncRef),
        Just(Value::ExternRefNull),
        exnref(known),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Value>> {
    prop_oneof![
        prop::collection::vec(any::<Option<u32>>().prop_map(Value::FuncRef), 0..20),
        prop::collection::vec(Just(Value::ExternRefNull), 0..20),
        prop::collection::vec(exnref(EXCEPTIONS), 0..20),
    ]
}

fn indexed(limit: u32) -> impl Strategy<Value = Vec<(u32, Value)>> {
    prop::collection::btree_map(0..limit, value(EXCEPTIONS), 0..8)
        .prop_map(|m| m.into_iter().collect())
}

fn dropped() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::btree_set(0..10_000_000u32, 0..8).prop_map(|s| s.into_iter().collect())
}

fn frame() -> impl Strategy<Value = Frame> {
    let operands = prop::collection::vec(value(EXCEPTIONS), 0..6);
    (any::<u32>(), any::<u32>(), indexed(50_000), operands).prop_map(
        |(func, offset, locals, operands)| Frame { site: Site { func, offset }, locals, operands },
    )
}

prop_compose! {
    fn state()(
        module_digest in any::<[u8; 32]>(),
        frames in prop::collection::vec(frame(), 1..8),
        globals in indexed(1_000_000),
        tables in prop::collection::btree_map(0..100_000u32, entries(), 0..4),
        exceptions in exceptions(),
        memories in prop::collection::btree_map(0..1_000u32, 0..=1u64 << 48, 0..4),
        dropped_data in dropped(),
        dropped_elems in dropped(),
        wasi in prop::collection::vec(any::<u8>(), 0..100),
        host in prop::collection::btree_map("[a-zä.]{1,9}", prop::collection::vec(any::<u8>(), 0..20), 0..3),
    ) -> State {
        State {
            module_digest,
            frames,
            globals,
            tables: tables.into_iter().map(|(index, entries)| Table { index, entries }).collect(),
            exceptions,
            memories: memories.into_iter().map(|(index, pages)| Memory { index, pages }).collect(),
            dropped_data,
            dropped_elems,
            wasi,
            host: host.into_iter().map(|(name, bytes)| HostState { name, bytes }).collect(),
        }
    }
}

fn host(name: &str) -> HostState {
    HostState { name: name.to_owned(), bytes: name.as_bytes().to_vec() }
}

fn small() -> State {
    State {
        module_digest: [7; 32],
        frames: vec![Frame {
            site: Site { func: 1, offset: 300 },
            locals: vec![(0, Value::I32(1)), (2, Value::FuncRef(Some(5)))],
            operands: vec![Value::V128(1 << 100)],
        }],
        globals: vec![(0, Value::I64(3)), (1, Value::F32(4)), (2, Value::ExnRef(Some(1)))],
        tables: vec![Table { index: 0, entries: vec![Value::FuncRef(None); 3] }],
        exceptions: vec![
            Exception { tag: 1, fields: vec![] },
            Exception { tag: 0, fields: vec![Value::ExnRef(Some(0)), Value::I32(9)] },
        ],
        memories: vec![Memory { index: 0, pages: 17 }, Memory { index: 1, pages: 1 << 40 }],
        dropped_data: vec![1, 5],
        dropped_elems: vec![0],
        wasi: b"wasi".to_vec(),
        host: vec![host("a"), host("b.c")],
    }
}

proptest! {
    #[test]
    fn round_trip(state in state()) {
        state.check().unwrap();
        let bytes = state.encode();
        let back = State::decode(&bytes).unwrap();
        prop_assert_eq!(&back, &state);
        prop_assert_eq!(back.encode(), bytes);
    }

    #[test]
    fn arbitrary_bytes(tail in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = State::decode(&tail);
        // Past the header, so that more of the reader is reached.
        let mut bytes = small().encode();
        bytes.truncate(12 + tail.first().copied().unwrap_or(0) as usize % 60);
        bytes.extend_from_slice(&tail);
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(state.encode(), bytes);
        }
    }

    #[test]
    fn overwritten_bytes(state in state(), edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = state.encode();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(state.encode(), bytes);
        }
    }
}

/// A flipped bit is an error or another state, never the same one.
#[test]
fn bit_flips() {
    let state = small();
    let bytes = state.encode();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = State::decode(&flipped) {
            assert_ne!(other, state, "bit {bit}");
            assert_eq!(other.encode(), flipped, "bit {bit}");
        }
    }
}

#[test]
fn every_prefix_is_refused() {
    let bytes = small().encode();
    for len in 0..bytes.len() {
        State::decode(&bytes[..len]).unwrap_err();
    }
}

#[test]
fn trailing_bytes_are_refused() {
    let mut bytes = small().encode();
    bytes.push(0);
    let offset = bytes.len() - 1;
    assert_eq!(State::decode(&bytes), Err(DecodeError::TrailingBytes { offset, extra: 1 }));
}

#[test]
fn unknown_versions_are_named() {
    let mut bytes = small().encode();
    bytes[8] = 3;
    let error = State::decode(&bytes).unwrap_err();
    assert_eq!(error, DecodeError::UnsupportedVersion { version: 3 });
    assert_eq!(
        error.to_string(),
        "the state has format version 3, but this dormouse reads versions up to 2; use a newer dormouse"
    );
    bytes[8] = 0;
    assert_eq!(State::decode(&bytes), Err(DecodeError::UnsupportedVersion { version: 0 }));
}

/// Only what needs it is of version 2, so that those who know no other can read the rest.
#[test]
fn a_version_for_what_it_holds() {
    let without = State { host: vec![], ..small() };
    let mut bytes = without.encode();
    assert_eq!((bytes[8], small().encode()[8]), (1, 2));
    bytes[8] = 2;
    bytes.push(0);
    assert_eq!(State::decode(&bytes), Err(DecodeError::NeedlessVersion { version: 2 }));
    // What follows the WASI section in version 2 does not in version 1.
    let mut bytes = small().encode();
    bytes[8] = 1;
    assert!(matches!(State::decode(&bytes), Err(DecodeError::TrailingBytes { .. })));
}

#[test]
fn names_are_text() {
    let mut bytes = State { host: vec![host("x")], ..small() }.encode();
    let at = bytes.len() - 3;
    assert_eq!(bytes[at], b'x');
    bytes[at] = 0xff;
    assert_eq!(State::decode(&bytes), Err(DecodeError::Name { offset: at }));
}

/// What `check` refuses, `decode` refuses too, with the same error.
#[test]
fn broken_rules() {
    type Break = fn(&mut State);
    let order = |what, index| InvalidState::Order { what, index };
    let cases: Vec<(Break, InvalidState)> = vec![
        (|s| s.frames.clear(), InvalidState::NoFrames),
        (|s| s.frames[0].locals.swap(0, 1), order(What::Locals, 0)),
        (|s| s.frames[0].locals[1].0 = 0, order(What::Locals, 0)),
        (
            |s| s.frames[0].locals[1].0 = 50_000,
            InvalidState::TooMany { what: What::Locals, count: 50_001, limit: 50_000 },
        ),
        (|s| s.globals.swap(0, 1), order(What::Globals, 0)),
        (|s| s.tables.push(s.tables[0].clone()), order(What::Tables, 0)),
        (
            |s| s.tables[0].entries[1] = Value::I32(0),
            InvalidState::TableEntry { table: 0, entry: 1 },
        ),
        (
            |s| s.tables[0].entries[2] = Value::ExternRefNull,
            InvalidState::TableEntry { table: 0, entry: 2 },
        ),
        (
            |s| s.tables[0].entries[2] = Value::ExnRef(None),
            InvalidState::TableEntry { table: 0, entry: 2 },
        ),
        (
            |s| s.globals[2].1 = Value::ExnRef(Some(2)),
            InvalidState::NoException { index: 2, count: 2 },
        ),
        (
            |s| s.tables[0].entries = vec![Value::ExnRef(Some(9))],
            InvalidState::NoException { index: 9, count: 2 },
        ),
        (
            |s| s.frames[0].operands.push(Value::ExnRef(Some(u32::MAX))),
            InvalidState::NoException { index: u32::MAX, count: 2 },
        ),
        // An exception that holds itself, or a later one.
        (
            |s| s.exceptions[1].fields[0] = Value::ExnRef(Some(1)),
            InvalidState::NoException { index: 1, count: 1 },
        ),
        (
            |s| s.exceptions[0].fields = vec![Value::I64(0); 1_001],
            InvalidState::TooMany { what: What::Fields, count: 1_001, limit: 1_000 },
        ),
        (|s| s.memories.swap(0, 1), order(What::Memories, 0)),
        (
            |s| s.memories[1].pages = (1 << 48) + 1,
            InvalidState::TooMany { what: What::MemoryPages, count: (1 << 48) + 1, limit: 1 << 48 },
        ),
        (|s| s.dropped_data.swap(0, 1), order(What::DroppedData, 1)),
        (|s| s.dropped_elems = vec![3, 3], order(What::DroppedElems, 3)),
        (|s| s.host.swap(0, 1), InvalidState::HostName { name: "a".into() }),
        (|s| s.host[1].name = "a".into(), InvalidState::HostName { name: "a".into() }),
        (|s| s.host[0].name = String::new(), InvalidState::HostName { name: String::new() }),
        (
            |s| s.host[1].name = "n".repeat(257),
            InvalidState::TooMany { what: What::HostName, count: 257, limit: 256 },
        ),
        (
            |s| s.host = (0..1_001).map(|i| host(&format!("{i:04}"))).collect(),
            InvalidState::TooMany { what: What::Host, count: 1_001, limit: 1_000 },
        ),
        (
            |s| s.frames[0].operands = vec![Value::ExternRefNull; (1 << 20) + 1],
            InvalidState::TooMany { what: What::Operands, count: (1 << 20) + 1, limit: 1 << 20 },
        ),
    ];
    for (i, (break_it, expected)) in cases.into_iter().enumerate() {
        let mut state = small();
        break_it(&mut state);
        assert_eq!(state.check(), Err(expected.clone()), "case {i}");
        assert_eq!(State::decode(&state.encode()), Err(expected.into()), "case {i}");
    }
}

/// Chaos testing encodes and decodes all the time. The bound is generous; a run prints the times.
#[test]
fn a_hundred_thousand_frames_take_milliseconds() {
    let frame = Frame {
        site: Site { func: 1234, offset: 567_890 },
        locals: (0..6).map(|i| (i, Value::I32(i * 1000))).collect(),
        operands: vec![Value::I64(9), Value::F64(3)],
    };
    let state = State { frames: vec![frame; 100_000], ..small() };
    let mut best = [std::time::Duration::MAX; 2];
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let bytes = state.encode();
        best[0] = best[0].min(start.elapsed());
        let start = std::time::Instant::now();
        let back = State::decode(&bytes).unwrap();
        best[1] = best[1].min(start.elapsed());
        assert_eq!(back, state);
    }
    println!("100,000 frames: encode {:?}, decode {:?}", best[0], best[1]);
    if !cfg!(debug_assertions) {
        assert!(best[0].as_millis() < 100 && best[1].as_millis() < 300, "{best:?}");
    }
}
