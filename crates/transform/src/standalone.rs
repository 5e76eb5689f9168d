//! A state as a module of its own, which goes on from there in any engine.
//!
//! ```text
//!   types      original | ours
//!   imports    original | the glue's
//!   functions  original | rests | enters | the glue's | start     original: without safepoints
//!   tables     original, as large as they are
//!   memories   original, as large as they are
//!   globals    original, with their values | $frame, values of a frame | the glue's
//!   exports    original, `_start` and the like excepted | start, under the name that was asked for
//!   elements   original | what tables hold           active ones that were applied become declared, or empty:
//!   data       original | what memories hold         their indices stay
//! ```
//!
//! The stack is built up by calls from the outside in. Each safepoint on it has a function with what is left of its own function
//! ([`emit`](crate::emit)); `enter` puts the next frame's values into globals and calls its rest:
//!
//! ```wat
//!   (func $enter (result i32)             ;; one for each type of results
//!     ...                                 ;; $n = $frame, $frame = $frame + 1
//!     block block block local.get $n br_table 0 1 2 end
//!       i32.const 7 global.set $v0  i64.const 1 global.set $v1  call $rest_a  return  end
//!       i32.const 8 global.set $v0  i64.const 2 global.set $v1  call $rest_a  return  end
//!     unreachable)
//! ```
//!
//! So a function that is on the stack a thousand times has one rest. Nothing is used that the program does not use itself: one
//! memory stays one, and there are no tail calls and no references where there were none.

mod glue;
mod parts;
mod stack;

pub(crate) use parts::{address, broken};

pub use glue::{Glue, GlueFunction, GlueImport, Step};

use crate::body::Body;
use crate::emit::{Emitter, Part, Space, val_type};
use crate::features;
use crate::helpers::{Helper, encode};
use crate::instrument::original_types;
use crate::layout::Sites;
use crate::module::Module;
use crate::{Error, Poll, Program, Result};
use dormouse_state::{State, Value};
use std::collections::{BTreeSet, HashMap};
use wasm_encoder::reencode::{Error as ReError, Reencode};
use wasm_encoder::{
    CodeSection, Encode, FunctionSection, Instruction as I, Module as Out, TypeSection,
};
use wasmparser::{Operator, ValType, WasmFeatures};

/// For each memory, by its index: what is not zero, ascending by address.
pub type Memories = Vec<Vec<(u64, Vec<u8>)>>;

/// What a module of its own is made of.
pub struct Snapshot<'s> {
    /// The state.
    pub state: &'s State,
    /// Its memories.
    pub memories: Memories,
    /// The name under which the function that goes on is exported; it takes nothing, and gives what the outermost function does.
    pub export: String,
    /// What is done for the program besides.
    pub glue: Glue,
}

impl Program {
    /// The module that goes on from a state.
    ///
    /// # Errors
    /// A state that is not of this module, or that no module can begin with; what is larger than engines accept.
    pub fn standalone(&self, snapshot: &Snapshot<'_>) -> Result<Vec<u8>> {
        let wasm = Writer::new(self, snapshot)?.write()?;
        // All of it, code too: a file that no engine takes is worth nothing.
        features::validate(&wasm, WasmFeatures::all(), |_, _| true)
            .map_err(|e| unfit(format!("it would not be valid ({})", e.message())))?;
        Ok(wasm)
    }
}

fn unfit(why: impl Into<String>) -> Error {
    Error::Standalone(why.into())
}

/// The module being written.
struct Writer<'p, 's> {
    p: &'p Program,
    m: &'p Module,
    snapshot: &'s Snapshot<'s>,
    space: Standing<'p>,
    /// Bodies of our functions, and their types.
    ours: Vec<(u32, Vec<u8>)>,
    /// Globals after the original's.
    globals: Vec<ValType>,
}

/// Its index spaces.
struct Standing<'p> {
    m: &'p Module,
    /// Imports of the glue, which are between the original's imports and its functions.
    between: u32,
    /// What stands for an import.
    instead: HashMap<u32, u32>,
    types: HashMap<(Vec<ValType>, Vec<ValType>), u32>,
    new_types: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// Functions that the code makes references to, which a segment must declare.
    referred: BTreeSet<u32>,
}

impl Standing<'_> {
    /// The number of functions before ours.
    fn first(&self) -> u32 {
        self.m.funcs.len() as u32 + self.between
    }

    /// The index of a function that is referred to.
    fn refer(&mut self, f: u32) -> u32 {
        let f = self.function(f);
        self.referred.insert(f);
        f
    }

    /// The index of an original function, even if something stands for it.
    fn itself(&self, f: u32) -> u32 {
        if self.m.imported(f) { f } else { f + self.between }
    }
}

impl Space for Standing<'_> {
    /// Nothing is saved here, so nobody asks; the whole module is validated in the end.
    fn helper(&mut self, _: Helper) -> u32 {
        u32::MAX
    }
    fn instead(&mut self, _: Helper) -> Option<u32> {
        None
    }
    fn callee(&mut self, f: u32) -> (Option<u32>, u32) {
        (None, self.function(f))
    }
    fn function(&mut self, f: u32) -> u32 {
        self.instead.get(&f).copied().unwrap_or_else(|| self.itself(f))
    }
    fn own(&mut self, _: Part) -> u32 {
        u32::MAX
    }
    fn signature(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let next = (self.m.types.len() + self.new_types.len()) as u32;
        let key = (params.to_vec(), results.to_vec());
        let new_types = &mut self.new_types;
        *self.types.entry(key.clone()).or_insert_with(|| {
            new_types.push(key);
            next
        })
    }
    fn tag(&mut self, tag: u32) -> u32 {
        tag
    }
    fn plain(&mut self, raw: &[u8], op: &Operator<'_>, out: &mut Vec<u8>) -> Result<()> {
        match *op {
            Operator::RefFunc { function_index } => {
                I::RefFunc(self.refer(function_index)).encode(out)
            }
            _ => out.extend_from_slice(raw),
        }
        Ok(())
    }
}

impl Reencode for Standing<'_> {
    type Error = std::convert::Infallible;
    fn function_index(&mut self, f: u32) -> std::result::Result<u32, ReError<Self::Error>> {
        Ok(self.function(f))
    }
}

impl<'p, 's> Writer<'p, 's> {
    fn new(p: &'p Program, snapshot: &'s Snapshot<'s>) -> Result<Self> {
        let m = &p.module;
        let mut space = Standing {
            m,
            between: snapshot.glue.imports.len() as u32,
            instead: HashMap::new(),
            types: HashMap::new(),
            new_types: vec![],
            referred: BTreeSet::new(),
        };
        let first = space.first();
        for (n, function) in (first..).zip(&snapshot.glue.functions) {
            let Some((module, name)) = &function.instead_of else { continue };
            let is = |i: &crate::Import| i.module == *module && i.name == *name;
            let imports = (0..).zip(&m.imports).filter(|(_, i)| is(i));
            space.instead.extend(imports.map(|(import, _)| (import, n)));
        }
        Ok(Writer { p, m, snapshot, space, ours: vec![], globals: vec![] })
    }

    /// A new global, zero or null at first.
    fn global(&mut self, ty: ValType) -> u32 {
        self.globals.push(ty);
        (self.m.globals.len() + self.globals.len()) as u32 - 1
    }

    /// A new function.
    fn function(&mut self, ty: u32, body: Vec<u8>) -> u32 {
        self.ours.push((ty, body));
        self.space.first() + self.ours.len() as u32 - 1
    }

    fn write(mut self) -> Result<Vec<u8>> {
        let m = self.m;
        let none = Sites::default();
        let mut codes = vec![];
        for func in m.imports.len() as u32..m.funcs.len() as u32 {
            let body = Body::decode(m, func)?;
            let emitter = Emitter::new(&mut self.space, m, &body, &none, Poll::Atomic);
            codes.push(emitter.unchanged()?.bytes);
        }
        let glue = self.write_glue();
        let start = self.write_stack(glue)?;

        let mut out = Out::new();
        let mut types = TypeSection::new();
        original_types(m, &mut types)?;
        let glued: Vec<u32> = self.glue_import_types();
        for (params, results) in &self.space.new_types {
            let f = |v: &[ValType]| v.iter().map(|&t| val_type(t)).collect::<Vec<_>>();
            types.ty().function(f(params), f(results));
        }
        out.section(&types);
        let mut parts = parts::Parts::read(&mut self, start)?;
        out.section(&parts.imports(&self.snapshot.glue, &glued));
        let mut functions = FunctionSection::new();
        let ours = self.ours.iter().map(|f| f.0);
        for t in m.funcs[m.imports.len()..].iter().copied().chain(ours) {
            functions.function(t);
        }
        out.section(&functions);
        parts.write_before_code(&mut out);
        let mut code = CodeSection::new();
        for bytes in codes.iter().chain(self.ours.iter().map(|f| &f.1)) {
            code.raw(bytes);
        }
        out.section(&code);
        parts.write_after_code(&mut out);
        Ok(out.finish())
    }
}

/// The instruction that makes a value, where nothing has to be run for it.
fn constant(space: &mut Standing<'_>, v: Value, ty: ValType) -> Option<I<'static>> {
    Some(match (v, ty) {
        (Value::I32(v), ValType::I32) => I::I32Const(v as i32),
        (Value::I64(v), ValType::I64) => I::I64Const(v as i64),
        (Value::F32(v), ValType::F32) => I::F32Const(wasm_encoder::Ieee32::new(v)),
        (Value::F64(v), ValType::F64) => I::F64Const(wasm_encoder::Ieee64::new(v)),
        (Value::V128(v), ValType::V128) => I::V128Const(v as i128),
        (Value::FuncRef(Some(f)), ValType::Ref(_)) if (f as usize) < space.m.funcs.len() => {
            I::RefFunc(space.refer(f))
        }
        (Value::FuncRef(None) | Value::ExternRefNull | Value::ExnRef(None), ValType::Ref(r))
            if r.is_nullable() =>
        {
            I::RefNull(crate::emit::heap_type(r))
        }
        _ => return None,
    })
}
