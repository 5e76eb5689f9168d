//! A conformance check, where it runs, what it finds, and what it left. The oracle (`conformance.rs`) and the test
//! (`crates/dormouse/tests/conformance.rs`, which includes this file) must make and read the same.
//!
//! ```text
//! secret              must never be seen
//! outside/            must never be entered
//! work/               preopened as /work
//!   file              0123456789        empty
//!   dir/nested/file   nested            dir/ is preopened once more, as "."
//!   link -> file      dirlink -> dir    chain -> link    dangling -> nowhere    loop -> loop    loop-a <-> loop-b
//!   inner-up -> dir/../dir              inner-file -> dir/../file
//!   up -> ../secret   updir -> ..       parent -> dir/../..    dangling-up -> ../nowhere    absolute -> /
//!   bytes/\xff                          bytes-link -> \xff
//! other/inside        inside            preopened as /other
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

/// One check of one program, as target/guests/conformance.json has it.
#[derive(Deserialize, Serialize)]
pub struct Check {
    pub program: String,
    pub check: String,
    pub wasm: String,
    pub args: Vec<String>,
    pub env: Vec<String>,
    pub stdin: String,
    /// What the stock command did.
    pub expected: Option<Left>,
}

/// What a run left. Of standard error only what the program wrote, not what the host says about its end.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Left {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
    pub files: BTreeMap<String, String>,
}

/// Host directory within the place, and what the program knows it by.
pub const DIRS: [(&str, &str); 3] = [("work", "/work"), ("other", "/other"), ("work/dir", ".")];

/// Makes the place in an empty directory.
pub fn make(at: &Path) -> io::Result<()> {
    for dir in ["outside", "work/dir/nested", "work/bytes", "other"] {
        fs::create_dir_all(at.join(dir))?;
    }
    let not_utf8 = OsStr::from_bytes(b"\xff");
    fs::write(at.join("secret"), "secret")?;
    fs::write(at.join("work/file"), "0123456789")?;
    fs::write(at.join("work/empty"), "")?;
    fs::write(at.join("work/dir/nested/file"), "nested")?;
    fs::write(at.join("work/bytes").join(not_utf8), "")?;
    fs::write(at.join("other/inside"), "inside")?;
    for (link, target) in [
        ("link", "file"),
        ("dirlink", "dir"),
        ("chain", "link"),
        ("dangling", "nowhere"),
        ("loop", "loop"),
        ("loop-a", "loop-b"),
        ("loop-b", "loop-a"),
        ("inner-up", "dir/../dir"),
        ("inner-file", "dir/../file"),
        ("up", "../secret"),
        ("updir", ".."),
        ("parent", "dir/../.."),
        ("dangling-up", "../nowhere"),
        ("absolute", "/"),
    ] {
        symlink(target, at.join("work").join(link))?;
    }
    symlink(not_utf8, at.join("work/bytes-link"))
}

/// Everything that is there, as text: kind and contents. No times, no sizes of directories, and not how many names a
/// file has: an undo log may keep one more.
pub fn left(at: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    walk(at, at, &mut found)?;
    Ok(found)
}

fn walk(at: &Path, dir: &Path, found: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        let what = if meta.is_dir() {
            walk(at, &path, found)?;
            "directory".to_owned()
        } else if meta.is_symlink() {
            format!("link to {:?}", fs::read_link(&path)?)
        } else if meta.len() > 4096 {
            format!("file of {} bytes", meta.len())
        } else {
            format!("file: {}", String::from_utf8_lossy(&fs::read(&path)?))
        };
        let name = path.strip_prefix(at).unwrap_or(&path);
        found.insert(format!("{}", name.as_os_str().as_bytes().escape_ascii()), what);
    }
    Ok(())
}
