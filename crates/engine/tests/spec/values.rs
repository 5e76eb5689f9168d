//! Arguments and expected results of a script.

use dormouse_engine::Passed;
use dormouse_state::Value;
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// An argument; `Err` is the kind of value that nobody can give.
pub fn argument(arg: &WastArg<'_>) -> Result<Passed, String> {
    let WastArg::Core(arg) = arg else { return Err("a component's value".into()) };
    Ok(match arg {
        WastArgCore::I32(v) => Value::I32(*v as u32).into(),
        WastArgCore::I64(v) => Value::I64(*v as u64).into(),
        WastArgCore::F32(v) => Value::F32(v.bits).into(),
        WastArgCore::F64(v) => Value::F64(v.bits).into(),
        WastArgCore::V128(v) => Value::V128(u128::from_le_bytes(v.to_le_bytes())).into(),
        WastArgCore::RefExtern(n) => Passed::Object(*n),
        WastArgCore::RefNull(HeapType::Abstract { ty, .. }) => match ty {
            AbstractHeapType::Func | AbstractHeapType::NoFunc => Value::FuncRef(None).into(),
            AbstractHeapType::Extern | AbstractHeapType::NoExtern => Value::ExternRefNull.into(),
            other => return Err(format!("a null {other:?} reference as an argument")),
        },
        other => return Err(format!("{other:?} as an argument")),
    })
}

/// Whether a function returned what it should.
pub fn all_match(found: &[Passed], expected: &[WastRet<'_>]) -> bool {
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(f, e)| match e {
            WastRet::Core(e) => matches(f, e),
            _ => false,
        })
}

fn matches(found: &Passed, expected: &WastRetCore<'_>) -> bool {
    use WastRetCore as R;
    let v = |v: Value| *found == Passed::Value(v);
    match expected {
        R::I32(x) => v(Value::I32(*x as u32)),
        R::I64(x) => v(Value::I64(*x as u64)),
        R::F32(p) => matches!(*found, Passed::Value(Value::F32(bits)) if f32_matches(bits, p)),
        R::F64(p) => matches!(*found, Passed::Value(Value::F64(bits)) if f64_matches(bits, p)),
        R::V128(p) => matches!(*found, Passed::Value(Value::V128(bits)) if v128(bits, p)),
        R::RefNull(_) => matches!(
            *found,
            Passed::Value(Value::FuncRef(None) | Value::ExternRefNull)
                | Passed::Opaque { null: true, .. }
        ),
        R::RefExtern(Some(n)) => *found == Passed::Object(*n),
        R::RefExtern(None) => matches!(*found, Passed::Object(_)),
        R::RefFunc(_) => matches!(
            *found,
            Passed::Value(Value::FuncRef(Some(_)))
                | Passed::Opaque { kind: "funcref", null: false }
        ),
        R::Either(any) => any.iter().any(|e| matches(found, e)),
        _ => false,
    }
}

fn f32_matches(bits: u32, p: &NanPattern<F32>) -> bool {
    match p {
        NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(x) => bits == x.bits,
    }
}

fn f64_matches(bits: u64, p: &NanPattern<F64>) -> bool {
    match p {
        NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => bits & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(x) => bits == x.bits,
    }
}

fn v128(bits: u128, p: &V128Pattern) -> bool {
    let lane = |i: usize, width: usize| (bits >> (i * width)) as u64;
    match p {
        V128Pattern::I8x16(l) => l.iter().enumerate().all(|(i, x)| lane(i, 8) as i8 == *x),
        V128Pattern::I16x8(l) => l.iter().enumerate().all(|(i, x)| lane(i, 16) as i16 == *x),
        V128Pattern::I32x4(l) => l.iter().enumerate().all(|(i, x)| lane(i, 32) as i32 == *x),
        V128Pattern::I64x2(l) => l.iter().enumerate().all(|(i, x)| lane(i, 64) as i64 == *x),
        V128Pattern::F32x4(l) => {
            l.iter().enumerate().all(|(i, x)| f32_matches(lane(i, 32) as u32, x))
        }
        V128Pattern::F64x2(l) => l.iter().enumerate().all(|(i, x)| f64_matches(lane(i, 64), x)),
    }
}
