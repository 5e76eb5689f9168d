//! Writes the instrumented form of a module: `cargo run --example instrument -- IN.wasm OUT.wasm`.

use dormouse_transform::{Options, Program};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(from), Some(to)) = (args.next(), args.next()) else {
        return Err("usage: instrument IN.wasm OUT.wasm".into());
    };
    let program = Program::new(std::fs::read(from)?.into(), &Options::default())?;
    std::fs::write(to, program.instrument()?)?;
    Ok(())
}
