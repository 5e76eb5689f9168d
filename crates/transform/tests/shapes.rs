//! Modules of unusual shapes: what the transform makes of them is valid, its effort grows no faster
//! than they do, and what outgrows the limits of engines is refused by name.

mod shape;

use dormouse_transform::{Error, FramesMemory, Kind, Options, Program, work};
use std::fmt::Write as _;
use wasmparser::{Validator, WasmFeatures};

fn program(text: &str) -> Program {
    let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{:.1000}", e.to_string()));
    Program::new(wasm.into(), &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn valid(wasm: &[u8]) {
    Validator::new_with_features(WasmFeatures::all()).validate_all(wasm).unwrap();
}

/// Transforms a module and validates what comes out: the main module, and the continuations of
/// about so many of its safepoints.
fn transformed(text: &str, continuations: usize) -> Program {
    let p = program(text);
    let main = p.instrument().unwrap();
    valid(&main);
    let step = (p.slots() as usize / continuations).max(1);
    let mut tried = 0;
    for slot in (0..p.slots()).step_by(step).chain([p.slots() - 1]) {
        if p.site(slot).is_ok() {
            valid(&p.continuations(&[slot]).unwrap());
            tried += 1;
        }
    }
    assert!(tried >= 1);
    p
}

/// The steps done for the main module, and for the continuation of a safepoint in the middle.
fn effort(text: &str) -> [u64; 2] {
    let p = program(text);
    let before = work();
    p.instrument().unwrap();
    let main = work() - before;
    let live = |s: &u32| p.site(*s).is_ok();
    let slot = (p.slots() / 2..p.slots()).find(live).unwrap();
    let before = work();
    p.continuations(&[slot]).unwrap();
    [main, work() - before]
}

/// Twice and four times the size is hardly more than twice and four times the work.
#[test]
fn effort_grows_with_size() {
    for (name, n, make) in [
        ("br_table", 1000, &(|n| shape::br_table(n, 100)) as &dyn Fn(usize) -> String),
        ("many calls between targets", 500, &|n| shape::br_table(n, 2)),
        ("parts of a function", 100, &|n| shape::large_function(n, 5)),
        ("functions", 500, &shape::functions),
        ("nested block", 300, &|n| shape::nested("block", n)),
        ("nested loop", 300, &|n| shape::nested("loop", n)),
        ("nested loops", 300, &|n| shape::nested("loops", n)),
        ("nested if", 300, &|n| shape::nested("if", n)),
        ("nested else", 300, &|n| shape::nested("else", n)),
        ("nested try_table", 300, &|n| shape::nested("try_table", n)),
        ("locals", 500, &shape::locals),
        ("multi-value", 100, &shape::multi_value),
        ("segments", 500, &segments),
        ("frames of one function", 200, &|n| shape::large_function(n, 0)),
    ] {
        let of = [1, 2, 4].map(|times| effort(&make(n * times)));
        for which in 0..2 {
            let [a, b, c] = of.map(|e| e[which] as f64);
            println!("{name}: {a} {b} {c}: {:.2} {:.2}", b / a, c / b);
            assert!(which == 1 || a > n as f64, "{name}: nothing was counted");
            assert!(b / a < 2.4 && c / b < 2.4, "{name}: {a} {b} {c}");
        }
    }
}

#[test]
fn branch_tables() {
    transformed(&shape::br_table(20_000, 1000), 10);
}

#[test]
fn functions_of_megabytes() {
    let text = shape::large_function(6000, 25);
    let wasm = wat::parse_str(&text).unwrap();
    assert!(wasm.len() > 2 << 20, "{}", wasm.len());
    transformed(&text, 4);
}

#[test]
fn many_functions() {
    let p = transformed(&shape::functions(30_000), 20);
    let names = p.function_names(&[2, 30_001]);
    assert_eq!(names[0].as_deref(), Some("function_number_0"));
    assert_eq!(names[1].as_deref(), Some("function_number_29999"));
    // They are in the main module too, under the same indices.
    let main = Program::new(p.bytes().clone(), &Options::default()).unwrap();
    assert_eq!(main.function_names(&[2, 30_001]), names);
}

#[test]
fn deep_nesting() {
    for kind in shape::NESTED {
        transformed(&shape::nested(kind, 5000), 4);
    }
}

#[test]
fn unreachable_code_everywhere() {
    let p = program(&shape::unreachable_code());
    valid(&p.instrument().unwrap());
    let live: Vec<u32> = (0..p.slots()).filter(|&s| p.site(s).is_ok()).collect();
    println!("{} of {}", live.len(), p.slots());
    assert!(live.len() > 2500 && live.len() < p.slots() as usize - 500);
    for slots in live.chunks(64) {
        valid(&p.continuations(slots).unwrap());
    }
}

#[test]
fn thousands_of_locals() {
    let p = transformed(&shape::locals(40_000), 2);
    let most = (0..p.slots()).filter_map(|s| p.site(s).ok()).map(|(_, s)| s.layout.values.len());
    assert_eq!(most.max(), Some(40_000));
    // One is needed to go on.
    transformed(&shape::locals(49_999), 2);
    let (_, what) = too_large(&shape::locals(50_000));
    assert!(what.contains("50000 locals"), "{what}");
}

#[test]
fn a_thousand_values() {
    transformed(&shape::multi_value(1000), 8);
}

/// `n` segments of each kind, each initialised and dropped by instructions.
fn segments(n: usize) -> String {
    let (mut fields, mut code) = (String::new(), String::new());
    for i in 0..n {
        write!(fields, "(data (i32.const {i}) \"x\") (data \"y\") (elem func 0) ").unwrap();
        for d in [2 * i, 2 * i + 1] {
            write!(code, "(memory.init {d} (i32.const 1) (i32.const 0) (i32.const 0)) ").unwrap();
        }
        write!(code, "(table.init {i} (i32.const 0) (i32.const 0) (i32.const 0)) ").unwrap();
        writeln!(code, "(data.drop {}) (elem.drop {i})", 2 * i).unwrap();
    }
    format!(
        "(module (memory 9) (table 1 funcref) (func (loop (br_if 0 (i32.const 0))) {code}) {fields})"
    )
}

#[test]
fn frames_are_found_again() {
    let p = program(&shape::large_function(400, 0));
    let mut frames = FramesMemory::default();
    let sites: Vec<_> = (0..p.slots()).filter_map(|s| p.site(s).ok()).collect();
    for (func, site) in &sites {
        p.push_frame(&mut frames, *func, site.offset, |_, _| Some(7)).unwrap();
    }
    let read = p.read_frames(&frames.bytes, [0; 3]).unwrap();
    assert_eq!(read.len(), sites.len());
    for ((func, site), frame) in sites.iter().zip(read.iter().rev()) {
        assert_eq!((*func, site.slot, site.offset), (frame.func, frame.slot, frame.offset));
        // The first instruction comes right after the entry.
        if site.kind != Kind::Entry {
            let other = p.push_frame(&mut frames, *func, site.offset + 1, |_, _| Some(7));
            assert!(matches!(other, Err(Error::NoSuchSite { .. })));
        }
    }
}

/// Refused since a function becomes too large: which, and why.
fn too_large(text: &str) -> (u32, String) {
    let p = program(text);
    match p.instrument() {
        Err(e @ Error::FunctionTooLarge { func, .. }) => {
            assert_eq!(p.check().unwrap_err().to_string(), e.to_string());
            (func, e.to_string())
        }
        Err(e) => panic!("{e}"),
        Ok(main) => panic!("accepted: {} bytes", main.len()),
    }
}

/// The module is valid, and would not be with what is added to it.
fn module_too_large(text: &str) -> String {
    let p = program(text);
    match p.instrument() {
        Err(e @ Error::ModuleTooLarge { .. }) => e.to_string(),
        Err(e) => panic!("{e}"),
        Ok(main) => panic!("accepted: {} bytes", main.len()),
    }
}

#[test]
fn functions_that_become_too_large() {
    // Much is alive across many calls.
    let calls = "i64.const 1 call $spin drop ".repeat(20_000);
    let gets = |n: usize| (0..n).map(|i| format!("local.get {i} drop ")).collect::<String>();
    let large = |locals: usize, code: &str| {
        format!(
            "(module (func $spin (param i64) (result i64) (loop (br_if 0 (i32.const 0))) (local.get 0))
            (func $big (local {}) {code} {}))",
            "i64 ".repeat(locals),
            gets(locals)
        )
    };
    let (func, message) = too_large(&large(400, &calls));
    assert_eq!(func, 1);
    assert_eq!(
        message,
        "function 1 (`big`) becomes too large: with safepoints it has more than 7654321 bytes of code, \
         the most that engines accept; split it up, or compile it for size and with less inlining"
    );
    // So much that it is not even written down.
    let (_, message) = too_large(&large(40_000, &calls));
    assert!(message.contains("7654321 bytes"), "{message}");
    // Each call's arguments are moved aside for one operand beneath them.
    let values = "i64 ".repeat(1000);
    let (_, message) = too_large(&format!(
        "(module (type $t (func (param {values}) (result {values})))
           (func $spin (type $t) (loop (br_if 0 (i32.const 0))) unreachable)
           (func $big (type $t) i32.const 7 {} {} {} drop unreachable))",
        (0..1000).map(|i| format!("local.get {i} ")).collect::<String>(),
        "call $spin ".repeat(2000),
        "drop ".repeat(1000),
    ));
    assert!(message.contains("7654321 bytes"), "{message}");
    // Operands beneath a call need locals.
    let (_, message) = too_large(&large(
        49_000,
        &format!(
            "{} i64.const 1 call $spin drop {}",
            "i32.const 1 ".repeat(1500),
            "drop ".repeat(1500)
        ),
    ));
    assert!(message.contains("50000 locals"), "{message}");
    // Branches times locals: the analysis would not fit into memory.
    let (_, message) = too_large(&large(45_000, &"loop end ".repeat(50_000)));
    assert!(message.contains("branches"), "{message}");
}

/// All functions of a refused module are looked at a few times, not once for every feature there is.
#[test]
fn refusals_are_quick() {
    let loops = "(func (loop (br_if 0 (i32.const 0))))".repeat(5000);
    let text = format!(
        "(module {loops} (func (param i64 i64) (result i64 i64)
           (i64.mul_wide_u (local.get 0) (local.get 1))))"
    );
    let wasm = wat::parse_str(&text).unwrap();
    let before = work();
    match Program::new(wasm.clone().into(), &Options::default()) {
        Err(Error::Unsupported { feature, .. }) => assert!(feature.contains("wide-arithmetic")),
        other => panic!("{:?}", other.err()),
    }
    let effort = (work() - before) as usize;
    assert!(effort > wasm.len() / 2 && effort < 4 * wasm.len(), "{effort} for {}", wasm.len());
}

/// What can be captured must be able to go on: a continuation loads its frame besides.
#[test]
fn functions_whose_continuations_would_be_too_large() {
    let of = |padding: usize| {
        let declared = "i64 ".repeat(20_000);
        let gets: String = (0..20_000).map(|i| format!("local.get {i} drop ")).collect();
        program(&format!(
            "(module (func $big (local {declared}) (loop (br_if 0 (i32.const 0))) {} {gets}))",
            "i64.const 0x8000000000000000 drop ".repeat(padding / 12)
        ))
    };
    let added = of(0).instrument().unwrap().len();
    let p = of(6_500_000);
    let main = p.instrument().unwrap();
    valid(&main);
    // That of the loop: the first is that of the entry.
    let continuation = p.continuations(&[1]).unwrap();
    valid(&continuation);
    assert!(continuation.len() > main.len() + 200_000);
    // The main module alone would be within the limit.
    let padding = 7_200_000;
    assert!(added + padding < 7_654_321);
    assert!(matches!(of(padding).instrument(), Err(Error::FunctionTooLarge { .. })));
}

/// A continuation saves a frame at the header of each loop round it, the function only one for all of them.
#[test]
fn large_frames_in_many_loops() {
    let of = |locals: usize, depth: usize| {
        let reads: String = (0..locals).map(|l| format!("local.get {l} drop ")).collect();
        program(&format!(
            "(module (func $f (param $n i32) (local {}) {} local.get 0 br_if 0 {} {reads}))",
            "i32 ".repeat(locals),
            "loop ".repeat(depth),
            "end ".repeat(depth),
        ))
    };
    let accepted = of(1000, 100);
    valid(&accepted.instrument().unwrap());
    valid(&accepted.continuations(&[100]).unwrap());
    assert!(matches!(of(10_000, 100).instrument(), Err(Error::FunctionTooLarge { .. })));
}

/// Where nothing stops, nothing is saved by the function.
#[test]
fn large_frames_that_are_idle() {
    let locals = 2000;
    let reads: String = (0..locals).map(|l| format!("call $short local.get {l} drop ")).collect();
    let p = program(&format!(
        "(module
           (func $short (local $i i32) (loop $l (br_if $l (i32.lt_u
             (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10)))))
           (func (local {}) (loop (br_if 0 (i32.const 0))) {reads} {}))",
        "i32 ".repeat(locals),
        "nop ".repeat(300_000)
    ));
    valid(&p.instrument().unwrap());
    valid(&p.continuations(&[5, 2000]).unwrap());
}

/// More functions of a type than are called through one of ours.
#[test]
fn thousands_of_functions_of_a_type() {
    let function = |n: u32| {
        let next = (n + 1) % 2001;
        format!("(func (param i32) (loop (br_if 0 (local.get 0))) (call {next} (local.get 0)))")
    };
    let p = program(&format!("(module {})", (0..2001).map(function).collect::<String>()));
    valid(&p.instrument().unwrap());
    let slots: Vec<u32> = (0..p.slots()).collect();
    valid(&p.continuations(&slots).unwrap());
}

#[test]
fn modules_that_become_too_large() {
    let loops = "(func (export \"_start\") (loop (br_if 0 (i32.const 0))))";
    let tables = |n| format!("(module {} {loops})", "(table 1 funcref)".repeat(n));
    valid(&program(&tables(97)).instrument().unwrap());
    let message = module_too_large(&tables(98));
    assert!(message.contains("tables") && message.contains("limit of 100"), "{message}");
    let memories = |n| format!("(module {} {loops})", "(memory 1)".repeat(n));
    valid(&program(&memories(98)).instrument().unwrap());
    let message = module_too_large(&memories(99));
    assert!(message.contains("memories") && message.contains("limit of 100"), "{message}");
    let message =
        module_too_large(&format!("(module {} {loops})", "(type (func))".repeat(1_000_000)));
    assert!(message.contains("types") && message.contains("1000000"), "{message}");
    // Functions that the program may refer to are exported, and exports have a size.
    let values = "i64 ".repeat(999);
    let functions = "(func (type $t) unreachable)".repeat(1001);
    let all: String = (1..1002).map(|f| format!("{f} ")).collect();
    let message = module_too_large(&format!(
        "(module (type $t (func (param {values}))) {loops} {functions} (elem declare func {all}))"
    ));
    assert!(message.contains("type size"), "{message}");
    // As many segments as there can be.
    valid(&program(&segments(50_000)).instrument().unwrap());
}

#[test]
fn translations_that_become_too_large() {
    let text =
        format!("(module (func) (func $big {}))", "try call 0 catch_all end ".repeat(700_000));
    let wasm = wat::parse_str(&text).unwrap();
    match Program::new(wasm.into(), &Options::default()) {
        Err(e @ Error::FunctionTooLarge { func: 1, .. }) => println!("{e}"),
        other => panic!("{:?}", other.err()),
    }
}
