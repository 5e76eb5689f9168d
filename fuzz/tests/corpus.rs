//! Every file of the corpus through its target, and some seeds of each: what failed once must not
//! fail again, and a target that cannot fail would be noticed.

use dormouse_fuzz::{TARGETS, corpus, modules, tally, wasi_decoder};

///
/// `BLESS=1` first writes the samples anew that are made and not found.
#[test]
fn the_corpus() {
    if std::env::var_os("BLESS").is_some() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/wasi-decoder");
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(format!("{dir}/sample.bin"), wasi_decoder::sample()).unwrap();
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/module-decoder");
        std::fs::create_dir_all(dir).unwrap();
        let small = |seed: u64| modules::module(&seed.to_le_bytes()).filter(|m| m.len() < 6000);
        for (seed, wasm) in (0..).filter_map(|seed| Some((seed, small(seed)?))).take(12) {
            std::fs::write(format!("{dir}/generated-{seed}.wasm"), wasm).unwrap();
        }
    }
    for target in TARGETS {
        let files = corpus::files(target.name);
        for (path, bytes) in &files {
            println!("{}", path.display());
            (target.run)(bytes);
        }
        println!("{}: {} files, {:?}", target.name, files.len(), tally::take());
    }
}

/// The first seeds of each target do what the target is for.
#[test]
fn some_seeds() {
    let what = [
        ("modules", 12, ["captures", "runs"]),
        ("continuations", 300, ["frames", "resumed"]),
        ("module-decoder", 300, ["accepted", "invalid"]),
        ("state-decoder", 2000, ["accepted", "refused"]),
        ("wasi-decoder", 500, ["restored", "refused"]),
        ("store", 60, ["loaded", "refused layers"]),
    ];
    assert!(what.iter().map(|w| w.0).eq(TARGETS.iter().map(|t| t.name)));
    for ((_, seeds, counted), target) in what.into_iter().zip(TARGETS) {
        for seed in 1..=seeds {
            (target.run)(&(target.input)(seed));
        }
        let tally = tally::take();
        println!("{}: {tally:?}", target.name);
        for c in counted {
            assert!(tally.get(c).is_some_and(|n| *n > 0), "{}: no {c}", target.name);
        }
    }
}

/// The same seed is the same input, or failures could not be repeated.
#[test]
fn seeds_repeat() {
    for target in TARGETS {
        for seed in [1, 77, 1 << 40] {
            let first = (target.input)(seed);
            (target.input)(seed + 1);
            assert!((target.input)(seed) == first, "{} seed {seed}", target.name);
        }
    }
}
