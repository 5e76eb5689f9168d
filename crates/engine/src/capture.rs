//! A stopped program, read out as a [`State`]: what is in the engine becomes engine-neutral.

use crate::references::{Reader, addresses};
use crate::run::{Call, Run};
use crate::values::Passed;
use crate::{Error, Result};
use dormouse_memory::Watch;
use dormouse_state::{Frame, Memory, Site, State, Table};
use dormouse_transform::{Program, names, names::control};

impl Run {
    /// The state of a stopped program. Its memories are read with [`Run::memory`].
    ///
    /// # Errors
    /// If something the program holds cannot be carried, or it is in a section that must not be split; the program can
    /// go on all the same.
    pub fn state(&mut self) -> Result<State> {
        self.must_be_enabled()?;
        let wasi = self.store.data().wasi.save()?;
        let mut state = self.state_with(wasi)?;
        state.host = self.code.host.save()?;
        Ok(state)
    }

    fn must_be_enabled(&self) -> Result<()> {
        if self.is_disabled() {
            let what =
                "the program is in a section that it does not want to be split (dormouse_disable)";
            return Err(Error::CannotCapture(what.into()));
        }
        Ok(())
    }

    /// The same with other WASI objects, or none, and without the states of host functions.
    pub(crate) fn state_with(&mut self, wasi: Vec<u8>) -> Result<State> {
        self.must_be_enabled()?;
        let code = self.code.clone();
        let (program, inventory) = (code.program()?, code.inventory()?);
        let sp = self.own.get(&mut self.store, self.own.sp) as usize;
        let fill = self.own.references.map(|r| r.map_or(0, |r| self.own.get(&mut self.store, r.1)));
        let bytes = self.own.frames.data(&self.store).get(..sp).unwrap_or_default();
        let saved = program.read_frames(bytes, fill)?;

        let mut frames = Vec::with_capacity(saved.len() + self.waiting.len());
        for call in &self.waiting {
            frames.push(waiting(program, call)?);
        }
        let mut reader = Reader::new(self, &inventory.references, inventory.tags)?;
        for saved in saved {
            frames.push(saved.into_frame(|hierarchy, entry| {
                let table = reader.own.references[hierarchy as usize];
                let found = table.and_then(|(t, _)| t.get(&mut reader.store, entry.into()));
                reader.reference(found)
            })?);
        }

        let mut globals = Vec::with_capacity(inventory.globals.len());
        for &(i, _) in &inventory.globals {
            let g = reader.instance.get_global(&mut reader.store, &names::global(i));
            let g = g.ok_or_else(|| Error::Engine(format!("no global {i}")))?;
            let v = g.get(&mut reader.store);
            globals.push((i, reader.value(v)?));
        }
        let mut tables = Vec::with_capacity(inventory.tables.len());
        for &index in &inventory.tables {
            let t = reader.instance.get_table(&mut reader.store, &names::table(index));
            let t = t.ok_or_else(|| Error::Engine(format!("no table {index}")))?;
            let entries = (0..t.size(&reader.store))
                .map(|i| {
                    let r = t.get(&mut reader.store, i);
                    reader.reference(r)
                })
                .collect::<Result<_>>()?;
            tables.push(Table { index, entries });
        }
        let exceptions = reader.exceptions();
        let memories = (0..inventory.memories)
            .map(|index| Ok(Memory { index, pages: self.memory_handle(index)?.size(&self.store) }))
            .collect::<Result<_>>()?;
        let flags = &self.own.control.data(&self.store)[control::DROPPED as usize..];
        let (dropped_data, dropped_elems) = inventory.dropped(flags);
        Ok(State {
            module_digest: code.digest(),
            frames,
            globals,
            tables,
            exceptions,
            memories,
            dropped_data,
            dropped_elems,
            wasi,
            host: vec![],
        })
    }

    /// What must be on the disk before a checkpoint of what the program is now may be reported: see [`Wasi::unsynced`].
    ///
    /// # Errors
    /// What the system says.
    ///
    /// [`Wasi::unsynced`]: dormouse_wasi::Wasi::unsynced
    pub fn unsynced(&self) -> Result<dormouse_wasi::Unsynced> {
        Ok(self.store.data().wasi.unsynced()?)
    }

    /// From here the program's files can go back to what they are now: see [`Wasi::mark`].
    ///
    /// # Errors
    /// If the undo log cannot be written.
    ///
    /// [`Wasi::mark`]: dormouse_wasi::Wasi::mark
    pub fn mark_files(&mut self) -> Result<Option<dormouse_wasi::Mark>> {
        Ok(self.store.data_mut().wasi.mark()?)
    }

    /// The WASI objects of a stopped program.
    pub fn wasi(&mut self) -> &mut dormouse_wasi::Wasi {
        &mut self.store.data_mut().wasi
    }

    /// The contents of a memory of a stopped program, by its index in the original module.
    pub fn memory(&mut self, index: u32) -> Result<&[u8]> {
        Ok(self.memory_handle(index)?.data(&self.store))
    }

    /// The same, to be written.
    pub fn memory_mut(&mut self, index: u32) -> Result<&mut [u8]> {
        Ok(self.memory_handle(index)?.data_mut(&mut self.store))
    }

    /// All memories of a stopped program, in the order of [`State::memories`].
    pub fn memories(&mut self) -> Result<Vec<(u32, &[u8])>> {
        let n = self.code.clone().inventory()?.memories;
        let handles = (0..n).map(|i| self.memory_handle(i)).collect::<Result<Vec<_>>>()?;
        let store = &self.store;
        Ok((0..n).zip(handles).map(|(i, m)| (i, m.data(store))).collect())
    }

    /// The same memories for other threads, which may look at them while the program runs.
    pub fn watches(&mut self) -> Vec<(u32, Watch)> {
        // Not from the inventory, for which a module that came from the cache would have to be analysed.
        let handle = |index| self.instance.get_memory(&mut self.store, &names::memory(index));
        let handles: Vec<_> = (0..).map_while(handle).collect();
        let watch = |memory: wasmtime::Memory| {
            self.code.machine.memories.watch(memory.data_ptr(&self.store))
        };
        (0..).zip(handles).filter_map(|(index, memory)| Some((index, watch(memory)?))).collect()
    }

    pub(crate) fn memory_handle(&mut self, index: u32) -> Result<wasmtime::Memory> {
        self.instance
            .get_memory(&mut self.store, &names::memory(index))
            .ok_or_else(|| Error::Engine(format!("no memory {index}")))
    }

    /// The index of the function that a reference points to.
    pub(crate) fn function_at(&mut self, address: usize) -> Result<Option<u32>> {
        let code = self.code.clone();
        let held = &code.inventory()?.references;
        let Run { store, instance, references, .. } = self;
        let known = references.get_or_insert_with(|| addresses(store, *instance, held));
        Ok(known.get(&address).copied())
    }
}

/// A function that is still to be called, once what is above it has returned: its arguments are its
/// first locals.
fn waiting(program: &Program, call: &Call) -> Result<Frame> {
    let missing = || Error::Engine(format!("no function `{}`", call.name));
    let func = program.exported_function(&call.name).ok_or_else(missing)?;
    let mut locals = Vec::with_capacity(call.args.len());
    for (i, a) in (0..).zip(&call.args) {
        match *a {
            Passed::Value(v) => locals.push((i, v)),
            _ => {
                let what = format!("an argument of `{}` is an object of the host", call.name);
                return Err(Error::CannotCapture(what));
            }
        }
    }
    Ok(Frame { site: Site { func, offset: 0 }, locals, operands: vec![] })
}
