//! `dormouse` as it pushes and pulls, with nobody's credentials but a test's own.

use crate::harness::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `bulky` prints in the end, with another number of steps.
pub const STEPS: &str = "(i64.const 2000000)";

/// A place without anybody's credentials, and with a job `heat` of a megabyte that cannot be compressed.
pub fn place(checkpoints: u64) -> (Place, String) {
    let p = Place::new();
    let program = p.guest("heat", &bulky().replace("(i64.const 600000000)", STEPS));
    let plain = p.ok(&["run", &program]);
    // There are 131072 safepoints for the megabyte: all but the last of it.
    for n in 1..=checkpoints {
        let at = (120_000 + 4000 * n).to_string();
        let stopped = p.dormouse(&["run", "--name", "heat", "--stop-at", &at, &program]);
        assert_eq!(stopped.code, Some(85), "{}", stopped.err);
    }
    (p, plain)
}

pub fn command(p: &Place, args: &[&str]) -> Command {
    let mut command = p.command(args);
    command.env("DOCKER_CONFIG", p.path("docker")).env("HOME", p.path("home"));
    for variable in ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"] {
        command.env_remove(variable);
    }
    for variable in
        ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
    {
        command.env_remove(variable);
    }
    command
}

pub fn dormouse(p: &Place, args: &[&str]) -> Ended {
    Ended::of(command(p, args).output().unwrap())
}

pub fn ok(p: &Place, args: &[&str]) -> String {
    let ended = dormouse(p, args);
    assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.err);
    ended.out
}

pub fn json(p: &Place, args: &[&str]) -> Value {
    serde_json::from_str(&ok(p, &[args, &["--json"]].concat())).unwrap()
}

pub fn refused(p: &Place, args: &[&str], parts: &[&str]) {
    let ended = dormouse(p, args);
    assert_eq!(ended.code, Some(125), "{args:?}: {}", ended.err);
    for part in parts {
        assert!(ended.error().contains(part), "{args:?}: {part}: {}", ended.err);
    }
}

/// Digest and size of the largest blob, a memory.
pub fn memory(p: &Place, number: u64) -> (String, u64) {
    let manifest = manifest(&p.store(), number);
    let layer = &manifest["layers"][1];
    (layer["digest"].as_str().unwrap().to_owned(), layer["size"].as_u64().unwrap())
}

pub fn manifest(store: &Path, number: u64) -> Value {
    let index = std::fs::read(store.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let name = format!("heat@{number}");
    let entries = index["manifests"].as_array().unwrap();
    let entry =
        entries.iter().find(|e| e["annotations"]["org.opencontainers.image.ref.name"] == *name);
    let digest = entry.unwrap()["digest"].as_str().unwrap();
    serde_json::from_slice(&std::fs::read(blob(store, digest)).unwrap()).unwrap()
}

pub fn blob(store: &Path, digest: &str) -> PathBuf {
    store.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

pub fn part(store: &Path, digest: &str) -> PathBuf {
    store.join("blobs/sha256").join(digest.replace("sha256:", ".part-"))
}

pub fn manifest_digest(p: &Place, number: u64) -> String {
    let list = p.json(&["list", "heat", "--json"]);
    let all = list.as_array().unwrap();
    let found = all.iter().find(|c| c["number"] == number).unwrap();
    found["digest"].as_str().unwrap().to_owned()
}
