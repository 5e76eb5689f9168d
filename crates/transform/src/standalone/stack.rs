//! The stack, as functions that build it up again.

use super::{Writer, constant, encode, unfit};
use crate::body::Body;
use crate::emit::Emitter;
use crate::layout::{Kind, Site, Sites, Source, nullable};
use crate::{Error, Poll, Program, Result};
use dormouse_state::{Frame, Value};
use std::collections::HashMap;
use wasm_encoder::{BlockType, Instruction as I};
use wasmparser::ValType;

/// Bytes of code for what is on the stack. A state may have a frame at each call of a large function.
const MOST_CODE: usize = 512 << 20;

/// Frames that one function puts in place: a power of two.
const TOGETHER: u32 = 256;

/// A safepoint on the stack.
struct Rest {
    func: u32,
    site: Site,
    /// Where its values are put.
    globals: Vec<u32>,
    /// What the call gives that it stands in; none at other safepoints.
    call: Option<Vec<ValType>>,
}

/// Frames that are entered for one type of results.
#[derive(Default)]
struct Enter {
    results: Vec<ValType>,
    /// Number of the frame, and of its rest; ascending.
    arms: Vec<(u32, usize)>,
}

impl Writer<'_, '_> {
    /// The function that goes on.
    pub(super) fn write_stack(&mut self, begin: Option<u32>) -> Result<u32> {
        let frames = &self.snapshot.state.frames;
        // Calls that wait, as when a program is resumed.
        let last = frames.len().saturating_sub(1);
        let wait = frames[..last].iter().take_while(|f| f.site.offset == 0).count();
        let (waiting, frames) = frames.split_at(wait);
        let frame = self.global(ValType::I32);
        let exceptions = self.exceptions()?;
        let (rests, of) = self.rests(frames)?;
        let enters = enters(self, frames, &rests, &of)?;

        let first_rest = self.space.first() + self.ours.len() as u32;
        let first_enter = first_rest + rests.len() as u32;
        let none = Sites::default();
        let mut size = 0;
        for rest in &rests {
            let enter = match &rest.call {
                Some(results) => enters.iter().position(|e| e.results == *results),
                None => Some(0),
            };
            let enter = enter.ok_or(Error::Frames("a call without a frame in it"))?;
            let (p, m, space) = (self.p, self.m, &mut self.space);
            let body = body(p, rest.func)?;
            let emitter = Emitter::new(space, m, &body, &none, Poll::Atomic);
            let code = emitter.standalone(&rest.site, &rest.globals, first_enter + enter as u32)?;
            size += code.bytes.len();
            if size > MOST_CODE {
                return Err(unfit("what is left of the functions on its stack is too much code"));
            }
            let ty = self.signature(&[], m.func_type(rest.func).results());
            self.function(ty, code.bytes);
        }
        // Those for the enters come first, so that their indices are known; then what some of them call.
        let mut parts = vec![];
        for enter in &enters {
            let ty = self.signature(&[], &enter.results);
            let chunks: Vec<_> =
                enter.arms.chunk_by(|a, b| a.0 / TOGETHER == b.0 / TOGETHER).collect();
            let mut bodies = vec![];
            for arms in &chunks {
                let mut code = vec![];
                for &(n, rest) in *arms {
                    code.push(self.arm(&frames[n as usize], &rests[rest], &exceptions)?);
                    let call = I::Call(first_rest + rest as u32);
                    code.last_mut().into_iter().for_each(|c| c.push(call.clone()));
                }
                let numbers: Vec<u32> = arms.iter().map(|a| a.0).collect();
                let mut all = vec![I::GlobalGet(frame), I::LocalSet(0)];
                all.extend([I::LocalGet(0), I::I32Const(1), I::I32Add, I::GlobalSet(frame)]);
                all.extend(choose(&numbers, code));
                bodies.push((numbers[0] / TOGETHER, encode(&[ValType::I32], &all)));
            }
            parts.push((ty, bodies));
        }
        let mut next = first_enter + enters.len() as u32;
        let mut later = vec![];
        for (ty, mut bodies) in parts {
            if let [_] = bodies[..] {
                self.function(ty, bodies.remove(0).1);
                continue;
            }
            let numbers: Vec<u32> = bodies.iter().map(|b| b.0).collect();
            let calls = (next..).take(bodies.len()).map(|f| vec![I::Call(f)]).collect();
            next += bodies.len() as u32;
            let shift = TOGETHER.trailing_zeros() as i32;
            let mut all = vec![I::GlobalGet(frame), I::I32Const(shift), I::I32ShrU];
            all.push(I::LocalSet(0));
            all.extend(choose(&numbers, calls));
            self.function(ty, encode(&[ValType::I32], &all));
            later.extend(bodies.into_iter().map(|b| (ty, b.1)));
        }
        for (ty, body) in later {
            self.function(ty, body);
        }
        self.write_start(begin, &exceptions, waiting, first_enter, frames)
    }

    /// Begins, goes on with the outermost frame, and then makes the calls that wait.
    fn write_start(
        &mut self,
        begin: Option<u32>,
        exceptions: &[u32],
        waiting: &[Frame],
        first_enter: u32,
        frames: &[Frame],
    ) -> Result<u32> {
        let mut code: Vec<I<'_>> = begin.map(I::Call).into_iter().collect();
        code.extend(self.make_exceptions(exceptions)?);
        code.push(I::Call(first_enter));
        let mut results = self.m.func_type(frames[0].site.func).results().to_vec();
        for frame in waiting.iter().rev() {
            code.extend(results.iter().map(|_| I::Drop));
            let ty = self.known(frame.site.func)?;
            for (&ty, (_, v)) in ty.params().iter().zip(&frame.locals) {
                let bad = || Error::Frames("an argument of another type");
                code.push(constant(&mut self.space, *v, ty).ok_or_else(bad)?);
            }
            code.push(I::Call(self.space.itself(frame.site.func)));
            results = ty.results().to_vec();
        }
        let ty = self.signature(&[], &results);
        Ok(self.function(ty, encode(&[], &code)))
    }

    /// The type of a function that a state names.
    fn known(&self, func: u32) -> Result<wasmparser::FuncType> {
        let exists = (func as usize) < self.m.funcs.len();
        exists.then(|| self.m.func_type(func).clone()).ok_or(Error::NoSuchSite { func, offset: 0 })
    }

    /// The safepoints on the stack, each once, and for each frame which it is.
    fn rests(&mut self, frames: &[Frame]) -> Result<(Vec<Rest>, Vec<usize>)> {
        let (mut rests, mut of) = (Vec::<Rest>::new(), vec![]);
        let mut seen = HashMap::new();
        let mut globals: HashMap<(ValType, usize), u32> = HashMap::new();
        for frame in frames {
            let (func, offset) = (frame.site.func, frame.site.offset);
            if let Some(&rest) = seen.get(&frame.site) {
                of.push(rest);
                continue;
            }
            let sites = self.p.sites(func)?;
            let site = sites.at_offset(offset).ok_or(Error::NoSuchSite { func, offset })?.clone();
            let mut used: HashMap<ValType, usize> = HashMap::new();
            let mut mine = vec![];
            for &(_, ty) in &site.layout.values {
                let ty = nullable(ty);
                let nth = used.entry(ty).or_default();
                let known = globals.get(&(ty, *nth)).copied();
                let global = known.unwrap_or_else(|| self.global(ty));
                globals.insert((ty, *nth), global);
                *nth += 1;
                mine.push(global);
            }
            let call = match site.kind {
                Kind::Call => Some(body(self.p, func)?.results_of_call(self.m, site.op)?.to_vec()),
                _ => None,
            };
            seen.insert(frame.site, rests.len());
            of.push(rests.len());
            rests.push(Rest { func, site, globals: mine, call });
        }
        Ok((rests, of))
    }

    /// Puts a frame's values into their globals.
    fn arm(&mut self, frame: &Frame, rest: &Rest, exceptions: &[u32]) -> Result<Vec<I<'static>>> {
        let (func, offset) = (frame.site.func, frame.site.offset);
        let mut code = vec![];
        for (&(source, ty), &global) in rest.site.layout.values.iter().zip(&rest.globals) {
            let value = match source {
                Source::Local(l) => {
                    let at = frame.locals.binary_search_by_key(&l, |x| x.0);
                    at.ok().map(|at| frame.locals[at].1)
                }
                Source::Operand(p) => frame.operands.get(p as usize).copied(),
            };
            let why = "a value is missing or has another type";
            let bad = || Error::Frame { func, offset, why };
            code.push(match value.ok_or_else(bad)? {
                Value::ExnRef(Some(e)) => {
                    I::GlobalGet(*exceptions.get(e as usize).ok_or_else(bad)?)
                }
                v => constant(&mut self.space, v, nullable(ty)).ok_or_else(bad)?,
            });
            code.push(I::GlobalSet(global));
        }
        Ok(code)
    }

    /// A global for each caught exception.
    fn exceptions(&mut self) -> Result<Vec<u32>> {
        let exceptions = &self.snapshot.state.exceptions;
        Ok(exceptions.iter().map(|_| self.global(ValType::EXNREF)).collect())
    }

    /// Throws each and catches it, and puts it where the state has it.
    fn make_exceptions(&mut self, globals: &[u32]) -> Result<Vec<I<'static>>> {
        use wasm_encoder::{Catch, RefType};
        let state = self.snapshot.state;
        let mut code = vec![];
        let bad = || Error::Frames("an exception that this module cannot have thrown");
        for (e, &global) in state.exceptions.iter().zip(globals) {
            let &ty = self.m.tags.get(e.tag as usize).ok_or_else(bad)?;
            let params = self.m.types[ty as usize].params();
            if params.len() != e.fields.len() {
                return Err(bad());
            }
            code.push(I::Block(BlockType::Result(wasm_encoder::ValType::Ref(RefType::EXNREF))));
            let catches = vec![Catch::AllRef { label: 0 }];
            code.push(I::TryTable(BlockType::Empty, catches.into()));
            for (&v, &ty) in e.fields.iter().zip(params) {
                code.push(match v {
                    Value::ExnRef(Some(e)) => {
                        I::GlobalGet(*globals.get(e as usize).ok_or_else(bad)?)
                    }
                    v => constant(&mut self.space, v, ty).ok_or_else(bad)?,
                });
            }
            code.extend([I::Throw(e.tag), I::End, I::Unreachable, I::End, I::GlobalSet(global)]);
        }
        let at = |e: u32| globals.get(e as usize).copied().ok_or_else(bad);
        for &(global, v) in &state.globals {
            if let Value::ExnRef(Some(e)) = v {
                code.extend([I::GlobalGet(at(e)?), I::GlobalSet(global)]);
            }
        }
        for table in &state.tables {
            let ty = self.m.tables.get(table.index as usize).ok_or_else(bad)?;
            for (n, v) in (0i64..).zip(&table.entries) {
                if let Value::ExnRef(Some(e)) = *v {
                    let n = if ty.table64 { I::I64Const(n) } else { I::I32Const(n as i32) };
                    code.extend([n, I::GlobalGet(at(e)?), I::TableSet(table.index)]);
                }
            }
        }
        Ok(code)
    }
}

fn body(p: &Program, func: u32) -> Result<Body<'_>> {
    match p.module.imported(func) {
        true => Ok(p.stub_body(func)),
        false => Body::decode(&p.module, func),
    }
}

/// Which frames follow a call of which results. The outermost frame is the first of the first.
fn enters(
    w: &Writer<'_, '_>,
    frames: &[Frame],
    rests: &[Rest],
    of: &[usize],
) -> Result<Vec<Enter>> {
    let mut enters: Vec<Enter> = vec![];
    let mut by_results: HashMap<Vec<ValType>, usize> = HashMap::new();
    for n in 0..frames.len() {
        let is_last = n + 1 == frames.len();
        if rests[of[n]].call.is_some() == is_last {
            return Err(unfit("its frames do not follow from each other"));
        }
        let results = match n {
            0 => w.m.func_type(rests[of[0]].func).results().to_vec(),
            n => rests[of[n - 1]].call.clone().unwrap_or_default(),
        };
        let next = enters.len();
        let at = *by_results.entry(results.clone()).or_insert(next);
        if at == next {
            enters.push(Enter { results, arms: vec![] });
        }
        enters[at].arms.push((n as u32, of[n]));
    }
    if enters.is_empty() {
        return Err(Error::Frames("no frames"));
    }
    Ok(enters)
}

/// Code that does what belongs to the number in local 0, and returns.
fn choose(numbers: &[u32], codes: Vec<Vec<I<'static>>>) -> Vec<I<'static>> {
    let (least, most) = (numbers[0], numbers[numbers.len() - 1]);
    let other = numbers.len() as u32;
    let mut targets = vec![other; (most - least) as usize + 1];
    for (place, n) in (0..).zip(numbers) {
        targets[(n - least) as usize] = place;
    }
    let mut code = vec![I::Block(BlockType::Empty); numbers.len() + 1];
    code.extend([I::LocalGet(0), I::I32Const(least as i32), I::I32Sub]);
    code.extend([I::BrTable(targets.into(), other), I::End]);
    for arm in codes {
        code.extend(arm);
        code.extend([I::Return, I::End]);
    }
    code.push(I::Unreachable);
    code
}
