//! The engine's settings, and modules made ready to run.
//!
//! ```text
//!   bytes ──(cache)── or ──Program──instrument──compile──> Code { main, continuations by slot }
//! ```
//!
//! A module with the first form of exception handling is translated, and its translation takes its
//! place in all that follows (see [`Program::bytes`]).
//!
//! With a warm cache the original is only hashed: its analysis (`Program`) waits until a capture or
//! a resume asks for it.

use crate::cache::{Cache, MAIN};
use crate::host::HostFunctions;
use crate::linear::Creator;
use crate::link::Host;
use crate::values::{self, Passed};
use crate::{Error, Result};
use dormouse_state::State;
use dormouse_transform::{
    Entries, Inventory, Options as TransformOptions, Poll, Program, names, uses_atomics,
};
use dormouse_wasi::DIRECTED_MODULE;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{Scope, ScopedJoinHandle};
use wasmtime::{Config, Engine, InstancePre, Linker, Module, OptLevel, RegallocAlgorithm};

/// How much more stack there is than the program can count on. A continuation's native frame can be
/// larger than the original's, where the engine can compute again what is alive across a call; the transform sees to it that it is no
/// more than four times as large. What ran before a capture must be able to go on after it, and the engine knows one limit for both.
pub const HEADROOM: usize = 4;

/// How many bytes of compiled code are kept if nothing else is said: some dozens of programs as large as CPython.
pub const CACHE_SIZE: u64 = 1 << 30;

/// Settings of a [`Machine`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of stack the program can count on, however often it is captured; they are memory only
    /// once they are used. There is more ([`HEADROOM`] times as much).
    pub stack: usize,
    /// Where compiled code is kept; `None` compiles every time.
    pub cache: Option<PathBuf>,
    /// How many bytes may lie there; what was not used for longest goes.
    pub cache_size: u64,
    /// Count safepoints (see [`crate::chaos`]) instead of waiting for requests.
    pub counted: bool,
    /// Have a safepoint in every loop, also in those that end soon by themselves: for tests, which want many.
    pub every_loop: bool,
    /// Where else the program can be stopped: for debuggers.
    pub entries: Entries,
    /// Interpret with Pulley instead of compiling with Cranelift.
    pub pulley: bool,
    /// Compile quickly rather than well.
    pub quick: bool,
    /// Compile on the calling thread alone: for tests that run beside others.
    pub alone: bool,
    /// Compute the same bits on every host: one NaN, and the deterministic forms of relaxed SIMD.
    /// It costs speed in floating-point code.
    pub deterministic: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            stack: 64 << 20,
            cache: None,
            cache_size: CACHE_SIZE,
            counted: false,
            every_loop: false,
            entries: Entries::default(),
            pulley: false,
            quick: false,
            alone: false,
            deterministic: false,
        }
    }
}

/// An engine: compiles modules and runs programs.
#[derive(Clone)]
pub struct Machine {
    pub(crate) engine: Engine,
    pub(crate) options: Arc<Options>,
    pub(crate) memories: Arc<Creator>,
    cache: Arc<Cache>,
    poll: Poll,
}

/// A module, compiled, with the continuations compiled so far.
pub struct Code {
    pub(crate) machine: Machine,
    bytes: Arc<[u8]>,
    digest: [u8; 32],
    pub(crate) pre: InstancePre<Host>,
    pub(crate) host: HostFunctions,
    program: OnceLock<Arc<Program>>,
    inventory: OnceLock<Inventory>,
    continuations: Mutex<Continuations>,
}

#[derive(Default)]
struct Continuations {
    by_slot: HashMap<u32, Module>,
    compiled: u64,
}

impl Machine {
    /// Makes an engine. Programs run on threads of its stack size: see [`Machine::on_stack`].
    pub fn new(options: Options) -> Result<Machine> {
        Machine::with(options, |_| ())
    }

    /// The same with other settings of wasmtime, to compare with: for [`Machine::load_plain`].
    #[doc(hidden)]
    pub fn with(options: Options, change: impl FnOnce(&mut Config)) -> Result<Machine> {
        let mut c = Config::new();
        c.cranelift_opt_level(OptLevel::Speed);
        if options.quick {
            c.cranelift_opt_level(OptLevel::None);
            c.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        }
        c.parallel_compilation(!options.alone);
        let stack = options.stack.saturating_mul(HEADROOM);
        c.max_wasm_stack(stack).async_stack_size(stack);
        c.wasm_tail_call(true).wasm_multi_memory(true).wasm_extended_const(true);
        // The second is for casts of function references; modules that use more of it are refused.
        c.wasm_function_references(true).wasm_gc(true);
        c.wasm_exceptions(true).wasm_branch_hinting(true);
        // Polls are atomic loads of a memory that is not shared; Pulley has none.
        c.wasm_threads(!options.pulley);
        c.wasm_memory64(true).wasm_relaxed_simd(true);
        c.relaxed_simd_deterministic(options.deterministic);
        c.cranelift_nan_canonicalization(options.deterministic);
        // Copy-on-write images of data segments exist only for wasmtime's own memories.
        c.memory_init_cow(false);
        let memories = Arc::new(Creator::default());
        c.with_host_memory(memories.clone());
        if options.pulley {
            let width = if cfg!(target_pointer_width = "64") { "pulley64" } else { "pulley32" };
            let order = if cfg!(target_endian = "big") { "be" } else { "" };
            c.target(&format!("{width}{order}"))?;
        }
        change(&mut c);
        let engine = Engine::new(&c)?;
        let cache = Arc::new(Cache::new(options.cache.as_deref(), options.cache_size, &engine));
        let poll = match (options.counted, options.pulley) {
            (true, _) => Poll::Counted,
            (false, true) => Poll::Store,
            (false, false) => Poll::Atomic,
        };
        Ok(Machine { engine, options: Arc::new(options), memories, cache, poll })
    }

    /// Why compiled code is not kept, though a cache is wanted: the directory and what is wrong with it.
    pub fn cache_problem(&self) -> Option<&str> {
        self.cache.problem.as_deref()
    }

    /// Compiles a module, or takes it from the cache.
    ///
    /// # Errors
    /// Modules that are invalid, use what cannot be carried, or import what nobody provides.
    pub fn load(&self, bytes: Arc<[u8]>) -> Result<Code> {
        self.load_with(bytes, &HostFunctions::new())
    }

    /// The same for a module that may import other functions besides WASI's.
    ///
    /// # Errors
    /// As [`Machine::load`].
    pub fn load_with(&self, bytes: Arc<[u8]>, host: &HostFunctions) -> Result<Code> {
        if let Some(code) = self.cached(&bytes, host)? {
            return Ok(code);
        }
        let program = Program::new(bytes, &self.transform_options())?;
        crate::link::check_imports(&program, host)?;
        self.make(Arc::new(program), host)
    }

    /// The same for a program that goes on from `state`, wherever that was stopped.
    ///
    /// # Errors
    /// As [`Machine::load`].
    pub fn load_for(&self, bytes: Arc<[u8]>, host: &HostFunctions, state: &State) -> Result<Code> {
        let code = self.load_with(bytes.clone(), host)?;
        let known = code.program()?.stopped_elsewhere(state);
        if known.is_empty() {
            return Ok(code);
        }
        let mut options = (*self.options).clone();
        options.entries.known = known.into();
        Machine { options: Arc::new(options), ..self.clone() }.load_with(bytes, host)
    }

    /// What is in the cache, if it is.
    pub(crate) fn cached(&self, bytes: &Arc<[u8]>, host: &HostFunctions) -> Result<Option<Code>> {
        let digest = Sha256::digest(bytes).into();
        let main = self.cache.get(&self.engine, &self.key(&digest));
        main.map(|main| self.link(main, bytes.clone(), digest, OnceLock::new(), host)).transpose()
    }

    /// An analysed module: what it was translated to may be in the cache.
    pub(crate) fn make(&self, program: Arc<Program>, host: &HostFunctions) -> Result<Code> {
        let bytes = program.bytes().clone();
        let digest = Sha256::digest(&bytes).into();
        let main = match self.cache.get(&self.engine, &self.key(&digest)) {
            Some(main) => main,
            None => self.compile(&program, &digest)?,
        };
        self.link(main, bytes, digest, program.into(), host)
    }

    fn compile(&self, program: &Program, digest: &[u8; 32]) -> Result<Module> {
        let started = std::time::Instant::now();
        let wasm = program.instrument()?;
        let instrumented = started.elapsed();
        let m = Module::new(&self.engine, &wasm);
        let m = m.map_err(|e| match self.options.pulley && uses_atomics(program.bytes()) {
            true => Error::Atomics,
            false => e.into(),
        })?;
        tracing::debug!(?instrumented, compiled = ?started.elapsed(), "main module");
        self.cache.put(&m, &[self.key(digest)]);
        Ok(m)
    }

    fn link(
        &self,
        main: Module,
        bytes: Arc<[u8]>,
        digest: [u8; 32],
        program: OnceLock<Arc<Program>>,
        host: &HostFunctions,
    ) -> Result<Code> {
        let mut linker = Linker::new(&self.engine);
        crate::link::wasi(&mut linker, |name| main.imports().any(|i| i.name() == name))?;
        if main.imports().any(|i| i.module() == DIRECTED_MODULE) {
            crate::link::directed(&mut linker)?;
        }
        host.link(&mut linker, &main)?;
        let pre =
            linker.instantiate_pre(&main).map_err(|e| crate::link::explain(&main, host, e))?;
        Ok(Code {
            machine: self.clone(),
            bytes,
            digest,
            pre,
            host: host.clone(),
            program,
            inventory: OnceLock::new(),
            continuations: Mutex::default(),
        })
    }

    /// The main module's name in the cache.
    fn key(&self, digest: &[u8; 32]) -> String {
        format!("{}-{}.{MAIN}", hex(digest), self.poll_name())
    }

    /// Runs `f` on a thread whose stack has room for the deepest program.
    pub fn on_stack<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|threads| {
            let t = self.spawn_on_stack(threads, f)?;
            t.join().map_err(|e| std::panic::resume_unwind(e))
        })
    }

    /// The same, without waiting for its end.
    pub fn spawn_on_stack<'scope, T: Send + 'scope>(
        &self,
        threads: &'scope Scope<'scope, '_>,
        f: impl FnOnce() -> T + Send + 'scope,
    ) -> Result<ScopedJoinHandle<'scope, T>> {
        std::thread::Builder::new()
            .name("program".into())
            .stack_size(self.options.stack.saturating_mul(HEADROOM).saturating_add(16 << 20))
            .spawn_scoped(threads, f)
            .map_err(Error::Thread)
    }

    /// What says how the code was made, besides the module's digest.
    fn poll_name(&self) -> String {
        let mut name = match self.poll {
            Poll::Atomic => "a",
            Poll::Store => "s",
            Poll::Counted => "n",
        }
        .to_owned();
        let Entries { all, known, watched } = &self.options.entries;
        let more = [(self.options.every_loop, 'e'), (*all, 'f')];
        name.extend(more.into_iter().filter(|m| m.0).map(|m| m.1));
        for (what, list) in [('k', known), ('w', watched)] {
            if !list.is_empty() {
                let bytes: Vec<u8> = list.iter().flat_map(|f| f.to_le_bytes()).collect();
                name.push(what);
                name += &hex(&Sha256::digest(bytes)[..8]);
            }
        }
        name
    }

    fn transform_options(&self) -> TransformOptions {
        TransformOptions {
            poll: self.poll,
            restartable: crate::link::restartable,
            every_loop: self.options.every_loop,
            entries: self.options.entries.clone(),
        }
    }
}

impl Code {
    /// The engine that it was made for.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// SHA-256 of [`Code::bytes`].
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The module that is run, stored with checkpoints and named by them: the one that was loaded,
    /// or what it was translated to if it uses the first form of exception handling.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Bytes of machine code, without continuations.
    pub fn text(&self) -> usize {
        self.pre.module().text().len()
    }

    /// Arguments for the exported function `name`, written as its parameters' types want them:
    /// integers as `42`, `-7` or `0x2a`, floating-point numbers as Rust reads them.
    ///
    /// # Errors
    /// If there is no such function, or an argument cannot be read or is one too many or too few.
    pub fn arguments(&self, name: &str, texts: &[impl AsRef<str>]) -> Result<Vec<Passed>> {
        let export = self.pre.module().get_export(name);
        let own = name.starts_with(names::PREFIX);
        let f = export.as_ref().and_then(|e| e.func()).filter(|_| !own);
        let f = f.ok_or_else(|| crate::run::no_function(name))?;
        let n = f.params().len();
        if n != texts.len() {
            return Err(crate::run::wrong_count(name, n, texts.len()));
        }
        let parse = |((i, ty), text): ((usize, _), &dyn AsRef<str>)| {
            let bad = |why| Error::Call(format!("argument {} of `{name}`: {why}", i + 1));
            Ok(values::parse(text.as_ref(), &ty).map_err(bad)?.into())
        };
        f.params().enumerate().zip(texts.iter().map(|t| t as &dyn AsRef<str>)).map(parse).collect()
    }

    /// The analysed module; parsed at the first use when the code came from the cache.
    pub fn program(&self) -> Result<&Arc<Program>> {
        if let Some(p) = self.program.get() {
            return Ok(p);
        }
        let p = Program::new(self.bytes.clone(), &self.machine.transform_options())?;
        Ok(self.program.get_or_init(|| Arc::new(p)))
    }

    pub(crate) fn inventory(&self) -> Result<&Inventory> {
        let p = self.program()?;
        Ok(self.inventory.get_or_init(|| p.inventory()))
    }

    /// The compiled continuations of `slots`: from memory, from the disk, or compiled now, all
    /// missing ones in one module. A module may hold more than was asked for.
    pub(crate) fn continuations(&self, slots: &[u32]) -> Result<Vec<Module>> {
        let mut known = self.continuations.lock().unwrap_or_else(|e| e.into_inner());
        let mut missing = vec![];
        let mut found = vec![];
        let mut covered = HashSet::new();
        for &slot in slots {
            if covered.contains(&slot) {
                continue;
            }
            let cached = known.by_slot.get(&slot).cloned().or_else(|| {
                let m = self.machine.cache.get(&self.machine.engine, &self.key(slot))?;
                known.by_slot.insert(slot, m.clone());
                Some(m)
            });
            match cached {
                Some(m) => {
                    covered.extend(slots_in(&m));
                    found.push(m);
                }
                None => missing.push(slot),
            }
        }
        missing.retain(|s| !covered.contains(s));
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let started = std::time::Instant::now();
            let wasm = self.program()?.continuations(&missing)?;
            let m = Module::new(&self.machine.engine, &wasm)?;
            known.compiled += missing.len() as u64;
            tracing::debug!(count = missing.len(), took = ?started.elapsed(), "compiled continuations");
            for &s in &missing {
                known.by_slot.insert(s, m.clone());
            }
            let keys: Vec<String> = missing.iter().map(|&s| self.key(s)).collect();
            self.machine.cache.put(&m, &keys);
            found.push(m);
        }
        Ok(found)
    }

    /// How many continuations had to be compiled so far.
    pub fn continuations_compiled(&self) -> u64 {
        self.continuations.lock().unwrap_or_else(|e| e.into_inner()).compiled
    }

    fn key(&self, slot: u32) -> String {
        format!("{}-{}.c{slot}", hex(&self.digest), self.machine.poll_name())
    }
}

/// The slots whose continuations a module holds.
pub(crate) fn slots_in(m: &Module) -> Vec<u32> {
    let prefix = format!("{}c", names::PREFIX);
    m.exports().filter_map(|e| e.name().strip_prefix(&prefix)?.parse().ok()).collect()
}

pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
