//! How continuations call the functions of the main module.
//!
//! ```wat
//!   (func (export "dormouse.call_3") (param i32 i64) (param $which i32) (result i32)
//!     block  block
//!       local.get $which  br_table 0 1
//!     end
//!       local.get 0  local.get 1  return_call $f17
//!     end
//!     local.get 0  local.get 1  return_call $f30)
//! ```
//!
//! The engine adds 180 bytes to each function that is exported, for calls by the host. So there is one function for all of
//! a type, and only those that the program itself exports or holds references to are exported as they are.

use crate::helpers::encode;
use crate::module::Module;
use crate::reach::Reach;
use std::collections::BTreeMap;
use wasm_encoder::{BlockType, Instruction as I};

/// Most parameters of a function.
const PARAMS: usize = 1_000;

pub(crate) struct Dispatch {
    /// By type index: the functions called through one.
    pub types: BTreeMap<u32, Vec<u32>>,
    /// Per function: its place in there.
    places: Vec<Option<u32>>,
}

impl Dispatch {
    pub fn new(m: &Module, reach: &Reach) -> Dispatch {
        let mut types: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut escapes = vec![false; m.funcs.len()];
        for &f in m.referenced.iter().chain(&reach.uses.ref_func) {
            escapes[f as usize] = true;
        }
        for (f, &ty) in m.funcs.iter().enumerate().skip(m.imports.len()) {
            if reach.exported[f] && !escapes[f] && m.types[ty as usize].params().len() < PARAMS {
                types.entry(ty).or_default().push(f as u32);
            }
        }
        types.retain(|_, functions| functions.len() > 1);
        let mut places = vec![None; m.funcs.len()];
        for functions in types.values() {
            for (place, &f) in functions.iter().enumerate() {
                places[f as usize] = Some(place as u32);
            }
        }
        Dispatch { types, places }
    }

    /// What to pass for a function that is called through the one for its type.
    pub fn place(&self, f: u32) -> Option<u32> {
        self.places[f as usize]
    }

    /// The body of the function for a type.
    pub fn body(&self, m: &Module, ty: u32) -> Vec<u8> {
        let params = m.types[ty as usize].params().len() as u32;
        let functions = &self.types[&ty];
        let last = functions.len() as u32 - 1;
        let mut c = vec![I::Block(BlockType::Empty); functions.len()];
        c.extend([I::LocalGet(params), I::BrTable((0..last).collect(), last)]);
        for &f in functions {
            c.push(I::End);
            c.extend((0..params).map(I::LocalGet));
            c.push(I::ReturnCall(f));
        }
        encode(&[], &c)
    }
}
