//! Images that every kind of host wrote, of one program at one safepoint: each is whole, goes on, and holds the same as all
//! others. `cargo xtask hetero --images` wrote them, and wakes them on every host.
#![allow(missing_docs)]

mod harness;

use dormouse_store::Store;
use harness::*;
use std::path::{Path, PathBuf};

fn images() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    let all = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<_> = all.filter(|p| p.is_dir()).collect();
    all.sort();
    assert!(all.len() >= 6, "{all:?}");
    all
}

/// To work on; the original must not be written to.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => std::fs::copy(entry.path(), to.join(entry.file_name())).map(drop).unwrap(),
        }
    }
}

#[test]
fn images_of_all_hosts_go_on() {
    for image in images() {
        let p = Place::new();
        copy(&image, &p.store());
        assert_eq!(p.ok(&["verify"]), "1 of 1 checkpoints are good\n", "{}", image.display());
        assert_eq!(
            p.ok(&["resume", "image"]),
            include_str!("images/prints.txt"),
            "{}",
            image.display()
        );
    }
}

#[test]
fn images_of_all_hosts_hold_the_same() {
    let mut first = None;
    for image in images() {
        let dir = tempfile::tempdir().unwrap();
        copy(&image, dir.path());
        let checkpoint = Store::open(dir.path()).unwrap().load("image", None).unwrap();
        let mut state = checkpoint.state.clone();
        // The clock: how long it was awake.
        state.wasi.clear();
        let memories: Vec<Vec<u8>> = (state.memories.iter())
            .map(|m| {
                let mut bytes = vec![0; (m.pages as usize) << 16];
                checkpoint.read_memory(m.index, &mut bytes).unwrap();
                bytes
            })
            .collect();
        let now = (state.encode(), checkpoint.module.to_vec(), memories);
        let (name, first) = first.get_or_insert((image.clone(), now.clone()));
        assert!(*first == now, "{} and {}", name.display(), image.display());
    }
}
