//! Functions of an embedder's own that a module may import besides WASI's, and what they remember.
//!
//! ```text
//!   module:  (import "counter" "next" (func (param i32) (result i32)))
//!   host:    HostFunctions::new()
//!                .with("counter", "next", &[I32], &[I32], |caller, args| Ok(vec![...]))
//!                .state(counter)          save ──> checkpoint ──> restore ──> the program goes on
//! ```
//!
//! A program is never stopped inside one: a stop that is asked for meanwhile waits until it returns, so it should not wait
//! for long. Whoever resumes the program gives it the same functions, and the same states to restore.

use crate::link::{Ended, Host};
use crate::values::{self, Out, Passed};
use crate::{Error, Result};
use dormouse_state::{HostState as Saved, MAX_HOST_NAME, MAX_HOST_STATES};
use dormouse_wasi::{Call, DIRECTED_MODULE};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use wasmtime::{FuncType, Linker, Module, Val, ValType};

/// Types of what a host function takes and gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `v128`
    V128,
    /// `externref`: null, or a [`Passed::Object`]. While the program holds one of these, it cannot be captured.
    ExternRef,
}

/// What host functions remember from call to call, and what must come back with the program.
///
/// Both are called while the program stands still, and never while one of its functions runs.
pub trait HostState: Send {
    /// Its name in checkpoints: 1 to 256 bytes, and no other state of the program has it. It is asked for once, when the
    /// state is [added](HostFunctions::state).
    fn name(&self) -> String;

    /// Everything that [`HostState::restore`] needs.
    ///
    /// # Errors
    /// Why it cannot be saved now. The checkpoint fails with these words, and the program goes on.
    fn save(&mut self) -> std::result::Result<Vec<u8>, String>;

    /// Becomes what it was when these bytes were saved, whatever it is now. They may come from another version of the
    /// embedder, another host, or a stranger.
    ///
    /// # Errors
    /// Why it cannot. The resume fails with these words; nothing of the program has been run, and its files are as they
    /// were.
    fn restore(&mut self, bytes: &[u8]) -> std::result::Result<(), String>;
}

/// The program that calls a host function.
#[derive(Debug)]
pub struct Caller<'a> {
    memory: &'a mut [u8],
}

impl Caller<'_> {
    /// The bytes that the program's memory has now: what it exports as `memory`; 0 if it exports none.
    pub fn memory_len(&self) -> u64 {
        self.memory.len() as u64
    }

    /// `len` bytes of its memory, from address `at`.
    ///
    /// # Errors
    /// If they do not all lie in it. With `?` that is a trap, as it would be in the program itself.
    pub fn bytes(
        &self,
        at: impl Into<u64>,
        len: impl Into<u64>,
    ) -> std::result::Result<&[u8], String> {
        let (at, len) = (at.into(), len.into());
        Ok(&self.memory[self.range(at, len)?])
    }

    /// The same, to be written.
    ///
    /// # Errors
    /// As [`Caller::bytes`]; nothing is written then.
    pub fn bytes_mut(
        &mut self,
        at: impl Into<u64>,
        len: impl Into<u64>,
    ) -> std::result::Result<&mut [u8], String> {
        let (at, len) = (at.into(), len.into());
        let range = self.range(at, len)?;
        Ok(&mut self.memory[range])
    }

    fn range(&self, at: u64, len: u64) -> std::result::Result<std::ops::Range<usize>, String> {
        let end = at.checked_add(len).filter(|end| *end <= self.memory_len());
        let end = end.ok_or_else(|| {
            let has = self.memory_len();
            format!("{len} bytes at address {at:#x} are not all in the memory, which has {has}")
        })?;
        Ok(at as usize..end as usize)
    }
}

type Body =
    dyn Fn(&mut Caller<'_>, &[Passed]) -> std::result::Result<Vec<Passed>, String> + Send + Sync;

#[derive(Clone)]
struct HostFunction {
    params: Vec<Type>,
    results: Vec<Type>,
    body: Arc<Body>,
}

/// Host functions by the names under which they are imported, and what they remember.
#[derive(Clone, Default)]
pub struct HostFunctions {
    functions: BTreeMap<(String, String), HostFunction>,
    states: Vec<(String, Arc<Mutex<dyn HostState>>)>,
}

impl HostFunctions {
    /// None.
    pub fn new() -> HostFunctions {
        HostFunctions::default()
    }

    /// Adds `module`.`name`, in place of another of that name. It is called with as many values as `params` says, of those
    /// types, and gives back those of `results`. An `Err` ends the program, as a trap with that message.
    ///
    /// ```
    /// use dormouse_engine::{HostFunctions, Type::{I32, I64}};
    ///
    /// HostFunctions::new()
    ///     // (import "sum" "of" (func (param i32 i32) (result i64))): of the bytes at an address
    ///     .with("sum", "of", &[I32, I32], &[I64], |caller, args| {
    ///         let (at, len) = (u32::try_from(args[0])?, u32::try_from(args[1])?);
    ///         let sum: u64 = caller.bytes(at, len)?.iter().map(|b| u64::from(*b)).sum();
    ///         Ok(vec![sum.into()])
    ///     });
    /// ```
    pub fn with(
        mut self,
        module: &str,
        name: &str,
        params: &[Type],
        results: &[Type],
        body: impl Fn(&mut Caller<'_>, &[Passed]) -> std::result::Result<Vec<Passed>, String>
        + Send
        + Sync
        + 'static,
    ) -> HostFunctions {
        let (params, results) = (params.to_vec(), results.to_vec());
        let f = HostFunction { params, results, body: Arc::new(body) };
        self.functions.insert((module.into(), name.into()), f);
        self
    }

    /// Adds what functions remember; they share it. It is saved with each checkpoint, and restored before a program goes on
    /// from one that has it. From a checkpoint that does not have it, it is left as it is.
    pub fn state<S: HostState + 'static>(mut self, state: Arc<Mutex<S>>) -> HostFunctions {
        let name = state.lock().unwrap_or_else(PoisonError::into_inner).name();
        self.states.push((name, state));
        self.states.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }

    /// Whether there is a function of this name.
    pub fn has(&self, module: &str, name: &str) -> bool {
        self.functions.contains_key(&(module.to_owned(), name.to_owned()))
    }

    /// Those that `main` imports.
    ///
    /// # Errors
    /// If it imports one with another type, or there are names that cannot be.
    pub(crate) fn link(&self, linker: &mut Linker<Host>, main: &Module) -> Result<()> {
        self.check_names()?;
        let mut linked = HashSet::new();
        for i in main.imports() {
            let (module, name) = (i.module(), i.name());
            let Some(f) = self.functions.get(&(module.to_owned(), name.to_owned())) else {
                continue;
            };
            let types = |t: &[Type]| t.iter().map(|t| t.engine()).collect::<Vec<_>>();
            let ty = FuncType::new(main.engine(), types(&f.params), types(&f.results));
            if !i.ty().func().is_some_and(|wanted| FuncType::eq(wanted, &ty)) {
                return Err(Error::HostImportType { name: format!("{module}.{name}") });
            }
            // It may be imported more than once.
            if !linked.insert((module, name)) {
                continue;
            }
            let (body, results) = (f.body.clone(), f.results.clone());
            linker.func_new(module, name, ty, move |mut caller, args, out| {
                call(&mut caller, &*body, args, &results, out)
            })?;
        }
        Ok(())
    }

    fn check_names(&self) -> Result<()> {
        let bad = |what| Err(Error::HostName(what));
        for (module, name) in self.functions.keys() {
            if module == DIRECTED_MODULE || Call::imported(module, name).is_some() {
                return bad(format!("`{module}.{name}` is a function of Dormouse's own"));
            }
        }
        if self.states.len() > MAX_HOST_STATES {
            return bad(format!("there are more than {MAX_HOST_STATES} states"));
        }
        if let Some((name, _)) =
            self.states.iter().find(|s| !(1..=MAX_HOST_NAME).contains(&s.0.len()))
        {
            return bad(format!(
                "the name of a state has {} bytes, not 1 to {MAX_HOST_NAME}",
                name.len()
            ));
        }
        match self.states.windows(2).find(|two| two[0].0 == two[1].0) {
            Some(two) => bad(format!("two states are called `{}`", two[0].0)),
            None => Ok(()),
        }
    }

    /// All states, for a checkpoint.
    ///
    /// # Errors
    /// If one does not let itself be saved.
    pub(crate) fn save(&self) -> Result<Vec<Saved>> {
        let save = |(name, state): &(String, Arc<Mutex<dyn HostState>>)| {
            let bytes = mind(state, |state| state.save()).map_err(|why| {
                let what = format!("the state of host functions `{name}` cannot be saved: {why}");
                Error::CannotCapture(what)
            })?;
            Ok(Saved { name: name.clone(), bytes })
        };
        self.states.iter().map(save).collect()
    }

    /// Whether all that a checkpoint holds can be given back to somebody.
    ///
    /// # Errors
    /// With the names of what cannot.
    pub(crate) fn knows(&self, saved: &[Saved]) -> Result<()> {
        let unknown = saved.iter().filter(|saved| self.find(&saved.name).is_none());
        let names: Vec<_> = unknown.map(|saved| format!("`{}`", saved.name)).collect();
        if names.is_empty() { Ok(()) } else { Err(Error::HostStates { names: names.join(", ") }) }
    }

    /// Gives back what a checkpoint holds.
    pub(crate) fn restore(&self, saved: &[Saved]) -> Result<()> {
        self.knows(saved)?;
        for Saved { name, bytes } in saved {
            if let Some(state) = self.find(name) {
                mind(state, |state| state.restore(bytes))
                    .map_err(|why| Error::HostState { name: name.clone(), why })?;
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Arc<Mutex<dyn HostState>>> {
        self.states.iter().find(|s| s.0 == name).map(|s| &s.1)
    }
}

impl fmt::Debug for HostFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let functions = self.functions.keys().map(|(module, name)| format!("{module}.{name}"));
        f.debug_struct("HostFunctions")
            .field("functions", &functions.collect::<Vec<_>>())
            .field("states", &self.states.iter().map(|s| &s.0).collect::<Vec<_>>())
            .finish()
    }
}

/// A bug of the embedder's must not take the program with it.
fn mind<T>(
    state: &Mutex<dyn HostState>,
    what: impl FnOnce(&mut dyn HostState) -> std::result::Result<T, String>,
) -> std::result::Result<T, String> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    catch_unwind(AssertUnwindSafe(|| what(&mut *state)))
        .unwrap_or_else(|_| Err("it panicked".into()))
}

fn call(
    caller: &mut wasmtime::Caller<'_, Host>,
    body: &Body,
    args: &[Val],
    results: &[Type],
    out: &mut [Val],
) -> wasmtime::Result<()> {
    let mut given = Vec::with_capacity(args.len());
    for &a in args {
        given.push(match values::out(&mut *caller, a)? {
            Out::Passed(p) => p,
            Out::Function(_) => Passed::Opaque { kind: "funcref", null: false },
        });
    }
    let memory = match caller.data().memory {
        Some(memory) => memory.data_mut(&mut *caller),
        None => &mut [],
    };
    let values = body(&mut Caller { memory }, &given).map_err(Ended::Trap)?;
    if values.len() != results.len() {
        return Err(Ended::Trap("a host function gave another number of results".into()).into());
    }
    for ((&v, ty), to) in values.iter().zip(results).zip(out) {
        if !values::fits(v, &ty.engine()) {
            return Err(Ended::Trap("a host function gave a result of another type".into()).into());
        }
        *to = values::into(&mut *caller, v)?;
    }
    Ok(())
}

impl Type {
    fn engine(self) -> ValType {
        match self {
            Type::I32 => ValType::I32,
            Type::I64 => ValType::I64,
            Type::F32 => ValType::F32,
            Type::F64 => ValType::F64,
            Type::V128 => ValType::V128,
            Type::ExternRef => ValType::EXTERNREF,
        }
    }
}
