//! `cargo xtask guests`: builds or fetches each program, asks the oracle, writes the list for tests and benchmarks.
//!
//! ```text
//! guests/guests.toml + guests/**  ->  target/guests/*.wasm             the programs
//!                                     target/guests/stamps/NAME.json   hash of sources and recipe, hash of the result
//!                                     target/guests/oracle/*.json      what the stock wasmtime did with them
//!                                     target/guests/guests.json        all of it in one list
//! ```

use crate::catalogue;
use crate::conformance;
use crate::list::{self, Guest, Kind};
use crate::oracle::{self, Expected};
use crate::setup::{self, Compiler, root, run_command, sha256, sha256_file};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Options of `cargo xtask guests`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Build only these guests (and leave guests.json and the catalogue alone); `wasi`: the conformance programs
    names: Vec<String>,
    /// Leave the catalogue alone
    #[arg(long)]
    pub build_only: bool,
    /// Build only, without asking the stock wasmtime for the expected results
    #[arg(long)]
    no_oracle: bool,
    /// Ask for the results of the large runs too (some minutes the first time)
    #[arg(long)]
    large: bool,
    /// Build the conformance programs in Rust too
    #[arg(skip)]
    rust: bool,
}

/// Changed when a recipe below changes in a way that its sources do not show.
const RECIPE: u32 = 2;
pub(crate) const C_FLAGS: [&str; 6] =
    ["-O2", "-std=gnu11", "-Wall", "-Wno-sign-compare", "-Wl,--strip-debug", "-fno-ident"];
pub(crate) const SQLITE_FLAGS: [&str; 10] = [
    "-DSQLITE_THREADSAFE=0",
    "-DSQLITE_OMIT_LOAD_EXTENSION",
    "-DSQLITE_OMIT_SHARED_CACHE",
    "-DSQLITE_DEFAULT_MEMSTATUS=0",
    "-DSQLITE_MAX_MMAP_SIZE=0",
    "-DSQLITE_TEMP_STORE=3",
    "-DSQLITE_ENABLE_MATH_FUNCTIONS",
    "-D_WASI_EMULATED_GETPID",
    "-lwasi-emulated-getpid",
    "-Wl,-z,stack-size=1048576",
];
const LUA_FLAGS: [&str; 12] = [
    "-mllvm",
    "-wasm-enable-sjlj",
    "-mllvm",
    "-wasm-use-legacy-eh=false",
    "-D_WASI_EMULATED_SIGNAL",
    "-D_WASI_EMULATED_PROCESS_CLOCKS",
    "-Dluai_makeseed(L)=42u",
    "-lsetjmp",
    "-lwasi-emulated-signal",
    "-lwasi-emulated-process-clocks",
    "-lm",
    "-Wl,-z,stack-size=4194304",
];

#[derive(Deserialize, Serialize)]
struct Listed {
    compiler: String,
    work: String,
    guests: Vec<Entry>,
}

/// A guest as tests and benchmarks find it.
#[derive(Clone, Deserialize, Serialize)]
pub struct Entry {
    pub name: String,
    kind: Kind,
    pub wasm: String,
    wasm_sha256: String,
    pub inputs: Vec<String>,
    pub files: Vec<String>,
    stdin: String,
    max_wasm_stack: Option<u64>,
    interactive: bool,
    traps: bool,
    pub small: Run,
    large: Option<Run>,
}

/// Arguments, and what comes of them.
#[derive(Clone, Deserialize, Serialize)]
pub struct Run {
    pub args: Vec<String>,
    pub expected: Option<Expected>,
}

/// What a program was built from and with.
#[derive(Deserialize, Serialize)]
pub(crate) struct Stamp {
    key: String,
    pub sha256: String,
    compiler: String,
}

/// Builds everything, then tries the catalogue.
pub fn run(args: &Args) -> Result<()> {
    build(args)?;
    if args.build_only || !args.names.is_empty() {
        return Ok(());
    }
    catalogue::run(&catalogue::Args::default())
}

/// What the tests and benchmarks need.
pub fn build_all() -> Result<()> {
    build(&Args { build_only: true, ..Args::default() })
}

/// What was built.
pub fn listed() -> Result<Vec<Entry>> {
    let path = root().join("target/guests/guests.json");
    let listed: Listed = serde_json::from_slice(&fs::read(path)?)?;
    Ok(listed.guests)
}

/// The conformance programs, those in Rust among them.
pub fn build_conformance() -> Result<()> {
    build(&Args { names: vec!["wasi".to_owned()], rust: true, ..Args::default() })
}

fn build(args: &Args) -> Result<()> {
    let guests = list::read()?;
    for name in &args.names {
        ensure!(
            name == "wasi" || guests.iter().any(|g| g.name == *name),
            "no guest is called {name}; see guests/guests.toml"
        );
    }
    let out = root().join("target/guests");
    for folder in ["stamps", "part", "oracle"] {
        fs::create_dir_all(out.join(folder))?;
    }
    let lock = fs::File::create(out.join("lock"))?;
    lock.lock().context("cannot lock target/guests/lock")?; // held until we end: two runs at once would disturb each other
    let builder = Builder { out: &out, compiler: OnceCell::new() };
    let (mut entries, mut missing, mut compilers) = (Vec::new(), Vec::new(), BTreeSet::new());
    for guest in guests.iter().filter(|g| args.names.is_empty() || args.names.contains(&g.name)) {
        let Some(stamp) =
            builder.build(guest).with_context(|| format!("building {}", guest.name))?
        else {
            missing.push(guest.name.as_str());
            continue;
        };
        if !stamp.compiler.is_empty() {
            compilers.insert(stamp.compiler.clone());
        }
        let wasm = out.join(format!("{}.wasm", guest.program));
        let ask =
            |args: &[String], run| oracle::expected(guest, args, &wasm, &stamp.sha256, &out, run);
        let small = Run {
            args: guest.small.clone(),
            expected: ask(&guest.small, !args.no_oracle && !guest.interactive)?,
        };
        let large = match &guest.large {
            Some(large) => Some(Run {
                args: large.clone(),
                expected: ask(large, args.large && !guest.interactive)?,
            }),
            None => None,
        };
        let seconds =
            |r: &Run| r.expected.as_ref().map_or("-".into(), |e| format!("{:.2}", e.seconds));
        println!(
            "{:24} small {:>6} s  large {:>6} s",
            guest.name,
            seconds(&small),
            large.as_ref().map_or("-".into(), seconds)
        );
        entries.push(Entry {
            name: guest.name.clone(),
            kind: guest.kind,
            wasm: format!("target/guests/{}.wasm", guest.program),
            wasm_sha256: stamp.sha256,
            inputs: guest.inputs.iter().map(|i| format!("guests/{i}")).collect(),
            files: guest.files.clone(),
            stdin: guest.stdin.clone(),
            max_wasm_stack: guest.max_wasm_stack,
            interactive: guest.interactive,
            traps: guest.traps,
            small,
            large,
        });
    }
    if args.names.is_empty() {
        let listed = Listed {
            compiler: compilers.into_iter().collect::<Vec<_>>().join("; "),
            work: oracle::WORK.to_owned(),
            guests: entries,
        };
        fs::write(out.join("guests.json"), serde_json::to_vec_pretty(&listed)?)?;
        println!("{} guests, {}", listed.guests.len(), out.join("guests.json").display());
    }
    if args.names.is_empty() || args.names.iter().any(|name| name == "wasi") {
        conformance::build(&builder, !args.no_oracle, args.rust)?;
    }
    if !missing.is_empty() {
        println!("MISSING (no toolchain for them here): {}", missing.join(", "));
    }
    Ok(())
}

pub(crate) struct Builder<'a> {
    pub out: &'a Path,
    compiler: OnceCell<Compiler>,
}

impl Builder<'_> {
    /// Builds a guest's program unless it is up to date; None if it cannot be built with the compiler at hand.
    fn build(&self, guest: &Guest) -> Result<Option<Stamp>> {
        if guest.kind == Kind::Lua
            && !self.up_to_date(&guest.program, &key(guest)?)
            && !self.compiler()?.sjlj
        {
            return Ok(None);
        }
        let stamp = self.stamped(&guest.program, key(guest)?, |part| match guest.kind {
            Kind::Wat => {
                fs::write(part, assemble(&source(guest)?)?)?;
                Ok(String::new())
            }
            Kind::Python => {
                fs::copy(setup::python_wasm()?, part)?;
                Ok(String::new())
            }
            _ => {
                println!("compiling {}", guest.program);
                let compiler = self.compiler()?;
                self.compile(guest, compiler, part)?;
                if guest.kind == Kind::Lua {
                    check_exceptions(part)?;
                }
                Ok(compiler.describe().to_owned())
            }
        })?;
        Ok(Some(stamp))
    }

    fn stamp(&self, program: &str) -> Option<Stamp> {
        let text = fs::read(self.out.join(format!("stamps/{program}.json"))).ok()?;
        serde_json::from_slice(&text).ok()
    }

    pub fn up_to_date(&self, program: &str, key: &str) -> bool {
        self.stamp(program).is_some_and(|stamp| stamp.key == key)
            && self.out.join(format!("{program}.wasm")).exists()
    }

    /// A program that `make` writes to the path it is given, unless that was done with the same key; `make` says with
    /// which compiler.
    pub fn stamped(
        &self,
        program: &str,
        key: String,
        make: impl FnOnce(&Path) -> Result<String>,
    ) -> Result<Stamp> {
        if self.up_to_date(program, &key)
            && let Some(stamp) = self.stamp(program)
        {
            return Ok(stamp);
        }
        // a folder of its own: the linker takes the module's name from the file's
        let part = self.out.join(format!("part/{program}.wasm"));
        let wasm = self.out.join(format!("{program}.wasm"));
        let compiler = make(&part)?;
        fs::rename(&part, &wasm)?;
        let stamp = Stamp { key, sha256: sha256_file(&wasm)?, compiler };
        fs::write(
            self.out.join(format!("stamps/{program}.json")),
            serde_json::to_vec_pretty(&stamp)?,
        )?;
        Ok(stamp)
    }

    pub fn compiler(&self) -> Result<&Compiler> {
        if self.compiler.get().is_none() {
            let _ = self.compiler.set(Compiler::get()?);
        }
        Ok(self.compiler.get().expect("just set"))
    }

    fn compile(&self, guest: &Guest, compiler: &Compiler, to: &Path) -> Result<()> {
        let folder = root().join("guests");
        let mut command = compiler.command();
        command.args(C_FLAGS).args(&guest.flags);
        match guest.kind {
            Kind::Sqlite => {
                let sqlite = setup::sqlite_source()?;
                command
                    .arg("-w")
                    .arg("-I")
                    .arg(&sqlite)
                    .arg(sqlite.join("sqlite3.c"))
                    .arg(folder.join("sqlite/driver.c"))
                    .args(SQLITE_FLAGS);
            }
            Kind::Lua => {
                let lua = setup::lua_source()?;
                command
                    .args(["-w", "-I"])
                    .arg(&lua)
                    .args(lua_files()?)
                    .arg(folder.join("lua/main.c"))
                    .args(LUA_FLAGS);
            }
            _ => {
                command.arg(source(guest)?);
            }
        }
        run_command(command.arg("-o").arg(to))
    }
}

/// Lua's library.
pub(crate) fn lua_files() -> Result<Vec<PathBuf>> {
    const PROGRAMS: [&str; 4] = ["lua.c", "luac.c", "onelua.c", "ltests.c"];
    let mut files: Vec<PathBuf> =
        fs::read_dir(setup::lua_source()?)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    files.retain(|f| {
        f.extension().is_some_and(|e| e == "c") && !PROGRAMS.iter().any(|n| f.ends_with(n))
    });
    files.sort();
    Ok(files)
}

fn source(guest: &Guest) -> Result<PathBuf> {
    Ok(root()
        .join("guests")
        .join(guest.source.as_ref().with_context(|| format!("{} has no source", guest.name))?))
}

/// The hash of everything that a program is made from. The compiler's version is not part of it (it is in the stamp):
/// `rm -r target/guests` builds anew with the newest one.
fn key(guest: &Guest) -> Result<String> {
    let folder = root().join("guests");
    let mut key = format!(
        "recipe {RECIPE} {C_FLAGS:?} {:?} {:?}",
        guest.flags,
        std::env::var("DORMOUSE_GUEST_CC").ok()
    );
    let mut add = |path: PathBuf| -> Result<()> {
        key += &format!(" {}", sha256_file(&path)?);
        Ok(())
    };
    match guest.kind {
        Kind::Wat => {
            key = format!("recipe {RECIPE} {}", sha256(full_text(&source(guest)?)?.as_bytes()))
        }
        Kind::Python => key = format!("recipe {RECIPE} {}", setup::PYTHON_SHA256),
        Kind::Sqlite => {
            add(folder.join("sqlite/driver.c"))?;
            add(folder.join("toolchain.sh"))?;
            key += &format!(" {SQLITE_FLAGS:?} {:?}", setup::SQLITE);
        }
        Kind::Lua => {
            add(folder.join("lua/main.c"))?;
            add(folder.join("toolchain.sh"))?;
            key += &format!(" {LUA_FLAGS:?} {:?}", setup::LUA);
        }
        Kind::Polybench | Kind::Kernel | Kind::Interactive => {
            add(source(guest)?)?;
            add(folder.join("kernels/kernel.h"))?;
            add(folder.join("toolchain.sh"))?;
            let path = source(guest)?;
            if fs::read_to_string(&path)?.contains("dormouse.h") {
                add(root().join("include/dormouse.h"))?;
            }
        }
    }
    Ok(sha256(key.as_bytes()))
}

/// A .wat guest's text with each line `;;@include FILE` replaced by that file of the same folder.
fn full_text(path: &Path) -> Result<String> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut full = String::new();
    for line in text.lines() {
        match line.trim().strip_prefix(";;@include ") {
            Some(name) => {
                full += &fs::read_to_string(path.with_file_name(name.trim()))
                    .with_context(|| format!("{}: {line}", path.display()))?
            }
            None => full += line,
        }
        full.push('\n');
    }
    Ok(full)
}

pub fn assemble(path: &Path) -> Result<Vec<u8>> {
    let mut error = match wat::parse_str(full_text(path)?) {
        Ok(bytes) => return Ok(bytes),
        Err(error) => error,
    };
    error.set_path(path);
    bail!("{error}")
}

/// Lua's pcall and coroutines must go through the new exception handling: `try_table`, and none of the legacy `try`.
fn check_exceptions(path: &Path) -> Result<()> {
    let mut new = 0;
    for payload in wasmparser::Parser::new(0).parse_all(&fs::read(path)?) {
        if let wasmparser::Payload::CodeSectionEntry(body) = payload? {
            for operator in body.get_operators_reader()? {
                match operator? {
                    wasmparser::Operator::TryTable { .. } => new += 1,
                    wasmparser::Operator::Try { .. } => {
                        bail!("{} uses the legacy exception handling", path.display())
                    }
                    _ => {}
                }
            }
        }
    }
    ensure!(new > 0, "{} has no try_table", path.display());
    Ok(())
}
