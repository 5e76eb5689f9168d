//! The units of debugging information, opened when they are needed, and their entries.

use super::budget::{Budget, Stop};
use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebugInfoOffset,
    DebugLineOffset, DebuggingInformationEntry, EndianSlice, LittleEndian, Section, UnitHeader,
    UnitOffset, constants as dw,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

pub type Slice<'m> = EndianSlice<'m, LittleEndian>;
pub type Attr<'m> = AttributeValue<Slice<'m>>;
pub type Die<'m> = DebuggingInformationEntry<Slice<'m>>;

/// Units that are looked at.
const UNITS: usize = 1 << 20;
/// Bytes of a unit's table of abbreviations.
const TABLE: usize = 4 << 20;
/// Bytes of a name.
const NAME: usize = 4096;
/// How often an entry may lead to another.
const HOPS: usize = 4;

/// All units of a module.
pub struct Units<'m> {
    pub dwarf: gimli::Dwarf<Slice<'m>>,
    pub budget: Budget,
    abbreviations: &'m [u8],
    /// In order of their offsets.
    headers: Vec<UnitHeader<Slice<'m>>>,
    /// Where tables of abbreviations begin, ascending: one ends where the next begins, so that all are read in one go.
    tables: Vec<usize>,
    /// The table that was read last.
    last: RefCell<Option<(usize, Arc<Abbreviations>)>>,
    kept: RefCell<HashMap<usize, Rc<Unit<'m>>>>,
}

/// A unit that was opened.
pub struct Unit<'m> {
    pub unit: gimli::Unit<Slice<'m>>,
    pub lines: Option<DebugLineOffset>,
    pub bounds: Bounds<'m>,
    /// Whether its language writes `struct` before the name of one.
    pub is_c: bool,
}

/// What an entry says of the code that it is about.
#[derive(Clone, Copy, Default)]
pub struct Bounds<'m> {
    low: Option<Attr<'m>>,
    high: Option<Attr<'m>>,
    ranges: Option<Attr<'m>>,
}

impl<'m> Bounds<'m> {
    pub fn of(die: &Die<'m>) -> Bounds<'m> {
        let value = |name| die.attr_value(name);
        Bounds {
            low: value(dw::DW_AT_low_pc),
            high: value(dw::DW_AT_high_pc),
            ranges: value(dw::DW_AT_ranges),
        }
    }

    pub fn are_said(&self) -> bool {
        self.ranges.is_some() || self.high.is_some()
    }
}

impl<'m> Units<'m> {
    pub fn of(sections: &HashMap<&'m str, &'m [u8]>) -> Units<'m> {
        let section = |name: &str| sections.get(name).copied().unwrap_or_default();
        let load = |id: gimli::SectionId| {
            Ok::<_, std::convert::Infallible>(EndianSlice::new(section(id.name()), LittleEndian))
        };
        let Ok(dwarf) = gimli::Dwarf::load(load);
        let budget = Budget::new();
        let mut headers = vec![];
        let mut all = dwarf.units();
        while headers.len() < UNITS && budget.spend(1).is_ok() {
            match budget.note(all.next().map_err(Stop::from)) {
                Some(Some(header)) => headers.push(header),
                _ => break,
            }
        }
        let mut tables: Vec<usize> = headers.iter().map(|h| h.debug_abbrev_offset().0).collect();
        tables.sort_unstable();
        tables.dedup();
        let abbreviations = section(".debug_abbrev");
        let (last, kept) = Default::default();
        Units { dwarf, budget, abbreviations, headers, tables, last, kept }
    }

    pub fn count(&self) -> usize {
        self.headers.len()
    }

    /// Opens a unit, for a look.
    pub fn open(&self, at: usize) -> Result<Rc<Unit<'m>>, Stop> {
        if let Some(unit) = self.kept.borrow().get(&at) {
            return Ok(unit.clone());
        }
        let header = *self.headers.get(at).ok_or(Stop::Damaged)?;
        let abbreviations = self.table(header.debug_abbrev_offset().0)?;
        self.read(header, abbreviations).map(Rc::new)
    }

    /// Opens a unit of which more will be wanted.
    pub fn keep(&self, at: usize) -> Result<Rc<Unit<'m>>, Stop> {
        let unit = self.open(at)?;
        if !self.kept.borrow().contains_key(&at) {
            let start = unit.unit.header.debug_abbrev_offset().0;
            self.budget.spend(self.table_bytes(start)?.len().saturating_mul(32))?;
            self.kept.borrow_mut().insert(at, unit.clone());
        }
        Ok(unit)
    }

    fn table_bytes(&self, start: usize) -> Result<&'m [u8], Stop> {
        let next = self.tables.get(self.tables.partition_point(|t| *t <= start));
        let end = next.copied().unwrap_or(usize::MAX).min(self.abbreviations.len());
        let bytes = self.abbreviations.get(start..end).ok_or(Stop::Damaged)?;
        if bytes.len() > TABLE { Err(Stop::Spent) } else { Ok(bytes) }
    }

    fn table(&self, start: usize) -> Result<Arc<Abbreviations>, Stop> {
        if let Some((_, table)) = self.last.borrow().as_ref().filter(|(at, _)| *at == start) {
            return Ok(table.clone());
        }
        let bytes = self.table_bytes(start)?;
        self.budget.spend(bytes.len().saturating_mul(4))?;
        let table = DebugAbbrev::new(bytes, LittleEndian).abbreviations(DebugAbbrevOffset(0))?;
        let table = Arc::new(table);
        *self.last.borrow_mut() = Some((start, table.clone()));
        Ok(table)
    }

    /// As gimli does it, but for the table of lines, which may be long and not be needed.
    fn read(
        &self,
        header: UnitHeader<Slice<'m>>,
        abbreviations: Arc<Abbreviations>,
    ) -> Result<Unit<'m>, Stop> {
        use gimli::{DebugAddrBase, DebugLocListsBase, DebugRngListsBase, DebugStrOffsetsBase};
        let (encoding, file) = (header.encoding(), self.dwarf.file_type);
        let mut unit = gimli::Unit {
            abbreviations,
            name: None,
            comp_dir: None,
            low_pc: 0,
            str_offsets_base: DebugStrOffsetsBase::default_for_encoding_and_file(encoding, file),
            addr_base: DebugAddrBase(0),
            loclists_base: DebugLocListsBase::default_for_encoding_and_file(encoding, file),
            rnglists_base: DebugRngListsBase::default_for_encoding_and_file(encoding, file),
            line_program: None,
            dwo_id: None,
            header,
        };
        let root = self.entry_of(&unit, header.root_offset())?;
        let (mut lines, mut is_c) = (None, false);
        for attr in root.attrs() {
            match (attr.name(), attr.value()) {
                (dw::DW_AT_stmt_list, AttributeValue::DebugLineRef(at)) => lines = Some(at),
                (_, AttributeValue::DebugStrOffsetsBase(base)) => unit.str_offsets_base = base,
                (_, AttributeValue::DebugAddrBase(base)) => unit.addr_base = base,
                (_, AttributeValue::DebugLocListsBase(base)) => unit.loclists_base = base,
                (_, AttributeValue::DebugRngListsBase(base)) => unit.rnglists_base = base,
                (_, AttributeValue::Language(language)) => {
                    let c = [dw::DW_LANG_C, dw::DW_LANG_C89, dw::DW_LANG_C99, dw::DW_LANG_C11];
                    is_c = c.contains(&language) || language == dw::DW_LANG_C17;
                }
                _ => {}
            }
        }
        let bounds = Bounds::of(&root);
        if let Some(low) = bounds.low {
            unit.low_pc = self.dwarf.attr_address(&unit, low)?.unwrap_or(0);
        }
        Ok(Unit { unit, lines, bounds, is_c })
    }

    /// Gives each range of code that an entry is about.
    pub fn each_range(
        &self,
        unit: &Unit<'m>,
        bounds: &Bounds<'m>,
        mut each: impl FnMut(u64, u64),
    ) -> Result<(), Stop> {
        let unit = &unit.unit;
        self.budget.spend(1)?;
        if let Some(ranges) = bounds.ranges {
            let Some(mut all) = self.dwarf.attr_ranges(unit, ranges)? else { return Ok(()) };
            while let Some(raw) = all.next_raw()? {
                self.budget.spend(1)?;
                if let Some(range) = all.convert_raw(raw)? {
                    each(range.begin, range.end);
                }
            }
            return Ok(());
        }
        let (Some(low), Some(high)) = (bounds.low, bounds.high) else { return Ok(()) };
        let Some(low) = self.dwarf.attr_address(unit, low)? else { return Ok(()) };
        let end = match high.udata_value() {
            Some(size) => low.checked_add(size),
            None => self.dwarf.attr_address(unit, high)?,
        };
        if let Some(end) = end.filter(|_| !unit.header.is_tombstone_address(low)) {
            each(low, end);
        }
        Ok(())
    }

    /// An entry of a unit.
    pub fn entry(&self, unit: &Unit<'m>, at: UnitOffset) -> Result<Die<'m>, Stop> {
        self.entry_of(&unit.unit, at)
    }

    fn entry_of(&self, unit: &gimli::Unit<Slice<'m>>, at: UnitOffset) -> Result<Die<'m>, Stop> {
        let mut die = Die::null();
        let there = unit.header.entries_raw(&unit.abbreviations, Some(at))?.read_entry(&mut die)?;
        self.budget.spend(1 + die.attrs().len())?;
        if there { Ok(die) } else { Err(Stop::Damaged) }
    }

    /// The entry that an attribute leads to.
    pub fn follow(
        &self,
        unit: &Rc<Unit<'m>>,
        to: Attr<'m>,
    ) -> Result<Option<(Rc<Unit<'m>>, Die<'m>)>, Stop> {
        match to {
            AttributeValue::UnitRef(at) => Ok(Some((unit.clone(), self.entry(unit, at)?))),
            AttributeValue::DebugInfoRef(at) => {
                let (unit, at) = self.unit_at(at)?;
                let die = self.entry(&unit, at)?;
                Ok(Some((unit, die)))
            }
            _ => Ok(None),
        }
    }

    fn unit_at(&self, at: DebugInfoOffset) -> Result<(Rc<Unit<'m>>, UnitOffset), Stop> {
        let begins = |h: &UnitHeader<Slice<'m>>| h.debug_info_offset().map_or(0, |begin| begin.0);
        let after = self.headers.partition_point(|h| begins(h) <= at.0);
        let index = after.checked_sub(1).ok_or(Stop::Damaged)?;
        let unit = self.keep(index)?;
        let within = at.to_unit_offset(&unit.unit.header).ok_or(Stop::Damaged)?;
        Ok((unit, within))
    }

    /// An attribute of an entry, or of those that it was made of.
    pub fn inherited(
        &self,
        unit: &Rc<Unit<'m>>,
        die: &Die<'m>,
        names: &[gimli::DwAt],
    ) -> Result<Option<(Rc<Unit<'m>>, Attr<'m>)>, Stop> {
        let mut here = (unit.clone(), die.clone());
        for _ in 0..HOPS {
            let (unit, die) = &here;
            if let Some(value) = names.iter().find_map(|name| die.attr_value(*name)) {
                return Ok(Some((unit.clone(), value)));
            }
            let origin = die.attr_value(dw::DW_AT_abstract_origin);
            let Some(next) = origin.or_else(|| die.attr_value(dw::DW_AT_specification)) else {
                return Ok(None);
            };
            match self.follow(unit, next)? {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// A text, if it is not too long to be a name.
    pub fn text(&self, unit: &Unit<'m>, text: Attr<'m>) -> Result<String, Stop> {
        self.budget.spend(8)?;
        let within = |section: Slice<'m>, at: usize| {
            let rest = section.slice().get(at..).ok_or(Stop::Damaged)?;
            let rest = &rest[..rest.len().min(NAME)];
            let end = rest.iter().position(|byte| *byte == 0).ok_or(Stop::Damaged)?;
            Ok::<_, Stop>(rest[..end].to_vec())
        };
        let strings = |at: gimli::DebugStrOffset| within(*self.dwarf.debug_str.reader(), at.0);
        let bytes = match text {
            AttributeValue::String(text) => text.slice()[..text.slice().len().min(NAME)].to_vec(),
            AttributeValue::DebugStrRef(at) => strings(at)?,
            AttributeValue::DebugStrOffsetsIndex(index) => {
                strings(self.dwarf.string_offset(&unit.unit, index)?)?
            }
            AttributeValue::DebugLineStrRef(at) => {
                within(*self.dwarf.debug_line_str.reader(), at.0)?
            }
            _ => return Err(Stop::Damaged),
        };
        // It may be kept, and be part of other names: the budget bounds memory, too.
        self.budget.spend(bytes.len())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The name of an entry, or of those that it was made of.
    pub fn name(
        &self,
        unit: &Rc<Unit<'m>>,
        die: &Die<'m>,
        names: &[gimli::DwAt],
    ) -> Result<Option<String>, Stop> {
        let found = self.inherited(unit, die, names)?;
        found.map(|(unit, name)| self.text(&unit, name)).transpose()
    }
}
