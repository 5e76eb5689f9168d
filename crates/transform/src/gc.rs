//! Tells typed function references, which are handled, from the garbage-collected types that come in
//! the same proposal: those are refused by name.
//!
//! ```text
//!   (rec (type $f (sub (func (param (ref null $f))))))   handled: groups, subtypes, casts of functions
//!   (type $s (struct ...))  anyref  i31ref  ref.eq ...   refused: their objects lie in the engine's heap
//! ```
//!
//! Only modules that do not validate without these proposals come here.

use crate::layout::Hierarchy;
use crate::module::Module;
use crate::{Error, Result};
use wasmparser::{
    BlockType, CompositeInnerType, ConstExpr, ElementItems, HeapType, Operator, Parser, Payload,
    RefType, TableInit, ValType,
};

/// Refuses whatever needs a heap.
pub(crate) fn refuse(m: &Module) -> Result<()> {
    for payload in Parser::new(0).parse_all(&m.bytes) {
        match payload.map_err(Error::invalid)? {
            Payload::TypeSection(s) => {
                for group in s.into_iter_with_offsets() {
                    let (at, group) = group.map_err(Error::invalid)?;
                    for t in group.types() {
                        let CompositeInnerType::Func(f) = &t.composite_type.inner else {
                            return Err(named("struct, array or continuation types", at));
                        };
                        for &t in f.params().iter().chain(f.results()) {
                            value(t, at)?;
                        }
                    }
                }
            }
            Payload::TableSection(s) => {
                for t in s.into_iter_with_offsets() {
                    let (at, t) = t.map_err(Error::invalid)?;
                    value(ValType::Ref(t.ty.element_type), at)?;
                    if let TableInit::Expr(e) = &t.init {
                        constant(e)?;
                    }
                }
            }
            Payload::GlobalSection(s) => {
                for g in s.into_iter_with_offsets() {
                    let (at, g) = g.map_err(Error::invalid)?;
                    value(g.ty.content_type, at)?;
                    constant(&g.init_expr)?;
                }
            }
            Payload::ElementSection(s) => {
                for e in s.into_iter_with_offsets() {
                    let (at, e) = e.map_err(Error::invalid)?;
                    if let ElementItems::Expressions(t, items) = e.items {
                        value(ValType::Ref(t), at)?;
                        for e in items {
                            constant(&e.map_err(Error::invalid)?)?;
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                for l in body.get_locals_reader().map_err(Error::invalid)? {
                    let (_, t) = l.map_err(Error::invalid)?;
                    value(t, body.range().start)?;
                }
                let mut ops = body.get_operators_reader().map_err(Error::invalid)?;
                while !ops.eof() {
                    let (op, at) = ops.read_with_offset().map_err(Error::invalid)?;
                    instruction(&op, at)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn constant(e: &ConstExpr<'_>) -> Result<()> {
    for op in e.get_operators_reader() {
        instruction(&op.map_err(Error::invalid)?, e.get_binary_reader().range().start)?;
    }
    Ok(())
}

fn instruction(op: &Operator<'_>, at: usize) -> Result<()> {
    match op {
        // All of the proposal that works on functions too.
        Operator::RefTestNonNull { hty }
        | Operator::RefTestNullable { hty }
        | Operator::RefCastNonNull { hty }
        | Operator::RefCastNullable { hty }
        | Operator::RefNull { hty } => heap(*hty, at),
        Operator::BrOnCast { to_ref_type, .. } | Operator::BrOnCastFail { to_ref_type, .. } => {
            value(ValType::Ref(*to_ref_type), at)
        }
        Operator::TypedSelect { ty } => value(*ty, at),
        Operator::TypedSelectMulti { tys } => tys.iter().try_for_each(|&t| value(t, at)),
        Operator::Block { blockty } | Operator::Loop { blockty } | Operator::If { blockty } => {
            block(*blockty, at)
        }
        Operator::TryTable { try_table } => block(try_table.ty, at),
        op if proposal(op) == "gc" => Err(named(&name(op), at)),
        _ => Ok(()),
    }
}

fn block(t: BlockType, at: usize) -> Result<()> {
    match t {
        BlockType::Type(t) => value(t, at),
        _ => Ok(()),
    }
}

fn heap(t: HeapType, at: usize) -> Result<()> {
    match RefType::new(true, t) {
        Some(r) => value(ValType::Ref(r), at),
        None => Err(named("a reference of a kind that cannot be saved", at)),
    }
}

fn value(t: ValType, at: usize) -> Result<()> {
    match t {
        ValType::Ref(r) if Hierarchy::of(t).is_none() => Err(named(&format!("`{r}`"), at)),
        _ => Ok(()),
    }
}

fn named(what: &str, at: usize) -> Error {
    Error::unsupported(format!("the WebAssembly feature gc ({what})"), at)
}

/// `RefI31`, without its operands.
fn name(op: &Operator<'_>) -> String {
    let all = format!("{op:?}");
    all.split([' ', '{']).next().unwrap_or_default().to_owned()
}

fn proposal(op: &Operator<'_>) -> &'static str {
    macro_rules! proposals {
        ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
            match op {
                $(Operator::$op { .. } => stringify!($proposal),)*
                _ => "unknown",
            }
        };
    }
    wasmparser::for_each_operator!(proposals)
}
