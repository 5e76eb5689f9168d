//! `ui`, as it is typed.

use super::{Opening, Place};
use clap::Args;

#[derive(Args)]
pub struct Ui {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub opening: Opening,
    /// Serve the page at this port of 127.0.0.1 [default: any that is free]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub port: u16,
    /// Only print the address; open no browser
    #[arg(long)]
    pub no_open: bool,
    /// Read no configuration files, nor have those that the page starts read any.
    #[arg(skip)]
    pub no_config: bool,
}
