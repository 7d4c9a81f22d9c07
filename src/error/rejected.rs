//! Why a task was not taken, or given back before it ran.
//!
//! Belongs here: the reasons of the pool and the figures the caller needs to act on them.
//! Does not belong here: why a task that may have run came to nothing (`task`, `crash`).
//! Invariant: a rejected task never ran.

use std::fmt;
use std::time::Duration;

use super::text;

/// Why the pool did not take a task, or gave it back before it ran.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// The queue is at `queue_limit` or has no room for the task's bytes under `queue_bytes`.
    ///
    /// Worth trying again later; `when_full` can make `submit` wait instead.
    QueueFull {
        /// How many tasks were waiting.
        waiting: usize,
        /// The most that may wait: `queue_limit`.
        limit: usize,
        /// How many bytes the accepted tasks held.
        bytes: usize,
        /// The most they may hold: `queue_bytes`.
        bytes_limit: usize,
    },
    /// The encoded task is larger than a frame may be.
    TooLarge {
        /// How many bytes it takes.
        bytes: usize,
        /// The most it may take: `max_frame_bytes`.
        limit: usize,
    },
    /// The pool is draining, has stopped or is gone.
    Closed,
    /// The circuit is open: the restart budget is spent and no worker is ready.
    Unavailable {
        /// When the pool next probes whether a worker can start, from now.
        retry_after: Duration,
    },
    /// The task is not registered in the `WorkerSpec`.
    UnknownTask {
        /// Its `Task::NAME`.
        name: &'static str,
        /// Registered names that look like it, best first.
        near: Vec<String>,
    },
}

impl Rejected {
    /// Returns whether the same task may be taken later.
    #[must_use]
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::QueueFull { .. } | Self::Unavailable { .. })
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull {
                waiting,
                limit,
                bytes,
                bytes_limit,
            } => {
                f.write_str("the queue is full: ")?;
                let many = waiting >= limit;
                // Under both limits before this task: then it was its own bytes that did not fit.
                let heavy = !many || bytes >= bytes_limit;
                if many {
                    write!(f, "{waiting} of {limit} tasks wait")?;
                }
                if heavy {
                    f.write_str(if many {
                        " and "
                    } else {
                        "no room for its bytes, "
                    })?;
                    write!(f, "{bytes} of {bytes_limit} bytes are taken")?;
                }
                let knobs = match (many, heavy) {
                    (true, true) => "`queue_limit` and `queue_bytes`",
                    (true, false) => "`queue_limit`",
                    (false, _) => "`queue_bytes`",
                };
                write!(
                    f,
                    "; submit later, set `when_full` to wait, or raise {knobs}"
                )
            }
            Self::TooLarge { bytes, limit } => write!(
                f,
                "the task takes {bytes} bytes, over the {limit} of `max_frame_bytes`; \
                 pass a large file as its path, or raise `max_frame_bytes`"
            ),
            Self::Closed => f.write_str(
                "the pool is draining, stopped or gone, so the task never ran; \
                 submit it to a pool that is open",
            ),
            Self::Unavailable { retry_after } => write!(
                f,
                "no worker is ready and the restart budget is spent; \
                 submit again in {:?}, and see the pool's `status()` for why its workers end",
                text::brief(*retry_after)
            ),
            Self::UnknownTask { name, near } => {
                write!(
                    f,
                    "task `{name}` is not registered in the `WorkerSpec`; \
                     call `.task::<..>()` with its type before `.init()`"
                )?;
                text::write_near(f, near)
            }
        }
    }
}

impl std::error::Error for Rejected {}
