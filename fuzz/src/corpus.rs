//! The files in `fuzz/corpus/TARGET`: inputs to begin with, and every input that once failed. A
//! `.wat` stands for the module it assembles to. The guests of the chaos tests
//! (`crates/engine/tests/wat`) are modules to begin with, too.

use std::path::{Path, PathBuf};

/// The inputs of a target, by path, in order of their names.
pub fn files(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    read_dir(&dir).into_iter().map(|path| (path.clone(), assemble(&path, ""))).collect()
}

/// The guests of the chaos tests.
pub fn guests() -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/engine/tests/wat");
    let prelude = std::fs::read_to_string(dir.join("prelude.txt")).expect("prelude.txt");
    let mut paths = read_dir(&dir);
    paths.retain(|p| p.extension().is_some_and(|e| e == "wat"));
    paths.into_iter().map(|path| (path.clone(), assemble(&path, &prelude))).collect()
}

fn read_dir(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return vec![] };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
}

fn assemble(path: &Path, prelude: &str) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if path.extension().is_none_or(|e| e != "wat") {
        return bytes;
    }
    let text = String::from_utf8(bytes).expect("UTF-8");
    // The guests are fields of a module that begins with the prelude, unless they say otherwise.
    let whole = text.lines().any(|l| l.starts_with("(module"));
    let text = if whole { text } else { format!("(module\n{prelude}{text})") };
    wat::parse_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
