//! What a module's debugging information (DWARF) says of places in its code: lines of the source, inlined functions, variables.
//!
//! ```text
//!   offset in the module ── minus the start of the code section's contents ──> address
//!     ──> units: those that have the address ──> scopes: function, inlined functions, variables
//!     ──> lines: file, line, column of the address       └─> types, location: the variable's value in a frame
//! ```
//!
//! The module may be a stranger's. Nothing of it is believed, what makes no sense is left out, and there is a
//! [budget] for all of it.

mod budget;
mod lines;
mod location;
mod scopes;
mod types;
mod units;

use super::{Dwarf, Line, Variable};
use budget::Stop;
use dormouse_state::Frame;
use dormouse_store::Checkpoint;
use dormouse_transform::OffsetMap;
use gimli::constants as dw;
use lines::{Lines, Position};
use location::{Bytes, Lack, NOT_UNDERSTOOD, OPTIMIZED_OUT, Ram, Within};
use scopes::{Declared, Function};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use types::{Type, Types};
use units::{Unit, Units};
use wasmparser::{Parser, Payload};

/// What a place in the code costs, and a variable of a frame: they stay in memory.
const PLACE_COST: usize = 100;
const VALUE_COST: usize = 40;

/// The source of a program, as far as its stack needs it.
pub(super) struct Source<'m> {
    checkpoint: &'m Checkpoint,
    units: Units<'m>,
    types: Types,
    ram: Ram<'m>,
    /// By offset in the module.
    found: HashMap<u32, Found<'m>>,
}

/// What the source says of a frame.
#[derive(Default)]
pub(super) struct Place {
    pub lines: Arc<[Line]>,
    pub variables: Vec<Variable>,
}

/// What the source says of a place in the code.
struct Found<'m> {
    lines: Arc<[Line]>,
    address: u64,
    unit: Rc<Unit<'m>>,
    function: Option<Function<'m>>,
    variables: Vec<Known<'m>>,
}

/// A variable whose type is known.
struct Known<'m> {
    name: Arc<str>,
    ty: Option<Rc<Type>>,
    declared: Declared<'m>,
    location: Option<units::Attr<'m>>,
    constant: Option<units::Attr<'m>>,
}

impl<'m> Source<'m> {
    /// Reads what there is about the places that a checkpoint's frames are at.
    pub fn of(checkpoint: &'m Checkpoint) -> Source<'m> {
        let (code, sections) = sections(&checkpoint.module);
        let (types, found) = Default::default();
        let (units, ram) = (Units::of(&sections), Ram::of(checkpoint));
        let mut source = Source { checkpoint, units, types, ram, found };
        if source.units.count() == 0 {
            return source;
        }
        // An import waits nowhere in the code.
        let offsets = checkpoint.state.frames.iter().map(|frame| frame.site.offset);
        let mut offsets: Vec<u32> = offsets.filter(|offset| *offset > 0).collect();
        offsets.sort_unstable();
        offsets.dedup();
        // What was translated has the addresses of the original.
        let map = OffsetMap::of(&checkpoint.module);
        let (code, original): (u32, &dyn Fn(u32) -> u32) = match &map {
            Some(map) => (map.code(), &|offset| map.original(offset)),
            None => (code, &|offset| offset),
        };
        let places = offsets
            .into_iter()
            .filter_map(|offset| Some((u64::from(original(offset).checked_sub(code)?), offset)));
        let mut places: Vec<(u64, u32)> = places.collect();
        places.sort_unstable();
        source.read(&places);
        source
    }

    /// What became of it.
    pub fn dwarf(&self) -> Dwarf {
        match self.units.count() {
            _ if self.units.budget.left_something_out() => Dwarf::Large,
            _ if self.units.budget.saw_damage() => Dwarf::Damaged,
            0 => Dwarf::None,
            _ => Dwarf::Read,
        }
    }

    /// What it says of a frame.
    pub fn place(&self, frame: &Frame, innermost: bool) -> Place {
        let Some(found) = self.found.get(&frame.site.offset) else { return Place::default() };
        let mut variables = vec![];
        for known in &found.variables {
            if self.units.budget.is_spent() {
                break;
            }
            let value = self.value(found, known, frame, innermost);
            let (value, missing) = match value {
                Ok(value) => (Some(value), None),
                Err(Lack::Reason(why)) => (None, Some(why)),
                Err(Lack::Stop(stop)) => {
                    self.units.budget.note::<()>(Err(stop));
                    (None, Some(NOT_UNDERSTOOD))
                }
            };
            let last = found.lines.len().saturating_sub(1);
            variables.push(Variable {
                name: known.name.clone(),
                ty: known.ty.as_ref().map_or("?".into(), |ty| ty.name.as_str().into()),
                parameter: known.declared.parameter,
                line: last.saturating_sub(known.declared.depth),
                value,
                missing,
            });
        }
        Place { lines: found.lines.clone(), variables }
    }

    /// Finds these places, ascending by address.
    fn read(&mut self, places: &[(u64, u32)]) {
        let addresses: Vec<u64> = places.iter().map(|place| place.0).collect();
        for at in 0..self.units.count() {
            let unit = self.units.open(at);
            let covered = unit.and_then(|unit| self.covered(&unit, &addresses));
            let inside = self.units.budget.note(covered).unwrap_or_default();
            let inside: Vec<(u64, u32)> = inside.iter().map(|at| places[*at]).collect();
            let inside: Vec<(u64, u32)> =
                inside.into_iter().filter(|place| !self.found.contains_key(&place.1)).collect();
            if !inside.is_empty() {
                let kept = self.units.keep(at);
                if let Some(unit) = self.units.budget.note(kept) {
                    self.read_unit(&unit, &inside);
                }
            }
            if self.units.budget.is_spent() || self.found.len() == places.len() {
                return;
            }
        }
    }

    /// Which of the addresses are in a unit.
    fn covered(&self, unit: &Unit<'m>, addresses: &[u64]) -> Result<Vec<usize>, Stop> {
        if !unit.bounds.are_said() {
            return Ok((0..addresses.len()).collect());
        }
        let mut inside = vec![];
        self.units.each_range(unit, &unit.bounds, |begin, end| {
            let from = addresses.partition_point(|a| *a < begin);
            inside.extend(from..addresses.partition_point(|a| *a < end).max(from));
        })?;
        self.units.budget.spend(inside.len())?;
        inside.sort_unstable();
        inside.dedup();
        Ok(inside)
    }

    fn read_unit(&mut self, unit: &Rc<Unit<'m>>, places: &[(u64, u32)]) {
        let budget = &self.units.budget;
        let addresses: Vec<u64> = places.iter().map(|place| place.0).collect();
        let lines = budget.note(Lines::of(&self.units, unit, &addresses)).flatten();
        let (functions, ended) = scopes::functions(&self.units, unit, &addresses);
        budget.note(ended);
        let mut lines = lines;
        for (&(address, offset), function) in places.iter().zip(functions) {
            let told = self.lines(unit, lines.as_mut(), address, function.as_ref());
            // Another unit may know the function.
            if told.is_empty() || self.units.budget.spend(PLACE_COST).is_err() {
                continue;
            }
            let declared = function.as_ref().map_or(&[][..], |f| &f.variables);
            let mut variables: Vec<Known<'m>> =
                declared.iter().filter_map(|declared| self.known(unit, declared)).collect();
            // Of functions that were inlined first.
            variables.sort_by_key(|known| std::cmp::Reverse(known.declared.depth));
            let (lines, unit) = (told.into(), unit.clone());
            self.found.insert(offset, Found { lines, address, unit, function, variables });
        }
    }

    /// Of inlined functions first, innermost first.
    fn lines(
        &self,
        unit: &Unit<'m>,
        mut lines: Option<&mut Lines<'m>>,
        address: u64,
        function: Option<&Function<'m>>,
    ) -> Vec<Line> {
        let mut place = lines.as_ref().and_then(|lines| lines.at(address));
        let Some(function) = function else {
            let Some(Position { file, line, column }) = place else { return vec![] };
            let file = lines.as_mut().and_then(|lines| lines.file(&self.units, unit, file));
            return vec![Line { function: None, file, line, column }];
        };
        let mut all = vec![];
        let mut add = |name: &Option<String>, place: Option<Position>| {
            let file = place.map(|place| place.file);
            let path = |file| lines.as_mut().and_then(|l| l.file(&self.units, unit, file));
            let (line, column) = place.map_or((None, None), |place| (place.line, place.column));
            all.push(Line { function: name.clone(), file: file.and_then(path), line, column });
        };
        for inlined in function.inlined.iter().rev() {
            add(&inlined.name, place);
            let column = inlined.column.filter(|column| *column > 0);
            let line = inlined.line;
            place = inlined.file.map(|file| Position { file, line, column });
        }
        add(&function.name, place);
        all
    }

    fn known(&self, unit: &Rc<Unit<'m>>, declared: &Declared<'m>) -> Option<Known<'m>> {
        let (units, die) = (&self.units, &declared.die);
        let name = units.budget.note(units.name(unit, die, &[dw::DW_AT_name])).flatten()?;
        let inherited = |name| units.budget.note(units.inherited(unit, die, &[name])).flatten();
        let ty = inherited(dw::DW_AT_type)
            .and_then(|(unit, ty)| units.budget.note(self.types.of(units, &unit, Some(ty))));
        let constant = inherited(dw::DW_AT_const_value).map(|found| found.1);
        let location = die.attr_value(dw::DW_AT_location);
        Some(Known { name: name.into(), ty, declared: declared.clone(), location, constant })
    }

    fn value(
        &self,
        found: &Found<'m>,
        known: &Known<'m>,
        frame: &Frame,
        innermost: bool,
    ) -> Result<String, Lack> {
        self.units.budget.spend(VALUE_COST)?;
        let ty = known.ty.as_ref().ok_or(Lack::Reason(NOT_UNDERSTOOD))?;
        let bytes = match (known.location, known.constant) {
            (Some(location), _) => {
                let base = found.function.as_ref().and_then(|function| function.base);
                let (units, unit, ram) = (&self.units, &*found.unit, &self.ram);
                let state = &self.checkpoint.state;
                let within = Within { units, unit, ram, state, frame, innermost, base };
                within.bytes(location, found.address, ty.size)?
            }
            (None, Some(constant)) => {
                constant_bytes(constant, ty.size).ok_or(Lack::Reason(NOT_UNDERSTOOD))?
            }
            (None, None) => return Err(Lack::Reason(OPTIMIZED_OUT)),
        };
        ty.value(&self.units.budget, &bytes, &self.ram).ok_or(Lack::Reason(location::NOT_KEPT))
    }
}

fn constant_bytes(constant: units::Attr<'_>, size: usize) -> Option<Bytes> {
    let bytes = match constant {
        gimli::AttributeValue::Block(block) => block.slice().to_vec(),
        gimli::AttributeValue::Udata(value) => value.to_le_bytes().to_vec(),
        value => value.sdata_value()?.to_le_bytes().to_vec(),
    };
    let bytes = bytes.get(..size)?.to_vec();
    Some(Bytes { known: vec![true; bytes.len()], bytes })
}

/// Where the contents of the code section begin, and the sections of debugging information.
fn sections(module: &[u8]) -> (u32, HashMap<&str, &[u8]>) {
    let (mut code, mut all) = (0, HashMap::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload {
            Ok(Payload::CodeSectionStart { range, .. }) => code = range.start as u32,
            Ok(Payload::CustomSection(c)) if c.name().starts_with(".debug_") => {
                all.insert(c.name(), c.data());
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    (code, all)
}
