//! How lost workers are replaced.
//!
//! Belongs here: the numbers. Does not belong here: the decisions that are made with them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{
    or::{Auto, Limit},
    text::{Count, Form as _, Span},
};

/// How lost workers are replaced.
///
/// A slot restarts at once after its first abnormal exit, then with a back-off that doubles; a settled task resets it.
/// When more workers end abnormally within the period than the budget allows and none is ready, the circuit opens:
/// submits are refused and one worker at a time is tried until one is ready.
///
/// With serde its fields are `budget` (a number, `"unlimited"` or `"auto"`), `period`, `backoff_min` and `backoff_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Restart {
    #[serde(with = "Auto::<Limit<Count<u32>>>")]
    pub(crate) budget: Option<Option<u32>>,
    #[serde(with = "Span")]
    pub(crate) period: Duration,
    #[serde(with = "Span")]
    pub(crate) backoff_min: Duration,
    #[serde(with = "Span")]
    pub(crate) backoff_max: Duration,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            budget: None,
            period: Duration::from_secs(10),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
        }
    }
}

impl Restart {
    /// Sets how many abnormal exits within the period are put up with; `None` is no limit.
    /// Default: the larger of 5 and twice the number of processes.
    pub fn budget(mut self, exits: impl Into<Option<u32>>) -> Self {
        self.budget = Some(exits.into());
        self
    }

    /// Sets the period of the budget. Default: 10 s.
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// Sets the delay before the second restart in a row, and the one it doubles up to. Default: 100 ms, 30 s.
    pub fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.backoff_min = min;
        self.backoff_max = max;
        self
    }
}
