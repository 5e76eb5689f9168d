//! The conformance programs of guests/wasi: each .c file is a program with several checks, named by its first argument.
//!
//! ```text
//! guests/wasi/fd_read.c   CHECK(positions) { ... }        one line that begins so is one check
//!                         BAD(result_outside, ...)
//!                         //@stdin text   //@args a b   //@env K=V
//!   ->  target/guests/wasi-fd_read.wasm
//!   ->  target/guests/conformance.json                    every check, and what the stock wasmtime did with it
//! ```

use crate::guests::Builder;
use crate::oracle;
use crate::place;
use crate::setup::{self, root, run_command, sha256, sha256_file};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Changed when a run by the oracle changes in a way that no file shows.
const RUN: u32 = 1;
/// No C library: check.h has what a check needs, and a program does nothing that its text does not say.
const FLAGS: [&str; 12] = [
    "-O2",
    "-std=gnu11",
    "-Wall",
    "-Wno-sign-compare",
    "-Wno-unused-function",
    "-Wno-unused-value",
    "-Wl,--strip-debug",
    "-fno-ident",
    "-nostdlib",
    "-fno-builtin",
    "-Wl,-z,stack-size=65536",
    "-Wl,--gc-sections",
];

/// One check of one program.
#[derive(Deserialize, Serialize)]
struct Check {
    program: String,
    check: String,
    wasm: String,
    args: Vec<String>,
    env: Vec<String>,
    stdin: String,
    expected: Option<Expected>,
}

/// What the stock command did. Of standard error only what the program wrote, not what the host says about its end.
#[derive(Clone, Deserialize, Serialize)]
struct Expected {
    exit: i32,
    stdout: String,
    stderr: String,
    files: BTreeMap<String, String>,
}

/// The checks of a file, and what its comments ask for.
struct Source {
    checks: Vec<String>,
    args: Vec<String>,
    env: Vec<String>,
    stdin: String,
}

fn read(path: &Path) -> Result<Source> {
    let mut source = Source { checks: vec![], args: vec![], env: vec![], stdin: String::new() };
    for line in fs::read_to_string(path)?.lines() {
        if let Some(args) = line.strip_prefix("//@args ") {
            source.args.extend(args.split(' ').map(str::to_owned));
        } else if let Some(env) = line.strip_prefix("//@env ") {
            source.env.push(env.to_owned());
        } else if let Some(text) = line.strip_prefix("//@stdin ") {
            source.stdin += &text.replace("\\n", "\n");
        } else if line.starts_with("//@") {
            bail!("{}: {line}: what is that?", path.display());
        } else if let Some((head, rest)) = line.split_once('(')
            && !head.is_empty()
            && head.chars().all(|c| c.is_ascii_uppercase())
        {
            source.checks.extend(rest.split([')', ',']).next().map(str::to_owned));
        }
    }
    ensure!(!source.checks.is_empty(), "{} has no check", path.display());
    Ok(source)
}

/// Builds what is not up to date, asks the oracle what it has not been asked, and writes conformance.json.
pub(crate) fn build(builder: &Builder<'_>, ask: bool) -> Result<()> {
    let folder = root().join("guests/wasi");
    let mut programs: Vec<String> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    programs.retain(|name| name.ends_with(".c"));
    programs.sort();
    let mut all = Vec::new();
    for program in programs.iter().map(|name| name.trim_end_matches(".c")) {
        let path = folder.join(format!("{program}.c"));
        let name = format!("wasi-{program}");
        let mut key = format!("{FLAGS:?} {:?}", std::env::var("DORMOUSE_GUEST_CC").ok());
        for file in [&path, &folder.join("check.h"), &root().join("guests/toolchain.sh")] {
            key += &format!(" {}", sha256_file(file)?);
        }
        let stamp = builder
            .stamped(&name, sha256(key.as_bytes()), |to| {
                let compiler = builder.compiler()?;
                run_command(compiler.command().args(FLAGS).arg(&path).arg("-o").arg(to))?;
                Ok(compiler.describe().to_owned())
            })
            .with_context(|| format!("building {name}"))?;
        all.extend(expected(builder.out, program, &path, &stamp.sha256, ask)?);
    }
    let list = builder.out.join("conformance.json");
    fs::write(&list, serde_json::to_vec_pretty(&all)?)?;
    println!("{} checks of {} programs, {}", all.len(), programs.len(), list.display());
    Ok(())
}

fn expected(
    out: &Path,
    program: &str,
    path: &Path,
    wasm_sha256: &str,
    ask: bool,
) -> Result<Vec<Check>> {
    let source = read(path)?;
    let wasm = out.join(format!("wasi-{program}.wasm"));
    let key = format!(
        "{RUN} {wasm_sha256} {:?} {:?} {:?} {:?} {}",
        source.checks,
        source.args,
        source.env,
        source.stdin,
        sha256_file(&root().join("xtask/src/place.rs"))?
    );
    let cached =
        out.join("oracle").join(format!("wasi-{program}-{}.json", &sha256(key.as_bytes())[..16]));
    let known: Option<Vec<Expected>> =
        fs::read(&cached).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let results = match known {
        Some(results) => results.into_iter().map(Some).collect(),
        None if ask => {
            println!("asking the stock wasmtime about {program}");
            let results = source
                .checks
                .iter()
                .map(|check| stock(&wasm, check, &source).with_context(|| check.clone()))
                .collect::<Result<Vec<_>>>()?;
            fs::write(&cached, serde_json::to_vec_pretty(&results)?)?;
            results.into_iter().map(Some).collect()
        }
        None => vec![None; source.checks.len()],
    };
    let check = |(check, expected): (&String, Option<Expected>)| Check {
        program: program.to_owned(),
        check: check.clone(),
        wasm: format!("target/guests/wasi-{program}.wasm"),
        args: source.args.clone(),
        env: source.env.clone(),
        stdin: source.stdin.clone(),
        expected,
    };
    Ok(source.checks.iter().zip(results).map(check).collect())
}

fn stock(wasm: &Path, check: &str, source: &Source) -> Result<Expected> {
    let dir = tempfile::tempdir()?;
    let at = dir.path().join("place");
    place::make(&at)?;
    let input = dir.path().join("stdin");
    fs::write(&input, &source.stdin)?;
    let mut command = Command::new(setup::wasmtime()?);
    command.env_remove("RUST_BACKTRACE").arg("run");
    for proposal in oracle::PROPOSALS {
        command.args(["-W", proposal]);
    }
    for (host, guest) in place::DIRS {
        command.arg("--dir").arg(format!("{}::{guest}", at.join(host).display()));
    }
    for env in &source.env {
        command.args(["--env", env]);
    }
    let output = command
        .arg(wasm)
        .arg(check)
        .args(&source.args)
        .stdin(Stdio::from(fs::File::open(&input)?))
        .output()?;
    let Some(exit) = output.status.code() else { bail!("{}", output.status) };
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!matches!(exit, 97 | 98), "the check cannot be made: {stdout}");
    let errors = String::from_utf8_lossy(&output.stderr);
    let stderr = errors.split("Error: failed to run main module").next().unwrap_or_default();
    ensure!(matches!(exit, 1 | 134) || stderr == errors, "exit {exit}, but: {errors}");
    Ok(Expected { exit, stdout, stderr: stderr.to_owned(), files: place::left(&at)? })
}
