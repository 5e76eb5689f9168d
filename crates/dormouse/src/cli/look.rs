//! What is shown of a checkpoint.

use super::{Listing, Opening};
use clap::Args;
use dormouse::Target;
use std::ops::Range;
use std::str::FromStr;

#[derive(Args)]
pub struct Inspect {
    /// JOB (its newest good checkpoint) or JOB@N
    pub target: Target,
    #[command(flatten)]
    pub listing: Listing,
    #[command(flatten)]
    pub opening: Opening,
    /// Show all of every list, however long
    #[arg(long)]
    pub all: bool,
    /// Show every frame with all that it holds
    #[arg(long)]
    pub frames: bool,
    #[command(flatten)]
    pub parts: Parts,
    /// With --memory or --strings: this memory, where there are several
    #[arg(long, value_name = "INDEX", requires = "parts")]
    pub memory_index: Option<u32>,
}

/// What of a memory is shown, instead of all the rest.
#[derive(Args)]
#[group(id = "parts", multiple = true)]
pub struct Parts {
    /// Show this part of a memory instead, as `hexdump -C` does: 0x400..0x500, 1024+256, or of memory 1: 1:0x400..0x500
    #[arg(long, value_name = "ADDR..ADDR", conflicts_with_all = ["all", "frames"])]
    pub memory: Option<Part>,
    /// Show the texts in memory instead, of at least N characters, and where they are [default: 4]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "4",
          conflicts_with_all = ["all", "frames"], value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub strings: Option<u16>,
}

#[derive(Args)]
pub struct Diff {
    /// JOB (its newest good checkpoint) or JOB@N
    pub before: Target,
    /// Another, of the same module
    pub after: Target,
    #[command(flatten)]
    pub listing: Listing,
    #[command(flatten)]
    pub opening: Opening,
    /// Show all of every list, and each frame with all that it holds
    #[arg(long)]
    pub all: bool,
}

/// A part of a memory: `0x400..0x500`, `1024+256`, `1:0x400..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Of which memory, if that was said.
    pub memory: Option<u32>,
    /// Its addresses.
    pub range: Range<u64>,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Part, String> {
        let bad = || {
            "write ADDR..ADDR or ADDR+LENGTH, in decimal or as 0x400, and before it INDEX: of a memory"
                .to_owned()
        };
        let (memory, rest) = match text.split_once(':') {
            Some((index, rest)) => (Some(index.parse().map_err(|_| bad())?), rest),
            None => (None, text),
        };
        let range = if let Some((start, end)) = rest.split_once("..") {
            let end = if end.is_empty() { Some(u64::MAX) } else { number(end) };
            number(start).zip(end)
        } else if let Some((start, length)) = rest.split_once('+') {
            let start = number(start);
            start.zip(start.zip(number(length)).and_then(|(start, n)| start.checked_add(n)))
        } else {
            None
        };
        match range {
            Some((start, end)) if start <= end => Ok(Part { memory, range: start..end }),
            Some(_) => Err("it ends before it begins".to_owned()),
            None => Err(bad()),
        }
    }
}

/// Digits, or `0x` and hexadecimal ones.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // No signs.
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (text, memory, range) in [
            ("0x400..0x500", None, 0x400..0x500),
            ("1024+256", None, 1024..1280),
            ("0X10+0x10", None, 16..32),
            ("2:16..", Some(2), 16..u64::MAX),
            ("0..0", None, 0..0),
        ] {
            assert_eq!(text.parse(), Ok(Part { memory, range }), "{text}");
        }
        let too_long = format!("1+{}", u64::MAX);
        for bad in
            ["", "1", "..", "..5", "a..b", "5..4", "-1..4", "+1..4", "1..+4", "x:1..2", &too_long]
        {
            bad.parse::<Part>().unwrap_err();
        }
    }
}
