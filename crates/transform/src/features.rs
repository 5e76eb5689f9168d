//! Which WebAssembly is accepted, and how the rest is refused: by its name.
//!
//! The module is validated with what the transform handles. If that fails, it is validated again
//! with everything the parser knows; if that passes, features are taken away one at a time and
//! those that cannot be missed are what the module uses and we do not handle.

use crate::{Error, Result};
use wasmparser::{Validator, WasmFeatures};

/// What the transform handles: Wasm 2.0, tail calls, extended-const, multi-memory, 64-bit memories
/// and tables, relaxed SIMD, and exceptions.
pub(crate) fn supported() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::EXCEPTIONS
}

/// Whether the first form of exception handling is all that keeps this module from being handled.
pub(crate) fn is_legacy(module: &[u8]) -> bool {
    let features = supported() | WasmFeatures::LEGACY_EXCEPTIONS;
    Validator::new_with_features(features).validate_all(module).is_ok()
}

/// The same with typed function references. Groups of recursive types and subtypes of function types
/// belong to the proposal for garbage collection; the rest of that is refused by `gc`.
pub(crate) fn typed() -> WasmFeatures {
    supported() | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::GC
}

/// Explains why validation failed with `first`: an unsupported feature by name, or a broken module.
pub(crate) fn explain(module: &[u8], first: wasmparser::Error) -> Error {
    let all = WasmFeatures::all();
    if Validator::new_with_features(all).validate_all(module).is_err() {
        return Error::invalid(first);
    }
    let mut needed = all;
    let mut names = Vec::new();
    for (name, flag) in (all - typed() - WasmFeatures::LEGACY_EXCEPTIONS).iter_names() {
        let without = needed - flag;
        if Validator::new_with_features(without).validate_all(module).is_ok() {
            needed = without;
        } else {
            names.push(name.to_ascii_lowercase().replace('_', "-"));
        }
    }
    if names.is_empty() {
        // Each is handled, but not with the other.
        names.push("legacy-exceptions together with function-references".to_owned());
    }
    Error::unsupported(format!("the WebAssembly feature {}", names.join(", ")), first.offset())
}

/// Validates the whole module.
pub(crate) fn check(module: &[u8]) -> Result<()> {
    match module.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {}
        Some([0, b'a', b's', b'm', _, 0, 1, 0]) => return Err(Error::Component),
        Some([0, b'a', b's', b'm', ..]) => {
            return Err(Error::NotWasm("unknown version in the header".into()));
        }
        _ => return Err(Error::NotWasm("the header `\\0asm` is missing".into())),
    }
    Ok(())
}
