//! Which locals are still read after a point: only those belong in a frame.
//!
//! Backward data flow over basic blocks with bit sets, run to a fixed point. Inside a `try_table`
//! every local that is live in a handler is live everywhere, because any call may throw.

use crate::body::Body;
use std::collections::HashMap;
use wasmparser::Operator;

/// The live locals, ascending, at each instruction of `at` that is not dead: after a call, at a
/// loop's header.
pub(crate) fn live_at(body: &Body<'_>, at: &[usize]) -> HashMap<usize, Vec<u32>> {
    let n = body.ops.len();
    let words = body.locals.len().div_ceil(64);
    if words == 0 {
        return at.iter().filter(|&&i| !body.dead[i]).map(|&i| (i, vec![])).collect();
    }
    let mut leader = vec![false; n + 1];
    leader[0] = true;
    for (i, op) in body.ops.iter().enumerate() {
        match op {
            Operator::Loop { .. } | Operator::End => leader[i] = true,
            _ => {}
        }
        if ends_block(op) {
            leader[i + 1] = true;
        }
    }
    let starts: Vec<usize> = (0..n).filter(|&i| leader[i]).collect();
    let mut block_of = vec![0u32; n];
    for (b, &s) in starts.iter().enumerate() {
        let e = starts.get(b + 1).copied().unwrap_or(n);
        block_of[s..e].fill(b as u32);
    }
    let blocks = starts.len();
    let mut live_in = vec![0u64; blocks * words];
    let mut kill = vec![0u64; blocks * words];
    let mut succ: Vec<Vec<u32>> = Vec::with_capacity(blocks);
    for (b, &s) in starts.iter().enumerate() {
        let e = starts.get(b + 1).copied().unwrap_or(n);
        let mut to = Vec::new();
        if !body.dead[s] {
            let (g, k) = (&mut live_in[b * words..][..words], &mut kill[b * words..][..words]);
            for op in &body.ops[s..e] {
                match *op {
                    Operator::LocalGet { local_index: l } => {
                        let (w, m) = (l as usize / 64, 1 << (l % 64));
                        if k[w] & m == 0 {
                            g[w] |= m;
                        }
                    }
                    Operator::LocalSet { local_index: l }
                    | Operator::LocalTee { local_index: l } => {
                        k[l as usize / 64] |= 1 << (l % 64);
                    }
                    _ => {}
                }
            }
            let last = e - 1;
            to.extend(body.targets.get(&last).into_iter().flatten().map(|&t| block_of[t]));
            match &body.ops[last] {
                Operator::If { .. } => {
                    let next = match body.elses.get(&last) {
                        Some(els) => els + 1,
                        None => body.ends[&last],
                    };
                    to.push(block_of[next]);
                    to.push(block_of[e]);
                }
                op if falls_through(op) && e < n => to.push(block_of[e]),
                _ => {}
            }
            to.extend(body.handlers[body.context[s] as usize].iter().map(|&t| block_of[t]));
        }
        succ.push(to);
    }
    let gen_ = live_in.clone();
    let out_of = |b: usize, live_in: &[u64], out: &mut [u64]| {
        out.fill(0);
        for &s in &succ[b] {
            for (o, v) in out.iter_mut().zip(&live_in[s as usize * words..][..words]) {
                *o |= v;
            }
        }
    };
    let handled = |b: usize, live_in: &[u64], out: &mut [u64]| {
        for &h in &body.handlers[body.context[starts[b]] as usize] {
            let s = block_of[h] as usize;
            for (o, v) in out.iter_mut().zip(&live_in[s * words..][..words]) {
                *o |= v;
            }
        }
    };
    let mut out = vec![0u64; words];
    loop {
        let mut changed = false;
        for b in (0..blocks).rev() {
            if body.dead[starts[b]] {
                continue;
            }
            out_of(b, &live_in, &mut out);
            for w in 0..words {
                out[w] = gen_[b * words + w] | (out[w] & !kill[b * words + w]);
            }
            handled(b, &live_in, &mut out);
            let cur = &mut live_in[b * words..][..words];
            if cur != out.as_slice() {
                cur.copy_from_slice(&out);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let mut result = HashMap::with_capacity(at.len());
    let mut wanted: HashMap<usize, Vec<usize>> = HashMap::new();
    for &i in at {
        if !body.dead[i] {
            wanted.entry(block_of[i] as usize).or_default().push(i);
        }
    }
    let mut always = vec![0u64; words];
    for (b, mut points) in wanted {
        points.sort_unstable();
        let e = starts.get(b + 1).copied().unwrap_or(n);
        out_of(b, &live_in, &mut out);
        always.fill(0);
        handled(b, &live_in, &mut always);
        for i in (points[0]..e).rev() {
            if points.last() == Some(&i) {
                points.pop();
                let live = (0..body.locals.len() as u32)
                    .filter(|&l| {
                        (out[l as usize / 64] | always[l as usize / 64]) >> (l % 64) & 1 == 1
                    })
                    .collect();
                result.insert(i, live);
            }
            match body.ops[i] {
                Operator::LocalGet { local_index: l } => out[l as usize / 64] |= 1 << (l % 64),
                Operator::LocalSet { local_index: l } | Operator::LocalTee { local_index: l } => {
                    out[l as usize / 64] &= !(1 << (l % 64));
                }
                _ => {}
            }
        }
    }
    result
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
