//! The end of a task that took too long.
//!
//! Belongs here: which limit it was, and what is known of the task. Does not belong here: enforcing limits.

use std::{fmt, time::Duration};

/// Which of its time limits a task was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutStage {
    /// `queue_timeout`: it had not started.
    Queued,
    /// `run_timeout`: it had started and did not end.
    Running,
    /// `timeout`: it had not settled.
    Deadline,
}

/// How far the end of a task had come when its caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimeoutEnd {
    /// It never ran.
    NeverStarted,
    /// It had run, or may have, and waited to run again: nothing of it runs any more.
    BetweenRuns,
    /// Its worker has dropped it, and goes on.
    Dropped,
    /// It ended with its worker.
    WithWorker,
    /// It had started, or may have, and had not ended: the pool goes on ending it.
    Unfinished,
}

/// A task was over one of its time limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimedOut {
    /// Which one.
    pub stage: TimeoutStage,
    /// How long it might have taken.
    pub limit: Duration,
    /// How long it had taken when it was found to be over: since it was accepted, or for [`TimeoutStage::Running`] since it
    /// had started.
    pub elapsed: Duration,
    /// How far its end had come.
    pub ended: TimeoutEnd,
}

impl TimedOut {
    /// Returns whether the task surely never ran.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        self.ended == TimeoutEnd::NeverStarted
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, elapsed, .. } = self;
        match self.stage {
            TimeoutStage::Queued => write!(
                f,
                "the task had not started after {elapsed:.1?}, over its `queue_timeout` of {limit:?}"
            ),
            TimeoutStage::Running => write!(
                f,
                "the task had not ended {elapsed:.1?} after its start, over its `run_timeout` of {limit:?}"
            ),
            TimeoutStage::Deadline => write!(
                f,
                "the task had not settled after {elapsed:.1?}, over its `timeout` of {limit:?}"
            ),
        }?;
        f.write_str(match self.ended {
            TimeoutEnd::NeverStarted => "; it never ran, so it is safe to submit again",
            TimeoutEnd::BetweenRuns => "; it had run to no avail and waited to run again",
            TimeoutEnd::Dropped => "; its worker has dropped it at an await and goes on",
            TimeoutEnd::WithWorker => "; it ended with its worker",
            TimeoutEnd::Unfinished => {
                "; it may still run for a moment, until the pool has ended it"
            }
        })
    }
}
