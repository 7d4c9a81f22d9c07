//! How a task wants to be run.
//!
//! Belongs here: what a submission says beside the input. Does not belong here: what a pool makes of it.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU64,
    sync::OnceLock,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Who goes first among tasks that wait.
///
/// A class is served when none above it waits, in the order of submission. A task that has waited for 5 s counts as one of
/// the class above its own, after 5 s more of the one above that, and there it is in the order of submission with the
/// others: a flood of a higher class delays it, and no more. Tasks that run are not interrupted.
///
/// Each class may always have a quarter of `queue_limit` waiting, and of `queue_bytes` unsettled, whatever the others have;
/// what one does not use the others may. So at worst half as much again as the limit is there, and one more of each class.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// When nobody else wants to be served.
    Low,
}

impl Priority {
    /// All of them, the first served first.
    pub(crate) const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// Counted from the first served.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// What tasks have in common that are to run in the same worker, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(NonZeroU64);

impl Key {
    pub(crate) fn of(value: impl Hash) -> Self {
        // Keys may come from outside: nobody is to know which of them meet.
        static SEED: OnceLock<RandomState> = OnceLock::new();
        let hash = SEED.get_or_init(RandomState::new).hash_one(value);
        // Never zero.
        Self(NonZeroU64::MIN | hash)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0.get()
    }
}

/// The terms on which a task was submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Terms {
    /// It may run again when the worker that had started it was lost.
    pub(crate) idempotent: bool,
    /// It runs alone in its worker.
    pub(crate) exclusive: bool,
    pub(crate) priority: Priority,
    pub(crate) key: Option<Key>,
    /// It may wait in a worker that has as many tasks as it runs; if nothing is said, when it is idempotent.
    pub(crate) read_ahead: Option<bool>,
}

impl Terms {
    pub(crate) fn is_sent_ahead(self) -> bool {
        self.read_ahead.unwrap_or(self.idempotent)
    }
}

/// How long a task may take. `None` is no limit of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct TimeLimits {
    /// From its being accepted to its end.
    pub(crate) total: Option<Duration>,
    /// From its being accepted to its first start.
    pub(crate) queue: Option<Duration>,
    /// From a start to its end.
    pub(crate) run: Option<Duration>,
}

impl TimeLimits {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is none but that to run, or none at all.
    pub(crate) fn is_run_only(&self) -> bool {
        self.total.is_none() && self.queue.is_none()
    }

    /// With those of `wider` where there are none.
    pub(crate) fn or(self, wider: Self) -> Self {
        Self {
            total: self.total.or(wider.total),
            queue: self.queue.or(wider.queue),
            run: self.run.or(wider.run),
        }
    }
}
