//! What the transform does to each construct, as text. `tests/golden/NAME.wat` is a small module,
//! `NAME.golden` what becomes of it:
//!
//! ```text
//!   ;; sites                 each safepoint: what a frame saves there; no program stops where it is idle
//!   ;; translated            the module that is analysed, if it is not the one that was given
//!   ;; main                  the original functions with safepoints, and stubs (helpers are left out)
//!   ;; continuation N        the module that goes on from slot N; `;; slots: N M` in the .wat chooses
//! ```
//!
//! `BLESS=1 cargo test -p dormouse-transform --test golden` writes the golden files anew; read the
//! difference before you commit it.

use dormouse_transform::{Kind, Options, Program, Source, names};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use wasm_encoder::{Module, NameMap, NameSection, RawSection};
use wasmparser::{ExternalKind, KnownCustom, Name, Parser, Payload, TypeRef};

#[test]
fn goldens() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = std::env::var_os("BLESS").is_some();
    let (mut tried, mut wrong) = (0, vec![]);
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.extension() == Some("wat".as_ref())) {
        let text = std::fs::read_to_string(path).unwrap();
        let got = golden(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = path.with_extension("golden");
        if bless {
            std::fs::write(&file, &got).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if let Some(difference) = first_difference(&expected, &got) {
            wrong.push(format!("{}: {difference}", file.display()));
        }
        tried += 1;
    }
    for path in paths.iter().filter(|p| p.extension() == Some("golden".as_ref())) {
        assert!(path.with_extension("wat").exists(), "{} has no .wat", path.display());
    }
    assert!(tried >= 15, "only {tried} goldens");
    assert!(wrong.is_empty(), "BLESS=1 writes them anew:\n{}", wrong.join("\n"));
}

fn first_difference(expected: &str, got: &str) -> Option<String> {
    let (mut a, mut b) = (expected.lines(), got.lines());
    for n in 1.. {
        match (a.next(), b.next()) {
            (None, None) => break,
            (x, y) if x == y => {}
            (x, y) => return Some(format!("line {n}:\n  expected {x:?}\n  got      {y:?}")),
        }
    }
    (expected != got).then(|| "line ends differ".to_owned())
}

fn golden(text: &str) -> Result<String, Box<dyn std::error::Error>> {
    let wasm = wat::parse_str(text)?;
    // Imports named `host.block...` can be interrupted.
    let options =
        Options { restartable: |_, name| name.starts_with("block"), ..Options::default() };
    let program = Program::new(wasm.clone().into(), &options)?;
    let chosen = text.lines().find_map(|l| l.strip_prefix(";; slots:")).unwrap_or_default();
    let chosen: Vec<u32> = chosen.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let original = Names::of(&wasm)?;

    let mut out = String::new();
    let functions = function_count(&wasm)?;
    if **program.bytes() != *wasm {
        valid(program.bytes())?;
        writeln!(out, ";; translated")?;
        out.push_str(&functions_of(&print(program.bytes(), &original)?, functions));
        writeln!(out)?;
    }
    out.push_str(";; sites\n");
    for slot in 0..program.slots() {
        let Ok((func, site)) = program.site(slot) else {
            writeln!(out, ";;   {slot}: dead code")?;
            continue;
        };
        let kind = match site.kind {
            Kind::Entry => "entry",
            Kind::Loop => "loop",
            Kind::Call => "call",
        };
        let idle = if site.active { "" } else { "idle " };
        write!(out, ";;   {slot}: {idle}{kind} in {}", original.function(func))?;
        for (i, (source, ty)) in site.layout.values.iter().enumerate() {
            let what = match source {
                Source::Operand(p) => format!("operand {p}"),
                Source::Local(l) => format!("local {l}"),
            };
            write!(out, "{} {what} {ty}", if i == 0 { ": saves" } else { "," })?;
        }
        writeln!(out)?;
    }

    let main = program.instrument()?;
    valid(&main)?;
    let exports = exports(&main)?;
    for slot in (0..program.slots()).filter(|&slot| program.site(slot).is_ok()) {
        let continuation = program.continuations(&[slot])?;
        valid(&continuation)?;
        for import in imports(&continuation)? {
            assert!(exports.contains(&import), "continuation {slot} imports {import}:\n{text}");
        }
    }
    writeln!(out, "\n;; main")?;
    out.push_str(&functions_of(&print(&main, &original)?, functions));
    for slot in chosen {
        let continuation = program.continuations(&[slot])?;
        valid(&continuation)?;
        writeln!(out, "\n;; continuation {slot}")?;
        out.push_str(&print(&continuation, &original)?);
    }
    Ok(out)
}

fn valid(wasm: &[u8]) -> Result<(), wasmparser::Error> {
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(wasm)
        .map(|_| ())
}

fn function_count(wasm: &[u8]) -> Result<u32, wasmparser::Error> {
    let mut n = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(s) => {
                for i in s.into_imports() {
                    n += u32::from(matches!(i?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(s) => n += s.count(),
            _ => {}
        }
    }
    Ok(n)
}

/// The names the author gave.
#[derive(Default)]
struct Names {
    functions: HashMap<u32, String>,
}

impl Names {
    fn of(wasm: &[u8]) -> Result<Names, wasmparser::Error> {
        let mut names = Names::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let Payload::CustomSection(c) = payload? else { continue };
            let KnownCustom::Name(section) = c.as_known() else { continue };
            for sub in section {
                if let Name::Function(map) = sub? {
                    for n in map {
                        let n = n?;
                        names.functions.insert(n.index, n.name.into());
                    }
                }
            }
        }
        Ok(names)
    }

    fn function(&self, index: u32) -> String {
        self.functions.get(&index).map_or(format!("f{index}"), |n| format!("${n}"))
    }

    /// What an export or import of ours is called in the text.
    fn readable(&self, exported: &str) -> String {
        let short = exported.strip_prefix(names::PREFIX).unwrap_or(exported);
        let function = short.strip_prefix('f').and_then(|n| n.parse().ok());
        match function.and_then(|f: u32| self.functions.get(&f)) {
            Some(name) => name.clone(),
            None => short.to_owned(),
        }
    }
}

/// The text of a module in which our parts have names.
fn print(wasm: &[u8], original: &Names) -> Result<String, Box<dyn std::error::Error>> {
    let mut maps = [const { Vec::<(u32, String)>::new() }; 4];
    let mut imported = [0u32; 4];
    let space = |k: ExternalKind| match k {
        ExternalKind::Func | ExternalKind::FuncExact => Some(0),
        ExternalKind::Table => Some(1),
        ExternalKind::Memory => Some(2),
        ExternalKind::Global => Some(3),
        ExternalKind::Tag => None,
    };
    let mut out = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::ImportSection(s) => {
                for i in s.clone().into_imports() {
                    let i = i?;
                    let n = match i.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => 0,
                        TypeRef::Table(_) => 1,
                        TypeRef::Memory(_) => 2,
                        TypeRef::Global(_) => 3,
                        TypeRef::Tag(_) => continue,
                    };
                    maps[n].push((imported[n], original.readable(i.name)));
                    imported[n] += 1;
                }
            }
            Payload::ExportSection(s) => {
                for e in s.clone() {
                    let e = e?;
                    if let Some(n) = space(e.kind) {
                        let name = original.readable(e.name);
                        // A restartable import is exported as the stub that stands for it.
                        let other =
                            e.name.strip_prefix(names::PREFIX).and_then(|s| s.strip_prefix('f'));
                        let other = other.and_then(|s| s.parse::<u32>().ok());
                        let stub = n == 0 && other.is_some_and(|o| o != e.index);
                        maps[n].push((e.index, if stub { format!("{name}_stub") } else { name }));
                    }
                }
            }
            Payload::CustomSection(c) if c.name() == "name" => continue,
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            out.section(&RawSection { id, data: &wasm[range] });
        }
    }
    maps[0].splice(0..0, original.functions.clone().into_iter().filter(|_| imported[2] == 0));
    let mut section = NameSection::new();
    for (n, map) in maps.iter_mut().enumerate() {
        // The author's name before ours, ours before none.
        map.sort_by_key(|m| m.0);
        map.dedup_by_key(|m| m.0);
        let mut encoded = NameMap::new();
        map.iter().for_each(|(i, name)| encoded.append(*i, name));
        match n {
            0 => section.functions(&encoded),
            1 => section.tables(&encoded),
            2 => section.memories(&encoded),
            _ => section.globals(&encoded),
        }
    }
    out.section(&section);
    Ok(wasmprinter::print_bytes(out.finish())?)
}

/// The first `n` functions of a printed module (imports are counted, not shown), and stubs.
fn functions_of(text: &str, n: u32) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("  (func ") || line.starts_with("  (import ") && line.contains("(func ")
        {
            let index = line.split("(;").nth(1).and_then(|r| r.split(";)").next()?.parse().ok());
            inside = index.is_some_and(|i: u32| i < n || line.contains("_stub "));
            inside &= line.starts_with("  (func ");
        } else if line.starts_with("  (") && !line.starts_with("   ") {
            inside = false;
        }
        if inside {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

fn exports(wasm: &[u8]) -> wasmparser::Result<Vec<String>> {
    let mut names = vec![];
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(exports) = payload? {
            names.extend(exports.into_iter().flatten().map(|e| e.name.to_owned()));
        }
    }
    Ok(names)
}

fn imports(wasm: &[u8]) -> wasmparser::Result<Vec<String>> {
    let mut names = vec![];
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(imports) = payload? {
            names.extend(imports.into_imports().flatten().map(|i| i.name.to_owned()));
        }
    }
    Ok(names)
}
