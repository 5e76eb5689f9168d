//! Compiled code on disk: kept, bounded, and shared by processes that run at the same time.
#![allow(missing_docs)]

mod harness;

use harness::*;
use std::path::Path;
use std::process::Stdio;

/// Bytes and number of the files of compiled code.
fn kept(cache: &Path) -> (u64, usize) {
    let sizes: Vec<u64> = std::fs::read_dir(cache)
        .unwrap()
        .flat_map(|engine| std::fs::read_dir(engine.unwrap().path()).unwrap())
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    (sizes.iter().sum(), sizes.len())
}

/// A module like no other.
fn exits_with(p: &Place, status: u8) -> String {
    p.guest(&format!("exit{status}"), &EXIT.replace("i32.const 42", &format!("i32.const {status}")))
}

#[test]
fn the_cache_stays_in_its_bounds_whoever_uses_it() {
    let p = Place::new();
    let cache = p.path("cache");
    let one = exits_with(&p, 1);
    assert_eq!(p.dormouse(&["run", "--cache", "cache", &one]).code, Some(1));
    let (size, files) = kept(&cache);
    assert_eq!(files, 1);
    let bound = (size * 3).to_string();
    let args = |module: &str| {
        ["run", "--cache", "cache", "--cache-size", &bound, module].map(str::to_owned)
    };
    // Two at a time, of eight that do not all fit.
    for round in 0..3u8 {
        for pair in 1..5u8 {
            let statuses = [pair, pair + 4];
            let children = statuses.map(|status| {
                let args = args(&exits_with(&p, status));
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                p.command(&args).stderr(Stdio::piped()).spawn().unwrap()
            });
            for (status, child) in statuses.into_iter().zip(children) {
                let ended = Ended::wait(child);
                assert_eq!(ended.code, Some(status.into()), "round {round}: {}", ended.err);
                assert_eq!(ended.err, "");
            }
        }
        let (all, files) = kept(&cache);
        assert!(all <= size * 3, "{all} bytes in {files} files");
        assert!(files > 0);
    }
}

#[test]
fn a_program_that_does_not_fit_runs_all_the_same() {
    let p = Place::new();
    let one = exits_with(&p, 1);
    let ended = p.dormouse(&["run", "--cache", "cache", "--cache-size", "0", &one]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(1), ""));
    assert_eq!(kept(&p.path("cache")).1, 0);
    let ended = p.dormouse(&["run", "--cache", "cache", "--cache-size", "much", &one]);
    assert!(ended.err.contains("write a number of bytes"), "{}", ended.err);
}
