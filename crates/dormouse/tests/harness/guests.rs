//! The programs of `cargo xtask guests`, and what the stock wasmtime command did with them.

use super::root;
use dormouse_store::{hex, sha256};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// One entry of target/guests/guests.json.
pub struct Guest {
    pub name: String,
    pub kind: String,
    pub wasm: PathBuf,
    pub inputs: Vec<PathBuf>,
    pub files: Vec<String>,
    pub stdin: String,
    pub stack: Option<u64>,
    pub args: Vec<String>,
    pub expected: Value,
}

pub fn guests() -> Vec<Guest> {
    let path = root().join("target/guests/guests.json");
    let text = fs::read(&path)
        .unwrap_or_else(|e| panic!("no {}: {e}; run `cargo xtask guests` first", path.display()));
    let all: Value = serde_json::from_slice(&text).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let texts = |v: &Value| v.as_array().unwrap().iter().map(text).collect::<Vec<_>>();
    let one = |g: &Value| Guest {
        name: text(&g["name"]),
        kind: text(&g["kind"]),
        wasm: root().join(text(&g["wasm"])),
        inputs: texts(&g["inputs"]).iter().map(|i| root().join(i)).collect(),
        files: texts(&g["files"]),
        stdin: text(&g["stdin"]),
        stack: g["max_wasm_stack"].as_u64(),
        args: texts(&g["small"]["args"]),
        expected: g["small"]["expected"].clone(),
    };
    all["guests"].as_array().unwrap().iter().map(one).collect()
}

/// One guest, at a scale of its own.
pub fn guest(name: &str, args: &[&str]) -> Guest {
    let found = guests().into_iter().find(|g| g.name == name);
    let mut guest = found.unwrap_or_else(|| {
        panic!("target/guests/guests.json has no {name}; run `cargo xtask guests`")
    });
    guest.args = args.iter().map(|a| (*a).to_owned()).collect();
    guest
}

pub fn digest(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}
