//! What a frame holds, and where: the same in the main module and in every continuation.
//!
//! ```text
//!   sp before ->  | a value | a value | ... | nothing | slot: u32 |  <- sp after
//! ```
//!
//! Values are raw and little-endian; their order is such that code can be shared ([`exits`]). References go, in the same order, to tables beside the memory, one for each
//! [`Hierarchy`]. `slot` numbers the safepoint; functions own consecutive slots: entry poll first, then loops and calls in code order.

use crate::body::Body;
use crate::exits::{self, Exit};
use crate::limits::{self, Excess};
use crate::liveness::live_at;
use crate::module::Module;
use crate::reach::Reach;
use crate::{Error, Result, work};
use std::collections::HashMap;
use wasmparser::{AbstractHeapType, BlockType, HeapType, Operator, RefType, ValType};

/// Where a saved value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Operand stack position, 0 at the bottom.
    Operand(u32),
    /// Local index; parameters are the first.
    Local(u32),
}

/// One value of a frame.
pub type Saved = (Source, ValType);

/// What kind of safepoint it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Before the first instruction (or an imported function, before it is called).
    Entry,
    /// At a loop's header.
    Loop,
    /// After a call that unwound.
    Call,
}

/// References that one table can hold. Order of the groups in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hierarchy {
    /// References to functions.
    Func,
    /// References to objects of the host.
    Extern,
    /// References to caught exceptions.
    Exn,
}

impl Hierarchy {
    /// All there are.
    pub const ALL: [Hierarchy; 3] = [Hierarchy::Func, Hierarchy::Extern, Hierarchy::Exn];

    /// Where references of this type belong; `None` for numbers, and for references that cannot
    /// be saved.
    pub fn of(t: ValType) -> Option<Hierarchy> {
        let ValType::Ref(r) = t else { return None };
        match r.heap_type() {
            HeapType::Abstract { shared: false, ty } => match ty {
                AbstractHeapType::Func | AbstractHeapType::NoFunc => Some(Hierarchy::Func),
                AbstractHeapType::Extern | AbstractHeapType::NoExtern => Some(Hierarchy::Extern),
                AbstractHeapType::Exn | AbstractHeapType::NoExn => Some(Hierarchy::Exn),
                _ => None,
            },
            // Every type that a module can define and is not refused is one of functions.
            HeapType::Concrete(_) => Some(Hierarchy::Func),
            _ => None,
        }
    }

    /// The type of all of them, and of its table's entries.
    pub(crate) fn top(self) -> RefType {
        match self {
            Hierarchy::Func => RefType::FUNCREF,
            Hierarchy::Extern => RefType::EXTERNREF,
            Hierarchy::Exn => RefType::EXNREF,
        }
    }

    /// `funcref`, `externref`, `exnref`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Hierarchy::Func => "funcref",
            Hierarchy::Extern => "externref",
            Hierarchy::Exn => "exnref",
        }
    }
}

/// A frame's values in saved order.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The values, from the frame's beginning.
    pub values: Vec<Saved>,
    /// Bytes in the frames memory, slot number included.
    pub size: u32,
    /// Entries in the table of each hierarchy.
    pub references: [u32; Hierarchy::ALL.len()],
}

/// One safepoint of a function.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its number in this module.
    pub slot: u32,
    /// What kind it is.
    pub kind: Kind,
    /// Whether the program stops there. Else there is a frame only if an older version of the transform, or one that polls every
    /// loop, stopped there.
    pub active: bool,
    /// Byte offset in the original module: the instruction, or the body for an entry.
    pub offset: u32,
    /// Index of the instruction in the body.
    pub(crate) op: usize,
    /// Types on the operand stack that are saved (beneath a call's arguments).
    pub operands: Vec<ValType>,
    /// Operands beneath this height belong to enclosing constructs.
    pub(crate) base: u32,
    /// Its frame.
    pub layout: Layout,
    /// The exit that stores it.
    pub(crate) exit: usize,
}

impl Site {
    /// One without operands. What its exit is, is known when all are there.
    pub(crate) fn new(slot: u32, kind: Kind, active: bool, offset: u32, layout: Layout) -> Site {
        Site { slot, kind, active, offset, layout, op: 0, operands: vec![], base: 0, exit: 0 }
    }

    /// The operands of the innermost construct round it.
    pub(crate) fn own_operands(&self) -> &[ValType] {
        self.operands.get(self.base as usize..).unwrap_or_default()
    }
}

/// The safepoints of a function, and what must be in locals before a construct is entered: code
/// inside cannot reach the operands beneath it.
#[derive(Default)]
pub(crate) struct Sites {
    /// In the order of slots and of code, without those in dead code, which are never reached.
    pub list: Vec<Site>,
    /// The code that stores their frames.
    pub exits: Vec<Exit>,
    /// What happens at the entry.
    pub polls_entry: bool,
    pub watches_entry: bool,
    /// For constructs that hold safepoints: height of the enclosing construct's operands, and the
    /// types of those above.
    pub entered: HashMap<usize, (u32, Vec<ValType>)>,
}

impl Sites {
    /// With the exits, once the list is complete.
    pub fn sharing(mut self) -> Sites {
        self.exits = exits::share(&mut self.list);
        self
    }

    /// The poll at the function's entry.
    pub fn entry(&self) -> Option<&Site> {
        self.list.first().filter(|s| s.kind == Kind::Entry)
    }

    /// The same, if the program stops there.
    pub fn active_entry(&self) -> Option<&Site> {
        self.entry().filter(|site| site.active)
    }

    /// The loop or call at an instruction.
    pub fn at(&self, op: usize) -> Option<&Site> {
        let inside = &self.list[usize::from(self.entry().is_some())..];
        inside.binary_search_by_key(&op, |s| s.op).ok().map(|n| &inside[n])
    }

    /// The same, if the program stops there.
    pub fn active_at(&self, op: usize) -> Option<&Site> {
        self.at(op).filter(|site| site.active)
    }

    /// Whether the loop at this instruction is polled where it goes round again, not at its header: if there are loops in it, but
    /// nothing that can be stopped and no tail call (what calls the function again has to come after a poll), and it goes round from
    /// one place.
    pub fn is_polled_last(&self, body: &Body<'_>, op: usize) -> bool {
        let end = body.ends[&op];
        let inside = &self.list[self.list.partition_point(|s| s.op <= op)..];
        let inside = || inside.iter().take_while(|s| s.op < end);
        let from_one = match body.back.get(&op).map(Vec::as_slice) {
            Some([from]) => !matches!(body.ops[*from], Operator::BrTable { .. }),
            _ => false,
        };
        let is_tail_call = |op: &Operator<'_>| {
            matches!(
                op,
                Operator::ReturnCall { .. }
                    | Operator::ReturnCallIndirect { .. }
                    | Operator::ReturnCallRef { .. }
            )
        };
        from_one
            && inside().any(|s| s.kind == Kind::Loop)
            && !inside().any(|s| s.active)
            && !body.caught.contains(&op)
            && !body.ops[op..end].iter().any(is_tail_call)
    }

    /// How many values a continuation may save where the function does not: at the headers of loops in each other, and at an idle site
    /// of its own.
    pub fn saved_beside(&self, body: &Body<'_>) -> usize {
        let (mut open, mut round, mut most) = (vec![], 0, 0);
        for site in self.list.iter().filter(|s| s.kind == Kind::Loop) {
            while let Some((_, values)) = open.pop_if(|(end, _)| *end < site.op) {
                round -= values;
            }
            let values = site.layout.values.len();
            open.push((body.ends[&site.op], values));
            round += values;
            most = most.max(round);
        }
        let idle = self.list.iter().filter(|s| !s.active);
        most + idle.map(|s| s.layout.values.len()).max().unwrap_or(0)
    }

    /// The safepoint with this number.
    pub fn numbered(&self, slot: u32) -> Result<&Site> {
        let found = self.list.binary_search_by_key(&slot, |s| s.slot);
        Ok(&self.list[found.map_err(|_| Error::Frames("a safepoint in dead code"))?])
    }

    /// The safepoint at an offset in the original module. That of the entry is the body's, which
    /// comes before all instructions.
    pub fn at_offset(&self, offset: u32) -> Option<&Site> {
        self.list.binary_search_by_key(&offset, |s| s.offset).ok().map(|n| &self.list[n])
    }
}

/// Where a value comes in a frame that shares nothing.
pub(crate) fn rank(value: &Saved) -> (Option<usize>, Source) {
    (CLASSES.iter().position(|&c| c == value.1), value.0)
}

/// Types of numbers, in the order of frames that share nothing.
const CLASSES: [ValType; 5] =
    [ValType::I32, ValType::I64, ValType::F32, ValType::F64, ValType::V128];

/// Bytes of a value in the frames memory, where references are not.
pub(crate) fn width(ty: ValType) -> u32 {
    match ty {
        ValType::I32 | ValType::F32 => 4,
        ValType::I64 | ValType::F64 => 8,
        ValType::V128 => 16,
        ValType::Ref(_) => 0,
    }
}

impl Layout {
    fn new(operands: &[ValType], locals: impl Iterator<Item = (u32, ValType)>) -> Option<Layout> {
        let mut all: Vec<Saved> =
            operands.iter().enumerate().map(|(i, &t)| (Source::Operand(i as u32), t)).collect();
        all.extend(locals.map(|(i, t)| (Source::Local(i), t)));
        let mut values = Vec::with_capacity(all.len());
        let mut size = 4;
        for ty in CLASSES {
            for v in all.iter().filter(|v| v.1 == ty) {
                values.push(*v);
                size += width(ty);
            }
        }
        let references = Hierarchy::ALL.map(|h| {
            let before = values.len();
            values.extend(all.iter().filter(|v| Hierarchy::of(v.1) == Some(h)).copied());
            (values.len() - before) as u32
        });
        (values.len() == all.len()).then_some(Layout { values, size, references })
    }

    /// The frame of a function that is to be called again: its parameters.
    pub(crate) fn of_params(params: &[ValType]) -> Option<Layout> {
        Layout::new(&[], params.iter().enumerate().map(|(i, &t)| (i as u32, t)))
    }
}

/// Every safepoint of a function.
pub(crate) fn sites(m: &Module, reach: &Reach, first_slot: u32, body: &Body<'_>) -> Result<Sites> {
    let func = body.func;
    let refuse = |offset: u32| {
        Error::unsupported("a reference of a kind that cannot be saved", offset as usize)
    };
    let (mut points, mut loops) = (Vec::new(), 0);
    for (i, op) in body.ops.iter().enumerate() {
        match op {
            Operator::Loop { .. } => {
                points.push((i, Kind::Loop, reach.is_polled(func, loops)));
                loops += 1;
            }
            op if reach.is_call_site(op) => points.push((i, Kind::Call, reach.is_checked(op))),
            _ => {}
        }
    }
    let stops: Vec<usize> = points.iter().filter(|p| p.2).map(|p| p.0).collect();
    let mut slot = first_slot;
    let mut sites = Sites::default();
    let (polled, watched) = (reach.entry_poll[func as usize], reach.watched[func as usize]);
    (sites.polls_entry, sites.watches_entry) = (polled, watched);
    let (kind, active) = (Kind::Entry, polled || watched);
    let offset = m.body(func).range().start as u32;
    match Layout::of_params(m.func_type(func).params()) {
        Some(layout) => sites.list.push(Site::new(slot, kind, active, offset, layout)),
        None if active => return Err(refuse(offset)),
        None => {}
    }
    slot += 1;
    if points.is_empty() {
        return Ok(sites.sharing());
    }
    let live = live_at(body, &points.iter().map(|p| p.0).collect::<Vec<_>>());
    let live = live.map_err(|excess| excess.of(m, func))?;
    let mut saved_values = 0;
    let mut v = m.validator(func).ok_or(Error::Frames("no code section"))?;
    let mut reader = m.body(func).get_binary_reader();
    v.read_locals(&mut reader).map_err(Error::invalid)?;
    let mut next = points.iter().peekable();
    for (i, op) in body.ops.iter().enumerate() {
        let here = next.next_if(|p| p.0 == i);
        let beneath = match op {
            Operator::Call { function_index } => m.func_type(*function_index).params().len(),
            Operator::CallIndirect { type_index, .. } => {
                m.types[*type_index as usize].params().len() + 1
            }
            Operator::CallRef { type_index } => m.types[*type_index as usize].params().len() + 1,
            // The condition is gone when the branch is entered.
            Operator::If { .. } => 1,
            // A loop's parameters are part of its frame.
            _ => 0,
        };
        let holds_sites = body.ends.get(&i).is_some_and(|&end| {
            !matches!(op, Operator::Else)
                && stops.partition_point(|&p| p < i) != stops.partition_point(|&p| p < end)
        });
        let (mut operands, mut base) = (Vec::new(), 0);
        if (here.is_some() || holds_sites) && !body.dead[i] {
            let height = v.operand_stack_height() as usize;
            base = v.get_control_frame(0).map_or(0, |f| f.height as u32);
            // A frame holds them all; a construct needs those that the ones round it have not put
            // into locals yet.
            let from = if here.is_some() { 0 } else { base as usize };
            let saved = height.saturating_sub(beneath);
            operands.reserve(saved.saturating_sub(from));
            for depth in (beneath..height - from.min(height)).rev() {
                let t = v.get_operand_type(depth).flatten();
                operands.push(m.declared(t.ok_or(Error::Frames("untyped operand"))?));
            }
            let beneath_params = if let Operator::Loop { blockty } = op {
                // At the header they have the types the loop declares, whatever came first.
                let params = block_params(m, *blockty);
                operands.truncate(operands.len() - params.len());
                operands.extend(params);
                Some((saved - params.len()) as u32)
            } else {
                None
            };
            work::add(operands.len());
            if holds_sites && saved > base as usize {
                let above = &operands[base as usize - from..];
                if above.iter().any(|&t| !storable(t)) {
                    return Err(refuse(body.offsets[i]));
                }
                sites.entered.insert(i, (base, above.to_vec()));
            }
            base = beneath_params.unwrap_or(base);
        }
        v.op(body.offsets[i] as usize, op).map_err(Error::invalid)?;
        if let Some(&(_, kind, active)) = here {
            if let Some(live) = live.get(&i) {
                saved_values += operands.len() + live.len();
                if saved_values > limits::SAVED {
                    return Err(Excess::Code.of(m, func));
                }
                work::add(operands.len() + live.len());
                let locals = live.iter().map(|&l| (l, body.locals[l as usize]));
                let offset = body.offsets[i];
                let layout = Layout::new(&operands, locals).ok_or_else(|| refuse(offset))?;
                let site = Site::new(slot, kind, active, offset, layout);
                sites.list.push(Site { op: i, operands, base, ..site });
            }
            slot += 1;
        }
    }
    Ok(sites.sharing())
}

/// The type of a local that can hold such a value, or none yet.
pub(crate) fn nullable(t: ValType) -> ValType {
    match t {
        ValType::Ref(r) => ValType::Ref(r.nullable()),
        t => t,
    }
}

/// The type of which such a value is returned by a continuation: callers know less about references
/// than the function that is called in the end (a subtype, or reached by tail calls).
pub(crate) fn erased(t: ValType) -> ValType {
    Hierarchy::of(t).map_or(t, |h| ValType::Ref(h.top()))
}

/// Values of this type can be put into a frame.
fn storable(t: ValType) -> bool {
    !matches!(t, ValType::Ref(_)) || Hierarchy::of(t).is_some()
}

pub(crate) fn block_params(m: &Module, t: BlockType) -> &[ValType] {
    match t {
        BlockType::FuncType(i) => m.types[i as usize].params(),
        _ => &[],
    }
}

pub(crate) fn block_results(m: &Module, t: BlockType) -> Vec<ValType> {
    match t {
        BlockType::Empty => vec![],
        BlockType::Type(t) => vec![t],
        BlockType::FuncType(i) => m.types[i as usize].results().to_vec(),
    }
}
