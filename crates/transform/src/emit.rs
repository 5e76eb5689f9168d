//! Writes code with safepoints: for whole functions in the main module, and for the rest of a
//! function in a continuation.
//!
//! ```wat
//!   block $leave
//!     block $exit (result i32)            ;; one of `exits`; it takes the slot
//!       ;; a loop                         ;; a call that may unwind, with $x beneath its argument
//!       loop                              local.set $a  local.set $s0      ;; operands into locals
//!         i32.const 7   ;; slot           local.get $s0 local.get $a
//!         i32.const 0                     call $f
//!         i32.atomic.load $control        i32.const 8
//!         br_if $exit   ;; unlikely       global.get $unwinding
//!         drop                            br_if $exit
//!         ...                             drop
//!       return
//!     end
//!     global.get $sp  local.get $i   i32.store $frames 0
//!     global.get $sp  local.get $s0  i32.store $frames 4
//!     global.get $sp  i32.const 8  i32.add
//!     call $end_frame                     ;; stores the slot, and sets $sp and $unwinding
//!   end
//!   i32.const 0   ;; dummy result
//! ```
//!
//! A loop round others that end soon is polled where it goes round again, if that is one place: at its header the engine would
//! compute again behind the poll what the inner loop needs, a few dozen instructions in PolyBench's kernels. What is saved is the same.
//!
//! ```wat
//!   block $out
//!     loop $l
//!       block $again
//!         ...  br_if $again  ...            ;; was: br_if $l
//!         br $out
//!       end
//!       i32.const 7  i32.const 0  i32.atomic.load $control  br_if $exit  drop
//!       br $l
//!     end
//!   end
//! ```
//!
//! This file has the functions as they are; `frame` what a safepoint adds, `rest` what begins at one, `plain` the
//! same without any, `locals` what holds operands.

mod frame;
mod locals;
mod plain;
mod rest;
mod types;

pub(crate) use rest::beside;
pub(crate) use types::{heap_type, ref_type, val_type};

use crate::body::Body;
use crate::helpers::Helper;
use crate::layout::{Hierarchy, Saved, Site, Sites, block_params, block_results, nullable};
use crate::limits::{self, Excess};
use crate::module::{Module, concrete};
use crate::{Error, Poll, Result, work};
use std::collections::HashMap;
use wasm_encoder::{BlockType, Encode, Instruction as I};
use wasmparser::{Catch, Operator, ValType};

/// The index spaces of the module being written.
pub(crate) trait Space {
    fn helper(&mut self, h: Helper) -> u32;
    /// The helper that does what an instruction does, which cannot stand in another module; none where it can.
    fn instead(&mut self, h: Helper) -> Option<u32> {
        Some(self.helper(h))
    }
    /// What to push after the arguments of a call of original function `f`, if anything, and the index that calls it.
    fn callee(&mut self, f: u32) -> (Option<u32>, u32);
    /// The index of original function `f`.
    fn function(&mut self, f: u32) -> u32;
    fn own(&mut self, part: Part) -> u32;
    /// The index of a function type.
    fn signature(&mut self, params: &[ValType], results: &[ValType]) -> u32;
    fn tag(&mut self, tag: u32) -> u32;
    /// Any instruction that needs no special care.
    fn plain(&mut self, raw: &[u8], op: &Operator<'_>, out: &mut Vec<u8>) -> Result<()>;
}

/// Parts of the main module that are ours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Part {
    Control,
    Frames,
    References(Hierarchy),
    Continuations,
    Unwinding,
    Sp,
    ReferencesSp(Hierarchy),
    /// A tag of exceptions that nobody sees.
    Tag,
}

/// How an open construct of the original is written.
struct Label {
    /// Nesting level of its branch target.
    level: u32,
    form: Form,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// As it is.
    Whole,
    /// Only its rest, in a plain block.
    Rest,
    /// The rest of a loop's body, in two blocks; the operand height beneath its parameters, and
    /// the instruction.
    RestOfLoop { height: u32, op: usize },
    /// A loop that is polled where it goes round again, and its instruction.
    PolledLast { op: usize },
}

pub(crate) struct Emitter<'e, 'a, S> {
    pub space: &'e mut S,
    m: &'e Module,
    body: &'e Body<'a>,
    sites: &'e Sites,
    poll: Poll,
    /// This is a continuation. The locals of references may hold null in it: the validator wants
    /// others to be set first, and cannot see that they are. And it returns erased types.
    resumed: bool,
    /// It has no safepoints and stands by itself (`plain`).
    plain: bool,
    /// Instruction bytes; the local declarations are put before them at the end.
    out: Vec<u8>,
    /// Offsets in `out` of branches that are unlikely.
    unlikely: Vec<u32>,
    /// The exits for which there is a block, outermost first.
    exits: Vec<usize>,
    labels: Vec<Label>,
    level: u32,
    first_new_local: u32,
    spills: HashMap<Saved, u32>,
    new_locals: Vec<ValType>,
    /// Where instructions come from (`origin`), if that is asked for.
    marks: Option<Vec<(u32, u32)>>,
}

/// A function as bytes: local declarations and code, and its unlikely branches.
pub(crate) struct Code {
    pub bytes: Vec<u8>,
    pub unlikely: Vec<u32>,
    pub marks: Vec<(u32, u32)>,
}

impl<'e, 'a, S: Space> Emitter<'e, 'a, S> {
    pub fn new(
        space: &'e mut S,
        m: &'e Module,
        body: &'e Body<'a>,
        sites: &'e Sites,
        poll: Poll,
    ) -> Self {
        Emitter {
            space,
            m,
            body,
            sites,
            poll,
            resumed: false,
            plain: false,
            out: Vec::with_capacity(256),
            unlikely: vec![],
            exits: vec![],
            labels: vec![Label { level: 0, form: Form::Whole }],
            level: 0,
            first_new_local: body.locals.len() as u32,
            spills: HashMap::new(),
            new_locals: vec![],
            marks: None,
        }
    }

    /// Notes where each instruction comes from.
    pub fn marking(mut self, wanted: bool) -> Self {
        self.marks = wanted.then(Vec::new);
        self
    }

    fn mark(&mut self, original: u32) {
        let at = self.out.len() as u32;
        if let Some(marks) = &mut self.marks {
            marks.push((at, original));
        }
    }

    /// What follows a call or a loop's header is ours and does not trap. But the engine may make one
    /// instruction of its branch and of an `unreachable` behind it.
    fn mark_after(&mut self, op: usize) {
        let is_nothing = |op: &Operator<'_>| {
            matches!(op, Operator::End | Operator::Nop | Operator::Block { .. })
        };
        let mut next = op + 1;
        while self.body.ops.get(next).is_some_and(is_nothing) {
            next += 1;
        }
        self.mark(self.body.offsets[next.min(self.body.ops.len() - 1)]);
    }

    /// The whole function, instrumented.
    pub fn whole(mut self) -> Result<Code> {
        let sites = self.sites;
        if sites.list.iter().any(|site| site.active) {
            self.begin(sites.list.iter().filter(|site| site.active));
        }
        if let Some(site) = sites.active_entry() {
            if sites.polls_entry {
                self.emit_poll(site);
            }
            if sites.watches_entry {
                self.emit_watch(site);
            }
        }
        self.rest(0)?;
        // Continuations of what is not active save references too, with helpers and a table of the main module.
        for site in sites.list.iter().filter(|site| !site.active) {
            for (h, n) in Hierarchy::ALL.into_iter().zip(site.layout.references) {
                if n > 0 {
                    self.space.helper(Helper::SaveReference(h));
                }
            }
        }
        let params = self.body.params;
        self.finish(params)
    }

    /// Instead of an imported function that can block: calls it, and if it was interrupted saves
    /// the arguments, so that it can be called again.
    pub fn stub(mut self, site: &Site) -> Result<Code> {
        self.begin([site].into_iter());
        if self.sites.watches_entry {
            self.emit_watch(site);
        }
        for l in 0..self.body.params {
            self.i(&I::LocalGet(l as u32));
        }
        self.i(&I::Call(self.body.func));
        self.check(site);
        self.end();
        let params = self.body.params;
        self.finish(params)
    }

    /// Instructions from `from` to the end of the function.
    fn rest(&mut self, from: usize) -> Result<()> {
        self.span(from, self.body.ops.len())
    }

    /// Instructions from `from` up to `to`.
    fn span(&mut self, from: usize, to: usize) -> Result<()> {
        let body = self.body;
        work::add(to - from);
        let mut i = from;
        while i < to {
            let op = &body.ops[i];
            // Dead code is left out: nothing runs it, and the stack is polymorphic there.
            if body.dead[i] {
                i = self.skip_dead(i);
                continue;
            }
            self.mark(body.offsets[i]);
            self.op(i, op)?;
            // What is added can be many times what is there, and memory with it.
            if self.out.len() > limits::BODY {
                return Err(Excess::Code.of(self.m, self.body.func));
            }
            i += 1;
            // The else-branch of an `if` whose rest was written as a block is not part of the rest.
            if let Operator::Else = op
                && self.labels.last().is_some_and(|l| l.form == Form::Rest)
            {
                i = body.ends[&(i - 1)];
            }
        }
        Ok(())
    }

    /// From a dead instruction to the `else` or `end` of the construct it stands in.
    fn skip_dead(&self, mut i: usize) -> usize {
        let mut depth = 0;
        while i < self.body.ops.len() {
            match self.body.ops[i] {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => depth += 1,
                Operator::Else if depth == 0 => return i,
                Operator::End if depth == 0 => return i,
                Operator::End => depth -= 1,
                _ => {}
            }
            i += 1;
        }
        i
    }

    fn op(&mut self, i: usize, op: &Operator<'a>) -> Result<()> {
        let raw = self.body.raw(self.m, i);
        let sites = self.sites;
        if let Some((base, operands)) = sites.entered.get(&i) {
            let condition = matches!(op, Operator::If { .. }).then_some(ValType::I32);
            self.spill_from(*base, operands, &[], condition);
        }
        match op {
            Operator::Block { .. } | Operator::If { .. } => {
                self.plain(raw, op)?;
                self.open(Form::Whole);
            }
            Operator::Loop { blockty } => match sites.active_at(i) {
                Some(_) if sites.is_polled_last(self.body, i) => {
                    let params = block_params(self.m, *blockty).to_vec();
                    let results = block_results(self.m, *blockty);
                    let whole = self.block_type(&params, &results);
                    let again = self.block_type(&params, &params);
                    self.i(&I::Block(whole));
                    self.i(&I::Loop(whole));
                    self.i(&I::Block(again));
                    self.level += 2;
                    self.open(Form::PolledLast { op: i });
                }
                site => {
                    self.plain(raw, op)?;
                    self.open(Form::Whole);
                    if let Some(site) = site {
                        self.mark_after(i);
                        self.emit_poll(site);
                    }
                }
            },
            Operator::TryTable { try_table } => {
                let results = block_results(self.m, try_table.ty);
                let params = block_params(self.m, try_table.ty).to_vec();
                self.try_table(&params, &results, &try_table.catches);
                self.open(Form::Whole);
            }
            Operator::Else => match self.labels.last().map(|l| l.form) {
                Some(Form::Rest) => {}
                _ => self.plain(raw, op)?,
            },
            Operator::End => {
                let label = self.labels.pop().ok_or(Error::Frames("unbalanced end"))?;
                match label.form {
                    Form::RestOfLoop { height, op } => self.end_rest_of_loop(height, op)?,
                    Form::PolledLast { op } => self.end_polled_last(op)?,
                    _ if self.labels.is_empty() => self.end(),
                    _ => {
                        self.i(&I::End);
                        self.level -= 1;
                    }
                }
            }
            Operator::Br { relative_depth } => {
                let d = self.depth(*relative_depth);
                self.i(&I::Br(d));
            }
            Operator::BrIf { relative_depth } => {
                let d = self.depth(*relative_depth);
                self.i(&I::BrIf(d));
            }
            Operator::BrOnNull { relative_depth } => {
                let d = self.depth(*relative_depth);
                self.i(&I::BrOnNull(d));
            }
            Operator::BrOnNonNull { relative_depth } => {
                let d = self.depth(*relative_depth);
                self.i(&I::BrOnNonNull(d));
            }
            &Operator::BrOnCast { relative_depth, from_ref_type, to_ref_type } => {
                let relative_depth = self.depth(relative_depth);
                let (from_ref_type, to_ref_type) = (ref_type(from_ref_type), ref_type(to_ref_type));
                self.i(&I::BrOnCast { relative_depth, from_ref_type, to_ref_type });
            }
            &Operator::BrOnCastFail { relative_depth, from_ref_type, to_ref_type } => {
                let relative_depth = self.depth(relative_depth);
                let (from_ref_type, to_ref_type) = (ref_type(from_ref_type), ref_type(to_ref_type));
                self.i(&I::BrOnCastFail { relative_depth, from_ref_type, to_ref_type });
            }
            Operator::LocalGet { local_index } if self.resumed => {
                self.get(*local_index, self.body.locals[*local_index as usize]);
            }
            Operator::LocalTee { local_index } if self.resumed => {
                self.i(&I::LocalTee(*local_index));
                self.assert_type(self.body.locals[*local_index as usize]);
            }
            Operator::BrTable { targets } => {
                let mut ls = Vec::with_capacity(targets.len() as usize);
                for t in targets.targets() {
                    ls.push(self.depth(t.map_err(Error::invalid)?));
                }
                let default = self.depth(targets.default());
                self.i(&I::BrTable(ls.into(), default));
            }
            Operator::Call { function_index } => {
                let site = sites.active_at(i);
                if let Some(site) = site {
                    let params = self.m.func_type(*function_index).params();
                    self.spill_from(site.base, site.own_operands(), params, None);
                }
                let f = self.callee(*function_index);
                self.i(&I::Call(f));
                if let Some(site) = site {
                    self.mark_after(i);
                    self.check(site);
                }
            }
            Operator::CallIndirect { type_index, table_index } => {
                if let Some(site) = sites.active_at(i) {
                    let params = self.m.types[*type_index as usize].params();
                    let index = self.m.table_index(*table_index);
                    self.spill_from(site.base, site.own_operands(), params, Some(index));
                    self.plain(raw, op)?;
                    self.mark_after(i);
                    self.check(site);
                } else {
                    self.plain(raw, op)?;
                }
            }
            Operator::CallRef { type_index } => {
                if let Some(site) = sites.active_at(i) {
                    let params = self.m.types[*type_index as usize].params();
                    let callee = concrete(true, *type_index);
                    self.spill_from(site.base, site.own_operands(), params, Some(callee));
                    self.plain(raw, op)?;
                    self.mark_after(i);
                    self.check(site);
                } else {
                    self.plain(raw, op)?;
                }
            }
            Operator::ReturnCall { function_index } => {
                let f = self.callee(*function_index);
                self.i(&I::ReturnCall(f));
            }
            op => {
                let helper = match *op {
                    Operator::RefFunc { function_index } => Some(Helper::RefFunc(function_index)),
                    Operator::MemoryInit { data_index, mem } => {
                        Some(Helper::MemoryInit(data_index, mem))
                    }
                    Operator::TableInit { elem_index, table } => {
                        Some(Helper::TableInit(elem_index, table))
                    }
                    Operator::DataDrop { data_index } => Some(Helper::DataDrop(data_index)),
                    Operator::ElemDrop { elem_index } => Some(Helper::ElemDrop(elem_index)),
                    _ => None,
                };
                match helper.and_then(|h| self.space.instead(h)) {
                    Some(f) => self.i(&I::Call(f)),
                    None => self.plain(raw, op)?,
                }
            }
        }
        Ok(())
    }

    fn plain(&mut self, raw: &[u8], op: &Operator<'a>) -> Result<()> {
        self.space.plain(raw, op, &mut self.out)
    }

    fn i(&mut self, i: &I<'_>) {
        i.encode(&mut self.out);
    }

    fn helper(&mut self, h: Helper) {
        let f = self.space.helper(h);
        self.i(&I::Call(f));
    }

    fn open(&mut self, form: Form) {
        self.level += 1;
        self.labels.push(Label { level: self.level, form });
    }

    fn depth(&self, original: u32) -> u32 {
        self.level - self.labels[self.labels.len() - 1 - original as usize].level
    }

    /// The index that calls a function whose arguments are on the stack.
    fn callee(&mut self, f: u32) -> u32 {
        let (place, index) = self.space.callee(f);
        if let Some(place) = place {
            self.i(&I::I32Const(place as i32));
        }
        index
    }

    /// Branches to the loop's header have arrived here. What has come to the loop's end passes by.
    fn end_polled_last(&mut self, op: usize) -> Result<()> {
        self.i(&I::Br(2));
        self.i(&I::End);
        self.level -= 1;
        let site = self.sites.at(op).ok_or(Error::Frames("a loop without a safepoint"))?;
        self.emit_poll(site);
        self.i(&I::Br(0));
        self.i(&I::End);
        self.i(&I::End);
        self.level -= 2;
        Ok(())
    }

    fn try_table(&mut self, params: &[ValType], results: &[ValType], catches: &[Catch]) {
        use wasm_encoder::Catch as C;
        let ty = self.block_type(params, results);
        let catches: Vec<C> = catches
            .iter()
            .map(|c| match *c {
                Catch::One { tag, label } => {
                    C::One { tag: self.space.tag(tag), label: self.depth(label) }
                }
                Catch::OneRef { tag, label } => {
                    C::OneRef { tag: self.space.tag(tag), label: self.depth(label) }
                }
                Catch::All { label } => C::All { label: self.depth(label) },
                Catch::AllRef { label } => C::AllRef { label: self.depth(label) },
            })
            .collect();
        self.i(&I::TryTable(ty, catches.into()));
    }

    fn block_type(&mut self, params: &[ValType], results: &[ValType]) -> BlockType {
        match (params, results) {
            ([], []) => BlockType::Empty,
            ([], [t]) => BlockType::Result(val_type(*t)),
            _ => BlockType::FunctionType(self.space.signature(params, results)),
        }
    }

    /// Puts the local declarations before the code; the first `params` locals are parameters.
    fn finish(self, params: usize) -> Result<Code> {
        if self.body.locals.len() + self.new_locals.len() > limits::LOCALS {
            return Err(Excess::Locals.of(self.m, self.body.func));
        }
        let originals = self.body.locals[params..].iter().map(|&t| match self.resumed {
            true => nullable(t),
            false => t,
        });
        let mut groups: Vec<(u32, ValType)> = vec![];
        for t in originals.chain(self.new_locals.iter().copied()) {
            match groups.last_mut() {
                Some((n, last)) if *last == t => *n += 1,
                _ => groups.push((1, t)),
            }
        }
        let mut bytes = Vec::with_capacity(self.out.len() + 16);
        (groups.len() as u32).encode(&mut bytes);
        for (n, t) in groups {
            n.encode(&mut bytes);
            val_type(t).encode(&mut bytes);
        }
        let shift = bytes.len() as u32;
        bytes.extend(&self.out);
        work::add(bytes.len());
        if bytes.len() > limits::BODY {
            return Err(Excess::Code.of(self.m, self.body.func));
        }
        let marks = self.marks.unwrap_or_default();
        Ok(Code {
            bytes,
            unlikely: self.unlikely.iter().map(|o| o + shift).collect(),
            marks: marks.into_iter().map(|(at, from)| (at + shift, from)).collect(),
        })
    }
}
