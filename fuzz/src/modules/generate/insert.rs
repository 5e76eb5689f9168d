//! What wasm-smith makes too rarely: branches that are taken, loops with parameters, calls that
//! succeed inside nested handlers, segments dropped and used, locals whose value matters. Pieces of
//! code that leave the operand stack as it is, put between a body's instructions.

use super::{ACCEPTED, RESULTS, Wrap};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{BlockType, Catch, Function, HeapType, Instruction as I, ValType};
use wasmparser::ValType as V;

const NULL_EXN: I<'static> =
    I::RefNull(HeapType::Abstract { shared: false, ty: wasm_encoder::AbstractHeapType::Exn });

/// What a branch to each label takes along, outermost first.
type Labels = [Vec<V>];

impl Wrap {
    pub(super) fn insert(&mut self, f: &mut Function, labels: &Labels, locals: &[V]) {
        let r = self.state.bits();
        let (pick, r) = (r % 30, (r >> 8) as usize);
        let deeper = labels.len() < 12;
        match pick {
            0..=5 => self.stir(f, locals, r, r & 256 == 0),
            6..=8 => self.branch(f, labels, r),
            9 => self.branch_table(f, labels, r),
            10 if self.throws => self.sometimes(f, 7, &[I::Throw(self.tags)]),
            11 if self.throws => {
                let (a, b) = (I::I32Const(r as i32), I::I64Const(r as i64));
                self.sometimes(f, 7, &[a, b, I::Throw(self.tags + 1)]);
            }
            12 if self.datas > 0 => {
                let data_index = r as u32 % self.datas;
                let zero = I::I32Const(0);
                let at = if self.small_memory { zero.clone() } else { I::I64Const(0) };
                match r & 1024 {
                    0 => self.sometimes(f, 7, &[I::DataDrop(data_index)]),
                    _ => {
                        let init = I::MemoryInit { mem: 0, data_index };
                        self.sometimes(f, 7, &[at, zero, I::I32Const(1), init]);
                    }
                }
            }
            13..=15 => self.write_table(f, r),
            16 => self.call(f, (r % self.funcs.len()) as u32),
            17..=19 if deeper && self.catches => self.handler(f, labels, locals, r),
            20 if deeper && self.catches => self.cleanup(f, labels, locals, r),
            21..=23 if deeper => self.a_loop(f, labels, locals, r),
            24..=26 if ACCEPTED.typed_references => self.typed_reference(f, labels, locals, r),
            27..=29 if deeper && self.catches && ACCEPTED.exnref => {
                self.exception(f, labels, locals, r);
            }
            _ => {}
        }
    }

    /// Some of the fuel's bits, which change with every loop and call.
    fn fuel(&self, f: &mut Function, mask: i32) {
        f.instruction(&I::GlobalGet(self.globals - 1));
        f.instruction(&I::I32Const(mask)).instruction(&I::I32And);
    }

    fn sometimes(&self, f: &mut Function, mask: i32, code: &[I<'_>]) {
        self.fuel(f, mask);
        f.instruction(&I::I32Eqz).instruction(&I::If(BlockType::Empty));
        for i in code {
            f.instruction(i);
        }
        f.instruction(&I::End);
    }

    fn branch(&mut self, f: &mut Function, labels: &Labels, r: usize) {
        let label = r % labels.len();
        let types = &labels[labels.len() - 1 - label];
        for &t in types {
            self.constant(f, t);
        }
        self.fuel(f, 3);
        f.instruction(&I::I32Eqz).instruction(&I::BrIf(label as u32));
        for _ in types {
            f.instruction(&I::Drop);
        }
    }

    fn branch_table(&mut self, f: &mut Function, labels: &Labels, r: usize) {
        let n = labels.len();
        let empty = (0..n).filter(|&l| labels[n - 1 - l].is_empty());
        let mut to: Vec<u32> = empty.map(|l| l as u32 + 1).chain([0, 0]).collect();
        let by = r % to.len();
        to.rotate_left(by);
        let default = to.pop().unwrap_or(0);
        f.instruction(&I::Block(BlockType::Empty));
        self.fuel(f, 7);
        f.instruction(&I::BrTable(to.into(), default)).instruction(&I::End);
    }

    /// Our second table is written in one way only in each module.
    fn write_table(&mut self, f: &mut Function, r: usize) {
        let (src_table, table) = (self.tables, self.tables + 1);
        let at = I::I32Const((r % 8) as i32);
        let from = I::I32Const(((r >> 8) % self.funcs.len()) as i32);
        let one = I::I32Const(1);
        let code = match self.writes {
            0 => vec![at, from, one, I::TableCopy { src_table, dst_table: table }],
            1 => vec![at, I::RefFunc(self.named[r % 2]), one, I::TableFill(table)],
            2 => vec![at, from, I::TableGet(src_table), I::TableSet(table)],
            _ if (r >> 20).is_multiple_of(8) => vec![I::ElemDrop(self.elems)],
            _ => vec![at, from, one, I::TableInit { elem_index: self.elems, table }],
        };
        self.sometimes(f, 3, &code);
    }

    /// Calls a function with constant arguments.
    pub(super) fn call(&mut self, f: &mut Function, func: u32) {
        let ty = self.types[self.funcs[func as usize] as usize].clone();
        for &t in ty.params() {
            self.constant(f, t);
        }
        f.instruction(&I::Call(func));
        self.consume(f, ty.results());
    }

    /// Takes values from the stack into our globals, one of each type.
    fn consume(&self, f: &mut Function, types: &[V]) {
        for &t in types.iter().rev() {
            match RESULTS.iter().position(|r| RoundtripReencoder.val_type(t).ok() == Some(*r)) {
                Some(k) => f.instruction(&I::GlobalSet(self.globals + k as u32)),
                None => f.instruction(&I::Drop),
            };
        }
    }

    /// Calls and changes inside a `try_table`, whose handler is any label that takes nothing.
    fn handler(&mut self, f: &mut Function, labels: &Labels, locals: &[V], r: usize) {
        let mut inner = labels.to_vec();
        let payload = [V::I32, V::I64];
        let with_payload = r & 2 == 0;
        if with_payload {
            inner.push(payload.to_vec());
            f.instruction(&I::Block(BlockType::FunctionType(self.own_types + 2)));
        }
        inner.push(vec![]);
        let n = inner.len();
        f.instruction(&I::Block(BlockType::Empty));
        let nothing: Vec<usize> = (0..n).filter(|&l| inner[n - 1 - l].is_empty()).collect();
        let label = if r & 1 == 0 { 0 } else { nothing[(r >> 3) % nothing.len()] };
        let all = Catch::All { label: label as u32 };
        let some = Catch::One { tag: self.tags, label: label as u32 };
        let any = if r & 4 == 0 { some } else { all };
        let catch = match with_payload {
            true => vec![Catch::One { tag: self.tags + 1, label: 1 }, any],
            false => vec![any],
        };
        let clauses = catch.clone();
        f.instruction(&match self.legacy {
            true => I::Try(BlockType::Empty),
            false => I::TryTable(BlockType::Empty, catch.into()),
        });
        inner.push(vec![]);
        // The handler sees the local as it was before the call that throws.
        let local = r >> 16;
        self.stir(f, locals, local, false);
        self.insert(f, &inner, locals);
        self.call(f, ((r >> 8) % self.funcs.len()) as u32);
        self.stir(f, locals, local, false);
        self.insert(f, &inner, locals);
        self.insert(f, &inner, locals);
        for clause in clauses.into_iter().filter(|_| self.legacy) {
            let label = match clause {
                Catch::One { tag, label } => {
                    f.instruction(&I::Catch(tag));
                    label
                }
                Catch::All { label } | Catch::AllRef { label } | Catch::OneRef { label, .. } => {
                    f.instruction(&I::CatchAll);
                    label
                }
            };
            // Labels of a `try_table` are counted outside of it.
            f.instruction(&I::Br(label + 1));
        }
        f.instruction(&I::End);
        inner.pop();
        self.stir(f, locals, local, false);
        f.instruction(&I::End);
        if with_payload {
            for t in payload {
                self.constant(f, t);
            }
            f.instruction(&I::End);
            self.consume(f, &payload);
        }
        self.stir(f, locals, local, true);
        self.insert(f, labels, locals);
    }

    /// Code that runs when a call throws, and may throw the exception again.
    fn cleanup(&mut self, f: &mut Function, labels: &Labels, locals: &[V], r: usize) {
        let again = r.is_multiple_of(2);
        let func = ((r >> 8) % self.funcs.len()) as u32;
        if self.legacy {
            f.instruction(&I::Try(BlockType::Empty));
            self.call(f, func);
            f.instruction(&I::CatchAll);
        } else {
            let (ty, catch) = match again {
                true => (BlockType::Result(ValType::EXNREF), Catch::AllRef { label: 0 }),
                false => (BlockType::Empty, Catch::All { label: 0 }),
            };
            f.instruction(&I::Block(BlockType::Empty)).instruction(&I::Block(ty));
            f.instruction(&I::TryTable(BlockType::Empty, [catch].as_slice().into()));
            self.call(f, func);
            f.instruction(&I::End).instruction(&I::Br(1)).instruction(&I::End);
        }
        // Meanwhile the exception is kept.
        if !again || ACCEPTED.exnref {
            let mut inner = labels.to_vec();
            inner.push(vec![]);
            self.insert(f, &inner, locals);
            self.call(f, ((r >> 16) % self.funcs.len()) as u32);
            self.insert(f, &inner, locals);
        }
        if again {
            f.instruction(&if self.legacy { I::Rethrow(0) } else { I::ThrowRef });
        }
        f.instruction(&I::End);
    }

    /// One of our locals refers to a function, and is called if it is not null.
    fn typed_reference(&mut self, f: &mut Function, labels: &Labels, locals: &[V], r: usize) {
        let which = r & 1;
        let (local, func) = ((locals.len() + which) as u32, self.named[which]);
        let type_index = self.funcs[func as usize];
        let ty = self.types[type_index as usize].clone();
        match (r >> 1) % 8 {
            0 | 1 => drop(f.instruction(&I::RefFunc(func)).instruction(&I::LocalSet(local))),
            2 => {
                let null = I::RefNull(HeapType::Concrete(type_index));
                self.sometimes(f, 7, &[null, I::LocalSet(local)]);
            }
            // A reference that cannot be null lies beneath a call.
            3 => {
                f.instruction(&I::RefFunc(func));
                self.call(f, ((r >> 8) % self.funcs.len()) as u32);
                f.instruction(&I::LocalSet(local));
            }
            4 => {
                f.instruction(&I::Block(BlockType::Empty));
                f.instruction(&I::LocalGet(local)).instruction(&I::BrOnNull(0));
                self.call(f, ((r >> 8) % self.funcs.len()) as u32);
                f.instruction(&I::LocalSet(local)).instruction(&I::End);
            }
            5 if ty.results() == labels[0] => {
                self.fuel(f, 15);
                f.instruction(&I::I32Eqz).instruction(&I::If(BlockType::Empty));
                for &t in ty.params() {
                    self.constant(f, t);
                }
                f.instruction(&I::RefFunc(func)).instruction(&I::ReturnCallRef(type_index));
                f.instruction(&I::End);
            }
            _ => {
                f.instruction(&I::LocalGet(local)).instruction(&I::RefIsNull);
                f.instruction(&I::If(BlockType::Empty)).instruction(&I::Else);
                for &t in ty.params() {
                    self.constant(f, t);
                }
                f.instruction(&I::LocalGet(local)).instruction(&I::CallRef(type_index));
                self.consume(f, ty.results());
                f.instruction(&I::End);
            }
        }
    }

    /// Our last local refers to an exception that was caught, and is thrown again now and then.
    fn exception(&mut self, f: &mut Function, labels: &Labels, locals: &[V], r: usize) {
        let own = if ACCEPTED.typed_references { 2 } else { 0 };
        let local = (locals.len() + own) as u32;
        match r % 4 {
            0 | 1 => {
                let catch = match r & 4 {
                    0 => Catch::AllRef { label: 0 },
                    _ => Catch::OneRef { tag: self.tags, label: 0 },
                };
                f.instruction(&I::Block(BlockType::Result(ValType::EXNREF)));
                f.instruction(&I::TryTable(BlockType::Empty, [catch].as_slice().into()));
                let mut inner = labels.to_vec();
                inner.extend([vec![V::EXNREF], vec![]]);
                self.insert(f, &inner, locals);
                self.call(f, ((r >> 8) % self.funcs.len()) as u32);
                self.insert(f, &inner, locals);
                f.instruction(&I::End).instruction(&NULL_EXN).instruction(&I::End);
                f.instruction(&I::LocalSet(local));
            }
            2 => {
                f.instruction(&I::LocalGet(local));
                self.call(f, ((r >> 8) % self.funcs.len()) as u32);
                f.instruction(&I::LocalSet(local));
            }
            _ => {
                f.instruction(&I::LocalGet(local)).instruction(&I::RefIsNull);
                f.instruction(&I::If(BlockType::Empty)).instruction(&I::Else);
                self.sometimes(f, 7, &[I::LocalGet(local), I::ThrowRef]);
                f.instruction(&I::End);
            }
        }
    }

    /// A loop with parameters and results. Like all, it begins with taking fuel.
    fn a_loop(&mut self, f: &mut Function, labels: &Labels, locals: &[V], r: usize) {
        let index = (r % self.types.len()) as u32;
        let ty = self.types[index as usize].clone();
        if ty.params().contains(&V::EXNREF) && !ACCEPTED.exnref {
            return; // it would live across the loop's safepoint, and be refused
        }
        for &t in ty.params() {
            self.constant(f, t);
        }
        let fuel = self.globals - 1;
        f.instruction(&I::Loop(BlockType::FunctionType(index)));
        f.instruction(&I::GlobalGet(fuel)).instruction(&I::I32Eqz);
        f.instruction(&I::If(BlockType::Empty));
        f.instruction(&if self.throws { I::Throw(self.tags) } else { I::Unreachable });
        f.instruction(&I::End).instruction(&I::GlobalGet(fuel)).instruction(&I::I32Const(1));
        f.instruction(&I::I32Sub).instruction(&I::GlobalSet(fuel));
        self.consume(f, ty.params());
        let mut inner = labels.to_vec();
        inner.push(ty.params().to_vec());
        for _ in 0..3 {
            self.insert(f, &inner, locals);
        }
        for &t in ty.results() {
            self.constant(f, t);
        }
        f.instruction(&I::End);
        self.consume(f, ty.results());
    }

    /// Changes a local by our globals or our globals by a local, so that none is without effect.
    fn stir(&mut self, f: &mut Function, locals: &[V], r: usize, read: bool) {
        if locals.is_empty() {
            return;
        }
        let (local, t) = ((r % locals.len()) as u32, locals[r % locals.len()]);
        let acc = self.globals;
        if read {
            f.instruction(&I::LocalGet(local));
            match t {
                V::I32 => &mut *f,
                V::I64 => f.instruction(&I::I32WrapI64),
                V::F32 => f.instruction(&I::I32ReinterpretF32),
                V::F64 => f.instruction(&I::I64ReinterpretF64).instruction(&I::I32WrapI64),
                V::V128 => f.instruction(&I::I32x4ExtractLane(1)),
                V::Ref(_) => f.instruction(&I::RefIsNull),
            };
            f.instruction(&I::GlobalGet(acc)).instruction(&I::I32Const(31)).instruction(&I::I32Mul);
            f.instruction(&I::I32Add).instruction(&I::GlobalSet(acc));
            return;
        }
        let convert = match t {
            V::I32 => None,
            V::I64 => Some(I::I64ExtendI32U),
            V::F32 => Some(I::F32ConvertI32S),
            V::F64 => Some(I::F64ConvertI32S),
            V::V128 => Some(I::I32x4Splat),
            V::Ref(_) => return,
        };
        f.instruction(&I::GlobalGet(acc)).instruction(&I::I32Const(local as i32 + 1));
        f.instruction(&I::I32Add);
        if let Some(c) = convert {
            f.instruction(&c);
        }
        f.instruction(&I::LocalSet(local));
    }
}
