//! `cargo xtask`: the chores of this repository. One file per subcommand.

mod guests;
mod list;
mod oracle;
mod setup;

use clap::Parser;
use std::process::ExitCode;

/// The chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
enum Task {
    /// Build and fetch the guest programs into target/guests, and write target/guests/guests.json
    Guests(guests::Args),
    /// Install the tools that the other subcommands use (they also do so when they need one)
    Setup(setup::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Guests(args) => guests::run(&args),
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
