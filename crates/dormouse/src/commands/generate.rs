//! `completions` and `man`: what is made of the list of commands and options.

use super::Done;
use crate::cli::{self, Cli};
use crate::ui;
use clap::CommandFactory;
use dormouse::Error;

pub fn completions(args: cli::Completions) -> Done {
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "dormouse", &mut script);
    ui::print(&String::from_utf8_lossy(&script));
    Ok(0)
}

pub fn man(args: cli::Man) -> Done {
    std::fs::create_dir_all(&args.dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.dir))
        .map_err(|source| Error::Io { action: "write manual pages to", path: args.dir, source })?;
    Ok(0)
}
