//! `inspect`: what a checkpoint holds.

use super::{Done, dump, stack, strip};
use crate::{cli, size, ui};
use dormouse::annotations;
use dormouse::look::{self, Dwarf, Inspection, Memory, Table};
use dormouse_wasi::FdDescription;
use std::fmt::Write as _;

/// Lines of files that are shown.
const SHOWN: usize = 30;
/// Lines shown of the globals, of a table, and of the data segments of a memory.
pub const FEW: usize = 8;

pub fn inspect(args: cli::Inspect) -> Done {
    let store = args.opening.store(&args.listing.place)?;
    let checkpoint = store.load(&args.target.job, args.target.number)?;
    for damage in &checkpoint.warnings {
        ui::warning(&damage.to_string());
    }
    if args.parts.memory.is_some() || args.parts.strings.is_some() {
        return dump::dump(&checkpoint, &args);
    }
    let before = look::previous(&store, &checkpoint.info);
    let seen = Inspection::of(&checkpoint, before.as_ref())?;
    if args.listing.json {
        ui::print_json(&seen);
    } else {
        ui::print_styled(&text(&seen, args.all || args.frames, args.frames));
    }
    Ok(0)
}

/// Lines that say what they are about at their beginning.
pub struct Lines(pub String);

impl Lines {
    /// Nothing of `value` reaches the terminal but what is seen.
    pub fn add(&mut self, what: &str, value: impl AsRef<str>) {
        let _ = writeln!(self.0, "{what:12}{}", ui::visible(value.as_ref()));
    }

    /// As many as are to be shown, and how many more there are.
    pub fn list(&mut self, what: &str, items: &[String], shown: usize) {
        for (i, item) in items.iter().take(shown).enumerate() {
            self.add(if i == 0 { what } else { "" }, item);
        }
        if items.len() > shown {
            self.add("", format!("... {} more; --all shows them", items.len() - shown));
        }
    }
}

fn text(r: &Inspection, all: bool, full: bool) -> String {
    let c = &r.checkpoint;
    let limit = |few: usize| if all { usize::MAX } else { few };
    let mut out = Lines(String::new());
    out.add("checkpoint", &c.name);
    out.add("saved", ui::local_time(&c.created));
    if let Some(program) = c.annotations.get(annotations::PROGRAM) {
        out.add("program", program);
    }
    let told = [annotations::HOST, annotations::ENGINE].map(|key| c.annotations.get(key));
    if let [Some(host), Some(engine)] = told {
        out.add("taken on", format!("{host}, {engine}"));
    }
    if let Some(tracking) = c.annotations.get(annotations::TRACKING) {
        out.add("tracking", tracking);
    }
    out.add("module", &c.module_digest);
    out.add("", size::text(c.module_size));
    out.add("state", size::text(c.state_size));
    for (i, m) in r.memories.iter().enumerate() {
        memory(&mut out, m, r.compared_with.as_deref(), limit(FEW));
        if i + 1 == r.memories.len() {
            out.0 += &format!("{:12}{}\n", "", strip::legend(r.compared_with.is_some()));
            out.add("", format!("{} in the store", size::text(c.memory_size)));
        }
    }
    let globals: Vec<String> = r.globals.iter().map(global).collect();
    out.list("globals", &globals, limit(FEW));
    for t in &r.tables {
        table(&mut out, t, limit(FEW));
    }
    for (i, name) in r.host_functions.iter().enumerate() {
        out.add(if i == 0 { "needs" } else { "" }, format!("host function {name}"));
    }
    for state in &r.host_states {
        out.add("", format!("host state {}, {}", state.name, size::text(state.bytes as u64)));
    }
    out.add("awake for", format!("{:.3} s", r.wasi.awake_ns as f64 / 1e9));
    match r.wasi.restored {
        0 => {}
        1 => out.add("resumed", "once before"),
        n => out.add("resumed", format!("{n} times before")),
    }
    if r.wasi.in_checkpoint {
        out.add("taken by", "the program itself, with dormouse_checkpoint");
    }
    if r.wasi.excluded > 0 {
        out.add("excluded", format!("{} of memory", size::text(r.wasi.excluded)));
    }
    if let Some(left) = r.wasi.waiting.as_ref().and_then(|w| w.left_ns) {
        out.add("waiting", format!("{:.3} s to go", left as f64 / 1e9));
    }
    out.add("arguments", r.wasi.args.iter().map(|a| ui::quoted(a)).collect::<Vec<_>>().join(" "));
    for (i, p) in r.wasi.preopens.iter().enumerate() {
        out.add(if i == 0 { "directories" } else { "" }, format!("{} is {}", p.guest, p.host));
    }
    for (i, fd) in r.wasi.fds.iter().enumerate() {
        out.add(if i == 0 { "open files" } else { "" }, describe(fd));
    }
    let files = r.files.iter().map(|file| match file.kind {
        "gone" => format!("{} deleted", file.path),
        kind => {
            let what = file.size.map_or(kind.to_owned(), size::text);
            format!("{} {} ({what})", file.path, file.rule)
        }
    });
    out.list("files", &files.collect::<Vec<_>>(), limit(SHOWN));
    if c.files_size > 0 {
        out.add("", format!("{} in the store", size::text(c.files_size)));
    }
    match r.dwarf {
        Dwarf::Damaged => out.add("debug info", "is damaged in parts; those are left out"),
        Dwarf::Large => out.add("debug info", "is very large; not all of it was read"),
        Dwarf::None | Dwarf::Read => {}
    }
    out.add("frames", format!("{}, innermost first", r.frames.len()));
    out.0 + &stack::text(&r.frames, all, full)
}

fn memory(out: &mut Lines, m: &Memory, before: Option<&str>, shown: usize) {
    let name = m.name.as_ref().map_or(String::new(), |name| format!(", {name}"));
    let size = size::text(m.bytes);
    out.add(&format!("memory {}", m.index), format!("{size} ({} pages){name}", m.pages));
    out.0 += &format!("{:12}{}\n", "", strip::strip(&m.heat));
    let total = m.heat.total;
    let what = match before {
        Some(before) => format!(
            "4 KiB pages: {} zero, {} same, {} changed since {before}",
            total.zero, total.same, total.changed
        ),
        None => format!("4 KiB pages: {} zero, {} not", total.zero, total.same),
    };
    out.add("", what);
    let segments = m.segments.iter().map(|s| {
        let name = s.name.as_deref().unwrap_or("data");
        let end = s.start.saturating_add(s.bytes);
        format!("{name} {:#x}..{end:#x} ({})", s.start, size::text(s.bytes))
    });
    out.list("", &segments.collect::<Vec<_>>(), shown);
}

fn global(g: &look::Global) -> String {
    let name = global_name(g.name.as_deref(), g.index);
    format!("{name} = {}", stack::typed(&g.value))
}

pub fn global_name(name: Option<&str>, index: u32) -> String {
    name.map_or_else(|| format!("global[{index}]"), str::to_owned)
}

fn table(out: &mut Lines, t: &Table, shown: usize) {
    let name = t.name.as_ref().map_or(String::new(), |name| format!(", {name}"));
    let what = format!("{}, {} set{name}", ui::entries(t.entries), t.set);
    out.add(&format!("table {}", t.index), what);
    let elements = t.elements.iter().map(|e| format!("{} {}", e.at, e.value));
    out.list("", &elements.collect::<Vec<_>>(), shown);
}

pub fn describe(fd: &FdDescription) -> String {
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
