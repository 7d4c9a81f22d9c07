//! Names for tasks, slots and workers.
//!
//! Belongs here: the small copyable values that logs, errors and the wire share.
//! Does not belong here: anything that looks one of them up.
//! Invariant: a [`TaskId`] is never reused within a pool, a (slot, generation) pair never within one either.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names one task within its pool, in the order of submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId(u64);

impl TaskId {
    pub(crate) const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The one so many behind it.
    pub(crate) fn after(self, tasks: u32) -> Self {
        Self(self.0.saturating_add(u64::from(tasks)))
    }

    /// Returns the number behind the name, as logs print it.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.0)
    }
}

/// Names a worker's stable place in the pool, counted from 0.
///
/// The process in it changes with every restart; the slot does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(u32);

impl Slot {
    /// How many a pool may have beside this one: the place of the worker in which suspects run alone.
    pub(crate) const QUARANTINE: Self = Self(4096);

    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Returns the place, counted from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }

    /// Returns whether it is the place beside all others: that of the worker in which tasks run alone which may have killed
    /// another. There is one there only as long as such tasks wait or run.
    #[must_use]
    pub const fn is_quarantine(self) -> bool {
        self.0 == Self::QUARANTINE.0
    }
}

impl Slot {
    /// Writes what a worker there is called, but for its generation.
    pub(crate) fn write_worker(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_quarantine() {
            return f.write_str("worker quarantine");
        }
        write!(f, "worker {}", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_quarantine() {
            f.write_str("quarantine")
        } else {
            write!(f, "slot {}", self.0)
        }
    }
}

/// Names one worker process: where it is, which one it is there, and its process id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its place in the pool.
    pub slot: Slot,
    /// How many processes were in that slot before this one.
    pub generation: u32,
    /// Its process id as the operating system gave it.
    pub pid: u32,
}

impl WorkerInfo {
    pub(crate) const fn new(slot: Slot, generation: u32, pid: u32) -> Self {
        Self {
            slot,
            generation,
            pid,
        }
    }
}

impl fmt::Display for WorkerInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.slot.write_worker(f)?;
        write!(f, ".{} (pid {})", self.generation, self.pid)
    }
}
