//! What stands between the program and what it imports, in a module of its own.
//!
//! ```text
//!   program ──call──> function `instead_of` an import ──call──> the glue's import
//!   start   ──call──> function `start`, once, before the program goes on
//! ```

use super::Writer;
use super::encode;
use wasm_encoder::Instruction;
use wasmparser::ValType;

/// Functions that are added to the module, and imports and globals for them.
#[derive(Clone, Debug, Default)]
pub struct Glue {
    /// Imports, of which [`Step::Import`] says the place.
    pub imports: Vec<GlueImport>,
    /// Globals, zero at first.
    pub globals: Vec<ValType>,
    /// Functions.
    pub functions: Vec<GlueFunction>,
    /// The place of the function that is called before the program goes on; it takes and gives nothing.
    pub start: Option<usize>,
}

/// An import of the glue. It may be one that the program has, too.
#[derive(Clone, Debug)]
pub struct GlueImport {
    /// Module name.
    pub module: String,
    /// Field name.
    pub name: String,
    /// Types of its parameters.
    pub params: Vec<ValType>,
    /// Types of its results.
    pub results: Vec<ValType>,
}

/// A function of the glue.
#[derive(Clone, Debug, Default)]
pub struct GlueFunction {
    /// Types of its parameters.
    pub params: Vec<ValType>,
    /// Types of its results.
    pub results: Vec<ValType>,
    /// Types of its locals, which come after its parameters.
    pub locals: Vec<ValType>,
    /// Its code, without the end.
    pub code: Vec<Step>,
    /// The import, by module and name, that the program calls and gets this.
    pub instead_of: Option<(String, String)>,
}

/// An instruction of the glue.
#[derive(Clone, Debug)]
pub enum Step {
    /// One that has no index of the module's.
    Do(Instruction<'static>),
    /// Calls the import at this place.
    Import(usize),
    /// Reads the global at this place.
    Get(usize),
    /// Writes it.
    Set(usize),
}

impl Writer<'_, '_> {
    /// The glue's functions, which are the first of ours. The index of the one to begin with.
    pub(super) fn write_glue(&mut self) -> Option<u32> {
        let glue = &self.snapshot.glue;
        let globals: Vec<u32> = glue.globals.iter().map(|&ty| self.global(ty)).collect();
        let imports = self.m.imports.len() as u32;
        let place = |of: &[u32], n: usize| of.get(n).copied().unwrap_or(u32::MAX);
        for function in &glue.functions {
            let code: Vec<Instruction<'_>> = function
                .code
                .iter()
                .map(|step| match step {
                    Step::Do(i) => i.clone(),
                    Step::Import(n) => Instruction::Call(imports + *n as u32),
                    Step::Get(n) => Instruction::GlobalGet(place(&globals, *n)),
                    Step::Set(n) => Instruction::GlobalSet(place(&globals, *n)),
                })
                .collect();
            let ty = self.signature(&function.params, &function.results);
            self.function(ty, encode(&function.locals, &code));
        }
        glue.start.map(|n| self.space.first() + n as u32)
    }
}
