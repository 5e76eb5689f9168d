//! How a function's frames are stored: by code that its safepoints share.
//!
//! ```text
//!   safepoints save        {a b}     {a b c}     {a b d}     {}
//!
//!   exits                  store a b <-- store c
//!                            |  ^------- store d
//!                            v
//!                          end the frame: one size for all of them
//!
//!   a frame                | a | b | c or d or nothing | slot |
//! ```
//!
//! Most of what a safepoint saves is saved by others too. Frames of very different sizes share nothing, so that one large frame does
//! not make all of them large.

use crate::layout::{Kind, Saved, Site, rank, width};
use crate::work;
use std::collections::HashMap;

/// The code that stores what some safepoints save, or a part of it.
pub(crate) struct Exit {
    /// Where the other values are stored, earlier in the list; if nowhere, the frame ends here.
    pub parent: Option<usize>,
    pub values: Vec<Saved>,
    /// Where in the frame they begin.
    pub offset: u32,
    /// The frame's.
    pub size: u32,
    /// Bytes of the largest frame that ends here while its function waits for another: in a call.
    waiting: u32,
}

impl Exit {
    /// Words to pass for nothing where a frame ends. The engine can compute values again where they are saved, and keep none of them
    /// in the native frame; a continuation has to, in 8 bytes each if not more. Room for arguments keeps it within four times the
    /// native frame, for which there is stack: what ran before a capture has to fit after it.
    pub fn room(&self) -> u32 {
        if self.waiting < 48 { 0 } else { (self.waiting / 16).next_power_of_two().min(MOST_ROOM) }
    }
}

/// What can be passed: a thousand vectors.
const MOST_ROOM: u32 = 2048;

/// How many exits are looked at to find a parent. They are tried by size, the largest first.
const TRIED: usize = 64;

/// The exits of a function, parents first. Each site gets the number of its own, and its values in the order in which they are stored.
pub(crate) fn share(sites: &mut [Site]) -> Vec<Exit> {
    let (exits, numbers) = exits_of(sites);
    for (site, number) in sites.iter_mut().zip(numbers) {
        let chain: Vec<&Exit> =
            std::iter::successors(Some(&exits[number]), |e| e.parent.map(|p| &exits[p])).collect();
        site.exit = number;
        site.layout.values = chain.iter().rev().flat_map(|e| &e.values).copied().collect();
        site.layout.size = exits[number].size;
    }
    exits
}

/// The exits, and the number of each site's.
fn exits_of(sites: &[Site]) -> (Vec<Exit>, Vec<usize>) {
    // References go to tables, in an order of their own. What is not active is stored by continuations alone.
    let shared = sites.iter().filter(|s| s.active && s.layout.references.iter().all(|&n| n == 0));
    let mut kinds: Vec<(u32, &[Saved])> = vec![];
    // The largest frames of each class, and of those that wait.
    let mut largest: HashMap<u32, (u32, u32)> = HashMap::new();
    for site in shared {
        let of = class(site.layout.size);
        kinds.push((of, &site.layout.values));
        let (size, waiting) = largest.entry(of).or_default();
        *size = site.layout.size.max(*size);
        if site.kind == Kind::Call {
            *waiting = site.layout.size.max(*waiting);
        }
    }
    kinds.sort_unstable_by(|(a, v), (b, w)| {
        let by_rank = || v.iter().map(rank).cmp(w.iter().map(rank));
        (a, v.len()).cmp(&(b, w.len())).then_with(by_rank)
    });
    kinds.dedup();

    let (mut exits, mut numbers): (Vec<Exit>, HashMap<&[Saved], usize>) = Default::default();
    for of_class in kinds.chunk_by(|a, b| a.0 == b.0) {
        let (size, waiting) = largest[&of_class[0].0];
        // All of them end in one place.
        let mut known: Vec<(&[Saved], usize)> = vec![(&[], exits.len())];
        exits.push(Exit { parent: None, values: vec![], offset: 0, size, waiting });
        for &(_, values) in of_class.iter().filter(|(_, values)| !values.is_empty()) {
            let mut tried = known.iter().rev().take(TRIED);
            let (stored, parent) = *tried.find(|k| is_subset(k.0, values)).unwrap_or(&known[0]);
            let is_new = |v: &Saved| stored.binary_search_by_key(&rank(v), rank).is_err();
            let added = values.iter().copied().filter(is_new).collect();
            known.push((values, exits.len()));
            let (parent, offset) = (Some(parent), stored.iter().map(|v| width(v.1)).sum());
            exits.push(Exit { parent, values: added, offset, size, waiting });
        }
        // A frame of nothing is of the first class.
        let is_here = |(values, _): &(&[Saved], usize)| !values.is_empty() || class(size) == 0;
        numbers.extend(known.into_iter().filter(is_here));
    }
    let mut of_sites = vec![];
    for site in sites {
        of_sites.push(*numbers.entry(&site.layout.values).or_insert_with(|| {
            let (values, size) = (site.layout.values.clone(), site.layout.size);
            // References lie in native frames too, and are noted beside them.
            let waiting = size + 16 * site.layout.references.iter().sum::<u32>();
            exits.push(Exit { parent: None, values, offset: 0, size, waiting });
            exits.len() - 1
        }));
    }
    (exits, of_sites)
}

/// Frames of up to 128 bytes, 512, 2048, and so on.
fn class(size: u32) -> u32 {
    match size.saturating_sub(1) / 128 {
        0 => 0,
        n => n.ilog(4) + 1,
    }
}

/// Both in the order of `rank`.
fn is_subset(less: &[Saved], more: &[Saved]) -> bool {
    work::add(more.len());
    let mut rest = more.iter();
    less.len() < more.len() && less.iter().all(|v| rest.any(|w| w == v))
}
