/// What can go wrong while loading, running, capturing or resuming.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module cannot be given safepoints.
    #[error(transparent)]
    Module(#[from] dormouse_transform::Error),
    /// Imports that are not WASI preview 1 functions.
    #[error(
        "the module imports {names}, which nobody provides; only wasi_snapshot_preview1 functions are available: recompile for wasm32-wasip1"
    )]
    Imports {
        /// `module.name`, comma separated.
        names: String,
    },
    /// An import has another type than WASI says.
    #[error(
        "the module imports `{name}` with another type than WASI preview 1 gives it; recompile with a current wasi-libc"
    )]
    ImportType {
        /// `module.name`.
        name: String,
    },
    /// A host function is imported with another type than it was given.
    #[error("the module imports `{name}` with another type than the host function has")]
    HostImportType {
        /// `module.name`.
        name: String,
    },
    /// A host function or a state has a name that it cannot have.
    #[error("{0}; choose another name")]
    HostName(String),
    /// The checkpoint holds states of host functions that nobody here knows.
    #[error(
        "the checkpoint holds the state of host functions {names}, which this program does not have; resume it with the program that took it"
    )]
    HostStates {
        /// Their names, comma separated.
        names: String,
    },
    /// A state of host functions refuses what the checkpoint holds.
    #[error("the state of host functions `{name}` cannot be restored: {why}; nothing was run")]
    HostState {
        /// Its name.
        name: String,
        /// Its words.
        why: String,
    },
    /// No `_start`.
    #[error(
        "the module has no `_start` function to run; compile it as a command (an executable), or name the function to call with --invoke"
    )]
    NoStart,
    /// A function that cannot be called so.
    #[error("cannot call it: {0}")]
    Call(String),
    /// The image belongs to another module.
    #[error(
        "the checkpoint is of another module (SHA-256 {expected}), not of this one ({found}); give the module it was taken from"
    )]
    OtherModule {
        /// Digest in the state.
        expected: String,
        /// Digest of the module at hand.
        found: String,
    },
    /// The state does not fit the module.
    #[error(
        "the checkpoint does not fit its module: {0}; it is damaged or was made by a newer version"
    )]
    State(String),
    /// The state cannot leave the process now.
    #[error("cannot checkpoint now: {0}; the program goes on")]
    CannotCapture(String),
    /// WASI objects cannot be saved or restored.
    #[error(transparent)]
    Wasi(#[from] dormouse_wasi::WasiError),
    /// This host cannot give the memories or tables that the program has.
    #[error(
        "this host has no room for the program: {0}; raise the limit (ulimit -v), or use a host with more memory or a 64-bit one"
    )]
    NoRoom(String),
    /// Atomic instructions where programs are interpreted.
    #[error(
        "the module uses atomic instructions, which the interpreter does not know; leave out --interpret, recompile it without threads, or use an x86-64, aarch64, s390x or riscv64 host"
    )]
    Atomics,
    /// The engine refused; a bug of ours or a lack of resources.
    #[error("the WebAssembly engine failed: {0}")]
    Engine(String),
    /// The system gave no thread, or no stack of that size.
    #[error("cannot start a thread for the program: {0}; try a smaller --stack")]
    Thread(std::io::Error),
}

impl From<wasmtime::Error> for Error {
    fn from(e: wasmtime::Error) -> Self {
        Error::Engine(format!("{e:#}"))
    }
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
