//! The examples of the library: each asserts what it claims, and prints what is looked at here.
#![allow(missing_docs)]

use std::path::PathBuf;
use std::process::Command;

/// Runs an example to its end; what it printed.
fn example(name: &str) -> String {
    // Built beside this test: .../release/deps/examples-..., .../release/examples/NAME.
    let test = std::env::current_exe().unwrap();
    let folder: PathBuf = test.ancestors().nth(2).unwrap().join("examples");
    let path = folder.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "no {}: run `cargo build --release --workspace --examples`",
        path.display()
    );
    let out = Command::new(path).output().unwrap();
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name}: {err}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn host_functions() {
    let out = example("host_functions");
    let lines: Vec<&str> = out.lines().collect();
    let rolls = |line: &str| line.split_once(": ").unwrap().1.to_owned();
    assert_eq!(rolls(lines[0]).len(), 20);
    assert_eq!(rolls(lines[0]), rolls(lines[1]));
    assert!(lines[2].contains("`dice.roll`, `table.show`"), "{}", lines[2]);
}

#[test]
fn custom_store() {
    let out = example("custom_store");
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("count@1 is not: the depot cannot put blobs/sha256/"), "{out}");
    assert!(lines[0].ends_with("the server has hiccups"), "{out}");
    assert!(out.contains("count@4 is in the depot: "), "{out}");
    assert_eq!(lines.last(), Some(&"count goes on elsewhere"));
}

#[test]
fn migrate() {
    let out = example("migrate");
    let said = |who: &str| -> Vec<u32> {
        out.lines().filter_map(|l| l.strip_prefix(who)?.strip_prefix(": ")?.parse().ok()).collect()
    };
    let (before, after) = (said("sender"), said("receiver"));
    assert!(before.len() >= 5 && !after.is_empty(), "{out}");
    assert_eq!([before, after].concat(), (1..=12).collect::<Vec<_>>());
    assert!(out.ends_with("receiver: Exited(78)\n"), "{out}");
}
