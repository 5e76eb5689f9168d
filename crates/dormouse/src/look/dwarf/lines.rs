//! Which line of the source an address is of.

use super::budget::Stop;
use super::units::{Slice, Unit, Units};
use gimli::{ColumnType, IncompleteLineProgram, Section};
use std::collections::HashMap;

/// Bytes of a table's lists of directories and files.
const HEADER: u64 = 1 << 20;

/// A place in the source.
#[derive(Clone, Copy)]
pub struct Position {
    /// Which of the unit's files.
    pub file: u64,
    pub line: Option<u64>,
    pub column: Option<u64>,
}

/// The lines of a unit.
pub struct Lines<'m> {
    program: IncompleteLineProgram<Slice<'m>>,
    /// By address.
    found: HashMap<u64, Position>,
    files: HashMap<u64, Option<String>>,
}

impl<'m> Lines<'m> {
    /// The lines of these addresses, which are in ascending order.
    pub fn of(
        units: &Units<'m>,
        unit: &Unit<'m>,
        addresses: &[u64],
    ) -> Result<Option<Lines<'m>>, Stop> {
        let Some(offset) = unit.lines else { return Ok(None) };
        let table = units.dwarf.debug_line.reader().slice().get(offset.0..).ok_or(Stop::Damaged)?;
        let (length, header) = lengths(table).ok_or(Stop::Damaged)?;
        // What is read of files takes a hundred times as much memory.
        if header > HEADER {
            return Err(Stop::Spent);
        }
        let length = usize::try_from(length).map_err(|_| Stop::Damaged)?;
        units.budget.spend(length.min(table.len()))?;
        let size = unit.unit.header.address_size();
        let program = units.dwarf.debug_line.program(offset, size, None, None)?;
        let mut found = HashMap::new();
        let mut rows = program.clone().rows();
        let mut last: Option<(u64, Position)> = None;
        while let Some((_, row)) = rows.next_row()? {
            units.budget.spend(1)?;
            if let Some((begin, place)) = last {
                let from = addresses.partition_point(|a| *a < begin);
                let to = addresses.partition_point(|a| *a < row.address());
                let within = addresses.get(from..to).unwrap_or_default();
                units.budget.spend(within.len())?;
                for &address in within {
                    found.entry(address).or_insert(place);
                }
            }
            let column = match row.column() {
                ColumnType::LeftEdge => None,
                ColumnType::Column(column) => Some(column.get()),
            };
            let line = row.line().map(|line| line.get());
            let place = Position { file: row.file_index(), line, column };
            last = (!row.end_sequence()).then_some((row.address(), place));
        }
        Ok(Some(Lines { program, found, files: HashMap::new() }))
    }

    /// The place of an address.
    pub fn at(&self, address: u64) -> Option<Position> {
        self.found.get(&address).copied()
    }

    /// The path of a file, as the compiler was told.
    pub fn file(&mut self, units: &Units<'m>, unit: &Unit<'m>, file: u64) -> Option<String> {
        if let Some(known) = self.files.get(&file) {
            return known.clone();
        }
        let path = units.budget.note(self.path(units, unit, file)).flatten();
        self.files.insert(file, path.clone());
        path
    }

    fn path(&self, units: &Units<'m>, unit: &Unit<'m>, file: u64) -> Result<Option<String>, Stop> {
        let header = self.program.header();
        let Some(entry) = header.file(file) else { return Ok(None) };
        let name = units.text(unit, entry.path_name())?;
        // The directory of number 0 is the one that the compiler was run in.
        if name.starts_with('/') || entry.directory_index() == 0 {
            return Ok(Some(name));
        }
        let Some(dir) = entry.directory(header) else { return Ok(Some(name)) };
        let dir = units.text(unit, dir)?;
        Ok(Some(format!("{}/{name}", dir.trim_end_matches('/'))))
    }
}

/// How long a table and its header are.
fn lengths(table: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize, bytes: usize| {
        let field = table.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    };
    let (length, at, bytes) = match number(0, 4)? {
        0xffff_ffff => (number(4, 8)?, 12, 8),
        length => (length, 4, 4),
    };
    let version = number(at, 2)?;
    let sizes = if version >= 5 { 2 } else { 0 };
    Some((length, number(at + 2 + sizes, bytes)?))
}
