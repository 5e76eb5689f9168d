//! A stack as text.
//!
//! ```text
//!   #0      relax  src/heat.c:31:7 (inlined)          each function that was inlined has a line of its own
//!           step +0x41  src/heat.c:52:3
//!             i = 3, n = 10                            variables of the source; else locals
//!   #1      main +0x1c  module 0x3c2                  where there is no source
//! ```

use crate::ui;
use anstyle::{AnsiColor, Style};
use dormouse::look::{Frame, Typed};
use std::fmt::Write as _;

const NAME: Style = AnsiColor::Cyan.on_default();
/// Blocks shown of each end of a deep stack. A function that calls itself takes one.
const SHOWN: usize = 15;
/// Columns there are.
const WIDTH: usize = 80;
/// Where what belongs to a frame begins.
const INDENT: &str = "          ";
/// Lines of values that a frame gets, where not all are shown.
const VALUES: usize = 2;

/// Frames, innermost first; `all`: also those between; `full`: each, with all that it holds.
pub fn text(frames: &[Frame], all: bool, full: bool) -> String {
    let mut blocks = vec![];
    let mut first = 0;
    for run in frames.chunk_by(|a, b| !full && !all && a.stands_like(b)) {
        blocks.push((first, run));
        first += run.len();
    }
    let mut out = String::new();
    let n = blocks.len();
    for (i, (first, run)) in blocks.into_iter().enumerate() {
        if all || full || i < SHOWN || i + SHOWN >= n {
            block(&mut out, first, run, full);
        } else if i == SHOWN {
            let _ = writeln!(out, "  ... {} more; --all shows them ...", n - 2 * SHOWN);
        }
    }
    out
}

fn block(out: &mut String, first: usize, run: &[Frame], full: bool) {
    let frame = &run[0];
    let mut lead = format!("  #{first:<6} ");
    let inlined = frame.lines.len().saturating_sub(1);
    for line in &frame.lines[..inlined] {
        let name = line.function.as_deref().unwrap_or("?");
        headline(out, &lead, name, "", &format!("{line} (inlined)"), full);
        lead = INDENT.to_owned();
    }
    let mut place = within(frame);
    if run.len() > 1 {
        place += &format!(" ({} times)", run.len());
    }
    let source = match source(frame) {
        Some(line) if full => format!("{line}, module {:#x}", frame.offset),
        Some(line) => line,
        None if frame.within.is_some() => format!("module {:#x}", frame.offset),
        None => String::new(),
    };
    headline(out, &lead, &frame.name, &place, &source, full);
    match full {
        true => everything(out, frame),
        false => wrapped(out, &shortly(frame)),
    }
}

/// Where in the function's body it stands.
fn within(frame: &Frame) -> String {
    frame.within.map_or(String::new(), |within| format!(" +{within:#x}"))
}

/// The line of the source that the function itself is at, without what was inlined there.
fn source(frame: &Frame) -> Option<String> {
    frame.lines.last().filter(|line| line.file.is_some()).map(ToString::to_string)
}

/// A frame in one line: `step +0x41  src/heat.c:52:3`.
pub fn one_line(frame: &Frame) -> String {
    let name = shortened(&frame.name, 40);
    let source = source(frame).map_or(String::new(), |source| format!("  {source}"));
    format!("{name}{}{source}", within(frame))
}

/// The values of a frame by their names: the source's variables, else locals; and operands.
pub fn values(frame: &Frame) -> Vec<(String, String)> {
    let variables = frame.variables.iter().map(|v| {
        let missing = || v.missing.unwrap_or("?").to_owned();
        (v.name.to_string(), v.value.clone().unwrap_or_else(missing))
    });
    let locals = frame.locals.iter().map(|l| (local(l), l.value.to_string()));
    let operands = frame.operands.iter().enumerate();
    let operands = operands.map(|(n, value)| (format!("operand {n}"), value.to_string()));
    match frame.variables.is_empty() {
        true => locals.chain(operands).collect(),
        false => variables.chain(operands).collect(),
    }
}

/// A function and where it stands, in one line if there is room.
fn headline(out: &mut String, lead: &str, name: &str, place: &str, source: &str, full: bool) {
    let name = if full {
        ui::visible(name)
    } else {
        shortened(&ui::visible(name), 66 - place.len().min(30))
    };
    let source = ui::visible(source);
    let width = lead.len() + name.chars().count() + place.len();
    let _ = write!(out, "{lead}{NAME}{name}{NAME:#}{place}");
    if !source.is_empty() && width + 2 + source.chars().count() > WIDTH {
        let _ = write!(out, "\n{INDENT}  {source}");
    } else if !source.is_empty() {
        let _ = write!(out, "  {source}");
    }
    out.push('\n');
}

/// The values of a frame, each in a few words.
fn shortly(frame: &Frame) -> Vec<String> {
    let known =
        frame.variables.iter().filter_map(|v| Some(format!("{} = {}", v.name, v.value.as_ref()?)));
    let mut all: Vec<String> = match frame.variables.is_empty() {
        false => known.collect(),
        true => frame.locals.iter().map(|l| format!("{} = {}", local(l), l.value)).collect(),
    };
    if frame.variables.is_empty() && !frame.operands.is_empty() {
        let operands: Vec<String> = frame.operands.iter().map(Typed::to_string).collect();
        all.push(format!("operands {}", operands.join(" ")));
    }
    all.iter().map(|value| shortened(&ui::visible(value), 60)).collect()
}

/// In as few lines as there are for them.
fn wrapped(out: &mut String, values: &[String]) {
    let mut line = String::new();
    let mut lines = 0;
    for (i, value) in values.iter().enumerate() {
        let last = i + 1 == values.len();
        let room = WIDTH - INDENT.len() - 2 - if lines + 1 == VALUES && !last { 5 } else { 0 };
        if !line.is_empty() && line.chars().count() + 2 + value.chars().count() > room {
            lines += 1;
            if lines == VALUES {
                let _ = writeln!(out, "{INDENT}  {line}, ...");
                return;
            }
            let _ = writeln!(out, "{INDENT}  {line},");
            line.clear();
        }
        if !line.is_empty() {
            line += ", ";
        }
        line += value;
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{INDENT}  {line}");
    }
}

/// One line for each value.
fn everything(out: &mut String, frame: &Frame) {
    let mut line = |text: String| {
        let _ = writeln!(out, "{INDENT}  {}", ui::visible(&text));
    };
    let inlined = frame.lines.len().saturating_sub(1);
    for v in &frame.variables {
        let of = match frame.lines.get(v.line).and_then(|line| line.function.as_ref()) {
            Some(function) if v.line < inlined => format!("   in {function}"),
            _ => String::new(),
        };
        match (&v.value, v.missing) {
            (Some(value), _) => line(format!("{}: {} = {value}{of}", v.name, v.ty)),
            (None, missing) => {
                line(format!("{}: {}   {}{of}", v.name, v.ty, missing.unwrap_or("?")))
            }
        }
    }
    for l in &frame.locals {
        line(format!("{} = {}", local(l), typed(&l.value)));
    }
    if let Some(count) = frame.local_count.filter(|count| *count as usize > frame.locals.len()) {
        line(format!("{} of {} locals are kept", frame.locals.len(), count));
    }
    for (i, operand) in frame.operands.iter().enumerate() {
        line(format!("operand {i} = {}", typed(operand)));
    }
}

fn local(l: &dormouse::look::Local) -> String {
    l.name.as_ref().map_or_else(|| format!("local {}", l.index), |name| format!("${name}"))
}

/// A value with its type, and integers in hexadecimal where that is another number.
pub fn typed(value: &Typed) -> String {
    let text = value.to_string();
    match value.bits().filter(|_| matches!(value.ty(), "i32" | "i64")) {
        Some(bits) if bits.len() > 3 => format!("{text} ({}, {bits})", value.ty()),
        _ => format!("{text} ({})", value.ty()),
    }
}

/// At most so many characters.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(func: u32, lines: Vec<dormouse::look::Line>) -> Frame {
        Frame {
            func,
            name: format!("f{func}").into(),
            symbol: None,
            offset: 0x40,
            within: Some(4),
            lines: lines.into(),
            variables: vec![],
            locals: vec![],
            local_count: None,
            operands: vec![],
        }
    }

    #[test]
    fn deep_stacks() {
        let frames: Vec<Frame> = (0..40).map(|func| frame(func, vec![])).collect();
        let shown = text(&frames, false, false);
        assert!(shown.contains("  ... 10 more; --all shows them ...\n"), "{shown}");
        assert_eq!((shown.lines().count(), text(&frames, true, false).lines().count()), (31, 40));
        let same: Vec<Frame> = (0..40).map(|_| frame(7, vec![])).collect();
        let shown = anstream::adapter::strip_str(&text(&same, false, false)).to_string();
        assert_eq!(shown, "  #0      f7 +0x4 (40 times)  module 0x40\n");
    }

    #[test]
    fn long_lines() {
        let line = dormouse::look::Line {
            function: Some("g".repeat(100)),
            file: Some(format!("{}/x.c", "d".repeat(50))),
            line: Some(3),
            column: None,
        };
        let shown = text(&[frame(1, vec![line.clone(), line])], false, false);
        let shown = anstream::adapter::strip_str(&shown).to_string();
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH), "{shown}");
        assert!(shown.contains("gg...\n") && shown.contains("/x.c:3 (inlined)\n"), "{shown}");
        // What a terminal obeys is made visible.
        let odd = Frame { name: "a\x1b[2J".into(), ..frame(1, vec![]) };
        assert!(text(&[odd], false, false).contains("a\\u{1b}[2J"));
    }
}
