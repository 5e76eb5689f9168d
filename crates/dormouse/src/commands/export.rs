//! `export`: a checkpoint as a file for others.

use super::Done;
use crate::{cli, ui};
use dormouse::{Error, export};
use std::io::Write;
use std::path::Path;

pub fn export(args: cli::Export) -> Done {
    let store = args.opening.store(&args.place)?;
    let checkpoint = store.load(&args.target.job, args.target.number)?;
    for damage in &checkpoint.warnings {
        ui::warning(&damage.to_string());
    }
    if let Some(path) = &args.what.wasm {
        write(path, &export::wasm(&checkpoint)?)?;
    }
    if let Some(path) = &args.what.coredump {
        write(path, &export::core_dump(&checkpoint)?)?;
    }
    Ok(0)
}

/// The whole file or none; `-` is standard output.
fn write(path: &Path, bytes: &[u8]) -> dormouse::Result<()> {
    let failed = |source| Error::Io { action: "write", path: path.to_owned(), source };
    if path == Path::new("-") {
        return std::io::stdout().lock().write_all(bytes).map_err(failed);
    }
    // What is no file, such as a pipe, is written to; a link stays, and what it names is replaced.
    let there = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if std::fs::metadata(&there).is_ok_and(|meta| !meta.is_file()) {
        return std::fs::write(&there, bytes).map_err(failed);
    }
    let path = &there;
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
