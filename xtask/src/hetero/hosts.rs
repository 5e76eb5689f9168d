//! The hosts: how Dormouse is built for each, and run.

use super::folder;
use crate::setup::{root, run_command};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

struct Kind {
    name: &'static str,
    /// Debian's name of the architecture, and Rust's of the target; this machine if there are none.
    foreign: Option<(&'static str, &'static str)>,
    interpret: bool,
}

const KINDS: [Kind; 6] = [
    Kind { name: "x86-64", foreign: None, interpret: false },
    Kind { name: "pulley", foreign: None, interpret: true },
    Kind { name: "i686", foreign: Some(("i386", "i686-unknown-linux-gnu")), interpret: false },
    Kind { name: "s390x", foreign: Some(("s390x", "s390x-unknown-linux-gnu")), interpret: false },
    Kind {
        name: "aarch64",
        foreign: Some(("arm64", "aarch64-unknown-linux-gnu")),
        interpret: false,
    },
    Kind {
        name: "armv7",
        foreign: Some(("armhf", "armv7-unknown-linux-gnueabihf")),
        interpret: false,
    },
];

/// A host that Dormouse can be run on.
pub struct Host {
    pub name: &'static str,
    /// An emulator, if it takes one, then the binary.
    words: Vec<String>,
    interpret: bool,
    /// Addresses have 32 bits.
    pub narrow: bool,
    /// Compiled code: no two hosts can use the same.
    cache: PathBuf,
}

impl Host {
    /// `dormouse SUBCOMMAND` there, with the options of `run` and `resume`.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).arg(subcommand).arg("--cache").arg(&self.cache);
        if self.interpret {
            command.arg("--interpret");
        }
        command.env_remove("RUST_BACKTRACE").env_remove("DORMOUSE_LOG");
        command
    }
}

/// Builds for these hosts (all, if there are none). A machine where foreign ones cannot be had gets the others, and a
/// loud message, unless they were `named` by whoever asks.
pub fn ready(names: &[String], builds: bool, named: bool) -> Result<Vec<Host>> {
    for name in names {
        ensure!(KINDS.iter().any(|k| k.name == name), "no host is called {name}");
    }
    let wanted: Vec<&Kind> =
        KINDS.iter().filter(|k| names.is_empty() || names.iter().any(|n| n == k.name)).collect();
    let foreign: Vec<_> = wanted.iter().filter_map(|k| k.foreign).collect();
    let env = match foreign.is_empty() {
        true => BTreeMap::new(),
        false => match tools(&foreign) {
            Err(e) if named => return Err(e),
            Err(e) => {
                let line = "#".repeat(80);
                eprintln!("{line}\nWARNING: {e:#}");
                eprintln!(
                    "WARNING: hosts that are not this machine's own kind are LEFT OUT\n{line}"
                );
                BTreeMap::new()
            }
            Ok(env) => env,
        },
    };
    if builds {
        crate::test::build()?;
    }
    let mut hosts = vec![];
    for kind in wanted {
        let mut words = vec![];
        let binary = match kind.foreign {
            None => root().join("target/release/dormouse"),
            Some(_) if env.is_empty() => continue,
            Some((_, target)) => {
                let key = target.replace('-', "_").to_uppercase();
                let runner = env.get(&format!("CARGO_TARGET_{key}_RUNNER"));
                words.extend(runner.iter().flat_map(|r| r.split_whitespace()).map(String::from));
                if builds {
                    build(target, &env).with_context(|| format!("building for {target}"))?;
                }
                built(target)?
            }
        };
        words.push(binary.display().to_string());
        let cache = folder()?.join("cache").join(kind.name);
        let narrow = matches!(kind.name, "i686" | "armv7");
        hosts.push(Host { name: kind.name, words, interpret: kind.interpret, narrow, cache });
    }
    Ok(hosts)
}

/// Compilers, libraries and emulators: hetero/setup.sh, once. What it says of them.
fn tools(foreign: &[(&str, &str)]) -> Result<BTreeMap<String, String>> {
    let tools = folder()?.join("tools");
    // All that were ever asked for stay.
    let known = fs::read_to_string(tools.join("arches")).unwrap_or_default();
    let mut arches: Vec<&str> = known.split_whitespace().collect();
    arches.extend(foreign.iter().map(|f| f.0));
    arches.sort();
    arches.dedup();
    let mut setup = Command::new("bash");
    setup.arg(root().join("hetero/setup.sh")).arg(&tools).args(&arches);
    let status = setup.status().context("bash")?;
    if !status.success() {
        bail!("hetero/setup.sh: {status}");
    }
    fs::write(tools.join("arches"), arches.join(" "))?;
    let text = fs::read_to_string(tools.join("env"))?;
    let pair = |line: &str| line.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    Ok(text.lines().filter_map(pair).collect())
}

fn built(target: &str) -> Result<PathBuf> {
    Ok(folder()?.join("build").join(target).join("hetero/dormouse"))
}

fn build(target: &str, env: &BTreeMap<String, String>) -> Result<()> {
    let out = folder()?.join("build");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    // A toolchain of rustup's would bring a compiler of its own.
    build
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTUP_TOOLCHAIN");
    build.envs(env).env("CARGO_TARGET_DIR", &out).current_dir(root());
    build.args([
        "build",
        "--profile",
        "hetero",
        "--package",
        "dormouse",
        "--bin",
        "dormouse",
        // Nothing that speaks to a network: a C compiler for each processor is enough as it is.
        "--no-default-features",
        "--features",
        "encryption",
        "--target",
        target,
    ]);
    run_command(&mut build)
}
