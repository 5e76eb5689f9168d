//! Makes a module that fails smaller while it goes on failing.
//!
//! ```text
//!   sections ──> items (types, imports, functions, exports, ...)   each left out, if that is valid
//!   bodies   ──> unreachable; ranges of instructions left out, or a constant in their place
//! ```
//!
//! Nothing is decoded that need not be: items and instructions are ranges of bytes. What is not
//! valid any more (most of what is tried) is never run.

use wasm_encoder::RawSection;
use wasmparser::{Operator, Parser, Payload, Validator, WasmFeatures};

/// A module in pieces.
#[derive(Clone)]
struct Pieces {
    /// Section numbers and their items, in the order of the file.
    sections: Vec<(u8, Vec<Vec<u8>>)>,
    bodies: Vec<Body>,
}

#[derive(Clone)]
struct Body {
    locals: Vec<u8>,
    code: Vec<Vec<u8>>,
}

const DATA_COUNT: u8 = 12;
const START: u8 = 8;
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;

/// The smallest module that was found to fail still, beginning with `wasm`, which does.
pub fn reduce(wasm: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let Some(mut best) = Pieces::of(wasm) else { return wasm.to_vec() };
    let mut smallest = wasm.to_vec();
    let mut try_it = |candidate: &Pieces, smallest: &mut Vec<u8>| {
        let bytes = candidate.encode();
        let features = WasmFeatures::all();
        let valid = Validator::new_with_features(features).validate_all(&bytes).is_ok();
        let good = valid && fails(&bytes);
        if good {
            *smallest = bytes;
        }
        good
    };
    loop {
        let before = smallest.len();
        for f in 0..best.bodies.len() {
            let mut c = best.clone();
            c.bodies[f] = Body { locals: vec![0], code: vec![vec![0], vec![0x0b]] };
            if c.bodies[f].code.len() < best.bodies[f].code.len() && try_it(&c, &mut smallest) {
                best = c;
            }
        }
        for f in 0..best.bodies.len() {
            reduce_body(&mut best, f, &mut |c| try_it(c, &mut smallest));
        }
        // From the end, so that what is left out shifts no index that is still used.
        for s in (0..best.sections.len()).rev() {
            for item in (0..best.sections[s].1.len()).rev() {
                let mut c = best.clone();
                c.sections[s].1.remove(item);
                if c.sections[s].0 == FUNCTIONS {
                    c.bodies.remove(item);
                }
                if try_it(&c, &mut smallest) {
                    best = c;
                }
            }
        }
        if smallest.len() >= before {
            return smallest;
        }
    }
}

/// In place of a range of instructions: nothing, or one of these.
const INSTEAD: [&[u8]; 8] = [
    &[0x1a],                         // drop
    &[0x41, 0],                      // i32.const 0
    &[0x42, 0],                      // i64.const 0
    &[0x43, 0, 0, 0, 0],             // f32.const 0
    &[0x44, 0, 0, 0, 0, 0, 0, 0, 0], // f64.const 0
    &[0xd0, 0x70],                   // ref.null func
    &[0x1a, 0x1a],                   // drop drop
    &[0x00],                         // unreachable
];

fn reduce_body(best: &mut Pieces, f: usize, try_it: &mut dyn FnMut(&Pieces) -> bool) {
    let mut width = best.bodies[f].code.len() / 2;
    while width > 0 {
        let mut at = 0;
        while at + width < best.bodies[f].code.len() {
            let mut with = |best: &mut Pieces, new: &[u8]| {
                let mut c = best.clone();
                let new = (!new.is_empty()).then(|| new.to_vec());
                c.bodies[f].code.splice(at..at + width, new);
                let good = try_it(&c);
                if good {
                    *best = c;
                }
                good
            };
            let old: usize = best.bodies[f].code[at..at + width].iter().map(Vec::len).sum();
            let shorter = INSTEAD.iter().filter(|i| i.len() < old || width > 1);
            if with(best, &[]) {
                continue;
            }
            if shorter.clone().any(|new| with(best, new)) {
                at += 1;
                continue;
            }
            // A construct without what makes it one.
            if width == 1 && unwrap(best, f, at, try_it) {
                continue;
            }
            at += 1;
        }
        width /= 2;
    }
}

/// Leaves out the beginning of a block and its end.
fn unwrap(best: &mut Pieces, f: usize, at: usize, try_it: &mut dyn FnMut(&Pieces) -> bool) -> bool {
    let begins = |i: &[u8]| matches!(i[0], 0x02..=0x04 | 0x06 | 0x1f);
    let code = &best.bodies[f].code;
    if !begins(&code[at]) {
        return false;
    }
    let mut depth = 0;
    let end = code[at..].iter().position(|i| {
        depth += i32::from(begins(i)) - i32::from(i[0] == 0x0b);
        depth == 0
    });
    let Some(end) = end else { return false };
    let mut c = best.clone();
    c.bodies[f].code.remove(at + end);
    c.bodies[f].code.remove(at);
    let good = try_it(&c);
    if good {
        *best = c;
    }
    good
}

impl Pieces {
    fn of(wasm: &[u8]) -> Option<Pieces> {
        let mut pieces = Pieces { sections: vec![], bodies: vec![] };
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.ok()?;
            macro_rules! items {
                ($reader:expr) => {{
                    let reader = $reader;
                    let end = reader.range().end;
                    let mut starts: Vec<usize> = vec![];
                    for item in reader.into_iter_with_offsets() {
                        starts.push(item.ok()?.0);
                    }
                    let ends = starts.iter().skip(1).copied().chain([end]);
                    starts.iter().zip(ends).map(|(&a, b)| wasm[a..b].to_vec()).collect()
                }};
            }
            let items: Vec<Vec<u8>> = match &payload {
                Payload::TypeSection(s) => items!(s.clone()),
                Payload::ImportSection(s) => items!(s.clone()),
                Payload::FunctionSection(s) => items!(s.clone()),
                Payload::TableSection(s) => items!(s.clone()),
                Payload::MemorySection(s) => items!(s.clone()),
                Payload::TagSection(s) => items!(s.clone()),
                Payload::GlobalSection(s) => items!(s.clone()),
                Payload::ExportSection(s) => items!(s.clone()),
                Payload::ElementSection(s) => items!(s.clone()),
                Payload::DataSection(s) => items!(s.clone()),
                Payload::StartSection { range, .. } => vec![wasm[range.clone()].to_vec()],
                Payload::DataCountSection { .. } => vec![],
                Payload::CodeSectionStart { .. } => vec![],
                Payload::CodeSectionEntry(body) => {
                    let mut reader = body.get_operators_reader().ok()?;
                    let start = reader.original_position();
                    let mut code = vec![];
                    while !reader.eof() {
                        let at = reader.original_position();
                        let _: Operator<'_> = reader.read().ok()?;
                        code.push(wasm[at..reader.original_position()].to_vec());
                    }
                    let locals = wasm[body.range().start..start].to_vec();
                    pieces.bodies.push(Body { locals, code });
                    continue;
                }
                _ => continue,
            };
            let id = payload.as_section()?.0;
            pieces.sections.push((id, items));
        }
        Some(pieces)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = wasm_encoder::Module::new();
        let datas = self.sections.iter().find(|s| s.0 == 11).map_or(0, |s| s.1.len());
        for (id, items) in &self.sections {
            let mut data = vec![];
            match *id {
                DATA_COUNT => count(&mut data, datas),
                START if items.is_empty() => continue,
                START => data.extend_from_slice(&items[0]),
                CODE => {
                    count(&mut data, self.bodies.len());
                    for b in &self.bodies {
                        let len = b.locals.len() + b.code.iter().map(Vec::len).sum::<usize>();
                        count(&mut data, len);
                        data.extend_from_slice(&b.locals);
                        data.extend(b.code.iter().flatten());
                    }
                }
                _ => {
                    count(&mut data, items.len());
                    data.extend(items.iter().flatten());
                }
            }
            out.section(&RawSection { id: *id, data: &data });
        }
        out.finish()
    }
}

fn count(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
