//! One file a command. Each returns the exit status, or the error to print.

use dormouse::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

pub mod check;
pub mod config;
pub mod control;
pub mod debug;
pub mod demo;
pub mod diff;
pub mod dump;
pub mod export;
pub mod gc;
pub mod generate;
pub mod inspect;
pub mod list;
pub mod ps;
#[cfg(feature = "registry")]
pub mod registry;
pub mod rm;
pub mod run;
pub mod stack;
pub mod stats;
pub mod strip;
#[cfg(feature = "ui")]
pub mod ui;
pub mod verify;

/// Exit status, or what went wrong.
pub type Done = dormouse::Result<u8>;

/// Reads a module. Text (`.wat`) is assembled, as stock wasmtime does.
fn read_module(path: &Path) -> dormouse::Result<Arc<[u8]>> {
    let failed = |source| Error::Io { action: "read the module", path: path.to_owned(), source };
    let bytes = read_once(path).map_err(failed)?;
    if path.extension().is_none_or(|e| e != "wat") {
        return Ok(bytes);
    }
    match wat::Parser::new().parse_bytes(Some(path), &bytes) {
        Ok(module) => Ok(module.into()),
        Err(e) => Err(Error::Text { path: path.to_owned(), message: e.to_string() }),
    }
}

/// Reads a file to where it stays: a start with compiled code in the cache does little else with a large module.
fn read_once(path: &Path) -> io::Result<Arc<[u8]>> {
    let mut file = File::open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    // An error if there is no room for it; the next line knows none.
    Vec::<u8>::new().try_reserve_exact(length)?;
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
    let filled = match Arc::get_mut(&mut bytes) {
        Some(into) => file.read_exact(into),
        None => Ok(()),
    };
    let mut more = vec![];
    match filled {
        // What has no length (a pipe), or another by now.
        Ok(()) if file.read_to_end(&mut more)? > 0 => Ok([&bytes, &*more].concat().into()),
        Ok(()) => Ok(bytes),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(std::fs::read(path)?.into()),
        Err(e) => Err(e),
    }
}
