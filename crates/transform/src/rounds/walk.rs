//! One pass through a loop's body, and what follows from it.

use super::operators::{Straight, accessed, only_looks};
use super::sum::{Comparison, Is, Sum, Value};
use super::{LONGEST, MOST_SET, Rounds, STRIDE};
use crate::body::Body;
use crate::layout::{block_params, block_results};
use crate::module::Module;
use crate::work;
use std::collections::HashMap;
use wasmparser::{BlockType, Operator, ValType};

/// What is known where control has come to.
#[derive(Clone, Default)]
struct Here {
    /// Locals that are no longer what they were at the header, ascending.
    locals: Vec<(u32, Value)>,
    /// The noted instructions that every way from the header to here has passed, as a set of bits.
    passed: u64,
}

impl Here {
    fn local(&self, l: u32) -> Value {
        let found = self.locals.binary_search_by_key(&l, |v| v.0);
        found.map_or(Value::Sum(Sum::local(l)), |n| self.locals[n].1)
    }

    fn set(&mut self, l: u32, value: Value) {
        match self.locals.binary_search_by_key(&l, |v| v.0) {
            Ok(n) => self.locals[n].1 = value,
            Err(n) => self.locals.insert(n, (l, value)),
        }
    }

    fn meet(&mut self, other: &Here) {
        work::add(self.locals.len() + other.locals.len());
        self.passed &= other.passed;
        let different = |&&(l, v): &&(u32, Value)| self.local(l) != v;
        let mut unknown: Vec<u32> = other.locals.iter().filter(different).map(|v| v.0).collect();
        let different = |&&(l, v): &&(u32, Value)| other.local(l) != v;
        unknown.extend(self.locals.iter().filter(different).map(|v| v.0));
        for l in unknown {
            self.set(l, Value::Unknown);
        }
    }
}

/// An instruction that is worth noting if it lies on every way.
enum Note {
    /// A load or store at this address of this memory.
    Access(Sum, u32),
    /// It goes round again only if this holds.
    Goes(Comparison),
}

/// A construct that is open inside of the loop.
struct Open {
    /// Its `end`.
    end: usize,
    /// Height of the operand stack beneath its parameters.
    height: usize,
    results: usize,
    params: usize,
    /// Where branches to its end have come from.
    at_end: Option<Here>,
    /// For the `else` of an `if`.
    at_else: Option<Here>,
}

pub(super) struct Walk<'w, 'a> {
    m: &'w Module,
    body: &'w Body<'a>,
    header: usize,
    back: &'w [usize],
    /// From where it may go round again, counted from the header.
    again: Vec<bool>,
    here: Option<Here>,
    stack: Vec<Value>,
    open: Vec<Open>,
    notes: Vec<Note>,
    /// What is known at each of the branches to the header.
    rounds: Vec<Here>,
    /// Locals of which it reads what they were at the header.
    read: Vec<u32>,
    /// Whether it changes nothing but its locals, and has no loops in it.
    only_looks: bool,
    /// Of the locals that are set, when all has been seen.
    growths: HashMap<u32, Option<Sum>>,
}

impl<'w, 'a> Walk<'w, 'a> {
    pub(super) fn new(
        m: &'w Module,
        body: &'w Body<'a>,
        header: usize,
        back: &'w [usize],
        again: Vec<bool>,
    ) -> Self {
        Walk {
            m,
            body,
            header,
            back,
            again,
            here: Some(Here::default()),
            stack: vec![],
            open: vec![],
            notes: vec![],
            rounds: vec![],
            read: vec![],
            only_looks: true,
            growths: HashMap::new(),
        }
    }

    /// Nothing if there is an instruction in it that is not understood.
    pub(super) fn rounds(mut self) -> Option<Rounds> {
        let end = self.body.ends[&self.header];
        work::add(end - self.header);
        let Operator::Loop { blockty } = self.body.ops[self.header] else { return None };
        let params = block_params(self.m, blockty).len();
        self.stack.resize(params, Value::Unknown);
        self.only_looks = params == 0;
        for at in self.header + 1..end {
            self.step(at)?;
            if self.here.as_ref().is_some_and(|here| here.locals.len() > MOST_SET) {
                return None;
            }
        }
        if self.rounds.is_empty() {
            return None;
        }
        self.growths = self.growths();
        let passed = self.rounds.iter().fold(u64::MAX, |all, h| all & h.passed);
        let always: Vec<&Note> = self
            .notes
            .iter()
            .enumerate()
            .filter(|(n, _)| passed >> n & 1 == 1)
            .map(|n| n.1)
            .collect();
        let times = always.iter().filter_map(|n| self.times(n)).min();
        let paced = always.iter().any(|n| self.is_pace(n));
        let stride = always.iter().filter_map(|n| self.stride(n, paced)).max();
        let walks = always.iter().any(|n| self.is_walk(n));
        Some(Rounds { times, stride: stride.or(walks.then_some(STRIDE)) })
    }

    /// Whether all that a round takes from the one before is one address, at which it reads.
    fn is_walk(&self, note: &Note) -> bool {
        let Note::Access(address, _) = note else { return false };
        let mut carried = self.read.iter().filter(|&&l| !self.stays(l));
        let (at, more) = (carried.next(), carried.next());
        let is_i32 = |l: &u32| self.body.locals.get(*l as usize) == Some(&ValType::I32);
        self.only_looks
            && more.is_none()
            && at.is_some_and(|l| is_i32(l) && address.terms().any(|t| t == (*l, 1)))
            && address.terms().all(|t| Some(&t.0) == at || self.stays(t.0))
    }

    /// For each local that is set, by how much it grows in each round, if that is always the same: a constant, or what does not
    /// change.
    fn growths(&self) -> HashMap<u32, Option<Sum>> {
        let set = self.rounds.iter().flat_map(|round| &round.locals).map(|v| v.0);
        let mut grown: HashMap<u32, Option<Sum>> = set.map(|l| (l, None)).collect();
        work::add(grown.len() * self.rounds.len());
        for (&l, grown) in &mut grown {
            let mut each = self.rounds.iter().map(|round| match round.local(l) {
                Value::Sum(sum) => sum.add(Sum::local(l).times(-1)),
                _ => None,
            });
            let first = each.next().flatten();
            *grown = first.filter(|_| each.all(|by| by == first));
        }
        let stays = |l: u32| grown.get(&l).is_none_or(|by| *by == Some(Sum::constant(0)));
        let steady = |by: &Sum| by.terms().all(|t| stays(t.0));
        grown.iter().map(|(&l, by)| (l, by.filter(steady))).collect()
    }

    fn growth(&self, l: u32) -> Option<Sum> {
        self.growths.get(&l).copied().unwrap_or(Some(Sum::constant(0)))
    }

    fn stays(&self, l: u32) -> bool {
        self.growth(l) == Some(Sum::constant(0))
    }

    /// By how much a sum grows in each round.
    fn growth_of(&self, sum: &Sum) -> Option<Sum> {
        let mut grown = Sum::constant(0);
        for (l, factor) in sum.terms() {
            grown = grown.add(self.growth(l)?.times(factor))?;
        }
        Some(grown)
    }

    /// How far apart what an instruction touches is from round to round. What no constant says counts only if it is `paced`.
    fn stride(&self, note: &Note, paced: bool) -> Option<u32> {
        let Note::Access(address, memory) = note else { return None };
        let ty = self.m.memories.get(*memory as usize)?;
        if ty.page_size_log2.is_some() || !ty.memory64 && ty.initial >= 1 << 16 {
            return None;
        }
        match self.growth_of(address)?.as_constant() {
            Some(by) => {
                let by = if ty.memory64 { by } else { i64::from(by as i32) };
                let fits = by != 0 && (-LONGEST..=LONGEST).contains(&by);
                fits.then_some(by.unsigned_abs() as u32)
            }
            None => paced.then_some(STRIDE),
        }
    }

    /// Whether a counter of 32 bits steps by one in each round: it comes to everything that it can be compared with.
    fn is_pace(&self, note: &Note) -> bool {
        let Note::Goes(c) = note else { return false };
        let grown = c.sums.map(|s| self.growth_of(&s).and_then(|g| g.as_constant()));
        let is = matches!(c.is, Is::NotEqual | Is::Less | Is::Greater);
        c.bits == 32 && is && matches!(grown, [Some(1 | -1), Some(0)] | [Some(0), Some(1 | -1)])
    }

    /// How often it goes round if it does so only while this holds.
    fn times(&self, note: &Note) -> Option<u64> {
        let Note::Goes(c) = note else { return None };
        let (value, limit, is) = match c.sums.map(|s| s.as_constant()) {
            [None, Some(limit)] => (c.sums[0], limit, c.is),
            [Some(limit), None] => (c.sums[1], limit, c.is.mirrored()),
            _ => return None,
        };
        let by = self.growth_of(&value)?.as_constant()?;
        let mut first = value.plus;
        for (l, factor) in value.terms() {
            first = first.wrapping_add(self.at_first(l)?.wrapping_mul(factor));
        }
        let number = |n: i128| match (c.bits, c.signed) {
            (32, true) => i128::from(n as i32),
            (32, false) => i128::from(n as u32),
            (_, true) => i128::from(n as i64),
            (_, false) => i128::from(n as u64),
        };
        let by = if c.bits == 32 { i128::from(by as i32) } else { i128::from(by) };
        let (first, limit) = (number(i128::from(first)), number(i128::from(limit)));
        let (least, most) = match (c.bits, c.signed) {
            (32, true) => (i128::from(i32::MIN), i128::from(i32::MAX)),
            (32, false) => (0, i128::from(u32::MAX)),
            (_, true) => (i128::from(i64::MIN), i128::from(i64::MAX)),
            (_, false) => (0, i128::from(u64::MAX)),
        };
        // In round n (from 0) `first + n * by` is compared; nothing may wrap before it is over.
        let ends = match is {
            Is::NotEqual if by != 0 => {
                // It may wrap on its way.
                let far = ((limit - first) * by.signum()).rem_euclid(1 << c.bits);
                return (far % by.abs() == 0).then(|| u64::try_from(far / by.abs() + 1).ok())?;
            }
            Is::Less if by > 0 => (limit - first + by - 1) / by,
            Is::LessOrEqual if by > 0 => (limit - first) / by + 1,
            Is::Greater if by < 0 => (first - limit - by - 1) / -by,
            Is::GreaterOrEqual if by < 0 => (first - limit) / -by + 1,
            Is::Equal if by != 0 => 1,
            _ => return None,
        };
        let ends = ends.max(0);
        let last = first + ends * by;
        if last < least || last > most {
            return None;
        }
        u64::try_from(ends + 1).ok()
    }

    /// The constant that a local holds when the loop is entered, if it is set right before.
    fn at_first(&self, l: u32) -> Option<i64> {
        for at in (0..self.header).rev() {
            match &self.body.ops[at] {
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index }
                    if *local_index == l =>
                {
                    return match at.checked_sub(1).map(|b| &self.body.ops[b]) {
                        Some(Operator::I32Const { value }) => Some(i64::from(*value)),
                        Some(Operator::I64Const { value }) => Some(*value),
                        _ => None,
                    };
                }
                Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Else
                | Operator::End
                | Operator::TryTable { .. } => return None,
                _ => {}
            }
        }
        (l as usize >= self.body.params).then_some(0)
    }

    fn step(&mut self, at: usize) -> Option<()> {
        let op = &self.body.ops[at];
        if !self.again[at - self.header] {
            self.here = None;
        }
        let dead = self.here.is_none();
        match op {
            Operator::Block { blockty } | Operator::Loop { blockty } => {
                self.enter(*blockty, at, None)
            }
            Operator::If { blockty } => {
                self.pop();
                let here = self.here.clone();
                self.enter(*blockty, at, here);
            }
            Operator::Else => {
                let o = self.open.last_mut()?;
                let before = self.here.take();
                meet(&mut o.at_end, before);
                self.here = o.at_else.take();
                self.stack.truncate(o.height);
                let params = o.params;
                self.push_unknown(params);
            }
            Operator::End => {
                let mut o = self.open.pop()?;
                meet(&mut o.at_end, self.here.take());
                meet(&mut o.at_end, o.at_else.take());
                self.here = o.at_end;
                self.stack.truncate(o.height);
                self.push_unknown(o.results);
            }
            Operator::Br { .. } | Operator::BrTable { .. } => {
                if matches!(op, Operator::BrTable { .. }) {
                    self.pop();
                }
                self.branch(at);
                self.here = None;
            }
            Operator::BrIf { .. } => {
                let condition = self.pop();
                if !dead {
                    self.branch_if(at, condition);
                }
            }
            Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. } => self.here = None,
            _ if dead => {}
            Operator::LocalGet { local_index: l } => {
                let v = self.here.as_ref()?.local(*l);
                // Where it is unknown it may still be what it was.
                let header = matches!(v, Value::Unknown) || v == Value::Sum(Sum::local(*l));
                if header && !self.read.contains(l) {
                    self.read.push(*l);
                }
                self.stack.push(v);
            }
            Operator::LocalSet { local_index: l } => {
                let v = self.pop();
                self.here.as_mut()?.set(*l, v);
            }
            Operator::LocalTee { local_index: l } => {
                let v = self.pop();
                self.here.as_mut()?.set(*l, v);
                self.stack.push(v);
            }
            Operator::Call { function_index } => {
                self.only_looks = false;
                let ty = self.m.func_type(*function_index);
                self.unknown(ty.params().len(), ty.results().len());
            }
            Operator::CallIndirect { type_index, .. } => {
                self.only_looks = false;
                let ty = &self.m.types[*type_index as usize];
                self.unknown(ty.params().len() + 1, ty.results().len());
            }
            op => self.compute(op)?,
        }
        Some(())
    }

    fn pop(&mut self) -> Value {
        let height = self.open.last().map_or(0, |o| o.height);
        if self.stack.len() > height {
            self.stack.pop().unwrap_or(Value::Unknown)
        } else {
            Value::Unknown
        }
    }

    fn push_unknown(&mut self, n: usize) {
        self.stack.extend(std::iter::repeat_n(Value::Unknown, n));
    }

    fn unknown(&mut self, pops: usize, pushes: usize) {
        for _ in 0..pops {
            self.pop();
        }
        self.push_unknown(pushes);
    }

    fn enter(&mut self, ty: BlockType, at: usize, at_else: Option<Here>) {
        let params = block_params(self.m, ty).len();
        let results = block_results(self.m, ty).len();
        // Where nothing is followed, nothing was pushed.
        let beneath = self.open.last().map_or(0, |o| o.height);
        self.stack.resize(self.stack.len().max(beneath + params), Value::Unknown);
        let height = self.stack.len() - params;
        let end = self.body.ends[&at];
        self.open.push(Open { end, height, results, params, at_end: None, at_else });
        let Operator::Loop { .. } = self.body.ops[at] else { return };
        self.only_looks = false;
        // What it writes may be anything at its header; what it is given may be something else in the next round.
        self.stack.truncate(height);
        self.push_unknown(params);
        let Some(here) = &mut self.here else { return };
        for op in &self.body.ops[at..self.body.ends[&at]] {
            if let Operator::LocalSet { local_index: l } | Operator::LocalTee { local_index: l } =
                op
            {
                here.set(*l, Value::Unknown);
            }
        }
    }

    /// Control may go where this branch leads.
    fn branch(&mut self, at: usize) {
        let Some(here) = self.here.clone() else { return };
        work::add(here.locals.len());
        for &to in self.body.targets.get(&at).into_iter().flatten() {
            if to == self.header {
                self.rounds.push(here.clone());
            } else if to > at {
                // The construct that ends there; if none does, it is outside of the loop.
                if let Some(open) = self.open.iter_mut().find(|o| o.end == to) {
                    meet(&mut open.at_end, Some(here.clone()));
                }
            }
        }
    }

    fn branch_if(&mut self, at: usize, condition: Value) {
        let taken = match condition {
            Value::Comparison(c) => Some(c),
            Value::Sum(s) => Some(Comparison {
                is: Is::NotEqual,
                sums: [s, Sum::constant(0)],
                signed: false,
                bits: 32,
            }),
            Value::Unknown => None,
        };
        let again = |to: &usize| *to <= at || self.again.get(to - self.header) == Some(&true);
        let leaves = !self.body.targets.get(&at).into_iter().flatten().any(again);
        let only = self.back == [at];
        if let Some(c) = taken
            && (leaves || only)
        {
            let goes = if leaves { Comparison { is: c.is.negated(), ..c } } else { c };
            self.note(Note::Goes(goes));
        }
        self.branch(at);
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() < 64
            && let Some(here) = &mut self.here
        {
            here.passed |= 1 << self.notes.len();
            self.notes.push(note);
        }
    }

    fn compute(&mut self, op: &Operator<'a>) -> Option<()> {
        use Operator as O;
        let sum = |v: Value| match v {
            Value::Sum(s) => Some(s),
            _ => None,
        };
        let value = |s: Option<Sum>| s.map_or(Value::Unknown, Value::Sum);
        let result = match op {
            O::I32Const { value } => Value::Sum(Sum::constant(i64::from(*value))),
            O::I64Const { value } => Value::Sum(Sum::constant(*value)),
            O::I32Add | O::I64Add => {
                let (b, a) = (sum(self.pop()), sum(self.pop()));
                value(a.zip(b).and_then(|(a, b)| a.add(b)))
            }
            O::I32Sub | O::I64Sub => {
                let (b, a) = (sum(self.pop()), sum(self.pop()));
                value(a.zip(b).and_then(|(a, b)| a.add(b.times(-1))))
            }
            O::I32Mul | O::I64Mul => {
                let (b, a) = (sum(self.pop()), sum(self.pop()));
                value(a.zip(b).and_then(|(a, b)| match (a.as_constant(), b.as_constant()) {
                    (_, Some(n)) => Some(a.times(n)),
                    (Some(n), _) => Some(b.times(n)),
                    _ => None,
                }))
            }
            O::I32Shl | O::I64Shl => {
                let bits = if matches!(op, O::I32Shl) { 32 } else { 64 };
                let (by, a) = (sum(self.pop()), sum(self.pop()));
                let by = by.and_then(|b| b.as_constant());
                value(a.zip(by).map(|(a, n)| a.times(1i64.wrapping_shl((n as u32) % bits))))
            }
            // A sum modulo 2^64 is one modulo 2^32.
            O::I32WrapI64 => {
                let a = self.pop();
                value(sum(a))
            }
            O::I32Eqz | O::I64Eqz => {
                let bits = if matches!(op, O::I32Eqz) { 32 } else { 64 };
                match self.pop() {
                    Value::Comparison(c) => {
                        Value::Comparison(Comparison { is: c.is.negated(), ..c })
                    }
                    Value::Sum(s) => Value::Comparison(Comparison {
                        is: Is::Equal,
                        sums: [s, Sum::constant(0)],
                        signed: false,
                        bits,
                    }),
                    Value::Unknown => Value::Unknown,
                }
            }
            _ => {
                let (is, signed, bits) = match op {
                    O::I32Eq => (Is::Equal, false, 32),
                    O::I32Ne => (Is::NotEqual, false, 32),
                    O::I32LtS => (Is::Less, true, 32),
                    O::I32LtU => (Is::Less, false, 32),
                    O::I32LeS => (Is::LessOrEqual, true, 32),
                    O::I32LeU => (Is::LessOrEqual, false, 32),
                    O::I32GtS => (Is::Greater, true, 32),
                    O::I32GtU => (Is::Greater, false, 32),
                    O::I32GeS => (Is::GreaterOrEqual, true, 32),
                    O::I32GeU => (Is::GreaterOrEqual, false, 32),
                    O::I64Eq => (Is::Equal, false, 64),
                    O::I64Ne => (Is::NotEqual, false, 64),
                    O::I64LtS => (Is::Less, true, 64),
                    O::I64LtU => (Is::Less, false, 64),
                    O::I64LeS => (Is::LessOrEqual, true, 64),
                    O::I64LeU => (Is::LessOrEqual, false, 64),
                    O::I64GtS => (Is::Greater, true, 64),
                    O::I64GtU => (Is::Greater, false, 64),
                    O::I64GeS => (Is::GreaterOrEqual, true, 64),
                    O::I64GeU => (Is::GreaterOrEqual, false, 64),
                    op => return self.other(op),
                };
                let (b, a) = (sum(self.pop()), sum(self.pop()));
                match a.zip(b) {
                    Some((a, b)) => {
                        Value::Comparison(Comparison { is, sums: [a, b], signed, bits })
                    }
                    None => Value::Unknown,
                }
            }
        };
        self.stack.push(result);
        Some(())
    }

    /// Whatever it gives is unknown, but it may touch memory.
    fn other(&mut self, op: &Operator<'a>) -> Option<()> {
        let (pops, pushes) = op.operator_arity(&Straight)?;
        self.only_looks &= only_looks(op, pops, pushes);
        if let Some(memory) = accessed(op) {
            // The address is beneath all other operands.
            let at = self.stack.len().checked_sub(pops as usize)?;
            if let Some(&Value::Sum(address)) = self.stack.get(at) {
                self.note(Note::Access(address, memory));
            }
        }
        self.unknown(pops as usize, pushes as usize);
        Some(())
    }
}

fn meet(into: &mut Option<Here>, from: Option<Here>) {
    match (&mut *into, from) {
        (Some(a), Some(b)) => a.meet(&b),
        (None, b) => *into = b,
        (Some(_), None) => {}
    }
}
