//! What is different for the tasks of one name.
//!
//! Belongs here: knobs that a name may have of its own. Does not belong here: those of one submission.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{
    or::Limit,
    text::{Count, Form as _, Span},
};

/// Knobs for the tasks of one name. Set with [`PoolBuilder::task_options`](crate::PoolBuilder::task_options), or by name in
/// [`PoolConfig::tasks`](crate::PoolConfig::tasks).
///
/// # Examples
///
/// ```
/// use actix_multiprocess::TaskOptions;
///
/// // However many workers there are, the licence is for two.
/// let options = TaskOptions::default().max_running(2);
/// assert_eq!(options.max_running, Some(2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TaskOptions {
    /// How many tasks of this name may be with workers at once, in the whole pool. Default: unlimited.
    #[serde(with = "Limit::<Count<u32>>")]
    pub max_running: Option<u32>,
    /// How long a task of this name may take in all, from its being accepted. Default: as the pool has it.
    #[serde(with = "Limit::<Span>")]
    pub timeout: Option<Duration>,
    /// How long it may wait for its first start. Default: as the pool has it.
    #[serde(with = "Limit::<Span>")]
    pub queue_timeout: Option<Duration>,
    /// How long it may run, each time that it is started. Default: as the pool has it.
    #[serde(with = "Limit::<Span>")]
    pub run_timeout: Option<Duration>,
}

impl TaskOptions {
    /// Sets how many tasks of this name may be with workers at once, in the whole pool. Default: no limit. At least 1.
    ///
    /// The others wait, in their order, and tasks of other names may pass them; they count in `queue_limit` like all that
    /// wait. One that waits for the worker of its [`key`](crate::Submit::key) has its place already; one whose caller has
    /// gone has it until its worker has ended it.
    #[must_use]
    pub const fn max_running(mut self, tasks: u32) -> Self {
        self.max_running = Some(tasks);
        self
    }

    /// Sets how long a task of this name may take in all. Default: as the pool has it
    /// ([`PoolBuilder::timeout`](crate::PoolBuilder::timeout)).
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sets how long it may wait for its first start. Default: as the pool has it
    /// ([`PoolBuilder::queue_timeout`](crate::PoolBuilder::queue_timeout)).
    #[must_use]
    pub const fn queue_timeout(mut self, limit: Duration) -> Self {
        self.queue_timeout = Some(limit);
        self
    }

    /// Sets how long it may run, each time that it is started. Default: as the pool has it
    /// ([`PoolBuilder::run_timeout`](crate::PoolBuilder::run_timeout)).
    #[must_use]
    pub const fn run_timeout(mut self, limit: Duration) -> Self {
        self.run_timeout = Some(limit);
        self
    }
}
