//! Values of WebAssembly, for people and scripts.

use super::Symbols;
use dormouse_state::Value;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A value of WebAssembly. As text: numbers in decimal, integers as signed ones; `v128` as its bits; of a function its name; `null`.
///
/// As JSON, `{"type": "i32", "value": "-1", "bits": "0xffffffff"}`: `value` is the text, `bits` those of a number, or the index
/// of a function or an exception, or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The value.
    pub value: Value,
    /// The function's name, if it refers to one.
    pub function: Option<Arc<str>>,
}

impl Typed {
    /// A value, with the names of functions.
    pub fn of(value: Value, symbols: &Symbols<'_>) -> Typed {
        let function = match value {
            Value::FuncRef(Some(func)) => Some(symbols.function(func).into()),
            _ => None,
        };
        Typed { value, function }
    }

    /// `i32`, `i64`, `f32`, `f64`, `v128`, `funcref`, `externref` or `exnref`.
    pub fn ty(&self) -> &'static str {
        match self.value {
            Value::I32(_) => "i32",
            Value::I64(_) => "i64",
            Value::F32(_) => "f32",
            Value::F64(_) => "f64",
            Value::V128(_) => "v128",
            Value::FuncRef(_) => "funcref",
            Value::ExternRefNull => "externref",
            Value::ExnRef(_) => "exnref",
        }
    }

    /// Of a number its bits, in hexadecimal; of a function or an exception its index, if it is not null.
    pub fn bits(&self) -> Option<String> {
        match self.value {
            Value::I32(v) | Value::F32(v) => Some(format!("{v:#x}")),
            Value::I64(v) | Value::F64(v) => Some(format!("{v:#x}")),
            Value::V128(v) => Some(format!("{v:#x}")),
            Value::FuncRef(index) | Value::ExnRef(index) => index.map(|index| index.to_string()),
            Value::ExternRefNull => None,
        }
    }
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Value::I32(v) => write!(f, "{}", v as i32),
            Value::I64(v) => write!(f, "{}", v as i64),
            Value::F32(v) => write!(f, "{:?}", f32::from_bits(v)),
            Value::F64(v) => write!(f, "{:?}", f64::from_bits(v)),
            Value::V128(v) => write!(f, "{v:#034x}"),
            Value::FuncRef(Some(func)) => match &self.function {
                Some(name) => f.write_str(name),
                None => write!(f, "func[{func}]"),
            },
            Value::ExnRef(Some(exception)) => write!(f, "exception[{exception}]"),
            Value::FuncRef(None) | Value::ExternRefNull | Value::ExnRef(None) => {
                f.write_str("null")
            }
        }
    }
}

impl Serialize for Typed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut fields = to.serialize_struct("Typed", 3)?;
        fields.serialize_field("type", self.ty())?;
        fields.serialize_field("value", &self.to_string())?;
        fields.serialize_field("bits", &self.bits())?;
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type() {
        let symbols = Symbols::default();
        for (value, ty, text, bits) in [
            (Value::I32(u32::MAX), "i32", "-1", Some("0xffffffff")),
            (Value::I64(5), "i64", "5", Some("0x5")),
            (Value::F32(0.1f32.to_bits()), "f32", "0.1", Some("0x3dcccccd")),
            (Value::F64(1e300f64.to_bits()), "f64", "1e300", Some("0x7e37e43c8800759c")),
            (Value::F64(f64::NAN.to_bits()), "f64", "NaN", Some("0x7ff8000000000000")),
            (Value::V128(1), "v128", "0x00000000000000000000000000000001", Some("0x1")),
            (Value::FuncRef(Some(7)), "funcref", "func[7]", Some("7")),
            (Value::FuncRef(None), "funcref", "null", None),
            (Value::ExternRefNull, "externref", "null", None),
            (Value::ExnRef(Some(2)), "exnref", "exception[2]", Some("2")),
        ] {
            let typed = Typed::of(value, &symbols);
            assert_eq!((typed.ty(), &typed.to_string()[..]), (ty, text));
            assert_eq!(typed.bits().as_deref(), bits);
            let json = serde_json::json!({ "type": ty, "value": text, "bits": bits });
            assert_eq!(serde_json::to_value(&typed).unwrap(), json);
        }
    }
}
