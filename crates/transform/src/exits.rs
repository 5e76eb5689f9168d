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
//! Most of what a safepoint saves is saved by others too. Without sharing, a quarter of the engine's code stored frames.

use crate::layout::{Layout, Saved, Site, nullable, rank};
use crate::work;
use std::collections::HashMap;

/// The code that stores what some safepoints save.
pub(crate) struct Exit {
    /// Where the first of the values are stored, earlier in the list; if nowhere, the frame ends here.
    pub parent: Option<usize>,
    /// How many of the values are stored there.
    pub inherited: usize,
    /// All that is saved, and the frame's size.
    pub layout: Layout,
    /// For the validator, a local that null does not belong to is set no more behind a block: these values are stored where the
    /// safepoint is.
    pub in_place: bool,
}

/// How many exits are looked at to find a parent. They are tried by size, the largest first.
const TRIED: usize = 64;

/// The exits of a function, parents first. Each site gets the number of its own, and what is saved there in the exit's order.
pub(crate) fn share(sites: &mut [Site]) -> Vec<Exit> {
    // References go to tables, in an order of their own. What is not active is stored by continuations alone.
    let is_shared = |site: &&Site| site.active && site.layout.references.iter().all(|&n| n == 0);
    let mut kinds: Vec<&[Saved]> =
        sites.iter().filter(is_shared).map(|site| &site.layout.values[..]).collect();
    if !kinds.is_empty() {
        // All of them end in one place.
        kinds.push(&[]);
    }
    kinds.sort_by_cached_key(|values| (values.len(), values.iter().map(rank).collect::<Vec<_>>()));
    kinds.dedup();
    let size = sites.iter().filter(is_shared).map(|site| site.layout.size).max().unwrap_or(0);

    let (mut exits, mut numbers): (Vec<Exit>, HashMap<Vec<Saved>, usize>) = Default::default();
    for (n, &values) in kinds.iter().enumerate() {
        let mut tried = (0..n).rev().take(TRIED);
        let parent = tried.find(|&p| is_subset(kinds[p], values)).or((n > 0).then_some(0));
        let mut all = parent.map(|p| exits[p].layout.values.clone()).unwrap_or_default();
        let inherited = all.len();
        let stored = |v: &Saved| {
            parent.is_some_and(|p| kinds[p].binary_search_by_key(&rank(v), rank).is_ok())
        };
        all.extend(values.iter().filter(|v| !stored(v)));
        work::add(all.len());
        let layout = Layout { values: all, size, references: Default::default() };
        exits.push(Exit { parent, inherited, layout, in_place: false });
        numbers.insert(values.to_vec(), n);
    }
    for site in sites {
        site.exit = *numbers.entry(site.layout.values.clone()).or_insert_with(|| {
            let layout = site.layout.clone();
            let in_place = layout.values.iter().any(|v| v.1 != nullable(v.1));
            exits.push(Exit { parent: None, inherited: 0, layout, in_place });
            exits.len() - 1
        });
        site.layout.clone_from(&exits[site.exit].layout);
    }
    exits
}

/// Both in the order of `rank`.
fn is_subset(less: &[Saved], more: &[Saved]) -> bool {
    work::add(more.len());
    let mut rest = more.iter();
    less.len() < more.len() && less.iter().all(|v| rest.any(|w| w == v))
}
