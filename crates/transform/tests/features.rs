//! What is refused, by its name and with its offset.

use dormouse_transform::{Error, Options, Program, uses_atomics};

fn refused(wasm: &[u8]) -> Error {
    let e = Program::new(wasm.into(), &Options::default())
        .and_then(|p| p.check())
        .expect_err("accepted");
    println!("{e}");
    e
}

fn unsupported(text: &str) -> (String, usize) {
    let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    match refused(&wasm) {
        Error::Unsupported { feature, offset } => (feature, offset),
        e => panic!("{text}: {e:?}"),
    }
}

/// The offset of a byte sequence that occurs once.
fn offset_of(text: &str, bytes: &[u8]) -> usize {
    let wasm = wat::parse_str(text).unwrap();
    let at: Vec<usize> = (0..wasm.len()).filter(|&i| wasm[i..].starts_with(bytes)).collect();
    assert_eq!(at.len(), 1, "{bytes:x?} in {wasm:x?}");
    at[0]
}

#[test]
fn features_are_named_with_their_offset() {
    // The module, what it is called, and the bytes at (or right before) which it is found.
    for (text, name, bytes) in [
        ("(module (memory 1 1 shared))", "threads (a shared memory)", &[5, 4, 1, 3, 1, 1][..]),
        ("(module (type (struct (field i32))))", "gc", &[1, 5, 1, 0x5f]),
        ("(module (type (array i8)))", "gc", &[1, 4, 1, 0x5e]),
        ("(module (func (param i31ref)))", "gc", &[0x60, 1, 0x6c]),
        ("(module (func (local eqref)))", "gc (`eqref`)", &[1, 1, 0x6d]),
        ("(module (table 1 anyref))", "gc (`anyref`)", &[4, 4, 1, 0x6e]),
        (
            "(module (global (mut (ref null struct)) (ref.null none)))",
            "gc (`structref`)",
            &[0x6b, 1],
        ),
        ("(module (func (drop (ref.i31 (i32.const 1)))))", "gc (RefI31)", &[0xfb, 0x1c]),
        (
            "(module (func (param externref) (drop (any.convert_extern (local.get 0)))))",
            "gc (AnyConvertExtern)",
            &[0xfb, 0x1a],
        ),
        ("(module (func (drop (ref.null any))))", "gc (`anyref`)", &[0xd0, 0x6e]),
        ("(module (memory 1 (pagesize 1)))", "custom-page-sizes", &[5, 4, 1, 8]),
        (
            "(module (func (param i64 i64) (result i64 i64)
                (i64.mul_wide_u (local.get 0) (local.get 1))))",
            "wide-arithmetic",
            &[0xfc, 22],
        ),
        (
            "(module (type $f (func)) (type $c (cont $f)) (func (param (ref null $c))))",
            "stack-switching",
            &[0x5d],
        ),
    ] {
        let (feature, offset) = unsupported(text);
        assert!(feature.contains(name), "{text}: {feature}");
        let expected = offset_of(text, bytes);
        assert!(
            (expected.saturating_sub(4)..expected + bytes.len() + 2).contains(&offset),
            "{text}: {feature} at {offset:#x}, expected about {expected:#x}"
        );
    }
}

#[test]
fn what_is_not_a_core_module() {
    assert!(matches!(refused(b""), Error::NotWasm(_)));
    assert!(matches!(refused(b"\x7fELF\x02\x01\x01\0\0\0"), Error::NotWasm(_)));
    assert!(matches!(refused(b"\0asm\x02\0\0\0"), Error::NotWasm(_)));
    assert!(matches!(refused(b"\0asm"), Error::NotWasm(_)));
    let component = wat::parse_str("(component)").unwrap();
    assert!(matches!(refused(&component), Error::Component));
}

#[test]
fn every_truncation_is_refused_and_none_panics() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (table 2 funcref) (global (mut i32) (i32.const 7))
        (data (i32.const 8) "hello") (elem (i32.const 0) $f)
        (func $f (export "_start") (local i64) (loop (br_if 0 (i32.const 0))) (call $exit (i32.const 1))))"#;
    let wasm = wat::parse_str(text).unwrap();
    let ok = |bytes: &[u8]| Program::new(bytes.into(), &Options::default()).is_ok();
    assert!(ok(&wasm));
    // A cut between two sections can leave a valid, smaller module; nothing else may.
    let mut boundaries = vec![8];
    for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
        if let Some((_, range)) = payload.unwrap().as_section() {
            boundaries.push(range.end);
        }
    }
    let mut refused = 0;
    for end in 0..wasm.len() {
        if ok(&wasm[..end]) {
            assert!(boundaries.contains(&end), "accepted the first {end} bytes");
        } else {
            refused += 1;
        }
    }
    assert!(refused > wasm.len() / 2);
    match Program::new(wasm[..wasm.len() - 40].into(), &Options::default()) {
        Err(Error::Invalid { offset, .. }) => assert!(offset > 8 && offset <= wasm.len()),
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn invalid_modules_are_invalid_not_unsupported() {
    let wasm = wat::parse_str("(module (func (result i32) (i64.const 1)))").unwrap();
    assert!(matches!(refused(&wasm), Error::Invalid { offset, .. } if offset > 8));
}

#[test]
fn imports_that_are_not_functions() {
    for (text, what) in [
        (r#"(module (import "env" "x" (memory 1)))"#, "memory"),
        (r#"(module (import "env" "x" (table 1 funcref)))"#, "table"),
        (r#"(module (import "env" "x" (global i32)))"#, "global"),
        (r#"(module (import "env" "x" (tag)))"#, "tag"),
    ] {
        match refused(&wat::parse_str(text).unwrap()) {
            Error::Import { kind, module, name } => {
                assert_eq!((kind, &*module, &*name), (what, "env", "x"));
            }
            e => panic!("{e:?}"),
        }
    }
}

#[test]
fn reserved_export_names() {
    let text = r#"(module (func (export "fine")) (func (export "dormouse.x")))"#;
    let (feature, offset) = unsupported(text);
    assert!(feature.contains("`dormouse.x`"), "{feature}");
    assert_eq!(offset, offset_of(text, b"\x0adormouse.x"));
}

/// Of the proposal for threads, the instructions are handled: no memory is shared.
#[test]
fn atomic_instructions() {
    let text = "(module (memory 1)
      (func (local i32) (loop
        (local.set 0 (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))
        (atomic.fence)
        (drop (memory.atomic.notify (i32.const 0) (local.get 0)))
        (br_if 0 (i32.atomic.rmw8.cmpxchg_u (i32.const 8) (i32.const 0) (i32.const 1)))
        (drop (memory.atomic.wait64 (i32.const 0) (i64.const 1) (i64.const 1))))))";
    let wasm = wat::parse_str(text).unwrap();
    assert!(uses_atomics(&wasm));
    let p = Program::new(wasm.into(), &Options::default()).unwrap();
    valid(&p.instrument().unwrap());
    valid(&p.continuations(&[0]).unwrap());
    let wasm =
        wat::parse_str("(module (memory 1) (func (drop (i32.load (i32.const 0)))))").unwrap();
    assert!(!uses_atomics(&wasm));
}

/// Of the proposal for garbage collection, what concerns functions is handled.
#[test]
fn typed_function_references() {
    for text in [
        "(module (type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0))))",
        "(module (rec (type $a (func (param (ref null $b)))) (type $b (sub (func (param (ref null $a)))))))",
        "(module (type $t (func)) (func $f (type $t)) (table 2 (ref $t) (ref.func $f)))",
        "(module (type $t (func)) (func (param funcref) (drop (ref.cast (ref $t) (local.get 0)))))",
        // Results that null does not belong to, of functions that may be left in the middle.
        "(module (type $t (func)) (func $f (result (ref $t)) (loop (br 0)) (unreachable)))",
        "(module (func $f (result (ref func)) (loop (br 0)) (unreachable)))",
        "(module (func $f (result (ref extern)) (loop (br 0)) (unreachable)))",
        "(module (func $f (result (ref exn)) (loop (br 0)) (unreachable)))",
        "(module (func $f (result (ref nofunc)) (loop (br 0)) (unreachable)))",
        "(module (tag) (func $f (param (ref exn)) (result (ref exn)) (loop (br_if 0 (i32.const 0))) (local.get 0)))",
    ] {
        let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let p = Program::new(wasm.into(), &Options::default())
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        p.check().unwrap();
        valid(&p.instrument().unwrap());
        for slot in (0..p.slots()).filter(|&s| p.site(s).is_ok()) {
            valid(&p.continuations(&[slot]).unwrap());
        }
    }
}

/// Exception references are saved wherever they are alive: each safepoint's frame holds one.
#[test]
fn exnref_alive_across_a_safepoint() {
    let spin = "(func $spin (loop (br 0)))";
    let caught =
        "(block $h (result exnref) (try_table (catch_all_ref $h) (call $throw)) (unreachable))";
    let throw = "(tag $e) (func $throw (throw $e))";
    for (what, text, saved) in [
        (
            "in a local across a call",
            format!(
                "(module {throw} {spin} (func (local exnref) (local.set 0 {caught}) (call $spin) (throw_ref (local.get 0))))"
            ),
            true,
        ),
        (
            "on the operand stack across a call",
            format!("(module {throw} {spin} (func {caught} (call $spin) (throw_ref)))"),
            true,
        ),
        (
            "across a loop",
            format!(
                "(module {throw} (func (local exnref) (local.set 0 {caught}) (loop (br_if 0 (i32.const 0))) (throw_ref (local.get 0))))"
            ),
            true,
        ),
        (
            "beneath a block that holds a safepoint",
            format!("(module {throw} {spin} (func {caught} (block (call $spin)) (throw_ref)))"),
            true,
        ),
        (
            "a parameter of a function that calls itself",
            "(module (func (param exnref) (call 0 (local.get 0))))".to_owned(),
            true,
        ),
        (
            "a parameter of an import that is called again",
            r#"(module (import "x" "block" (func (param exnref))) (func (export "f")))"#.to_owned(),
            true,
        ),
        (
            "not across any safepoint",
            format!("(module {throw} {spin} (func (call $spin) {caught} (throw_ref)))"),
            false,
        ),
        (
            "dead before the call",
            format!(
                "(module {throw} {spin} (func (local exnref) (local.set 0 {caught}) (call $spin)))"
            ),
            false,
        ),
        (
            "across a call to an atomic function",
            format!(
                "(module {throw} (func $quick) (func (local exnref) (local.set 0 {caught}) (call $quick) (throw_ref (local.get 0))))"
            ),
            false,
        ),
    ] {
        let wasm = wat::parse_str(&text).unwrap();
        let p = Program::new(wasm.into(), &Options::default()).unwrap();
        p.check().unwrap_or_else(|e| panic!("{what}: {e}"));
        let frames = (0..p.slots()).filter_map(|s| p.site(s).ok());
        let found = frames.filter(|(_, site)| site.layout.references == [0, 0, 1]).count();
        assert_eq!(found > 0, saved, "{what}");
        // The table for them is there only if it is needed.
        let main = p.instrument().unwrap();
        let name = dormouse_transform::names::REFERENCES[2].as_bytes();
        assert_eq!(main.windows(name.len()).any(|w| w == name), saved, "{what}");
        for slot in (0..p.slots()).filter(|&s| p.site(s).is_ok()) {
            valid(&p.continuations(&[slot]).unwrap());
        }
        valid(&main);
    }
}

fn valid(wasm: &[u8]) {
    let features = wasmparser::WasmFeatures::all();
    wasmparser::Validator::new_with_features(features).validate_all(wasm).unwrap();
}

/// `check` refuses just what `instrument` refuses.
#[test]
fn check_agrees_with_instrument() {
    let texts = [
        "(module (func (param exnref) (call 0 (local.get 0))))",
        "(module (memory 1) (data (i32.sub (i32.const 1) (i32.const 1)) \"x\"))",
        "(module (global externref (ref.null extern)) (table $t 1 externref) (elem (table $t) (i32.const 0) externref (ref.null extern)))",
        "(module (func (loop (br 0))))",
    ];
    for text in texts {
        let wasm = wat::parse_str(text).unwrap();
        let Ok(p) = Program::new(wasm.into(), &Options::default()) else { continue };
        let (a, b) = (
            p.check().map_err(|e| e.to_string()),
            p.instrument().map(|_| ()).map_err(|e| e.to_string()),
        );
        assert_eq!(a, b, "{text}");
    }
}
