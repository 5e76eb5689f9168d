use std::fmt;

/// Why a module cannot be given safepoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a WebAssembly module.
    #[error(
        "not a WebAssembly module: {0}; give a binary .wasm file compiled for wasm32-wasi (wat2wasm turns text into one)"
    )]
    NotWasm(String),
    /// The module is a component, or otherwise not a core module.
    #[error(
        "this is a WebAssembly component, not a core module; compile for wasm32-wasip1 instead"
    )]
    Component,
    /// The module breaks a rule of WebAssembly.
    #[error(
        "invalid WebAssembly module: {message} (at offset {offset:#x}); the file may be damaged or truncated"
    )]
    Invalid {
        /// What the validator said.
        message: String,
        /// Byte offset in the module.
        offset: usize,
    },
    /// The module uses something Dormouse cannot carry yet.
    #[error(
        "the module uses {feature} (at offset {offset:#x}), which Dormouse cannot checkpoint yet; recompile without it"
    )]
    Unsupported {
        /// Its name.
        feature: String,
        /// Byte offset in the module.
        offset: usize,
    },
    /// A function that is larger with safepoints than engines accept.
    #[error(
        "function {func}{} becomes too large: with safepoints it has {what}; split it up, or compile it for size and with less inlining",
        named(.name)
    )]
    FunctionTooLarge {
        /// Function index.
        func: u32,
        /// What the module calls it.
        name: Option<String>,
        /// What it has too much of, and the limit.
        what: String,
    },
    /// A module that is larger with what safepoints need than engines accept.
    #[error(
        "the module becomes too large: with what safepoints need, {what}; split it up, or leave out what it does not use"
    )]
    ModuleTooLarge {
        /// What it has too much of, and the limit.
        what: String,
    },
    /// An import that is not a function.
    #[error(
        "the module imports the {kind} `{module}` `{name}`; Dormouse provides only WASI functions"
    )]
    Import {
        /// memory, table, global or tag.
        kind: &'static str,
        /// Import module.
        module: String,
        /// Import name.
        name: String,
    },
    /// A frame was asked for at a place that is not a safepoint of this module.
    #[error(
        "function {func} has no safepoint at offset {offset:#x}: the image belongs to another module"
    )]
    NoSuchSite {
        /// Function index.
        func: u32,
        /// Byte offset in the module.
        offset: u32,
    },
    /// A frame's values do not fit its safepoint.
    #[error("the frame of function {func} at offset {offset:#x} does not fit the module: {why}")]
    Frame {
        /// Function index.
        func: u32,
        /// Byte offset in the module.
        offset: u32,
        /// What does not fit.
        why: &'static str,
    },
    /// A state that cannot become a module of its own.
    #[error("the checkpoint cannot become a module of its own: {0}")]
    Standalone(String),
    /// Saved frame bytes that no safepoint of this module wrote.
    #[error("the frames memory is inconsistent: {0}")]
    Frames(&'static str),
}

fn named(name: &Option<String>) -> String {
    name.as_ref().map_or_else(String::new, |n| format!(" (`{n:.80}`)"))
}

impl Error {
    pub(crate) fn invalid(e: wasmparser::Error) -> Error {
        Error::Invalid { message: e.message().to_string(), offset: e.offset() }
    }
    pub(crate) fn unsupported(feature: impl fmt::Display, offset: usize) -> Error {
        Error::Unsupported { feature: feature.to_string(), offset }
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
