//! The names under which the instrumented module exports its parts, for the engine and for
//! continuations. All begin with [`PREFIX`], which original exports may not.

/// Every name of ours begins with this.
pub const PREFIX: &str = "dormouse.";
/// Memory: the control words, see [`control`].
pub const CONTROL: &str = "dormouse.control";
/// Memory: saved frames, a stack that grows upwards; the outermost frame is on top.
pub const FRAMES: &str = "dormouse.frames";
/// Tables: references in saved frames, by [`Hierarchy`](crate::Hierarchy). The last is there only
/// in a module that needs it.
pub const REFERENCES: [&str; 3] = ["dormouse.funcrefs", "dormouse.externrefs", "dormouse.exnrefs"];
/// Table of `funcref`: the continuation of each slot, null until it is compiled.
pub const CONTINUATIONS: &str = "dormouse.continuations";
/// Global `i32`: 1 while the stack is being left.
pub const UNWINDING: &str = "dormouse.unwinding";
/// Global `i32`: first free byte of the frames memory.
pub const SP: &str = "dormouse.sp";
/// Globals `i32`: first free entry of each of the tables of references.
pub const REFERENCES_SP: [&str; 3] =
    ["dormouse.funcref_sp", "dormouse.externref_sp", "dormouse.exnref_sp"];
/// Function: applies active element segments of tables the program never writes. Always run once.
pub const INIT_TABLES: &str = "dormouse.init_tables";
/// Function: applies all other active segments. Run once in a program's life.
pub const INIT: &str = "dormouse.init";
/// Function: drops the segments that the flags in the control memory name. Run on resume.
pub const DROP_SEGMENTS: &str = "dormouse.drop_segments";
/// Function: the module's own start function, if any.
pub const START: &str = "dormouse.start";

/// Function, in a [checkpointable](crate::Program::checkpointable) module only: writes the bits of all mutable globals, in their
/// order and 16 bytes each, into new pages of the frames memory, and gives their address.
pub const SAVE_GLOBALS: &str = "dormouse.save_globals";
/// Custom section, in a checkpointable module only: the module without safepoints.
pub const ORIGINAL: &str = "dormouse.original";

/// An original function.
pub fn function(index: u32) -> String {
    format!("dormouse.f{index}")
}
/// An original mutable global.
pub fn global(index: u32) -> String {
    format!("dormouse.g{index}")
}
/// An original memory.
pub fn memory(index: u32) -> String {
    format!("dormouse.m{index}")
}
/// An original table.
pub fn table(index: u32) -> String {
    format!("dormouse.t{index}")
}
/// An original tag.
pub fn tag(index: u32) -> String {
    format!("dormouse.e{index}")
}
/// The continuation of a slot, as exported by a continuation module.
pub fn continuation(slot: u32) -> String {
    format!("dormouse.c{slot}")
}

/// Byte offsets in the control memory.
///
/// ```text
///   0     request: not 0 asks every poll to save and leave
///   4     count: in counted mode, polls and restartable calls until the next capture
///   12    entries: entries of watched functions until the next capture
///   4096  a byte for each data segment, then one for each element segment: 1 if dropped
/// ```
pub mod control {
    /// `u32`, not 0: a capture is requested.
    pub const REQUEST: u64 = 0;
    /// `i32`, counted mode: safepoints until the next capture.
    pub const COUNT: u64 = 4;
    /// `i32`: how often watched functions are entered until the next capture. (What lies before it is written by polls of an
    /// interpreter.)
    pub const ENTRIES: u64 = 12;
    /// First of the segment flags.
    pub const DROPPED: u64 = 4096;
}
