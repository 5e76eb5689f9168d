//! Fuzz targets: functions of arbitrary bytes that panic if something is wrong.
//!
//! ```text
//!   seed ──Target::input──> bytes ──Target::run──> counts (`tally`), or a panic
//!            from nothing, or a mutated file of the corpus
//! ```
//!
//! They need no other tool than Rust itself: `main.rs` runs them (`cargo xtask fuzz`). Since each is
//! a `fn(&[u8])`, cargo-fuzz or AFL can wrap them too:
//! `fuzz_target!(|data: &[u8]| (dormouse_fuzz::target("modules").unwrap().run)(data))`.

pub mod allocation;
pub mod continuations;
pub mod corpus;
pub mod module_decoder;
pub mod modules;
pub mod mutate;
pub mod random;
pub mod reduce;
pub mod state_decoder;
pub mod store;
pub mod tally;
pub mod wasi_decoder;

use random::Random;

/// Something that can be fuzzed.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it checks.
    pub about: &'static str,
    /// Checks one input.
    pub run: fn(&[u8]),
    /// The input of a seed.
    pub input: fn(u64) -> Vec<u8>,
    /// What is worth being kept of an input that fails, and how such a file's name ends.
    pub keep: fn(&[u8]) -> (Vec<u8>, &'static str),
    /// Share of the time, in percent.
    pub share: u32,
}

/// All of them.
pub static TARGETS: &[Target] = &[
    Target {
        name: "modules",
        about: "random modules: plain, transformed and captured runs agree",
        run: modules::run,
        input: |seed| Random(seed).bits().to_le_bytes().to_vec(),
        keep: |input| (modules::module(input).unwrap_or_else(|| input.to_vec()), "wasm"),
        share: 50,
    },
    Target {
        name: "continuations",
        about: "frames and made-up states: come back as they were, or are refused",
        run: continuations::run,
        input: Random::input,
        keep: as_it_is,
        share: 10,
    },
    Target {
        name: "module-decoder",
        about: "damaged modules: refused by name, or what is made of them is valid",
        run: module_decoder::run,
        input: module_decoder::input,
        keep: |input| (input.to_vec(), "wasm"),
        share: 10,
    },
    Target {
        name: "state-decoder",
        about: "damaged states: refused, or encoded to the same bytes again",
        run: state_decoder::run,
        input: state_decoder::input,
        keep: as_it_is,
        share: 10,
    },
    Target {
        name: "wasi-decoder",
        about: "damaged WASI objects: refused, or restored and saved again",
        run: wasi_decoder::run,
        input: wasi_decoder::input,
        keep: as_it_is,
        share: 10,
    },
    Target {
        name: "store",
        about: "damaged stores and memory layers: opened, verified, loaded, saved to",
        run: store::run,
        input: Random::input,
        keep: as_it_is,
        share: 10,
    },
];

fn as_it_is(input: &[u8]) -> (Vec<u8>, &'static str) {
    (input.to_vec(), "bin")
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|t| t.name == name)
}
