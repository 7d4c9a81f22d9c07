//! How idempotent tasks run again.
//!
//! Belongs here: the numbers. Does not belong here: the decisions that are made with them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::text::{Count, Form as _, Span};

/// How idempotent tasks run again, other than after the loss of a worker for any reason but memory, which is
/// [`max_attempts`](crate::PoolBuilder::max_attempts): each of the three is counted apart.
///
/// Before it runs again a task waits, for a time that doubles and of which half is random; it keeps its place in the queue's
/// limits, and may be cancelled. After the loss of a worker it does not wait: it runs again at once, or alone in quarantine.
/// But where the machine or the pool had no memory left, it waits, too: at once there would be none again.
///
/// With serde its fields are `failed_attempts`, `memory_attempts`, `backoff_min` and `backoff_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Retry {
    #[serde(with = "Count::<u32>")]
    pub(crate) failed_attempts: u32,
    #[serde(with = "Count::<u32>")]
    pub(crate) memory_attempts: u32,
    #[serde(with = "Span")]
    pub(crate) backoff_min: Duration,
    #[serde(with = "Span")]
    pub(crate) backoff_max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            failed_attempts: 3,
            memory_attempts: 3,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl Retry {
    /// Sets how often a task may start whose own error may go away
    /// ([`Task::is_transient`](crate::Task::is_transient)); the error of the last run is its caller's. Default: 3.
    pub fn failed_attempts(mut self, attempts: u32) -> Self {
        self.failed_attempts = attempts;
        self
    }

    /// Sets how often a task may start whose workers die for want of memory: over
    /// [`memory_hard`](crate::PoolBuilder::memory_hard), for [`memory_total`](crate::PoolBuilder::memory_total), or by the
    /// kernel's hand. Default: 3.
    pub fn memory_attempts(mut self, attempts: u32) -> Self {
        self.memory_attempts = attempts;
        self
    }

    /// Sets how long a task waits at most before it runs again for the first time, and what that doubles up to. Default:
    /// 100 ms, 10 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_min = min;
        self.backoff_max = max;
        self
    }
}
