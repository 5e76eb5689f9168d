//! What engines accept of one function and of one module. Safepoints add to both, so a valid module
//! can outgrow it: then it is refused here, by name, and not by the engine as invalid.
//!
//! ```text
//!   a function   code in main <= BODY, locals <= LOCALS;  the same of its largest continuation
//!   a module     read again without its functions' code: the validator knows the other limits
//! ```
//!
//! The numbers are those of the WebAssembly JavaScript Interface's implementation limits, which
//! browsers and wasmparser (so wasmtime) share.

use crate::module::Module;
use crate::{Error, Result, features};
use std::fmt;
use wasmparser::WasmFeatures;

/// Most bytes of a function: local declarations and code.
pub(crate) const BODY: usize = 7_654_321;
/// Most parameters and locals of a function.
pub(crate) const LOCALS: usize = 50_000;
/// Most results of a function.
pub(crate) const RESULTS: usize = 1_000;
/// Most values that the safepoints of a function can save together: they are held in memory while it is looked at.
pub(crate) const SAVED: usize = BODY / 2;
/// Most steps in following the lives of a function's locals: a few seconds.
pub(crate) const LIVES: usize = 1 << 27;

/// What a function has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    Code,
    Locals,
    Lives,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::Code => {
                write!(f, "more than {BODY} bytes of code, the most that engines accept")
            }
            Excess::Locals => write!(f, "more than {LOCALS} locals, the most that engines accept"),
            Excess::Lives => {
                f.write_str("too many branches with too many locals alive across them")
            }
        }
    }
}

impl Excess {
    /// The error that names the function.
    pub fn of(self, m: &Module, func: u32) -> Error {
        let name = m.function_names(&[func]).pop().flatten();
        Error::FunctionTooLarge { func, name, what: self.to_string() }
    }
}

/// Whether engines accept the number of everything in a module of ours. The code has been checked.
pub(crate) fn check(wasm: &[u8]) -> Result<()> {
    features::validate(wasm, WasmFeatures::all(), |_, _| false)
        .map_err(|e| Error::ModuleTooLarge { what: e.message().to_owned() })
}
