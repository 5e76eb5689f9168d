//! One function body, decoded: its instructions, how its constructs nest, and where control goes.
//!
//! ```text
//!   0 block           ends[0] = 5
//!   1   loop          ends[1] = 4
//!   2     br_if 1     targets[2] = [5]     (forward: the end)
//!   3     br 0        targets[3] = [1]     (backward: the loop), back[1] = [3]
//!   4   end                                 dead: follows a branch
//!   5 end
//! ```

use crate::module::Module;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};
use wasmparser::{Catch, Operator, ValType};

pub(crate) struct Body<'a> {
    pub func: u32,
    pub ops: Vec<Operator<'a>>,
    /// Where each instruction begins in the module; one more entry for the end of the body.
    pub offsets: Vec<u32>,
    /// For `block`, `loop`, `if`, `else`, `try_table`: the index of the matching `end`.
    pub ends: HashMap<usize, usize>,
    /// For `if` with an `else`: its index.
    pub elses: HashMap<usize, usize>,
    /// Where each branch may go.
    pub targets: HashMap<usize, Vec<usize>>,
    /// For a `loop` that goes round again: the branches that do it.
    pub back: HashMap<usize, Vec<usize>>,
    /// Never executed: after an unconditional branch, up to the end of the construct.
    pub dead: Vec<bool>,
    /// The innermost `try_table` round it: index into `contexts`, 0 for none.
    pub context: Vec<u32>,
    pub contexts: Vec<Context>,
    /// Loops whose headers are reached by what is thrown in them.
    pub caught: HashSet<usize>,
    /// Parameters, then declared locals.
    pub locals: Vec<ValType>,
    pub params: usize,
    /// Constructs round the deepest instruction.
    pub depth: usize,
}

/// What can catch what is thrown in a `try_table`: its own handlers, then those of the next outer one.
#[derive(Default)]
pub(crate) struct Context {
    pub outer: u32,
    /// Branch targets of its own handlers.
    pub handlers: Vec<usize>,
}

struct Open {
    op: usize,
    is_loop: bool,
    dead_before: bool,
    context_before: u32,
    /// branches that go to this construct's end
    forward: Vec<usize>,
    /// contexts whose handlers go to this construct's end
    caught: Vec<usize>,
}

impl<'a> Body<'a> {
    pub fn decode(module: &'a Module, func: u32) -> Result<Body<'a>> {
        let body = module.body(func);
        let params = module.func_type(func).params();
        let mut b: Body<'a> = Body::without_code(func, params);
        for l in body.get_locals_reader().map_err(Error::invalid)? {
            let (n, t) = l.map_err(Error::invalid)?;
            b.locals.extend(std::iter::repeat_n(t, n as usize));
        }
        let mut open = vec![Open::new(usize::MAX, false, false, 0)];
        let (mut dead, mut context) = (false, 0);
        let mut reader = body.get_operators_reader().map_err(Error::invalid)?;
        while !reader.eof() {
            let (op, offset) = reader.read_with_offset().map_err(Error::invalid)?;
            let i = b.ops.len();
            b.offsets.push(offset as u32);
            let mut is_dead = dead;
            let mut ctx = context;
            match &op {
                Operator::Block { .. } | Operator::If { .. } => {
                    open.push(Open::new(i, false, dead, context));
                }
                Operator::Loop { .. } => open.push(Open::new(i, true, dead, context)),
                Operator::TryTable { try_table } => {
                    let new = b.contexts.len();
                    let mut handlers = vec![];
                    for c in &try_table.catches {
                        let label = match c {
                            Catch::One { label, .. }
                            | Catch::OneRef { label, .. }
                            | Catch::All { label }
                            | Catch::AllRef { label } => *label,
                        };
                        let at = open.len() - 1 - label as usize;
                        if open[at].is_loop {
                            b.caught.insert(open[at].op);
                            handlers.push(open[at].op);
                        } else {
                            open[at].caught.push(new);
                        }
                    }
                    b.contexts.push(Context { outer: context, handlers });
                    open.push(Open::new(i, false, dead, context));
                    context = new as u32;
                }
                Operator::Else => {
                    let o = open.last_mut().expect("validated");
                    b.elses.insert(o.op, i);
                    // The end of the then-branch goes to the end of the if.
                    if !dead {
                        o.forward.push(i);
                    }
                    dead = o.dead_before;
                    is_dead = dead;
                }
                Operator::End => {
                    let o = open.pop().expect("validated");
                    for f in o.forward {
                        b.targets.entry(f).or_default().push(i);
                    }
                    for c in o.caught {
                        b.contexts[c].handlers.push(i);
                    }
                    if o.op != usize::MAX {
                        b.ends.insert(o.op, i);
                        if let Some(e) = b.elses.get(&o.op).copied() {
                            b.ends.insert(e, i);
                        }
                    }
                    dead = o.dead_before;
                    context = o.context_before;
                    is_dead = dead;
                    ctx = context;
                }
                Operator::Br { relative_depth } => {
                    b.branch(&mut open, i, *relative_depth);
                    dead = true;
                }
                Operator::BrIf { relative_depth }
                | Operator::BrOnNull { relative_depth }
                | Operator::BrOnNonNull { relative_depth }
                | Operator::BrOnCast { relative_depth, .. }
                | Operator::BrOnCastFail { relative_depth, .. } => {
                    b.branch(&mut open, i, *relative_depth)
                }
                Operator::BrTable { targets } => {
                    for t in targets.targets() {
                        b.branch(&mut open, i, t.map_err(Error::invalid)?);
                    }
                    b.branch(&mut open, i, targets.default());
                    dead = true;
                }
                Operator::Return
                | Operator::Unreachable
                | Operator::Throw { .. }
                | Operator::ThrowRef
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::ReturnCallRef { .. } => dead = true,
                _ => {}
            }
            b.depth = b.depth.max(open.len());
            b.ops.push(op);
            b.dead.push(is_dead);
            b.context.push(ctx);
        }
        b.offsets.push(body.range().end as u32);
        for t in b.targets.values_mut() {
            t.sort_unstable();
            t.dedup();
        }
        for c in &mut b.contexts {
            c.handlers.sort_unstable();
            c.handlers.dedup();
        }
        Ok(b)
    }

    /// A function of which only the signature matters.
    pub fn without_code(func: u32, params: &[ValType]) -> Body<'static> {
        Body {
            func,
            ops: vec![],
            offsets: vec![],
            ends: HashMap::new(),
            elses: HashMap::new(),
            targets: HashMap::new(),
            back: HashMap::new(),
            dead: vec![],
            context: vec![],
            contexts: vec![Context::default()],
            caught: HashSet::new(),
            locals: params.to_vec(),
            params: params.len(),
            depth: 0,
        }
    }

    fn branch(&mut self, open: &mut [Open], from: usize, depth: u32) {
        let at = open.len() - 1 - depth as usize;
        if open[at].is_loop {
            self.targets.entry(from).or_default().push(open[at].op);
            let back = self.back.entry(open[at].op).or_default();
            // A table may name it more than once.
            if back.last() != Some(&from) {
                back.push(from);
            }
        } else {
            open[at].forward.push(from);
        }
    }

    /// What the call at `i` gives.
    pub fn results_of_call<'m>(&self, m: &'m Module, i: usize) -> Result<&'m [ValType]> {
        Ok(match self.ops[i] {
            Operator::Call { function_index } => m.func_type(function_index).results(),
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                m.types[type_index as usize].results()
            }
            _ => return Err(Error::Frames("a call site that is not a call")),
        })
    }

    /// The bytes of instruction `i`.
    pub fn raw<'m>(&self, module: &'m Module, i: usize) -> &'m [u8] {
        &module.bytes[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }
}

impl Open {
    fn new(op: usize, is_loop: bool, dead_before: bool, context_before: u32) -> Open {
        Open { op, is_loop, dead_before, context_before, forward: vec![], caught: vec![] }
    }
}
