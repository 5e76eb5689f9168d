//! The first form of exception handling, rewritten in the form that became the standard, before
//! anything else looks at the module.
//!
//! ```wat
//!   try (result T)                 block $done (result T)
//!     body                           block $all (result exnref)
//!   catch $e                           block $e (result <params of $e>)
//!     handler                            try_table (result T) (catch $e $e) (catch_all_ref $all)
//!   catch_all                              body
//!     cleanup                            end
//!     rethrow 0                          br $done
//!   end                                end
//!                                      handler
//!                                      br $done
//!                                    end
//!                                    local.set $exn     ;; only if it is thrown again
//!                                    cleanup
//!                                    local.get $exn  throw_ref
//!                                  end
//!
//!   try $outer                     ... try_table (catch ...)       ;; the target's
//!     try                                block $delegated (result exnref)
//!       try                                try_table (catch_all_ref $inner)
//!         body                               try_table (catch_all_ref $delegated)
//!       delegate $outer                        body
//!     catch_all                              end
//!       inner                              end
//!     end                                  ...
//!   catch ...                              br 1
//!                                        end
//!                                        throw_ref
//!                                      end ...
//! ```
//!
//! `delegate` skips handlers: it jumps to the body of the `try` it names and throws there; without
//! one, to the end of the function, and throws there. Where nothing is skipped it is a block.
//!
//! Everything else stays: indices of functions, locals, globals, tags and types (new ones are added
//! behind). So the translation is the module, to all that comes after: it is what is
//! hashed, stored and named by a state, and the same module always gives the same one.
//! A custom section ([`crate::offsets`]) maps its offsets to the original's.

use crate::limits::{self, Excess};
use crate::offsets::{self, OffsetMap};
use crate::{Error, Result};
use std::collections::HashMap;
use wasm_encoder::{Encode, Instruction as I};
use wasmparser::{
    BinaryReader, BlockType, Catch, CompositeInnerType, FuncType, FunctionBody, Operator, Parser,
    Payload, RefType, TypeRef, TypeSectionReader, ValType,
};

/// Whether this instruction belongs to the first form.
fn is_legacy(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::Try { .. }
            | Operator::Catch { .. }
            | Operator::CatchAll
            | Operator::Rethrow { .. }
            | Operator::Delegate { .. }
    )
}

/// Rewrites a valid module that uses the first form.
pub(crate) fn translate(module: &[u8]) -> Result<Vec<u8>> {
    let mut types = Types::default();
    let (mut declared, mut functions) = (vec![], vec![]);
    let (mut original_code, mut imported) = (0, 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload.map_err(Error::invalid)? {
            Payload::TypeSection(s) => types.read(s)?,
            Payload::TagSection(s) => {
                for t in s {
                    types.tags.push(t.map_err(Error::invalid)?.func_type_idx);
                }
            }
            Payload::ImportSection(s) => {
                for i in s.into_imports() {
                    match i.map_err(Error::invalid)?.ty {
                        TypeRef::Tag(t) => types.tags.push(t.func_type_idx),
                        TypeRef::Func(_) => imported += 1,
                        _ => {}
                    }
                }
            }
            Payload::CodeSectionStart { range, .. } => original_code = range.start,
            Payload::FunctionSection(s) => {
                for t in s {
                    declared.push(t.map_err(Error::invalid)?);
                }
            }
            Payload::CodeSectionEntry(body) => {
                let t = declared.get(functions.len()).ok_or(Error::Frames("a body too many"))?;
                let params = types.function(*t)?.params().len() as u32;
                let translated = function(module, &body, params, &mut types)?;
                if translated.bytes.len() > limits::BODY {
                    let (func, what) =
                        (imported + functions.len() as u32, Excess::Code.to_string());
                    return Err(Error::FunctionTooLarge { func, name: None, what });
                }
                functions.push(translated);
            }
            _ => {}
        }
    }
    assemble(module, original_code, &types, &functions)
}

/// The sections of the translation, and the map of its offsets.
fn assemble(
    module: &[u8],
    original_code: usize,
    types: &Types,
    functions: &[Function],
) -> Result<Vec<u8>> {
    let mut out = module[..8].to_vec();
    let mut map = OffsetMap::new(original_code as u32);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(Error::invalid)?;
        let (id, range) = match &payload {
            Payload::CodeSectionStart { range, .. } => (10, range.clone()),
            Payload::CustomSection(c) if c.name() == offsets::SECTION => continue,
            other => match other.as_section() {
                Some(section) => section,
                None => continue,
            },
        };
        let mut section = vec![];
        match &payload {
            Payload::TypeSection(s) => {
                (s.count() + types.new.len() as u32).encode(&mut section);
                // What follows the count.
                let mut count = BinaryReader::new(&module[range.clone()], 0);
                count.read_var_u32().map_err(Error::invalid)?;
                section
                    .extend_from_slice(&module[range.start + count.current_position()..range.end]);
                for t in &types.new {
                    section.push(0x60);
                    for list in [t.params(), t.results()] {
                        list.len().encode(&mut section);
                        list.iter().for_each(|&t| crate::emit::val_type(t).encode(&mut section));
                    }
                }
            }
            Payload::CodeSectionStart { count, .. } => {
                let mut at = vec![];
                count.encode(&mut section);
                for f in functions {
                    f.bytes.len().encode(&mut section);
                    at.push(section.len());
                    section.extend_from_slice(&f.bytes);
                }
                let mut size = vec![];
                section.len().encode(&mut size);
                let start = out.len() + 1 + size.len();
                for (f, at) in functions.iter().zip(at) {
                    for &(new, old) in &f.map {
                        map.push((start + at) as u32 + new, old);
                    }
                }
            }
            Payload::CustomSection(c) if c.name() == "name" => {
                "name".encode(&mut section);
                section.extend(without_labels(c.data()).unwrap_or_else(|| c.data().to_vec()));
            }
            _ => section.extend_from_slice(&module[range]),
        }
        out.push(id);
        section.encode(&mut out);
    }
    out.push(0);
    let mut section = vec![];
    offsets::SECTION.encode(&mut section);
    map.encode(&mut section);
    section.encode(&mut out);
    Ok(out)
}

/// A name section without the names of labels: they are numbered by the constructs before them,
/// which are others now. `None` if it is malformed, which nothing forbids.
fn without_labels(data: &[u8]) -> Option<Vec<u8>> {
    const LABELS: u8 = 3;
    let mut r = BinaryReader::new(data, 0);
    let mut out = Vec::with_capacity(data.len());
    while !r.eof() {
        let from = r.current_position();
        let id = r.read_u8().ok()?;
        let size = r.read_var_u32().ok()?;
        r.read_bytes(size as usize).ok()?;
        if id != LABELS {
            out.extend_from_slice(&data[from..r.current_position()]);
        }
    }
    Some(out)
}

/// The module's types, and those that the translation adds.
#[derive(Default)]
struct Types {
    all: Vec<Option<FuncType>>,
    /// The type of each tag.
    tags: Vec<u32>,
    new: Vec<FuncType>,
    known: HashMap<FuncType, u32>,
}

impl Types {
    fn read(&mut self, section: TypeSectionReader<'_>) -> Result<()> {
        for group in section {
            for t in group.map_err(Error::invalid)?.into_types() {
                let index = self.all.len() as u32;
                self.all.push(match t.composite_type.inner {
                    CompositeInnerType::Func(f) => {
                        self.known.entry(f.clone()).or_insert(index);
                        Some(f)
                    }
                    _ => None,
                });
            }
        }
        Ok(())
    }

    fn function(&self, index: u32) -> Result<&FuncType> {
        let t = self.all.get(index as usize).and_then(Option::as_ref);
        t.ok_or(Error::Frames("not a function type"))
    }

    fn tag(&self, tag: u32) -> Result<&[ValType]> {
        let t = self.tags.get(tag as usize).ok_or(Error::Frames("no such tag"))?;
        Ok(self.function(*t)?.params())
    }

    fn params(&self, t: BlockType) -> Result<Vec<ValType>> {
        Ok(match t {
            BlockType::FuncType(i) => self.function(i)?.params().to_vec(),
            _ => vec![],
        })
    }

    /// A block's type, which may be a new one.
    fn block(&mut self, params: &[ValType], results: &[ValType]) -> wasm_encoder::BlockType {
        use wasm_encoder::BlockType as B;
        match (params, results) {
            ([], []) => B::Empty,
            ([], [t]) => B::Result(crate::emit::val_type(*t)),
            _ => {
                let t = FuncType::new(params.iter().copied(), results.iter().copied());
                let next = (self.all.len() + self.new.len()) as u32;
                let new = &mut self.new;
                B::FunctionType(*self.known.entry(t).or_insert_with_key(|t| {
                    new.push(t.clone());
                    next
                }))
            }
        }
    }
}

/// A translated body, and for instructions in it the offset in the original.
struct Function {
    bytes: Vec<u8>,
    map: Vec<(u32, u32)>,
}

/// Translates one body of a function with so many parameters.
fn function(
    module: &[u8],
    body: &FunctionBody<'_>,
    params: u32,
    types: &mut Types,
) -> Result<Function> {
    let range = body.range();
    let mut ops = vec![];
    let mut reader = body.get_operators_reader().map_err(Error::invalid)?;
    while !reader.eof() {
        ops.push(reader.read_with_offset().map_err(Error::invalid)?);
    }
    if !ops.iter().any(|(op, _)| is_legacy(op)) {
        let bytes = module[range.clone()].to_vec();
        return Ok(Function { bytes, map: vec![(0, range.start as u32)] });
    }
    let mut locals = body.get_locals_reader().map_err(Error::invalid)?;
    let groups_start = locals.original_position();
    let (groups, mut count) = (locals.get_count(), params);
    for _ in 0..groups {
        count += locals.read().map_err(Error::invalid)?.0;
    }
    let groups = (groups, &module[groups_start..locals.original_position()]);

    let plan = Plan::of(&ops)?;
    let mut w = Writer::new(plan, types, count);
    let ends = ops.iter().skip(1).map(|o| o.1).chain([range.end]);
    for (n, ((op, offset), end)) in ops.iter().zip(ends).enumerate() {
        w.at = *offset as u32;
        if n == 0 {
            w.begin();
        }
        w.op(op, &module[*offset..end])?;
    }
    Ok(w.finish(groups, range.start as u32))
}

/// What must be known of a function's `try`s before they are written. They are numbered as they begin.
#[derive(Default)]
struct Plan {
    tries: Vec<Try>,
    /// A `delegate` leaves the function.
    leaves: bool,
}

#[derive(Default)]
struct Try {
    clauses: Vec<Clause>,
    /// Its `delegate`: the `try` whose handlers come next, or none in this function. Not set if
    /// they would come next anyway.
    delegate: Option<Option<usize>>,
    /// Some `delegate` jumps to its body.
    target: bool,
}

struct Clause {
    /// None for `catch_all`.
    tag: Option<u32>,
    rethrown: bool,
}

impl Plan {
    fn of(ops: &[(Operator<'_>, usize)]) -> Result<Plan> {
        /// A construct that is open: the `try` it is, while in its body; and whose body it stands in.
        struct Open {
            a_try: Option<usize>,
            in_body: bool,
            within: Option<usize>,
        }
        let broken = || Error::Frames("unbalanced");
        let mut tries: Vec<Try> = vec![];
        // Where an exception goes that leaves a `try` without being caught: by nesting, and really.
        let mut nested: Vec<Option<usize>> = vec![];
        let mut named: Vec<Option<Option<usize>>> = vec![];
        let mut open = vec![Open { a_try: None, in_body: false, within: None }];
        let mut within = None;
        for (op, _) in ops {
            match op {
                Operator::Try { .. } => {
                    let new = tries.len();
                    tries.push(Try::default());
                    nested.push(within);
                    named.push(None);
                    open.push(Open { a_try: Some(new), in_body: true, within });
                    within = Some(new);
                }
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => {
                    open.push(Open { a_try: None, in_body: false, within });
                }
                Operator::Catch { .. } | Operator::CatchAll => {
                    let top = open.last_mut().ok_or_else(broken)?;
                    top.in_body = false;
                    within = top.within;
                    let tag = match op {
                        Operator::Catch { tag_index } => Some(*tag_index),
                        _ => None,
                    };
                    let of = top.a_try.ok_or_else(broken)?;
                    tries[of].clauses.push(Clause { tag, rethrown: false });
                }
                Operator::Rethrow { relative_depth } => {
                    let at = open.len().checked_sub(1 + *relative_depth as usize);
                    let of = at.and_then(|at| open[at].a_try).ok_or_else(broken)?;
                    tries[of].clauses.last_mut().ok_or_else(broken)?.rethrown = true;
                }
                Operator::Delegate { relative_depth } => {
                    let closed = open.pop().ok_or_else(broken)?;
                    within = closed.within;
                    let at = open.len().checked_sub(1 + *relative_depth as usize);
                    let to = &open[at.ok_or_else(broken)?];
                    let target = if to.in_body { to.a_try } else { to.within };
                    named[closed.a_try.ok_or_else(broken)?] = Some(target);
                }
                Operator::End => within = open.pop().ok_or_else(broken)?.within,
                _ => {}
            }
        }
        // Where an exception in the body of each `try` is handled; outer ones have smaller numbers.
        let mut handled: Vec<Option<usize>> = vec![];
        let mut plan = Plan::default();
        for n in 0..tries.len() {
            let of = |t: Option<usize>| t.and_then(|t| handled[t]);
            let by_nesting = of(nested[n]);
            let next = named[n].map_or(by_nesting, of);
            handled.push(if tries[n].clauses.is_empty() { next } else { Some(n) });
            if next != by_nesting {
                tries[n].delegate = Some(next);
                match next {
                    Some(t) => tries[t].target = true,
                    None => plan.leaves = true,
                }
            }
        }
        plan.tries = tries;
        Ok(plan)
    }
}

/// An open construct of the original.
struct Open {
    /// Nesting level of its branch target.
    level: u32,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    /// Written as one construct.
    One,
    /// A `try` with handlers: its number, and the clause it is in.
    Try { number: usize, clause: Option<usize> },
}

struct Writer<'t> {
    plan: Plan,
    types: &'t mut Types,
    out: Vec<u8>,
    /// Offset in `out`, offset in the original.
    map: Vec<(u32, u32)>,
    /// Offset of the instruction that is being translated.
    at: u32,
    open: Vec<Open>,
    level: u32,
    next_try: usize,
    /// Level of the block that a `delegate` to each `try` jumps out of.
    delegated: HashMap<Option<usize>, u32>,
    /// The first local for exceptions that are thrown again; how many are in use, and the most.
    first_exception: u32,
    exceptions: u32,
    most_exceptions: u32,
}

impl<'t> Writer<'t> {
    fn new(plan: Plan, types: &'t mut Types, first_exception: u32) -> Self {
        Writer {
            plan,
            types,
            out: vec![],
            map: vec![],
            at: 0,
            open: vec![Open { level: 0, form: Form::One }],
            level: 0,
            next_try: 0,
            delegated: HashMap::new(),
            first_exception,
            exceptions: 0,
            most_exceptions: 0,
        }
    }

    /// Round the whole body: where exceptions go that skip all handlers.
    fn begin(&mut self) {
        if self.plan.leaves {
            self.block(&[], &[EXNREF]);
            self.delegated.insert(None, self.level);
        }
    }

    fn op(&mut self, op: &Operator<'_>, raw: &[u8]) -> Result<()> {
        match op {
            Operator::Try { blockty } => return self.open_try(*blockty, &raw[1..]),
            Operator::Catch { .. } | Operator::CatchAll => return self.next_clause(),
            Operator::Rethrow { relative_depth } => {
                let exception = self.exception_of(*relative_depth)?;
                self.i(&I::LocalGet(exception));
                self.i(&I::ThrowRef);
            }
            Operator::End | Operator::Delegate { .. } => return self.close(),
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.raw(raw);
                self.opened(Form::One);
            }
            Operator::TryTable { try_table } => {
                let params = self.types.params(try_table.ty)?;
                let results = match try_table.ty {
                    BlockType::Empty => vec![],
                    BlockType::Type(t) => vec![t],
                    BlockType::FuncType(i) => self.types.function(i)?.results().to_vec(),
                };
                let catches: Vec<Catch> = try_table.catches.clone();
                let ty = self.types.block(&params, &results);
                let catches = catches.into_iter().map(|c| self.catch(c)).collect();
                self.i(&I::TryTable(ty, catches));
                self.opened(Form::One);
            }
            Operator::Br { relative_depth } => self.i(&I::Br(self.depth(*relative_depth))),
            Operator::BrIf { relative_depth } => self.i(&I::BrIf(self.depth(*relative_depth))),
            Operator::BrOnNull { relative_depth } => {
                self.i(&I::BrOnNull(self.depth(*relative_depth)));
            }
            Operator::BrOnNonNull { relative_depth } => {
                self.i(&I::BrOnNonNull(self.depth(*relative_depth)));
            }
            Operator::BrTable { targets } => {
                let mut labels = Vec::with_capacity(targets.len() as usize);
                for t in targets.targets() {
                    labels.push(self.depth(t.map_err(Error::invalid)?));
                }
                self.i(&I::BrTable(labels.into(), self.depth(targets.default())));
            }
            _ => self.raw(raw),
        }
        Ok(())
    }

    /// `raw_type` is the block's type as it stands in the original.
    fn open_try(&mut self, ty: BlockType, raw_type: &[u8]) -> Result<()> {
        let number = self.next_try;
        self.next_try += 1;
        let params = self.types.params(ty)?;
        let tags: Vec<(Option<u32>, bool)> =
            self.plan.tries[number].clauses.iter().map(|c| (c.tag, c.rethrown)).collect();
        if tags.is_empty() {
            self.note();
            match self.plan.tries[number].delegate {
                None => {
                    self.out.push(BLOCK);
                    self.out.extend_from_slice(raw_type);
                }
                Some(to) => {
                    let level = self.delegated.get(&to).ok_or(Error::Frames("no such target"))?;
                    let label = self.level - level;
                    self.try_table(raw_type, &[wasm_encoder::Catch::AllRef { label }]);
                }
            }
            self.opened(Form::One);
            return Ok(());
        }
        self.note();
        self.out.push(BLOCK);
        self.out.extend_from_slice(raw_type);
        self.opened(Form::Try { number, clause: None });
        for &(tag, rethrown) in tags.iter().rev() {
            let mut payload = match tag {
                Some(tag) => self.types.tag(tag)?.to_vec(),
                None => vec![],
            };
            payload.extend(rethrown.then_some(EXNREF));
            self.block(&params, &payload);
        }
        let catches: Vec<wasm_encoder::Catch> = tags
            .iter()
            .zip(0..)
            .map(|(&clause, label)| {
                use wasm_encoder::Catch as C;
                match clause {
                    (Some(tag), false) => C::One { tag, label },
                    (Some(tag), true) => C::OneRef { tag, label },
                    (None, false) => C::All { label },
                    (None, true) => C::AllRef { label },
                }
            })
            .collect();
        self.note();
        self.try_table(raw_type, &catches);
        self.level += 1;
        if self.plan.tries[number].target {
            self.block(&params, &[EXNREF]);
            self.delegated.insert(Some(number), self.level);
        }
        Ok(())
    }

    /// From the body, or the handler before, to the next handler.
    fn next_clause(&mut self) -> Result<()> {
        let Some(Open { level: done, form: Form::Try { number, clause } }) = self.open.pop() else {
            return Err(Error::Frames("a handler outside a try"));
        };
        match clause {
            None => {
                if self.plan.tries[number].target {
                    // The body ends the `try_table`; what was delegated to it is thrown in it.
                    self.i(&I::Br(1));
                    self.end();
                    self.i(&I::ThrowRef);
                }
                self.end();
            }
            Some(clause) => self.forget(number, clause),
        }
        self.i(&I::Br(self.level - done));
        self.end();
        let clause = clause.map_or(0, |c| c + 1);
        let this = self.plan.tries[number].clauses.get(clause);
        if this.ok_or(Error::Frames("an unknown handler"))?.rethrown {
            let exception = self.first_exception + self.exceptions;
            self.i(&I::LocalSet(exception));
            self.exceptions += 1;
            self.most_exceptions = self.most_exceptions.max(self.exceptions);
        }
        self.open.push(Open { level: done, form: Form::Try { number, clause: Some(clause) } });
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let open = self.open.pop().ok_or(Error::Frames("unbalanced end"))?;
        if let Form::Try { number, clause: Some(clause) } = open.form {
            self.forget(number, clause);
        }
        if self.open.is_empty() {
            // The function's own end.
            if self.plan.leaves {
                self.i(&I::Return);
                self.end();
                self.i(&I::ThrowRef);
            }
            self.i(&I::End);
        } else {
            self.end();
        }
        Ok(())
    }

    /// A handler ends: its exception cannot be thrown again.
    fn forget(&mut self, number: usize, clause: usize) {
        self.exceptions -= u32::from(self.plan.tries[number].clauses[clause].rethrown);
    }

    /// The local of the exception that the handler so many levels out has caught: the handlers
    /// within it that keep theirs have later ones.
    fn exception_of(&self, depth: u32) -> Result<u32> {
        let broken = Error::Frames("rethrow outside a handler");
        let Some(at) = self.open.len().checked_sub(1 + depth as usize) else { return Err(broken) };
        let keeps = |open: &&Open| match open.form {
            Form::Try { number, clause: Some(c) } => self.plan.tries[number].clauses[c].rethrown,
            _ => false,
        };
        if !keeps(&&self.open[at]) {
            return Err(broken);
        }
        let within = self.open[at..].iter().filter(keeps).count() as u32;
        Ok(self.first_exception + self.exceptions - within)
    }

    fn catch(&self, c: Catch) -> wasm_encoder::Catch {
        use wasm_encoder::Catch as C;
        match c {
            Catch::One { tag, label } => C::One { tag, label: self.depth(label) },
            Catch::OneRef { tag, label } => C::OneRef { tag, label: self.depth(label) },
            Catch::All { label } => C::All { label: self.depth(label) },
            Catch::AllRef { label } => C::AllRef { label: self.depth(label) },
        }
    }

    fn try_table(&mut self, raw_type: &[u8], catches: &[wasm_encoder::Catch]) {
        self.out.push(TRY_TABLE);
        self.out.extend_from_slice(raw_type);
        catches.encode(&mut self.out);
    }

    fn block(&mut self, params: &[ValType], results: &[ValType]) {
        let ty = self.types.block(params, results);
        self.i(&I::Block(ty));
        self.level += 1;
    }

    fn end(&mut self) {
        self.i(&I::End);
        self.level -= 1;
    }

    fn opened(&mut self, form: Form) {
        self.level += 1;
        self.open.push(Open { level: self.level, form });
    }

    fn depth(&self, original: u32) -> u32 {
        self.level - self.open[self.open.len() - 1 - original as usize].level
    }

    fn i(&mut self, i: &I<'_>) {
        self.note();
        i.encode(&mut self.out);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.note();
        self.out.extend_from_slice(bytes);
    }

    /// An instruction begins here.
    fn note(&mut self) {
        self.map.push((self.out.len() as u32, self.at));
    }

    /// `groups` are the original's local declarations: how many, and their bytes.
    fn finish(self, groups: (u32, &[u8]), body: u32) -> Function {
        let mut bytes = vec![];
        (groups.0 + u32::from(self.most_exceptions > 0)).encode(&mut bytes);
        bytes.extend_from_slice(groups.1);
        if self.most_exceptions > 0 {
            self.most_exceptions.encode(&mut bytes);
            crate::emit::val_type(EXNREF).encode(&mut bytes);
        }
        let shift = bytes.len() as u32;
        let map = self.map.into_iter().map(|(new, old)| (new + shift, old));
        let map = [(0, body)].into_iter().chain(map).collect();
        bytes.extend(self.out);
        Function { bytes, map }
    }
}

const EXNREF: ValType = ValType::Ref(RefType::EXNREF);
const BLOCK: u8 = 0x02;
const TRY_TABLE: u8 = 0x1f;
