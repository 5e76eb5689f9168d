//! Checkpoints in an object store of one's own: a job goes on after all of its machine is lost.
//!
//! ```text
//!   machine A: store/ ──each checkpoint──> depot (trait Depot)     put, get, list: as object stores have them
//!              lost                          │
//!   machine B: empty store <──resume─────────┘
//! ```
//!
//! The depot here keeps each object as a file with a flat name. One that speaks to a server does the same four things. Its
//! first `put` fails, as such things do: the program does not notice, and the next checkpoint is carried with all it needs.
//!
//! `cargo run --release --example custom_store`

use dormouse::store::Depot;
use dormouse::{Job, Notice, Outcome, StdioConfig};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Counts to 1,000,000, with a checkpoint each 250,000; the exit status is the count of thousands, cut to a byte.
const COUNT: &str = r#"(module
  (import "dormouse" "checkpoint" (func $checkpoint (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $n i32)
    (loop $next
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (i32.store (i32.const 64) (local.get $n))
      (if (i32.eqz (i32.rem_u (local.get $n) (i32.const 250000)))
        (then (drop (call $checkpoint))))
      (br_if $next (i32.lt_u (local.get $n) (i32.const 1000000))))
    (call $exit (i32.div_u (i32.load (i32.const 64)) (i32.const 10000)))))"#;

/// Objects as files of a directory: `blobs/sha256/9a31` is `blobs%sha256%9a31`.
struct Flat {
    dir: PathBuf,
    fail_once: AtomicBool,
}

impl Flat {
    fn open(dir: &Path, fail_once: bool) -> io::Result<Flat> {
        fs::create_dir_all(dir)?;
        Ok(Flat { dir: dir.to_owned(), fail_once: fail_once.into() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name.replace('/', "%"))
    }
}

impl Depot for Flat {
    fn len(&self, name: &str) -> Result<Option<u64>, String> {
        match fs::metadata(self.path(name)) {
            Ok(found) => Ok(Some(found.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    fn put(&self, name: &str, _: u64, bytes: &mut dyn Read) -> Result<(), String> {
        if self.fail_once.swap(false, Ordering::Relaxed) {
            return Err("the server has hiccups".into());
        }
        // Seen whole or not at all, and safe when this returns.
        let mut keep = || {
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            io::copy(bytes, &mut file)?;
            file.as_file().sync_all()?;
            file.persist(self.path(name))?;
            File::open(&self.dir)?.sync_all()
        };
        keep().map_err(|e| e.to_string())
    }

    fn get(&self, name: &str) -> Result<Box<dyn Read + '_>, String> {
        Ok(Box::new(File::open(self.path(name)).map_err(|e| e.to_string())?))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(&self.dir).map_err(|e| e.to_string())?;
        let names = entries.flatten().map(|e| e.file_name().to_string_lossy().replace('%', "/"));
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let depot = dir.path().join("depot");
    let machine = |name: &str| dir.path().join(name).join("store");

    // Machine A: the program runs to its end here, so that there is something to compare with.
    let carried = Arc::new(Mutex::new((vec![], vec![])));
    let told = carried.clone();
    let on_a = Job::new(machine("a"))
        .name("count")
        // The program's streams are not this process's, which a resume would cut back if it is a file.
        .stdio(StdioConfig::null())
        .depot(Flat::open(&depot, true)?)
        .on_notice(move |notice| {
            let mut told = told.lock().unwrap();
            match notice {
                Notice::Carried { checkpoint, bytes } => {
                    println!("{} is in the depot: {bytes} bytes", checkpoint.name());
                    told.0.push(checkpoint.number);
                }
                Notice::NotCarried { checkpoint, message } => {
                    println!("{} is not: {message}", checkpoint.name());
                    told.1.push(checkpoint.number);
                }
                _ => {}
            }
        })
        .run("count", wat::parse_str(COUNT)?.into(), vec![])?;
    assert_eq!(on_a, Outcome::Exited(100));
    let (carried, failed) = carried.lock().unwrap().clone();
    assert_eq!(failed.len(), 1, "the hiccup");
    assert_eq!(carried.last(), Some(&4), "the last one is there all the same");

    // Machine A is no more. Machine B has nothing but the depot.
    fs::remove_dir_all(machine("a"))?;
    let on_b = Job::new(machine("b"))
        .stdio(StdioConfig::null())
        .depot(Flat::open(&depot, false)?)
        .on_notice(|notice| {
            if let Notice::Begins { job } = notice {
                println!("{job} goes on elsewhere");
            }
        })
        .resume(&"count".parse()?)?;
    assert_eq!(on_b, on_a);
    Ok(())
}
