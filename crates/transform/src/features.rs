//! Which WebAssembly is accepted, and how the rest is refused: by its name.
//!
//! The module is validated with what the transform handles. If that fails, it is validated again
//! with everything the parser knows, noting the functions that need it; if that passes, features are
//! taken away one at a time, and those that these functions or the rest of the module cannot miss
//! are what the module uses and we do not handle.

use crate::{Error, Result, work};
use std::collections::HashSet;
use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Parser, Payload, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

/// What the transform handles: Wasm 2.0, tail calls, extended-const, multi-memory, 64-bit memories
/// and tables, relaxed SIMD, exceptions, and the instructions of threads: no memory is shared (see
/// `module`).
pub(crate) fn supported() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::THREADS
}

/// The same with typed function references. Groups of recursive types and subtypes of function types
/// belong to the proposal for garbage collection; the rest of that is refused by `gc`.
pub(crate) fn typed() -> WasmFeatures {
    supported() | WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::GC
}

/// Whether the first form of exception handling is all that keeps this module from being handled.
pub(crate) fn is_legacy(module: &[u8]) -> bool {
    validate(module, typed() | WasmFeatures::LEGACY_EXCEPTIONS, |_, _| true).is_ok()
}

/// Whether a module that is handled executes instructions of threads.
pub fn uses_atomics(module: &[u8]) -> bool {
    let without = typed() - WasmFeatures::THREADS;
    validate(module, without | WasmFeatures::LEGACY_EXCEPTIONS, |_, _| true).is_err()
}

/// Explains why validation failed with `first`: an unsupported feature by name, or a broken module.
pub(crate) fn explain(module: &[u8], first: wasmparser::Error) -> Error {
    let all = WasmFeatures::all();
    let mut telling = HashSet::new();
    let handled = typed() | WasmFeatures::LEGACY_EXCEPTIONS;
    let valid = validate(module, all, |f, body| {
        let FuncToValidate { resources, index, ty, .. } = f;
        let (resources, index, ty) = (resources.clone(), *index, *ty);
        let strict = FuncToValidate { resources, index, ty, features: handled };
        // Many functions tell the same.
        if telling.len() < 100
            && strict.into_validator(FuncValidatorAllocations::default()).validate(body).is_err()
        {
            telling.insert(index);
        }
        true
    });
    if let Err(e) = valid {
        return Error::invalid(e);
    }
    let mut needed = all;
    let mut names = Vec::new();
    for (name, flag) in (all - handled).iter_names() {
        let without = needed - flag;
        if validate(module, without, |f, _| telling.contains(&f.index)).is_ok() {
            needed = without;
        } else {
            names.push(name.to_ascii_lowercase().replace('_', "-"));
        }
    }
    Error::unsupported(format!("the WebAssembly feature {}", names.join(", ")), first.offset())
}

/// Validates a module; of its functions, those that are `wanted`.
pub(crate) fn validate(
    module: &[u8],
    features: WasmFeatures,
    mut wanted: impl FnMut(&FuncToValidate<ValidatorResources>, &FunctionBody<'_>) -> bool,
) -> wasmparser::Result<()> {
    let mut validator = Validator::new_with_features(features);
    let mut allocations = FuncValidatorAllocations::default();
    for payload in Parser::new(0).parse_all(module) {
        if let ValidPayload::Func(f, body) = validator.payload(&payload?)?
            && wanted(&f, &body)
        {
            work::add(body.range().len());
            let mut f = f.into_validator(allocations);
            f.validate(&body)?;
            allocations = f.into_allocations();
        }
    }
    Ok(())
}

/// Refuses what has not the header of a module, and sections that are said to hold more than they have bytes: the validator makes
/// room for as many before it looks.
pub(crate) fn check(module: &[u8]) -> Result<()> {
    match module.get(..8) {
        Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {}
        Some([0, b'a', b's', b'm', _, 0, 1, 0]) => return Err(Error::Component),
        Some([0, b'a', b's', b'm', ..]) => {
            return Err(Error::NotWasm("unknown version in the header".into()));
        }
        _ => return Err(Error::NotWasm("the header `\\0asm` is missing".into())),
    }
    // What cannot be parsed the validator tells.
    for payload in Parser::new(0).parse_all(module).map_while(std::result::Result::ok) {
        let (count, bytes) = match &payload {
            Payload::TypeSection(s) => (s.count(), s.range()),
            Payload::ImportSection(s) => (s.count(), s.range()),
            Payload::FunctionSection(s) => (s.count(), s.range()),
            Payload::TableSection(s) => (s.count(), s.range()),
            Payload::MemorySection(s) => (s.count(), s.range()),
            Payload::TagSection(s) => (s.count(), s.range()),
            Payload::GlobalSection(s) => (s.count(), s.range()),
            Payload::ExportSection(s) => (s.count(), s.range()),
            Payload::ElementSection(s) => (s.count(), s.range()),
            Payload::DataSection(s) => (s.count(), s.range()),
            _ => continue,
        };
        if count as usize > bytes.len() {
            let message = format!("a section of {} bytes cannot hold {count} items", bytes.len());
            return Err(Error::Invalid { message, offset: bytes.start });
        }
    }
    Ok(())
}
