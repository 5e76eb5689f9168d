//! Orders a checkpoint every so often; how often may change after each.

use crate::desk::{Desk, Why};
use std::time::Instant;

/// Until the job ends. A checkpoint that is still being written is not followed by another at once.
pub(crate) fn tick(desk: &Desk) {
    let mut since = Instant::now();
    while desk.wait_due(since) {
        since = Instant::now();
        desk.order_if_idle(Why::Timer);
    }
}
