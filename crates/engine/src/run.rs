//! A program in an engine: started or resumed, advanced until it ends or stops, and made to go on.
//!
//! ```text
//!   start  ─┐                        ┌─> Exited / Trapped / Aborted / Returned ─> call() ─> advance
//!   invoke ─┼─> advance ── runs ─────┤
//!   resume ─┘      ^                 └─> Stopped: all frames lie in the frames memory
//!                  └─ go on in place <──────┘ └─> state(), memories()
//! ```
//!
//! What is called is a list: the module's start function, a reactor's `_initialize`, then `_start`
//! or the function that was asked for. Each is called when the one before it has returned; the last
//! one's results are the program's.
//!
//! To go on, the outermost frame's continuation is called; it calls the next inner one, down to the
//! innermost. A continuation that is missing (a loop header reached for the first time) unwinds to
//! here with no request pending: it is compiled and the program goes on.

use crate::link::{Ended, Host, Safepoint};
use crate::machine::{Code, HEADROOM, slots_in};
use crate::pause::Pause;
use crate::request::Requester;
use crate::trap::Trap;
use crate::values::{self, Out, Passed};
use crate::{Error, Result};
use dormouse_state::Value;
use dormouse_transform::{MAIN, names, names::control};
use dormouse_wasi::{Exclusions, Wasi};
use std::collections::HashMap;
use std::sync::Arc;
use wasmtime::{AsContextMut, Extern, Global, Instance, Memory, Ref, Store, Table, Val};

/// What a command exports: it is called, and when it returns the exit status is 0.
pub(crate) const COMMAND: &str = "_start";
/// What a reactor (a module without `_start`) exports: it is called once, before anything else.
const REACTOR: &str = "_initialize";

/// Why [`Run::advance`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The program ended with this exit status; 0 if it is a command and returned.
    Exited(u32),
    /// The function that was called returned these values. Another may be called now.
    Returned(Vec<Passed>),
    /// The program trapped.
    Trapped(Trap),
    /// A host call ended the program: an address outside of its memory, an argument its type does not have. The message
    /// names the call and the cause.
    Aborted(Trap),
    /// The program stands still at a safepoint. `advance` goes on in place.
    Stopped,
}

impl Event {
    /// A function has returned; the last one, and it was a `command` that was called or resumed.
    pub(crate) fn returned(values: Vec<Passed>, command: bool) -> Event {
        if command && values.is_empty() { Event::Exited(0) } else { Event::Returned(values) }
    }

    /// The end of a program whose call failed.
    pub(crate) fn of(e: &wasmtime::Error) -> Event {
        match e.downcast_ref::<Ended>() {
            Some(Ended::Exit(code)) => Event::Exited(*code),
            Some(Ended::Aborted(_)) => Event::Aborted(Trap::of(e)),
            _ => Event::Trapped(Trap::of(e)),
        }
    }
}

/// A program in an engine. Use it on a thread made by [`crate::Machine::on_stack`].
pub struct Run {
    pub(crate) code: Arc<Code>,
    pub(crate) store: Store<Host>,
    pub(crate) instance: Instance,
    pub(crate) own: Own,
    /// What is to be called when what runs now has returned; the first to be called is last.
    pub(crate) waiting: Vec<Call>,
    next: Next,
    /// It stopped because it asked for a checkpoint.
    asked: bool,
    requester: Requester,
    /// Of a program that stands still.
    pub(crate) pause: Option<Pause>,
    /// Address of a function reference, to the function's index in the original.
    pub(crate) references: Option<HashMap<usize, u32>>,
}

/// A function by the name of an export, and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub name: String,
    pub args: Vec<Passed>,
}

#[derive(Clone, Copy, PartialEq)]
enum Next {
    /// Apply the active segments, then call.
    Begin,
    /// Call the first of those that wait.
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
    /// References in frames, and how many, by `Hierarchy`. The last is not in every module.
    pub references: [Option<(Table, Global)>; 3],
    continuations: Table,
    unwinding: Global,
    pub sp: Global,
}

impl Run {
    /// A command at its beginning.
    ///
    /// # Errors
    /// If the module has no `_start`.
    pub fn start(code: Arc<Code>, wasi: Wasi) -> Result<Run> {
        let mut run = Run::new(code, wasi)?;
        if run.instance.get_func(&mut run.store, COMMAND).is_none() {
            return Err(Error::NoStart);
        }
        run.call(COMMAND, &[])?;
        Ok(run)
    }

    /// A module of which nothing has been run. [`Run::advance`] instantiates it (with its start
    /// function and, if it is a reactor, its `_initialize`) and then does what was asked for with
    /// [`Run::call`].
    pub fn new(code: Arc<Code>, wasi: Wasi) -> Result<Run> {
        let mut run = Run::instantiate(code, wasi)?;
        let mut exported = |name| run.instance.get_func(&mut run.store, name).is_some();
        let first = |name: &str| Call { name: name.into(), args: vec![] };
        let reactor = exported(REACTOR) && !exported(COMMAND);
        let start = exported(names::START);
        run.waiting.extend(reactor.then(|| first(REACTOR)));
        run.waiting.extend(start.then(|| first(names::START)));
        Ok(run)
    }

    /// Calls an exported function at the next [`Run::advance`]: after everything that was asked for
    /// before. What it gives back is in [`Event::Returned`].
    ///
    /// # Errors
    /// If there is no such function, or it takes other arguments; nothing has changed then.
    pub fn call(&mut self, name: &str, args: &[Passed]) -> Result<()> {
        let f = self.instance.get_func(&mut self.store, name);
        let f = f.filter(|_| !name.starts_with(names::PREFIX)).ok_or_else(|| no_function(name))?;
        let ty = f.ty(&self.store);
        if ty.params().len() != args.len() {
            return Err(wrong_count(name, ty.params().len(), args.len()));
        }
        for (i, (ty, &a)) in ty.params().zip(args).enumerate() {
            if !values::fits(a, &ty) {
                return Err(Error::Call(format!("argument {} of `{name}` is a {ty}", i + 1)));
            }
        }
        self.waiting.insert(0, Call { name: name.into(), args: args.to_vec() });
        if self.next == Next::Nothing {
            self.next = Next::Call;
        }
        Ok(())
    }

    /// Nothing applied, nothing run.
    pub(crate) fn instantiate(code: Arc<Code>, wasi: Wasi) -> Result<Run> {
        let interrupter = wasi.interrupter();
        let counted = code.machine.options.counted;
        let mut wasi = wasi;
        wasi.serve_checkpoints();
        let host = Host { wasi, memory: None, safepoint: None, requester: None };
        let mut store = Store::new(&code.machine.engine, host);
        // Nothing runs and no segment is applied: only what the module declares can be too large.
        let instance =
            code.pre.instantiate(&mut store).map_err(|e| Error::NoRoom(format!("{e:#}")))?;
        let own = Own::of(&instance, &mut store)?;
        let memory = instance.get_memory(&mut store, "memory");
        let safepoint = Safepoint { control: own.control, unwinding: own.unwinding, counted };
        store.data_mut().memory = memory;
        store.data_mut().safepoint = Some(safepoint);
        reserve_frames(&own, &mut store, code.machine.options.stack);
        // 0 would say that an entry has come.
        own.control.data_mut(&mut store)[control::ENTRIES as usize..][..4].fill(0xff);
        let requester = Requester::new(own.control.data_ptr(&store), interrupter);
        store.data_mut().requester = Some(requester.clone());
        Ok(Run {
            code,
            store,
            instance,
            own,
            waiting: vec![],
            next: Next::Begin,
            asked: false,
            requester,
            pause: None,
            references: None,
        })
    }

    /// The program's module.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// Asks this program to stop, from any thread.
    pub fn requester(&self) -> Requester {
        self.requester.clone()
    }

    /// Counted mode: stop at the `n`th safepoint from here.
    pub fn stop_after(&mut self, n: u32) {
        // The safepoint the program stands at is passed again first; a call in which it asked for a checkpoint is not one.
        let again = self.next == Next::GoOn && !self.asked && self.counts_again();
        let n = n.saturating_add(again.into());
        let at = control::COUNT as usize;
        self.own.control.data_mut(&mut self.store)[at..at + 4].copy_from_slice(&n.to_le_bytes());
    }

    /// Counted mode: how many safepoints are left of those.
    pub fn left(&self) -> u32 {
        let at = control::COUNT as usize;
        let bytes = &self.own.control.data(&self.store)[at..at + 4];
        bytes.try_into().map_or(0, u32::from_le_bytes)
    }

    /// Stop when watched functions ([`Entries::watched`]) are entered for the `n`th time from here, before the function does
    /// anything.
    ///
    /// # Errors
    /// If what it stands at is not known: it was made for another module.
    ///
    /// [`Entries::watched`]: dormouse_transform::Entries::watched
    pub fn stop_at_entry(&mut self, n: u32) -> Result<()> {
        // The entry the program stands at is passed again first.
        let again = self.next == Next::GoOn && self.stands_at_entry()?;
        let n = n.saturating_add(again.into());
        let at = control::ENTRIES as usize;
        self.own.control.data_mut(&mut self.store)[at..at + 4].copy_from_slice(&n.to_le_bytes());
        Ok(())
    }

    /// Whether a stopped program stands where [`Run::stop_at_entry`] wants it.
    pub fn has_entered(&self) -> bool {
        let at = control::ENTRIES as usize;
        !self.code.machine.options.entries.watched.is_empty()
            && self.own.control.data(&self.store)[at..at + 4] == [0; 4]
    }

    /// Whether the innermost frame waits at a watched entry.
    fn stands_at_entry(&mut self) -> Result<bool> {
        match self.innermost()? {
            Some(slot) => Ok(self.code.program()?.is_watched(slot)?),
            None => Ok(false),
        }
    }

    /// Whether what it stands at is counted: what only a debugger stops at may not be.
    fn counts_again(&mut self) -> bool {
        if self.code.machine.options.entries.known.is_empty() {
            return true;
        }
        let code = self.code.clone();
        let counted = |slot| code.program().ok()?.is_counted(slot).ok();
        self.innermost().ok().flatten().and_then(counted).unwrap_or(true)
    }

    /// Where the innermost function stands.
    fn innermost(&mut self) -> Result<Option<u32>> {
        let sp = self.own.get(&mut self.store, self.own.sp) as usize;
        let bytes = self.own.frames.data(&self.store).get(..sp).unwrap_or_default();
        Ok(self.code.program()?.slots_of(bytes)?.last().copied())
    }

    /// Runs until the program ends, stops, or has returned from everything that was asked for.
    ///
    /// # Errors
    /// Only failures of ours; what the program does wrong is an [`Event`].
    pub fn advance(&mut self) -> Result<Event> {
        // One that is to stop where it stands does not go on.
        if !(self.code.machine.options.counted && self.next == Next::GoOn && self.left() == 1) {
            self.store.data_mut().wasi.goes_on();
        }
        loop {
            let result = match self.next {
                Next::Nothing => Ok(vec![]),
                Next::Begin => self.begin(),
                Next::Call => self.call_waiting()?,
                Next::GoOn => self.go_on()?,
            };
            let values = match result {
                Ok(values) => values,
                Err(e) => {
                    self.next = Next::Nothing;
                    self.waiting.clear();
                    return Ok(Event::of(&e));
                }
            };
            if self.own.get(&mut self.store, self.own.unwinding) != 0 {
                self.own.unwinding.set(&mut self.store, Val::I32(0))?;
                self.next = Next::GoOn;
                self.asked = self.asks_for_checkpoint();
                if self.take_request() || self.asked {
                    self.pause = Some(Pause::begin());
                    return Ok(Event::Stopped);
                }
            } else if !self.waiting.is_empty() {
                self.next = Next::Call;
            } else {
                self.next = Next::Nothing;
                let command = self.instance.get_func(&mut self.store, COMMAND).is_some();
                return Ok(Event::returned(self.known(values)?, command));
            }
        }
    }

    /// Whether the program has stopped because it called `dormouse_checkpoint`, and waits for an answer. If it is made to go
    /// on without one, the call answers that all is well.
    pub fn asks_for_checkpoint(&self) -> bool {
        self.store.data().wasi.asks_for_checkpoint()
    }

    /// Says whether the checkpoint that the program [asks for](Run::asks_for_checkpoint) was taken: its state was read.
    pub fn answer_checkpoint(&mut self, taken: bool) {
        self.store.data_mut().wasi.answer_checkpoint(taken);
    }

    /// Whether the program is in a section that must not be split. It has no [`Run::state`] then.
    pub fn is_disabled(&self) -> bool {
        self.store.data().wasi.is_disabled()
    }

    /// What the program says need not be kept, for other threads too, and the index of the memory it speaks of.
    pub fn exclusions(&mut self) -> Option<(u32, Exclusions)> {
        let exclusions = self.store.data().wasi.exclusions();
        let base = self.store.data().memory?.data_ptr(&self.store);
        // Not from the program's exports, for which a module that came from the cache would have to be analysed.
        let all = (0..).map_while(|i| Some((i, self.memory_handle(i).ok()?.data_ptr(&self.store))));
        let (index, _) = all.into_iter().find(|(_, at)| *at == base)?;
        Some((index, exclusions))
    }

    /// Whether a stop was asked for; clears the request.
    fn take_request(&mut self) -> bool {
        if self.has_entered() {
            return true;
        }
        if self.code.machine.options.counted {
            let at = control::COUNT as usize;
            self.own.control.data(&self.store)[at..at + 4] == [0; 4]
        } else {
            self.requester.take()
        }
    }

    /// Active segments are applied once in a program's life, before anything runs.
    fn begin(&mut self) -> wasmtime::Result<Vec<Out>> {
        self.call_own(names::INIT_TABLES)?;
        self.call_own(names::INIT)?;
        Ok(vec![])
    }

    pub(crate) fn call_own(&mut self, name: &str) -> wasmtime::Result<()> {
        match self.instance.get_func(&mut self.store, name) {
            Some(f) => f.call(&mut self.store, &[], &mut []),
            None => Err(wasmtime::Error::msg(format!("no function `{name}`"))),
        }
    }

    fn call_waiting(&mut self) -> Result<wasmtime::Result<Vec<Out>>> {
        let Some(Call { name, args }) = self.waiting.pop() else {
            return Ok(Ok(vec![]));
        };
        let f = self.instance.get_func(&mut self.store, &name).ok_or_else(|| no_function(&name))?;
        // A trap may have left a capture or a resume half done.
        let own = self.own;
        let references = own.references.into_iter().flatten().map(|r| r.1);
        for g in [own.unwinding, own.sp].into_iter().chain(references) {
            g.set(&mut self.store, Val::I32(0))?;
        }
        let instance = self.instance;
        values::call(&mut self.store, f, &args, |store, i| {
            instance.get_func(store, &names::function(i))
        })
    }

    /// Results with functions by their indices.
    fn known(&mut self, values: Vec<Out>) -> Result<Vec<Passed>> {
        let known = |v| match v {
            Out::Passed(p) => Ok(p),
            Out::Function(address) => Ok(match self.function_at(address)? {
                Some(i) => Passed::Value(Value::FuncRef(Some(i))),
                None => Passed::Opaque { kind: "funcref", null: false },
            }),
        };
        values.into_iter().map(known).collect()
    }

    /// Calls the outermost frame's continuation.
    fn go_on(&mut self) -> Result<wasmtime::Result<Vec<Out>>> {
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
        self.end_pause();
        values::call(&mut self.store, f, &[], |_, _| None)
    }

    /// The pause of a program that stands still since [`Event::Stopped`].
    pub fn pause(&self) -> Option<Pause> {
        self.pause.clone()
    }

    /// The program stood still already, for something else: what is done with it from here on is a pause of its own.
    pub fn begin_pause(&mut self) {
        self.end_pause();
        self.pause = Some(Pause::begin());
    }

    /// A program that stands still will not go on for now: whoever waits for the end of its pause need not.
    pub fn end_pause(&mut self) {
        if let Some(pause) = self.pause.take() {
            pause.end();
        }
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
    pub(crate) fn set_wasi(&mut self, mut wasi: Wasi) {
        wasi.serve_checkpoints();
        self.requester = Requester::new(self.own.control.data_ptr(&self.store), wasi.interrupter());
        let host = self.store.data_mut();
        host.wasi = wasi;
        host.requester = Some(self.requester.clone());
    }

    /// The program stands at its frames now and is to go on from them.
    pub(crate) fn go_on_next(&mut self) {
        self.next = Next::GoOn;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end_pause();
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
        let continuations = table(names::CONTINUATIONS)?;
        let mut global = |name| get(name)?.into_global().ok_or_else(|| missing(name));
        let (unwinding, sp) = (global(names::UNWINDING)?, global(names::SP)?);
        let references = [0, 1, 2].map(|h| {
            let table = get(names::REFERENCES[h]).ok()?.into_table()?;
            Some((table, get(names::REFERENCES_SP[h]).ok()?.into_global()?))
        });
        Ok(Own { control, frames, references, continuations, unwinding, sp })
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
/// What a frame saves lies in its native frame or is not much more, so as much as there is stack is nearly always enough.
/// It is memory only once it is used.
fn reserve_frames(own: &Own, store: &mut Store<Host>, stack: usize) {
    let pages = (stack.saturating_mul(HEADROOM) as u64 >> 16).min(65_535);
    let more = pages.saturating_sub(own.frames.size(&*store));
    if let Err(e) = own.frames.grow(store, more) {
        tracing::debug!("no room for the frames of a full stack: {e:#}");
    }
}

pub(crate) fn no_function(name: &str) -> Error {
    Error::Call(format!(
        "the module exports no function `{name}`; `dormouse check` lists those it does"
    ))
}

pub(crate) fn wrong_count(name: &str, takes: usize, given: usize) -> Error {
    let s = if takes == 1 { "" } else { "s" };
    Error::Call(format!("`{name}` takes {takes} argument{s}, and {given} were given"))
}
