//! Values on their way into a function and out of it.
//!
//! ```text
//!   "42", "-0x1", "1.5", "nan"  ──parse──> Passed ──> Val (wasmtime's) ──call──> Val ──> Passed ──> text
//! ```

use crate::link::Host;
use crate::{Error, Result};
use dormouse_state::Value;
use std::fmt;
use wasmtime::{AsContextMut, ExternRef, Func, HeapType, RootScope, Store, V128, Val, ValType};

/// A value given to a function, or given back by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// One that a state can hold. A function is named by its index in the module.
    Value(Value),
    /// An `externref` to an object that the host knows by this number. While the program holds it,
    /// it cannot be captured.
    Object(u32),
    /// A reference that only the engine knows, null or not: to an exception, or to a function that is
    /// not the module's.
    Opaque {
        /// What kind of reference.
        kind: &'static str,
        /// Whether it is null.
        null: bool,
    },
}

impl From<Value> for Passed {
    fn from(v: Value) -> Passed {
        Passed::Value(v)
    }
}

/// Numbers, as host functions take them and give them back.
macro_rules! numbers {
    ($($ty:ty: $kind:ident, |$v:ident| $there:expr, |$bits:ident| $back:expr;)*) => {$(
        impl From<$ty> for Passed {
            fn from($v: $ty) -> Passed {
                Passed::Value(Value::$kind($there))
            }
        }

        impl TryFrom<Passed> for $ty {
            type Error = String;

            fn try_from(v: Passed) -> std::result::Result<$ty, String> {
                match v {
                    Passed::Value(Value::$kind($bits)) => Ok($back),
                    other => Err(format!("{other:?} is not a {}", stringify!($ty))),
                }
            }
        }
    )*};
}

numbers! {
    u32: I32, |v| v, |bits| bits;
    i32: I32, |v| v as u32, |bits| bits as i32;
    u64: I64, |v| v, |bits| bits;
    i64: I64, |v| v as u64, |bits| bits as i64;
    f32: F32, |v| v.to_bits(), |bits| f32::from_bits(bits);
    f64: F64, |v| v.to_bits(), |bits| f64::from_bits(bits);
    u128: V128, |v| v, |bits| bits;
}

/// As wasmtime's command line prints results.
impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Passed::Value(Value::I32(v)) => write!(f, "{}", v as i32),
            Passed::Value(Value::I64(v)) => write!(f, "{}", v as i64),
            Passed::Value(Value::F32(v)) => write!(f, "{}", f32::from_bits(v)),
            Passed::Value(Value::F64(v)) => write!(f, "{}", f64::from_bits(v)),
            Passed::Value(Value::V128(v)) => write!(f, "{v}"),
            Passed::Value(Value::FuncRef(None)) => f.write_str("<null funcref>"),
            Passed::Value(Value::FuncRef(Some(_))) => f.write_str("<funcref>"),
            Passed::Value(Value::ExternRefNull) => f.write_str("<null externref>"),
            Passed::Value(Value::ExnRef(None)) => f.write_str("<null exnref>"),
            Passed::Value(Value::ExnRef(Some(_))) => f.write_str("<exnref>"),
            Passed::Object(_) => f.write_str("<externref>"),
            Passed::Opaque { kind, null: true } => write!(f, "<null {kind}>"),
            Passed::Opaque { kind, null: false } => write!(f, "<{kind}>"),
        }
    }
}

/// Reads an argument as a parameter of type `ty` wants it.
pub(crate) fn parse(text: &str, ty: &ValType) -> std::result::Result<Value, String> {
    let integer = |bits: u32| -> std::result::Result<u128, String> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
        let parsed = match hex {
            // `from_str_radix` would take another sign.
            Some(d) if d.starts_with(['+', '-']) => None,
            Some(d) => u128::from_str_radix(d, 16).ok(),
            None if digits.starts_with(['+', '-']) => None,
            None => digits.parse().ok(),
        };
        let most = match (negative, bits) {
            (true, _) => 1u128 << (bits - 1),
            (false, 128) => u128::MAX,
            (false, _) => (1u128 << bits) - 1,
        };
        match parsed {
            Some(v) if v <= most => Ok(if negative { v.wrapping_neg() } else { v }),
            Some(_) => Err(format!("`{text}` does not fit into {bits} bits")),
            None => Err(format!("`{text}` is not an integer; write 42, -7 or 0x2a")),
        }
    };
    let float = |_| format!("`{text}` is not a number; write 1.5, -2e10, inf or nan");
    Ok(match ty {
        ValType::I32 => Value::I32(integer(32)? as u32),
        ValType::I64 => Value::I64(integer(64)? as u64),
        ValType::F32 => Value::F32(text.parse::<f32>().map_err(float)?.to_bits()),
        ValType::F64 => Value::F64(text.parse::<f64>().map_err(float)?.to_bits()),
        ValType::V128 => Value::V128(integer(128)?),
        other => return Err(format!("a {other} cannot be written on the command line")),
    })
}

/// Whether a parameter of type `ty` takes `v`.
pub(crate) fn fits(v: Passed, ty: &ValType) -> bool {
    let nullable = |r: &wasmtime::RefType| r.is_nullable();
    match (v, ty) {
        (Passed::Value(Value::I32(_)), ValType::I32)
        | (Passed::Value(Value::I64(_)), ValType::I64)
        | (Passed::Value(Value::F32(_)), ValType::F32)
        | (Passed::Value(Value::F64(_)), ValType::F64)
        | (Passed::Value(Value::V128(_)), ValType::V128) => true,
        (Passed::Value(Value::FuncRef(None)), ValType::Ref(r)) => {
            nullable(r) && matches!(r.heap_type().top(), HeapType::Func)
        }
        // Whether the function has the type is for the engine to see.
        (Passed::Value(Value::FuncRef(Some(_))), ValType::Ref(r)) => {
            matches!(r.heap_type().top(), HeapType::Func)
        }
        (Passed::Value(Value::ExternRefNull), ValType::Ref(r)) => {
            nullable(r) && matches!(r.heap_type().top(), HeapType::Extern)
        }
        (Passed::Object(_), ValType::Ref(r)) => matches!(r.heap_type(), HeapType::Extern),
        _ => false,
    }
}

/// What came out of a call. A function is still an address: see [`Out::known`].
pub(crate) enum Out {
    Passed(Passed),
    Function(usize),
}

/// Calls a function; `function` gives the function of an index.
pub(crate) fn call(
    store: &mut Store<Host>,
    f: Func,
    args: &[Passed],
    mut function: impl FnMut(&mut Store<Host>, u32) -> Option<Func>,
) -> Result<wasmtime::Result<Vec<Out>>> {
    let mut given = Vec::with_capacity(args.len());
    for &a in args {
        given.push(match a {
            Passed::Value(Value::FuncRef(Some(i))) => {
                let f = function(store, i);
                let unknown = || Error::State(format!("no reference to function {i} can be made"));
                Some(Val::FuncRef(Some(f.ok_or_else(unknown)?)))
            }
            _ => None,
        });
    }
    // References made here live as long as the call.
    let mut scope = RootScope::new(store);
    let mut values = Vec::with_capacity(args.len());
    for (&a, f) in args.iter().zip(given) {
        values.push(match f {
            Some(f) => f,
            None => into(&mut scope, a)?,
        });
    }
    let mut results = vec![Val::I32(0); f.ty(&scope).results().len()];
    if let Err(e) = f.call(&mut scope, &values, &mut results) {
        return Ok(Err(e));
    }
    let results: wasmtime::Result<_> = results.into_iter().map(|r| out(&mut scope, r)).collect();
    Ok(Ok(results?))
}

/// A value for the engine; a function only if it is null.
pub(crate) fn into(store: impl AsContextMut, v: Passed) -> wasmtime::Result<Val> {
    Ok(match v {
        Passed::Object(n) => Val::ExternRef(Some(ExternRef::new(store, n)?)),
        Passed::Value(v) => match v {
            Value::I32(v) => Val::I32(v as i32),
            Value::I64(v) => Val::I64(v as i64),
            Value::F32(v) => Val::F32(v),
            Value::F64(v) => Val::F64(v),
            Value::V128(v) => Val::V128(V128::from(v)),
            Value::FuncRef(None) => Val::FuncRef(None),
            Value::ExternRefNull => Val::ExternRef(None),
            Value::ExnRef(None) => Val::ExnRef(None),
            Value::FuncRef(Some(_)) | Value::ExnRef(Some(_)) => {
                return Err(wasmtime::Error::msg("such a reference cannot be given here"));
            }
        },
        Passed::Opaque { kind, .. } => {
            return Err(wasmtime::Error::msg(format!("a {kind} cannot be given")));
        }
    })
}

/// A value from the engine.
pub(crate) fn out(mut store: impl AsContextMut, v: Val) -> wasmtime::Result<Out> {
    let opaque = |kind, null| Out::Passed(Passed::Opaque { kind, null });
    Ok(match v {
        Val::I32(v) => Out::Passed(Value::I32(v as u32).into()),
        Val::I64(v) => Out::Passed(Value::I64(v as u64).into()),
        Val::F32(v) => Out::Passed(Value::F32(v).into()),
        Val::F64(v) => Out::Passed(Value::F64(v).into()),
        Val::V128(v) => Out::Passed(Value::V128(v.as_u128()).into()),
        Val::FuncRef(None) => Out::Passed(Value::FuncRef(None).into()),
        Val::FuncRef(Some(f)) => Out::Function(f.to_raw(&mut store) as usize),
        Val::ExternRef(None) => Out::Passed(Value::ExternRefNull.into()),
        Val::ExternRef(Some(e)) => {
            match e.data(store.as_context())?.and_then(|d| d.downcast_ref::<u32>()) {
                Some(&n) => Out::Passed(Passed::Object(n)),
                None => opaque("externref", false),
            }
        }
        Val::AnyRef(r) => opaque("anyref", r.is_none()),
        Val::ExnRef(r) => opaque("exnref", r.is_none()),
        Val::ContRef(r) => opaque("contref", r.is_none()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let i32 = |t| parse(t, &ValType::I32);
        assert_eq!(i32("-1"), Ok(Value::I32(u32::MAX)));
        assert_eq!(i32("4294967295"), Ok(Value::I32(u32::MAX)));
        assert_eq!(i32("-0x80000000"), Ok(Value::I32(0x8000_0000)));
        for bad in ["", "-", "0x", "--1", "-+1", "0x-1", "+-1", "1.5", "4294967296", "-2147483649"]
        {
            assert!(i32(bad).is_err(), "{bad}");
        }
        let most = u128::MAX.to_string();
        assert_eq!(parse(&most, &ValType::V128), Ok(Value::V128(u128::MAX)));
        assert_eq!(parse("-1", &ValType::I64), Ok(Value::I64(u64::MAX)));
        assert_eq!(parse("1.5", &ValType::F64), Ok(Value::F64(1.5f64.to_bits())));
        assert_eq!(parse("-inf", &ValType::F32), Ok(Value::F32(f32::NEG_INFINITY.to_bits())));
        assert!(parse("one", &ValType::F32).is_err());
        assert!(parse("0", &ValType::EXTERNREF).is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!(i32::try_from(Passed::from(-7)), Ok(-7));
        assert_eq!(u32::try_from(Passed::from(-1)), Ok(u32::MAX));
        assert_eq!(f64::try_from(Passed::from(1.5)), Ok(1.5));
        assert_eq!(f32::try_from(Passed::from(1.5f32)), Ok(1.5));
        assert_eq!(u128::try_from(Passed::from(1u128 << 100)), Ok(1 << 100));
        assert_eq!(i64::try_from(Passed::from(u64::MAX)), Ok(-1));
        assert!(u64::try_from(Passed::from(1.5)).unwrap_err().contains("is not a u64"));
        assert!(u32::try_from(Passed::Object(7)).is_err());
    }

    #[test]
    fn results() {
        let text = |v| Passed::Value(v).to_string();
        assert_eq!(text(Value::I32(u32::MAX)), "-1");
        assert_eq!(text(Value::F64(0.1f64.to_bits())), "0.1");
        assert_eq!(text(Value::V128(7)), "7");
        assert_eq!(text(Value::FuncRef(Some(3))), "<funcref>");
    }
}
