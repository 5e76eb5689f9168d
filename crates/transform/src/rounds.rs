//! How often a loop goes round at most, where its code tells: such a loop needs no poll.
//!
//! ```wat
//!   ;; a count: from a constant, by a           ;; a sweep: each round touches memory a constant distance
//!   ;; constant, to a constant                  ;; further on, and traps where the memory ends
//!   (local.set $i (i32.const 0))                (loop $l
//!   (loop $l                                      (f64.store (local.get $p) ...)
//!     ...                                         (local.set $p (i32.add (local.get $p) (i32.const 8)))
//!     (br_if $l (i32.ne (local.tee $i             (br_if $l ...))
//!       (i32.add (local.get $i) (i32.const 8)))
//!       (i32.const 800))))
//!
//!   ;; a walk: it only reads, and all that a round takes from the one before is one address
//!   (loop $l (br_if $l (local.tee $p (i32.load offset=4 (local.get $p)))))
//! ```
//!
//! One pass through a loop's body follows what each local is, as a sum of what the locals were at the header (`Sum`), and
//! which instructions lie on every way to where it goes round again. Where ways meet, a local that differs is unknown, and only
//! what lies on both is on every way. So what a local is at the ends of all ways tells by how much it grows in a round; from that,
//! and the sums that were addresses or were compared, follows the rest.
//!
//! A sweep cannot go on for ever: it would have to leap over the end of the memory, and no memory has the last 64 KiB of what 32
//! bits can address (the engine's memories do not grow so far; a module that wants them from the beginning has no sweeps). A walk that
//! comes to an address again would do so for ever, since nothing has changed: only a program that hangs anyway does.

mod operators;
mod sum;
mod walk;

use crate::body::Body;
use crate::module::Module;
use crate::work;
use walk::Walk;
use wasmparser::Operator;

/// What is known about a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rounds {
    /// It goes round at most so often, the first time included.
    pub times: Option<u64>,
    /// Each round touches memory at least so many bytes further on.
    pub stride: Option<u32>,
}

/// Loops of more instructions are not looked at: in them a poll costs little.
const LARGEST: usize = 2000;

/// Nor are loops with loops in loops in loops in them, so that no instruction is looked at often.
const DEEPEST: usize = 3;

/// Nor are loops that set more locals.
const MOST_SET: usize = 64;

/// What is assumed of a distance that is not a constant: the same in each round, as in a matrix's column (it may be nothing, but a
/// counter ends it then), or from one element of a list to the next.
const STRIDE: u32 = 4;

/// The longest step that cannot pass over the page at the end of the address space that no memory has.
const LONGEST: i64 = 32 << 10;

/// The loops of a function.
pub(crate) struct Loops {
    /// Of each loop, in the order of their headers, the dead ones included: and the one that it lies in, as in `home`.
    pub rounds: Vec<(Rounds, u32)>,
    /// The innermost loop that each instruction can go round in, by its number from 1; 0 is none. What a loop's code does on the way
    /// out is not in it.
    pub home: Vec<u32>,
}

impl Loops {
    pub fn of(m: &Module, body: &Body<'_>) -> Loops {
        let is_loop = |i: &usize| matches!(body.ops[*i], Operator::Loop { .. });
        let headers: Vec<usize> = (0..body.ops.len()).filter(is_loop).collect();
        let mut loops = Loops { rounds: vec![], home: vec![0; body.ops.len()] };
        for ((n, &at), height) in (1..).zip(&headers).zip(heights(body, &headers)) {
            let end = body.ends[&at];
            if body.dead[at] || height >= DEEPEST || end - at > LARGEST || body.caught.contains(&at)
            {
                loops.rounds.push((Rounds::default(), loops.home[at]));
                loops.home[at..=end].fill(n);
                continue;
            }
            let outer = loops.home[at];
            let again = goes_again(body, at);
            for (home, _) in loops.home[at..end].iter_mut().zip(&again).filter(|x| *x.1) {
                *home = n;
            }
            let rounds = match body.back.get(&at) {
                None => Rounds { times: Some(1), stride: None },
                Some(back) => Walk::new(m, body, at, back, again).rounds().unwrap_or_default(),
            };
            loops.rounds.push((rounds, outer));
        }
        loops
    }
}

/// How many loops each has in it, one in the other.
fn heights(body: &Body<'_>, headers: &[usize]) -> Vec<usize> {
    let mut parents: Vec<Option<usize>> = vec![];
    let mut open: Vec<usize> = vec![];
    for (n, &at) in headers.iter().enumerate() {
        while open.last().is_some_and(|&o| body.ends[&headers[o]] < at) {
            open.pop();
        }
        parents.push(open.last().copied());
        open.push(n);
    }
    let mut heights: Vec<usize> = vec![0; headers.len()];
    for n in (0..headers.len()).rev() {
        if let Some(parent) = parents[n] {
            heights[parent] = heights[parent].max(heights[n] + 1);
        }
    }
    heights
}

/// From which instructions of a loop, counted from its header, it may go round again.
fn goes_again(body: &Body<'_>, header: usize) -> Vec<bool> {
    let end = body.ends[&header];
    work::add(end - header);
    let mut again = vec![false; end - header + 1];
    for at in (header..end).rev() {
        let next = again[at + 1 - header];
        let branches = body.targets.get(&at).into_iter().flatten().any(|&to| {
            // Where a loop inside of it goes round, something may follow that leads back.
            to <= at || again.get(to - header) == Some(&true)
        });
        again[at - header] = match &body.ops[at] {
            Operator::If { .. } => {
                let other = body.elses.get(&at).map_or(body.ends[&at], |els| els + 1);
                next || again[other - header]
            }
            Operator::Else => branches || again[body.ends[&at] - header],
            Operator::Br { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
            | Operator::Throw { .. }
            | Operator::ThrowRef => branches,
            // What is thrown in it may lead anywhere.
            Operator::TryTable { .. } => true,
            _ => next || branches,
        };
    }
    again
}
