//! Which locals are still read after a point: only those belong in a frame.
//!
//! Backward data flow with bit sets over basic blocks, run to a fixed point. Inside a `try_table`
//! every local that is live in a handler is live everywhere, because any call may throw. So each
//! `try_table` is a node as well, which joins its handlers and the `try_table` round it.
//!
//! ```text
//!   nodes    0   1   2   3   4   5        in code order; a try_table's stands where it ends
//!            blocks  |   |   try_table
//!   sweep    <------------------------    only nodes whose successors changed
//! ```
//!
//! The sets hold only locals that some block reads before it writes them: most locals of large
//! functions are written and read within one block, and sets of all would be too large for functions
//! of megabytes.

use crate::body::Body;
use crate::work;
use std::collections::HashMap;
use wasmparser::Operator;

/// The live locals, ascending, at each instruction of `at` that is not dead: after a call, at a
/// loop's header.
pub(crate) fn live_at(body: &Body<'_>, at: &[usize]) -> HashMap<usize, Vec<u32>> {
    if body.locals.is_empty() {
        return at.iter().filter(|&&i| !body.dead[i]).map(|&i| (i, vec![])).collect();
    }
    let blocks = Blocks::of(body);
    let flow = Flow::of(body, &blocks);
    let mut wanted: HashMap<usize, Vec<usize>> = HashMap::new();
    for &i in at {
        if !body.dead[i] {
            wanted.entry(blocks.of[i] as usize).or_default().push(i);
        }
    }
    // Live now, and live in every handler.
    let (mut live, mut always) = (Set::new(body.locals.len()), Set::new(body.locals.len()));
    let mut result = HashMap::with_capacity(at.len());
    for (b, mut points) in wanted {
        points.sort_unstable();
        live.clear();
        always.clear();
        let context = flow.context_nodes[body.context[blocks.starts[b]] as usize];
        for &s in flow.successors(flow.nodes[b]) {
            flow.live(s).for_each(|l| live.insert(l));
        }
        if let Some(context) = context {
            flow.live(context).for_each(|l| always.insert(l));
        }
        work::add(blocks.end(b) - points[0]);
        for i in (points[0]..blocks.end(b)).rev() {
            if points.last() == Some(&i) {
                points.pop();
                result.insert(i, live.union(&always));
            }
            match body.ops[i] {
                Operator::LocalGet { local_index: l } => live.insert(l),
                Operator::LocalSet { local_index: l } | Operator::LocalTee { local_index: l } => {
                    live.remove(l);
                }
                _ => {}
            }
        }
    }
    result
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

/// What is live where each node begins.
struct Flow {
    /// The node of each block, and of each context but the first.
    nodes: Vec<u32>,
    context_nodes: Vec<Option<u32>>,
    /// Node to the nodes that come after it: `edges[first[n]..first[n + 1]]`.
    first: Vec<u32>,
    edges: Vec<u32>,
    /// Bit `i` of a set stands for local `locals[i]`.
    locals: Vec<u32>,
    words: usize,
    live: Vec<u64>,
}

impl Flow {
    fn of(body: &Body<'_>, blocks: &Blocks) -> Flow {
        let count = blocks.starts.len();
        // A context comes after the blocks in it and before the block its `try_table` ends in.
        let mut ending: Vec<(u32, usize)> = (1..body.contexts.len())
            .filter_map(|c| Some((blocks.of[*body.ends.get(&body.contexts[c].op)?], c)))
            .collect();
        ending.sort_unstable();
        let mut ending = ending.into_iter().peekable();
        let mut context_nodes = vec![None; body.contexts.len()];
        let mut nodes = Vec::with_capacity(count);
        let mut next = 0;
        for b in 0..count as u32 {
            while let Some((_, c)) = ending.next_if(|e| e.0 == b) {
                context_nodes[c] = Some(next);
                next += 1;
            }
            nodes.push(next);
            next += 1;
        }
        let mut after: Vec<Vec<u32>> = vec![vec![]; next as usize];
        for (c, context) in body.contexts.iter().enumerate() {
            if let Some(n) = context_nodes[c] {
                let to = &mut after[n as usize];
                to.extend(context.handlers.iter().map(|&t| nodes[blocks.of[t] as usize]));
                to.extend(context_nodes[context.outer as usize]);
            }
        }
        for b in 0..count {
            if !body.dead[blocks.starts[b]] {
                let to = &mut after[nodes[b] as usize];
                to.extend(successors(body, blocks, b).map(|s| nodes[s as usize]));
            }
        }
        let mut first = vec![0];
        let mut edges = vec![];
        for to in &after {
            edges.extend(to);
            first.push(edges.len() as u32);
        }
        let read = Reads::of(body, blocks);
        let words = read.locals.len().div_ceil(64);
        let mut flow = Flow {
            nodes,
            context_nodes,
            first,
            edges,
            locals: read.locals,
            words,
            live: vec![0; next as usize * words],
        };
        flow.solve(body, blocks, &read.exposed, &read.number);
        flow
    }

    fn successors(&self, node: u32) -> &[u32] {
        &self.edges[self.first[node as usize] as usize..self.first[node as usize + 1] as usize]
    }

    /// The live locals of a node, ascending.
    fn live(&self, node: u32) -> impl Iterator<Item = u32> {
        let words = &self.live[node as usize * self.words..][..self.words];
        work::add(self.words);
        bits(words).map(|i| self.locals[i as usize])
    }

    /// `exposed` are the locals each block reads before it writes them, as bits; `number` the bit of
    /// each local.
    fn solve(
        &mut self,
        body: &Body<'_>,
        blocks: &Blocks,
        exposed: &[Vec<u32>],
        number: &[Option<u32>],
    ) {
        let (words, total) = (self.words, self.first.len() - 1);
        if words == 0 {
            return;
        }
        let mut kill = vec![0u64; self.live.len()];
        // The block's context, for which nothing is killed.
        let mut context = vec![None; total];
        for (b, &node) in self.nodes.iter().enumerate() {
            let (from, at) = (blocks.starts[b], node as usize * words);
            context[node as usize] = self.context_nodes[body.context[from] as usize];
            if body.dead[from] {
                continue;
            }
            for &bit in &exposed[b] {
                self.live[at + bit as usize / 64] |= 1 << (bit % 64);
            }
            for op in &body.ops[from..blocks.end(b)] {
                if let Operator::LocalSet { local_index: l } | Operator::LocalTee { local_index: l } =
                    *op
                    && let Some(bit) = number[l as usize]
                {
                    kill[at + bit as usize / 64] |= 1 << (bit % 64);
                }
            }
        }
        // Who has to be looked at again when a node changes.
        let mut before: Vec<Vec<u32>> = vec![vec![]; total];
        for n in 0..total as u32 {
            for &s in self.successors(n) {
                before[s as usize].push(n);
            }
            if let Some(c) = context[n as usize] {
                before[c as usize].push(n);
            }
        }
        let mut stale = vec![u64::MAX; total.div_ceil(64)];
        if !total.is_multiple_of(64) {
            stale[total / 64] = (1 << (total % 64)) - 1;
        }
        let mut out = vec![0u64; words];
        while stale.iter().any(|&w| w != 0) {
            work::add(stale.len());
            for w in (0..stale.len()).rev() {
                while stale[w] != 0 {
                    let bit = 63 - stale[w].leading_zeros() as usize;
                    stale[w] &= !(1 << bit);
                    let n = w * 64 + bit;
                    let to = self.first[n] as usize..self.first[n + 1] as usize;
                    work::add(words * (to.len() + 2));
                    out.fill(0);
                    for &s in &self.edges[to] {
                        join(&mut out, &self.live[s as usize * words..][..words]);
                    }
                    out.iter_mut().zip(&kill[n * words..]).for_each(|(o, k)| *o &= !k);
                    if let Some(c) = context[n] {
                        join(&mut out, &self.live[c as usize * words..][..words]);
                    }
                    if join(&mut self.live[n * words..][..words], &out) {
                        for &b in &before[n] {
                            stale[b as usize / 64] |= 1 << (b % 64);
                        }
                    }
                }
            }
        }
    }
}

/// The locals that some block reads before it writes them.
struct Reads {
    locals: Vec<u32>,
    /// Their place among these.
    number: Vec<Option<u32>>,
    /// Per block, which of them.
    exposed: Vec<Vec<u32>>,
}

impl Reads {
    fn of(body: &Body<'_>, blocks: &Blocks) -> Reads {
        let mut seen_in = vec![u32::MAX; body.locals.len()];
        let mut exposed: Vec<Vec<u32>> = vec![vec![]; blocks.starts.len()];
        for (b, block) in exposed.iter_mut().enumerate() {
            if body.dead[blocks.starts[b]] {
                continue;
            }
            for op in &body.ops[blocks.starts[b]..blocks.end(b)] {
                let (l, read) = match *op {
                    Operator::LocalGet { local_index } => (local_index, true),
                    Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                        (local_index, false)
                    }
                    _ => continue,
                };
                if seen_in[l as usize] != b as u32 {
                    seen_in[l as usize] = b as u32;
                    if read {
                        block.push(l);
                    }
                }
            }
        }
        let mut locals: Vec<u32> = exposed.iter().flatten().copied().collect();
        locals.sort_unstable();
        locals.dedup();
        let mut number = vec![None; body.locals.len()];
        for (n, &l) in locals.iter().enumerate() {
            number[l as usize] = Some(n as u32);
        }
        for l in exposed.iter_mut().flatten() {
            *l = number[*l as usize].unwrap_or_default();
        }
        Reads { locals, number, exposed }
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

/// Adds `from`; whether anything is new.
fn join(to: &mut [u64], from: &[u64]) -> bool {
    let mut new = 0;
    for (t, f) in to.iter_mut().zip(from) {
        new |= f & !*t;
        *t |= f;
    }
    new != 0
}

fn bits(words: &[u64]) -> impl Iterator<Item = u32> {
    words.iter().zip(0..).flat_map(|(&word, n)| {
        let mut word = word;
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(n * 64 + bit)
        })
    })
}

/// A set of locals.
struct Set(Vec<u64>);

impl Set {
    fn new(locals: usize) -> Set {
        Set(vec![0; locals.div_ceil(64)])
    }
    fn clear(&mut self) {
        work::add(self.0.len());
        self.0.fill(0);
    }
    fn insert(&mut self, l: u32) {
        self.0[l as usize / 64] |= 1 << (l % 64);
    }
    fn remove(&mut self, l: u32) {
        self.0[l as usize / 64] &= !(1 << (l % 64));
    }
    fn union(&self, other: &Set) -> Vec<u32> {
        work::add(self.0.len());
        let words: Vec<u64> = self.0.iter().zip(&other.0).map(|(a, b)| a | b).collect();
        bits(&words).collect()
    }
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
