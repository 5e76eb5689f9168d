//! A second set of a program's directories.

mod guest;

use dormouse_wasi::{Original, Replica, Wasi, WasiConfig, WasiError};
use guest::quiet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

fn saved(dirs: &[(&Path, &str)]) -> Vec<u8> {
    let dirs = dirs.iter().map(|(host, guest)| (host.to_path_buf(), (*guest).to_owned())).collect();
    let config = WasiConfig { dirs, stdio: quiet(b""), ..WasiConfig::default() };
    Wasi::new(config).unwrap().save().unwrap()
}

fn make(saved: &[u8], without: &[String], most: u64, into: &Path) -> Result<Replica, WasiError> {
    let except = into.parent();
    Replica::make(&Original { saved, without, undo: None, most, except, carried: false }, into)
}

#[test]
fn all_that_a_directory_has() {
    let dir = tempfile::tempdir().unwrap();
    let (work, into) = (dir.path().join("work"), dir.path().join("copy"));
    fs::create_dir_all(work.join("in/deep")).unwrap();
    fs::write(work.join("file"), "file").unwrap();
    fs::hard_link(work.join("file"), work.join("in/same")).unwrap();
    symlink("../file", work.join("in/link")).unwrap();
    symlink("/nowhere", work.join("away")).unwrap();
    fs::write(work.join("in/deep/run"), "x").unwrap();
    fs::set_permissions(work.join("in/deep/run"), fs::Permissions::from_mode(0o444)).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 7);
    for name in ["file", "in/deep/run", "in/deep", "in", ""] {
        fs::File::open(work.join(name)).unwrap().set_modified(then).unwrap();
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        work.join("in/pipe"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    fs::File::open(work.join("in")).unwrap().set_modified(then).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(&work.join("file"), 0o6755).unwrap();

    let made = make(&saved(&[(&work, "/")]), &[], 1 << 20, &into).unwrap();
    let copy = into.join("0");
    assert_eq!((made.dirs, made.left_out), (vec![(copy.clone(), "/".to_owned())], 1));
    assert_eq!(fs::read(copy.join("in/same")).unwrap(), b"file");
    let inode = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap().ino();
    assert_eq!(inode("file"), inode("in/same"));
    assert_ne!(inode("file"), fs::metadata(work.join("file")).unwrap().ino());
    assert_eq!(fs::read_link(copy.join("in/link")).unwrap(), Path::new("../file"));
    assert_eq!(fs::read_link(copy.join("away")).unwrap(), Path::new("/nowhere"));
    assert!(!copy.join("in/pipe").exists());
    for name in ["file", "in/deep/run", "in/deep", "in", ""] {
        let [now, was] = [&copy, &work].map(|at| fs::metadata(at.join(name)).unwrap());
        assert_eq!(now.modified().unwrap(), then, "{name}");
        // A copy does not act as somebody else.
        assert_eq!(now.mode(), was.mode() & !0o6000, "{name}");
    }
}

/// What two of a program's directories share, they share in the copy.
#[test]
fn one_beneath_another() {
    let dir = tempfile::tempdir().unwrap();
    let (work, other) = (dir.path().join("work"), dir.path().join("other"));
    fs::create_dir_all(work.join("in")).unwrap();
    fs::create_dir_all(&other).unwrap();
    symlink(&work, dir.path().join("link")).unwrap();
    let saved = saved(&[
        (&work.join("in"), "/in"),
        (&work, "/work"),
        (&other, "/other"),
        (&work, "/again"),
        (&dir.path().join("link"), "/link"),
    ]);
    let into = dir.path().join("copy");
    let made = make(&saved, &["/other".to_owned()], 1 << 20, &into).unwrap();
    let expected = [("0/in", "/in"), ("0", "/work"), ("0", "/again"), ("0", "/link")];
    let expected = expected.map(|(at, guest)| (into.join(at), guest.to_owned()));
    assert_eq!(made.dirs, expected);
}

/// The store may lie in a program's directory, or be it: a copy is not copied again.
#[test]
fn the_store_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    let store = work.join("in/store");
    fs::create_dir_all(&store).unwrap();
    fs::write(work.join("file"), "file").unwrap();
    fs::write(store.join("blob"), [1; 600]).unwrap();
    let into = store.join("copy");
    let saved_work = saved(&[(&work, "/")]);
    let made = make(&saved_work, &[], 4, &into).unwrap();
    assert_eq!((made.bytes, made.left_out), (4, 1));
    assert_eq!(fs::read(into.join("0/file")).unwrap(), b"file");
    assert!(into.join("0/in").exists() && !into.join("0/in/store").exists());
    // Whatever is excepted, the copy is.
    let original = Original {
        saved: &saved_work,
        without: &[],
        undo: None,
        most: 1 << 20,
        except: None,
        carried: false,
    };
    let made = Replica::make(&original, &work.join("again")).unwrap();
    assert_eq!(made.left_out, 1);
    assert!(!work.join("again/0/again").exists());
    let made = make(&saved(&[(&store, "/")]), &[], 0, &store.join("own")).unwrap();
    assert_eq!(made.left_out, 1);
    assert_eq!(fs::read_dir(store.join("own/0")).unwrap().count(), 0);
}

#[test]
fn what_is_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let (work, into) = (dir.path().join("work"), dir.path().join("copy"));
    fs::create_dir_all(work.join("in")).unwrap();
    fs::write(work.join("in/a"), [1; 600]).unwrap();
    fs::write(work.join("b"), [1; 600]).unwrap();
    let saved = saved(&[(&work, "/")]);
    let refused = make(&saved, &[], 1199, &into);
    assert!(matches!(refused, Err(WasiError::ManyBytes { most: 1199, .. })), "{refused:?}");
    assert!(!into.exists());
    assert_eq!(make(&saved, &[], 1200, &into).unwrap().bytes, 1200);
    let missing = make(&saved, &[], 1200, &PathBuf::from("/proc/nowhere"));
    assert!(matches!(missing, Err(WasiError::Io { .. })), "{missing:?}");
}

/// The undo log is copied too.
#[test]
fn a_large_log_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (work, log, into) =
        (dir.path().join("work"), dir.path().join("log"), dir.path().join("copy"));
    fs::create_dir_all(&work).unwrap();
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("chain"), [b'0'; 600]).unwrap();
    let saved = saved(&[(&work, "/")]);
    let undo = Some((log.as_path(), 1));
    let original =
        Original { saved: &saved, without: &[], undo, most: 599, except: None, carried: false };
    let refused = Replica::make(&original, &into);
    assert!(matches!(refused, Err(WasiError::ManyBytes { bytes: 600, .. })), "{refused:?}");
}
