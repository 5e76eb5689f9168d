//! A trap: what happened, and where in the original module.
//!
//! ```text
//!   wasmtime: continuation c7+0x1b, dormouse.memory_init_0_0+0x9, function 3+0x40   (instrumented code)
//!   here:     function 5 at 0x2b1,  -                           , function 3 at 0x120
//! ```
//!
//! Functions of ours are left out; a continuation is shown as the function it goes on with. Which
//! original instruction it was is found by instrumenting the module once more (`Program::origins`),
//! and only when somebody asks for it.

use crate::link::Ended;
use crate::machine::{Code, slots_in};
use crate::source::{Line, Source};
use crate::{Plain, Result};
use dormouse_transform::names;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use wasmtime::{FrameInfo, WasmBacktrace};

/// The end of a program that did something wrong. As text it is the engine's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    message: String,
    frames: Vec<Raw>,
}

/// A function on the stack when the program trapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index in the original module.
    pub func: u32,
    /// From the name section, else a name under which it is exported.
    pub name: Option<String>,
    /// Byte offset in the original module of the instruction that trapped, or of the call.
    pub offset: Option<u32>,
    /// Lines of source code, if the module has DWARF: of inlined functions, innermost first, and
    /// last of the function itself.
    pub lines: Vec<Line>,
}

/// A frame as the engine tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raw {
    within: Within,
    name: Option<String>,
    /// In its module.
    offset: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Within {
    Main(u32),
    /// The slots of its module, and which of them it is.
    Continuation(Vec<u32>, usize),
}

impl Trap {
    pub(crate) fn of(e: &wasmtime::Error) -> Trap {
        let message = match e.downcast_ref::<Ended>() {
            Some(Ended::Trap(why) | Ended::Aborted(why)) => why.clone(),
            _ => e.root_cause().to_string(),
        };
        let frames = e.downcast_ref::<WasmBacktrace>().map(|b| b.frames()).unwrap_or_default();
        Trap { message, frames: frames.iter().filter_map(Raw::of).collect() }
    }

    /// What the engine says, such as `wasm trap: integer divide by zero`.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The message.
impl Deref for Trap {
    type Target = str;
    fn deref(&self) -> &str {
        &self.message
    }
}

impl Raw {
    fn of(frame: &FrameInfo) -> Option<Raw> {
        let (module, func) = (frame.module(), frame.func_index());
        let instrumented = module.get_export(names::CONTROL).is_some();
        let slots = if instrumented { vec![] } else { slots_in(module) };
        let within = if slots.is_empty() {
            Within::Main(func)
        } else {
            // Its functions follow its imports, and are exported in their order.
            let imports = module.imports().filter(|i| i.ty().func().is_some()).count();
            Within::Continuation(slots, (func as usize).checked_sub(imports)?)
        };
        let offset = frame.module_offset();
        let name = frame.func_name().map(str::to_owned);
        Some(Raw { within, name, offset: offset.and_then(|o| u32::try_from(o).ok()) })
    }
}

impl Code {
    /// Where the program was when it trapped, innermost function first; at most the engine's limit.
    ///
    /// # Errors
    /// If the module cannot be analysed; it could when it was loaded.
    pub fn backtrace(&self, trap: &Trap) -> Result<Vec<Place>> {
        let program = self.program()?;
        let imports = program.imports().len();
        let defined = imports as u32..program.function_counts().0 as u32;
        let mut funcs = vec![];
        let mut modules: HashMap<&[u32], _> = HashMap::new();
        for raw in &trap.frames {
            match &raw.within {
                Within::Main(f) if defined.contains(f) => funcs.push(*f),
                Within::Main(_) => {}
                Within::Continuation(slots, _) => {
                    modules.insert(slots, program.continuation_origins(slots)?);
                }
            }
        }
        funcs.sort_unstable();
        funcs.dedup();
        let origins = match funcs.is_empty() {
            true => vec![],
            false => program.origins(&funcs)?,
        };
        let mut places = vec![];
        for raw in &trap.frames {
            let (func, origins) = match &raw.within {
                Within::Main(f) => match funcs.binary_search(f) {
                    Ok(i) => (*f, &origins[i]),
                    Err(_) => continue,
                },
                Within::Continuation(slots, n) => {
                    let Some(&slot) = slots.get(*n) else { continue };
                    let func = program.site(slot)?.0;
                    let Some(o) = modules.get(slots.as_slice()).and_then(|m| m.get(&slot)) else {
                        continue;
                    };
                    // What is left of an import is the host's.
                    if (func as usize) < imports {
                        continue;
                    }
                    (func, o)
                }
            };
            let offset = raw.offset.map(|o| origins.original(o));
            places.push(Place { func, name: None, offset, lines: vec![] });
        }
        if let Some(source) = Source::of(&program.debug_info()) {
            for place in &mut places {
                place.lines = place.offset.map(|o| source.lines(o)).unwrap_or_default();
            }
        }
        let all: Vec<u32> = places.iter().map(|p| p.func).collect();
        for (place, name) in places.iter_mut().zip(program.function_names(&all)) {
            place.name = name;
        }
        Ok(places)
    }
}

impl Plain {
    /// The same for a module that runs as it is, without lines of source code.
    pub fn backtrace(&self, trap: &Trap) -> Vec<Place> {
        let place = |raw: &Raw| match raw.within {
            Within::Main(func) => {
                let name = raw.name.clone();
                Some(Place { func, name, offset: raw.offset, lines: vec![] })
            }
            Within::Continuation(..) => None,
        };
        trap.frames.iter().filter_map(place).collect()
    }
}

/// `divide at 0x31`, or `divide at 0x31 (src/main.c:12:3)`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "func[{}]", self.func)?,
        }
        if let Some(offset) = self.offset {
            write!(f, " at {offset:#x}")?;
        }
        match self.lines.last() {
            Some(line) if line.file.is_some() => write!(f, " ({line})"),
            _ => Ok(()),
        }
    }
}
