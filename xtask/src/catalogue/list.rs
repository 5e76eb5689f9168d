//! guests/catalogue.toml: which programs there are, where they come from, and how they are run.

use super::guests;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs;
use std::path::PathBuf;

/// One program and one run of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// What the table calls it.
    pub name: String,
    /// What it is and does here, in a few words.
    pub what: String,
    /// interpreter, database, compiler, compressor, parser, numeric, EDA, media, text ...
    pub kind: String,
    /// What it is written in.
    pub language: String,
    /// `pypi:NAME@VERSION`, `npm:NAME@VERSION`, `crate:NAME@VERSION`; else only told, such as `debian:NAME@VERSION`.
    pub package: String,
    /// The .wasm file inside the package ...
    #[serde(default)]
    pub file: Option<String>,
    /// ... and its SHA-256;
    #[serde(default)]
    pub sha256: Option<String>,
    /// or the script, relative to guests/, that builds it.
    #[serde(default)]
    pub build: Option<String>,
    /// Text of a driver, relative to guests/, that makes a command of a library: see `graft`.
    #[serde(default)]
    pub driver: Option<String>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment, `KEY=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// A file relative to guests/ for standard input; empty without.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Files relative to guests/ that are copied into /work first.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Files that it leaves in /work, and that belong to its result.
    #[serde(default)]
    pub files: Vec<String>,
    /// More directories: `PATH::GUEST`, the path relative to the package.
    #[serde(default)]
    pub dirs: Vec<String>,
    /// Exit status.
    #[serde(default)]
    pub exit: i32,
    /// Under chaos it is captured after at most this many safepoints (at random, with the seed below).
    #[serde(default)]
    pub gap: u32,
    /// Of the gaps.
    #[serde(default = "one")]
    pub seed: u64,
    /// Over so soon that it may end before it can be killed.
    #[serde(default)]
    pub brief: bool,
    /// Among those that continuous integration tries.
    #[serde(default)]
    pub ci: bool,
    /// How it is run for its speed, if it is.
    #[serde(default)]
    pub bench: Option<Bench>,
    /// It is refused, in a message that has these words.
    #[serde(default)]
    pub refused: Option<String>,
    /// Digest of exit status, standard output and files: see `Left::digest`.
    #[serde(default)]
    pub expect: String,
}

/// A run of about half a second, for `cargo xtask bench overhead`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bench {
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Files relative to guests/, or SQLite's source `sqlite3.c`, that are copied into /work first.
    #[serde(default)]
    pub inputs: Vec<String>,
}

fn one() -> u64 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    program: Vec<Program>,
}

fn path() -> PathBuf {
    guests("catalogue.toml")
}

/// Reads and checks the list.
pub fn read() -> Result<Vec<Program>> {
    let path = path();
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let List { program: programs } =
        toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    for (i, p) in programs.iter().enumerate() {
        ensure!(
            programs[..i].iter().all(|q| q.name != p.name),
            "two programs are called {} in {}",
            p.name,
            path.display()
        );
        ensure!(
            p.build.is_some() || (p.file.is_some() && p.sha256.is_some()),
            "{} in {} has neither `build` nor both `file` and `sha256`",
            p.name,
            path.display()
        );
        ensure!(
            p.refused.is_some() || p.gap > 0,
            "{} in {} has no `gap` for chaos",
            p.name,
            path.display()
        );
    }
    Ok(programs)
}

/// Puts a digest into the list, leaving all else of the file as it is.
pub fn bless(name: &str, digest: &str) -> Result<()> {
    let path = path();
    let text = fs::read_to_string(&path)?;
    let line = format!("expect = \"{digest}\"");
    let mut out = vec![];
    let (mut inside, mut done) = (false, false);
    for old in text.lines() {
        if old.starts_with("[[") || old.trim().is_empty() {
            if inside && !done {
                out.push(line.as_str());
                done = true;
            }
            inside = false;
        }
        inside |= old == format!("name = \"{name}\"");
        if inside && old.starts_with("expect = ") {
            out.push(line.as_str());
            done = true;
        } else {
            out.push(old);
        }
    }
    if inside && !done {
        out.push(line.as_str());
    }
    fs::write(&path, out.join("\n") + "\n")?;
    println!("{name}: expect = \"{digest}\"");
    Ok(())
}
