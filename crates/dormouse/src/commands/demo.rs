//! `demo`.
use super::Done;
use crate::cli;
pub fn demo(_args: cli::Demo) -> Done { Ok(0) }
