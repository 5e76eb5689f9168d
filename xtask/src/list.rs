//! guests/guests.toml, and the folder of hand-written .wat guests: what there is to build and how each guest is run.

use crate::setup::root;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fs;

/// One guest: a program, its arguments at two scales, and what it reads and writes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// What tests and benchmarks call it.
    pub name: String,
    /// The Wasm file's name without .wasm; the guest's own name if absent. Interpreters serve several guests.
    #[serde(default)]
    pub program: String,
    /// polybench, kernel, interactive, lua, python, sqlite or wat.
    pub kind: Kind,
    /// C source relative to guests/, for programs that are one C file.
    #[serde(default)]
    pub source: Option<String>,
    /// Extra compiler flags.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Files, relative to guests/, that are copied into the work directory before the run.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Files that the run leaves in the work directory.
    #[serde(default)]
    pub files: Vec<String>,
    /// Standard input (empty if absent).
    #[serde(default)]
    pub stdin: String,
    /// Arguments of a run well below a second.
    #[serde(default)]
    pub small: Vec<String>,
    /// Arguments of a run of some seconds, if there is one.
    #[serde(default)]
    pub large: Option<Vec<String>>,
    /// Engine stack that the large run needs, in bytes, where the default is too little.
    #[serde(default)]
    pub max_wasm_stack: Option<u64>,
    /// Not compared with an oracle by default: time or a person is part of it.
    #[serde(default)]
    pub interactive: bool,
    /// Ends with a trap (exit status 134 under the stock command). A .wat guest says so with `;;@traps`.
    #[serde(default)]
    pub traps: bool,
}

/// The kinds of guests.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Our own C kernels.
    #[default]
    Kernel,
    /// The thirty kernels of PolyBench, written anew.
    Polybench,
    /// Small C programs about input, sleep and files.
    Interactive,
    /// Lua 5.4 with a script.
    Lua,
    /// CPython 3.12 with a script.
    Python,
    /// SQLite with our driver.
    Sqlite,
    /// Hand-written text.
    Wat,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    guest: Vec<Guest>,
}

/// Reads the list and adds one guest for each .wat file.
pub fn read() -> Result<Vec<Guest>> {
    let folder = root().join("guests");
    let path = folder.join("guests.toml");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let List { guest: mut guests } =
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    for guest in &mut guests {
        if guest.program.is_empty() {
            guest.program = guest.name.clone();
        }
    }
    let mut texts: Vec<String> = fs::read_dir(folder.join("wat"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    texts.sort();
    for file in texts.iter().filter(|f| f.ends_with(".wat") && !f.starts_with('_')) {
        let name = format!("wat-{}", file.trim_end_matches(".wat"));
        let traps = fs::read_to_string(folder.join("wat").join(file))?.contains(";;@traps");
        guests.push(Guest {
            program: name.clone(),
            name,
            kind: Kind::Wat,
            source: Some(format!("wat/{file}")),
            traps,
            ..Guest::default()
        });
    }
    let mut names: Vec<_> = guests.iter().map(|g| &g.name).collect();
    names.sort();
    ensure!(names.windows(2).all(|w| w[0] != w[1]), "two guests of one name in {}", path.display());
    Ok(guests)
}
