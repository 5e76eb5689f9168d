//! What is left of a function after a safepoint.
//!
//! ```text
//!   begin                          all that the rest of a function needs to leave early
//!   the frame, into locals
//!   for each construct round the site, outermost first: operands beneath it, and its rest opened
//!   a call's site: the next inner frame goes on, and the usual check
//!   the code from there, as in the whole function
//! ```

use super::{Code, Emitter, Form, Part, Space};
use crate::body::Body;
use crate::layout::{Kind, Site, Sites, block_params, block_results, erased};
use crate::limits::{self, Excess};
use crate::{Error, Result, work};
use wasm_encoder::{BlockType, Instruction as I, MemArg};
use wasmparser::{Operator, ValType};

impl<S: Space> Emitter<'_, '_, S> {
    /// What is left of the function after `site`.
    pub fn continuation(mut self, site: &Site) -> Result<Code> {
        self.resumed = true;
        if site.kind == Kind::Entry {
            self.load_frame(site);
            for l in 0..self.body.params {
                self.get(l as u32, self.body.locals[l]);
            }
            let f = self.callee(self.body.func);
            self.i(&I::ReturnCall(f));
            self.i(&I::End);
            return self.finish(0);
        }
        let sites = self.sites;
        let later = sites.list.iter().filter(|s| s.active && s.op > site.op);
        self.begin([site].into_iter().chain(later));
        self.mark(site.offset);
        self.load_frame(site);
        self.open_round(site)?;
        match site.kind {
            Kind::Loop => {
                // A program is saved again before it runs, wherever its loop is polled.
                if site.active && self.sites.is_polled_last(self.body, site.op) {
                    self.emit_poll(site);
                }
                self.rest(site.op)?;
            }
            _ => {
                let results = self.body.results_of_call(self.m, site.op)?;
                let (sp, frames) = (self.space.own(Part::Sp), self.space.own(Part::Frames));
                let table_index = self.space.own(Part::Continuations);
                let known: Vec<ValType> = results.iter().map(|&t| erased(t)).collect();
                let type_index = self.space.signature(&[], &known);
                self.i(&I::GlobalGet(sp));
                self.i(&I::I32Const(4));
                self.i(&I::I32Sub);
                self.i(&I::I32Load(MemArg { offset: 0, align: 0, memory_index: frames }));
                self.i(&I::CallIndirect { type_index, table_index });
                self.mark_after(site.op);
                self.check(site);
                self.restore_types(results);
                self.rest(site.op + 1)?;
            }
        }
        self.finish(0)
    }

    /// Opens what is left of the constructs round a site, and puts its operands where they were.
    pub(super) fn open_round(&mut self, site: &Site) -> Result<()> {
        let mut pushed = 0;
        for (op, height) in self.enclosing(site)? {
            self.push_operands(site, &mut pushed, height);
            self.reopen(op, height)?;
        }
        self.push_operands(site, &mut pushed, site.operands.len() as u32);
        Ok(())
    }

    /// Whether no continuation is larger than engines accept. Each is a frame loaded and a part of
    /// the function, with what follows a frame saved at the headers of the loops round it (96 bytes) and the results of a call made
    /// their types again (32 bytes each), and with frames that the function does not save (20 bytes a value).
    pub fn check_continuations(mut self) -> Result<()> {
        self.resumed = true;
        // As many bytes as the index of any spilled operand.
        self.first_new_local = limits::LOCALS as u32;
        let sites = self.sites;
        self.begin(sites.list.iter().filter(|site| site.active));
        if let Some(site) = sites.list.iter().max_by_key(|s| s.layout.values.len()) {
            self.load_frame(site);
        }
        if let Some(site) = sites.list.iter().max_by_key(|s| s.operands.len()) {
            self.push_operands(site, &mut 0, site.operands.len() as u32);
        }
        self.rest(0)?;
        let results = if self.m.typed { limits::RESULTS } else { 0 };
        let locals = self.body.locals.len() + self.new_locals.len() + results;
        let declared = 4 * locals;
        let beside = beside(sites, self.body);
        if self.out.len() + declared + beside + 32 * results > limits::BODY {
            return Err(Excess::Code.of(self.m, self.body.func));
        }
        if locals > limits::LOCALS {
            return Err(Excess::Locals.of(self.m, self.body.func));
        }
        Ok(())
    }

    /// The constructs round a site, outermost first: instruction and operand height beneath.
    fn enclosing(&self, site: &Site) -> Result<Vec<(usize, u32)>> {
        let mut v = self.m.validator(self.body.func).ok_or(Error::Frames("no code section"))?;
        let mut reader = self.m.body(self.body.func).get_binary_reader();
        v.read_locals(&mut reader).map_err(Error::invalid)?;
        let mut open = vec![];
        work::add(site.op);
        for (i, op) in self.body.ops[..site.op].iter().enumerate() {
            match op {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => open.push(i),
                Operator::End => {
                    open.pop();
                }
                _ => {}
            }
            v.op(self.body.offsets[i] as usize, op).map_err(Error::invalid)?;
        }
        let n = open.len();
        open.into_iter()
            .enumerate()
            .map(|(k, op)| {
                let frame = v.get_control_frame(n - 1 - k).ok_or(Error::Frames("nesting"))?;
                Ok((op, frame.height as u32))
            })
            .collect()
    }

    fn push_operands(&mut self, site: &Site, pushed: &mut u32, up_to: u32) {
        while *pushed < up_to {
            let t = site.operands[*pushed as usize];
            let l = self.spill(*pushed, t);
            self.get(l, t);
            *pushed += 1;
        }
    }

    /// Opens what is left of a construct round the site. Its parameters have been consumed.
    fn reopen(&mut self, op: usize, height: u32) -> Result<()> {
        let ty = match &self.body.ops[op] {
            Operator::Block { blockty } | Operator::If { blockty } | Operator::Loop { blockty } => {
                *blockty
            }
            Operator::TryTable { try_table } => try_table.ty,
            _ => return Err(Error::Frames("not a construct")),
        };
        let results = block_results(self.m, ty);
        match &self.body.ops[op] {
            Operator::TryTable { try_table } => {
                self.try_table(&[], &results, &try_table.catches);
                self.open(Form::Rest);
            }
            Operator::Loop { .. } => {
                let params = block_params(self.m, ty).to_vec();
                let exit = self.block_type(&[], &results);
                self.i(&I::Block(exit));
                self.level += 1;
                let header = self.block_type(&[], &params);
                self.i(&I::Block(header));
                self.open(Form::RestOfLoop { height, op });
            }
            _ => {
                let t = self.block_type(&[], &results);
                self.i(&I::Block(t));
                self.open(Form::Rest);
            }
        }
        Ok(())
    }

    /// A branch to the loop's header ends here: its frame is saved as if the header's poll had
    /// fired, and the header's own continuation, shared by all, goes on.
    pub(super) fn end_rest_of_loop(&mut self, height: u32, op: usize) -> Result<()> {
        self.i(&I::Br(1));
        self.i(&I::End);
        self.level -= 1;
        if self.plain {
            return self.again(op);
        }
        let Operator::Loop { blockty } = &self.body.ops[op] else {
            return Err(Error::Frames("not a loop"));
        };
        let m = self.m;
        for (n, &t) in block_params(m, *blockty).iter().enumerate().rev() {
            let l = self.spill(height + n as u32, t);
            self.i(&I::LocalSet(l));
        }
        let sites = self.sites;
        let site = sites.at(op).ok_or(Error::Frames("a loop without a safepoint"))?;
        self.save(site);
        let continuations = self.space.own(Part::Continuations);
        self.i(&I::I32Const(site.slot as i32));
        self.i(&I::TableGet(continuations));
        self.i(&I::RefIsNull);
        self.unlikely.push(self.out.len() as u32);
        self.i(&I::If(BlockType::Empty));
        // Not compiled yet: unwind to the host, which compiles it and resumes.
        self.i(&I::Br(self.level));
        self.i(&I::End);
        let unwinding = self.space.own(Part::Unwinding);
        self.i(&I::I32Const(0));
        self.i(&I::GlobalSet(unwinding));
        self.i(&I::I32Const(site.slot as i32));
        let results = m.func_type(self.body.func).results();
        let results: Vec<ValType> = results.iter().map(|&t| erased(t)).collect();
        let type_index = self.space.signature(&[], &results);
        self.i(&I::ReturnCallIndirect { type_index, table_index: continuations });
        self.i(&I::End);
        self.level -= 1;
        Ok(())
    }
}

/// Bytes that a continuation can have and the function has not, besides what it loads.
pub(crate) fn beside(sites: &Sites, body: &Body<'_>) -> usize {
    20 * sites.saved_beside(body) + 96 * (body.depth + 1)
}
