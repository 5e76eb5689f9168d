//! Functions of an embedder's own that a module may import besides WASI's.
//!
//! ```text
//!   module:  (import "env" "twice" (func (param i32) (result i32)))
//!   host:    HostFunctions::new().with("env", "twice", &[I32], &[I32], |args| Ok(vec![...]))
//! ```
//!
//! A program is never stopped inside one, and whoever resumes the program gives it the same ones.

use crate::link::{Ended, Host};
use crate::values::{self, Out, Passed};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;
use wasmtime::{Caller, FuncType, Linker, Module, Val, ValType};

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
    /// `externref`
    ExternRef,
}

type Body = dyn Fn(&[Passed]) -> std::result::Result<Vec<Passed>, String> + Send + Sync;

struct HostFunction {
    params: Vec<Type>,
    results: Vec<Type>,
    body: Arc<Body>,
}

/// Host functions by the names under which they are imported.
#[derive(Default)]
pub struct HostFunctions(BTreeMap<(String, String), HostFunction>);

impl HostFunctions {
    /// None.
    pub fn new() -> HostFunctions {
        HostFunctions::default()
    }

    /// Adds `module`.`name`. An `Err` of `body` is a trap with that message.
    pub fn with(
        mut self,
        module: &str,
        name: &str,
        params: &[Type],
        results: &[Type],
        body: impl Fn(&[Passed]) -> std::result::Result<Vec<Passed>, String> + Send + Sync + 'static,
    ) -> HostFunctions {
        let (params, results) = (params.to_vec(), results.to_vec());
        let f = HostFunction { params, results, body: Arc::new(body) };
        self.0.insert((module.into(), name.into()), f);
        self
    }

    pub(crate) fn has(&self, module: &str, name: &str) -> bool {
        self.0.contains_key(&(module.to_owned(), name.to_owned()))
    }

    /// Those that `main` imports.
    ///
    /// # Errors
    /// If it imports one with another type.
    pub(crate) fn link(&self, linker: &mut Linker<Host>, main: &Module) -> Result<()> {
        linker.allow_shadowing(true);
        for i in main.imports() {
            let (module, name) = (i.module(), i.name());
            let Some(f) = self.0.get(&(module.to_owned(), name.to_owned())) else { continue };
            let types = |t: &[Type]| t.iter().map(|t| t.engine()).collect::<Vec<_>>();
            let ty = FuncType::new(main.engine(), types(&f.params), types(&f.results));
            if !i.ty().func().is_some_and(|wanted| FuncType::eq(wanted, &ty)) {
                return Err(Error::HostImportType { name: format!("{module}.{name}") });
            }
            let (body, results) = (f.body.clone(), f.results.clone());
            linker.func_new(module, name, ty, move |mut caller, args, out| {
                call(&mut caller, &*body, args, &results, out)
            })?;
        }
        Ok(())
    }
}

fn call(
    caller: &mut Caller<'_, Host>,
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
    let values = body(&given).map_err(Ended::Trap)?;
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
