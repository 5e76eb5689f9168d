//! What the CPU chooses, and [`Options::deterministic`] takes from it: the bits of NaNs, and the
//! results of relaxed SIMD. Both ways a program is the same under chaos as plain.

use dormouse_engine::{Event, Gap, Machine, Options, chaos};
use dormouse_wasi::{RestoreOptions, Stdio, StdioConfig, Wasi, WasiConfig};
use std::sync::{Arc, Mutex};

/// Each line of output, computed in a loop so that frames hold what is printed.
const LINES: [(&str, &str, &str); 12] = [
    ("0/0", "f64", "(f64.div (local.get $zero) (local.get $zero))"),
    (
        "a payload through addition",
        "f64",
        "(f64.add (f64.reinterpret_i64 (i64.const 0xfff8000000000123)) (local.get $zero))",
    ),
    ("the root of -1", "f64", "(f64.sqrt (f64.sub (local.get $zero) (f64.const 1)))"),
    (
        "inf - inf in f32, widened",
        "f64",
        "(f64.promote_f32 (f32.sub (f32.const inf) (f32.add (f32.const inf) (f32.demote_f64 (local.get $zero)))))",
    ),
    (
        "0/0 in a vector",
        "v128",
        "(f64x2.div (f64x2.splat (local.get $zero)) (f64x2.splat (local.get $zero)))",
    ),
    (
        "swizzle beyond the lanes",
        "v128",
        "(i8x16.relaxed_swizzle (local.get $v) (v128.const i8x16 0 17 34 127 128 255 6 7 8 9 10 11 12 13 14 16))",
    ),
    (
        "truncation of NaN and overflow",
        "v128",
        "(i32x4.relaxed_trunc_f32x4_s (f32x4.replace_lane 3 (v128.const f32x4 nan 1e10 -1e10 0) (f32.demote_f64 (local.get $zero))))",
    ),
    (
        "minimum with a NaN and zeroes",
        "v128",
        "(f32x4.relaxed_min (v128.const f32x4 0 -0 1 2) (f32x4.replace_lane 3 (v128.const f32x4 -0 0 nan -3) (f32.demote_f64 (local.get $zero))))",
    ),
    (
        "selecting by mixed bits",
        "v128",
        "(i8x16.relaxed_laneselect (local.get $v) (v128.not (local.get $v)) (i8x16.splat (i32.const 0x0f)))",
    ),
    (
        "q15 overflow",
        "v128",
        "(i16x8.relaxed_q15mulr_s (i16x8.splat (i32.const -32768)) (i16x8.splat (i32.const -32768)))",
    ),
    (
        "a dot product of large sevens",
        "v128",
        "(i16x8.relaxed_dot_i8x16_i7x16_s (local.get $v) (i8x16.splat (i32.const -2)))",
    ),
    (
        "multiply and add, rounded once",
        "v128",
        "(f64x2.relaxed_madd (f64x2.splat (f64.const 0x1.0000001p0)) (f64x2.splat (f64.const 0x1.0000001p0)) (f64x2.splat (f64.const -0x1.0000002p0)))",
    ),
];

/// The same on every host, from the specification's deterministic profile.
const DETERMINISTIC: [&str; 12] = [
    "7ff8000000000000",
    "7ff8000000000000",
    "7ff8000000000000",
    "7ff8000000000000",
    "7ff8000000000000 7ff8000000000000",
    "8786000000000080 008e8d8c8b8a8988",
    "7fffffff00000000 0000000080000000",
    "8000000080000000 000000007fc00000",
    "7776757473727170 7f7e7d7c7b7a7978",
    "7fff7fff7fff7fff 7fff7fff7fff7fff",
    "01e601ee01f601fe 01c601ce01d601de",
    "3c70000000000000 3c70000000000000",
];

fn program() -> Arc<[u8]> {
    let prelude = include_str!("wat/prelude.txt");
    let mut body = String::new();
    for (what, ty, code) in LINES {
        body += &match ty {
            "f64" => format!(";; {what}\n(call $show (i64.reinterpret_f64 {code}))\n"),
            _ => format!(
                ";; {what}\n(local.set $r {code})
                 (call $show (i64x2.extract_lane 0 (local.get $r)))
                 (call $show (i64x2.extract_lane 1 (local.get $r)))\n"
            ),
        };
    }
    let text = format!(
        r#"(module {prelude}
        (func $show (param i64) (local $i i32)
          (loop $l (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
          (call $print (local.get 0)))
        (func (export "_start") (local $zero f64) (local $v v128) (local $r v128)
          (local.set $v (v128.const i64x2 0x8786858483828180 0x8f8e8d8c8b8a8988))
          (local.set $zero (f64.convert_i32_u (i32.load (i32.const 60000))))
          {body}))"#
    );
    wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}")).into()
}

/// Plain, and under chaos: the output and the number of captures.
fn outputs(deterministic: bool, pulley: bool) -> [String; 2] {
    let options =
        Options { counted: true, every_loop: true, deterministic, pulley, ..Options::default() };
    let machine = Machine::new(options).unwrap();
    let stdio = |out: &Arc<Mutex<Vec<u8>>>| StdioConfig {
        stdout: Stdio::Buffer(out.clone()),
        ..StdioConfig::null()
    };
    let wasi =
        |out: &_| Wasi::new(WasiConfig { stdio: stdio(out), ..WasiConfig::default() }).unwrap();
    let [plain, chaotic] = [(); 2].map(|()| Arc::<Mutex<Vec<u8>>>::default());
    let code = machine.load_plain(&program()).unwrap();
    let event = machine.on_stack(|| code.run(wasi(&plain)).unwrap()).unwrap();
    assert_eq!(event, Event::Exited(0));
    let code = Arc::new(machine.load(program()).unwrap());
    let restore = || RestoreOptions { stdio: stdio(&chaotic), ..RestoreOptions::default() };
    let run = || chaos(&code, wasi(&chaotic), Gap::Every(1), restore).unwrap();
    let (event, report) = machine.on_stack(run).unwrap();
    assert_eq!(event, Event::Exited(0));
    assert!(report.captures > 60, "{}", report.captures);
    [plain, chaotic].map(|out| String::from_utf8(out.lock().unwrap().clone()).unwrap())
}

/// What [`LINES`] printed: both halves of a vector in one.
fn lines(output: &str) -> Vec<String> {
    let mut words = output.lines();
    let mut next = || words.next().unwrap_or_default().to_owned();
    LINES
        .iter()
        .map(|(_, ty, _)| match *ty {
            "f64" => next(),
            _ => format!("{} {}", next(), next()),
        })
        .collect()
}

#[test]
fn with_it_every_host_computes_the_same() {
    for pulley in [false, true] {
        let [plain, chaotic] = outputs(true, pulley);
        assert_eq!(chaotic, plain);
        for ((what, ..), (expected, got)) in
            LINES.iter().zip(DETERMINISTIC.iter().zip(lines(&plain)))
        {
            assert_eq!(&got, expected, "{what}, pulley: {pulley}");
        }
    }
}

#[test]
fn without_it_the_cpu_chooses() {
    let [plain, chaotic] = outputs(false, false);
    assert_eq!(chaotic, plain);
    // An x86-64 CPU chooses otherwise, so the option is seen to do something.
    #[cfg(target_arch = "x86_64")]
    {
        let got = lines(&plain);
        assert_eq!(got[0], "fff8000000000000", "the NaN of this CPU is negative");
        assert_eq!(got[1], "fff8000000000123", "payloads go through");
        assert_ne!(got[5], DETERMINISTIC[5], "swizzle looks at four bits");
    }
}
