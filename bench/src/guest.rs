//! Guests as `cargo xtask guests` left them in target/guests, those that `cargo xtask bench overhead` adds to them, and a place
//! to run them in.

use anyhow::{Context, Result, ensure};
use dormouse_wasi::{Stdio, StdioConfig, Wasi, WasiConfig};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// One entry of target/guests/guests.json; the fields the benchmarks need.
#[derive(Clone, Deserialize)]
pub struct Guest {
    pub name: String,
    pub kind: String,
    pub wasm: String,
    #[serde(default)]
    pub inputs: Vec<String>,
    #[serde(default)]
    pub stdin: String,
    pub small: Run,
    #[serde(default)]
    pub large: Option<Run>,
}

#[derive(Clone, Deserialize)]
pub struct Run {
    pub args: Vec<String>,
}

/// What a guest has printed.
pub type Output = Arc<Mutex<Vec<u8>>>;

pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[derive(Default, Deserialize)]
struct List {
    guests: Vec<Guest>,
    /// What could not be had, and why.
    #[serde(default)]
    missing: Vec<String>,
}

fn list(name: &str) -> Result<List> {
    let path = root().join("target/guests").join(name);
    let text = std::fs::read(&path)
        .with_context(|| format!("no {}; run `cargo xtask guests` first", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

pub fn all() -> Result<Vec<Guest>> {
    Ok(list("guests.json")?.guests)
}

/// Programs of the catalogue that are run for their speed too.
fn borrowed() -> List {
    list("bench.json").unwrap_or_default()
}

/// Of those, the ones that could not be had.
pub fn missing() -> Result<Vec<String>> {
    Ok(list("bench.json")?.missing)
}

/// What kind of program it is, as tables are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    PolyBench,
    Small,
    Real,
}

impl Group {
    pub const ALL: [Group; 3] = [Group::PolyBench, Group::Small, Group::Real];

    pub fn name(self) -> &'static str {
        match self {
            Group::PolyBench => "PolyBench kernels",
            Group::Small => "small programs",
            Group::Real => "real programs",
        }
    }
}

/// Those that are run for their speed, or those named.
pub fn chosen(names: &[&str]) -> Result<Vec<Guest>> {
    let mut known = all()?;
    known.extend(borrowed().guests);
    for name in names {
        ensure!(
            known.iter().any(|g| g.name == *name),
            "no guest is called {name}; see target/guests/guests.json"
        );
    }
    let kinds = ["polybench", "kernel", "lua", "sqlite", "python", "catalogue"];
    let wanted = |g: &Guest| match names {
        [] => kinds.contains(&g.kind.as_str()) && (g.large.is_some() || g.kind == "catalogue"),
        names => names.contains(&g.name.as_str()),
    };
    Ok(known.into_iter().filter(wanted).collect())
}

impl Guest {
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let path = root().join(&self.wasm);
        std::fs::read(&path).with_context(|| path.display().to_string())
    }

    pub fn group(&self) -> Group {
        match self.kind.as_str() {
            "polybench" => Group::PolyBench,
            "kernel" => Group::Small,
            _ => Group::Real,
        }
    }

    /// A fresh work directory with the guest's inputs.
    pub fn work(&self) -> Result<tempfile::TempDir> {
        let work = tempfile::tempdir()?;
        for input in &self.inputs {
            let from = root().join(input);
            let name = from.file_name().context("an input has no name")?;
            std::fs::copy(&from, work.path().join(name))
                .with_context(|| from.display().to_string())?;
        }
        Ok(work)
    }

    /// A fresh work directory, and WASI objects that see it as /work.
    pub fn wasi(&self, args: &[String]) -> Result<(Wasi, tempfile::TempDir, Output)> {
        let work = self.work()?;
        let out = Arc::new(Mutex::new(vec![]));
        let stdio = StdioConfig {
            stdin: Stdio::Bytes(self.stdin.clone().into_bytes()),
            stdout: Stdio::Buffer(out.clone()),
            stderr: Stdio::Null,
        };
        let mut all = vec![self.name.clone().into_bytes()];
        all.extend(args.iter().map(|a| a.clone().into_bytes()));
        let dirs = vec![(work.path().to_path_buf(), "/work".to_string())];
        let wasi = Wasi::new(WasiConfig { args: all, dirs, stdio, ..WasiConfig::default() })?;
        Ok((wasi, work, out))
    }
}
