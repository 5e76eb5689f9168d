//! The conformance programs of guests/wasi: each file is a program with several checks, named by its first argument.
//!
//! ```text
//! guests/wasi/fd_read.c   CHECK(positions) { ... }        one line that begins so is one check
//!                         BAD(result_outside, ...)
//!             rust_fs.rs  pub fn seeking() { ... }
//!                         //@stdin text   //@args a b   //@env K=V
//!   ->  target/guests/wasi-fd_read.wasm
//!   ->  target/guests/conformance.json                    every check, and what the stock wasmtime did with it
//! ```
//!
//! `cargo xtask conformance` builds those in Rust, too, whose library takes a minute to fetch, runs the test that compares
//! (crates/dormouse/tests/conformance.rs), and then random.c with as many seeds as one likes.

use crate::guests::{self, Builder};
use crate::oracle;
use crate::place::{self, Check, Left};
use crate::setup::{self, root, run_command, sha256, sha256_file};
use crate::test;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Options of `cargo xtask conformance`.
#[derive(clap::Args)]
pub struct Args {
    /// How many seeds of random.c
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How many calls each makes
    #[arg(long, default_value_t = 300)]
    steps: u64,
    /// Only the seeds
    #[arg(long)]
    random_only: bool,
}

/// Changed when a run by the oracle changes in a way that no file shows.
const RUN: u32 = 1;
/// No C library: check.h has what a check needs, and a program does nothing that its text does not say.
const FLAGS: [&str; 13] = [
    "-O2",
    "-mbulk-memory",
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

/// The checks of a file, and what its comments ask for.
#[derive(Default)]
struct Source {
    checks: Vec<String>,
    args: Vec<String>,
    env: Vec<String>,
    stdin: String,
}

fn read(path: &Path) -> Result<Source> {
    let mut source = Source::default();
    for line in fs::read_to_string(path)?.lines() {
        if let Some(args) = line.strip_prefix("//@args ") {
            source.args.extend(args.split(' ').map(str::to_owned));
        } else if let Some(env) = line.strip_prefix("//@env ") {
            source.env.push(env.to_owned());
        } else if let Some(text) = line.strip_prefix("//@stdin ") {
            source.stdin += &text.replace("\\n", "\n");
        } else if line.starts_with("//@") {
            bail!("{}: {line}: what is that?", path.display());
        } else if let Some(head) = line.strip_prefix("pub fn ") {
            source.checks.extend(head.split('(').next().map(str::to_owned));
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

/// Builds what is not up to date, asks the oracle what it has not been asked, and writes conformance.json. Programs in Rust
/// that are not there are left out, unless they are asked for.
pub(crate) fn build(builder: &Builder<'_>, ask: bool, rust: bool) -> Result<()> {
    let folder = root().join("guests/wasi");
    let mut files: Vec<String> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    files.retain(|name| name.ends_with(".c") || name.starts_with("rust_"));
    files.sort();
    let (mut all, mut programs) = (Vec::new(), 0);
    for file in &files {
        let path = folder.join(file);
        let (program, language) = file.split_once('.').context("a file without a language")?;
        let name = format!("wasi-{program}");
        let in_rust = language == "rs";
        let with = if in_rust {
            ["wasi/check.rs", "wasi/rust.sh", "toolchains/rust.sh"]
        } else {
            ["wasi/check.h", "toolchain.sh", ""]
        };
        let mut key = format!("{FLAGS:?} {:?}", std::env::var("DORMOUSE_GUEST_CC").ok());
        key += &format!(" {}", sha256_file(&path)?);
        for file in with.iter().filter(|file| !file.is_empty()) {
            key += &format!(" {}", sha256_file(&root().join("guests").join(file))?);
        }
        let key = sha256(key.as_bytes());
        if in_rust && !rust && !builder.up_to_date(&name, &key) {
            continue;
        }
        let stamp = builder
            .stamped(&name, key, |to| match in_rust {
                true => compile_rust(&path, to),
                false => {
                    let compiler = builder.compiler()?;
                    run_command(compiler.command().args(FLAGS).arg(&path).arg("-o").arg(to))?;
                    Ok(compiler.describe().to_owned())
                }
            })
            .with_context(|| format!("building {name}"))?;
        all.extend(expected(builder.out, program, &path, &stamp.sha256, ask)?);
        programs += 1;
    }
    let list = builder.out.join("conformance.json");
    fs::write(&list, serde_json::to_vec_pretty(&all)?)?;
    println!("{} checks of {programs} programs, {}", all.len(), list.display());
    Ok(())
}

fn compile_rust(source: &Path, to: &Path) -> Result<String> {
    println!("compiling {}", source.display());
    let kept = setup::cache()?.join("catalogue");
    fs::create_dir_all(&kept)?;
    run_command(
        Command::new("bash")
            .args(["-eu", "-o", "pipefail"])
            .arg(root().join("guests/wasi/rust.sh"))
            .env("CACHE", kept)
            .env("GUESTS", root().join("guests"))
            .env("SOURCE", source)
            .env("OUT", to),
    )?;
    Ok("rustc".to_owned())
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
    let known: Option<Vec<Left>> =
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
    let check = |(check, expected): (&String, Option<Left>)| Check {
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

fn stock(wasm: &Path, check: &str, source: &Source) -> Result<Left> {
    let mut command = Command::new(setup::wasmtime()?);
    command.env_remove("RUST_BACKTRACE").arg("run");
    for proposal in oracle::PROPOSALS {
        command.args(["-W", proposal]);
    }
    let (mut left, errors) = run_in_place(command, wasm, check, source)?;
    ensure!(!matches!(left.exit, 97 | 98), "the check cannot be made: {}", left.stdout);
    left.stderr =
        errors.split("Error: failed to run main module").next().unwrap_or_default().to_owned();
    let exit = left.exit;
    ensure!(matches!(exit, 1 | 134) || left.stderr == errors, "exit {exit}, but: {errors}");
    Ok(left)
}

/// What a command that runs a check leaves, and all of standard error.
fn run_in_place(
    mut command: Command,
    wasm: &Path,
    check: &str,
    source: &Source,
) -> Result<(Left, String)> {
    let dir = tempfile::tempdir()?;
    let at = dir.path().join("place");
    place::make(&at)?;
    let input = dir.path().join("stdin");
    fs::write(&input, &source.stdin)?;
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
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((Left { exit, stdout, stderr: String::new(), files: place::left(&at)? }, errors))
}

/// `cargo xtask conformance`.
pub fn run(args: &Args) -> Result<()> {
    guests::build_conformance()?;
    if !args.random_only {
        let which = ["test", "--release", "--workspace", "--test", "conformance"];
        test::cargo(&which)?;
    }
    test::build()?;
    let next = AtomicU64::new(args.from);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.from.saturating_add(args.seeds) {
                        return;
                    }
                    let difference = seeded(seed, args.steps);
                    if let Some(what) = difference.unwrap_or_else(|e| Some(format!("{e:#}"))) {
                        println!("seed {seed}: {what}");
                        wrong.lock().expect("nobody panics").push(seed);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("nobody panics").len() as u64;
    println!("random: {} passed, {wrong} failed", args.seeds - wrong);
    ensure!(wrong == 0, "not all seeds are as under stock wasmtime");
    Ok(())
}

/// The first difference between a seed under stock wasmtime and here, plain and stopped at random safepoints.
fn seeded(seed: u64, steps: u64) -> Result<Option<String>> {
    let wasm = root().join("target/guests/wasi-random.wasm");
    let mut source = read(&root().join("guests/wasi/random.c"))?;
    source.args = vec![seed.to_string(), steps.to_string()];
    let expected = stock(&wasm, "seed", &source)?;
    let (gap, random) = ((seed % 50 + 1).to_string(), seed.to_string());
    for options in [&[][..], &["--chaos", &gap, "--seed", &random]] {
        let mut ours = Command::new(root().join("target/release/dormouse"));
        ours.arg("run").args(options).env("DORMOUSE_CACHE", root().join("target/test-cache"));
        let (left, errors) = run_in_place(ours, &wasm, "seed", &source)?;
        let lines = expected.stdout.lines().zip(left.stdout.lines());
        let what = if let Some((was, is)) = lines.into_iter().find(|(was, is)| was != is) {
            format!("`{is}` instead of `{was}`")
        } else if let Some((name, was)) =
            expected.files.iter().find(|(name, was)| left.files.get(*name) != Some(was))
        {
            format!("{name} is {:?} instead of {was:?}", left.files.get(name))
        } else if (left.exit, &left.stdout, &left.files)
            != (expected.exit, &expected.stdout, &expected.files)
        {
            format!("exit {} instead of {}, or more was left: {errors}", left.exit, expected.exit)
        } else {
            continue;
        };
        return Ok(Some(format!("{} {what}", options.join(" "))));
    }
    Ok(None)
}
