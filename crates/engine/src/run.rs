//! A program in an engine: started or resumed, advanced until it ends or stops, and made to go on.
//!
//! ```text
//!   start  ─┐                        ┌─> Exited / Trapped
//!           ├─> advance ── runs ─────┤
//!   resume ─┘      ^                 └─> Stopped: all frames lie in the frames memory
//!                  └─ go on in place <──────┘ └─> state(), memories()
//! ```
//!
//! To go on, the outermost frame's continuation is called; it calls the next inner one, down to the
//! innermost. A continuation that is missing (a loop header reached for the first time) unwinds to
//! here with no request pending: it is compiled and the program goes on.

use crate::link::{Ended, Host, Safepoint};
use crate::machine::{Code, HEADROOM, slots_in};
use crate::request::Requester;
use crate::{Error, Result};
use dormouse_transform::{MAIN, names, names::control};
use dormouse_wasi::Wasi;
use std::collections::HashMap;
use std::sync::Arc;
use wasmtime::{AsContextMut, Extern, Func, Global, Instance, Memory, Ref, Store, Table, Val};

/// Why [`Run::advance`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The program ended with this exit status.
    Exited(u32),
    /// The program trapped; the message names the trap and the functions.
    Trapped(String),
    /// The program stands still at a safepoint. `advance` goes on in place.
    Stopped,
}

impl Event {
    /// The end of a program whose call failed.
    pub(crate) fn of(e: &wasmtime::Error) -> Event {
        match e.downcast_ref::<Ended>() {
            Some(Ended::Exit(code)) => Event::Exited(*code),
            Some(Ended::Trap(why)) => Event::Trapped(why.clone()),
            None => Event::Trapped(format!("{e:?}")),
        }
    }
}

/// A program in an engine. Use it on a thread made by [`crate::Machine::on_stack`].
pub struct Run {
    pub(crate) code: Arc<Code>,
    pub(crate) store: Store<Host>,
    pub(crate) instance: Instance,
    pub(crate) own: Own,
    pub(crate) phase: Phase,
    next: Next,
    requester: Requester,
    /// Address of a function reference, to the function's index in the original.
    pub(crate) references: Option<HashMap<usize, u32>>,
}

/// What is being run: the module's start function, or `_start`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    Start,
    Main,
}

#[derive(Clone, Copy, PartialEq)]
enum Next {
    /// Call the phase's function.
    Call,
    /// Call the outermost frame's continuation.
    GoOn,
    Nothing,
}

/// Our own parts of the main instance.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    pub control: Memory,
    pub frames: Memory,
    pub funcrefs: Table,
    pub externrefs: Table,
    continuations: Table,
    unwinding: Global,
    pub sp: Global,
    pub funcref_sp: Global,
    pub externref_sp: Global,
}

impl Run {
    /// A program at its beginning.
    pub fn start(code: Arc<Code>, wasi: Wasi) -> Result<Run> {
        let mut run = Run::instantiate(code, wasi)?;
        if run.instance.get_func(&mut run.store, "_start").is_none() {
            return Err(Error::NoStart);
        }
        if run.instance.get_func(&mut run.store, names::START).is_some() {
            run.phase = Phase::Start;
        }
        Ok(run)
    }

    /// Nothing applied, nothing run.
    pub(crate) fn instantiate(code: Arc<Code>, wasi: Wasi) -> Result<Run> {
        let interrupter = wasi.interrupter();
        let counted = code.machine.options.counted;
        let mut store =
            Store::new(&code.machine.engine, Host { wasi, memory: None, safepoint: None });
        let instance = code.pre.instantiate(&mut store)?;
        let own = Own::of(&instance, &mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        let safepoint = Safepoint { control: own.control, unwinding: own.unwinding, counted };
        store.data_mut().memory = memory;
        store.data_mut().safepoint = Some(safepoint);
        reserve_frames(&own, &mut store, code.machine.options.stack);
        let requester = Requester::new(own.control.data_ptr(&store), interrupter);
        Ok(Run {
            code,
            store,
            instance,
            own,
            phase: Phase::Main,
            next: Next::Call,
            requester,
            references: None,
        })
    }

    /// Asks this program to stop, from any thread.
    pub fn requester(&self) -> Requester {
        self.requester.clone()
    }

    /// Counted mode: stop at the `n`th safepoint from here.
    pub fn stop_after(&mut self, n: u32) {
        // The safepoint the program stands at is passed again first.
        let n = if self.next == Next::GoOn { n.saturating_add(1) } else { n };
        let at = control::COUNT as usize;
        self.own.control.data_mut(&mut self.store)[at..at + 4].copy_from_slice(&n.to_le_bytes());
    }

    /// Runs until the program ends or stops.
    ///
    /// # Errors
    /// Only failures of ours; what the program does wrong is an [`Event`].
    pub fn advance(&mut self) -> Result<Event> {
        loop {
            let result = match self.next {
                Next::Nothing => return Ok(Event::Exited(0)),
                Next::Call => self.call_phase(),
                Next::GoOn => self.go_on()?,
            };
            if let Err(e) = result {
                self.next = Next::Nothing;
                return Ok(Event::of(&e));
            }
            if self.own.get(&mut self.store, self.own.unwinding) != 0 {
                self.own.unwinding.set(&mut self.store, Val::I32(0))?;
                self.next = Next::GoOn;
                if self.take_request() {
                    return Ok(Event::Stopped);
                }
            } else if self.phase == Phase::Start {
                (self.phase, self.next) = (Phase::Main, Next::Call);
            } else {
                self.next = Next::Nothing;
                return Ok(Event::Exited(0));
            }
        }
    }

    /// Whether a stop was asked for; clears the request.
    fn take_request(&mut self) -> bool {
        if self.code.machine.options.counted {
            let at = control::COUNT as usize;
            self.own.control.data(&self.store)[at..at + 4] == [0; 4]
        } else {
            self.requester.take()
        }
    }

    fn call_phase(&mut self) -> wasmtime::Result<()> {
        let name = match self.phase {
            Phase::Start => names::START,
            Phase::Main => "_start",
        };
        // Active segments are applied once in a program's life, before anything runs.
        if self.phase == Phase::Start
            || self.instance.get_func(&mut self.store, names::START).is_none()
        {
            self.call(names::INIT_TABLES)?;
            self.call(names::INIT)?;
        }
        self.call(name)
    }

    pub(crate) fn call(&mut self, name: &str) -> wasmtime::Result<()> {
        match self.instance.get_func(&mut self.store, name) {
            Some(f) => call(&mut self.store, f),
            None => Err(wasmtime::Error::msg(format!("no function `{name}`"))),
        }
    }

    /// Calls the outermost frame's continuation.
    fn go_on(&mut self) -> Result<wasmtime::Result<()>> {
        let sp = self.own.get(&mut self.store, self.own.sp) as usize;
        let bytes = self.own.frames.data(&self.store).get(..sp).unwrap_or_default();
        let mut slots = self.code.program()?.slots_of(bytes)?;
        let Some(&outermost) = slots.first() else {
            return Err(Error::State("no frames".into()));
        };
        slots.sort_unstable();
        slots.dedup();
        self.make_ready(&slots)?;
        let entry = self.own.continuations.get(&mut self.store, u64::from(outermost));
        let Some(Ref::Func(Some(f))) = entry else {
            return Err(Error::State("the outermost frame has no continuation".into()));
        };
        Ok(call(&mut self.store, f))
    }

    /// Puts the continuations of `slots` into the table.
    fn make_ready(&mut self, slots: &[u32]) -> Result<()> {
        let empty = |run: &mut Run, slot: u32| {
            matches!(run.own.continuations.get(&mut run.store, slot.into()), Some(Ref::Func(None)))
        };
        let missing: Vec<u32> = slots.iter().copied().filter(|&s| empty(self, s)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        for module in self.code.clone().continuations(&missing)? {
            let mut imports = Vec::with_capacity(module.imports().len());
            for i in module.imports() {
                debug_assert_eq!(i.module(), MAIN);
                let e = self.instance.get_export(&mut self.store, i.name());
                imports.push(e.ok_or_else(|| Error::Engine(format!("no export `{}`", i.name())))?);
            }
            let instance = Instance::new(&mut self.store, &module, &imports)?;
            for slot in slots_in(&module) {
                let f = instance.get_func(&mut self.store, &names::continuation(slot));
                self.own.continuations.set(&mut self.store, slot.into(), Ref::Func(f))?;
            }
        }
        Ok(())
    }

    /// Gives the program its WASI objects. Nothing of it has been run, and nobody has a requester.
    pub(crate) fn set_wasi(&mut self, wasi: Wasi) {
        self.requester = Requester::new(self.own.control.data_ptr(&self.store), wasi.interrupter());
        self.store.data_mut().wasi = wasi;
    }

    /// The program stands at its frames now and is to go on from them.
    pub(crate) fn go_on_next(&mut self) {
        self.next = Next::GoOn;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.requester.retire();
    }
}

impl Own {
    fn of(instance: &Instance, store: &mut Store<Host>) -> Result<Own> {
        let missing = |name: &str| Error::Engine(format!("the main module has no `{name}`"));
        let mut get = |name: &'static str| -> Result<Extern> {
            instance.get_export(&mut *store, name).ok_or_else(|| missing(name))
        };
        let mut memory = |name| get(name)?.into_memory().ok_or_else(|| missing(name));
        let (control, frames) = (memory(names::CONTROL)?, memory(names::FRAMES)?);
        let mut table = |name| get(name)?.into_table().ok_or_else(|| missing(name));
        let (funcrefs, externrefs) = (table(names::FUNCREFS)?, table(names::EXTERNREFS)?);
        let continuations = table(names::CONTINUATIONS)?;
        let mut global = |name| get(name)?.into_global().ok_or_else(|| missing(name));
        Ok(Own {
            control,
            frames,
            funcrefs,
            externrefs,
            continuations,
            unwinding: global(names::UNWINDING)?,
            sp: global(names::SP)?,
            funcref_sp: global(names::FUNCREF_SP)?,
            externref_sp: global(names::EXTERNREF_SP)?,
        })
    }

    /// The value of one of our `i32` globals.
    pub fn get(&self, store: impl AsContextMut, g: Global) -> u32 {
        match g.get(store) {
            Val::I32(v) => v as u32,
            _ => 0,
        }
    }
}

/// Makes room for the frames of a full stack, so that a capture needs no more: it could not be undone.
/// What a frame saves lies in its native frame, so as much as there is stack is nearly always enough.
/// It is memory only once it is used.
fn reserve_frames(own: &Own, store: &mut Store<Host>, stack: usize) {
    let pages = (stack.saturating_mul(HEADROOM) as u64 >> 16).min(65_535);
    let more = pages.saturating_sub(own.frames.size(&*store));
    if let Err(e) = own.frames.grow(store, more) {
        tracing::debug!("no room for the frames of a full stack: {e:#}");
    }
}

fn call(store: &mut Store<Host>, f: Func) -> wasmtime::Result<()> {
    let n = f.ty(&*store).results().len();
    f.call(store, &[], &mut vec![Val::I32(0); n])
}
