//! The programs in `tests/wat`, what they print, and how they end.
#![allow(dead_code)] // Not every test needs all of it.

use dormouse_engine::Event;
use dormouse_wasi::{Stdio, StdioConfig, Wasi, WasiConfig};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a program prints.
pub type Output = Arc<Mutex<Vec<u8>>>;

pub fn stdio(out: &Output) -> StdioConfig {
    StdioConfig { stdout: Stdio::Buffer(out.clone()), ..StdioConfig::null() }
}

pub fn text(out: &Output) -> String {
    String::from_utf8_lossy(&out.lock().unwrap()).into_owned()
}

pub fn wasi(out: &Output) -> Wasi {
    let args = vec![b"test".to_vec()];
    Wasi::new(WasiConfig { args, stdio: stdio(out), ..WasiConfig::default() }).unwrap()
}

/// An end; of a trap only what it is, as the functions of another module are others.
pub fn comparable(end: &Event) -> String {
    match end {
        Event::Trapped(trap) => {
            let last = trap.lines().last().unwrap_or_default();
            trap.lines().rev().find(|line| line.contains("trap")).unwrap_or(last).trim().into()
        }
        Event::Aborted(trap) => trap.to_string(),
        other => format!("{other:?}"),
    }
}

/// The programs by name, in the order of their names.
pub fn guests() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wat");
    let prelude = include_str!("../wat/prelude.txt");
    let paths = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let guest = |path: &Path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = format!("(module\n{prelude}{})", std::fs::read_to_string(path).unwrap());
        let wasm = wat::parse_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        (name, wasm)
    };
    let mut guests: Vec<_> =
        paths.filter(|p| p.extension() == Some("wat".as_ref())).map(|p| guest(&p)).collect();
    guests.sort();
    assert!(guests.len() > 8, "only {} programs", guests.len());
    guests
}
