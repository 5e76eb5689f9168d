//! Which locals are still read after a point: only those belong in a frame.
//!
//! Each local is followed backwards on its own: from the blocks that read it before they write it to
//! all blocks from which its value gets there.
//!
//! ```text
//!   block 0    i = 10              writes it: live after the block, not before it
//!   block 1      loop  <-----.
//!   block 2        call f    |     reads nothing, writes nothing: live all through, so saved
//!   block 3        i = i-1   |     reads it first: live before the block; written, so not by that
//!                  br_if ----'     but by the next iteration live after it
//! ```
//!
//! So the effort is the sum of what the locals' lives cover, which for most locals of large functions
//! is little. Inside a `try_table` every local that is live in a handler is live everywhere, because
//! any call may throw: each `try_table` stands in the graph between the blocks in it and its handlers.

use crate::body::Body;
use crate::limits::{self, Excess};
use crate::work;
use std::collections::{BTreeSet, HashMap};
use wasmparser::Operator;

/// The live locals, ascending, at each instruction of `at` (ascending as well) that is not dead:
/// after a call, at a loop's header. Fails rather than take memory for what cannot become a function.
pub(crate) fn live_at(body: &Body<'_>, at: &[usize]) -> Result<HashMap<usize, Vec<u32>>, Excess> {
    let blocks = Blocks::of(body);
    let at: Vec<usize> = at.iter().copied().filter(|&i| !body.dead[i]).collect();
    let lives = Lives::of(body, &blocks, &at)?;
    let mut result = HashMap::with_capacity(at.len());
    let mut saved = 0;
    for points in at.chunk_by(|&a, &b| blocks.of[a] == blocks.of[b]) {
        let b = blocks.of[points[0]] as usize;
        let mut live: BTreeSet<u32> = lives.after[b].iter().copied().collect();
        let always: BTreeSet<u32> = lives.always[b].iter().copied().collect();
        let mut points = points.iter().rev().copied().peekable();
        let mut i = blocks.end(b);
        work::add(live.len() + always.len());
        while let Some(&point) = points.peek() {
            i -= 1;
            work::add(1);
            if i == point {
                points.next();
                let live: Vec<u32> = live.union(&always).copied().collect();
                saved += live.len();
                if saved > limits::SAVED {
                    return Err(Excess::Code);
                }
                result.insert(i, live);
            }
            match body.ops[i] {
                Operator::LocalGet { local_index: l } => {
                    live.insert(l);
                }
                Operator::LocalSet { local_index: l } | Operator::LocalTee { local_index: l } => {
                    live.remove(&l);
                }
                _ => {}
            }
        }
    }
    Ok(result)
}

/// A function cut where control enters or leaves.
struct Blocks {
    starts: Vec<usize>,
    /// The block of each instruction.
    of: Vec<u32>,
}

impl Blocks {
    fn of(body: &Body<'_>) -> Blocks {
        let n = body.ops.len();
        let mut leader = vec![false; n + 1];
        leader[0] = true;
        for (i, op) in body.ops.iter().enumerate() {
            if matches!(op, Operator::Loop { .. } | Operator::End) {
                leader[i] = true;
            }
            if ends_block(op) {
                leader[i + 1] = true;
            }
        }
        let starts: Vec<usize> = (0..n).filter(|&i| leader[i]).collect();
        let mut of = vec![0u32; n];
        for (b, &s) in starts.iter().enumerate() {
            of[s..starts.get(b + 1).copied().unwrap_or(n)].fill(b as u32);
        }
        Blocks { starts, of }
    }

    fn end(&self, b: usize) -> usize {
        self.starts.get(b + 1).copied().unwrap_or(self.of.len())
    }
}

/// Where locals are live: of the blocks that hold a point that was asked for.
struct Lives {
    /// Ascending, the locals that are live where the block ends.
    after: Vec<Vec<u32>>,
    /// And those that are live in the handlers round it, whatever the block writes.
    always: Vec<Vec<u32>>,
}

impl Lives {
    fn of(body: &Body<'_>, blocks: &Blocks, at: &[usize]) -> Result<Lives, Excess> {
        const NONE: u32 = u32::MAX;
        let count = blocks.starts.len();
        let graph = Graph::of(body, blocks);
        let uses = Uses::of(body, blocks);
        let mut lives = Lives { after: vec![vec![]; count], always: vec![vec![]; count] };
        let mut wanted = vec![false; count];
        at.iter().for_each(|&i| wanted[blocks.of[i] as usize] = true);
        // The last local that was found to be live before a node, after it, and written in it.
        let (mut before, mut after) = (vec![NONE; graph.nodes()], vec![NONE; count]);
        let mut written = after.clone();
        let (mut steps, mut ways) = (0, vec![]);
        for (l, (reads, writes)) in (0..).zip(uses.reads.iter().zip(&uses.writes)) {
            writes.iter().for_each(|&b| written[b as usize] = l);
            reads.iter().for_each(|&b| before[b as usize] = l);
            ways.extend(reads);
            while let Some(node) = ways.pop() {
                let from = graph.before(node);
                steps += 1 + from.len();
                if steps > limits::LIVES {
                    return Err(Excess::Lives);
                }
                for &f in from {
                    let n = f as usize;
                    if n < count && (node as usize) < count {
                        if after[n] != l {
                            after[n] = l;
                            if wanted[n] {
                                lives.after[n].push(l);
                            }
                        }
                        if written[n] == l {
                            continue;
                        }
                    } else if n < count && wanted[n] {
                        lives.always[n].push(l);
                    }
                    if before[n] != l {
                        before[n] = l;
                        ways.push(f);
                    }
                }
            }
        }
        work::add(steps);
        Ok(lives)
    }
}

/// The blocks, then the `try_table`s (contexts): from each, to those that come right before it.
struct Graph {
    /// Those of node `n` are `edges[first[n]..first[n + 1]]`.
    first: Vec<u32>,
    edges: Vec<u32>,
}

impl Graph {
    fn of(body: &Body<'_>, blocks: &Blocks) -> Graph {
        let count = blocks.starts.len();
        let context = |c: u32| (c != 0).then(|| count as u32 + c);
        let mut pairs: Vec<(u32, u32)> = vec![];
        for (b, &start) in blocks.starts.iter().enumerate() {
            if !body.dead[start] {
                let next = successors(body, blocks, b).chain(context(body.context[start]));
                pairs.extend(next.map(|next| (next, b as u32)));
            }
        }
        for (c, x) in (0..).zip(&body.contexts) {
            let next = x.handlers.iter().map(|&t| blocks.of[t]).chain(context(x.outer));
            pairs.extend(next.map(|next| (next, count as u32 + c)));
        }
        let mut first = vec![0; count + body.contexts.len() + 1];
        pairs.iter().for_each(|&(to, _)| first[to as usize + 1] += 1);
        for n in 1..first.len() {
            first[n] += first[n - 1];
        }
        let (mut edges, mut next) = (vec![0; pairs.len()], first.clone());
        for (to, from) in pairs {
            edges[next[to as usize] as usize] = from;
            next[to as usize] += 1;
        }
        Graph { first, edges }
    }

    fn nodes(&self) -> usize {
        self.first.len() - 1
    }

    fn before(&self, node: u32) -> &[u32] {
        &self.edges[self.first[node as usize] as usize..self.first[node as usize + 1] as usize]
    }
}

/// Per local, the blocks that read it before they write it, and those that write it.
struct Uses {
    reads: Vec<Vec<u32>>,
    writes: Vec<Vec<u32>>,
}

impl Uses {
    fn of(body: &Body<'_>, blocks: &Blocks) -> Uses {
        let none = vec![vec![]; body.locals.len()];
        let mut uses = Uses { reads: none.clone(), writes: none };
        for (i, op) in body.ops.iter().enumerate().filter(|(i, _)| !body.dead[*i]) {
            let b = blocks.of[i];
            let (read, l) = match *op {
                Operator::LocalGet { local_index: l } => (true, l as usize),
                Operator::LocalSet { local_index: l } | Operator::LocalTee { local_index: l } => {
                    (false, l as usize)
                }
                _ => continue,
            };
            let is_written = uses.writes[l].last() == Some(&b);
            if read && !is_written && uses.reads[l].last() != Some(&b) {
                uses.reads[l].push(b);
            } else if !read && !is_written {
                uses.writes[l].push(b);
            }
        }
        work::add(body.ops.len());
        uses
    }
}

/// Blocks that may come next, handlers left out.
fn successors<'b>(
    body: &'b Body<'_>,
    blocks: &'b Blocks,
    b: usize,
) -> impl Iterator<Item = u32> + 'b {
    let end = blocks.end(b);
    let last = end - 1;
    let (other, next) = match &body.ops[last] {
        Operator::If { .. } => {
            let other = match body.elses.get(&last) {
                Some(els) => Some(els + 1),
                None => body.ends.get(&last).copied(),
            };
            (other, Some(end))
        }
        op if falls_through(op) && end < body.ops.len() => (None, Some(end)),
        _ => (None, None),
    };
    let targets = body.targets.get(&last).into_iter().flatten().copied();
    targets.chain(other).chain(next).map(|i| blocks.of[i])
}

fn ends_block(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::If { .. }
            | Operator::Else
            | Operator::TryTable { .. }
            | Operator::BrIf { .. }
            | Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
    ) || !falls_through(op)
}

fn falls_through(op: &Operator<'_>) -> bool {
    !matches!(
        op,
        Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::Throw { .. }
            | Operator::ThrowRef
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Else
    )
}
