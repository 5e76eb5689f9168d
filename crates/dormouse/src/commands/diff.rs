//! `diff`: how two checkpoints differ.

use super::inspect::{FEW, Lines, describe, global_name};
use super::{Done, stack, strip};
use crate::{cli, size, ui};
use anstyle::AnsiColor;
use dormouse::exit;
use dormouse::look::{self, Changes, File, Frame, FrameChange, MemoryChange};

/// Where values begin.
const COLUMN: usize = 12;
/// Frames that returned or were called that are shown of each end.
const FRAMES: usize = 10;

pub fn diff(args: cli::Diff) -> Done {
    let store = args.opening.store(&args.listing.place)?;
    let load = |target: &dormouse::Target| {
        let checkpoint = store.load(&target.job, target.number)?;
        for damage in &checkpoint.warnings {
            ui::warning(&damage.to_string());
        }
        Ok::<_, dormouse::Error>(checkpoint)
    };
    let changes = look::changes(&load(&args.before)?, &load(&args.after)?)?;
    match args.listing.json {
        true => ui::print_json(&changes),
        false => ui::print_styled(&coloured(&text(&changes, args.all))),
    }
    Ok(if changes.same { 0 } else { exit::FOUND })
}

/// What was in red, what is in green.
fn coloured(text: &str) -> String {
    let colour = |line: &str| {
        let style = match line.get(COLUMN..COLUMN + 2)? {
            "- " => AnsiColor::Red.on_default(),
            "+ " => AnsiColor::Green.on_default(),
            _ => return None,
        };
        let (what, value) = line.split_at(COLUMN);
        Some(format!("{what}{style}{value}{style:#}\n"))
    };
    text.lines().map(|line| colour(line).unwrap_or_else(|| format!("{line}\n"))).collect()
}

fn text(c: &Changes, all: bool) -> String {
    let few = if all { usize::MAX } else { FEW };
    let mut out = Lines(String::new());
    let awake = |ns: u64| format!("awake for {:.3} s", ns as f64 / 1e9);
    for (what, summary, ns) in
        [("from", &c.before, c.awake_ns.before), ("to", &c.after, c.awake_ns.after)]
    {
        let saved = ui::local_time(&summary.created);
        out.add(what, format!("{}, saved {saved}, {}", summary.name, awake(ns)));
    }
    if c.same {
        out.add("same", "they hold the same, but for clocks");
        return out.0;
    }
    frames(&mut out, c, all);
    let globals = c.globals.iter().map(|g| {
        let was = g.value.before.as_ref().map_or("nothing".to_owned(), ToString::to_string);
        let is = g.value.after.as_ref().map_or("nothing".to_owned(), stack::typed);
        format!("{}: {was} -> {is}", global_name(g.name.as_deref(), g.index))
    });
    out.list("globals", &globals.collect::<Vec<_>>(), few);
    for t in &c.tables {
        let size = match t.entries.before == t.entries.after {
            true => ui::entries(t.entries.after),
            false => format!("{} -> {}", t.entries.before, ui::entries(t.entries.after)),
        };
        out.add(&format!("table {}", t.index), format!("{} of {size} changed", t.changed));
        let elements = t.elements.iter().map(|e| {
            let text = |v: &Option<look::Typed>| {
                v.as_ref().map_or("nothing".to_owned(), ToString::to_string)
            };
            format!("{}: {} -> {}", e.at, text(&e.value.before), text(&e.value.after))
        });
        out.list("", &elements.collect::<Vec<_>>(), few);
    }
    let changed = |m: &&MemoryChange| m.pages.before != m.pages.after || !m.ranges.is_empty();
    let mut legend = Some(strip::legend(true));
    for m in c.memories.iter().filter(changed) {
        memory(&mut out, m, few);
        if let Some(legend) = legend.take() {
            out.0 += &format!("{:12}{legend}\n", "");
        }
    }
    for (kind, dropped) in [("data", &c.dropped_data), ("element", &c.dropped_elems)] {
        let segments: Vec<String> = dropped.iter().map(|n| format!("{kind} segment {n}")).collect();
        out.list("dropped", &segments, few);
    }
    let directories = c.preopens.iter().map(|change| match (&change.before, &change.after) {
        (Some(was), Some(is)) => format!("{}: {} -> {}", is.guest, was.host, is.host),
        (Some(was), None) => format!("- {} is {}", was.guest, was.host),
        (None, Some(is)) => format!("+ {} is {}", is.guest, is.host),
        (None, None) => String::new(),
    });
    out.list("directories", &directories.collect::<Vec<_>>(), usize::MAX);
    let fds: Vec<String> =
        c.fds.iter().flat_map(|change| signed(&change.before, &change.after, describe)).collect();
    out.list("open files", &fds, usize::MAX);
    let describe_file = |file: &File| match file.kind {
        "gone" => format!("{} deleted", file.path),
        kind => format!("{} {}", file.path, file.size.map_or(kind.to_owned(), size::text)),
    };
    let files = c.files.iter().flat_map(|change| match (&change.before, &change.after) {
        (Some(was), Some(is)) if was == is => vec![format!("* {} changed", describe_file(is))],
        (was, is) => signed(was, is, describe_file),
    });
    out.list("files", &files.collect::<Vec<_>>(), few);
    out.list("host states", &c.host_states, usize::MAX);
    out.0
}

/// What there was with a `-`, and what there is with a `+`.
fn signed<T>(was: &Option<T>, is: &Option<T>, describe: impl Fn(&T) -> String) -> Vec<String> {
    let was = was.iter().map(|was| format!("- {}", describe(was)));
    was.chain(is.iter().map(|is| format!("+ {}", describe(is)))).collect()
}

fn frames(out: &mut Lines, c: &Changes, all: bool) {
    let stack = &c.frames;
    let (returned, called) = (stack.returned.len(), stack.called.len());
    if stack.changed.len() + returned + called == 0 {
        return;
    }
    let what = [(stack.changed.len(), "changed"), (returned, "returned"), (called, "called")];
    let what = what.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    let what: Vec<String> = what.collect();
    out.add("frames", format!("{} in both; {}", stack.shared, what.join(", ")));
    for (sign, frames) in [("-", &stack.returned), ("+", &stack.called)] {
        let lines = listed(frames, sign, all);
        lines.iter().for_each(|line| out.add("", line));
    }
    let shown = if all { usize::MAX } else { 2 * FRAMES };
    for change in stack.changed.iter().take(shown) {
        moved(out, change, all);
    }
    if stack.changed.len() > shown {
        out.add("", format!("... {} more; --all shows them", stack.changed.len() - shown));
    }
}

/// Frames in a line each; those of a recursion in one.
fn listed(frames: &[Frame], sign: &str, all: bool) -> Vec<String> {
    let runs = frames.chunk_by(|a, b| !all && a.stands_like(b)).map(|run| {
        let times = if run.len() > 1 { format!(" ({} times)", run.len()) } else { String::new() };
        format!("{sign} {}{times}", stack::one_line(&run[0]))
    });
    let lines: Vec<String> = runs.collect();
    if all || lines.len() <= 2 * FRAMES {
        return lines;
    }
    let left = lines.len() - 2 * FRAMES;
    let more = format!("{sign} ... {left} more; --all shows them ...");
    let (first, last) = (&lines[..FRAMES], &lines[lines.len() - FRAMES..]);
    [first, &[more], last].concat()
}

fn moved(out: &mut Lines, change: &FrameChange, all: bool) {
    let (was, is) = (&change.before, &change.after);
    if was.stands_like(is) {
        out.add("", format!("* {}", stack::one_line(is)));
    } else {
        out.add("", format!("- {}", stack::one_line(was)));
        out.add("", format!("+ {}", stack::one_line(is)));
    }
    let (was, is) = (stack::values(was), stack::values(is));
    let mut lines = vec![];
    for (at, (name, value)) in is.iter().enumerate() {
        // The n-th of a name is that of the other: inner variables hide outer ones.
        let nth = is[..at].iter().filter(|other| other.0 == *name).count();
        match was.iter().filter(|other| other.0 == *name).nth(nth) {
            Some((_, old)) if old == value => {}
            Some((_, old)) => lines.push(format!("    {name}: {old} -> {value}")),
            None => lines.push(format!("    {name} = {value}")),
        }
    }
    out.list("", &lines, if all { usize::MAX } else { FEW });
}

fn memory(out: &mut Lines, m: &MemoryChange, few: usize) {
    let total = m.heat.total;
    let pages = total.zero.saturating_add(total.same).saturating_add(total.changed);
    let changed = total.changed;
    out.add(&format!("memory {}", m.index), format!("{changed} of {pages} pages of 4 KiB changed"));
    if m.pages.before != m.pages.after {
        out.add("", format!("{} -> {} pages of 64 KiB", m.pages.before, m.pages.after));
    }
    out.0 += &format!("{:12}{}\n", "", strip::strip(&m.heat));
    let ranges = m.ranges.iter().map(|range| {
        format!("{:#x}..{:#x} ({})", range.start, range.end, size::text(range.end - range.start))
    });
    out.list("", &ranges.collect::<Vec<_>>(), few);
}
