//! Code of the glue, written step by step.

use dormouse_transform::{Glue, GlueFunction, GlueImport, Instruction as I, MemArg, Step, ValType};
use dormouse_wasi::{Call, MODULE, ValType as WasiType};

/// The glue as it grows, and the memory it works in.
pub struct Asm {
    pub glue: Glue,
    /// The memory that calls use, and whether its addresses are 64 bits: those of WASI never are.
    memory: u32,
}

impl Asm {
    pub fn new(memory: u32) -> Asm {
        Asm { glue: Glue::default(), memory }
    }

    /// The place of a call's import.
    pub fn import(&mut self, name: &str) -> usize {
        let known = self.glue.imports.iter().position(|i| i.name == name);
        known.unwrap_or_else(|| {
            let call = Call::named(name);
            let types = |of: &[WasiType]| of.iter().map(|t| val_type(*t)).collect();
            self.glue.imports.push(GlueImport {
                module: MODULE.to_owned(),
                name: name.to_owned(),
                params: call.map_or(vec![], |c| types(c.params)),
                results: call.map_or(vec![], |c| types(c.results)),
            });
            self.glue.imports.len() - 1
        })
    }

    /// The place of a new global of 64 bits.
    pub fn global(&mut self) -> usize {
        self.glue.globals.push(ValType::I64);
        self.glue.globals.len() - 1
    }

    /// A function that the program gets instead of an import.
    pub fn instead(&mut self, module: &str, name: &str, locals: Vec<ValType>, code: Code) {
        let call = Call::imported(module, name);
        let types = |of: &[WasiType]| of.iter().map(|t| val_type(*t)).collect();
        self.glue.functions.push(GlueFunction {
            params: call.map_or(vec![], |c| types(c.params)),
            results: call.map_or(vec![], |c| types(c.results)),
            locals,
            code: code.steps,
            instead_of: Some((module.to_owned(), name.to_owned())),
        });
    }

    /// The function that is called first.
    pub fn start(&mut self, locals: Vec<ValType>, code: Code) {
        self.glue.start = Some(self.glue.functions.len());
        self.glue.functions.push(GlueFunction { locals, code: code.steps, ..Default::default() });
    }

    pub fn code(&self) -> Code {
        Code { steps: vec![], memory: self.memory }
    }
}

fn val_type(t: WasiType) -> ValType {
    match t {
        WasiType::I32 => ValType::I32,
        WasiType::I64 => ValType::I64,
    }
}

/// The code of one function.
pub struct Code {
    steps: Vec<Step>,
    memory: u32,
}

impl Code {
    pub fn i(&mut self, i: I<'static>) -> &mut Code {
        self.steps.push(Step::Do(i));
        self
    }

    pub fn all(&mut self, all: impl IntoIterator<Item = I<'static>>) -> &mut Code {
        self.steps.extend(all.into_iter().map(Step::Do));
        self
    }

    pub fn call(&mut self, import: usize) -> &mut Code {
        self.steps.push(Step::Import(import));
        self
    }

    pub fn get(&mut self, global: usize) -> &mut Code {
        self.steps.push(Step::Get(global));
        self
    }

    pub fn set(&mut self, global: usize) -> &mut Code {
        self.steps.push(Step::Set(global));
        self
    }

    pub fn at(&self, offset: u64) -> MemArg {
        MemArg { offset, align: 0, memory_index: self.memory }
    }

    /// Writes bytes behind the address in a local.
    pub fn poke(&mut self, local: u32, offset: u64, bytes: &[u8]) -> &mut Code {
        let mut at = offset;
        for part in bytes.chunks(8) {
            if let Ok(eight) = <[u8; 8]>::try_from(part) {
                let (arg, eight) = (self.at(at), i64::from_le_bytes(eight));
                self.all([I::LocalGet(local), I::I64Const(eight), I::I64Store(arg)]);
                at += 8;
                continue;
            }
            for &byte in part {
                let arg = self.at(at);
                self.all([I::LocalGet(local), I::I32Const(byte.into()), I::I32Store8(arg)]);
                at += 1;
            }
        }
        self
    }
}
