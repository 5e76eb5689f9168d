//! Which function an address is in, which were inlined there, and which variables they have.
//!
//! ```text
//!   subprogram step  0x40..0x90             address 0x50:  function step
//!     variable n                                             n, of step
//!     inlined_subroutine relax  0x4c..0x60                   inlined: relax, called at line 52
//!       formal_parameter i                                   i, of relax
//!     lexical_block  0x70..0x80                              (not this one)
//! ```

use super::budget::Stop;
use super::units::{Bounds, Die, Slice, Unit, Units};
use gimli::{AttributeValue, Expression, constants as dw};
use std::rc::Rc;

/// Variables of a place in the code that are looked at.
const VARIABLES: usize = 500;
/// Functions that are inlined into each other.
const INLINED: usize = 200;

/// The function that an address is in.
#[derive(Clone)]
pub struct Function<'m> {
    pub name: Option<String>,
    /// What its frame's base is.
    pub base: Option<Expression<Slice<'m>>>,
    /// Outermost first.
    pub inlined: Vec<Inlined>,
    pub variables: Vec<Declared<'m>>,
}

/// A function that was inlined, and where it was called.
#[derive(Clone)]
pub struct Inlined {
    pub name: Option<String>,
    pub file: Option<u64>,
    pub line: Option<u64>,
    pub column: Option<u64>,
}

/// A variable or parameter.
#[derive(Clone)]
pub struct Declared<'m> {
    /// How many of the inlined functions it is in.
    pub depth: usize,
    pub parameter: bool,
    pub die: Die<'m>,
}

/// An entry that is being read, and the addresses that are in it.
struct Scope {
    depth: isize,
    addresses: Vec<usize>,
    /// How many inlined functions there are around it.
    inlined: usize,
}

/// The functions of these addresses, which are in ascending order. What was found before a stop is given, and the stop.
pub fn functions<'m>(
    units: &Units<'m>,
    unit: &Rc<Unit<'m>>,
    addresses: &[u64],
) -> (Vec<Option<Function<'m>>>, Result<(), Stop>) {
    let mut found = vec![None; addresses.len()];
    let ended = Walk { units, unit, addresses, found: &mut found, scopes: vec![] }.walk();
    (found, ended)
}

struct Walk<'a, 'm> {
    units: &'a Units<'m>,
    unit: &'a Rc<Unit<'m>>,
    addresses: &'a [u64],
    found: &'a mut Vec<Option<Function<'m>>>,
    scopes: Vec<Scope>,
}

impl<'m> Walk<'_, 'm> {
    fn walk(&mut self) -> Result<(), Stop> {
        let unit = &self.unit.unit;
        let mut entries = unit.header.entries_raw(&unit.abbreviations, None)?;
        let mut die = Die::null();
        while !entries.is_empty() {
            let depth = entries.next_depth();
            while self.scopes.last().is_some_and(|scope| scope.depth >= depth) {
                self.scopes.pop();
            }
            // All are found, and what is in them was read.
            if self.scopes.len() <= 1 && self.found.iter().all(Option::is_some) {
                return Ok(());
            }
            let there = entries.read_entry(&mut die)?;
            self.units.budget.spend(1 + die.attrs().len())?;
            if !there {
                continue;
            }
            let scope = match die.tag() {
                dw::DW_TAG_subprogram => self.function(&die)?,
                dw::DW_TAG_inlined_subroutine => self.inlined(&die)?,
                dw::DW_TAG_lexical_block | dw::DW_TAG_try_block | dw::DW_TAG_catch_block => {
                    (self.within(&die)?, self.outer().1)
                }
                dw::DW_TAG_variable => {
                    self.declared(&die, false)?;
                    Default::default()
                }
                dw::DW_TAG_formal_parameter => {
                    self.declared(&die, true)?;
                    Default::default()
                }
                _ => Default::default(),
            };
            if die.has_children() {
                let (addresses, inlined) = scope;
                self.scopes.push(Scope { depth, addresses, inlined });
            }
        }
        Ok(())
    }

    /// The addresses in the entry around, and how many inlined functions are there.
    fn outer(&self) -> (&[usize], usize) {
        self.scopes.last().map_or((&[], 0), |scope| (&scope.addresses, scope.inlined))
    }

    /// Those of the addresses around that are in this entry.
    fn within(&self, die: &Die<'m>) -> Result<Vec<usize>, Stop> {
        let outer = self.outer().0;
        let mut inside = vec![];
        if outer.is_empty() {
            return Ok(inside);
        }
        let mut met = 0;
        self.units.each_range(self.unit, &Bounds::of(die), |begin, end| {
            let from = outer.partition_point(|at| self.addresses[*at] < begin);
            let to = outer.partition_point(|at| self.addresses[*at] < end);
            inside.extend(outer.get(from..to).unwrap_or_default());
            met += to.saturating_sub(from);
        })?;
        self.units.budget.spend(met)?;
        inside.sort_unstable();
        inside.dedup();
        Ok(inside)
    }

    fn function(&mut self, die: &Die<'m>) -> Result<(Vec<usize>, usize), Stop> {
        let mut inside = vec![];
        let (addresses, found) = (self.addresses, &self.found);
        self.units.each_range(self.unit, &Bounds::of(die), |begin, end| {
            let from = addresses.partition_point(|a| *a < begin);
            let to = addresses.partition_point(|a| *a < end);
            // Another function has those that were found already.
            inside.extend((from..to).filter(|at| found[*at].is_none()));
        })?;
        if inside.is_empty() {
            return Ok((inside, 0));
        }
        inside.sort_unstable();
        inside.dedup();
        self.units.budget.spend(inside.len())?;
        let base = match die.attr_value(dw::DW_AT_frame_base) {
            Some(AttributeValue::Exprloc(base)) => Some(base),
            _ => None,
        };
        let name = self.name(die);
        let function = Function { name, base, inlined: vec![], variables: vec![] };
        for &at in &inside {
            self.found[at] = Some(function.clone());
        }
        Ok((inside, 0))
    }

    fn inlined(&mut self, die: &Die<'m>) -> Result<(Vec<usize>, usize), Stop> {
        let inside = self.within(die)?;
        let depth = self.outer().1;
        if inside.is_empty() || depth == INLINED {
            return Ok((vec![], depth));
        }
        let number = |name| die.attr(name).and_then(|attr| attr.udata_value());
        let file = match die.attr_value(dw::DW_AT_call_file) {
            Some(AttributeValue::FileIndex(file)) => Some(file),
            other => other.and_then(|file| file.udata_value()),
        };
        let call = Inlined {
            name: self.name(die),
            file,
            line: number(dw::DW_AT_call_line),
            column: number(dw::DW_AT_call_column),
        };
        for &at in &inside {
            self.units.budget.spend(8)?;
            if let Some(function) = &mut self.found[at] {
                // What overlaps another that was inlined at the same depth is left out.
                function.inlined.truncate(depth);
                function.inlined.push(call.clone());
            }
        }
        Ok((inside, depth + 1))
    }

    fn declared(&mut self, die: &Die<'m>, parameter: bool) -> Result<(), Stop> {
        let Some(scope) = self.scopes.last() else { return Ok(()) };
        for &at in &scope.addresses {
            self.units.budget.spend(1 + die.attrs().len())?;
            if let Some(function) = &mut self.found[at]
                && function.variables.len() < VARIABLES
            {
                let depth = scope.inlined;
                function.variables.push(Declared { depth, parameter, die: die.clone() });
            }
        }
        Ok(())
    }

    /// As it is mangled, which says of which module or class it is.
    fn name(&self, die: &Die<'m>) -> Option<String> {
        let mangled = [dw::DW_AT_linkage_name, dw::DW_AT_MIPS_linkage_name];
        let name = |names: &[gimli::DwAt]| {
            self.units.budget.note(self.units.name(self.unit, die, names)).flatten()
        };
        let name = name(&mangled).or_else(|| name(&[dw::DW_AT_name]))?;
        Some(crate::look::demangled(&name).into_owned())
    }
}
