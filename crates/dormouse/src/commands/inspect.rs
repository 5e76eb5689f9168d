//! `inspect`: what a checkpoint holds.

use super::Done;
use super::list::Checkpoint;
use crate::symbols::Symbols;
use crate::{cli, size, ui};
use dormouse::annotations;
use dormouse_store::{FileKind, FileTree};
use dormouse_wasi::{Description, FdDescription, ONLY_READ, Wasi};
use serde::Serialize;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Lines shown of each end of a deep stack. A function that calls itself takes one line.
const SHOWN: usize = 30;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    checkpoint: Checkpoint<'a>,
    /// Innermost first.
    frames: Vec<Frame>,
    memories: Vec<Memory>,
    globals: usize,
    tables: Vec<Table>,
    dropped_data: &'a [u32],
    dropped_elems: &'a [u32],
    wasi: Description,
    /// Imports that only an embedder has, as `module.name`.
    host_functions: &'a [String],
    /// What those remember.
    host_states: Vec<HostState<'a>>,
    /// What a resume does for each file.
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    path: String,
    /// `copied`: its contents are in the image; `checked`; `left alone`.
    rule: &'static str,
    /// `file`, `directory`, `link`, or `gone`: there is to be nothing.
    kind: &'static str,
    /// Of a file.
    size: Option<u64>,
}

/// Those that travel with the checkpoint, and those that are open.
fn files(tree: Option<&FileTree>, rule: Option<&String>, wasi: &Description) -> Vec<File> {
    let carried = tree.into_iter().flat_map(FileTree::iter).filter_map(|(name, kind)| {
        let (dir, path) = dormouse::split(name)?;
        // What was only read, and closed, does not matter any more.
        let path = wasi.path_of(dir, path);
        let only_read = matches!(kind, FileKind::File { mode, .. } if mode & ONLY_READ != 0);
        if only_read && !wasi.fds.iter().any(|fd| fd.path == path) {
            return None;
        }
        let (kind, size) = match kind {
            FileKind::Gone => ("gone", None),
            FileKind::Dir { .. } => ("directory", None),
            FileKind::Link { .. } => ("link", None),
            FileKind::File { size, .. } => ("file", Some(*size)),
        };
        Some(File { path, rule: "copied", kind, size })
    });
    let mut files: Vec<File> = carried.collect();
    let told: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
    let rule = if rule.is_some_and(|rule| rule == "none") { "left alone" } else { "checked" };
    for fd in wasi.fds.iter().filter(|fd| fd.kind == "file") {
        if !told.contains(&fd.path) {
            files.push(File { path: fd.path.clone(), rule, kind: "file", size: fd.size });
        }
    }
    files
}

#[derive(Serialize)]
struct Frame {
    func: u32,
    name: String,
    /// In the module file.
    offset: u32,
    /// In the function's body; none for an import.
    within: Option<u32>,
    locals: usize,
    operands: usize,
}

#[derive(Serialize)]
struct Memory {
    index: u32,
    pages: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct HostState<'a> {
    name: &'a str,
    bytes: usize,
}

#[derive(Serialize)]
struct Table {
    index: u32,
    entries: usize,
}

pub fn inspect(args: cli::Inspect) -> Done {
    let store = args.opening.store(&args.listing.place)?;
    let checkpoint = store.load(&args.target.job, args.target.number)?;
    for damage in &checkpoint.warnings {
        ui::warning(&damage.to_string());
    }
    let state = &checkpoint.state;
    let symbols = Symbols::of(&checkpoint.module);
    let frames = state.frames.iter().rev().map(|f| Frame {
        func: f.site.func,
        name: symbols.name(f.site.func),
        offset: f.site.offset,
        within: symbols.within(f.site.func, f.site.offset),
        locals: f.locals.len(),
        operands: f.operands.len(),
    });
    let memories = state.memories.iter().map(|m| Memory {
        index: m.index,
        pages: m.pages,
        bytes: m.pages.saturating_mul(65536),
    });
    let tables = state.tables.iter().map(|t| Table { index: t.index, entries: t.entries.len() });
    let wasi = Wasi::describe(&state.wasi)?;
    let rule = checkpoint.info.annotations.get(annotations::FILES);
    let report = Report {
        checkpoint: (&checkpoint.info).into(),
        frames: frames.collect(),
        memories: memories.collect(),
        globals: state.globals.len(),
        tables: tables.collect(),
        dropped_data: &state.dropped_data,
        dropped_elems: &state.dropped_elems,
        host_functions: &symbols.host,
        host_states: (state.host.iter())
            .map(|s| HostState { name: &s.name, bytes: s.bytes.len() })
            .collect(),
        files: files(checkpoint.files(), rule, &wasi),
        wasi,
    };
    if args.listing.json {
        ui::print_json(&report);
    } else {
        ui::print(&text(&report, &checkpoint.info, args.all));
    }
    Ok(0)
}

fn text(r: &Report<'_>, info: &dormouse_store::CheckpointInfo, all: bool) -> String {
    let mut out = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(out, "{what:12}{}", ui::visible(&value));
    };
    line("checkpoint", info.name());
    line("saved", ui::local_time(&info.created));
    if let Some(program) = info.annotations.get(annotations::PROGRAM) {
        line("program", program.clone());
    }
    let told = [annotations::HOST, annotations::ENGINE].map(|key| info.annotations.get(key));
    if let [Some(host), Some(engine)] = told {
        line("taken on", format!("{host}, {engine}"));
    }
    if let Some(tracking) = info.annotations.get(annotations::TRACKING) {
        line("tracking", tracking.clone());
    }
    line("module", format!("{} ({})", info.module_digest, size::text(info.module_size)));
    line("state", size::text(info.state_size));
    for m in &r.memories {
        let stored = size::text(info.memory_size);
        line(
            &format!("memory {}", m.index),
            format!("{} ({} pages)", size::text(m.bytes), m.pages),
        );
        if r.memories.len() == 1 {
            line("", format!("{stored} in the store"));
        }
    }
    line("globals", r.globals.to_string());
    for t in &r.tables {
        line(&format!("table {}", t.index), format!("{} entries", t.entries));
    }
    for (i, name) in r.host_functions.iter().enumerate() {
        line(if i == 0 { "needs" } else { "" }, format!("host function {name}"));
    }
    for state in &r.host_states {
        line("", format!("host state {}, {}", state.name, size::text(state.bytes as u64)));
    }
    line("awake for", format!("{:.3} s", r.wasi.awake_ns as f64 / 1e9));
    match r.wasi.restored {
        0 => {}
        1 => line("resumed", "once before".to_owned()),
        n => line("resumed", format!("{n} times before")),
    }
    if r.wasi.in_checkpoint {
        line("taken by", "the program itself, with dormouse_checkpoint".to_owned());
    }
    if r.wasi.excluded > 0 {
        line("excluded", format!("{} of memory", size::text(r.wasi.excluded)));
    }
    if let Some(left) = r.wasi.waiting.as_ref().and_then(|w| w.left_ns) {
        line("waiting", format!("{:.3} s to go", left as f64 / 1e9));
    }
    line("arguments", r.wasi.args.iter().map(|a| ui::quoted(a)).collect::<Vec<_>>().join(" "));
    for (i, p) in r.wasi.preopens.iter().enumerate() {
        line(if i == 0 { "directories" } else { "" }, format!("{} is {}", p.guest, p.host));
    }
    for (i, fd) in r.wasi.fds.iter().enumerate() {
        line(if i == 0 { "open files" } else { "" }, describe(fd));
    }
    let shown = if all { usize::MAX } else { SHOWN };
    for (i, file) in r.files.iter().take(shown).enumerate() {
        let what = match file.kind {
            "gone" => "deleted".to_owned(),
            kind => format!("{} ({})", file.rule, file.size.map_or(kind.to_owned(), size::text)),
        };
        line(if i == 0 { "files" } else { "" }, format!("{} {what}", file.path));
    }
    if r.files.len() > shown {
        line("", format!("... {} more; --all shows them", r.files.len() - shown));
    }
    if info.files_size > 0 {
        line("", format!("{} in the store", size::text(info.files_size)));
    }
    line("frames", format!("{}, innermost first", r.frames.len()));
    let mut first = 0;
    let mut lines = vec![];
    for run in r.frames.chunk_by(|a, b| !all && (a.func, a.offset) == (b.func, b.offset)) {
        let f = &run[0];
        let place = f.within.map_or(String::new(), |w| format!(" +{w:#x}"));
        let times = if run.len() > 1 { format!(" ({} times)", run.len()) } else { String::new() };
        lines.push(format!(
            "  #{first:<6} {}{place}{times}   module {:#x}, {} locals, {} operands",
            ui::visible(&f.name),
            f.offset,
            f.locals,
            f.operands
        ));
        first += run.len();
    }
    let n = lines.len();
    for (i, line) in lines.into_iter().enumerate() {
        if all || i < SHOWN || i + SHOWN >= n {
            let _ = writeln!(out, "{line}");
        } else if i == SHOWN {
            let _ = writeln!(out, "  ... --all shows those between ...");
        }
    }
    out
}

fn describe(fd: &FdDescription) -> String {
    let mut out = format!("{} {} {}", fd.fd, fd.kind, fd.path);
    if let Some(offset) = fd.offset {
        let _ = write!(out, " at {offset}");
    }
    if let Some(size) = fd.size {
        let _ = write!(out, " of {size}");
    }
    let _ = write!(out, " ({})", fd.flags.join(", "));
    out
}
