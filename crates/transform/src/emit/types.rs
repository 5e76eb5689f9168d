//! The encoder's names for the parser's types.

use wasm_encoder::HeapType;
use wasmparser::{RefType, ValType};

/// The encoder's name for a value type.
pub(crate) fn val_type(t: ValType) -> wasm_encoder::ValType {
    use wasm_encoder::ValType as V;
    match t {
        ValType::I32 => V::I32,
        ValType::I64 => V::I64,
        ValType::F32 => V::F32,
        ValType::F64 => V::F64,
        ValType::V128 => V::V128,
        ValType::Ref(r) => V::Ref(ref_type(r)),
    }
}

/// The encoder's name for a reference type.
pub(crate) fn ref_type(r: RefType) -> wasm_encoder::RefType {
    wasm_encoder::RefType { nullable: r.is_nullable(), heap_type: heap_type(r) }
}

pub(crate) fn heap_type(r: RefType) -> HeapType {
    use wasm_encoder::AbstractHeapType as A;
    use wasmparser::{AbstractHeapType as From, HeapType::Abstract};
    if let Some(i) = r.type_index().and_then(|i| i.as_module_index()) {
        return HeapType::Concrete(i);
    }
    let ty = match r.heap_type() {
        Abstract { ty: From::Extern, .. } => A::Extern,
        Abstract { ty: From::Exn, .. } => A::Exn,
        Abstract { ty: From::NoFunc, .. } => A::NoFunc,
        Abstract { ty: From::NoExtern, .. } => A::NoExtern,
        Abstract { ty: From::NoExn, .. } => A::NoExn,
        _ => A::Func,
    };
    HeapType::Abstract { shared: false, ty }
}
