//! Feature by feature: the smallest module that needs it, and what the transform says to that.
//!
//! The parser's list of features is the yardstick: a test fails if one of them has no probe here, or
//! if a probe does not need its feature.

use anyhow::{Context, Result};
use dormouse_transform::{Error, Options, Program};
use std::fmt::Write as _;

/// What is asked of the transform.
struct Probe {
    /// The parser's name of the feature; empty for what is no feature of the parser.
    feature: &'static str,
    /// For the page.
    title: &'static str,
    /// A module that needs it.
    text: &'static str,
}

const fn probe(feature: &'static str, title: &'static str, text: &'static str) -> Probe {
    Probe { feature, title, text }
}

/// In the order of the standard's versions; proposals last.
const PROBES: &[Probe] = &[
    probe(
        "",
        "Wasm 1.0",
        "(module (memory 1) (func (export \"_start\") (loop (br_if 0 (i32.load (i32.const 0))))))",
    ),
    probe(
        "mutable_global",
        "mutable globals, exported",
        "(module (global (export \"g\") (mut i32) (i32.const 0)) (func (export \"_start\")))",
    ),
    probe(
        "saturating_float_to_int",
        "saturating conversions of floats",
        "(module (func (export \"_start\") (drop (i32.trunc_sat_f32_s (f32.const 1)))))",
    ),
    probe(
        "sign_extension",
        "sign extension",
        "(module (func (export \"_start\") (drop (i32.extend8_s (i32.const 1)))))",
    ),
    probe(
        "multi_value",
        "multiple values",
        "(module (func $f (result i32 i32) (i32.const 1) (i32.const 2)) (func (export \"_start\") (call $f) (drop) (drop)))",
    ),
    probe(
        "reference_types",
        "reference types, several tables",
        "(module (table 1 funcref) (table $t 1 externref) (func (export \"_start\") (drop (table.grow $t (ref.null extern) (i32.const 1)))))",
    ),
    probe(
        "bulk_memory",
        "bulk memory: passive segments",
        "(module (memory 1) (data $d \"x\") (func (export \"_start\") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)))",
    ),
    probe(
        "bulk_memory_opt",
        "bulk memory: copy and fill",
        "(module (memory 1) (func (export \"_start\") (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
    ),
    probe(
        "simd",
        "SIMD",
        "(module (func (export \"_start\") (local v128) (loop (local.set 0 (i32x4.add (local.get 0) (local.get 0))) (br 0))))",
    ),
    probe("tail_call", "tail calls", "(module (func $f (export \"_start\") (return_call $f)))"),
    probe(
        "extended_const",
        "extended constant expressions",
        "(module (global i32 (i32.add (i32.const 1) (i32.const 2))) (func (export \"_start\")))",
    ),
    probe(
        "multi_memory",
        "multiple memories",
        "(module (memory 1) (memory $m 1) (func (export \"_start\") (loop (br_if 0 (i32.load $m (i32.const 0))))))",
    ),
    probe(
        "exceptions",
        "exception handling (`try_table`)",
        "(module (tag $e (param i32)) (func $f (loop (br_if 0 (i32.const 0))) (throw $e (i32.const 1))) (func (export \"_start\") (block $h (result i32) (try_table (catch $e $h) (call $f)) (i32.const 0)) (drop)))",
    ),
    probe(
        "",
        "exception handling, an `exnref` kept across a call (clean-up code of C++)",
        "(module (tag $e) (func $f (loop (br_if 0 (i32.const 0)))) (func (export \"_start\") (block $h (result exnref) (try_table (catch_all_ref $h) (call $f)) (return)) (call $f) (throw_ref)))",
    ),
    probe(
        "memory64",
        "memory64",
        "(module (memory i64 1) (func (export \"_start\") (loop (br_if 0 (i32.load (i64.const 0))))))",
    ),
    probe(
        "relaxed_simd",
        "relaxed SIMD",
        "(module (func (export \"_start\") (local v128) (local.set 0 (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0)))))",
    ),
    probe(
        "function_references",
        "typed function references",
        "(module (type $t (func)) (elem declare func $f) (func $f (type $t)) (func (export \"_start\") (call_ref $t (ref.func $f))))",
    ),
    probe(
        "gc",
        "garbage-collected structures and arrays",
        "(module (type $s (struct (field i32))) (func (export \"_start\") (drop (struct.new $s (i32.const 1)))))",
    ),
    probe(
        "legacy_exceptions",
        "legacy exception handling (`try`, `catch`)",
        "(module (tag $e) (func $f (loop (br_if 0 (i32.const 0)))) (func (export \"_start\") try call $f catch $e end))",
    ),
    probe(
        "threads",
        "threads: shared memory",
        "(module (memory 1 1 shared) (func (export \"_start\") (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))",
    ),
    probe(
        "",
        "threads: atomic instructions on a memory that is not shared",
        "(module (memory 1 1) (func (export \"_start\") (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))",
    ),
    probe(
        "wide_arithmetic",
        "wide arithmetic",
        "(module (func (export \"_start\") (i64.const 1) (i64.const 1) (i64.const 1) (i64.const 1) (i64.add128) (drop) (drop)))",
    ),
    probe(
        "custom_page_sizes",
        "custom page sizes",
        "(module (memory 1 (pagesize 1)) (func (export \"_start\")))",
    ),
    probe(
        "stack_switching",
        "stack switching",
        "(module (type $f (func)) (type $c (cont $f)) (elem declare func $g) (func $g (type $f)) (func (export \"_start\") (resume $c (cont.new $c (ref.func $g)))))",
    ),
    probe(
        "shared_everything_threads",
        "shared-everything threads",
        "(module (global (shared i32) (i32.const 0)) (func (export \"_start\")))",
    ),
    probe(
        "memory_control",
        "memory control",
        "(module (memory 1) (func (export \"_start\") (memory.discard (i32.const 0) (i32.const 0))))",
    ),
    probe(
        "custom_descriptors",
        "custom descriptors",
        "(module (rec (type $a (descriptor $b) (struct)) (type $b (describes $a) (struct))) (func (export \"_start\")))",
    ),
    probe("component_model", "components (WASI preview 2 and 3)", "(component)"),
    probe(
        "",
        "an imported memory",
        "(module (import \"env\" \"memory\" (memory 1)) (func (export \"_start\")))",
    ),
];

/// The page's table. The verdicts are the transform's, in its words.
pub fn table() -> Result<String> {
    let mut out = "| feature | verdict |\n|---|---|\n".to_owned();
    for p in PROBES {
        let words = match refusal(p)? {
            None => "works".to_owned(),
            Some(error) => format!("refused: \"{}\"", words(&error)),
        };
        let name = match p.feature {
            "" => String::new(),
            name => format!(" (`{}`)", name.replace('_', "-")),
        };
        writeln!(out, "| {}{name} | {words} |", p.title)?;
    }
    Ok(out)
}

/// What the transform says against it.
fn refusal(p: &Probe) -> Result<Option<Error>> {
    let bytes = wat::parse_str(p.text).with_context(|| format!("the probe of {}", p.title))?;
    let done = Program::new(bytes.into(), &Options::default()).and_then(|p| {
        p.check()?;
        p.instrument()
    });
    Ok(done.err())
}

/// An error's words, without the offset, which says nothing here.
fn words(error: &Error) -> String {
    let text = error.to_string().replace('\n', " ").replace('|', "\\|");
    let Some((before, rest)) = text.split_once(" (at offset 0x") else { return text };
    format!("{before}{}", rest.split_once(')').map_or("", |(_, after)| after))
}

#[cfg(test)]
mod tests {
    use super::PROBES;
    use wasmparser::{Validator, WasmFeatures};

    /// Not features of modules, or only an encoding.
    const OTHERS: [&str; 4] = ["floats", "gc_types", "call_indirect_overlong", "compact_imports"];

    #[test]
    fn every_feature_of_the_parser_has_a_probe_that_needs_it() {
        for (name, flag) in WasmFeatures::all().iter_names() {
            let name = name.to_ascii_lowercase();
            if OTHERS.contains(&name.as_str()) || name.starts_with("cm") {
                continue;
            }
            let probe = PROBES.iter().find(|p| p.feature == name);
            let probe = probe.unwrap_or_else(|| panic!("no probe of {name}"));
            let bytes = wat::parse_str(probe.text).unwrap_or_else(|e| panic!("{name}: {e}"));
            let valid = |f| Validator::new_with_features(f).validate_all(&bytes).is_ok();
            let all = WasmFeatures::all();
            assert!(valid(all), "the probe of {name} is not valid");
            // A feature may bring others along (bulk memory brings copy and fill): only itself is taken away.
            let only = if name == "bulk_memory" {
                WasmFeatures::from_bits_retain(1 << 5)
            } else if name == "reference_types" {
                WasmFeatures::from_bits_retain(1 << 3)
            } else {
                flag
            };
            assert!(!valid(all - only), "the probe of {name} does not need it");
        }
    }
}
