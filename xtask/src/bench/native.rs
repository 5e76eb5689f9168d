//! The guests that are C, compiled for this machine: what WebAssembly itself costs.
//!
//! The same clang as for WebAssembly at the same -O2 (not for this processor in particular), linked by the system's compiler.
//! Floating-point operations are not contracted, so that results are the same to the last bit.

use crate::guests::{C_FLAGS, lua_files};
use crate::list::{self, Guest, Kind};
use crate::setup::{self, Compiler, root, run_command};
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLAGS: [&str; 3] = ["--target=x86_64-linux-gnu", "--sysroot=/", "-ffp-contract=off"];

/// Writes target/guests/native/PROGRAM for each that can be had, and says which cannot.
pub fn build_all() -> Result<()> {
    let folder = root().join("target/guests/native");
    fs::create_dir_all(&folder)?;
    let compiler = Compiler::get()?;
    for guest in list::read()? {
        let Some((sources, flags)) = recipe(&guest)? else { continue };
        let to = folder.join(&guest.program);
        let newest = sources.iter().map(|s| Ok(fs::metadata(s)?.modified()?));
        let newest = newest.collect::<Result<Vec<_>>>()?.into_iter().max();
        if fs::metadata(&to).and_then(|m| m.modified()).ok() > newest {
            continue;
        }
        println!("compiling {} for this machine", guest.program);
        if let Err(error) = build(&compiler, &sources, &flags, &to) {
            setup::warn(&[&format!("no native {}: {error:#}", guest.program)]);
        }
    }
    Ok(())
}

/// Sources and flags of the guests that can be compiled as they are.
fn recipe(guest: &Guest) -> Result<Option<(Vec<PathBuf>, Vec<String>)>> {
    let folder = root().join("guests");
    let flag = |f: &str| f.to_owned();
    Ok(match guest.kind {
        // Flags are those of WebAssembly: its vectors, its stack.
        Kind::Polybench | Kind::Kernel if guest.flags.is_empty() => {
            let source = guest.source.as_ref().map(|s| folder.join(s));
            Some((source.into_iter().collect(), vec![]))
        }
        Kind::Sqlite => {
            let sqlite = setup::sqlite_source()?;
            let mut flags = vec![flag("-w"), format!("-I{}", sqlite.display())];
            let ours = crate::guests::SQLITE_FLAGS.iter();
            flags.extend(ours.filter(|f| f.starts_with("-DSQLITE")).map(|f| flag(f)));
            Some((vec![sqlite.join("sqlite3.c"), folder.join("sqlite/driver.c")], flags))
        }
        Kind::Lua => {
            let mut sources = lua_files()?;
            sources.push(folder.join("lua/main.c"));
            let flags = vec![
                flag("-w"),
                format!("-I{}", setup::lua_source()?.display()),
                flag("-Dluai_makeseed(L)=42u"),
            ];
            Some((sources, flags))
        }
        _ => None,
    })
}

fn build(compiler: &Compiler, sources: &[PathBuf], flags: &[String], to: &Path) -> Result<()> {
    let part = tempfile::tempdir()?;
    let mut link = Command::new("cc");
    for source in sources {
        let name = source.file_name().expect("a source has a name");
        let object = part.path().join(name).with_extension("o");
        let mut command = compiler.command();
        command.args(C_FLAGS.iter().filter(|f| !f.starts_with("-Wl,"))).args(FLAGS).args(flags);
        run_command(command.arg("-c").arg(source).arg("-o").arg(&object))?;
        link.arg(object);
    }
    run_command(link.arg("-lm").arg("-o").arg(to))
}
