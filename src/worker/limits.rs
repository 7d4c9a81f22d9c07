//! How long a task may take, on the clock of its worker.
//!
//! Belongs here: from what is left of a task's time to a point in time. Does not belong here: ending it, which the host does.

use std::time::{Duration, Instant};

use crate::wire::TimeLeft;

/// How long a task may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Its deadline.
    pub(crate) until: Option<Instant>,
    /// From its start on.
    pub(crate) run: Option<Duration>,
}

impl Limits {
    pub(crate) fn new(left: TimeLeft, now: Instant) -> Self {
        let after = |micros| now.checked_add(Duration::from_micros(micros));
        Self {
            until: left.total.and_then(after),
            run: left.run.map(Duration::from_micros),
        }
    }

    /// When one that starts now has to have ended.
    pub(crate) fn end(&self, now: Instant) -> Option<Instant> {
        let run = self.run.and_then(|run| now.checked_add(run));
        self.until.into_iter().chain(run).min()
    }
}
