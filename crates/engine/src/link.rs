//! The program's imports: WASI preview 1, and the module `dormouse` (what a program says about its checkpoints), both
//! from `dormouse-wasi`.
//!
//! A call that would block and is interrupted sets `$unwinding`; the stub round the import then
//! saves its arguments like any frame, and makes the call again after the resume. `dormouse.checkpoint` is such a call,
//! interrupted by nobody but itself.

use crate::host::HostFunctions;
use crate::request::Requester;
use crate::{Error, Result};
use dormouse_transform::{Program, names::control};
use dormouse_wasi::{Call, DIRECTED_MODULE, Errno, Stop, ValType, Wasi};
use wasmtime::{Caller, Global, Linker, Memory, Module, Val};

const MODULE: &str = "wasi_snapshot_preview1";

/// What host functions need of the running program.
pub(crate) struct Host {
    pub wasi: Wasi,
    /// The memory WASI reads and writes: the export `memory`.
    pub memory: Option<Memory>,
    /// What a call needs to be a safepoint; none in a plain run.
    pub safepoint: Option<Safepoint>,
    /// Told of sections that must not be split; none in a plain run.
    pub requester: Option<Requester>,
}

/// Handles of the main instance.
#[derive(Clone, Copy)]
pub(crate) struct Safepoint {
    pub control: Memory,
    pub unwinding: Global,
    /// Safepoints are counted: blocking calls count as well.
    pub counted: bool,
}

/// Ends the program from inside a host function.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Ended {
    #[error("exit status {0}")]
    Exit(u32),
    #[error("{0}")]
    Trap(String),
    #[error("{0}")]
    Aborted(String),
}

/// Whether an import can be interrupted without effect and is then called again.
pub fn restartable(module: &str, name: &str) -> bool {
    Call::imported(module, name).is_some_and(|c| c.blocking)
}

/// Says which imports nobody provides, or have another type.
pub(crate) fn check_imports(p: &Program, host: &HostFunctions) -> Result<()> {
    let unknown: Vec<String> = p
        .imports()
        .iter()
        .filter(|i| Call::imported(&i.module, &i.name).is_none())
        .filter(|i| !host.has(&i.module, &i.name))
        .map(|i| format!("`{}.{}`", i.module, i.name))
        .collect();
    if unknown.is_empty() { Ok(()) } else { Err(Error::Imports { names: unknown.join(", ") }) }
}

/// Why linking failed: what nobody provides (code from the cache was not looked at before), or the first import whose type
/// differs.
pub(crate) fn explain(main: &Module, host: &HostFunctions, e: wasmtime::Error) -> Error {
    let unknown = main.imports().filter(|i| {
        Call::imported(i.module(), i.name()).is_none() && !host.has(i.module(), i.name())
    });
    let unknown: Vec<_> = unknown.map(|i| format!("`{}.{}`", i.module(), i.name())).collect();
    if !unknown.is_empty() {
        return Error::Imports { names: unknown.join(", ") };
    }
    for i in main.imports() {
        let Some(call) = Call::imported(i.module(), i.name()) else { continue };
        let Some(ty) = i.ty().func().cloned() else { continue };
        let same = |a: &mut dyn Iterator<Item = wasmtime::ValType>, b: &[ValType]| {
            let a: Vec<_> = a.collect();
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| match b {
                    ValType::I32 => a.is_i32(),
                    ValType::I64 => a.is_i64(),
                })
        };
        if !same(&mut ty.params(), call.params) || !same(&mut ty.results(), call.results) {
            return Error::ImportType { name: format!("{}.{}", i.module(), i.name()) };
        }
    }
    e.into()
}

macro_rules! link_all {
    ($(($name:ident, blocking = $blocking:literal, ($($arg:ident: $ty:ident),*) -> $result:tt))*) => {
        /// Adds the calls of WASI preview 1 that are wanted. (A program imports a few; adding one
        /// costs ten thousand instructions.)
        pub(crate) fn wasi(linker: &mut Linker<Host>, wanted: impl Fn(&str) -> bool) -> Result<()> {
            $(if wanted(stringify!($name)) {
                link_all!(@one linker $name $blocking ($($arg: $ty),*) $result);
            })*
            Ok(())
        }
    };
    (@one $linker:ident $name:ident $blocking:literal ($($arg:ident: $ty:ident),*) i32) => {
        $linker.func_wrap(MODULE, stringify!($name), |mut caller: Caller<'_, Host>, $($arg: $ty),*| {
            call(&mut caller, $blocking, |w, m| w.$name(m, $($arg),*))
        })?;
    };
    (@one $linker:ident $name:ident $blocking:literal ($($arg:ident: $ty:ident),*) ()) => {
        $linker.func_wrap(MODULE, stringify!($name), |mut caller: Caller<'_, Host>, $($arg: $ty),*| {
            call(&mut caller, $blocking, |w, m| w.$name(m, $($arg),*)).map(|_| ())
        })?;
    };
}

dormouse_wasi::for_each_call!(link_all);

/// Adds the module `dormouse`.
pub(crate) fn directed(linker: &mut Linker<Host>) -> Result<()> {
    type Of<'a> = Caller<'a, Host>;
    linker.func_wrap(DIRECTED_MODULE, "checkpoint", |mut of: Of<'_>| {
        answer(&mut of, true, |w, _| w.checkpoint())
    })?;
    linker.func_wrap(DIRECTED_MODULE, "exclude", |mut of: Of<'_>, ptr: u32, len: u32| {
        answer(&mut of, false, |w, m| Ok(w.exclude(m, ptr, len)))
    })?;
    linker.func_wrap(DIRECTED_MODULE, "include", |mut of: Of<'_>, ptr: u32, len: u32| {
        answer(&mut of, false, |w, m| Ok(w.include(m, ptr, len)))
    })?;
    linker.func_wrap(DIRECTED_MODULE, "disable", |mut of: Of<'_>| {
        answer(&mut of, false, |w, _| Ok(w.disable()))
    })?;
    linker.func_wrap(DIRECTED_MODULE, "enable", |mut of: Of<'_>| {
        answer(&mut of, false, |w, _| Ok(w.enable()))
    })?;
    linker.func_wrap(DIRECTED_MODULE, "restored_count", |mut of: Of<'_>| {
        answer(&mut of, false, |w, _| Ok(w.restored_count() as i32))
    })?;
    Ok(())
}

fn call(
    caller: &mut Caller<'_, Host>,
    blocking: bool,
    f: impl FnOnce(&mut Wasi, &mut [u8]) -> std::result::Result<Errno, Stop>,
) -> wasmtime::Result<i32> {
    answer(caller, blocking, |wasi, memory| Ok(f(wasi, memory)? as i32))
}

fn answer(
    caller: &mut Caller<'_, Host>,
    blocking: bool,
    f: impl FnOnce(&mut Wasi, &mut [u8]) -> std::result::Result<i32, Stop>,
) -> wasmtime::Result<i32> {
    let Host { memory, safepoint, .. } = *caller.data();
    let disabled = caller.data().wasi.is_disabled();
    // A start function in a plain run calls before there are handles.
    let memory = memory.or_else(|| caller.get_export("memory")?.into_memory());
    let answer = match (safepoint, memory) {
        (Some(s), _) if blocking && asked_to_stop(caller, s) => Err(Stop::Interrupted),
        (_, Some(m)) => {
            let (bytes, host) = m.data_and_store_mut(&mut *caller);
            f(&mut host.wasi, bytes)
        }
        (_, None) => f(&mut caller.data_mut().wasi, &mut []),
    };
    let Host { wasi, requester, .. } = caller.data();
    if wasi.is_disabled() != disabled
        && let Some(requester) = requester
    {
        requester.set_disabled(!disabled);
    }
    match answer {
        Ok(answer) => Ok(answer),
        Err(Stop::Interrupted) => {
            let never = || Ended::Trap("a plain run was interrupted".into());
            safepoint.ok_or_else(never)?.unwinding.set(&mut *caller, Val::I32(1))?;
            Ok(0)
        }
        Err(Stop::Exit(code)) => Err(Ended::Exit(code).into()),
        Err(Stop::Trap(why)) => Err(Ended::Aborted(why).into()),
    }
}

/// A blocking call is a safepoint: with a request pending (or, counted, if it is the one to stop
/// at) it answers at once.
fn asked_to_stop(caller: &mut Caller<'_, Host>, s: Safepoint) -> bool {
    let control = s.control.data_mut(&mut *caller);
    if s.counted {
        let at = control::COUNT as usize;
        let mut word = [0; 4];
        word.copy_from_slice(&control[at..at + 4]);
        let left = i32::from_le_bytes(word).wrapping_sub(1);
        control[at..at + 4].copy_from_slice(&left.to_le_bytes());
        left == 0
    } else {
        control[control::REQUEST as usize..][..4] != [0; 4]
    }
}
