//! A program's .wasm file: out of its package, or built by its script, kept until its entry changes.

use super::{Place, graft::graft, guests, list::Program};
use crate::guests::assemble;
use crate::setup::{self, Compiler, cache, run_command, sha256, sha256_file};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program's file.
pub fn program(place: &Place, program: &Program) -> Result<PathBuf> {
    let file = original(place, program)?;
    let Some(driver) = &program.driver else { return Ok(file) };
    let command = graft(&fs::read(&file)?, &assemble(&guests(driver))?)
        .with_context(|| format!("grafting guests/{driver} on {}", file.display()))?;
    let to = place.path(&format!("programs/{}.command.wasm", program.name));
    fs::write(&to, command)?;
    Ok(to)
}

fn original(place: &Place, program: &Program) -> Result<PathBuf> {
    if let (Some(file), Some(expected)) = (&program.file, &program.sha256) {
        let folder = package(&program.package)?;
        let path = folder.join(file);
        ensure!(path.exists(), "{} has no {file}", program.package);
        let found = sha256_file(&path)?;
        ensure!(
            found == *expected,
            "{}: sha256 is {found}, guests/catalogue.toml says {expected}; delete {} to fetch it again",
            path.display(),
            folder.display()
        );
        return Ok(path);
    }
    let script = program.build.as_deref().context("neither file nor build")?;
    build(place, program, script)
        .with_context(|| format!("building {} with guests/{script}", program.name))
}

/// The package's folder, fetched if it is a registry's.
pub fn package(package: &str) -> Result<PathBuf> {
    let parts = package.split_once(':').and_then(|(registry, rest)| {
        let (name, version) = rest.rsplit_once('@')?;
        Some((registry, name, version))
    });
    match parts {
        Some(("pypi", name, version)) => setup::pypi((name, version)),
        Some(("npm", name, version)) => npm(name, version),
        Some(("crate", name, version)) => crate_source(name, version),
        Some(_) => Ok(PathBuf::new()),
        None => bail!("`{package}` is no package: write REGISTRY:NAME@VERSION"),
    }
}

/// `npm pack`, unpacked. Nothing of it is run.
fn npm(name: &str, version: &str) -> Result<PathBuf> {
    let folder = cache()?.join(format!("npm/{}-{version}", name.replace(['@', '/'], "-")));
    if folder.exists() {
        return Ok(folder);
    }
    println!("fetching {name} {version} from the npm registry");
    let above = folder.parent().expect("has a parent");
    fs::create_dir_all(above)?;
    let part = tempfile::tempdir_in(above)?;
    let mut command = Command::new("npm");
    command.args(["pack", "--silent", "--ignore-scripts", &format!("{name}@{version}")]);
    let packed = command
        .current_dir(part.path())
        .output()
        .context("cannot start npm; install it (Debian: nodejs npm)")?;
    ensure!(
        packed.status.success(),
        "npm cannot fetch {name}@{version}: {}",
        String::from_utf8_lossy(&packed.stderr)
    );
    let archive = String::from_utf8_lossy(&packed.stdout).trim().to_owned();
    run_command(Command::new("tar").args(["-xzf", &archive]).current_dir(part.path()))?;
    fs::rename(part.path().join("package"), &folder)?;
    Ok(folder)
}

/// A crate's source, vendored with its dependencies: `vendor/NAME-VERSION/` in the folder that comes back.
fn crate_source(name: &str, version: &str) -> Result<PathBuf> {
    let folder = cache()?.join(format!("crate/{name}-{version}"));
    if folder.exists() {
        return Ok(folder);
    }
    println!("fetching {name} {version} from the Rust package registry");
    let above = folder.parent().expect("has a parent");
    fs::create_dir_all(above)?;
    let part = tempfile::tempdir_in(above)?;
    fs::create_dir(part.path().join("src"))?;
    fs::write(part.path().join("src/lib.rs"), "")?;
    fs::write(
        part.path().join("Cargo.toml"),
        format!(
            "[package]\nname = \"source\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{name} = \"={version}\"\n"
        ),
    )?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run_command(
        Command::new(cargo)
            .args(["vendor", "--quiet", "--versioned-dirs", "vendor"])
            .current_dir(part.path())
            .stdout(std::process::Stdio::null()),
    )?;
    fs::rename(part.keep(), &folder)?;
    Ok(folder)
}

/// What a build script made for its program to read.
pub fn built_beside(place: &Place, program: &Program) -> PathBuf {
    place.path(&format!("programs/{}.beside", program.name))
}

/// Runs the script unless the program is there, made of the same package by the same script and the files it names.
fn build(place: &Place, program: &Program, script: &str) -> Result<PathBuf> {
    let to = place.path(&format!("programs/{}.wasm", program.name));
    let stamp = place.path(&format!("programs/{}.stamp", program.name));
    let script = guests(script);
    let files = closure(&script)?;
    let mut key = format!("v2 {}", program.package);
    for (path, bytes) in &files {
        key += &format!(" {path} {}", sha256(bytes));
    }
    let key = sha256(key.as_bytes());
    if to.exists() && fs::read_to_string(&stamp).is_ok_and(|s| s == key) {
        return Ok(to);
    }
    println!("building {}", program.name);
    let scratch = tempfile::tempdir_in(place.path("part"))?;
    let part = scratch.path().join(format!("{}.wasm", program.name));
    let beside = scratch.path().join("beside");
    fs::create_dir(&beside)?;
    let (_, version) = program.package.rsplit_once('@').context("the package has no version")?;
    // downloads and tools of scripts: one folder for all of them, they name what is in it
    let kept = cache()?.join("catalogue");
    fs::create_dir_all(&kept)?;
    let mut command = Command::new("bash");
    command
        .args(["-eu", "-o", "pipefail"])
        .arg(&script)
        .current_dir(scratch.path())
        .env("OUT", &part)
        .env("BESIDE", &beside)
        .env("CACHE", kept)
        .env("PACKAGE", package(&program.package)?)
        .env("VERSION", version)
        .env("GUESTS", guests(""))
        .env("CC", compiler(&files)?);
    run_command(&mut command)?;
    ensure!(part.exists(), "the script has not written $OUT");
    let to_beside = built_beside(place, program);
    let _ = fs::remove_dir_all(&to_beside);
    fs::rename(&beside, &to_beside)?;
    fs::rename(&part, &to)?;
    fs::write(&stamp, key)?;
    Ok(to)
}

/// The script and what it is made from: every file that it, or a script that it sources, names as `$GUESTS/PATH`; of a
/// folder named so, what lies in it. Path -> bytes.
fn closure(script: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut left = vec![script.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
            continue;
        }
        let name = path.display().to_string();
        if files.contains_key(&name) {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| {
            format!("cannot read {name}, which guests/{} names", name_of(script))
        })?;
        for rest in String::from_utf8_lossy(&bytes).split("$GUESTS/").skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._-/".contains(c)));
            left.push(guests(&rest[..end.unwrap_or(rest.len())]));
        }
        files.insert(name, bytes);
    }
    Ok(files)
}

fn name_of(script: &Path) -> String {
    script.strip_prefix(guests("")).unwrap_or(script).display().to_string()
}

/// The C compiler's command, if one of the scripts uses it: to get it takes a while.
fn compiler(files: &BTreeMap<String, Vec<u8>>) -> Result<String> {
    let uses = |bytes: &Vec<u8>| {
        let text = String::from_utf8_lossy(bytes);
        text.contains("$CC") || text.contains("${CC")
    };
    if !files.values().any(uses) {
        return Ok(String::new());
    }
    let command = Compiler::get()?.command();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
}
