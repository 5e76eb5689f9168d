//! A program at its beginning: `_start`, or one of its functions with arguments.

use crate::Result;
use dormouse_engine::{Code, Passed, Run};
use dormouse_wasi::Wasi;
use std::sync::Arc;

/// What is to be called instead of `_start`, and its arguments.
pub(crate) type Called = Option<(String, Vec<Passed>)>;

/// Reads the arguments as the function's parameters want them.
pub(crate) fn called(code: &Code, invoke: Option<String>, args: &[Vec<u8>]) -> Result<Called> {
    let Some(name) = invoke else { return Ok(None) };
    let texts: Vec<_> = args.iter().map(|a| String::from_utf8_lossy(a)).collect();
    let args = code.arguments(&name, &texts)?;
    Ok(Some((name, args)))
}

/// A program at its beginning.
pub(crate) fn first(code: Arc<Code>, wasi: Wasi, called: Called) -> Result<Run> {
    let Some((name, args)) = called else { return Ok(Run::start(code, wasi)?) };
    let mut run = Run::new(code, wasi)?;
    run.call(&name, &args)?;
    Ok(run)
}

/// The program's name and its arguments.
pub(crate) fn argv(program: &str, args: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    std::iter::once(program.as_bytes().to_vec()).chain(args).collect()
}
