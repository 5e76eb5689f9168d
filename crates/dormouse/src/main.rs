//! The command line: see `dormouse help`.

mod bar;
mod cli;
mod commands;
mod config;
mod size;
mod ui;
#[cfg(feature = "ui")]
mod web;

fn main() -> std::process::ExitCode {
    cli::main()
}
