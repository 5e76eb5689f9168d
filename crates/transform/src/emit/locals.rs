//! Locals of ours, and what they hold.
//!
//! Operands are put into locals before a construct or a call, since code inside cannot reach them, and a frame is saved from locals. A local
//! that holds references may hold null, whatever it is for; what is read from it becomes its own type again.

use super::{Emitter, Space, heap_type};
use crate::layout::{Saved, Source, erased, nullable};
use crate::work;
use wasm_encoder::Instruction as I;
use wasmparser::{AbstractHeapType, ValType};

impl<S: Space> Emitter<'_, '_, S> {
    pub(super) fn spill(&mut self, position: u32, ty: ValType) -> u32 {
        self.local_for((Source::Operand(position), ty))
    }

    /// The local of ours that a value is in.
    pub(super) fn local_for(&mut self, value: Saved) -> u32 {
        let next = self.first_new_local + self.new_locals.len() as u32;
        *self.spills.entry(value).or_insert_with(|| {
            self.new_locals.push(nullable(value.1));
            next
        })
    }

    /// A value from a local of ours, or one of the function's in a continuation.
    pub(super) fn get(&mut self, local: u32, ty: ValType) {
        self.i(&I::LocalGet(local));
        self.assert_type(ty);
    }

    /// What lies in a local that may hold null, but does not, becomes of this type again.
    pub(super) fn assert_type(&mut self, ty: ValType) {
        if matches!(ty, ValType::Ref(r) if !r.is_nullable()) {
            self.i(&I::RefAsNonNull);
        }
    }

    /// A reference that only its hierarchy is known of becomes of this type again, or null.
    pub(super) fn cast(&mut self, ty: ValType) {
        let ValType::Ref(r) = ty else { return };
        let heap = heap_type(r);
        match r.heap_type() {
            wasmparser::HeapType::Concrete(_) => self.i(&I::RefCastNullable(heap)),
            // Only null is of these types.
            wasmparser::HeapType::Abstract {
                ty: AbstractHeapType::NoFunc | AbstractHeapType::NoExtern | AbstractHeapType::NoExn,
                ..
            } => {
                self.i(&I::Drop);
                self.i(&I::RefNull(heap));
            }
            _ => {}
        }
    }

    /// Results of a continuation get the types of the call's.
    pub(super) fn restore_types(&mut self, results: &[ValType]) {
        let Some(first) = results.iter().position(|&t| t != erased(t)) else { return };
        let locals: Vec<u32> =
            results[first..].iter().map(|&t| self.new_local(nullable(t))).collect();
        for (&t, &l) in results[first..].iter().zip(&locals).rev() {
            self.cast(t);
            self.i(&I::LocalSet(l));
        }
        for (&t, &l) in results[first..].iter().zip(&locals) {
            self.get(l, t);
        }
    }

    pub(super) fn new_local(&mut self, ty: ValType) -> u32 {
        self.new_locals.push(ty);
        self.first_new_local + self.new_locals.len() as u32 - 1
    }

    /// Puts the operands from height `base` into their locals (those beneath are there already),
    /// and leaves the stack as it was: `operands`, then values of types `above` and `top`.
    pub(super) fn spill_from(
        &mut self,
        base: u32,
        operands: &[ValType],
        above: &[ValType],
        top: Option<ValType>,
    ) {
        if operands.is_empty() {
            return;
        }
        let all: Vec<(u32, ValType)> =
            (base..).zip(operands.iter().chain(above).chain(&top).copied()).collect();
        work::add(all.len());
        for &(p, t) in all.iter().rev() {
            let l = self.spill(p, t);
            self.i(&I::LocalSet(l));
        }
        for &(p, t) in &all {
            let l = self.spill(p, t);
            self.get(l, t);
        }
    }
}
