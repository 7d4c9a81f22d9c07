//! How many tasks one worker runs at once.
//!
//! Belongs here: the choices, and how they are written. Does not belong here: following them.

use crate::config::text::{Count, Form as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many tasks one worker runs at once.
///
/// A number is [`Fixed`](Self::Fixed). In text it is the number, or `"adaptive:16"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concurrency {
    /// So many, whatever they do: many for tasks that wait, 1 for those that compute.
    Fixed(usize),
    /// As many as its event loop has time for, for tasks of which that is not known: fewer while it is 50 ms late or more, more
    /// while it is less than 5 ms late and has all it may.
    ///
    /// It begins with 1, and has found the right number in 2 s; [`SlotStatus::concurrency`](crate::SlotStatus::concurrency) tells
    /// which. A worker that has tasks wakes 100 times a second to measure it. What an event loop cannot be late for counts as
    /// waiting: computations in [`TaskContext::block`](crate::TaskContext::block).
    Adaptive {
        /// At most.
        max: usize,
    },
}

impl From<usize> for Concurrency {
    fn from(tasks: usize) -> Self {
        Self::Fixed(tasks)
    }
}

impl Concurrency {
    /// The most tasks that a worker has.
    pub(crate) fn most(self) -> usize {
        match self {
            Self::Fixed(tasks) => tasks,
            Self::Adaptive { max } => max,
        }
    }

    pub(crate) fn is_adaptive(self) -> bool {
        matches!(self, Self::Adaptive { .. })
    }
}

/// What stands before the number of an adaptive one.
const ADAPTIVE: &str = "adaptive:";

impl Serialize for Concurrency {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(tasks) => tasks.serialize(to),
            Self::Adaptive { max } => to.collect_str(&format_args!("{ADAPTIVE}{max}")),
        }
    }
}

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Tasks::deserialize(from)
    }
}

/// Its form.
struct Tasks;

impl crate::config::text::Form for Tasks {
    type Value = Concurrency;

    const EXPECTED: &'static str = "a number of tasks, or one such as \"adaptive:16\"";

    fn from_text(text: &str) -> Result<Concurrency, String> {
        match text.strip_prefix(ADAPTIVE) {
            None => Count::<usize>::from_text(text).map(Concurrency::Fixed),
            Some(max) => {
                Count::<usize>::from_text(max.trim()).map(|max| Concurrency::Adaptive { max })
            }
        }
    }

    fn from_number(number: u64) -> Option<Concurrency> {
        Count::<usize>::from_number(number).map(Concurrency::Fixed)
    }

    fn serialize<S: Serializer>(value: &Concurrency, to: S) -> Result<S::Ok, S::Error> {
        Serialize::serialize(value, to)
    }
}
