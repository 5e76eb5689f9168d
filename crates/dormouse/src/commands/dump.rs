//! `inspect --memory` and `--strings`: the bytes of a memory, and the texts in them.

use super::Done;
use crate::cli;
use dormouse::look::{Bytes, Text};
use dormouse_store::Checkpoint;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::ops::Range;

/// Bytes in a line.
const LINE: usize = 16;

pub fn dump(checkpoint: &Checkpoint, args: &cli::Inspect) -> Done {
    let part = args.parts.memory.as_ref();
    let index = part.and_then(|part| part.memory).or(args.memory_index);
    let range = part.map_or(0..u64::MAX, |part| part.range.clone());
    let mut out = BufWriter::new(io::stdout().lock());
    let json = args.listing.json;
    if let Some(least) = args.parts.strings {
        // All memories, where none is named.
        let all: Vec<u32> = checkpoint.state.memories.iter().map(|m| m.index).collect();
        let memories = index.or(part.map(|_| 0)).map_or(all, |index| vec![index]);
        let mut found =
            Strings { out: &mut out, json, many: memories.len() > 1, ended: Ok(()), first: true };
        found.say(if json { "[" } else { "" });
        for index in memories {
            let mut memory = Bytes::of(checkpoint, index)?;
            memory.texts(range.clone(), least.into(), |text| found.one(index, &text))?;
        }
        found.say(if json { "\n]\n" } else { "" });
        return told(found.ended.and_then(|()| out.flush()));
    }
    let index = index.unwrap_or(0);
    let mut memory = Bytes::of(checkpoint, index)?;
    let range = range.start.min(memory.len())..range.end.min(memory.len());
    let done = match json {
        true => hex(&mut out, &mut memory, index, range)?,
        false => lines(&mut out, &mut memory, range)?,
    };
    told(done.and_then(|()| out.flush()))
}

/// A reader that has gone (`| head`) is not an error.
fn told(done: io::Result<()>) -> Done {
    match done {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => {
            Err(dormouse::Error::Io { action: "write to", path: "standard output".into(), source })
        }
        _ => Ok(0),
    }
}

struct Strings<'a, W> {
    out: &'a mut W,
    json: bool,
    many: bool,
    first: bool,
    ended: io::Result<()>,
}

impl<W: Write> Strings<'_, W> {
    fn say(&mut self, text: &str) {
        if self.ended.is_ok() {
            self.ended = self.out.write_all(text.as_bytes());
        }
    }

    fn one(&mut self, memory: u32, text: &Text) {
        let Text { address, text } = text;
        let line = match (self.json, self.many) {
            (true, _) => {
                let object =
                    serde_json::json!({ "memory": memory, "address": address, "text": text });
                format!("{}\n  {object}", if self.first { "" } else { "," })
            }
            // A tab is all that is neither a letter nor a space.
            (false, true) => format!("{memory}:{address:08x}  {text}\n"),
            (false, false) => format!("{address:08x}  {text}\n"),
        };
        self.first = false;
        self.say(&line);
    }
}

type Written = dormouse::Result<io::Result<()>>;

/// As `hexdump -C`: lines that are like the one before are a `*`.
fn lines(out: &mut impl Write, memory: &mut Bytes<'_>, range: Range<u64>) -> Written {
    let mut at = range.start;
    let mut last: Option<[u8; LINE]> = None;
    let mut starred = false;
    while at < range.end {
        let mut line = [0; LINE];
        let count = LINE.min((range.end - at) as usize);
        memory.read(at, &mut line[..count])?;
        if count == LINE && last == Some(line) {
            if !starred && let Err(e) = out.write_all(b"*\n") {
                return Ok(Err(e));
            }
            starred = true;
            at += LINE as u64;
            // Where a memory is zero for long, it is not read.
            if line == [0; LINE] {
                let held = memory.next_held(at).unwrap_or(u64::MAX).min(range.end);
                at += held.saturating_sub(at) / LINE as u64 * LINE as u64;
            }
            continue;
        }
        (starred, last) = (false, Some(line));
        if let Err(e) = writeln!(out, "{}", shown(at, &line[..count])) {
            return Ok(Err(e));
        }
        at += count as u64;
    }
    Ok(if range.is_empty() { Ok(()) } else { writeln!(out, "{:08x}", range.end) })
}

fn shown(at: u64, line: &[u8]) -> String {
    let mut out = format!("{at:08x} ");
    for n in 0..LINE {
        out += if n % 8 == 0 { " " } else { "" };
        match line.get(n) {
            Some(byte) => out += &format!("{byte:02x} "),
            None => out += "   ",
        }
    }
    let visible = |byte: &u8| if matches!(byte, b' '..=b'~') { *byte as char } else { '.' };
    let text: String = line.iter().map(visible).collect();
    format!("{out} |{text}|")
}

/// All bytes as hexadecimal digits.
fn hex(out: &mut impl Write, memory: &mut Bytes<'_>, index: u32, range: Range<u64>) -> Written {
    let Range { start, end } = range;
    let head = format!(
        "{{\n  \"memory\": {index},\n  \"start\": {start},\n  \"end\": {end},\n  \"bytes\": \""
    );
    if let Err(e) = out.write_all(head.as_bytes()) {
        return Ok(Err(e));
    }
    let mut buffer = vec![0; 1 << 16];
    let mut at = start;
    while at < end {
        let count = buffer.len().min((end - at) as usize);
        let part = &mut buffer[..count];
        memory.read(at, part)?;
        if let Err(e) = out.write_all(dormouse_store::hex(part).as_bytes()) {
            return Ok(Err(e));
        }
        at += count as u64;
    }
    Ok(out.write_all(b"\"\n}\n"))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_line() {
        let line = shown(0x400, b"heat\0\x01\xff of 16 by");
        assert_eq!(
            line,
            "00000400  68 65 61 74 00 01 ff 20  6f 66 20 31 36 20 62 79  |heat... of 16 by|"
        );
        let short = shown(0x1_0000_0000, b"ab");
        let gap = " ".repeat(43);
        assert_eq!(short, format!("100000000  61 62 {gap} |ab|"));
    }
}
