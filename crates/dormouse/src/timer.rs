//! Orders a checkpoint every so often.

use crate::desk::{Desk, Why};
use std::time::Duration;

/// Until the job ends. A checkpoint that is still being written is not followed by another at once.
pub(crate) fn tick(desk: &Desk, every: Duration) {
    while desk.pause(every) {
        desk.order_if_idle(Why::Timer);
    }
}
