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
//! The engine adds some 180 bytes to each function that is exported, for calls by the host. So there is one function for up to a thousand of
//! a type, and only those that the program itself exports or holds references to are exported as they are.

use crate::helpers::{Helper, encode};
use crate::module::Module;
use crate::reach::Reach;
use std::collections::{BTreeMap, HashMap};
use wasm_encoder::{BlockType, Instruction as I};

/// Most parameters of a function.
const PARAMS: usize = 1_000;

/// Most functions that are called through one.
const MOST: usize = 1_000;

pub(crate) struct Dispatch {
    /// Ours, and the functions called through each.
    pub functions: Vec<(Helper, Vec<u32>)>,
    /// Which of ours calls a function, and what it takes for it.
    places: HashMap<u32, (Helper, u32)>,
}

impl Dispatch {
    pub fn new(m: &Module, reach: &Reach) -> Dispatch {
        let mut escapes = vec![false; m.funcs.len()];
        for &f in m.referenced.iter().chain(&reach.uses.ref_func) {
            escapes[f as usize] = true;
        }
        let mut of_type: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (f, &ty) in m.funcs.iter().enumerate().skip(m.imports.len()) {
            if reach.exported[f] && !escapes[f] && m.types[ty as usize].params().len() < PARAMS {
                of_type.entry(ty).or_default().push(f as u32);
            }
        }
        let (mut functions, mut places) = (vec![], HashMap::new());
        for (ty, all) in of_type {
            for some in all.chunks(MOST).filter(|some| some.len() > 1) {
                let ours = Helper::Call(ty, functions.len() as u32);
                places.extend((0..).zip(some).map(|(place, &f)| (f, (ours, place))));
                functions.push((ours, some.to_vec()));
            }
        }
        Dispatch { functions, places }
    }

    /// What calls a function, and the number to pass for it; nothing if it is exported itself.
    pub fn of(&self, f: u32) -> Option<(Helper, u32)> {
        self.places.get(&f).copied()
    }

    /// The body of one of ours.
    pub fn body(&self, m: &Module, number: u32) -> Vec<u8> {
        let (ours, functions) = &self.functions[number as usize];
        let params = ours.ty(m).0.len() as u32 - 1;
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
