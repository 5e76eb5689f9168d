//! Where stores, cached code and sockets lie when nobody says otherwise.
//!
//! ```text
//!   store    $DORMOUSE_STORE   or $XDG_DATA_HOME/dormouse    or ~/.local/share/dormouse
//!   cache    $DORMOUSE_CACHE   or $XDG_CACHE_HOME/dormouse   or ~/.cache/dormouse
//!   sockets  STORE/run         or, where that is too long a path for a socket,
//!            $XDG_RUNTIME_DIR/dormouse or /tmp/dormouse-UID
//! ```

use crate::{Error, Result};
use std::env::var_os;
use std::path::PathBuf;

/// The default store.
///
/// # Errors
/// If no variable names a place.
pub fn store() -> Result<PathBuf> {
    place("DORMOUSE_STORE", "XDG_DATA_HOME", ".local/share").ok_or(Error::NoPlace {
        variable: "DORMOUSE_STORE",
        what: "store",
        flag: "--store",
    })
}

/// The default cache of compiled code; without a place for it there is none.
pub fn cache() -> Option<PathBuf> {
    place("DORMOUSE_CACHE", "XDG_CACHE_HOME", ".cache")
}

/// A directory for sockets with a short path.
pub(crate) fn short_runtime_dir() -> PathBuf {
    match set("XDG_RUNTIME_DIR") {
        Some(dir) => dir.join("dormouse"),
        None => {
            let user = rustix::process::geteuid().as_raw();
            PathBuf::from(format!("/tmp/dormouse-{user}"))
        }
    }
}

fn place(own: &str, xdg: &str, under_home: &str) -> Option<PathBuf> {
    set(own)
        .or_else(|| Some(set(xdg)?.join("dormouse")))
        .or_else(|| Some(set("HOME")?.join(under_home).join("dormouse")))
}

/// The XDG rules: empty and relative values do not count. (Ours may be relative.)
fn set(variable: &str) -> Option<PathBuf> {
    let value = PathBuf::from(var_os(variable)?);
    let counts =
        !value.as_os_str().is_empty() && (variable.starts_with("DORMOUSE_") || value.is_absolute());
    counts.then_some(value)
}
