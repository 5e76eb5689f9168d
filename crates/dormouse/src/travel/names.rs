//! Functions by what people call them.
//!
//! ```text
//!   func[12], 12          by index
//!   _ZN4json5parse17h..E  as the name section or an export has it
//!   json::parse::h1f..    demangled
//!   json::parse           without hash and parameters
//!   parse                 what is left of it, and an import without its module
//! ```
//!
//! The first kind of name that fits is meant. With `=3`, the third time; unless there is a function that is called so.

use crate::look::demangled;
use crate::{Error, Result};
use dormouse_transform::Program;
use std::collections::HashMap;

/// How many names like it are told.
const NEAR: usize = 3;
/// How like they must be.
const LIKE: f64 = 0.75;
/// How many functions of one name are told.
const MANY: usize = 5;

/// The function that `text` means, its name, and how often it is to be entered.
pub(crate) fn find(program: &Program, text: &str) -> Result<(u32, String, u32)> {
    let known = Known::of(program);
    let found = known.find(text);
    let times = text.rsplit_once('=').and_then(|(name, n)| Some((name, n.parse().ok()?)));
    match (found, times) {
        (Err(Error::NoFunction { .. }), Some((name, n))) if n > 0 => {
            let func = known.find(name)?;
            Ok((func, known.shown(func), n))
        }
        (found, _) => found.map(|func| (func, known.shown(func), 1)),
    }
}

struct Known {
    /// Of each function, if it has any.
    names: Vec<Option<String>>,
    /// Names under which functions are exported.
    /// By function.
    exports: HashMap<u32, Vec<String>>,
    imports: usize,
}

impl Known {
    fn of(program: &Program) -> Known {
        let count = program.function_counts().0;
        let mut names = program.function_names(&(0..count as u32).collect::<Vec<_>>());
        let imports = program.imports();
        for (name, import) in names.iter_mut().zip(imports) {
            *name = Some(format!("{}.{}", import.module, import.name));
        }
        let mut exports: HashMap<u32, Vec<String>> = HashMap::new();
        for (name, func) in program.exported_functions() {
            exports.entry(func).or_default().push(name);
        }
        Known { names, exports, imports: imports.len() }
    }

    fn shown(&self, func: u32) -> String {
        match self.names.get(func as usize) {
            Some(Some(name)) => demangled(name).into_owned(),
            _ => format!("func[{func}]"),
        }
    }

    fn find(&self, text: &str) -> Result<u32> {
        let index = text.strip_prefix("func[").and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(index) = index.parse::<u32>()
            && (index as usize) < self.names.len()
        {
            return Ok(index);
        }
        for kind in 0..4 {
            let fits = |func: &u32| self.is_called(*func, text, kind);
            let found: Vec<u32> = (0..self.names.len() as u32).filter(fits).collect();
            match found[..] {
                [] => {}
                [one] => return Ok(one),
                _ => {
                    let told = found.iter().take(MANY);
                    let mut which: Vec<String> =
                        told.map(|&f| format!("func[{f}] ({})", self.shown(f))).collect();
                    if found.len() > MANY {
                        which.push(format!("{} more", found.len() - MANY));
                    }
                    let (text, which) = (text.to_owned(), which.join(", "));
                    return Err(Error::ManyFunctions { text, which });
                }
            }
        }
        Err(Error::NoFunction { text: text.to_owned(), like: self.like(text) })
    }

    fn is_called(&self, func: u32, text: &str, kind: u32) -> bool {
        let exported =
            || self.exports.get(&func).is_some_and(|names| names.iter().any(|n| n == text));
        let Some(Some(name)) = self.names.get(func as usize) else {
            return kind == 0 && exported();
        };
        match kind {
            0 => name == text || exported(),
            1 => demangled(name) == text,
            2 => short(&demangled(name)) == text,
            _ if (func as usize) < self.imports => {
                name.rsplit_once('.').is_some_and(|(_, last)| last == text)
            }
            _ => last_part(short(&demangled(name))) == text,
        }
    }

    /// Names that somebody may have meant, the likest first.
    fn like(&self, text: &str) -> Vec<String> {
        let mut near: Vec<(f64, String)> = vec![];
        let exports = self.exports.values().flatten().map(String::as_str);
        for name in self.names.iter().flatten().map(String::as_str).chain(exports) {
            let name = demangled(name);
            let short = short(&name);
            let last = short.rsplit(['.', ':']).next().unwrap_or(short);
            let like = [short, last].map(|name| strsim::jaro_winkler(name, text));
            let like = like[0].max(like[1]);
            if like >= LIKE {
                near.push((like, format!("`{short}`")));
            }
        }
        near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        near.dedup_by(|a, b| a.1 == b.1);
        near.into_iter().take(NEAR).map(|n| n.1).collect()
    }
}

/// Without what compilers add: the hash of Rust's names, the parameters of C++'s.
fn short(name: &str) -> &str {
    if let Some((path, hash)) = name.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|b| b.is_ascii_hexdigit())
    {
        return path;
    }
    let whole = name.strip_suffix(" const").unwrap_or(name);
    if !whole.ends_with(')') {
        return name;
    }
    // The last list of parameters, with what is in it.
    let mut open = 0;
    for (at, c) in whole.char_indices().rev() {
        match c {
            ')' => open += 1,
            '(' => open -= 1,
            _ => {}
        }
        if open == 0 {
            let before = &whole[..at];
            // `operator()` has them in its name.
            let is_name = before.is_empty() || before.ends_with("operator");
            return if is_name { name } else { before };
        }
    }
    name
}

/// What comes after the last `::` that is not in brackets.
fn last_part(name: &str) -> &str {
    let (mut open, mut from) = (0, 0);
    let bytes = name.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' | b'<' | b'{' => open += 1,
            b')' | b'}' => open -= 1,
            // `->` is no bracket.
            b'>' if at == 0 || bytes[at - 1] != b'-' => open -= 1,
            b':' if open == 0 && at > 0 && bytes[at - 1] == b':' => from = at + 1,
            _ => {}
        }
    }
    name.get(from..).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_transform::Options;

    fn program(text: &str) -> Program {
        Program::new(wat::parse_str(text).unwrap().into(), &Options::default()).unwrap()
    }

    #[test]
    fn kinds_of_names() {
        let p = program(
            r#"(module (import "wasi_snapshot_preview1" "fd_close" (func $c (param i32) (result i32)))
                (func $parse (export "entry")) (func (export "out")) (func)
                (func $twice) (func $twice2) (func $a::b::deep) (func $x=2) (func $fd_close))"#,
        );
        let find = |text: &str| find(&p, text).map(|f| (f.0, f.2)).map_err(|e| e.to_string());
        for (text, func, times) in [
            ("parse", 1, 1),
            ("entry", 1, 1),
            ("out", 2, 1),
            ("func[3]", 3, 1),
            ("3", 3, 1),
            ("parse=4", 1, 4),
            ("func[3]=2", 3, 2),
            ("x=2", 7, 1),
            ("x=2=5", 7, 5),
            ("deep", 6, 1),
            ("a::b::deep", 6, 1),
            ("wasi_snapshot_preview1.fd_close", 0, 1),
            ("fd_close", 8, 1),
        ] {
            assert_eq!(find(text), Ok((func, times)), "{text}");
        }
        let unknown = find("prase").unwrap_err();
        assert!(unknown.contains("no function `prase`; did you mean `parse`"), "{unknown}");
        for bad in ["parse=0", "parse=", "9", "func[9]", "func[x]", "zzzz"] {
            find(bad).unwrap_err();
        }
    }

    #[test]
    fn one_name_for_many() {
        let names: String = (0..7).map(|i| format!("(func $n::f{i}::g)")).collect();
        let p = program(&format!("(module {names})"));
        let many = find(&p, "g").unwrap_err().to_string();
        assert!(many.contains("func[0] (n::f0::g), func[1]"), "{many}");
        assert!(many.contains("func[4] (n::f4::g), 2 more; name one"), "{many}");
    }

    #[test]
    fn what_compilers_add() {
        assert_eq!(short("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(short("a::hello"), "a::hello");
        assert_eq!(short("ns::f(int, char)"), "ns::f");
        assert_eq!(short("ns::f() const"), "ns::f");
        assert_eq!(short("ns::T::operator()"), "ns::T::operator()");
        assert_eq!(short("(anonymous namespace)::f"), "(anonymous namespace)::f");
        assert_eq!(short("(anonymous namespace)::f(int)"), "(anonymous namespace)::f");
        assert_eq!(short("ns::T::operator()(int) const"), "ns::T::operator()");
        assert_eq!(short("Box<void (int)>::tmpl(int)"), "Box<void (int)>::tmpl");
        let debug = "<alloc::vec::Vec<(u8, u8)> as core::fmt::Debug>::fmt";
        assert_eq!((short(debug), last_part(debug)), (debug, "fmt"));
        assert_eq!(last_part("(anonymous namespace)::f"), "f");
        assert_eq!(last_part("f"), "f");
        assert_eq!(last_part("a::g<b::c>"), "g<b::c>");
    }
}
