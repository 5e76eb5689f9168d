//! What the functions of a module are called, and where their code lies.
//!
//! ```text
//!   `module.name` of an import; else its name in the name section, else as exported, else func[12]
//! ```

use dormouse_wasi::Call;
use std::collections::HashMap;
use wasmparser::{ExternalKind, KnownCustom, Name, Parser, Payload, TypeRef};

/// Names and places of functions. What cannot be parsed is left out.
#[derive(Default)]
pub struct Symbols {
    names: HashMap<u32, String>,
    imports: u32,
    /// Where each defined function's body begins in the module.
    bodies: Vec<usize>,
    /// Imports that are neither WASI's nor Dormouse's, as `module.name`.
    pub host: Vec<String>,
}

impl Symbols {
    pub fn of(module: &[u8]) -> Symbols {
        let mut s = Symbols::default();
        let mut better = HashMap::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload {
                Ok(Payload::ImportSection(imports)) => {
                    for import in imports.into_imports().flatten() {
                        if matches!(import.ty, TypeRef::Func(_) | TypeRef::FuncExact(_)) {
                            let name = format!("{}.{}", import.module, import.name);
                            if Call::imported(import.module, import.name).is_none() {
                                s.host.push(name.clone());
                            }
                            s.names.insert(s.imports, name);
                            s.imports += 1;
                        }
                    }
                }
                Ok(Payload::ExportSection(exports)) => {
                    for export in exports.into_iter().flatten() {
                        if export.kind == ExternalKind::Func {
                            s.names.entry(export.index).or_insert_with(|| export.name.to_owned());
                        }
                    }
                }
                Ok(Payload::CodeSectionEntry(body)) => s.bodies.push(body.range().start),
                Ok(Payload::CustomSection(custom)) => {
                    let KnownCustom::Name(subsections) = custom.as_known() else {
                        continue;
                    };
                    for subsection in subsections.into_iter().flatten() {
                        let Name::Function(functions) = subsection else {
                            continue;
                        };
                        for naming in functions.into_iter().flatten() {
                            better.insert(naming.index, naming.name.to_owned());
                        }
                    }
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        // An import is better known by what it is than by what its caller calls it.
        better.retain(|func, name| *func >= s.imports && !name.is_empty());
        s.names.extend(better);
        s
    }

    pub fn name(&self, func: u32) -> String {
        self.names.get(&func).cloned().unwrap_or_else(|| format!("func[{func}]"))
    }

    /// How far into the function's body an offset in the module is.
    pub fn within(&self, func: u32, offset: u32) -> Option<u32> {
        let body = self.bodies.get(func.checked_sub(self.imports)? as usize)?;
        offset.checked_sub(u32::try_from(*body).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name() {
        let module = wat::parse_str(
            r#"(module (import "env" "f" (func)) (func $named) (func (export "out")) (func nop))"#,
        );
        let module = module.unwrap();
        let s = Symbols::of(&module);
        let names: Vec<String> = (0..4).map(|f| s.name(f)).collect();
        assert_eq!(names, ["env.f", "named", "out", "func[3]"]);
        assert_eq!(s.within(0, 50), None);
        assert_eq!(s.within(1, s.bodies[0] as u32 + 1), Some(1));
        // Cut anywhere, it says what it can.
        for end in 0..module.len() {
            Symbols::of(&module[..end]).name(1);
        }
    }
}
