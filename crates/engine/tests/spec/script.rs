//! One file: its modules loaded, its assertions checked.

use crate::Mode;
use crate::link::{define_imports, safepoints_everywhere};
use crate::values::{all_match, argument};
use dormouse_engine::{
    Chaos, Code, Error, Event, Gap, HostFunctions, Machine, Options, Passed, Run, Type,
};
use dormouse_state::Value;
use dormouse_transform::{Error as Refused, ValType};
use dormouse_wasi::{RestoreOptions, StdioConfig, Wasi, WasiConfig};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use wasm_encoder::Instruction as I;
use wasmparser::{Validator, WasmFeatures};
use wast::lexer::Lexer;
use wast::parser::{ParseBuffer, parse};
use wast::token::Id;
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke, Wat};

/// What came of a file.
#[derive(Clone, Default)]
pub struct Outcome {
    pub passed: usize,
    /// With line and reason.
    pub failures: Vec<String>,
    /// By the name of what is refused.
    pub skipped: BTreeMap<String, usize>,
    pub captures: u64,
}

impl Outcome {
    pub fn add(&mut self, o: &Outcome) {
        self.passed += o.passed;
        self.failures.extend(o.failures.iter().cloned());
        for (why, n) in &o.skipped {
            *self.skipped.entry(why.clone()).or_default() += n;
        }
        self.captures += o.captures;
    }
}

/// Why an assertion does not hold, or cannot be looked at.
enum Not {
    Failed(String),
    Refused(String),
}

/// How the engine names an exception that nobody catches.
const THROWN: &str = "thrown Wasm exception";
/// Host functions of the harness cannot throw.
const FOREIGN: &str = "exceptions that leave one module for another";

type Checked<T = ()> = Result<T, Not>;

fn failed<T>(why: impl Into<String>) -> Checked<T> {
    Err(Not::Failed(why.into()))
}

/// What is refused by name is not the file's fault; everything else is ours.
fn load_error(e: Error) -> Not {
    match e {
        Error::Module(Refused::Unsupported { feature, .. }) => Not::Refused(feature),
        Error::Module(Refused::Import { kind, .. }) => Not::Refused(format!("{kind} imports")),
        e => Not::Failed(e.to_string()),
    }
}

/// An instance of a module. In use while it is locked.
struct Instance {
    run: Option<Run>,
    chaos: Chaos<fn() -> RestoreOptions>,
    mode: Mode,
    module: Arc<Module>,
    /// Why a module was refused that would have shared something with this one: what is asserted of
    /// it may not hold then.
    alone: Option<String>,
    /// Instances it imports functions from.
    calls: Vec<Shared>,
}

/// What others need to know of a module.
struct Module {
    functions: HashMap<String, (Vec<ValType>, Vec<ValType>)>,
    /// Exported globals that never change.
    constants: HashMap<String, ValType>,
}

type Shared = Arc<Mutex<Instance>>;

/// A module of the script, or why there is none.
type Slot = Result<Shared, String>;

pub struct Script<'m> {
    machine: &'m Machine,
    mode: Mode,
    current: Option<Slot>,
    named: HashMap<String, Slot>,
    registered: HashMap<String, Slot>,
    definitions: HashMap<Option<String>, Vec<u8>>,
    outcome: Outcome,
}

impl Script<'_> {
    /// Runs a file.
    ///
    /// # Errors
    /// If it cannot be parsed, or the engine fails.
    pub fn run(mode: Mode, text: &str) -> Result<Outcome, String> {
        // What makes safepoints everywhere are loops that go round once.
        let every_loop = mode == Mode::Everywhere;
        let options = Options { counted: true, every_loop, stack: 256 << 10, ..Options::default() };
        let machine = Machine::new(options).map_err(|e| e.to_string())?;
        machine.on_stack(|| Script::on_stack(&machine, mode, text)).map_err(|e| e.to_string())?
    }

    fn on_stack(machine: &Machine, mode: Mode, text: &str) -> Result<Outcome, String> {
        let mut lexer = Lexer::new(text);
        lexer.allow_confusing_unicode(true);
        let buffer = ParseBuffer::new_with_lexer(lexer).map_err(|e| e.to_string())?;
        let wast: Wast<'_> = parse(&buffer).map_err(|e| e.to_string())?;
        let mut script = Script {
            machine,
            mode,
            current: None,
            named: HashMap::new(),
            registered: HashMap::new(),
            definitions: HashMap::new(),
            outcome: Outcome::default(),
        };
        for directive in wast.directives {
            let line = directive.span().linecol_in(text).0 + 1;
            let alone = script.alone(&directive);
            let result = match script.directive(directive) {
                Err(Not::Failed(why)) if why.contains(FOREIGN) => Err(Not::Refused(FOREIGN.into())),
                Err(Not::Failed(_)) if alone.is_some() => {
                    Err(Not::Refused(alone.unwrap_or_default()))
                }
                result => result,
            };
            match result {
                Ok(()) => script.outcome.passed += 1,
                Err(Not::Failed(why)) => {
                    let first = why.lines().collect::<Vec<_>>().join(" ");
                    script.outcome.failures.push(format!("  line {line}: {first}"));
                }
                Err(Not::Refused(why)) => *script.outcome.skipped.entry(why).or_default() += 1,
            }
        }
        Ok(script.outcome)
    }

    /// Whether and why a module was refused that the subject of an assertion would have shared
    /// something with.
    fn alone(&self, directive: &WastDirective<'_>) -> Option<String> {
        use WastDirective as D;
        let subject = match directive {
            D::AssertReturn { exec, .. } | D::AssertTrap { exec, .. } => match exec {
                WastExecute::Invoke(i) => i.module,
                WastExecute::Get { module, .. } => *module,
                WastExecute::Wat(_) => return None,
            },
            D::Invoke(i) => i.module,
            _ => return None,
        };
        let slot = self.slot(subject).ok()?;
        let instance = slot.lock().ok()?;
        let called = instance.calls.iter().filter_map(|i| i.lock().ok()?.alone.clone()).next();
        let why = instance.alone.clone().or(called)?;
        Some(format!("things shared with a module that was refused for {why}"))
    }

    /// Those that a refused module would have shared something with are alone now.
    fn leave_alone(&self, wasm: &[u8], why: &str) {
        for (module, _) in imports(wasm, |ty| !matches!(ty, wasmparser::TypeRef::Func(_))) {
            if let Some(Ok(slot)) = self.registered.get(&module)
                && let Ok(mut instance) = slot.lock()
            {
                instance.alone.get_or_insert_with(|| why.to_owned());
            }
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Checked {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let wasm = module.encode().map_err(|e| Not::Failed(e.to_string()))?;
                self.instantiate(name, &wasm)
            }
            WastDirective::ModuleDefinition(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let wasm = module.encode().map_err(|e| Not::Failed(e.to_string()))?;
                self.definitions.insert(None, wasm.clone());
                self.definitions.insert(name, wasm.clone());
                self.load(&wasm).map(|_| ())
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let module = module.map(|id| id.name().to_owned());
                let wasm = self.definitions.get(&module).cloned();
                let wasm = wasm.ok_or_else(|| Not::Failed("no such definition".into()))?;
                self.instantiate(instance.map(|id| id.name().to_owned()), &wasm)
            }
            WastDirective::Register { name, module, .. } => {
                let slot = self.slot(module);
                self.registered.insert(name.to_owned(), slot.clone());
                slot.map(|_| ()).map_err(Not::Refused)
            }
            WastDirective::Invoke(invoke) => match self.invoke(invoke)? {
                Event::Trapped(why) => failed(why.to_string()),
                _ => Ok(()),
            },
            WastDirective::AssertReturn { exec, results, .. } => match self.execute(exec)? {
                Event::Returned(found) if all_match(&found, &results) => Ok(()),
                Event::Returned(found) => failed(format!("returned {found:?}, not {results:?}")),
                Event::Trapped(why) => failed(why.to_string()),
                other => failed(format!("{other:?}")),
            },
            WastDirective::AssertTrap { exec, message, .. } => {
                traps(self.execute(exec)?, |found| trap_matches(found, message), message)
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                traps(self.invoke(call)?, |found| found.contains(message), message)
            }
            WastDirective::AssertException { exec, .. } => {
                traps(self.execute(exec)?, |found| found.contains(THROWN), THROWN)
            }
            WastDirective::AssertInvalid { module, message, .. }
            | WastDirective::AssertMalformed { module, message, .. } => {
                self.broken(module, message)
            }
            WastDirective::AssertMalformedCustom { mut module, .. }
            | WastDirective::AssertInvalidCustom { mut module, .. } => match module.encode() {
                Err(_) => Ok(()),
                // An engine may ignore custom sections, and ours does.
                Ok(_) => Err(Not::Refused("custom sections, which are not looked at".into())),
            },
            WastDirective::AssertUnlinkable { mut module, message, .. } => {
                let wasm = module.encode().map_err(|e| Not::Failed(e.to_string()))?;
                match self.load(&wasm) {
                    Err(Not::Refused(why)) => Err(Not::Refused(why)),
                    Err(Not::Failed(_)) => Ok(()),
                    Ok(_) => failed(format!("linked; should be: {message}")),
                }
            }
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                Err(Not::Refused("the WebAssembly feature threads".into()))
            }
            WastDirective::AssertSuspension { .. } => {
                Err(Not::Refused("the WebAssembly feature stack-switching".into()))
            }
        }
    }

    /// A module that must not be accepted, by us: the engine is not to see it.
    fn broken(&mut self, mut module: QuoteWat<'_>, message: &str) -> Checked {
        // Text that cannot be assembled is refused by the assembler.
        let Ok(wasm) = module.encode() else { return Ok(()) };
        let bytes = wasm.clone();
        match self.machine.load(wasm.into()) {
            Err(Error::Module(_) | Error::Imports { .. }) => Ok(()),
            Err(e) => failed(format!("refused late: {e}; should be: {message}")),
            // Texts of proposals that are older than multiple memories say that there is one at most.
            Ok(_) if message == "multiple memories" && !one_memory(&bytes) => Ok(()),
            Ok(_) => failed(format!("accepted; should be: {message}")),
        }
    }

    fn slot(&self, name: Option<Id<'_>>) -> Slot {
        let slot = match name {
            Some(id) => self.named.get(id.name()),
            None => self.current.as_ref(),
        };
        slot.cloned().unwrap_or_else(|| Err("a module that failed".into()))
    }

    fn instantiate(&mut self, name: Option<String>, wasm: &[u8]) -> Checked {
        let made = self.begin(wasm);
        let (slot, result) = match made {
            Ok((instance, Event::Returned(_) | Event::Exited(_))) => (Ok(instance), Ok(())),
            Ok((_, event)) => (Err("a module that failed".into()), failed(format!("{event:?}"))),
            Err(Not::Refused(why)) => (Err(why.clone()), Err(Not::Refused(why))),
            Err(e) => (Err("a module that failed".into()), Err(e)),
        };
        if let Some(name) = name {
            self.named.insert(name, slot.clone());
        }
        self.current = Some(slot);
        result
    }

    /// An instance, and what came of instantiating it.
    fn begin(&mut self, wasm: &[u8]) -> Checked<(Shared, Event)> {
        let (code, module) = self.load(wasm).inspect_err(|e| {
            if let Not::Refused(why) = e {
                self.leave_alone(wasm, why);
            }
        })?;
        let wasi = WasiConfig { stdio: StdioConfig::null(), ..WasiConfig::default() };
        let wasi = Wasi::new(wasi).map_err(|e| Not::Failed(e.to_string()))?;
        let run = Run::new(code, wasi).map_err(|e| Not::Failed(e.to_string()))?;
        let restore: fn() -> RestoreOptions =
            || RestoreOptions { stdio: StdioConfig::null(), ..RestoreOptions::default() };
        let chaos = Chaos::new(Gap::Growing { after: 16 }, restore).in_place(3);
        let calls = imports(wasm, |_| true)
            .filter_map(|(module, _)| self.registered.get(&module)?.as_ref().ok().cloned())
            .collect();
        let mut instance =
            Instance { run: Some(run), chaos, mode: self.mode, module, alone: None, calls };
        let event = instance.advance(&mut self.outcome)?;
        Ok((Arc::new(Mutex::new(instance)), event))
    }

    fn load(&self, wasm: &[u8]) -> Checked<(Arc<Code>, Arc<Module>)> {
        let constants = |module: &str, name: &str| self.constant(module, name);
        let original = wasm;
        let wasm = define_imports(wasm, &constants).map_err(Not::Failed)?;
        let wasm = match self.mode {
            Mode::Everywhere => safepoints_everywhere(&wasm).unwrap_or(wasm),
            _ => wasm,
        };
        let host = self.functions(&wasm)?;
        match self.machine.load_with(wasm.clone().into(), &host) {
            Ok(code) => {
                let module = Module::of(original).map_err(Not::Failed)?;
                Ok((Arc::new(code), Arc::new(module)))
            }
            Err(e) => Err(load_error(e)),
        }
    }

    /// Host functions for what a module imports.
    fn functions(&self, wasm: &[u8]) -> Checked<HostFunctions> {
        use Type::{F32, F64, I32, I64};
        let mut host = HostFunctions::new();
        for (name, params) in [
            ("print", &[][..]),
            ("print_i32", &[I32]),
            ("print_i64", &[I64]),
            ("print_f32", &[F32]),
            ("print_f64", &[F64]),
            ("print_i32_f32", &[I32, F32]),
            ("print_f64_f64", &[F64, F64]),
        ] {
            host = host.with("spectest", name, params, &[], |_, _| Ok(vec![]));
        }
        for (module, name) in imports(wasm, |ty| matches!(ty, wasmparser::TypeRef::Func(_))) {
            let Some(slot) = self.registered.get(&module) else { continue };
            let other = slot.clone().map_err(Not::Refused)?;
            let Ok(known) = other.try_lock().map(|i| i.module.clone()) else { continue };
            let Some((params, results)) = known.functions.get(&name) else { continue };
            if has_subtypes(wasm) {
                let why = "subtypes of functions passed between modules (the harness has none)";
                return Err(Not::Refused(why.into()));
            }
            let types = |types: &[ValType]| types.iter().map(|&t| host_type(t)).collect();
            let (Some(params), Some(results)): (Option<Vec<_>>, Option<Vec<_>>) =
                (types(params), types(results))
            else {
                let why = "function references passed between modules (the harness has none)";
                return Err(Not::Refused(why.into()));
            };
            let called = name.clone();
            host = host.with(&module, &name, &params, &results, move |_, args| {
                let mut other = other.try_lock().map_err(|_| "a call back".to_owned())?;
                match other.call(&called, args, &mut Outcome::default()) {
                    Ok(Event::Returned(values)) => Ok(values),
                    Ok(Event::Exited(_)) => Ok(vec![]),
                    Ok(Event::Trapped(why)) if why.contains(THROWN) => Err(FOREIGN.into()),
                    Ok(Event::Trapped(why) | Event::Aborted(why)) => Err(why.to_string()),
                    Ok(Event::Stopped) => Err("stopped".into()),
                    Err(Not::Failed(why) | Not::Refused(why)) => Err(why),
                }
            });
        }
        Ok(host)
    }

    /// The value of an immutable global of the host or another instance.
    fn constant(&self, module: &str, name: &str) -> Option<(ValType, I<'static>)> {
        if module == "spectest" {
            return Some(match name {
                "global_i32" => (ValType::I32, I::I32Const(666)),
                "global_i64" => (ValType::I64, I::I64Const(666)),
                "global_f32" => (ValType::F32, I::F32Const(666.6f32.into())),
                "global_f64" => (ValType::F64, I::F64Const(666.6f64.into())),
                _ => return None,
            });
        }
        let slot = self.registered.get(module)?.as_ref().ok()?;
        let mut other = slot.try_lock().ok()?;
        let ty = *other.module.constants.get(name)?;
        let value = match other.run.as_mut()?.global(name)? {
            Passed::Value(Value::I32(v)) => I::I32Const(v as i32),
            Passed::Value(Value::I64(v)) => I::I64Const(v as i64),
            Passed::Value(Value::F32(v)) => I::F32Const(f32::from_bits(v).into()),
            Passed::Value(Value::F64(v)) => I::F64Const(f64::from_bits(v).into()),
            _ => return None,
        };
        Some((ty, value))
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Checked<Event> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(mut module) => {
                let wasm = encode(&mut module)?;
                Ok(self.begin(&wasm)?.1)
            }
            WastExecute::Get { module, global, .. } => {
                let slot = self.slot(module).map_err(Not::Refused)?;
                let Ok(mut instance) = slot.try_lock() else { return failed("in use") };
                let value = instance.run.as_mut().and_then(|r| r.global(global));
                match value {
                    Some(v) => Ok(Event::Returned(vec![v])),
                    None => failed(format!("no global {global}")),
                }
            }
        }
    }

    fn invoke(&mut self, invoke: WastInvoke<'_>) -> Checked<Event> {
        let slot = self.slot(invoke.module).map_err(Not::Refused)?;
        let args: Result<Vec<_>, _> = invoke.args.iter().map(argument).collect();
        let args = args.map_err(Not::Failed)?;
        let Ok(mut instance) = slot.try_lock() else { return failed("in use") };
        let event = instance.call(invoke.name, &args, &mut self.outcome)?;
        Ok(match event {
            // A module of the suite may export `_start`.
            Event::Exited(0) => Event::Returned(vec![]),
            other => other,
        })
    }
}

impl Instance {
    fn call(&mut self, name: &str, args: &[Passed], outcome: &mut Outcome) -> Checked<Event> {
        let Some(run) = &mut self.run else { return failed("the instance is lost") };
        run.call(name, args).map_err(|e| Not::Failed(e.to_string()))?;
        self.advance(outcome)
    }

    fn advance(&mut self, outcome: &mut Outcome) -> Checked<Event> {
        let Some(mut run) = self.run.take() else { return failed("the instance is lost") };
        if self.mode == Mode::Plain {
            let event = run.advance();
            self.run = Some(run);
            return event.map_err(|e| Not::Failed(e.to_string()));
        }
        let before = self.chaos.report().captures;
        let (event, run) = self.chaos.advance(run).map_err(|e| Not::Failed(e.to_string()))?;
        outcome.captures += self.chaos.report().captures - before;
        self.run = Some(run);
        Ok(event)
    }
}

impl Module {
    fn of(wasm: &[u8]) -> Result<Module, String> {
        use wasmparser::{ExternalKind, Parser, Payload};
        let mut m = Module { functions: HashMap::new(), constants: HashMap::new() };
        let mut validator =
            wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all());
        let types = validator.validate_all(wasm).map_err(|e| e.to_string())?;
        let types = types.as_ref();
        for payload in Parser::new(0).parse_all(wasm) {
            let Ok(Payload::ExportSection(exports)) = payload else { continue };
            for e in exports.into_iter().flatten() {
                match e.kind {
                    ExternalKind::Func => {
                        let id = types.core_function_at(e.index);
                        let f = types[id].unwrap_func();
                        let ty = (f.params().to_vec(), f.results().to_vec());
                        m.functions.insert(e.name.to_owned(), ty);
                    }
                    ExternalKind::Global => {
                        let g = types.global_at(e.index);
                        if !g.mutable {
                            m.constants.insert(e.name.to_owned(), g.content_type);
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(m)
    }
}

fn encode(module: &mut Wat<'_>) -> Checked<Vec<u8>> {
    module.encode().map_err(|e| Not::Failed(e.to_string()))
}

/// `module.name` of some of a module's imports.
fn imports(
    wasm: &[u8],
    wanted: impl Fn(wasmparser::TypeRef) -> bool,
) -> impl Iterator<Item = (String, String)> {
    use wasmparser::{Parser, Payload};
    let mut names = vec![];
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(Payload::ImportSection(imports)) = payload else { continue };
        let imports = imports.into_imports().flatten().filter(|i| wanted(i.ty));
        names.extend(imports.map(|i| (i.module.to_owned(), i.name.to_owned())));
    }
    names.into_iter()
}

/// Whether a module declares types that are more than their parameters and results.
fn has_subtypes(wasm: &[u8]) -> bool {
    use wasmparser::{Parser, Payload};
    Parser::new(0).parse_all(wasm).flatten().any(|payload| {
        let Payload::TypeSection(groups) = payload else { return false };
        let types = groups.into_iter().flatten().flat_map(|group| group.into_types());
        types.into_iter().any(|t| !t.is_final || t.supertype_idx.is_some())
    })
}

fn host_type(t: ValType) -> Option<Type> {
    Some(match t {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::V128,
        t if t == ValType::EXTERNREF => Type::ExternRef,
        _ => return None,
    })
}

fn traps(event: Event, matches: impl Fn(&str) -> bool, expected: &str) -> Checked {
    match event {
        Event::Trapped(found) if matches(&found.to_string()) => Ok(()),
        Event::Trapped(found) => failed(format!("trapped with {found}; should be: {expected}")),
        other => failed(format!("{other:?}; should trap: {expected}")),
    }
}

/// The suite's words for a trap and wasmtime's.
fn trap_matches(found: &str, expected: &str) -> bool {
    found.contains(expected)
        // Which element it is wasmtime does not say.
        || expected.starts_with("uninitialized element") && found.contains("uninitialized element")
        || expected == "null function reference" && found.contains("uninitialized element")
        || expected.starts_with("null") && found.contains("null reference")
}

/// Whether a module is valid without multiple memories.
fn one_memory(wasm: &[u8]) -> bool {
    let features = WasmFeatures::all() - WasmFeatures::MULTI_MEMORY;
    Validator::new_with_features(features).validate_all(wasm).is_ok()
}
