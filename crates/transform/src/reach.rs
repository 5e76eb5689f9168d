//! Which functions and loops can be stopped at all, and where recursion needs a poll.
//!
//! ```text
//!   may unwind  =  polls in a loop  or  starts with a poll  or  calls something that may unwind
//!   atomic      =  the rest: no polls inside, no checks after calls to it
//! ```
//!
//! A loop is polled at its header unless it ends soon by itself ([`rounds`]) and all that it calls is atomic. What "soon" means is
//! counted in instructions, from the callees upwards: at most [`STEPS`] of them, and a few passes over memory (sweeps), lie
//! between two polls.
//!
//! A call inside a polled loop always comes after a poll. What is left
//! are cycles of calls that stand in no polled loop: a depth-first walk of that part of the call graph finds its back
//! edges, and one end of each gets a poll at its entry. An indirect call
//! goes to a node of its own that stands for every function of that type whose reference exists, and
//! for the nodes of its subtypes. So does a call through a typed reference.
//!
//! A frame may have been saved where nothing is polled: by an older version, which polled every loop. So wherever that one had a
//! safepoint there still is one, with its continuation (`framed`); it is only not `active`.

use crate::body::Body;
use crate::module::Module;
use crate::rounds::{Loops, Rounds};
use crate::{Error, Result};
use std::collections::HashSet;
use wasmparser::Operator;

/// Most instructions between two polls, besides sweeps: less than a millisecond's.
const STEPS: u64 = 1 << 20;

/// Most instructions of a function without a poll. It may be called many times from code without loops.
const ATOMIC: u64 = 1 << 14;

/// Most sweeps between two polls.
const SWEEPS: u64 = 8;

/// Most instructions for a byte that a sweep passes.
const STEPS_PER_BYTE: u64 = 16;

/// A call of the host: buffers of any size are read and written.
const HOST: Effort = Effort { steps: 1 << 11, sweeps: 1 };

pub(crate) struct Reach {
    /// Per function: a call to it may return because of a capture.
    pub may_unwind: Vec<bool>,
    /// Per function: a poll at its entry.
    pub entry_poll: Vec<bool>,
    /// Per function: its entry is watched.
    pub watched: Vec<bool>,
    /// Per type index: an indirect call of that type may return because of a capture.
    pub type_may_unwind: Vec<bool>,
    /// Per function, its loops in order: whether there is a poll, dead ones included.
    polled: Vec<Vec<bool>>,
    /// Per function and type: there may be frames of it.
    framed: Vec<bool>,
    type_framed: Vec<bool>,
    /// Per function: how many safepoints its body has, active or not, dead ones included.
    pub site_counts: Vec<u32>,
    /// Per function: continuations may call it, or the program may hold a reference to it.
    pub exported: Vec<bool>,
    /// What the bodies use of the segments: helpers are made for these.
    pub uses: Uses,
}

/// Instructions that only the module that owns the segment can execute.
#[derive(Default)]
pub(crate) struct Uses {
    pub memory_init: HashSet<(u32, u32)>,
    pub table_init: HashSet<(u32, u32)>,
    pub data_drop: HashSet<u32>,
    pub elem_drop: HashSet<u32>,
    pub ref_func: HashSet<u32>,
    pub written_tables: HashSet<u32>,
}

/// What may happen between two polls.
#[derive(Clone, Copy, Default)]
struct Effort {
    steps: u64,
    sweeps: u64,
}

impl Effort {
    fn add(&mut self, other: Effort) {
        self.steps = self.steps.saturating_add(other.steps);
        self.sweeps = self.sweeps.saturating_add(other.sweeps);
    }

    fn times(self, n: u64) -> Effort {
        Effort { steps: self.steps.saturating_mul(n), sweeps: self.sweeps.saturating_mul(n) }
    }

    fn is_little(self) -> bool {
        self.steps <= STEPS && self.sweeps <= SWEEPS
    }

    fn is_atomic(self) -> bool {
        self.steps <= ATOMIC && self.sweeps <= SWEEPS
    }
}

/// A function's body, or a loop in it.
#[derive(Default)]
struct Part {
    /// The part round it; that of the body is its own.
    outer: usize,
    rounds: Rounds,
    /// What its instructions do, calls, and types of indirect calls, those of the loops in it left out.
    work: Effort,
    calls: Vec<u32>,
    indirect: Vec<u32>,
}

#[derive(Default)]
struct Facts {
    /// The body, then its loops in order.
    parts: Vec<Part>,
    loops: u32,
    /// Of each loop, and from 1: the one that its text lies in.
    around: Vec<usize>,
    /// Callees, direct and by type, tail calls too, each with the loop that the call's text lies in.
    calls_in: Vec<(u32, usize)>,
    indirect_in: Vec<(u32, usize)>,
    calls: Vec<u32>,
    indirect: Vec<u32>,
    tail_calls: Vec<u32>,
    tail_indirect: Vec<u32>,
}

/// Safepoints that are not needed.
pub(crate) struct More {
    /// In each loop.
    pub every_loop: bool,
    /// At each entry.
    pub every_entry: bool,
    /// Per function: one at its entry, where the program does not stop.
    pub known: Vec<bool>,
    /// Per function: one at its entry, which is not a poll.
    pub watched: Vec<bool>,
}

impl Reach {
    /// Looks at all functions. Imports that are known or watched are restartable.
    pub fn compute(m: &Module, restartable: &[bool], more: &More) -> Result<Reach> {
        let mut uses = Uses::default();
        let mut facts = Vec::with_capacity(m.bodies.len());
        let imports = m.imports.len();
        for f in imports..m.funcs.len() {
            facts.push(scan(m, f as u32, &mut uses)?);
        }
        // Equal types share a node.
        let class: Vec<usize> = m.classes.iter().map(|&c| c as usize).collect();
        let mut referenced: Vec<u32> = m.referenced.clone();
        referenced.extend(&uses.ref_func);
        referenced.sort_unstable();
        referenced.dedup();
        let nf = m.funcs.len();
        let mut edges: Vec<Vec<usize>> = vec![vec![]; nf + class.len()];
        let nodes = |calls: &mut dyn Iterator<Item = u32>, types: &mut dyn Iterator<Item = u32>| {
            let types = types.map(|t| nf + class[t as usize]);
            let mut to: Vec<usize> = calls.map(|c| c as usize).chain(types).collect();
            to.sort_unstable();
            to.dedup();
            to
        };
        for (i, f) in facts.iter().enumerate() {
            edges[imports + i] = nodes(
                &mut f.calls.iter().chain(&f.tail_calls).copied(),
                &mut f.indirect.iter().chain(&f.tail_indirect).copied(),
            );
        }
        // Where one type is wanted, functions of its subtypes will do.
        for (t, supertype) in m.supertypes.iter().enumerate() {
            if let Some(s) = *supertype {
                edges[nf + class[s as usize]].push(nf + class[t]);
            }
        }
        for &r in &referenced {
            edges[nf + class[m.funcs[r as usize] as usize]].push(r as usize);
        }
        let between = Efforts { facts: &facts, restartable, class: &class, more };
        let Between { efforts, polled, mut entered } = between.polls(&edges);
        // Calls that do not come after a poll of a loop round them.
        let mut bare = edges.clone();
        for (i, f) in facts.iter().enumerate() {
            let covered = f.covered(&polled[imports + i]);
            let bare_of = |calls: &[(u32, usize)]| -> Vec<u32> {
                calls.iter().filter(|c| !covered[c.1]).map(|c| c.0).collect()
            };
            bare[imports + i] = nodes(
                &mut bare_of(&f.calls_in).into_iter(),
                &mut bare_of(&f.indirect_in).into_iter(),
            );
        }
        mark_back_edges(&bare, nf, &mut entered);

        let mut framed = entered.clone();
        framed[..imports].copy_from_slice(restartable);
        for (i, f) in facts.iter().enumerate() {
            let n = imports + i;
            framed[n] |= f.loops > 0 || more.known[n] || more.watched[n];
        }
        let mut callers: Vec<Vec<usize>> = vec![vec![]; edges.len()];
        for (from, to) in edges.iter().enumerate() {
            for &t in to {
                callers[t].push(from);
            }
        }
        let mut work: Vec<usize> = (0..edges.len()).filter(|&i| framed[i]).collect();
        while let Some(n) = work.pop() {
            for &c in &callers[n] {
                if !framed[c] {
                    framed[c] = true;
                    work.push(c);
                }
            }
        }
        let unwinds = |n: usize| efforts[n].is_none();
        let type_may_unwind: Vec<bool> = class.iter().map(|&c| unwinds(nf + c)).collect();
        let type_framed: Vec<bool> = class.iter().map(|&c| framed[nf + c]).collect();
        let mut site_counts = vec![0; nf];
        for (i, f) in facts.iter().enumerate() {
            let direct = f.calls.iter().filter(|&&c| framed[c as usize]).count();
            let indirect = f.indirect.iter().filter(|&&t| type_framed[t as usize]).count();
            site_counts[imports + i] = f.loops + (direct + indirect) as u32;
        }
        framed.truncate(nf);
        let mut entry_poll = entered;
        entry_poll.truncate(nf);
        // A frame at the entry goes on by a call.
        let mut exported = framed.clone();
        for &r in &referenced {
            exported[r as usize] = true;
        }
        for (i, f) in facts.iter().enumerate() {
            if framed[imports + i] {
                for &c in f.calls.iter().chain(&f.tail_calls) {
                    exported[c as usize] = true;
                }
            }
        }
        Ok(Reach {
            may_unwind: (0..nf).map(unwinds).collect(),
            entry_poll,
            watched: more.watched.clone(),
            type_may_unwind,
            polled,
            framed,
            type_framed,
            site_counts,
            exported,
            uses,
        })
    }

    /// Whether a frame of this function can exist.
    pub fn is_framed(&self, func: u32) -> bool {
        self.framed[func as usize]
    }

    /// Whether the loop, the `n`th of its function, has a poll at its header.
    pub fn is_polled(&self, func: u32, n: usize) -> bool {
        // The body of an imported function has no loops.
        self.polled.get(func as usize).is_some_and(|loops| loops[n])
    }

    /// Whether this instruction is a call in which a frame of its caller can be saved.
    pub fn is_call_site(&self, op: &Operator<'_>) -> bool {
        match *op {
            Operator::Call { function_index } => self.framed[function_index as usize],
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                self.type_framed[type_index as usize]
            }
            _ => false,
        }
    }

    /// Whether this instruction is a call that needs a check after it.
    pub fn is_checked(&self, op: &Operator<'_>) -> bool {
        match *op {
            Operator::Call { function_index } => self.may_unwind[function_index as usize],
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                self.type_may_unwind[type_index as usize]
            }
            _ => false,
        }
    }
}

/// What is to be known for [`Efforts::polls`].
struct Efforts<'a> {
    facts: &'a [Facts],
    restartable: &'a [bool],
    /// Per type: its class.
    class: &'a [usize],
    more: &'a More,
}

struct Between {
    /// Per node, functions then types: what a call of it may do before it comes to a poll or returns; nothing if it may unwind.
    efforts: Vec<Option<Effort>>,
    polled: Vec<Vec<bool>>,
    /// Per node: it does too much to have no poll, and gets one at its entry.
    entered: Vec<bool>,
}

impl Efforts<'_> {
    /// From the callees upwards. What calls itself, whatever lies between, comes to a poll; it may unwind.
    fn polls(&self, edges: &[Vec<usize>]) -> Between {
        let imports = self.restartable.len();
        let functions = imports + self.facts.len();
        let mut efforts: Vec<Option<Effort>> = vec![None; edges.len()];
        let mut polled: Vec<Vec<bool>> = vec![vec![]; functions];
        let mut entered = vec![false; edges.len()];
        for n in callees_first(edges) {
            efforts[n] = if n < imports {
                (!self.restartable[n]).then_some(HOST)
            } else if n < functions {
                let called = |calls: &[u32], types: &[u32]| {
                    let types = types.iter().map(|&t| functions + self.class[t as usize]);
                    let mut sum = Effort::default();
                    for callee in calls.iter().map(|&c| c as usize).chain(types) {
                        sum.add(efforts[callee]?);
                    }
                    Some(sum)
                };
                let (body, loops) = self.facts[n - imports].polls(called, self.more.every_loop);
                polled[n] = loops;
                entered[n] =
                    body.is_some_and(|effort| !effort.is_atomic()) || self.more.every_entry;
                let stops = entered[n] || self.more.watched[n];
                body.filter(|_| !stops)
            } else {
                let mut most = Some(Effort::default());
                for &to in &edges[n] {
                    most = most.zip(efforts[to]).map(|(a, b)| Effort {
                        steps: a.steps.max(b.steps),
                        sweeps: a.sweeps.max(b.sweeps),
                    });
                }
                most
            };
        }
        Between { efforts, polled, entered }
    }
}

impl Facts {
    /// Of no loop, and of each: whether a call in it comes after a poll.
    fn covered(&self, polled: &[bool]) -> Vec<bool> {
        let mut covered = vec![false; self.around.len() + 1];
        for (n, &around) in self.around.iter().enumerate() {
            covered[n + 1] = polled[n] || covered[around];
        }
        covered
    }

    /// What the function may do before it returns, if it never unwinds; and which of its loops are polled.
    fn polls(
        &self,
        called: impl Fn(&[u32], &[u32]) -> Option<Effort>,
        every_loop: bool,
    ) -> (Option<Effort>, Vec<bool>) {
        let mut efforts: Vec<Option<Effort>> = self
            .parts
            .iter()
            .map(|part| {
                let mut effort = called(&part.calls, &part.indirect)?;
                effort.add(part.work);
                Some(effort)
            })
            .collect();
        let mut polled = vec![false; self.parts.len() - 1];
        let mut ended: Vec<Option<Effort>> = vec![None; self.parts.len()];
        // Inner ones come after those round them.
        for n in (1..self.parts.len()).rev() {
            let effort = efforts[n].and_then(|once| self.parts[n].rounds.effort(once));
            let effort = effort.filter(|_| !every_loop);
            polled[n - 1] = effort.is_none();
            ended[n] = effort;
            let outer = &mut efforts[self.parts[n].outer];
            *outer = outer.zip(effort).map(|(mut outer, inner)| {
                outer.add(inner);
                outer
            });
        }
        // One loop after another, each little, may be too much.
        let outermost = (1..self.parts.len()).filter(|&n| self.parts[n].outer == 0);
        let all: u64 = outermost.clone().filter_map(|n| ended[n]).map(|e| e.steps).sum();
        if all > STEPS {
            outermost.for_each(|n| polled[n - 1] |= ended[n].is_some_and(|e| e.steps > ATOMIC));
            return (None, polled);
        }
        let tail = called(&self.tail_calls, &self.tail_indirect);
        let body = efforts[0].zip(tail).map(|(mut body, tail)| {
            body.add(tail);
            body
        });
        (body, polled)
    }
}

impl Rounds {
    /// What all rounds do together if one does this; nothing if it is not little.
    fn effort(&self, once: Effort) -> Option<Effort> {
        let counted = self.times.map(|n| once.times(n)).filter(|e| e.is_little());
        let swept = self.stride.is_some_and(|stride| {
            once.sweeps == 0 && once.steps <= STEPS_PER_BYTE * u64::from(stride)
        });
        counted.or(swept.then_some(Effort { steps: 0, sweeps: 1 }))
    }
}

/// Every node after those that it leads to, except where it leads round.
fn callees_first(edges: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(edges.len());
    let mut seen = vec![false; edges.len()];
    for root in 0..edges.len() {
        if std::mem::replace(&mut seen[root], true) {
            continue;
        }
        let mut stack = vec![(root, 0)];
        while let Some((n, next)) = stack.last_mut() {
            match edges[*n].get(*next) {
                None => {
                    order.push(*n);
                    stack.pop();
                }
                Some(&to) => {
                    *next += 1;
                    if !std::mem::replace(&mut seen[to], true) {
                        stack.push((to, 0));
                    }
                }
            }
        }
    }
    order
}

fn scan(m: &Module, func: u32, uses: &mut Uses) -> Result<Facts> {
    let mut f = Facts { parts: vec![Part::default()], ..Facts::default() };
    // Of the open constructs, the loop that each is or lies in.
    let mut open: Vec<usize> = vec![];
    let mut before = None;
    let body = m.body(func);
    let mut home = vec![];
    let mut r = body.get_operators_reader().map_err(Error::invalid)?;
    for at in 0.. {
        if r.eof() {
            break;
        }
        let part = home.get(at).map_or(0, |&part| part as usize);
        let around = open.last().copied().unwrap_or(0);
        let op = r.read().map_err(Error::invalid)?;
        f.parts[part].work.add(work_of(&op, before));
        before = match op {
            Operator::I32Const { value } => Some(value),
            _ => None,
        };
        match op {
            Operator::Loop { .. } => {
                f.loops += 1;
                f.around.push(around);
                open.push(f.loops as usize);
                if home.is_empty() {
                    let loops = Loops::of(m, &Body::decode(m, func)?);
                    let part =
                        |(rounds, outer)| Part { rounds, outer: outer as usize, ..Part::default() };
                    f.parts.extend(loops.rounds.into_iter().map(part));
                    home = loops.home;
                }
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                open.push(around);
            }
            Operator::End => {
                open.pop();
            }
            Operator::Call { function_index } => {
                f.parts[part].calls.push(function_index);
                f.calls.push(function_index);
                f.calls_in.push((function_index, around));
            }
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                f.parts[part].indirect.push(type_index);
                f.indirect.push(type_index);
                f.indirect_in.push((type_index, around));
            }
            Operator::ReturnCall { function_index } => {
                f.tail_calls.push(function_index);
                f.calls_in.push((function_index, around));
            }
            Operator::ReturnCallIndirect { type_index, .. }
            | Operator::ReturnCallRef { type_index } => {
                f.tail_indirect.push(type_index);
                f.indirect_in.push((type_index, around));
            }
            Operator::MemoryInit { data_index, mem } => {
                uses.memory_init.insert((data_index, mem));
            }
            Operator::TableInit { elem_index, table } => {
                uses.table_init.insert((elem_index, table));
                uses.written_tables.insert(table);
            }
            Operator::DataDrop { data_index } => {
                uses.data_drop.insert(data_index);
            }
            Operator::ElemDrop { elem_index } => {
                uses.elem_drop.insert(elem_index);
            }
            Operator::RefFunc { function_index } => {
                uses.ref_func.insert(function_index);
            }
            Operator::TableSet { table }
            | Operator::TableGrow { table }
            | Operator::TableFill { table } => {
                uses.written_tables.insert(table);
            }
            Operator::TableCopy { dst_table, .. } => {
                uses.written_tables.insert(dst_table);
            }
            _ => {}
        }
    }
    Ok(f)
}

/// What an instruction does besides calling; `before` is the constant that came before it: the length, of what has one.
fn work_of(op: &Operator<'_>, before: Option<i32>) -> Effort {
    use Operator as O;
    match op {
        O::MemoryFill { .. }
        | O::MemoryCopy { .. }
        | O::MemoryInit { .. }
        | O::TableFill { .. }
        | O::TableCopy { .. }
        | O::TableInit { .. }
        | O::TableGrow { .. } => match before {
            Some(length) => Effort { steps: 1 + u64::from(length as u32) / 16, sweeps: 0 },
            None => Effort { steps: 1, sweeps: 1 },
        },
        O::MemoryGrow { .. } => HOST,
        _ => Effort { steps: 1, sweeps: 0 },
    }
}

/// Depth-first from every node, without recursion; `functions` come before the type nodes.
fn mark_back_edges(edges: &[Vec<usize>], functions: usize, polled: &mut [bool]) {
    #[derive(Clone, Copy, PartialEq)]
    enum Color {
        New,
        Open,
        Done,
    }
    let mut color = vec![Color::New; edges.len()];
    for root in 0..edges.len() {
        if color[root] != Color::New {
            continue;
        }
        color[root] = Color::Open;
        let mut stack = vec![(root, 0)];
        while let Some((n, next)) = stack.last_mut() {
            let n = *n;
            let Some(&to) = edges[n].get(*next) else {
                color[n] = Color::Done;
                stack.pop();
                continue;
            };
            *next += 1;
            match color[to] {
                Color::New => {
                    color[to] = Color::Open;
                    stack.push((to, 0));
                }
                Color::Open => {
                    // Types do not call types in a circle: a function of the cycle is on the way.
                    let mut way = stack.iter().rev().map(|s| s.0);
                    let function =
                        if to < functions { Some(to) } else { way.find(|&n| n < functions) };
                    polled[function.unwrap_or(n)] = true;
                }
                Color::Done => {}
            }
        }
    }
}
