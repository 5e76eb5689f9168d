//! What `inspect` and `diff` show: programs in C and Rust with debugging information, and others without.
#![allow(missing_docs)]

mod harness;
#[path = "look/strangers.rs"]
mod strangers;

use harness::*;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// A program of tests/look, run until it has taken its own checkpoint.
fn looked_at(p: &Place, name: &str) {
    let wasm = look(&format!("{name}.wasm"));
    p.ok(&["run", "--name", "job", wasm.to_str().unwrap()]);
}

fn look(file: &str) -> PathBuf {
    root().join("crates/dormouse/tests/look").join(file)
}

/// `relax heat.c:20:27`, for each line of a frame.
fn lines(frame: &Value) -> Vec<String> {
    let line = |l: &Value| {
        let text = |name: &str| l[name].as_str().unwrap_or("?").to_owned();
        format!("{} {}:{}:{}", text("function"), text("file"), l["line"], l["column"])
    };
    frame["lines"].as_array().unwrap().iter().map(line).collect()
}

/// `width: int = 8`, for each variable of a frame.
fn variables(frame: &Value) -> Vec<String> {
    let variable = |v: &Value| {
        let text = |name: &str| v[name].as_str().unwrap_or("?").to_owned();
        match v["value"].as_str() {
            Some(value) => format!("{}: {} = {value}", text("name"), text("type")),
            None => format!("{}: {} ({})", text("name"), text("type"), text("missing")),
        }
    };
    frame["variables"].as_array().unwrap().iter().map(variable).collect()
}

#[test]
fn c_that_is_not_optimized() {
    let p = Place::new();
    looked_at(&p, "heat-O0");
    let seen = p.json(&["inspect", "job", "--json"]);
    assert_eq!(seen["dwarf"], "read");
    let frames = seen["frames"].as_array().unwrap();
    let names: Vec<_> = frames.iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dormouse.checkpoint", "relax", "step", "_start"]);
    assert_eq!(lines(&frames[0]), [""; 0]);
    assert_eq!(lines(&frames[1]), ["relax heat.c:20:27"]);
    assert_eq!(lines(&frames[2]), ["step heat.c:33:19"]);
    assert_eq!(lines(&frames[3]), ["_start heat.c:47:14"]);
    assert_eq!(
        variables(&frames[1]),
        ["at: const double * = 0x458", "width: int = 8", "sum: double = 6.0"]
    );
    assert_eq!(
        variables(&frames[2]),
        [
            "hottest: struct cell * = 0x430",
            "label: const char * = 0x400 \"the label\"",
            "phase: enum phase = WARM",
            "note: char[16] = \"fifteen letters\"",
            "counts: short[3] = [1, -2, 3]",
        ]
    );
    assert_eq!(
        variables(&frames[3]),
        [
            "flag: unsigned char = 65 'A'",
            "part: float = 1.5",
            "total: double = 504.75",
            "i: int = 3",
        ]
    );
    assert_eq!(frames[2]["variables"][0]["parameter"], true);
    assert_eq!(frames[2]["variables"][3]["parameter"], false);
    // The addresses are those of memory.
    let bytes = p.json(&["inspect", "job", "--json", "--memory", "0x430+16"])["bytes"].clone();
    assert_eq!(bytes, "07000000f7ffffff000000000000d83f", "{{7, -9, 0.375}}");
}

#[test]
fn c_that_is_optimized() {
    let p = Place::new();
    looked_at(&p, "heat-O2");
    let seen = p.json(&["inspect", "job", "--json"]);
    let frames = seen["frames"].as_array().unwrap();
    assert_eq!(lines(&frames[1]), ["relax heat.c:20:27"]);
    // In a local of WebAssembly, in none.
    let of_relax = variables(&frames[1]);
    assert!(of_relax.contains(&"width: int = 8".to_owned()), "{of_relax:?}");
    assert!(of_relax.contains(&"sum: double (optimized out)".to_owned()), "{of_relax:?}");
    assert_eq!(lines(&frames[2]), ["step heat.c:33:19", "_start heat.c:47:14"]);
    let (step, start): (Vec<_>, Vec<_>) =
        frames[2]["variables"].as_array().unwrap().iter().partition(|v| v["line"] == 0);
    let shown = |of: &[&Value], name: &str| {
        let found = of.iter().find(|v| v["name"] == name);
        found.map(|v| v["value"].clone()).unwrap_or_else(|| panic!("no {name}: {of:?}"))
    };
    assert_eq!(shown(&step, "phase"), "WARM");
    assert_eq!(shown(&step, "counts"), "[1, ?, ?]", "the rest is lost");
    assert_eq!(shown(&start, "flag"), "65 'A'");
    assert_eq!(shown(&start, "total"), Value::Null);
}

#[test]
fn rust() {
    let p = Place::new();
    looked_at(&p, "heat-rust");
    let seen = p.json(&["inspect", "job", "--json"]);
    let frames = seen["frames"].as_array().unwrap();
    assert_eq!(frames[1]["name"], "heat::model::relax");
    let symbol = frames[1]["symbol"].as_str().unwrap();
    assert!(symbol.starts_with("_R") || symbol.starts_with("_Z"), "{symbol}");
    assert_eq!(lines(&frames[1]), ["heat::model::relax heat.rs:35:22"]);
    let step = ["heat::model::middle heat.rs:42:22", "<heat::Cell>::step heat.rs:49:13"];
    assert_eq!(lines(&frames[2]), step);
    assert_eq!(lines(&frames[3]), ["_start heat.rs:61:23"]);
    for (frame, wanted) in [
        (1, "grid: &[f64] = {data_ptr: 0xffa0, length: 8}"),
        (1, "label: &str = \"label\""),
        (1, "phase: heat::Phase = Warm"),
        (1, "sum: f64 = 6.0"),
        (2, "step: usize = 3"),
        (3, "cell: heat::Cell = {at: {__0: -7, __1: 9}, heat: 4.0}"),
        (3, "grid: f64[8] = [0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0]"),
        (3, "letter: char = 'ä'"),
    ] {
        let all = variables(&frames[frame]);
        let same = |v: &String| *v == wanted || *v == wanted.replace("heat::", "");
        assert!(all.iter().any(same), "{wanted}: {all:?}");
    }
}

/// The modules that are kept are what a compiler of today makes of their source.
#[test]
fn the_compiler_at_hand_says_the_same() {
    let clang = root().join("target/guests-cache/toolchain/bin/wasm-clang");
    if !clang.exists() {
        eprintln!("LEFT OUT: there is no {}; `cargo xtask setup` fetches it", clang.display());
        return;
    }
    for level in ["O0", "O2"] {
        let p = Place::new();
        let mut compile = Command::new(&clang);
        compile.args(["-nostdlib", "-g", &format!("-{level}"), "-fdebug-compilation-dir=."]);
        compile.args(["-Wl,--entry=_start", "heat.c", "-o"]).arg(p.path("heat.wasm"));
        assert!(compile.current_dir(look("")).status().unwrap().success());
        p.ok(&["run", "--name", "job", "heat.wasm"]);
        let fresh = p.json(&["inspect", "job", "--json"]);
        let p = Place::new();
        looked_at(&p, &format!("heat-{level}"));
        let kept = p.json(&["inspect", "job", "--json"]);
        for (fresh, kept) in
            fresh["frames"].as_array().unwrap().iter().zip(kept["frames"].as_array().unwrap())
        {
            assert_eq!((lines(fresh), &fresh["name"]), (lines(kept), &kept["name"]));
        }
    }
}

/// From the line that begins with a word on, to before the one that begins with another.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let start = text.find(&format!("\n{from}")).unwrap() + 1;
    let end = text[start..].find(&format!("\n{to}")).map_or(text.len(), |end| start + end + 1);
    &text[start..end]
}

#[test]
fn as_text() {
    let p = Place::new();
    looked_at(&p, "heat-O2");
    let text = p.ok(&["inspect", "job"]);
    assert_eq!(between(&text, "memory 0", "awake"), OPTIMIZED_MEMORY);
    assert_eq!(between(&text, "frames", "-"), OPTIMIZED_STACK);
    let full = p.ok(&["inspect", "job", "--frames"]);
    assert_eq!(between(&full, "frames", "-"), OPTIMIZED_FRAMES);
    for line in text.lines().chain(full.lines()) {
        assert!(line.chars().count() <= 83, "{line}");
        // A digest is longer than its line should be.
        assert!(line.chars().count() <= 80 || line.starts_with("module "), "{line}");
    }
    // Colours are for terminals.
    assert!(!text.contains('\x1b'));
    let coloured = p.command(&["inspect", "job"]).env("CLICOLOR_FORCE", "1").output().unwrap();
    let coloured = String::from_utf8(coloured.stdout).unwrap();
    assert!(coloured.contains("\x1b[36m") && coloured.contains("relax"), "{coloured:?}");
}

const OPTIMIZED_MEMORY: &str = "\
memory 0    128.0 KiB (2 pages), memory
            ░·······························
            4 KiB pages: 31 zero, 1 not
            .data 0x400..0x408 (8 B)
            · zero  ░ not zero
            119 B in the store
globals     __stack_pointer = 67120 (i32, 0x10630)
";
const OPTIMIZED_STACK: &str = "\
frames      3, innermost first
  #0      dormouse.checkpoint
  #1      relax +0xe3  heat.c:20:27
            width = 8
  #2      step  heat.c:33:19 (inlined)
          _start +0x51  heat.c:47:14
            phase = WARM, note = [102 'f', ?, ?, ?, ?, ?, ?, ?, ...],
            counts = [1, ?, ?], flag = 65 'A', part = 1.5
";
const OPTIMIZED_FRAMES: &str = "\
frames      3, innermost first
  #0      dormouse.checkpoint
  #1      relax +0xe3  heat.c:20:27, module 0x222
            at: const double *   optimized out
            width: int = 8
            sum: double   optimized out
            local 0 = 8 (i32)
            local 1 = 6.0 (f64)
            2 of 6 locals are kept
            operand 0 = 0 (i32)
  #2      step  heat.c:33:19 (inlined)
          _start +0x51  heat.c:47:14, module 0xb0
            phase: enum phase = WARM   in step
            note: char[16] = [102 'f', ?, ?, ?, ?, ?, ?, ?, ...]   in step
            counts: short[3] = [1, ?, ?]   in step
            flag: unsigned char = 65 'A'
            part: float = 1.5
            total: double   optimized out
            i: int   optimized out
            local 0 = 504.75 (f64)
            local 1 = 1064 (i32, 0x428)
            local 2 = 3 (i32)
            3 of 4 locals are kept
";

/// Takes checkpoints of its own between what it does: with names, several memories, globals, a table, a recursion.
const NAMED: &str = r#"(module
  (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
  (memory $main (export "memory") 2)
  (memory $other 4)
  (global $counter (mut i32) (i32.const 0))
  (global $half (mut f64) (f64.const 0.5))
  (global (export "exported") (mut i64) (i64.const -1))
  (global (mut i32) (i32.const 9))
  (table $hooks (export "hooks") 6 funcref)
  (elem declare func $nothing $down)
  (data $greeting (i32.const 0x400) "hello, dormouse")
  (data $late "late")
  (func $nothing)
  (func $down (param $left i32) (param $unused i64) (result i32)
    (if (result i32) (local.get $left)
      (then (i32.add (i32.const 5) (call $down (i32.sub (local.get $left) (i32.const 1)) (i64.const 7))))
      (else (call $checkpoint))))
  (func (export "_start") (local $x i32)
    (table.set $hooks (i32.const 1) (ref.func $nothing))
    (i32.store (i32.const 0x3000) (i32.const 1))
    (drop (call $down (i32.const 100) (i64.const 0)))
    (global.set $counter (i32.const 3))
    (table.set $hooks (i32.const 2) (ref.func $down))
    (i32.store (i32.const 0x5ffe) (i32.const -1))
    (i32.store (i32.const 0x3000) (i32.const 0))
    (i64.store $other (i32.const 0x20000) (i64.const 0x0a4141414141))
    (drop (memory.grow (i32.const 1)))
    (data.drop $late)
    (local.set $x (i32.const 42))
    (drop (call $checkpoint))
    (drop (call $checkpoint))
    (global.set $counter (local.get $x))))"#;

fn named(p: &Place) {
    let wasm = p.guest("named", NAMED);
    p.ok(&["run", "--name", "job", &wasm]);
}

#[test]
fn names_and_values() {
    let p = Place::new();
    named(&p);
    let seen = p.json(&["inspect", "job@2", "--json"]);
    assert_eq!(seen["dwarf"], "none");
    assert_eq!(
        seen["globals"],
        json!([
            { "index": 0, "name": "counter", "type": "i32", "value": "3", "bits": "0x3" },
            { "index": 1, "name": "half", "type": "f64", "value": "0.5", "bits": "0x3fe0000000000000" },
            { "index": 2, "name": "exported", "type": "i64", "value": "-1", "bits": "0xffffffffffffffff" },
            { "index": 3, "name": null, "type": "i32", "value": "9", "bits": "0x9" },
        ])
    );
    assert_eq!(
        seen["tables"],
        json!([{ "index": 0, "name": "hooks", "entries": 6, "set": 2, "elements": [
            { "at": 1, "type": "funcref", "value": "nothing", "bits": "1" },
            { "at": 2, "type": "funcref", "value": "down", "bits": "2" },
        ]}])
    );
    let memories = &seen["memories"];
    assert_eq!((&memories[0]["name"], &memories[1]["name"]), (&json!("main"), &json!("other")));
    assert_eq!(
        memories[0]["segments"],
        json!([{ "name": "greeting", "start": 0x400, "bytes": 15 }])
    );
    assert_eq!(seen["dropped_data"], json!([1]));
    // Since the first: 3 is zero again, the end of 5 and the beginning of 6 were written.
    assert_eq!(seen["compared_with"], "job@1");
    assert_eq!(memories[0]["heat"]["total"], json!({ "zero": 44, "same": 1, "changed": 3 }));
    let cells = memories[0]["heat"]["cells"].as_array().unwrap();
    let changed: Vec<usize> = (0..cells.len()).filter(|n| cells[*n]["changed"] == 1).collect();
    assert_eq!((cells.len(), changed), (48, vec![3, 5, 6]));
    assert_eq!(memories[1]["heat"]["total"], json!({ "zero": 63, "same": 0, "changed": 1 }));
    let frame = &seen["frames"][1];
    assert_eq!(
        frame["locals"],
        json!([{ "index": 0, "name": "x", "type": "i32", "value": "42", "bits": "0x2a" }])
    );
    assert_eq!(frame["local_count"], 1);
    // Values that nobody reads any more are not kept; operands are.
    let deep = p.json(&["inspect", "job@1", "--json"]);
    let frames = deep["frames"].as_array().unwrap();
    assert_eq!((frames.len(), &frames[50]["name"]), (103, &json!("down")));
    assert_eq!((&frames[50]["locals"], &frames[50]["local_count"]), (&json!([]), &json!(2)));
    assert_eq!(frames[50]["operands"], json!([{ "type": "i32", "value": "5", "bits": "0x5" }]));
    let text = p.ok(&["inspect", "job@1"]);
    assert!(text.contains("down +0xe (100 times)"), "{text}");
    for part in ["globals     counter = 0 (i32)", "global[3] = 9 (i32)", "operands 5", "memory 1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!p.ok(&["inspect", "job@1", "--all"]).contains("times)"));
    // Without names there are numbers.
    let bare = strip_names(&wat::parse_str(NAMED).unwrap());
    std::fs::write(p.path("bare.wasm"), bare).unwrap();
    p.ok(&["run", "--name", "bare", "bare.wasm"]);
    let seen = p.json(&["inspect", "bare@1", "--json"]);
    assert_eq!(seen["frames"][1]["name"], "func[2]");
    assert_eq!(seen["frames"][1]["within"], frames[1]["within"]);
    assert_eq!(seen["globals"][0]["name"], Value::Null);
}

/// Without its name section.
fn strip_names(module: &[u8]) -> Vec<u8> {
    let mut out = module[..8].to_vec();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        let named = matches!(&payload, wasmparser::Payload::CustomSection(c) if c.name() == "name");
        if let Some((id, range)) = payload.as_section().filter(|_| !named) {
            out.push(id);
            let mut len = range.len();
            loop {
                out.push((len & 0x7f) as u8 | if len > 0x7f { 0x80 } else { 0 });
                len >>= 7;
                if len == 0 {
                    break;
                }
            }
            out.extend_from_slice(&module[range]);
        }
    }
    out
}

#[test]
fn parts_of_memory() {
    let p = Place::new();
    named(&p);
    let dump = |part: &str| p.ok(&["inspect", "job@2", "--memory", part]);
    let text = "\
00000400  68 65 6c 6c 6f 2c 20 64  6f 72 6d 6f 75 73 65 00  |hello, dormouse.|
00000410  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
00000442
";
    assert_eq!(dump("0x400..0x442").lines().count(), 5);
    assert_eq!(
        dump("0x400..0x442")
            .replace("00000440  00 00                                             |..|\n", ""),
        text
    );
    assert_eq!(
        dump("1029+3"),
        "00000405  2c 20 64                                          |, d|\n00000408\n"
    );
    assert_eq!(
        dump("1:0x1fff8+24"),
        "0001fff8  00 00 00 00 00 00 00 00  41 41 41 41 41 0a 00 00  |........AAAAA...|\n\
         00020008  00 00 00 00 00 00 00 00                           |........|\n00020010\n"
    );
    let index = ["inspect", "job@2", "--memory", "0x20000+2", "--memory-index", "1"];
    assert_eq!(p.ok(&index), dump("1:0x20000+2"));
    // Long zeros take no time, and what lies outside is not there.
    let all = dump("0..");
    assert!(all.ends_with("*\n00030000\n") && all.lines().count() < 20, "{all}");
    assert_eq!(dump("0x30000..0x40000"), "");
    let bytes = p.json(&["inspect", "job@2", "--json", "--memory", "0x3fc+8"]);
    assert_eq!(
        bytes,
        json!({ "memory": 0, "start": 0x3fc, "end": 0x404, "bytes": "0000000068656c6c" })
    );
    assert_eq!(
        p.dormouse(&["inspect", "job", "--memory", "2:0..1"]).error(),
        "the checkpoint has no memory 2"
    );
    let bad = p.dormouse(&["inspect", "job", "--memory", "ten"]);
    assert!(bad.code == Some(2) && bad.err.contains("ADDR..ADDR or ADDR+LENGTH"), "{}", bad.err);
    assert_eq!(p.dormouse(&["inspect", "job", "--memory-index", "1"]).code, Some(2));

    let strings = |args: &[&str]| p.ok(&[&["inspect", "job@2"], args].concat());
    assert_eq!(strings(&["--strings"]), "0:00000400  hello, dormouse\n1:00020000  AAAAA\n");
    assert_eq!(strings(&["--strings=6"]), "0:00000400  hello, dormouse\n");
    assert_eq!(strings(&["--strings", "--memory-index", "1"]), "00020000  AAAAA\n");
    assert_eq!(strings(&["--strings", "--memory", "0x407..0x40b"]), "00000407  dorm\n");
    let found = p.json(&["inspect", "job@2", "--strings", "--json"]);
    assert_eq!(found[0], json!({ "memory": 0, "address": 0x400, "text": "hello, dormouse" }));
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert_eq!(p.json(&["inspect", "job@2", "--strings=100", "--json"]), json!([]));
}

#[test]
fn what_changed() {
    let p = Place::new();
    named(&p);
    let diff =
        |from: &str, to: &str, args: &[&str]| p.dormouse(&[&["diff", from, to], args].concat());
    let changed = diff("job@1", "job@2", &["--json"]);
    assert_eq!(changed.code, Some(1), "{}", changed.err);
    let changes: Value = serde_json::from_str(&changed.out).unwrap();
    assert_eq!(changes["same"], false);
    let frames = &changes["frames"];
    assert_eq!((&frames["shared"], frames["returned"].as_array().unwrap().len()), (&json!(1), 102));
    assert_eq!(frames["called"][0]["name"], "dormouse.checkpoint");
    assert_eq!(frames["changed"][0]["after"]["locals"][0]["value"], "42");
    assert_eq!(
        changes["globals"],
        json!([{ "index": 0, "name": "counter",
            "before": { "type": "i32", "value": "0", "bits": "0x0" },
            "after": { "type": "i32", "value": "3", "bits": "0x3" } }])
    );
    assert_eq!(changes["tables"][0]["changed"], 1);
    assert_eq!(changes["tables"][0]["elements"][0]["at"], 2);
    assert_eq!(changes["tables"][0]["elements"][0]["after"]["value"], "down");
    assert_eq!(changes["memories"][0]["pages"], json!({ "before": 2, "after": 3 }));
    assert_eq!(
        changes["memories"][0]["ranges"],
        json!([{ "start": 0x3000, "end": 0x4000 }, { "start": 0x5000, "end": 0x7000 }])
    );
    assert_eq!(changes["memories"][1]["ranges"], json!([{ "start": 0x20000, "end": 0x21000 }]));
    assert_eq!(changes["dropped_data"], json!([1]));
    assert_eq!(
        diff("job@1", "job@2", &[]).out.lines().skip(2).collect::<Vec<_>>().join("\n"),
        CHANGED
    );
    // Two that differ only in where they stand; and one that is itself.
    let stands = diff("job@2", "job@3", &[]);
    assert_eq!(stands.code, Some(1));
    let frames = between(&stands.out, "frames", "-");
    let both = "\
frames      1 in both; 1 changed, 1 returned, 1 called
            - dormouse.checkpoint
            + dormouse.checkpoint
            - _start +0x52
            + _start +0x55
";
    assert_eq!(frames, both);
    let same = diff("job@2", "job@2", &[]);
    assert_eq!(same.code, Some(0));
    assert!(same.out.ends_with("same        they hold the same, but for clocks\n"), "{}", same.out);
    assert_eq!(
        serde_json::from_str::<Value>(&diff("job@2", "job@2", &["--json"]).out).unwrap()["same"],
        true
    );
    // Of another job of the same module; and of another module.
    let wasm = p.path("named.wasm");
    p.ok(&["run", "--name", "twin", wasm.to_str().unwrap()]);
    assert_eq!(diff("job@2", "twin@2", &[]).code, Some(0));
    looked_at(&p, "heat-O0");
    let other = diff("twin@2", "job@4", &[]);
    assert_eq!(other.code, Some(125));
    assert_eq!(other.error(), "twin@2 and job@4 are of different modules, and cannot be compared");
}

const CHANGED: &str = "\
frames      1 in both; 1 changed, 102 returned, 1 called
            - dormouse.checkpoint
            - down +0x12
            - down +0xe (100 times)
            + dormouse.checkpoint
            - _start +0x17
            + _start +0x52
                $x = 42
globals     counter: 0 -> 3 (i32)
table 0     1 of 6 entries changed
            2: null -> down
memory 0    3 of 48 pages of 4 KiB changed
            2 -> 3 pages of 64 KiB
            ░··█·██·········································
            0x3000..0x4000 (4.0 KiB)
            0x5000..0x7000 (8.0 KiB)
            · zero  ░ same  ▒ ▓ █ a little, much, all of it changed
memory 1    1 of 64 pages of 4 KiB changed
            ································█·······························
            0x20000..0x21000 (4.0 KiB)
dropped     data segment 1";

/// A program that writes a file and waits: what is open and what files hold.
#[test]
fn files_that_changed() {
    let p = Place::new();
    std::fs::create_dir(p.path("work")).unwrap();
    let body = r#"
      (i32.store (i32.const 1020) (call $open (i32.const 1024) (i32.const 3) (i32.const 1) (i32.const 0)))
      (drop (call $write (i32.load (i32.const 1020)) (i32.const 1030) (i32.const 5)))
      (drop (call $wait))
      (drop (call $write (i32.load (i32.const 1020)) (i32.const 1032) (i32.const 5)))
      (drop (call $open (i32.const 1027) (i32.const 3) (i32.const 1) (i32.const 0)))
      (drop (call $wait))"#;
    let data = r#"(data (i32.const 1024) "logend01234567")"#;
    let wasm = p.guest("files", &program::program(data, body));
    let mut job = p.start("job", &["--files", "copy", "--dir", "work::/work", &wasm]);
    let mut out = job.stdout.take().unwrap();
    read(&mut out, 1);
    p.ok(&["checkpoint", "job"]);
    std::io::Write::write_all(&mut job.stdin.as_ref().unwrap(), b"x").unwrap();
    read(&mut out, 1);
    p.ok(&["checkpoint", "job", "--stop"]);
    job.wait().unwrap();
    let changed = p.dormouse(&["diff", "job@1", "job@2", "--json"]);
    let changes: Value = serde_json::from_str(&changed.out).unwrap();
    let offsets = |c: &Value| (c["before"]["offset"].clone(), c["after"]["offset"].clone());
    let fds = changes["fds"].as_array().unwrap();
    let log = fds.iter().find(|fd| fd["after"]["path"] == "/work/log").unwrap();
    assert_eq!(offsets(log), (json!(5), json!(10)));
    let end = fds.iter().find(|fd| fd["after"]["path"] == "/work/end").unwrap();
    assert_eq!(end["before"], Value::Null);
    let files = changes["files"].as_array().unwrap();
    let sizes: Vec<_> = files.iter().map(|f| (&f["before"]["size"], &f["after"]["size"])).collect();
    assert_eq!(sizes, [(&Value::Null, &json!(0)), (&json!(5), &json!(10))], "{files:?}");
    let text = p.dormouse(&["diff", "job@1", "job@2"]).out;
    for part in
        ["- 4 file /work/log at 5 of 5", "+ 4 file /work/log at 10 of 10", "+ /work/end 0 B"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}
