//! A state put into a fresh instance, ready to go on.

use crate::machine::{Code, hex};
use crate::references::{Maker, fits, hierarchy};
use crate::run::Run;
use crate::values::Passed;
use crate::{Error, Result};
use dormouse_state::{State, Value};
use dormouse_transform::{FramesMemory, Kind, Program, Source, names, names::control};
use dormouse_wasi::{StdioConfig, Wasi, WasiConfig};
use std::collections::HashMap;
use std::sync::Arc;
use wasmtime::Val;

impl Run {
    /// A program that goes on from `state` at the next [`Run::advance`]. `fill` writes the contents
    /// of a memory, given its index and its bytes, all zero.
    ///
    /// # Errors
    /// If the state is not one of this module; nothing has been run then.
    pub fn resume(
        code: Arc<Code>,
        state: &State,
        wasi: Wasi,
        fill: impl FnMut(u32, &mut [u8]) -> std::result::Result<(), String>,
    ) -> Result<Run> {
        Run::resume_with(code, state, || Ok(wasi), fill)
    }

    /// The same, but WASI objects are made last, by `wasi`: reopening files cuts them back, so it
    /// must not happen before everything else of the image is in place, and what host functions remember is restored.
    ///
    /// # Errors
    /// As [`Run::resume`]; `wasi` is not called unless it is all that is missing.
    pub fn resume_with(
        code: Arc<Code>,
        state: &State,
        wasi: impl FnOnce() -> Result<Wasi>,
        fill: impl FnMut(u32, &mut [u8]) -> std::result::Result<(), String>,
    ) -> Result<Run> {
        let mut run = Run::put(code, state, fill)?;
        run.code.host.restore(&state.host)?;
        run.set_wasi(wasi()?);
        run.go_on_next();
        Ok(run)
    }

    /// Whether a program could go on from `state`, as far as that can be told without WASI objects: host functions are not
    /// told, and nothing is left behind.
    ///
    /// # Errors
    /// As [`Run::resume`].
    pub fn rehearse(
        code: Arc<Code>,
        state: &State,
        fill: impl FnMut(u32, &mut [u8]) -> std::result::Result<(), String>,
    ) -> Result<()> {
        Run::put(code, state, fill).map(drop)
    }

    /// A fresh instance with all that is in it and its frames.
    fn put(
        code: Arc<Code>,
        state: &State,
        mut fill: impl FnMut(u32, &mut [u8]) -> std::result::Result<(), String>,
    ) -> Result<Run> {
        code.host.knows(&state.host)?;
        if state.module_digest != code.digest() {
            let (expected, found) = (hex(&state.module_digest), hex(&code.digest()));
            return Err(Error::OtherModule { expected, found });
        }
        let (program, inventory) = (code.program()?, code.inventory()?);
        let bad = |what: &str| Error::State(what.to_string());
        let none = WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() };
        let mut run = Run::instantiate(code.clone(), Wasi::new(none)?)?;
        run.call_own(names::INIT_TABLES)?;

        let count = inventory.memories as usize;
        if state.memories.len() != count || state.tables.len() != inventory.tables.len() {
            return Err(bad("it has other memories or tables"));
        }
        for m in &state.memories {
            let handle = run.grown_memory(m.index, m.pages)?;
            fill(m.index, handle.data_mut(&mut run.store)).map_err(Error::State)?;
        }
        // Calls that wait stand at offset 0, as does an import that is to be called again; but that
        // is the innermost frame.
        let last = state.frames.len().saturating_sub(1);
        let wait = state.frames[..last].iter().take_while(|f| f.site.offset == 0).count();
        let (waiting, frames) = state.frames.split_at(wait);
        if frames.is_empty() {
            return Err(bad("it has no frames"));
        }
        let mut maker = Maker::new(&mut run, &state.exceptions, inventory)?;
        if state.globals.len() != inventory.globals.len() {
            return Err(bad("it has other globals"));
        }
        for (&(i, ty), &(j, v)) in inventory.globals.iter().zip(&state.globals) {
            if i != j || !fits(program, v, ty) {
                return Err(bad("a global has another type"));
            }
            let v = maker.val(v)?;
            let g = maker.instance.get_global(&mut maker.store, &names::global(i));
            g.ok_or_else(|| bad("a global is missing"))?.set(&mut maker.store, v)?;
        }
        for (t, &index) in state.tables.iter().zip(&inventory.tables) {
            if t.index != index {
                return Err(bad("it has other tables"));
            }
            maker.fill_table(index, &t.entries)?;
        }
        maker.write_frames(program, frames)?;
        drop(maker);
        let (datas, elems) = inventory.segments;
        for (list, first, n) in
            [(&state.dropped_data, 0, datas), (&state.dropped_elems, datas, elems)]
        {
            for &i in list {
                if i >= n {
                    return Err(bad("it names a segment that does not exist"));
                }
                let at = control::DROPPED as usize + (first + i) as usize;
                run.own.control.data_mut(&mut run.store)[at] = 1;
            }
        }
        run.call_own(names::DROP_SEGMENTS)?;

        for f in waiting.iter().rev() {
            let name = program.export_of(f.site.func);
            let name =
                name.ok_or_else(|| bad("a function that is to be called is not exported"))?;
            let args: Vec<Passed> = f.locals.iter().map(|l| l.1.into()).collect();
            if !f.locals.iter().map(|l| l.0).eq(0..args.len() as u32) || !f.operands.is_empty() {
                return Err(bad("a function that is to be called lacks an argument"));
            }
            run.call(name, &args).map_err(|e| Error::State(e.to_string()))?;
        }
        Ok(run)
    }
}

impl Run {
    /// A memory, grown to the pages it had.
    fn grown_memory(&mut self, index: u32, pages: u64) -> Result<wasmtime::Memory> {
        let handle = self.memory_handle(index)?;
        let more = pages
            .checked_sub(handle.size(&self.store))
            .ok_or_else(|| Error::State("a memory is smaller than the module's".into()))?;
        if handle.ty(&self.store).maximum().is_some_and(|most| pages > most) {
            return Err(Error::State("a memory is larger than the module allows".into()));
        }
        if let Err(e) = handle.grow(&mut self.store, more) {
            let mib = pages.saturating_mul(65536) >> 20;
            return Err(Error::NoRoom(format!(
                "memory {index} had {pages} pages, {mib} MiB: {e:#}"
            )));
        }
        Ok(handle)
    }
}

impl Maker<'_> {
    fn write_frames(&mut self, program: &Program, frames: &[dormouse_state::Frame]) -> Result<()> {
        let mut out = FramesMemory::default();
        let mut references = vec![];
        for f in frames.iter().rev() {
            let operands =
                program.push_frame(&mut out, f.site.func, f.site.offset, |source, ty| {
                    let v = match source {
                        Source::Local(l) => {
                            let at = f.locals.binary_search_by_key(&l, |x| x.0).ok()?;
                            f.locals[at].1
                        }
                        Source::Operand(p) => *f.operands.get(p as usize)?,
                    };
                    references.extend(hierarchy(v).map(|h| (h, v)));
                    fits(program, v, ty).then(|| bits(v))
                })?;
            if operands as usize != f.operands.len() {
                return Err(Error::State("a frame has another operand stack".into()));
            }
        }
        // All but the innermost frame wait for a call to return.
        let mut calls = HashMap::new();
        for (i, &slot) in out.slots.iter().enumerate() {
            let is_call = match calls.get(&slot) {
                Some(&c) => c,
                None => *calls.entry(slot).or_insert(program.site(slot)?.1.kind == Kind::Call),
            };
            if is_call != (i > 0) {
                return Err(Error::State("its frames do not follow from each other".into()));
            }
        }
        let own = self.own;
        for (h, v) in references {
            let r = self.reference(v)?;
            let table = own.references[h as usize];
            let (table, sp) =
                table.ok_or_else(|| Error::State("no place for a reference".into()))?;
            let fill = own.get(&mut self.store, sp);
            if u64::from(fill) < table.size(&self.store) {
                table.set(&mut self.store, fill.into(), r)?;
            } else {
                table.grow(&mut self.store, 1, r)?;
            }
            sp.set(&mut self.store, Val::I32(fill as i32 + 1))?;
        }
        // Room for one more frame of any size, as those who save expect: room is made after each frame,
        // and no single frame is as large as this.
        let need = out.bytes.len() as u64 + (4 << 20);
        let more = need.div_ceil(65536).saturating_sub(own.frames.size(&self.store));
        own.frames.grow(&mut self.store, more)?;
        own.frames.data_mut(&mut self.store)[..out.bytes.len()].copy_from_slice(&out.bytes);
        own.sp.set(&mut self.store, Val::I32(out.bytes.len() as i32))?;
        Ok(())
    }

    fn fill_table(&mut self, index: u32, entries: &[Value]) -> Result<()> {
        let bad = || Error::State(format!("table {index} does not fit"));
        let t = self.instance.get_table(&mut self.store, &names::table(index)).ok_or_else(bad)?;
        let more = (entries.len() as u64).checked_sub(t.size(&self.store)).ok_or_else(bad)?;
        if more > 0 {
            // All are overwritten, but some tables cannot hold null meanwhile.
            let last = entries.last().map(|&v| self.reference(v)).transpose()?;
            t.grow(&mut self.store, more, last.ok_or_else(bad)?)?;
        }
        for (i, &v) in entries.iter().enumerate() {
            let r = self.reference(v)?;
            t.set(&mut self.store, i as u64, r)?;
        }
        Ok(())
    }
}

fn bits(v: Value) -> u128 {
    match v {
        Value::I32(v) | Value::F32(v) => v.into(),
        Value::I64(v) | Value::F64(v) => v.into(),
        Value::V128(v) => v,
        Value::FuncRef(_) | Value::ExternRefNull | Value::ExnRef(_) => 0,
    }
}
