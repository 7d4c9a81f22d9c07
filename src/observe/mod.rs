//! What can be seen of a pool: events, status, log lines.
//!
//! Belongs here: the values and their `tracing` form. Does not belong here: who collects or sends them.
//! Invariant: every [`PoolEvent`] is also exactly one `tracing` line, of what of it fits into one.

mod event;
mod status;
mod trace;

pub use event::{CloseReason, OutputStream, PoolEvent, RetireReason, Suspect};
pub use status::{Counts, DrainReport, ExitStatus, PoolState, SlotState, SlotStatus, Status};

use crate::error::capture;

/// Writes to the log. A log subscriber is somebody else's code: its panic must not reach the pool's.
pub(crate) fn log(write: impl FnOnce()) {
    // When the log itself panics there is nowhere to say so.
    let _ = capture::contained(write);
}
