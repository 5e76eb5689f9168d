//! The same engine and the same WASI without safepoints: what transformed runs are compared with.

use crate::link::Host;
use crate::machine::Machine;
use crate::run::{COMMAND, Event};
use crate::values::{self, Out, Passed};
use crate::{Error, Result};
use dormouse_wasi::Wasi;
use wasmtime::{Instance, Linker, Module, Store};

/// A module compiled as it is.
pub struct Plain {
    machine: Machine,
    module: Module,
}

impl Machine {
    /// Compiles a module without safepoints. It can only be run to its end.
    pub fn load_plain(&self, bytes: &[u8]) -> Result<Plain> {
        Ok(Plain { machine: self.clone(), module: Module::new(&self.engine, bytes)? })
    }

    /// Opens what [`Plain::save`] wrote.
    ///
    /// # Errors
    /// If the file was written by another engine.
    pub fn open_plain(&self, path: &std::path::Path) -> Result<Plain> {
        let module = crate::cache::open(&self.engine, path)?;
        Ok(Plain { machine: self.clone(), module })
    }
}

impl Plain {
    /// Writes the compiled code to a file, for [`Machine::open_plain`].
    pub fn save(&self, path: &std::path::Path) -> Result<()> {
        let bytes = self.module.serialize()?;
        std::fs::write(path, bytes).map_err(|e| Error::Engine(format!("{}: {e}", path.display())))
    }

    /// Bytes of machine code.
    pub fn text(&self) -> usize {
        self.module.text().len()
    }

    /// Runs the program to its end, on a thread made by [`Machine::on_stack`].
    pub fn run(&self, wasi: Wasi) -> Result<Event> {
        self.run_from(wasi, || ())
    }

    /// The same; `begin` is called when the instance is made and nothing has run yet.
    pub fn run_from(&self, wasi: Wasi, begin: impl FnOnce()) -> Result<Event> {
        Ok(self.run_to_end(wasi, COMMAND, &[], begin)?.0)
    }

    /// Instantiates the module and calls an exported function. A function among the results is
    /// [`Passed::Opaque`].
    pub fn invoke(&self, wasi: Wasi, name: &str, args: &[Passed]) -> Result<Event> {
        Ok(self.run_to_end(wasi, name, args, || ())?.0)
    }

    /// The end, and what is left of the program; no instance if it could not be made.
    pub(crate) fn run_to_end(
        &self,
        wasi: Wasi,
        name: &str,
        args: &[Passed],
        begin: impl FnOnce(),
    ) -> Result<(Event, Store<Host>, Option<Instance>)> {
        let mut linker = Linker::new(&self.machine.engine);
        crate::link::wasi(&mut linker, |_| true)?;
        crate::link::directed(&mut linker)?;
        let host = Host { wasi, memory: None, safepoint: None, requester: None };
        let mut store = Store::new(&self.machine.engine, host);
        // Only of use on a machine with epochs (`Machine::with`), where nothing would run without it.
        store.set_epoch_deadline(u64::MAX / 2);
        let pre = linker.instantiate_pre(&self.module)?;
        let instance = match pre.instantiate(&mut store) {
            Ok(i) => i,
            Err(e) => return Ok((Event::of(&e), store, None)),
        };
        store.data_mut().memory = instance.get_memory(&mut store, "memory");
        let f = instance.get_func(&mut store, name).ok_or(Error::NoStart)?;
        begin();
        let event = match values::call(&mut store, f, args, |_, _| None)? {
            Ok(values) => {
                let known = |v| match v {
                    Out::Passed(p) => p,
                    Out::Function(_) => Passed::Opaque { kind: "funcref", null: false },
                };
                let command = instance.get_func(&mut store, COMMAND).is_some();
                Event::returned(values.into_iter().map(known).collect(), command)
            }
            Err(e) => Event::of(&e),
        };
        Ok((event, store, Some(instance)))
    }
}
