//! Where a variable lies, and its bytes.
//!
//! ```text
//!   DW_OP_WASM_location local 3, DW_OP_stack_value     the value is in local 3
//!   DW_OP_fbreg 12                                     in memory, 12 bytes after the frame's base, which is in a local
//!   DW_OP_addr 0x1040                                  in memory
//!   .. DW_OP_piece 4, .. DW_OP_piece 4                 in two places
//! ```

use super::budget::{Budget, Stop};
use super::units::{Attr, Slice, Unit, Units};
use dormouse_state::{Frame, State, Value};
use dormouse_store::{Checkpoint, CheckpointPages, PAGE_SIZE};
use gimli::{AttributeValue, Expression, Operation};
use std::cell::RefCell;

/// Bytes of a variable that are looked at.
pub const SEEN: usize = 256;
/// Steps of an expression.
const STEPS: usize = 100;
/// What it costs to look at another page.
const PAGE_COST: usize = 2000;

/// Why there is no value.
pub const NOT_KEPT: &str = "not kept";
pub const OPTIMIZED_OUT: &str = "optimized out";
pub const NOT_UNDERSTOOD: &str = "not understood";

/// The bytes of a variable, those that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    pub bytes: Vec<u8>,
    pub known: Vec<bool>,
}

impl Bytes {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.known.resize(self.bytes.len(), true);
    }

    /// Those of a part, if all are known.
    pub fn part(&self, at: usize, length: usize) -> Option<&[u8]> {
        let end = at.checked_add(length)?;
        let known = self.known.get(at..end)?.iter().all(|known| *known);
        self.bytes.get(at..end).filter(|_| known)
    }
}

/// The program's first memory.
pub struct Ram<'m> {
    pages: RefCell<Option<(CheckpointPages<'m>, Page)>>,
    bytes: u64,
}

struct Page {
    number: Option<u64>,
    bytes: Box<[u8; PAGE_SIZE]>,
}

impl<'m> Ram<'m> {
    pub fn of(checkpoint: &'m Checkpoint) -> Ram<'m> {
        let bytes = checkpoint.state.memories.iter().find(|m| m.index == 0);
        let bytes = bytes.map_or(0, |m| m.pages.saturating_mul(65536));
        let page = || Page { number: None, bytes: Box::new([0; PAGE_SIZE]) };
        let pages = checkpoint.pages(0).ok().map(|pages| (pages, page()));
        Ram { pages: RefCell::new(pages), bytes }
    }

    /// Fewer than were asked for at the end of the memory; none if they cannot be read.
    pub fn read(&self, budget: &Budget, address: u64, length: usize) -> Result<Vec<u8>, Stop> {
        let mut held = self.pages.borrow_mut();
        let Some((pages, page)) = held.as_mut() else { return Ok(vec![]) };
        let end = address.saturating_add(length as u64).min(self.bytes);
        let mut read = Vec::new();
        let mut at = address;
        while at < end {
            let number = at / PAGE_SIZE as u64;
            if page.number != Some(number) {
                budget.spend(PAGE_COST)?;
                page.number = None;
                if pages.page(number, &mut page.bytes).is_err() {
                    break;
                }
                page.number = Some(number);
            }
            let from = (at % PAGE_SIZE as u64) as usize;
            let count = (PAGE_SIZE - from).min((end - at) as usize);
            read.extend_from_slice(&page.bytes[from..from + count]);
            at += count as u64;
        }
        Ok(read)
    }
}

/// A frame, in which variables are looked for.
pub struct Within<'a, 'm> {
    pub units: &'a Units<'m>,
    pub unit: &'a Unit<'m>,
    pub ram: &'a Ram<'m>,
    pub state: &'a State,
    pub frame: &'a Frame,
    /// Whether it is the innermost: globals such as the stack pointer are as it left them.
    pub innermost: bool,
    pub base: Option<Expression<Slice<'m>>>,
}

/// Why nothing is found: a reason to tell, or a stop.
pub enum Lack {
    Reason(&'static str),
    Stop(Stop),
}

impl From<Stop> for Lack {
    fn from(stop: Stop) -> Lack {
        Lack::Stop(stop)
    }
}

impl From<gimli::Error> for Lack {
    fn from(_: gimli::Error) -> Lack {
        Lack::Stop(Stop::Damaged)
    }
}

/// Where something is.
enum Place {
    Memory(u64),
    Bits(u128),
    Data(Vec<u8>),
}

impl<'m> Within<'_, 'm> {
    /// The first bytes of a variable of this size, as an attribute says where it is.
    pub fn bytes(&self, location: Attr<'m>, address: u64, size: usize) -> Result<Bytes, Lack> {
        let expression = match location {
            AttributeValue::Exprloc(expression) => expression,
            lists => self.listed(lists, address)?,
        };
        let size = size.min(SEEN);
        let mut bytes = Bytes::default();
        self.evaluate(expression, 0, &mut bytes, size)?;
        if !bytes.known.contains(&true) && size > 0 {
            return Err(Lack::Reason(NOT_KEPT));
        }
        Ok(bytes)
    }

    /// The expression of a list that is for this address.
    fn listed(&self, lists: Attr<'m>, address: u64) -> Result<Expression<Slice<'m>>, Lack> {
        let (dwarf, unit) = (&self.units.dwarf, &self.unit.unit);
        let Some(mut all) = dwarf.attr_locations(unit, lists)? else {
            return Err(Lack::Reason(NOT_UNDERSTOOD));
        };
        while let Some(raw) = all.next_raw()? {
            self.units.budget.spend(1)?;
            if let Some(entry) = all.convert_raw(raw)?
                && (entry.range.begin..entry.range.end).contains(&address)
            {
                return Ok(entry.data);
            }
        }
        Err(Lack::Reason(OPTIMIZED_OUT))
    }

    fn evaluate(
        &self,
        expression: Expression<Slice<'m>>,
        depth: usize,
        into: &mut Bytes,
        size: usize,
    ) -> Result<(), Lack> {
        if expression.0.is_empty() {
            return Err(Lack::Reason(OPTIMIZED_OUT));
        }
        let mut operations = expression.operations(self.unit.unit.encoding());
        let mut stack: Vec<u128> = vec![];
        let mut is_value = false;
        let mut data = None;
        // Of a variable in pieces, one may be lost and the others not.
        let mut lost = None;
        let mut pieces = false;
        for _ in 0..STEPS {
            self.units.budget.spend(1)?;
            let Some(operation) = operations.next()? else {
                if pieces {
                    return Ok(());
                }
                if let Some(why) = lost {
                    return Err(Lack::Reason(why));
                }
                let place = self.place(&stack, is_value, data)?;
                return self.fetch(place, size, into);
            };
            let step = match operation {
                Operation::StackValue => {
                    is_value = true;
                    Ok(())
                }
                Operation::ImplicitValue { data: bytes } => {
                    data = Some(bytes.slice()[..bytes.slice().len().min(SEEN)].to_vec());
                    Ok(())
                }
                Operation::Piece { size_in_bits, bit_offset } => {
                    pieces = true;
                    let length = (size_in_bits / 8).min(SEEN as u64) as usize;
                    let here = into.bytes.len() + length;
                    let there = !stack.is_empty() || data.is_some();
                    if there && lost.is_none() && bit_offset.is_none_or(|bits| bits == 0) {
                        let place = self.place(&stack, is_value, data.take())?;
                        self.fetch(place, length, into)?;
                    }
                    into.bytes.resize(here, 0);
                    into.known.resize(here, false);
                    if here >= SEEN {
                        return Ok(());
                    }
                    stack.clear();
                    (is_value, lost) = (false, None);
                    Ok(())
                }
                other => self.step(other, &mut stack, depth),
            };
            match step {
                Err(Lack::Reason(why)) => {
                    lost = lost.or(Some(why));
                    // What is computed with it is lost as well.
                    stack.push(0);
                }
                other => other?,
            }
        }
        Err(Lack::Reason(NOT_UNDERSTOOD))
    }

    fn place(&self, stack: &[u128], is_value: bool, data: Option<Vec<u8>>) -> Result<Place, Lack> {
        match (data, stack.last()) {
            (Some(data), _) => Ok(Place::Data(data)),
            (None, Some(&bits)) if is_value => Ok(Place::Bits(bits)),
            (None, Some(&address)) if self.unit.unit.header.address_size() <= 4 => {
                Ok(Place::Memory(u64::from(address as u32)))
            }
            (None, Some(&address)) => Ok(Place::Memory(address as u64)),
            (None, None) => Err(Lack::Reason(OPTIMIZED_OUT)),
        }
    }

    fn fetch(&self, place: Place, size: usize, into: &mut Bytes) -> Result<(), Lack> {
        match place {
            Place::Memory(address) => {
                into.push(&self.ram.read(&self.units.budget, address, size)?);
            }
            Place::Bits(bits) => {
                let bytes = bits.to_le_bytes();
                into.push(&bytes[..size.min(bytes.len())]);
            }
            Place::Data(data) => into.push(&data[..size.min(data.len())]),
        }
        Ok(())
    }

    /// Runs an operation that changes the stack only.
    fn step(
        &self,
        operation: Operation<Slice<'m>>,
        stack: &mut Vec<u128>,
        depth: usize,
    ) -> Result<(), Lack> {
        let unknown = || Lack::Reason(NOT_UNDERSTOOD);
        let mut pop = || stack.pop().ok_or(Lack::Stop(Stop::Damaged));
        let pushed = match operation {
            Operation::WasmLocal { index } => {
                let locals = &self.frame.locals;
                let at = locals.binary_search_by_key(&index, |local| local.0);
                bits(at.ok().map(|at| locals[at].1))?
            }
            Operation::WasmGlobal { index } => {
                let globals = &self.state.globals;
                let at = globals.binary_search_by_key(&index, |global| global.0);
                bits(at.ok().filter(|_| self.innermost).map(|at| globals[at].1))?
            }
            Operation::WasmStack { index } => {
                bits(self.frame.operands.get(index as usize).copied())?
            }
            Operation::FrameOffset { offset } => {
                self.frame_base(depth)?.wrapping_add(offset as u64).into()
            }
            Operation::Address { address } => address.into(),
            Operation::AddressIndex { index } | Operation::ConstantIndex { index } => {
                self.units.dwarf.address(&self.unit.unit, index)?.into()
            }
            Operation::UnsignedConstant { value } => value.into(),
            Operation::SignedConstant { value } => (value as u64).into(),
            Operation::TypedLiteral { value, .. } => number(value.slice()),
            Operation::PlusConstant { value } => add(pop()?, value.into()),
            Operation::Plus => add(pop()?, pop()?),
            Operation::Minus => {
                let (less, from) = (pop()? as u64, pop()? as u64);
                from.wrapping_sub(less).into()
            }
            Operation::Mul => (pop()? as u64).wrapping_mul(pop()? as u64).into(),
            Operation::And => pop()? & pop()?,
            Operation::Or => pop()? | pop()?,
            Operation::Xor => pop()? ^ pop()?,
            Operation::Not => (!(pop()? as u64)).into(),
            Operation::Neg => (pop()? as u64).wrapping_neg().into(),
            Operation::Shl => {
                let (by, of) = (pop()?, pop()? as u64);
                u32::try_from(by).ok().and_then(|by| of.checked_shl(by)).unwrap_or(0).into()
            }
            Operation::Shr => {
                let (by, of) = (pop()?, pop()? as u64);
                u32::try_from(by).ok().and_then(|by| of.checked_shr(by)).unwrap_or(0).into()
            }
            Operation::Deref { size, space: false, .. } => {
                let address = pop()? as u64;
                let size = usize::from(size).min(16);
                let bytes = self.ram.read(&self.units.budget, address, size)?;
                if bytes.len() < size {
                    return Err(Lack::Reason(NOT_KEPT));
                }
                number(&bytes)
            }
            // Values are cut to the variable's size in the end.
            Operation::Convert { .. } | Operation::Reinterpret { .. } | Operation::Nop => {
                return Ok(());
            }
            Operation::Drop => {
                pop()?;
                return Ok(());
            }
            Operation::EntryValue { .. } => return Err(Lack::Reason(NOT_KEPT)),
            _ => return Err(unknown()),
        };
        stack.push(pushed);
        Ok(())
    }

    /// Where the function's frame begins.
    fn frame_base(&self, depth: usize) -> Result<u64, Lack> {
        let base = self.base.filter(|_| depth == 0).ok_or(Lack::Reason(NOT_UNDERSTOOD))?;
        let mut operations = base.operations(self.unit.unit.encoding());
        let mut stack = vec![];
        for _ in 0..STEPS {
            self.units.budget.spend(1)?;
            match operations.next()? {
                Some(Operation::StackValue) => {}
                Some(operation) => self.step(operation, &mut stack, depth + 1)?,
                None => break,
            }
        }
        // Where it is in a local, that local is the base, whether it is said to be a value or not.
        let base = stack.last().ok_or(Lack::Reason(NOT_UNDERSTOOD))?;
        Ok(*base as u64)
    }
}

fn add(a: u128, b: u128) -> u128 {
    (a as u64).wrapping_add(b as u64).into()
}

/// Up to 16 bytes as a number.
fn number(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).rev().fold(0, |n, byte| n << 8 | u128::from(*byte))
}

/// The bits of a value that is there.
fn bits(value: Option<Value>) -> Result<u128, Lack> {
    match value {
        Some(Value::I32(v) | Value::F32(v)) => Ok(v.into()),
        Some(Value::I64(v) | Value::F64(v)) => Ok(v.into()),
        Some(Value::V128(v)) => Ok(v),
        Some(_) => Err(Lack::Reason(NOT_UNDERSTOOD)),
        None => Err(Lack::Reason(NOT_KEPT)),
    }
}
