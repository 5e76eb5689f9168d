//! States written by released versions, kept forever, and the example in `docs/format.md`.
//!
//! A new version adds a folder; nothing in an old one ever changes. `BLESS=1 cargo test` writes the
//! fixtures of the current version where they are missing.

use dormouse_state::{Exception, Frame, HostState, Memory, Site, State, Table, Value};
use std::path::PathBuf;

fn minimal() -> State {
    State {
        module_digest: [0; 32],
        frames: vec![Frame { site: Site { func: 0, offset: 0 }, locals: vec![], operands: vec![] }],
        globals: vec![],
        tables: vec![],
        exceptions: vec![],
        memories: vec![],
        dropped_data: vec![],
        dropped_elems: vec![],
        wasi: vec![],
        host: vec![],
    }
}

/// The worked example of `docs/format.md`.
fn example() -> State {
    State {
        module_digest: std::array::from_fn(|i| i as u8),
        frames: vec![
            Frame {
                site: Site { func: 300, offset: 0x51 },
                locals: vec![(0, Value::I32(10)), (3, Value::F64(1.5f64.to_bits()))],
                operands: vec![Value::FuncRef(Some(7))],
            },
            Frame { site: Site { func: 2, offset: 0 }, locals: vec![], operands: vec![] },
        ],
        globals: vec![(0, Value::I64(u64::MAX)), (1, Value::ExnRef(Some(0)))],
        tables: vec![Table { index: 1, entries: vec![Value::FuncRef(None)] }],
        exceptions: vec![Exception { tag: 4, fields: vec![Value::I32(5), Value::ExnRef(None)] }],
        memories: vec![Memory { index: 0, pages: 400 }],
        dropped_data: vec![2],
        dropped_elems: vec![],
        wasi: vec![0xaa, 0xbb],
        host: vec![],
    }
}

fn every_value() -> State {
    let values = [
        Value::I32(0),
        Value::I32(u32::MAX),
        Value::I64(0x0123_4567_89ab_cdef),
        Value::F32(0x7fa0_0001), // a signalling NaN
        Value::F64(0xfff8_0000_0000_0001),
        Value::V128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        Value::FuncRef(None),
        Value::FuncRef(Some(0)),
        Value::FuncRef(Some(u32::MAX)),
        Value::ExternRefNull,
        Value::ExnRef(None),
        Value::ExnRef(Some(0)),
        Value::ExnRef(Some(1)),
    ];
    State {
        frames: vec![Frame {
            site: Site { func: u32::MAX, offset: u32::MAX },
            locals: values.iter().enumerate().map(|(i, v)| (i as u32 * 4000, *v)).collect(),
            operands: values.to_vec(),
        }],
        globals: values.iter().enumerate().map(|(i, v)| (i as u32 * 100, *v)).collect(),
        tables: vec![
            Table { index: 0, entries: values[6..9].to_vec() },
            Table { index: 9, entries: vec![Value::ExternRefNull; 2] },
            Table { index: 10, entries: vec![] },
            Table { index: 11, entries: values[10..].to_vec() },
        ],
        exceptions: vec![
            Exception { tag: u32::MAX, fields: vec![] },
            Exception { tag: 0, fields: values[..12].to_vec() },
        ],
        memories: vec![Memory { index: 0, pages: 0 }, Memory { index: 999, pages: 1 << 48 }],
        dropped_data: vec![0, 1, 127, 128, 9_999_999],
        dropped_elems: vec![0, 16384],
        wasi: (0..=255).collect(),
        ..minimal()
    }
}

fn deep() -> State {
    let frame = |i: u32| Frame {
        site: Site { func: i % 7, offset: i * 13 },
        locals: vec![(i % 3, Value::I32(i))],
        operands: vec![Value::I64(u64::from(i) << 32); (i % 4) as usize],
    };
    State { frames: (0..1000).map(frame).collect(), ..minimal() }
}

fn v1_fixtures() -> Vec<(&'static str, State)> {
    vec![
        ("minimal", minimal()),
        ("example", example()),
        ("every-value", every_value()),
        ("deep", deep()),
    ]
}

/// With states of host functions.
fn v2_fixtures() -> Vec<(&'static str, State)> {
    let host = |name: &str, bytes: &[u8]| HostState { name: name.into(), bytes: bytes.to_vec() };
    let one = State { host: vec![host("counter", &[7, 0, 0, 0])], ..example() };
    let names = [host("a", b""), host(&"b".repeat(256), &[0x80; 300]), host("ä.ö", b"\0\xff")];
    vec![("host-state", one), ("host-states", State { host: names.into(), ..minimal() })]
}

#[test]
fn v1() {
    check("v1", v1_fixtures());
}

#[test]
fn v2() {
    check("v2", v2_fixtures());
}

fn check(version: &str, fixtures: Vec<(&str, State)>) {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version);
    for (name, state) in &fixtures {
        let path = dir.join(name).with_extension("state");
        if std::env::var_os("BLESS").is_some() && !path.exists() {
            std::fs::write(&path, state.encode()).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(State::decode(&bytes).unwrap(), *state, "{name}");
        // As long as this version is what is written for it:
        assert_eq!(state.encode(), bytes, "{name}");
    }
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), fixtures.len(), "unread fixtures");
}

#[test]
fn the_documented_example() {
    let docs = include_str!("../../../docs/format.md");
    let block = docs.split("<!-- state-example -->").nth(1).expect("the marker");
    let block = block.split("```").nth(1).expect("a code block");
    let mut bytes = vec![];
    for line in block.lines().skip(1) {
        for byte in line.split(';').next().unwrap_or("").split_whitespace() {
            bytes.push(u8::from_str_radix(byte, 16).unwrap());
        }
    }
    assert_eq!(State::decode(&bytes).unwrap(), example());
    assert_eq!(example().encode(), bytes);
}
