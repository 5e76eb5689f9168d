//! One program: compiled in each way, and run in each way in turn, round after round.
//!
//! ```text
//!   compile      plain, safepoints, plain, safepoints ...    CPU seconds of all threads
//!   warm up      each way once; all must leave the same
//!   round 1..N   each way once: CPU seconds of the program's thread / those of plain in the same round
//! ```

use super::variant::{Left, Machines, Ready, Variant};
use crate::guest::{Group, Guest};
use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;

/// What was measured of a program.
pub struct Row {
    pub name: String,
    pub group: Group,
    /// CPU seconds of plain, the median.
    pub plain: f64,
    /// One for each round.
    pub ratios: BTreeMap<Variant, Vec<f64>>,
    pub code: Option<Code>,
}

/// What safepoints do to the code.
pub struct Code {
    /// Bytes of machine code, plain, and the ratio.
    pub text: usize,
    pub larger: f64,
    /// CPU seconds to compile, plain, and the ratio; the transform is part of it.
    pub compile: f64,
    pub slower: f64,
}

/// Compiling is repeated until it has taken so long, in seconds.
const COMPILING: f64 = 0.5;

pub fn row(
    machines: &Machines,
    g: &Guest,
    rounds: usize,
    variants: &[Variant],
    missing: &mut Vec<String>,
) -> Result<Row> {
    let (plain, ours, code) = compile(machines, g)?;
    let mut ways = vec![(Variant::Plain, plain)];
    let mut code = Some(code);
    for &variant in variants {
        let ready = match variant {
            Variant::Safepoints => continue,
            _ => machines.compile(variant, g),
        };
        match ready {
            Ok(Some(ready)) => ways.push((variant, ready)),
            Ok(None) => {}
            Err(e) => missing.push(format!("{} of {}: {e:#}", variant.name(), g.name)),
        }
    }
    match variants.contains(&Variant::Safepoints) {
        true => ways.insert(1, (Variant::Safepoints, ours)),
        false => code = None,
    }
    let args = &g.large.as_ref().unwrap_or(&g.small).args;
    let expected = ways[0].1.time(g, args)?.1;
    let mut kept = vec![];
    for (variant, ready) in ways {
        match ready.time(g, args).and_then(|(_, left)| same(&left, &expected)) {
            Ok(()) => kept.push((variant, ready)),
            // What others do is told; what we do must be right.
            Err(e) if variant != Variant::Plain && variant != Variant::Safepoints => {
                missing.push(format!("{} of {}: {e:#}", variant.name(), g.name));
            }
            Err(e) => return Err(e.context(variant.name())),
        }
    }
    let mut times = BTreeMap::<Variant, Vec<f64>>::new();
    for _ in 0..rounds {
        for (variant, ready) in &kept {
            let (seconds, left) = ready.time(g, args)?;
            same(&left, &expected).context(variant.name())?;
            times.entry(*variant).or_default().push(seconds);
        }
    }
    let plain = times.remove(&Variant::Plain).context("plain was not run")?;
    let ratio = |of: Vec<f64>| of.iter().zip(&plain).map(|(a, b)| a / b).collect();
    let ratios = times.into_iter().map(|(variant, of)| (variant, ratio(of))).collect();
    let group = g.group();
    Ok(Row { name: g.name.clone(), group, plain: crate::median(plain), ratios, code })
}

fn same(left: &Left, expected: &Left) -> Result<()> {
    ensure!(left.end == expected.end, "it ends with {:?}, plain with {:?}", left.end, expected.end);
    ensure!(left.out == expected.out, "it prints something else");
    Ok(())
}

/// Plain and with safepoints, in turn.
fn compile(machines: &Machines, g: &Guest) -> Result<(Ready, Ready, Code)> {
    let one = |variant| -> Result<(f64, Ready)> {
        let before = process_seconds();
        let ready = machines.compile(variant, g)?.context("there is always plain and ours")?;
        Ok((process_seconds() - before, ready))
    };
    let (mut plain, mut ratios, mut all) = (vec![], vec![], 0.0);
    loop {
        let (a, a_ready) = one(Variant::Plain)?;
        let (b, b_ready) = one(Variant::Safepoints)?;
        plain.push(a);
        ratios.push(b / a);
        all += a + b;
        if all >= COMPILING {
            let text = a_ready.text();
            let larger = b_ready.text() as f64 / text as f64;
            let (compile, slower) = (crate::median(plain), crate::median(ratios));
            return Ok((a_ready, b_ready, Code { text, larger, compile, slower }));
        }
    }
}

fn process_seconds() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}
