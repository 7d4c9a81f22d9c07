//! What is different for the tasks of one name.
//!
//! Belongs here: knobs that a name may have of its own. Does not belong here: those of one submission.

use serde::{Deserialize, Serialize};

use crate::config::text::{Count, Form as _, Limit};

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
}
