//! The worked examples of `docs/format.md`.

/// The bytes of the example after `<!-- MARKER -->`.
pub(crate) fn bytes(marker: &str) -> Vec<u8> {
    let docs = include_str!("../../../docs/format.md");
    let block = docs.split(&format!("<!-- {marker} -->")).nth(1).expect("the marker");
    let block = block.split("```").nth(1).expect("a code block");
    let hex = block.lines().skip(1).map(|line| line.split(';').next().unwrap_or(""));
    hex.flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect()
}
