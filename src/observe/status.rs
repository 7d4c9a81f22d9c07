//! Snapshots of a pool.
//!
//! Belongs here: numbers that a person or a monitor reads. Does not belong here: anything decided by them.

use std::{fmt, time::Duration};

use crate::{config::PoolConfig, task::Slot};

/// What a pool is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PoolState {
    /// No worker has been ready yet.
    #[default]
    Starting,
    /// Taking tasks.
    Running,
    /// The restart budget is spent: submits are refused until a worker is ready, of which one at a time is tried.
    CircuitOpen,
    /// The same, and one worker is being tried right now.
    CircuitHalfOpen,
    /// Finishing what was accepted.
    Draining,
    /// Ending what still runs.
    Stopping,
    /// Nothing is left.
    Stopped,
}

/// What a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlotState {
    /// Waits before it starts a worker: others start, back-off, or the circuit is open.
    #[default]
    Waiting,
    /// The worker was started and is not ready.
    Starting,
    /// The worker takes tasks.
    Ready,
    /// The worker takes no new tasks and ends when it has none left.
    Retiring,
    /// The worker was asked to end.
    Ending,
    /// No worker, and none will be started.
    Down,
}

/// One slot of a [`Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotStatus {
    /// Which slot.
    pub slot: Slot,
    /// What it is doing.
    pub state: SlotState,
    /// How many processes were in it before the present or next one.
    pub generation: u32,
    /// The process in it.
    pub pid: Option<u32>,
    /// Further processes in it that finish what they have: the present one has taken their place.
    pub retiring: Vec<u32>,
    /// Tasks sent to it whose end it has not reported.
    pub in_flight: usize,
    /// How many tasks its worker may have at once: the pool's `concurrency`, or what has come of it where that is
    /// [`Adaptive`](crate::Concurrency::Adaptive). 0 while none is ready.
    pub concurrency: usize,
    /// How many bytes its workers had in memory when they were last looked at, in a pool with limits on memory; `None` in others.
    pub rss: Option<usize>,
    /// Tasks it has ended, over all generations.
    pub done: u64,
    /// Workers of this slot that were lost, before they were ready or after.
    pub restarts: u64,
}

/// Settled tasks by how they ended. Those add up to the accepted tasks that are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Tasks taken in, settled or not.
    pub accepted: u64,
    /// Returned a value.
    pub done: u64,
    /// Returned an error.
    pub failed: u64,
    /// Unwound.
    pub panicked: u64,
    /// Cancelled, by message or because nobody waited any more.
    pub cancelled: u64,
    /// Over one of their time limits.
    pub timed_out: u64,
    /// Lost with their worker.
    pub lost: u64,
    /// Refused after they were accepted, because the pool ended before they started.
    pub rejected: u64,
    /// Their bytes could not be read or written on one side.
    pub codec: u64,
    /// Runs that came to nothing and were, or will be, followed by another of the same task: no way to settle.
    pub retried: u64,
}

impl Counts {
    /// Returns how many tasks have settled.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.done
            + self.failed
            + self.panicked
            + self.cancelled
            + self.timed_out
            + self.lost
            + self.rejected
            + self.codec
    }

    /// Returns what was counted after `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            accepted: self.accepted - earlier.accepted,
            done: self.done - earlier.done,
            failed: self.failed - earlier.failed,
            panicked: self.panicked - earlier.panicked,
            cancelled: self.cancelled - earlier.cancelled,
            timed_out: self.timed_out - earlier.timed_out,
            lost: self.lost - earlier.lost,
            rejected: self.rejected - earlier.rejected,
            codec: self.codec - earlier.codec,
            retried: self.retried - earlier.retried,
        }
    }
}

/// A snapshot of a pool: true at one moment, old the next.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// What the pool is doing.
    pub state: PoolState,
    /// Whether nothing is sent to workers: see [`Pause`](crate::Pause).
    pub paused: bool,
    /// Tasks waiting for a worker.
    pub queued: usize,
    /// Tasks with a worker that somebody may still wait for.
    pub in_flight: usize,
    /// Tasks that may have killed a worker, and wait to run alone or do so.
    pub quarantined: usize,
    /// Encoded bytes of all unsettled tasks.
    pub bytes: usize,
    /// Bytes of results that are settled and not taken.
    pub result_bytes: usize,
    /// Tasks by how they ended.
    pub counts: Counts,
    /// Every slot that is to have a worker or still has one, in order.
    pub slots: Vec<SlotStatus>,
    /// What the pool runs with: what it was told, and what was made of the automatic knobs.
    pub config: PoolConfig,
}

/// How a process ended, as far as the operating system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct ExitStatus {
    /// The code it ended with, if it ended by itself.
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
}

impl ExitStatus {
    /// Returns whether it ended by itself, with the code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) => write!(f, "signal {signal}"),
            (None, None) => f.write_str("an unknown status"),
        }
    }
}

/// What a drain or stop did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DrainReport {
    /// Tasks that were accepted and not settled when the drain began.
    pub outstanding: u64,
    /// How the tasks ended that settled since the drain began.
    pub counts: Counts,
    /// Workers that had to be killed.
    pub killed: u32,
    /// How long it took until no worker was left.
    pub took: Duration,
}
