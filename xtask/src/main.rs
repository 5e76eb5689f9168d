//! `cargo xtask`: the chores of this repository. One file per subcommand.

mod bench;
mod catalogue;
mod conformance;
mod fuzz;
mod guests;
mod hetero;
mod list;
mod oracle;
mod place;
mod setup;
mod slurm;
mod test;

use clap::Parser;
use std::process::ExitCode;

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
enum Task {
    /// Run everything that must pass: formatting, clippy, all tests (and install what they need)
    Test(test::Args),
    /// Run the benchmarks
    Bench(bench::Args),
    /// Fuzz: random modules, and damaged inputs for every decoder
    Fuzz(fuzz::Args),
    /// Build and fetch the guest programs into target/guests, write target/guests/guests.json, and try the catalogue
    Guests(guests::Args),
    /// Compare WASI preview 1 with the stock wasmtime: all checks, those in Rust too, and thousands of random calls
    Conformance(conformance::Args),
    /// Try real programs from the registries: plain, under chaos, killed and resumed
    Catalogue(catalogue::Args),
    /// Take checkpoints on every kind of host, and resume each on every other
    Hetero(hetero::Args),
    /// Have a real Slurm requeue, preempt and signal a job of contrib/slurm, which goes on by itself
    Slurm(slurm::Args),
    /// Install the tools that the other subcommands use (they also do so when they need one)
    Setup(setup::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Guests(args) => guests::run(&args),
        Task::Conformance(args) => conformance::run(&args),
        Task::Catalogue(args) => catalogue::run(&args),
        Task::Hetero(args) => hetero::run(&args),
        Task::Slurm(args) => slurm::run(&args),
        Task::Setup(args) => setup::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
