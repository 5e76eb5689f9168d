//! The command line: see `dormouse help`.

mod bar;
mod cli;
mod commands;
mod config;
mod size;
mod ui;

fn main() -> std::process::ExitCode {
    cli::main()
}
