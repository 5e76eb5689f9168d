//! Types of variables, and their values as text.
//!
//! ```text
//!   int                      7            char            65 'A'
//!   double *                 0x10a0       char *          0x400 "hello"
//!   struct point             {x: 1, y: 2}
//!   int[10]                  [1, 2, 3, 4, 5, 6, 7, 8, ...]
//! ```
//!
//! What is deep or long is cut: a value is a line, not a page.

use super::budget::{Budget, Stop};
use super::location::{Bytes, Ram};
use super::units::{Attr, Die, Unit, Units};
use gimli::{AttributeValue, UnitOffset, constants as dw};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// How deep types are looked into.
const DEEP: usize = 6;
/// Members of a structure, elements of an array that are shown.
const MEMBERS: usize = 12;
const ELEMENTS: usize = 8;
/// Names of an enumeration that are known.
const NAMES: usize = 256;
/// Characters of a text, and of a value.
const TEXT: usize = 40;
const VALUE: usize = 200;

/// A type.
#[derive(Debug)]
pub struct Type {
    pub name: String,
    pub size: usize,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Base(gimli::DwAte),
    /// Of a character, or of something else.
    Pointer {
        text: bool,
    },
    Enumeration(Vec<(i64, String)>),
    Structure {
        members: Vec<Member>,
        more: bool,
    },
    Array {
        element: Rc<Type>,
        count: usize,
    },
    Unknown,
}

/// Name, where it lies, type.
type Member = (String, usize, Rc<Type>);

/// Types that were read.
#[derive(Default)]
pub struct Types {
    known: RefCell<HashMap<(usize, usize), Rc<Type>>>,
}

impl Types {
    /// The type that an attribute names.
    pub fn of<'m>(
        &self,
        units: &Units<'m>,
        unit: &Rc<Unit<'m>>,
        to: Option<Attr<'m>>,
    ) -> Result<Rc<Type>, Stop> {
        self.read(units, unit, to, 0)
    }

    fn read<'m>(
        &self,
        units: &Units<'m>,
        unit: &Rc<Unit<'m>>,
        to: Option<Attr<'m>>,
        depth: usize,
    ) -> Result<Rc<Type>, Stop> {
        let unknown = |name: &str, size| {
            Ok(Rc::new(Type { name: name.to_owned(), size, shape: Shape::Unknown }))
        };
        units.budget.spend(10)?;
        let Some(to) = to else { return unknown("void", 0) };
        if depth > DEEP {
            return unknown("...", 0);
        }
        let Some((unit, die)) = units.follow(unit, to)? else { return unknown("?", 0) };
        let begin = unit.unit.header.debug_info_offset().map_or(0, |at| at.0);
        let key = (begin, die.offset().0);
        if let Some(known) = self.known.borrow().get(&key) {
            return Ok(known.clone());
        }
        let ty = Rc::new(self.built(units, &unit, &die, depth)?);
        // What was cut for its depth is whole elsewhere.
        if depth == 0 {
            self.known.borrow_mut().insert(key, ty.clone());
        }
        Ok(ty)
    }

    fn built<'m>(
        &self,
        units: &Units<'m>,
        unit: &Rc<Unit<'m>>,
        die: &Die<'m>,
        depth: usize,
    ) -> Result<Type, Stop> {
        let name = match die.attr_value(dw::DW_AT_name) {
            Some(name) => Some(units.text(unit, name)?),
            None => None,
        };
        let number = |name| die.attr(name).and_then(|attr| attr.udata_value());
        let size = number(dw::DW_AT_byte_size).and_then(|size| usize::try_from(size).ok());
        let inner = || self.read(units, unit, die.attr_value(dw::DW_AT_type), depth + 1);
        let named = |prefix: &str| {
            let prefix = if unit.is_c { prefix } else { "" };
            format!("{prefix}{}", name.as_deref().unwrap_or("{...}"))
        };
        let pointer = usize::from(unit.unit.header.address_size());
        Ok(match die.tag() {
            dw::DW_TAG_base_type => {
                let encoding = match die.attr_value(dw::DW_AT_encoding) {
                    Some(AttributeValue::Encoding(encoding)) => encoding,
                    _ => dw::DW_ATE_unsigned,
                };
                Type { name: named(""), size: size.unwrap_or(0), shape: Shape::Base(encoding) }
            }
            dw::DW_TAG_pointer_type
            | dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type => {
                let to = inner()?;
                let sign = if die.tag() == dw::DW_TAG_pointer_type { "*" } else { "&" };
                let space = if to.name.ends_with(['*', '&']) { "" } else { " " };
                let name = name.clone().unwrap_or_else(|| format!("{}{space}{sign}", to.name));
                let shape = Shape::Pointer { text: to.is_character() };
                Type { name, size: size.unwrap_or(pointer), shape }
            }
            dw::DW_TAG_const_type
            | dw::DW_TAG_volatile_type
            | dw::DW_TAG_restrict_type
            | dw::DW_TAG_atomic_type => {
                let of = inner()?;
                let word = match die.tag() {
                    dw::DW_TAG_const_type => "const",
                    dw::DW_TAG_volatile_type => "volatile",
                    dw::DW_TAG_restrict_type => "restrict",
                    _ => "_Atomic",
                };
                let name = match of.name.ends_with('*') {
                    true => format!("{} {word}", of.name),
                    false => format!("{word} {}", of.name),
                };
                Type { name, size: of.size, shape: of.shape.again() }
            }
            dw::DW_TAG_typedef => {
                let of = inner()?;
                Type { name: named(""), size: of.size, shape: of.shape.again() }
            }
            dw::DW_TAG_enumeration_type => {
                let of = inner()?;
                let names = self.enumerators(units, unit, die)?;
                let size = size.unwrap_or(of.size);
                Type { name: named("enum "), size, shape: Shape::Enumeration(names) }
            }
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                let (members, more) = self.members(units, unit, die, depth)?;
                let word = if die.tag() == dw::DW_TAG_union_type { "union " } else { "struct " };
                let shape = Shape::Structure { members, more };
                Type { name: named(word), size: size.unwrap_or(0), shape }
            }
            dw::DW_TAG_array_type => {
                let element = inner()?;
                let counts = self.counts(units, unit, die)?;
                let count = counts.iter().fold(1usize, |all, count| all.saturating_mul(*count));
                let of: String = counts.iter().map(|count| format!("[{count}]")).collect();
                let name = name.clone().unwrap_or_else(|| format!("{}{of}", element.name));
                let size = size.unwrap_or(element.size.saturating_mul(count));
                Type { name, size, shape: Shape::Array { element, count } }
            }
            dw::DW_TAG_subroutine_type => {
                Type { name: "function".to_owned(), size: 0, shape: Shape::Unknown }
            }
            _ => Type { name: named(""), size: size.unwrap_or(0), shape: Shape::Unknown },
        })
    }

    /// Gives each entry right beneath one.
    fn children<'m>(
        &self,
        units: &Units<'m>,
        unit: &Unit<'m>,
        at: UnitOffset,
        mut each: impl FnMut(&Die<'m>) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        let unit = &unit.unit;
        let mut entries = unit.header.entries_raw(&unit.abbreviations, Some(at))?;
        let mut die = Die::null();
        entries.read_entry(&mut die)?;
        if !die.has_children() {
            return Ok(());
        }
        while !entries.is_empty() && entries.next_depth() > 0 {
            let depth = entries.next_depth();
            let there = entries.read_entry(&mut die)?;
            units.budget.spend(1 + die.attrs().len())?;
            if there && depth == 1 && !each(&die)? {
                break;
            }
        }
        Ok(())
    }

    fn enumerators<'m>(
        &self,
        units: &Units<'m>,
        unit: &Unit<'m>,
        die: &Die<'m>,
    ) -> Result<Vec<(i64, String)>, Stop> {
        let mut names = vec![];
        self.children(units, unit, die.offset(), |child| {
            let value = child.attr(dw::DW_AT_const_value);
            let value = value.and_then(|v| {
                let unsigned = || v.udata_value().map(|value| value as i64);
                v.sdata_value().or_else(unsigned)
            });
            if let (Some(value), Some(name)) = (value, child.attr_value(dw::DW_AT_name)) {
                names.push((value, units.text(unit, name)?));
            }
            Ok(names.len() < NAMES)
        })?;
        Ok(names)
    }

    fn members<'m>(
        &self,
        units: &Units<'m>,
        unit: &Rc<Unit<'m>>,
        die: &Die<'m>,
        depth: usize,
    ) -> Result<(Vec<Member>, bool), Stop> {
        let (mut members, mut more) = (vec![], false);
        self.children(units, unit, die.offset(), |child| {
            match child.tag() {
                dw::DW_TAG_member => {}
                dw::DW_TAG_variant_part => {
                    more = true;
                    return Ok(true);
                }
                _ => return Ok(true),
            }
            let offset = child.attr(dw::DW_AT_data_member_location);
            let offset = offset.map_or(Some(0), |offset| offset.udata_value());
            let bits = [dw::DW_AT_bit_size, dw::DW_AT_data_bit_offset, dw::DW_AT_external];
            let (Some(offset), false) = (offset, bits.iter().any(|bit| child.has_attr(*bit)))
            else {
                more = true;
                return Ok(true);
            };
            if members.len() == MEMBERS {
                more = true;
                return Ok(false);
            }
            let name = match child.attr_value(dw::DW_AT_name) {
                Some(name) => units.text(unit, name)?,
                None => String::new(),
            };
            let ty = self.read(units, unit, child.attr_value(dw::DW_AT_type), depth + 1)?;
            members.push((name, usize::try_from(offset).unwrap_or(usize::MAX), ty));
            Ok(true)
        })?;
        Ok((members, more))
    }

    fn counts<'m>(
        &self,
        units: &Units<'m>,
        unit: &Unit<'m>,
        die: &Die<'m>,
    ) -> Result<Vec<usize>, Stop> {
        let mut counts = vec![];
        self.children(units, unit, die.offset(), |child| {
            if child.tag() == dw::DW_TAG_subrange_type {
                let number = |name| child.attr(name).and_then(|attr| attr.udata_value());
                let upper = || number(dw::DW_AT_upper_bound).and_then(|upper| upper.checked_add(1));
                let count = number(dw::DW_AT_count).or_else(upper).unwrap_or(0);
                counts.push(usize::try_from(count).unwrap_or(usize::MAX));
            }
            Ok(counts.len() < DEEP)
        })?;
        Ok(counts)
    }
}

impl Shape {
    /// For a type that is another only by name.
    fn again(&self) -> Shape {
        match self {
            Shape::Base(encoding) => Shape::Base(*encoding),
            Shape::Pointer { text } => Shape::Pointer { text: *text },
            Shape::Enumeration(names) => Shape::Enumeration(names.clone()),
            Shape::Structure { members, more } => {
                Shape::Structure { members: members.clone(), more: *more }
            }
            Shape::Array { element, count } => {
                Shape::Array { element: element.clone(), count: *count }
            }
            Shape::Unknown => Shape::Unknown,
        }
    }
}

impl Type {
    fn is_character(&self) -> bool {
        let characters = [dw::DW_ATE_signed_char, dw::DW_ATE_unsigned_char];
        let named = self.name.ends_with("char");
        self.size == 1 && named && matches!(&self.shape, Shape::Base(e) if characters.contains(e))
    }

    /// A value of the type; none if too little of it is known.
    pub fn value(&self, budget: &Budget, bytes: &Bytes, ram: &Ram<'_>) -> Option<String> {
        let show = Show { budget, bytes, ram };
        let mut out = String::new();
        let whole = show.value(self, 0, 0, &mut out);
        whole.then(|| cut(out))
    }
}

struct Show<'a, 'm> {
    budget: &'a Budget,
    bytes: &'a Bytes,
    ram: &'a Ram<'m>,
}

impl Show<'_, '_> {
    /// Whether anything is known of what lies at `at`.
    fn value(&self, ty: &Type, at: usize, depth: usize, out: &mut String) -> bool {
        if out.len() > VALUE {
            return true;
        }
        match &ty.shape {
            Shape::Structure { members, more } => {
                self.structure(ty, members, *more, at, depth, out)
            }
            Shape::Array { element, count } => self.array(element, *count, at, depth, out),
            shape => match self.bytes.part(at, ty.size) {
                Some(bytes) if ty.size > 0 => {
                    *out += &self.simple(shape, bytes);
                    true
                }
                _ => {
                    out.push('?');
                    false
                }
            },
        }
    }

    fn simple(&self, shape: &Shape, bytes: &[u8]) -> String {
        let unsigned = bytes.iter().take(16).rev().fold(0, |n, byte| n << 8 | u128::from(*byte));
        let unused = 128 - 8 * bytes.len().min(16) as u32;
        let signed = ((unsigned << unused) as i128) >> unused;
        match shape {
            Shape::Pointer { .. } if unsigned == 0 => "null".to_owned(),
            Shape::Pointer { text: true } => match self.text(unsigned as u64) {
                Some(text) => format!("{unsigned:#x} {text}"),
                None => format!("{unsigned:#x}"),
            },
            Shape::Pointer { .. } => format!("{unsigned:#x}"),
            Shape::Enumeration(names) => {
                let is = |name: &&(i64, String)| {
                    i128::from(name.0) == signed || name.0 as u128 == unsigned
                };
                names.iter().find(is).map_or_else(|| signed.to_string(), |name| name.1.clone())
            }
            Shape::Base(encoding) => base(*encoding, bytes, unsigned, signed),
            _ => format!("{unsigned:#x}"),
        }
    }

    /// The text at an address, if it is one.
    fn text(&self, address: u64) -> Option<String> {
        let bytes = self.ram.read(self.budget, address, TEXT + 1).ok()?;
        let end = bytes.iter().position(|byte| *byte == 0);
        if end.is_none() && bytes.len() <= TEXT {
            return None;
        }
        quoted(&bytes[..end.unwrap_or(TEXT)], end.is_none())
    }

    fn structure(
        &self,
        ty: &Type,
        members: &[Member],
        more: bool,
        at: usize,
        depth: usize,
        out: &mut String,
    ) -> bool {
        if let Some(text) = self.slice_of_text(ty, members, at) {
            *out += &text;
            return true;
        }
        if depth >= 3 {
            *out += "{...}";
            return true;
        }
        let mut any = members.is_empty();
        out.push('{');
        for (i, (name, offset, ty)) in members.iter().enumerate() {
            if i > 0 {
                *out += ", ";
            }
            if !name.is_empty() {
                *out += name;
                *out += ": ";
            }
            any |= self.value(ty, at.saturating_add(*offset), depth + 1, out);
        }
        if more {
            *out += if members.is_empty() { "..." } else { ", ..." };
        }
        out.push('}');
        any
    }

    /// Of `&str`.
    fn slice_of_text(&self, ty: &Type, members: &[Member], at: usize) -> Option<String> {
        if ty.name != "&str" {
            return None;
        }
        let field = |name: &str| {
            let (_, offset, ty) = members.iter().find(|member| member.0 == name)?;
            let bytes = self.bytes.part(at.checked_add(*offset)?, ty.size)?;
            Some(bytes.iter().take(8).rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
        };
        let (start, length) = (field("data_ptr")?, field("length")?);
        let seen = length.min(TEXT as u64) as usize;
        let bytes = self.ram.read(self.budget, start, seen).ok()?;
        if bytes.len() < seen { None } else { quoted(&bytes, length > TEXT as u64) }
    }

    fn array(
        &self,
        element: &Type,
        count: usize,
        at: usize,
        depth: usize,
        out: &mut String,
    ) -> bool {
        if element.is_character() {
            let seen = count.min(TEXT);
            let bytes = self.bytes.part(at, seen);
            let end = bytes.and_then(|bytes| bytes.iter().position(|byte| *byte == 0));
            let text = bytes.map(|bytes| &bytes[..end.unwrap_or(seen)]);
            if let Some(text) = text.and_then(|t| quoted(t, end.is_none() && count > seen)) {
                *out += &text;
                return true;
            }
        }
        if depth >= 3 {
            *out += "[...]";
            return true;
        }
        let mut any = count == 0;
        out.push('[');
        for i in 0..count.min(ELEMENTS) {
            if i > 0 {
                *out += ", ";
            }
            let at = at.saturating_add(i.saturating_mul(element.size));
            any |= self.value(element, at, depth + 1, out);
        }
        if count > ELEMENTS {
            *out += ", ...";
        }
        out.push(']');
        any
    }
}

fn base(encoding: gimli::DwAte, bytes: &[u8], unsigned: u128, signed: i128) -> String {
    match encoding {
        dw::DW_ATE_boolean => match unsigned {
            0 => "false".to_owned(),
            1 => "true".to_owned(),
            other => other.to_string(),
        },
        dw::DW_ATE_float => match *bytes {
            [a, b, c, d] => format!("{:?}", f32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => {
                format!("{:?}", f64::from_le_bytes([a, b, c, d, e, f, g, h]))
            }
            _ => format!("{unsigned:#x}"),
        },
        dw::DW_ATE_signed_char | dw::DW_ATE_unsigned_char => {
            let number = if encoding == dw::DW_ATE_signed_char {
                signed.to_string()
            } else {
                unsigned.to_string()
            };
            match u8::try_from(unsigned) {
                Ok(byte @ b' '..=b'~') => format!("{number} '{}'", byte as char),
                _ => number,
            }
        }
        dw::DW_ATE_UTF => match u32::try_from(unsigned).ok().and_then(char::from_u32) {
            Some(c) => format!("{c:?}"),
            None => format!("{unsigned:#x}"),
        },
        dw::DW_ATE_signed => signed.to_string(),
        dw::DW_ATE_address => format!("{unsigned:#x}"),
        _ => unsigned.to_string(),
    }
}

/// A text in quotes; none if it is not one.
fn quoted(bytes: &[u8], more: bool) -> Option<String> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // Where it is cut there may be half a character.
        Err(e) if more && e.error_len().is_none() => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let odd = |c: char| c.is_control() && !"\n\t\r".contains(c);
    let dots = if more { "..." } else { "" };
    (!text.contains(odd)).then(|| format!("{text:?}{dots}"))
}

/// No longer than a value may be.
fn cut(text: String) -> String {
    match text.char_indices().nth(VALUE) {
        None => text,
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}
