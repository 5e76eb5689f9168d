//! Saved frames as bytes: what polls and checks leave in the frames memory, read back as values,
//! and written again for a resume.
//!
//! ```text
//!   0                                                          sp
//!   | innermost values | slot | next values | slot | ... | outermost values | slot |
//! ```
//!
//! Read from the top down, so the outermost frame comes first; each slot tells the size of its frame.

use crate::layout::{Hierarchy, Layout, Source, width};
use crate::{Error, Program, Result};
use dormouse_state::{Frame, Site, Value};
use wasmparser::ValType;

/// One saved value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A number or vector, as its bits in the low bytes.
    Bits(u128),
    /// Entry of a hierarchy's table.
    Reference(Hierarchy, u32),
}

/// One frame, decoded.
#[derive(Clone, Debug)]
pub struct SavedFrame {
    /// Function index in the original module.
    pub func: u32,
    /// Safepoint number.
    pub slot: u32,
    /// Byte offset of the safepoint in the original module.
    pub offset: u32,
    /// Source, type and value of everything saved.
    pub values: Vec<(Source, ValType, Cell)>,
}

impl SavedFrame {
    /// The frame as a state has it; `reference` says what an entry of a hierarchy's table is.
    ///
    /// # Errors
    /// Those of `reference`.
    pub fn into_frame<E>(
        self,
        mut reference: impl FnMut(Hierarchy, u32) -> std::result::Result<Value, E>,
    ) -> std::result::Result<Frame, E> {
        let (mut locals, mut operands) = (vec![], vec![]);
        for (source, ty, cell) in self.values {
            let value = match cell {
                Cell::Bits(bits) => number(ty, bits),
                Cell::Reference(hierarchy, entry) => reference(hierarchy, entry)?,
            };
            match source {
                Source::Local(local) => locals.push((local, value)),
                Source::Operand(place) => operands.push((place, value)),
            }
        }
        locals.sort_unstable_by_key(|local| local.0);
        operands.sort_unstable_by_key(|operand| operand.0);
        let operands = operands.into_iter().map(|operand| operand.1).collect();
        let site = Site { func: self.func, offset: self.offset };
        Ok(Frame { site, locals, operands })
    }
}

/// A number or a vector of this type.
pub(crate) fn number(ty: ValType, bits: u128) -> Value {
    match ty {
        ValType::I32 => Value::I32(bits as u32),
        ValType::I64 => Value::I64(bits as u64),
        ValType::F32 => Value::F32(bits as u32),
        ValType::F64 => Value::F64(bits as u64),
        _ => Value::V128(bits),
    }
}

/// Frames being written for a resume, innermost first.
#[derive(Default)]
pub struct FramesMemory {
    /// The bytes of the frames memory up to its `sp`.
    pub bytes: Vec<u8>,
    /// Slots used, to know which continuations are needed.
    pub slots: Vec<u32>,
}

impl Program {
    /// The slots in `bytes` (the frames memory up to `sp`), outermost first.
    pub fn slots_of(&self, bytes: &[u8]) -> Result<Vec<u32>> {
        let mut slots = vec![];
        let mut end = bytes.len();
        while end > 0 {
            let slot = slot_at(bytes, end)?;
            let (_, size) = self.with_layout(slot, |_, l| Ok(l.size as usize))?;
            end = end.checked_sub(size).ok_or(Error::Frames("a frame is cut off"))?;
            slots.push(slot);
        }
        Ok(slots)
    }

    /// All frames in `bytes` (the frames memory up to `sp`), outermost first. `fill` tells
    /// how many entries of each reference table are used.
    pub fn read_frames(
        &self,
        bytes: &[u8],
        mut fill: [u32; Hierarchy::ALL.len()],
    ) -> Result<Vec<SavedFrame>> {
        let mut frames = vec![];
        let mut end = bytes.len();
        while end > 0 {
            let slot = slot_at(bytes, end)?;
            let ((func, offset), (start, values)) = self.with_layout(slot, |_, l| {
                let cut = Error::Frames("a frame is cut off");
                let start = end.checked_sub(l.size as usize).ok_or(cut)?;
                for (fill, n) in fill.iter_mut().zip(l.references) {
                    let under = Error::Frames("too few references");
                    *fill = fill.checked_sub(n).ok_or(under)?;
                }
                Ok((start, decode(&bytes[start..end - 4], l, fill)))
            })?;
            frames.push(SavedFrame { func, slot, offset, values });
            end = start;
        }
        Ok(frames)
    }

    /// Writes one more frame (innermost first) for the safepoint of `func` at `offset`. `value`
    /// gives each saved value; reference cells are only counted there, in order.
    pub fn push_frame(
        &self,
        out: &mut FramesMemory,
        func: u32,
        offset: u32,
        mut value: impl FnMut(Source, ValType) -> Option<u128>,
    ) -> Result<u32> {
        let sites = self.sites(func)?;
        let site = sites.at_offset(offset).ok_or(Error::NoSuchSite { func, offset })?;
        let end = out.bytes.len() + site.layout.size as usize - 4;
        for &(source, ty) in &site.layout.values {
            let why = "a value is missing or has another type";
            let bits = value(source, ty).ok_or(Error::Frame { func, offset, why })?;
            let n = width(ty) as usize;
            out.bytes.extend_from_slice(&bits.to_le_bytes()[..n]);
        }
        out.bytes.resize(end, 0);
        out.bytes.extend_from_slice(&site.slot.to_le_bytes());
        out.slots.push(site.slot);
        Ok(site.operands.len() as u32)
    }

    fn with_layout<T>(
        &self,
        slot: u32,
        f: impl FnOnce(u32, &Layout) -> Result<T>,
    ) -> Result<((u32, u32), T)> {
        let func = self.function_of(slot)?;
        let sites = self.sites(func)?;
        let site = sites.numbered(slot)?;
        Ok(((func, site.offset), f(func, &site.layout)?))
    }
}

fn slot_at(bytes: &[u8], end: usize) -> Result<u32> {
    let at = end.checked_sub(4).ok_or(Error::Frames("a frame is cut off"))?;
    let b: [u8; 4] = bytes[at..end].try_into().map_err(|_| Error::Frames("a frame is cut off"))?;
    Ok(u32::from_le_bytes(b))
}

fn decode(
    bytes: &[u8],
    l: &Layout,
    mut next: [u32; Hierarchy::ALL.len()],
) -> Vec<(Source, ValType, Cell)> {
    let mut at = 0;
    l.values
        .iter()
        .map(|&(source, ty)| {
            let n = width(ty) as usize;
            let cell = match Hierarchy::of(ty) {
                Some(h) => {
                    next[h as usize] += 1;
                    Cell::Reference(h, next[h as usize] - 1)
                }
                None => {
                    let mut b = [0; 16];
                    b[..n].copy_from_slice(&bytes[at..at + n]);
                    at += n;
                    Cell::Bits(u128::from_le_bytes(b))
                }
            };
            (source, ty, cell)
        })
        .collect()
}
