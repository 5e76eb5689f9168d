//! Names of functions as their source has them.
//!
//! ```text
//!   _ZN4heat5relax17h0123456789abcdefE   heat::relax        Rust; the hash is left out
//!   _RNvCs15kBYyAo9fc_4heat5relax        heat::relax
//!   _Z5relaxPid                          relax(int*, double)
//!   main                                 main
//! ```
//!
//! A name may be a stranger's, and short ones can stand for very long ones: what is too long stays as it is.

use cpp_demangle::{BorrowedSymbol, DemangleOptions, ParseOptions};
use std::borrow::Cow;
use std::fmt::{self, Write};

/// Characters a name may have, before and after.
const LONGEST: usize = 4096;
/// How deep one may nest.
const DEEPEST: u32 = 64;

/// A function's name as its source has it, if it is one that was mangled.
pub fn demangled(name: &str) -> Cow<'_, str> {
    plain(name).map_or(Cow::Borrowed(name), Cow::Owned)
}

fn plain(name: &str) -> Option<String> {
    if name.len() > LONGEST || !name.starts_with('_') {
        return None;
    }
    let mut plain = Short(String::new());
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        // The alternate form leaves the hash out.
        write!(plain, "{rust:#}").ok()?;
        return Some(plain.0);
    }
    let parsing = ParseOptions::default().recursion_limit(DEEPEST);
    let (symbol, rest) = BorrowedSymbol::with_tail_and_options(name.as_bytes(), &parsing).ok()?;
    if !rest.is_empty() && !rest.starts_with(b".") {
        return None;
    }
    let options = DemangleOptions::new().no_return_type().recursion_limit(DEEPEST);
    symbol.structured_demangle(&mut plain, &options).ok()?;
    Some(plain.0)
}

/// A text that does not become too long.
struct Short(String);

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (mangled, plain) in [
            ("_ZN4heat5relax17h0123456789abcdefE", "heat::relax"),
            ("_RNvCs15kBYyAo9fc_4heat5relax", "heat::relax"),
            ("_Z5relaxPid", "relax(int*, double)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            ("main", "main"),
            ("_start", "_start"),
            ("_Z", "_Z"),
            ("", ""),
            ("__original_main", "__original_main"),
            ("env.f", "env.f"),
        ] {
            assert_eq!(demangled(mangled), plain);
        }
    }

    /// Each parameter is a pair of two of the one before: the name doubles with every few letters.
    #[test]
    fn names_that_grow() {
        let mut name = "_Z1f1PIiiE".to_owned();
        for n in 0..60 {
            let before = if n == 0 { "S_".to_owned() } else { format!("S{}_", to_36(n - 1)) };
            name += &format!("1PI{before}{before}E");
        }
        let begun = std::time::Instant::now();
        assert!(demangled(&name).len() <= LONGEST);
        for end in 0..name.len() {
            demangled(&name[..end]);
        }
        assert!(begun.elapsed().as_secs() < 60, "it takes no time that doubles");
        let deep = format!("_Z1f{}i", "P".repeat(4000));
        assert_eq!(demangled(&deep), deep);
    }

    fn to_36(n: u32) -> char {
        char::from_digit(n, 36).unwrap_or('0').to_ascii_uppercase()
    }
}
