//! The table of the 2002 paper: a bytecode virtual machine with heaps of several sizes, saved and restarted on every kind of
//! host, from an image of its own kind and from one of another.
//!
//! The stock interpreter of OCaml runs bytecode as Debian's compiler makes it: see `guests/catalogue/ocaml.sh`.

use super::hosts::Host;
use super::trip::Program;
use crate::catalogue;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Megabytes that stay alive, and rounds of work.
const HEAPS: [(&str, &str); 3] = [("1", "2"), ("16", "2"), ("64", "2")];

/// Prints it.
pub fn table(hosts: &[Host]) -> Result<()> {
    let (wasm, bytecode) = catalogue::with_beside("ocaml", "work.byte")?;
    println!(
        "OCaml: seconds of whole processes; an image of the host's own kind, and one of {}",
        hosts[0].name
    );
    println!(
        "{:<9}{:>8}{:>12}{:>12}{:>10}{:>12}{:>8}",
        "host", "heap", "image", "checkpoint", "restart", "other's", "ends"
    );
    for (mib, rounds) in HEAPS {
        let args = vec!["/work/work.byte".to_owned(), mib.to_owned(), rounds.to_owned()];
        let mut program = Program::of(
            &format!("ocaml-{mib}"),
            &wasm,
            std::slice::from_ref(&bytecode),
            &["out.txt"],
            args,
        );
        program.expect_as_on(&hosts[0])?;
        let middle = program.safepoints(&hosts[0])? / 2;
        let foreign = program.begin(&hosts[0], middle)?;
        for host in hosts {
            let own = program.begin(host, middle)?;
            own.rehearse(host)?; // compiled now
            let restart = time(|| own.rehearse(host))?;
            let again = time(|| own.same(host))?;
            let other = foreign.copy()?;
            let others = time(|| other.rehearse(host))?;
            own.finish(host)?;
            other.finish(host)?;
            println!(
                "{:<9}{:>4} MiB{:>12}{:>12.2}{:>10.2}{:>12.2}{:>8}",
                host.name,
                mib,
                own.size()?,
                again.saturating_sub(restart).as_secs_f64(),
                restart.as_secs_f64(),
                others.as_secs_f64(),
                "same"
            );
        }
    }
    Ok(())
}

fn time(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}
