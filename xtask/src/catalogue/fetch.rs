//! A program's .wasm file: out of its package, or built by its script, kept until its entry changes.

use super::{Place, graft::graft, guests, list::Program};
use crate::guests::assemble;
use crate::setup::{self, Compiler, cache, run_command, sha256, sha256_file};
use anyhow::{Context, Result, bail, ensure};
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

/// Runs the script unless the program is there, made by the same script of the same package.
fn build(place: &Place, program: &Program, script: &str) -> Result<PathBuf> {
    let to = place.path(&format!("programs/{}.wasm", program.name));
    let stamp = place.path(&format!("programs/{}.stamp", program.name));
    let script = guests(script);
    let key = sha256(format!("v1 {} {}", program.package, sha256_file(&script)?).as_bytes());
    if to.exists() && fs::read_to_string(&stamp).is_ok_and(|s| s == key) {
        return Ok(to);
    }
    println!("building {}", program.name);
    let scratch = tempfile::tempdir_in(place.path("part"))?;
    let part = scratch.path().join(format!("{}.wasm", program.name));
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
        .env("CACHE", kept)
        .env("PACKAGE", package(&program.package)?)
        .env("VERSION", version)
        .env("GUESTS", guests(""))
        .env("CC", compiler(script.as_path())?);
    run_command(&mut command)?;
    ensure!(part.exists(), "the script has not written $OUT");
    fs::rename(&part, &to)?;
    fs::write(&stamp, key)?;
    Ok(to)
}

/// The C compiler's command, if the script uses it: to get it takes a while.
fn compiler(script: &Path) -> Result<String> {
    let text = fs::read_to_string(script)?;
    if !text.contains("$CC") && !text.contains("${CC") {
        return Ok(String::new());
    }
    let command = Compiler::get()?.command();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    Ok(words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
}
