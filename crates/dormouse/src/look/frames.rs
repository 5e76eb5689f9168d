//! The stack of a checkpoint: what each function is called, where in the source it stands, and what it holds.

use super::dwarf::Source;
use super::{Symbols, Typed};
use dormouse_store::Checkpoint;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;

/// A function that has been called and has not returned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Index in the module.
    pub func: u32,
    /// What it is called, demangled; `func[12]` if the module does not say.
    #[serde(serialize_with = "text")]
    pub name: Arc<str>,
    /// What it is called in the module, if the module says.
    #[serde(serialize_with = "perhaps")]
    pub symbol: Option<Arc<str>>,
    /// Where it stands, in the module file.
    pub offset: u32,
    /// The same in the function's body; none for an import.
    pub within: Option<u32>,
    /// The same in the source, if the module has DWARF: a line of each inlined function, innermost first, and last one
    /// of the function itself.
    #[serde(serialize_with = "list")]
    pub lines: Arc<[Line]>,
    /// The source's variables there, innermost first.
    pub variables: Vec<Variable>,
    /// Locals that are still needed: others are not kept.
    pub locals: Vec<Local>,
    /// How many locals it has, kept or not, if the module can be read so far.
    pub local_count: Option<u32>,
    /// The operand stack, bottom first.
    pub operands: Vec<Typed>,
}

/// A line of source code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The function, demangled.
    pub function: Option<String>,
    /// The file, as the compiler was told.
    pub file: Option<String>,
    /// Counted from 1.
    pub line: Option<u64>,
    /// Counted from 1.
    pub column: Option<u64>,
}

/// A local of WebAssembly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Local {
    /// Its index.
    pub index: u32,
    /// From the name section.
    #[serde(serialize_with = "perhaps")]
    pub name: Option<Arc<str>>,
    /// What it holds.
    #[serde(flatten)]
    pub value: Typed,
}

/// A variable or parameter of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    /// Its name.
    #[serde(serialize_with = "text")]
    pub name: Arc<str>,
    /// Its type, as the source would write it.
    #[serde(rename = "type", serialize_with = "text")]
    pub ty: Arc<str>,
    /// Whether it is a parameter.
    pub parameter: bool,
    /// Which of the frame's lines its function is.
    pub line: usize,
    /// What it holds, shortened if it is long; none if that is not known.
    pub value: Option<String>,
    /// Why its value is not known: `not kept`, as nothing of WebAssembly needs it any more; `optimized out`, as the compiler
    /// keeps it nowhere; `not understood`.
    pub missing: Option<&'static str>,
}

/// The stack of a checkpoint, innermost first.
pub(super) fn stack(
    checkpoint: &Checkpoint,
    symbols: &Symbols<'_>,
    source: &Source<'_>,
) -> Vec<Frame> {
    // A deep recursion has few functions.
    let mut known: HashMap<u32, Known> = HashMap::new();
    let frames = checkpoint.state.frames.iter().rev();
    let seen = frames.enumerate().map(|(n, frame)| {
        let (func, offset) = (frame.site.func, frame.site.offset);
        let known = known.entry(func).or_insert_with(|| Known::of(func, symbols));
        let place = source.place(frame, n == 0);
        let locals = frame.locals.iter().map(|&(index, value)| Local {
            index,
            name: known.local(index, symbols),
            value: Typed::of(value, symbols),
        });
        Frame {
            locals: locals.collect(),
            func,
            name: known.name.clone(),
            symbol: known.symbol.clone(),
            offset,
            within: symbols.within(func, offset),
            lines: place.lines,
            variables: place.variables,
            local_count: known.count,
            operands: frame.operands.iter().map(|&v| Typed::of(v, symbols)).collect(),
        }
    });
    seen.collect()
}

/// What all calls of a function have in common.
struct Known {
    func: u32,
    name: Arc<str>,
    symbol: Option<Arc<str>>,
    count: Option<u32>,
    locals: HashMap<u32, Option<Arc<str>>>,
}

impl Known {
    fn of(func: u32, symbols: &Symbols<'_>) -> Known {
        Known {
            func,
            name: symbols.function(func).into(),
            symbol: symbols.symbol(func).map(Arc::from),
            count: symbols.local_count(func),
            locals: HashMap::new(),
        }
    }

    fn local(&mut self, local: u32, symbols: &Symbols<'_>) -> Option<Arc<str>> {
        let name = || symbols.local(self.func, local).map(Arc::from);
        self.locals.entry(local).or_insert_with(name).clone()
    }
}

impl Frame {
    /// Whether it is another call of the same function from the same place.
    pub fn stands_like(&self, other: &Frame) -> bool {
        (self.func, self.offset) == (other.func, other.offset)
    }
}

/// `src/main.c:12:3`, as far as it is known.
impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.file.as_deref().unwrap_or("?"))?;
        for number in [self.line, self.line.and(self.column)].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

fn text<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(text)
}

fn perhaps<S: Serializer>(text: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(to)
}

fn list<S: Serializer>(lines: &Arc<[Line]>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(lines.iter())
}
