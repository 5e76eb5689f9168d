//! Which functions can be stopped at all, and where recursion needs a poll.
//!
//! ```text
//!   may unwind  =  has a loop  or  starts with a poll  or  calls something that may unwind
//!   atomic      =  the rest: no polls inside, no checks after calls to it
//! ```
//!
//! Loops are polled at their headers, so a call inside a loop always comes after a poll. What is left
//! are cycles of calls outside loops: a depth-first walk of that part of the call graph finds its back
//! edges, and one end of each gets a poll at its entry. An indirect call
//! goes to a node of its own that stands for every function of that type whose reference exists, and
//! for the nodes of its subtypes. So does a call through a typed reference.

use crate::module::Module;
use crate::{Error, Result};
use std::collections::HashSet;
use wasmparser::Operator;

pub(crate) struct Reach {
    /// Per function: a call to it may return because of a capture.
    pub may_unwind: Vec<bool>,
    /// Per function: a poll at its entry.
    pub entry_poll: Vec<bool>,
    /// Per type index: an indirect call of that type may return because of a capture.
    pub type_may_unwind: Vec<bool>,
    /// Per function: how many loops and calls with a check its body has, dead ones included.
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

#[derive(Default)]
struct Facts {
    loops: u32,
    /// Callees outside any loop, direct and by type.
    bare_calls: Vec<u32>,
    bare_indirect: Vec<u32>,
    calls: Vec<u32>,
    indirect: Vec<u32>,
    tail_calls: Vec<u32>,
    tail_indirect: Vec<u32>,
}

impl Reach {
    pub fn compute(m: &Module, restartable: &[bool]) -> Result<Reach> {
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
        let mut bare = edges.clone();
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
            bare[imports + i] =
                nodes(&mut f.bare_calls.iter().copied(), &mut f.bare_indirect.iter().copied());
        }
        // Where one type is wanted, functions of its subtypes will do.
        for (t, supertype) in m.supertypes.iter().enumerate() {
            if let Some(s) = *supertype {
                edges[nf + class[s as usize]].push(nf + class[t]);
                bare[nf + class[s as usize]].push(nf + class[t]);
            }
        }
        for &r in &referenced {
            let node = nf + class[m.funcs[r as usize] as usize];
            edges[node].push(r as usize);
            bare[node].push(r as usize);
        }
        let mut polled = vec![false; nf + class.len()];
        mark_back_edges(&bare, nf, &mut polled);

        let mut unwinds = polled.clone();
        unwinds[..imports].copy_from_slice(restartable);
        for (i, f) in facts.iter().enumerate() {
            unwinds[imports + i] |= f.loops > 0;
        }
        let mut callers: Vec<Vec<usize>> = vec![vec![]; edges.len()];
        for (from, to) in edges.iter().enumerate() {
            for &t in to {
                callers[t].push(from);
            }
        }
        let mut work: Vec<usize> = (0..edges.len()).filter(|&i| unwinds[i]).collect();
        while let Some(n) = work.pop() {
            for &c in &callers[n] {
                if !unwinds[c] {
                    unwinds[c] = true;
                    work.push(c);
                }
            }
        }
        let type_may_unwind: Vec<bool> = class.iter().map(|&c| unwinds[nf + c]).collect();
        let mut site_counts = vec![0; nf];
        for (i, f) in facts.iter().enumerate() {
            let direct = f.calls.iter().filter(|&&c| unwinds[c as usize]).count();
            let indirect = f.indirect.iter().filter(|&&t| type_may_unwind[t as usize]).count();
            site_counts[imports + i] = f.loops + (direct + indirect) as u32;
        }
        polled.truncate(nf);
        unwinds.truncate(nf);
        let mut exported = polled.clone();
        for &r in &referenced {
            exported[r as usize] = true;
        }
        for (i, f) in facts.iter().enumerate() {
            if unwinds[imports + i] {
                for &c in f.calls.iter().chain(&f.tail_calls) {
                    exported[c as usize] = true;
                }
            }
        }
        Ok(Reach {
            may_unwind: unwinds,
            entry_poll: polled,
            type_may_unwind,
            site_counts,
            exported,
            uses,
        })
    }

    /// Whether this instruction is a call that needs a check after it.
    pub fn is_call_site(&self, op: &Operator<'_>) -> bool {
        match *op {
            Operator::Call { function_index } => self.may_unwind[function_index as usize],
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                self.type_may_unwind[type_index as usize]
            }
            _ => false,
        }
    }
}

fn scan(m: &Module, func: u32, uses: &mut Uses) -> Result<Facts> {
    let mut f = Facts::default();
    // Nesting of the open constructs, and how many of them are loops.
    let (mut open, mut loops) = (vec![], 0);
    let body = m.body(func);
    let mut r = body.get_operators_reader().map_err(Error::invalid)?;
    while !r.eof() {
        match r.read().map_err(Error::invalid)? {
            Operator::Loop { .. } => {
                f.loops += 1;
                loops += 1;
                open.push(true);
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                open.push(false);
            }
            Operator::End => loops -= u32::from(open.pop() == Some(true)),
            Operator::Call { function_index } => {
                f.calls.push(function_index);
                if loops == 0 {
                    f.bare_calls.push(function_index);
                }
            }
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                f.indirect.push(type_index);
                if loops == 0 {
                    f.bare_indirect.push(type_index);
                }
            }
            Operator::ReturnCall { function_index } => {
                f.tail_calls.push(function_index);
                if loops == 0 {
                    f.bare_calls.push(function_index);
                }
            }
            Operator::ReturnCallIndirect { type_index, .. }
            | Operator::ReturnCallRef { type_index } => {
                f.tail_indirect.push(type_index);
                if loops == 0 {
                    f.bare_indirect.push(type_index);
                }
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
