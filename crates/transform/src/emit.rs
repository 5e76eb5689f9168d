//! Writes code with safepoints: for whole functions in the main module, and for the rest of a
//! function in a continuation.
//!
//! ```wat
//!   block $leave
//!     ;; a loop                             ;; a call that may unwind, with $x beneath its argument
//!     loop                                  local.set $a  local.set $s0      ;; operands into locals
//!       i32.const 0                         local.get $s0 local.get $a
//!       i32.atomic.load $control            call $f
//!       if  ;; unlikely                     global.get $unwinding
//!         local.get $i                      if  ;; unlikely
//!         i32.const 7   ;; slot               local.get $s0
//!         call $save_site_1_0_0_0_0           i32.const 8
//!         br $leave                           call $save_site_1_0_0_0_0
//!       end                                   br $leave
//!       ...                                 end
//!     return
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
//!       i32.const 0  i32.atomic.load $control  if  ...  end
//!       br $l
//!     end
//!   end
//! ```
//!
//! The cold paths never rejoin. An out-of-line helper stores the whole frame: inline stores cost
//! compile time, and loads on a cold path get hoisted into hot code.

use crate::body::Body;
use crate::helpers::{Helper, MOST};
use crate::layout::{
    CLASSES, Hierarchy, Kind, Site, Sites, Source, block_params, block_results, erased, nullable,
};
use crate::limits::{self, Excess};
use crate::module::{Module, concrete};
use crate::{Error, Poll, Result, work};
use std::collections::HashMap;
use wasm_encoder::{BlockType, Encode, HeapType, Instruction as I, MemArg};
use wasmparser::{AbstractHeapType, Catch, Operator, RefType, ValType};

/// The index spaces of the module being written.
pub(crate) trait Space {
    fn helper(&mut self, h: Helper) -> u32;
    /// The index that calls original function `f`.
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
    /// Instruction bytes; the local declarations are put before them at the end.
    out: Vec<u8>,
    /// Offsets in `out` of `if`s that are unlikely.
    unlikely: Vec<u32>,
    labels: Vec<Label>,
    level: u32,
    first_new_local: u32,
    spills: HashMap<(u32, ValType), u32>,
    new_locals: Vec<ValType>,
    /// Where instructions come from (`origin`), if that is asked for.
    marks: Option<Vec<(u32, u32)>>,
}

/// A function as bytes: local declarations and code, and its unlikely `if`s.
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
            out: Vec::with_capacity(256),
            unlikely: vec![],
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
        if self.sites.list.iter().any(|site| site.active) {
            self.begin();
        }
        if let Some(site) = self.sites.active_entry() {
            self.emit_poll(site);
        }
        self.rest(0)?;
        // Continuations of what is not active are made of the main module's helpers too.
        let idle = |site: &&Site| !site.active && site.kind != Kind::Entry;
        for site in self.sites.list.iter().filter(idle) {
            for (helper, _) in parts(site) {
                self.space.helper(helper);
            }
        }
        let params = self.body.params;
        self.finish(params)
    }

    /// Instead of an imported function that can block: calls it, and if it was interrupted saves
    /// the arguments, so that it can be called again.
    pub fn stub(mut self, site: &Site) -> Result<Code> {
        self.begin();
        for l in 0..self.body.params {
            self.i(&I::LocalGet(l as u32));
        }
        self.i(&I::Call(self.body.func));
        self.check(site);
        self.end();
        let params = self.body.params;
        self.finish(params)
    }

    /// What is left of the function after `site`.
    pub fn continuation(mut self, site: &Site) -> Result<Code> {
        self.resumed = true;
        if site.kind == Kind::Entry {
            self.load_frame(site);
            for l in 0..self.body.params {
                self.get(l as u32, self.body.locals[l]);
            }
            let f = self.space.function(self.body.func);
            self.i(&I::ReturnCall(f));
            self.i(&I::End);
            return self.finish(0);
        }
        self.begin();
        self.mark(site.offset);
        self.load_frame(site);
        let mut pushed = 0;
        for (op, height) in self.enclosing(site)? {
            self.push_operands(site, &mut pushed, height);
            self.reopen(op, height)?;
        }
        self.push_operands(site, &mut pushed, site.operands.len() as u32);
        match (site.kind, &self.body.ops[site.op]) {
            (Kind::Loop, _) => self.rest(site.op)?,
            (_, op) => {
                let results = match op {
                    Operator::Call { function_index } => {
                        self.m.func_type(*function_index).results()
                    }
                    Operator::CallIndirect { type_index, .. }
                    | Operator::CallRef { type_index } => {
                        self.m.types[*type_index as usize].results()
                    }
                    _ => return Err(Error::Frames("a call site that is not a call")),
                };
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

    /// Whether no continuation is larger than engines accept. Each is a frame loaded and a part of
    /// the function, with what follows the header's poll in the loops round it (64 bytes at most)
    /// and the results of a call made their types again (32 bytes each).
    pub fn check_continuations(mut self) -> Result<()> {
        self.resumed = true;
        // As many bytes as the index of any spilled operand.
        self.first_new_local = limits::LOCALS as u32;
        self.begin();
        let sites = self.sites;
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
        if self.out.len() + declared + 64 * (self.body.depth + 1) + 32 * results > limits::BODY {
            return Err(Excess::Code.of(self.m, self.body.func));
        }
        if locals > limits::LOCALS {
            return Err(Excess::Locals.of(self.m, self.body.func));
        }
        Ok(())
    }

    /// All who leave the function early do so in one place, behind its code: what it returns then, and the engine's code for a
    /// return, are there only once.
    fn begin(&mut self) {
        self.i(&I::Block(BlockType::Empty));
        self.level += 1;
    }

    /// The end of the function.
    fn end(&mut self) {
        if self.level == 1 {
            self.i(&I::Return);
            self.i(&I::End);
            self.dummies();
        }
        self.i(&I::End);
    }

    /// Instructions from `from` to the end of the function.
    fn rest(&mut self, from: usize) -> Result<()> {
        let body = self.body;
        work::add(body.ops.len() - from);
        let mut i = from;
        while i < body.ops.len() {
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
                let f = self.space.function(*function_index);
                match sites.active_at(i) {
                    None => self.i(&I::Call(f)),
                    Some(site) => {
                        let params = self.m.func_type(*function_index).params();
                        self.spill_from(site.base, site.own_operands(), params, None);
                        self.i(&I::Call(f));
                        self.mark_after(i);
                        self.check(site);
                    }
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
                let f = self.space.function(*function_index);
                self.i(&I::ReturnCall(f));
            }
            Operator::RefFunc { function_index } => self.helper(Helper::RefFunc(*function_index)),
            Operator::MemoryInit { data_index, mem } => {
                self.helper(Helper::MemoryInit(*data_index, *mem));
            }
            Operator::TableInit { elem_index, table } => {
                self.helper(Helper::TableInit(*elem_index, *table));
            }
            Operator::DataDrop { data_index } => self.helper(Helper::DataDrop(*data_index)),
            Operator::ElemDrop { elem_index } => self.helper(Helper::ElemDrop(*elem_index)),
            op => self.plain(raw, op)?,
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

    fn spill(&mut self, position: u32, ty: ValType) -> u32 {
        let next = self.first_new_local + self.new_locals.len() as u32;
        *self.spills.entry((position, ty)).or_insert_with(|| {
            self.new_locals.push(nullable(ty));
            next
        })
    }

    /// A value from a local of ours, or one of the function's in a continuation.
    fn get(&mut self, local: u32, ty: ValType) {
        self.i(&I::LocalGet(local));
        self.assert_type(ty);
    }

    /// What lies in a local that may hold null, but does not, becomes of this type again.
    fn assert_type(&mut self, ty: ValType) {
        if matches!(ty, ValType::Ref(r) if !r.is_nullable()) {
            self.i(&I::RefAsNonNull);
        }
    }

    /// A reference that only its hierarchy is known of becomes of this type again, or null.
    fn cast(&mut self, ty: ValType) {
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
    fn restore_types(&mut self, results: &[ValType]) {
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

    fn new_local(&mut self, ty: ValType) -> u32 {
        self.new_locals.push(ty);
        self.first_new_local + self.new_locals.len() as u32 - 1
    }

    /// Puts the operands from height `base` into their locals (those beneath are there already),
    /// and leaves the stack as it was: `operands`, then values of types `above` and `top`.
    fn spill_from(
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

    fn emit_poll(&mut self, site: &Site) {
        // A loop's parameters change with every iteration.
        self.spill_from(site.base, site.own_operands(), &[], None);
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
        self.unwind_if(site);
    }

    /// After a call: leave if it unwound.
    fn check(&mut self, site: &Site) {
        let unwinding = self.space.own(Part::Unwinding);
        self.i(&I::GlobalGet(unwinding));
        self.unwind_if(site);
    }

    fn unwind_if(&mut self, site: &Site) {
        self.unlikely.push(self.out.len() as u32);
        self.i(&I::If(BlockType::Empty));
        self.save_frame(site);
        self.leave();
        self.i(&I::End);
    }

    /// Leaves the function, from within an `if`.
    fn leave(&mut self) {
        self.i(&I::Br(self.level));
    }

    /// Saves the frame and sets `$unwinding`.
    fn save_frame(&mut self, site: &Site) {
        for (helper, values) in parts(site) {
            for &value in values {
                let l = self.local_of(value);
                self.i(&I::LocalGet(l));
            }
            if let Helper::SaveSite(_) = helper {
                self.i(&I::I32Const(site.slot as i32));
            }
            self.helper(helper);
        }
    }

    fn local_of(&mut self, (source, ty): (Source, ValType)) -> u32 {
        match source {
            Source::Local(l) => l,
            Source::Operand(p) => self.spill(p, ty),
        }
    }

    /// Values of the function's result types; nobody looks at them.
    fn dummies(&mut self) {
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
    fn load_frame(&mut self, site: &Site) {
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
    fn end_rest_of_loop(&mut self, height: u32, op: usize) -> Result<()> {
        self.i(&I::Br(1));
        self.i(&I::End);
        self.level -= 1;
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
        self.save_frame(site);
        let continuations = self.space.own(Part::Continuations);
        self.i(&I::I32Const(site.slot as i32));
        self.i(&I::TableGet(continuations));
        self.i(&I::RefIsNull);
        self.unlikely.push(self.out.len() as u32);
        self.i(&I::If(BlockType::Empty));
        // Not compiled yet: unwind to the host, which compiles it and resumes.
        self.leave();
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

/// A frame's values in the order they are saved, with the helpers that save them: references one by one, then the others in
/// parts, of which the last ends the frame.
fn parts(site: &Site) -> impl Iterator<Item = (Helper, &[(Source, ValType)])> {
    let values = &site.layout.values[..];
    let numbers = values.iter().take_while(|v| CLASSES.iter().any(|c| c.0 == v.1)).count();
    let (numbers, references) = values.split_at(numbers);
    let references = references.chunks(1).filter_map(|reference| {
        Some((Helper::SaveReference(Hierarchy::of(reference[0].1)?), reference))
    });
    let last = numbers.len().saturating_sub(1) / MOST;
    let numbers = (0..=last).map(move |n| {
        let part = &numbers[n * MOST..numbers.len().min((n + 1) * MOST)];
        let shape = CLASSES.map(|c| part.iter().filter(|v| v.1 == c.0).count() as u8);
        (if n == last { Helper::SaveSite(shape) } else { Helper::Save(shape) }, part)
    });
    references.chain(numbers)
}

/// The encoder's name for a value type.
pub(crate) fn val_type(t: ValType) -> wasm_encoder::ValType {
    use wasm_encoder::ValType as V;
    match t {
        ValType::I32 => V::I32,
        ValType::I64 => V::I64,
        ValType::F32 => V::F32,
        ValType::F64 => V::F64,
        ValType::V128 => V::V128,
        ValType::Ref(r) => V::Ref(ref_type(r)),
    }
}

/// The encoder's name for a reference type.
pub(crate) fn ref_type(r: RefType) -> wasm_encoder::RefType {
    wasm_encoder::RefType { nullable: r.is_nullable(), heap_type: heap_type(r) }
}

pub(crate) fn heap_type(r: RefType) -> HeapType {
    use wasm_encoder::AbstractHeapType as A;
    use wasmparser::{AbstractHeapType as From, HeapType::Abstract};
    if let Some(i) = r.type_index().and_then(|i| i.as_module_index()) {
        return HeapType::Concrete(i);
    }
    let ty = match r.heap_type() {
        Abstract { ty: From::Extern, .. } => A::Extern,
        Abstract { ty: From::Exn, .. } => A::Exn,
        Abstract { ty: From::NoFunc, .. } => A::NoFunc,
        Abstract { ty: From::NoExtern, .. } => A::NoExtern,
        Abstract { ty: From::NoExn, .. } => A::NoExn,
        _ => A::Func,
    };
    HeapType::Abstract { shared: false, ty }
}
