//! What a module's debugging information (DWARF) says of a place in its code.

use super::{Dwarf, Line, Variable};
use dormouse_state::Frame;
use dormouse_store::Checkpoint;
use std::sync::Arc;

/// The source of a program.
pub(super) struct Source;

/// What the source says of a frame.
#[derive(Default)]
pub(super) struct Place {
    pub lines: Arc<[Line]>,
    pub variables: Vec<Variable>,
}

impl Source {
    pub fn of(_: &Checkpoint) -> Source {
        Source
    }

    pub fn dwarf(&self) -> Dwarf {
        Dwarf::None
    }

    pub fn place(&self, _: &Checkpoint, _: &Frame) -> Place {
        Place::default()
    }
}
