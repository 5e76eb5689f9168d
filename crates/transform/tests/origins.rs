//! Origins: the instruction that stands at an offset of an instrumented module is the original's.

use dormouse_transform::{Kind, Options, Poll, Program};
use std::collections::HashMap;
use wasmparser::{Operator, Parser, Payload};

const MODULE: &str = r#"(module
  (func $g (param i32) (result i32) (loop $l (br_if $l (local.get 0))) (local.get 0))
  (func $f (param i32) (result i32) (local i64 i64 f32)
    (f64.const 1)
    (block $b (result i32)
      (loop $l (result i32)
        (i32.div_s (call $g (local.get 0)) (i32.rem_u (local.get 0) (i32.const 3)))
        (br_if $l (i32.eqz (call $g (i32.const 0))))
        drop (i32.const 7)
        unreachable))
    (drop)
    (f64.nearest)
    (drop)
    (i32.const 1)))"#;

/// What may stand at an instruction's place: its own kind, of which each function here has one.
fn kinds(wasm: &[u8]) -> Vec<HashMap<&'static str, u32>> {
    let mut found = vec![];
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
        let mut kinds = HashMap::new();
        for op in body.get_operators_reader().unwrap().into_iter_with_offsets() {
            let (op, offset) = op.unwrap();
            let kind = match op {
                Operator::I32DivS => "div",
                Operator::I32RemU => "rem",
                Operator::F64Nearest => "nearest",
                Operator::Unreachable => "unreachable",
                _ => continue,
            };
            assert_eq!(kinds.insert(kind, offset as u32), None, "{kind} twice");
        }
        found.push(kinds);
    }
    found
}

#[test]
fn every_instruction_is_found() {
    for poll in [Poll::Atomic, Poll::Store, Poll::Counted] {
        let wasm = wat::parse_str(MODULE).unwrap();
        let original = kinds(&wasm);
        let p = Program::new(wasm.into(), &Options { poll, ..Options::default() }).unwrap();
        let main = kinds(&p.instrument().unwrap());
        let origins = p.origins(&[1]).unwrap();
        assert_eq!(main[1].len(), 4);
        for (kind, &at) in &main[1] {
            assert_eq!(origins[0].original(at), original[1][kind], "{kind} with {poll:?}");
        }

        let slots: Vec<u32> = (0..p.slots()).filter(|&s| p.site(s).unwrap().0 == 1).collect();
        let continuations = kinds(&p.continuations(&slots).unwrap());
        let origins = p.continuation_origins(&slots).unwrap();
        for (slot, kinds) in slots.iter().zip(&continuations) {
            let (_, site) = p.site(*slot).unwrap();
            assert!(!kinds.is_empty() || site.kind == Kind::Entry);
            for (kind, &at) in kinds {
                assert_eq!(origins[slot].original(at), original[1][kind], "{kind} in {slot}");
            }
            // What comes first stands for the place where the frame waits.
            let first = if site.kind == Kind::Entry { 0 } else { site.offset };
            assert!(first == 0 || origins[slot].original(0) == first);
        }
        assert!(p.origins(&[9]).is_err());
    }
}
