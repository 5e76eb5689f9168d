//! What is shown of a checkpoint.

use super::{Listing, Opening};
use clap::Args;
use dormouse::Target;

#[derive(Args)]
pub struct Inspect {
    /// JOB (its newest good checkpoint) or JOB@N
    pub target: Target,
    #[command(flatten)]
    pub listing: Listing,
    #[command(flatten)]
    pub opening: Opening,
    /// Show all of every list, however long
    #[arg(long)]
    pub all: bool,
    /// Show each frame with all that it holds
    #[arg(long)]
    pub frames: bool,
}
