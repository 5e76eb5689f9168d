//! Figures of the README and the docs: `cargo xtask bench` builds the guests and runs this.
//!
//! Everything is a ratio of two things measured in turn in one process, because the machines are
//! shared and noisy; medians over rounds.

mod capture;
mod checkpoint;
mod guest;
mod overhead;
mod resumed;
mod start;
mod store;

use anyhow::{Result, bail};
use rustix::time::{ClockId, clock_gettime};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bare", compiled, args @ ..] => start::bare(compiled.as_ref(), args),
        ["overhead", guests @ ..] => overhead::run(guests),
        ["instructions", guests @ ..] => overhead::instructions::run(guests),
        ["counted", variant, guest] => overhead::instructions::counted(variant, guest),
        ["capture"] => capture::run(),
        ["start"] => start::run(),
        ["resumed", guests @ ..] => resumed::run(guests),
        ["checkpoint", words @ ..] => checkpoint::run(words),
        ["store"] => store::run(1000),
        ["store", n] => store::run(n.parse()?),
        [] => {
            overhead::run(&[])?;
            capture::run()?;
            start::run()?;
            resumed::run(&[])?;
            checkpoint::run(&[])?;
            store::run(1000)
        }
        _ => bail!(
            "usage: dormouse-bench [overhead [--rounds N] [--variants A,B] [GUEST...] | instructions [GUEST...] | capture | start | resumed [--longer N] [GUEST...] | checkpoint [WHAT] | store [CHECKPOINTS]]"
        ),
    }
}

/// Of this thread, so far.
pub(crate) fn cpu_seconds() -> f64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

/// The middle value.
pub(crate) fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => v[n / 2],
        n => (v[n / 2 - 1] + v[n / 2]) / 2.0,
    }
}
