//! Lines of source code, where the original module carries DWARF.
//!
//! ```text
//!   offset in the module ── minus the start of the code section's contents ──> DWARF address
//!     ──addr2line──> inlined functions, innermost first, then the function itself; file, line, column
//! ```
//!
//! Sections that are damaged tell nothing; a backtrace is not to fail for that.

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};
use dormouse_transform::DebugInfo;
use std::fmt;

/// A line of source code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The function as the source calls it.
    pub function: Option<String>,
    /// The file, as the compiler was told.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u32>,
    /// Counted from 1.
    pub column: Option<u32>,
}

pub(crate) struct Source<'m> {
    code: u32,
    context: Context<EndianSlice<'m, LittleEndian>>,
}

impl<'m> Source<'m> {
    /// None if there is nothing to read.
    pub fn of(info: &DebugInfo<'m>) -> Option<Source<'m>> {
        if info.sections.is_empty() {
            return None;
        }
        let section = |id: addr2line::gimli::SectionId| {
            let data = info.sections.get(id.name()).copied().unwrap_or_default();
            Ok::<_, ()>(EndianSlice::new(data, LittleEndian))
        };
        let context = Context::from_dwarf(Dwarf::load(section).ok()?).ok()?;
        Some(Source { code: info.code, context })
    }

    /// The lines at an offset in the module: those of inlined functions first, innermost first.
    pub fn lines(&self, offset: u32) -> Vec<Line> {
        let mut lines = vec![];
        let Some(address) = offset.checked_sub(self.code) else { return lines };
        let Ok(mut frames) = self.context.find_frames(address.into()).skip_all_loads() else {
            return lines;
        };
        while let Ok(Some(frame)) = frames.next() {
            let place = frame.location.as_ref();
            lines.push(Line {
                function: frame.function.and_then(|f| Some(f.raw_name().ok()?.into_owned())),
                file: place.and_then(|l| l.file.map(str::to_owned)),
                line: place.and_then(|l| l.line),
                column: place.and_then(|l| l.column),
            });
        }
        lines
    }
}

/// `src/main.c:12:3`, as far as it is known.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.file.as_deref().unwrap_or("?"))?;
        for number in [self.line, self.line.and(self.column)].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}
