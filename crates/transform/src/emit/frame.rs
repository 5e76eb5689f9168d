//! Where a function can be stopped: polls and checks, its frame saved, and loaded again.
//!
//! The cold paths never rejoin: loads there would be hoisted into hot code.

use super::{Emitter, Part, Space, heap_type, val_type};
use crate::Poll;
use crate::helpers::Helper;
use crate::layout::{Hierarchy, Saved, Site, Source, erased, nullable, width};
use std::collections::BTreeSet;
use wasm_encoder::{BlockType, Instruction as I, MemArg};
use wasmparser::ValType;

impl<S: Space> Emitter<'_, '_, S> {
    /// All who leave the function early do so behind its code: what they save, what is returned then, and the engine's code for a
    /// return, are there only once.
    pub(super) fn begin<'s>(&mut self, sites: impl Iterator<Item = &'s Site>) {
        self.i(&I::Block(BlockType::Empty));
        self.level += 1;
        let mut used = BTreeSet::new();
        for site in sites {
            let mut exit = Some(site.exit);
            while let Some(e) = exit.filter(|&e| used.insert(e)) {
                exit = self.sites.exits[e].parent;
            }
        }
        for _ in 0..used.len() {
            self.i(&I::Block(BlockType::Result(val_type(ValType::I32))));
            self.level += 1;
        }
        self.exits.extend(used);
    }

    /// The end of the function.
    pub(super) fn end(&mut self) {
        if self.level > 0 {
            self.i(&I::Return);
            let sites = self.sites;
            while let Some(exit) = self.exits.pop() {
                self.i(&I::End);
                self.level -= 1;
                let exit = &sites.exits[exit];
                self.store(&exit.values, exit.offset);
                match exit.parent {
                    Some(parent) => self.go_out(self.exit_depth(parent)),
                    None => {
                        self.end_frame(exit.size, exit.room());
                        self.go_out(self.level - 1);
                    }
                }
            }
            self.i(&I::End);
            self.dummies();
        }
        self.i(&I::End);
    }

    /// Goes on behind the end of a block round this place; the innermost ends here.
    pub(super) fn go_out(&mut self, depth: u32) {
        if depth > 0 {
            self.i(&I::Br(depth));
        }
    }

    /// How far out the end of an exit's block is. The outermost block is for those who have saved all.
    pub(super) fn exit_depth(&self, exit: usize) -> u32 {
        let outside = self.exits.partition_point(|&e| e < exit) as u32;
        self.level - (outside + 2)
    }

    pub(super) fn emit_poll(&mut self, site: &Site) {
        // A loop's parameters change with every iteration.
        self.spill_from(site.base, site.own_operands(), &[], None);
        self.slot(site);
        let control = self.space.own(Part::Control);
        let request =
            MemArg { offset: crate::names::control::REQUEST, align: 2, memory_index: control };
        match self.poll {
            Poll::Atomic => {
                self.i(&I::I32Const(0));
                self.i(&I::I32AtomicLoad(request));
            }
            Poll::Store => {
                let scratch = MemArg { offset: 8, ..request };
                self.i(&I::I32Const(0));
                self.i(&I::I32Const(0));
                self.i(&I::I32Store(scratch));
                self.i(&I::I32Const(0));
                self.i(&I::I32Load(request));
            }
            Poll::Counted => self.helper(Helper::CountedPoll),
        }
        self.leave_if(site);
    }

    /// Leaves if this is the entry to stop at.
    pub(super) fn emit_watch(&mut self, site: &Site) {
        self.slot(site);
        self.helper(Helper::CountedEntry);
        self.leave_if(site);
    }

    /// After a call: leave if it unwound.
    pub(super) fn check(&mut self, site: &Site) {
        self.slot(site);
        let unwinding = self.space.own(Part::Unwinding);
        self.i(&I::GlobalGet(unwinding));
        self.leave_if(site);
    }

    /// The slot for the site's exit, before a condition.
    fn slot(&mut self, site: &Site) {
        for &value in &site.layout.values {
            if let (Source::Local(l), true) = (value.0, self.is_copied(value)) {
                let copy = self.local_for(value);
                self.i(&I::LocalGet(l));
                self.i(&I::LocalSet(copy));
            }
        }
        self.i(&I::I32Const(site.slot as i32));
    }

    /// Whether a local's value is saved from one of ours. For the validator, a local that null does not belong to is set no more
    /// behind a block.
    fn is_copied(&self, (source, ty): Saved) -> bool {
        let is_param = |l: u32| (l as usize) < self.body.params;
        let is_local = matches!(source, Source::Local(l) if !is_param(l));
        is_local && !self.resumed && ty != nullable(ty)
    }

    /// The slot and the condition are on the stack.
    fn leave_if(&mut self, site: &Site) {
        let depth = self.exit_depth(site.exit);
        self.unlikely.push(self.out.len() as u32);
        self.i(&I::BrIf(depth));
        self.i(&I::Drop);
    }

    /// Saves a site's frame at once, and sets `$unwinding`.
    pub(super) fn save(&mut self, site: &Site) {
        self.i(&I::I32Const(site.slot as i32));
        self.store(&site.layout.values, 0);
        self.end_frame(site.layout.size, 0);
    }

    /// Stores a part of a frame.
    pub(super) fn store(&mut self, values: &[Saved], offset: u32) {
        let (sp, frames) = (self.space.own(Part::Sp), self.space.own(Part::Frames));
        let mut offset = u64::from(offset);
        for &value in values {
            let l = self.local_of(value);
            let arg = MemArg { offset, align: 0, memory_index: frames };
            let store = match value.1 {
                ValType::I32 => I::I32Store(arg),
                ValType::I64 => I::I64Store(arg),
                ValType::F32 => I::F32Store(arg),
                ValType::F64 => I::F64Store(arg),
                ValType::V128 => I::V128Store(arg),
                ValType::Ref(_) => {
                    if let Some(h) = Hierarchy::of(value.1) {
                        self.i(&I::LocalGet(l));
                        self.helper(Helper::SaveReference(h));
                    }
                    continue;
                }
            };
            self.i(&I::GlobalGet(sp));
            self.i(&I::LocalGet(l));
            self.i(&store);
            offset += u64::from(width(value.1));
        }
    }

    /// The slot is on the stack.
    pub(super) fn end_frame(&mut self, size: u32, room: u32) {
        let sp = self.space.own(Part::Sp);
        self.i(&I::GlobalGet(sp));
        self.i(&I::I32Const(size as i32 - 4));
        self.i(&I::I32Add);
        if room > 0 && !self.resumed {
            let large = Helper::EndLargeFrame(room);
            for ty in large.ty(self.m).0.into_iter().skip(2) {
                self.i(&if ty == ValType::V128 { I::V128Const(0) } else { I::I64Const(0) });
            }
            self.helper(large);
        } else {
            self.helper(Helper::EndFrame);
        }
    }

    pub(super) fn local_of(&mut self, value: Saved) -> u32 {
        match value.0 {
            Source::Local(l) if !self.is_copied(value) => l,
            _ => self.local_for(value),
        }
    }

    /// Values of the function's result types; nobody looks at them.
    pub(super) fn dummies(&mut self) {
        let m = self.m;
        for &t in m.func_type(self.body.func).results() {
            let t = if self.resumed { erased(t) } else { t };
            let dummy = match t {
                ValType::I32 => I::I32Const(0),
                ValType::I64 => I::I64Const(0),
                ValType::F32 => I::F32Const(0.0f32.into()),
                ValType::F64 => I::F64Const(0.0f64.into()),
                ValType::V128 => I::V128Const(0),
                ValType::Ref(r) if r.is_nullable() => I::RefNull(heap_type(r)),
                ValType::Ref(r) => I::Call(self.space.helper(Helper::Dummy(r))),
            };
            self.i(&dummy);
        }
    }

    /// Pops the frame: its values go to their locals.
    pub(super) fn load_frame(&mut self, site: &Site) {
        let (sp, frames) = (self.space.own(Part::Sp), self.space.own(Part::Frames));
        let base = self.new_local(ValType::I32);
        self.i(&I::GlobalGet(sp));
        self.i(&I::I32Const(site.layout.size as i32));
        self.i(&I::I32Sub);
        self.i(&I::LocalTee(base));
        self.i(&I::GlobalSet(sp));
        let mut offset = 0u64;
        for (h, n) in Hierarchy::ALL.into_iter().zip(site.layout.references) {
            if n > 0 {
                let g = self.space.own(Part::ReferencesSp(h));
                self.i(&I::GlobalGet(g));
                self.i(&I::I32Const(n as i32));
                self.i(&I::I32Sub);
                self.i(&I::GlobalSet(g));
            }
        }
        let mut next = [0; Hierarchy::ALL.len()];
        for &value in &site.layout.values {
            let arg = MemArg { offset, align: 0, memory_index: frames };
            let ty = value.1;
            if let Some(h) = Hierarchy::of(ty) {
                let g = self.space.own(Part::ReferencesSp(h));
                let t = self.space.own(Part::References(h));
                self.i(&I::GlobalGet(g));
                self.i(&I::I32Const(next[h as usize]));
                self.i(&I::I32Add);
                self.i(&I::TableGet(t));
                next[h as usize] += 1;
                self.cast(ty);
            } else {
                self.i(&I::LocalGet(base));
                let (load, bytes) = match ty {
                    ValType::I32 => (I::I32Load(arg), 4),
                    ValType::I64 => (I::I64Load(arg), 8),
                    ValType::F32 => (I::F32Load(arg), 4),
                    ValType::F64 => (I::F64Load(arg), 8),
                    _ => (I::V128Load(arg), 16),
                };
                self.i(&load);
                offset += bytes;
            }
            let l = self.local_of(value);
            self.i(&I::LocalSet(l));
        }
    }
}
