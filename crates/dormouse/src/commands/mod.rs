//! One file a command. Each returns the exit status, or the error to print.

use dormouse::Error;
use std::path::Path;

pub mod check;
pub mod control;
pub mod demo;
pub mod gc;
pub mod inspect;
pub mod list;
pub mod ps;
#[cfg(feature = "registry")]
pub mod registry;
pub mod rm;
pub mod run;
pub mod stats;
pub mod verify;

/// Exit status, or what went wrong.
pub type Done = dormouse::Result<u8>;

/// Reads a module. Text (`.wat`) is assembled, as stock wasmtime does.
fn read_module(path: &Path) -> dormouse::Result<Vec<u8>> {
    let failed = |source| Error::Io { action: "read the module", path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    if path.extension().is_none_or(|e| e != "wat") {
        return Ok(bytes);
    }
    match wat::Parser::new().parse_bytes(Some(path), &bytes) {
        Ok(module) => Ok(module.into_owned()),
        Err(e) => Err(Error::Text { path: path.to_owned(), message: e.to_string() }),
    }
}
