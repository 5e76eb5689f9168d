//! `export` and `import`: checkpoints as files.

use super::Done;
use crate::{cli, ui};
use dormouse::look::Summary;
use dormouse::{Error, export, import};
use dormouse_store::Store;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

pub fn export(args: cli::Export) -> Done {
    let whole = |bytes: Vec<u8>| move |out: &mut dyn Write| Ok(out.write_all(&bytes)?);
    if args.what.wasm.is_some() || args.what.coredump.is_some() {
        let store = args.opening.store(&args.place)?;
        let checkpoint = store.load(&args.target.job, args.target.number)?;
        for damage in &checkpoint.warnings {
            ui::warning(&damage.to_string());
        }
        if let Some(path) = &args.what.wasm {
            let wasm = match args.checkpointable {
                true => export::checkpointable(&checkpoint)?,
                false => export::wasm(&checkpoint)?,
            };
            write(path, whole(wasm))?;
        }
        if let Some(path) = &args.what.coredump {
            write(path, whole(export::core_dump(&checkpoint)?))?;
        }
    }
    if let Some(path) = &args.what.archive {
        // What is encrypted stays so.
        let store = Store::open(&args.place.dir()?)?;
        let (job, number) = (&args.target.job, args.target.number);
        write(path, |mut out| Ok(store.write_archive(job, number, &mut out).map(drop)?))?;
    }
    Ok(0)
}

/// Why a file was not written.
enum Failed {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for Failed {
    fn from(e: io::Error) -> Failed {
        Failed::Io(e)
    }
}

impl From<dormouse_store::StoreError> for Failed {
    fn from(e: dormouse_store::StoreError) -> Failed {
        Failed::Other(e.into())
    }
}

/// The whole file or none; `-` is standard output.
fn write(
    path: &Path,
    bytes: impl FnOnce(&mut dyn Write) -> Result<(), Failed>,
) -> dormouse::Result<()> {
    let failed = |e: Failed| match e {
        Failed::Io(source) => Error::Io { action: "write", path: path.to_owned(), source },
        Failed::Other(e) => e,
    };
    let write = || {
        if path == Path::new("-") {
            return bytes(&mut io::stdout().lock());
        }
        // What is no file, such as a pipe, is written to; a link stays, and what it names is replaced.
        let there = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if std::fs::metadata(&there).is_ok_and(|meta| !meta.is_file()) {
            return bytes(&mut File::options().write(true).open(&there)?);
        }
        let dir = there.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        bytes(&mut file)?;
        file.as_file().sync_all()?;
        file.persist(&there).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(failed)
}

pub fn import(args: cli::Import) -> Done {
    let failed = |source| Error::Io { action: "read", path: args.file.clone(), source };
    let from: Box<dyn Read> = match args.file.as_path() == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(&args.file).map_err(failed)?),
    };
    let place = &args.listing.place;
    let store = Store::create_or_open(&place.dir()?)?;
    let checkpoint = import::read(&store, BufReader::new(from), args.name.as_deref())?;
    if args.listing.json {
        ui::print_json(&serde_json::json!({ "checkpoint": Summary::of(&checkpoint) }));
        return Ok(0);
    }
    let name = checkpoint.name();
    ui::print(&format!("{name}\n"));
    ui::note(&format!("`dormouse resume {name}{}` goes on from it", place.hint()));
    Ok(0)
}
