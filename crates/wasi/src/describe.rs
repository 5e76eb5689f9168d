//! What saved WASI objects are, in words, for people who look into a checkpoint.

use crate::digests::Digest;
use crate::errors::WasiError;
use crate::os;
use crate::state::{Saved, SavedFd, SavedStream};
use serde::Serialize;

/// Saved WASI objects, readable. Bytes that are not UTF-8 are shown with replacement characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Program arguments, the program's name first.
    pub args: Vec<String>,
    /// Environment, as `KEY=VALUE`.
    pub env: Vec<String>,
    /// Directories given to the program.
    pub preopens: Vec<PreopenDescription>,
    /// Open file descriptors, ascending.
    pub fds: Vec<FdDescription>,
    /// How long the program has been awake, in nanoseconds: what its monotonic clock shows.
    pub awake_ns: u64,
    /// The timed wait the program was in, if it was in one.
    pub waiting: Option<WaitDescription>,
    /// How often the program had been resumed.
    pub restored: u32,
    /// Whether it stands in a `dormouse_checkpoint`.
    pub in_checkpoint: bool,
    /// Bytes of memory that it said need not be kept; whole pages of them are not.
    pub excluded: u64,
}

/// A directory given to the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreopenDescription {
    /// Name the program knows it by.
    pub guest: String,
    /// Where it was when the checkpoint was taken.
    pub host: String,
}

/// An open file descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FdDescription {
    /// Its number.
    pub fd: u32,
    /// `stdin`, `stdout`, `stderr`, `preopen`, `directory`, `file` or `device`.
    pub kind: &'static str,
    /// Guest path; for a standard stream, what it was connected to.
    pub path: String,
    /// Position, for files and for standard streams that are files.
    pub offset: Option<u64>,
    /// Length at the checkpoint, for files.
    pub size: Option<u64>,
    /// Of what a file held, in hexadecimal, if it is known; see `docs/format.md`, Descriptors.
    pub digest: Option<String>,
    /// Of `read`, `write`, `append`, `nonblock`.
    pub flags: Vec<&'static str>,
}

/// A `poll_oneoff` that was interrupted and will be made again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitDescription {
    /// When it ends on the program's monotonic clock, if it has a timeout on that.
    pub deadline_ns: Option<u64>,
    /// How long is left.
    pub left_ns: Option<u64>,
}

impl Description {
    /// The program's name for a path beneath one of its directories.
    pub fn path_of(&self, dir: usize, path: &str) -> String {
        guest_path(self.preopens.get(dir).map_or("", |preopen| &preopen.guest[..]), path)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Joins a preopen's name and a path beneath it.
pub(crate) fn guest_path(preopen: &str, path: &str) -> String {
    match (preopen, path) {
        (preopen, "") => preopen.to_owned(),
        (".", path) => path.to_owned(),
        (preopen, path) => format!("{}/{path}", preopen.trim_end_matches('/')),
    }
}

pub(crate) fn describe(bytes: &[u8]) -> Result<Description, WasiError> {
    let saved = Saved::decode(bytes)?;
    let fds = saved.fds.iter().map(|(fd, what)| describe_fd(&saved, *fd, what)).collect();
    let waiting = saved.pending.map(|pending| {
        let deadline_ns = Some(pending.deadline).filter(|deadline| *deadline != u64::MAX);
        let left_ns = deadline_ns.map(|deadline| deadline.saturating_sub(saved.monotonic));
        WaitDescription { deadline_ns, left_ns }
    });
    let preopens = saved.preopens.iter().map(|preopen| PreopenDescription {
        guest: preopen.guest.clone(),
        host: os::path_from_bytes(preopen.host.clone()).to_string_lossy().into_owned(),
    });
    Ok(Description {
        args: saved.args.iter().map(|arg| text(arg)).collect(),
        env: saved
            .env
            .iter()
            .map(|(key, value)| format!("{}={}", text(key), text(value)))
            .collect(),
        preopens: preopens.collect(),
        fds,
        awake_ns: saved.monotonic,
        waiting,
        restored: saved.directed.restored,
        in_checkpoint: saved.directed.inside,
        excluded: saved.directed.excluded.iter().map(|r| r.end - r.start).sum(),
    })
}

fn hexadecimal(digest: Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn describe_fd(saved: &Saved, fd: u32, what: &SavedFd) -> FdDescription {
    let path = |place: &crate::fds::Place| {
        let preopen = saved.preopens.get(place.preopen).map_or("", |preopen| &preopen.guest[..]);
        guest_path(preopen, &place.path)
    };
    let blank = FdDescription {
        fd,
        kind: "",
        path: String::new(),
        offset: None,
        size: None,
        digest: None,
        flags: Vec::new(),
    };
    match what {
        SavedFd::Stdio(which) => {
            let (path, offset) = match saved.streams[*which] {
                SavedStream::Other => ("stream", None),
                SavedStream::Terminal => ("terminal", None),
                SavedStream::File { position, .. } => ("file", Some(position)),
                SavedStream::Bytes { position } => ("bytes", Some(position)),
            };
            let kind = ["stdin", "stdout", "stderr"][*which];
            let flags = vec![if *which == 0 { "read" } else { "write" }];
            FdDescription { kind, path: path.to_owned(), offset, flags, ..blank }
        }
        SavedFd::Dir { place, preopen, .. } => FdDescription {
            kind: if *preopen { "preopen" } else { "directory" },
            path: path(place),
            ..blank
        },
        SavedFd::File(file) => {
            let all = [
                ("read", file.readable),
                ("write", file.writable),
                ("append", file.append),
                ("nonblock", file.nonblock),
            ];
            FdDescription {
                kind: if file.contents.is_some() { "file" } else { "device" },
                path: path(&file.place),
                offset: Some(file.offset),
                size: file.contents.map(|contents| contents.size),
                digest: file.contents.and_then(|contents| contents.digest).map(hexadecimal),
                flags: all.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect(),
                ..blank
            }
        }
    }
}
