//! The knobs of a pool as the host's side uses them.
//!
//! Belongs here: plain values and their defaults. Does not belong here: checking them, which is the builder's.

use std::{sync::Arc, time::Duration};

use crate::{error::near_names, sched::RestartRules, supervisor::Launch, wire::Payload};

/// How long a pool that nobody holds any more goes on with what it has accepted.
pub(super) const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// What a submit meets when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// It settles as [`Rejected::QueueFull`](crate::Rejected::QueueFull): the default.
    #[default]
    Reject,
    /// It waits in the pool beyond the limit. A caller that awaits each submit is held back by this;
    /// one that does not is not held back at all.
    Wait,
}

/// How lost workers are replaced.
///
/// A slot restarts at once after its first abnormal exit, then with a back-off that doubles; a settled task resets it.
/// When more workers end abnormally within the period than the budget allows and none is ready, the circuit opens:
/// submits are refused and one worker at a time is tried until one is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Restart {
    pub(crate) budget: Option<Option<u32>>,
    pub(crate) period: Duration,
    pub(crate) backoff_min: Duration,
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

    pub(crate) fn rules(&self, processes: u32) -> RestartRules {
        RestartRules {
            budget: self
                .budget
                .unwrap_or_else(|| Some(processes.saturating_mul(2).max(5))),
            period: self.period,
            backoff_min: self.backoff_min,
            backoff_max: self.backoff_max,
        }
    }
}

/// Where an output stream of a worker goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// To the host's own stream, directly.
    Inherit,
    /// Nowhere.
    Null,
    /// Through a pipe to the host, which writes it on to its own stream. Of stderr the last 8 KiB are kept for reports.
    Relay,
}

/// The standard streams of workers. Standard input is always `/dev/null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Stdio {
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Output,
}

impl Default for Stdio {
    fn default() -> Self {
        Self {
            stdout: None,
            stderr: Output::Relay,
        }
    }
}

impl Stdio {
    /// Sets where standard output goes. Default: [`Output::Inherit`].
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = Some(output);
        self
    }

    /// Sets where standard error goes. Default: [`Output::Relay`].
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }
}

/// Names and versions of the registered tasks, in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct TaskTable {
    tasks: Vec<(&'static str, u32)>,
}

impl TaskTable {
    /// `tasks` is sorted and without duplicates.
    pub(crate) fn new(tasks: Vec<(&'static str, u32)>) -> Self {
        Self { tasks }
    }

    /// Every submit comes by here: a few comparisons are less than hashing a name.
    pub(crate) fn index(&self, name: &str) -> Option<u16> {
        let found = self.tasks.binary_search_by(|(known, _)| (*known).cmp(name));
        found.ok().and_then(|index| u16::try_from(index).ok())
    }

    pub(crate) fn name(&self, index: u16) -> &'static str {
        self.tasks
            .get(usize::from(index))
            .map_or("", |(name, _)| name)
    }

    pub(crate) fn len(&self) -> u16 {
        u16::try_from(self.tasks.len()).unwrap_or(u16::MAX)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.tasks.iter().copied()
    }

    pub(crate) fn near(&self, name: &str) -> Vec<String> {
        near_names(name, self.tasks.iter().map(|(known, _)| *known))
    }
}

/// Every knob, checked.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) table: Arc<TaskTable>,
    pub(crate) launcher: Arc<dyn Launch>,
    pub(crate) processes: u32,
    pub(crate) concurrency: u32,
    pub(crate) queue_limit: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) result_bytes: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) rules: RestartRules,
    pub(crate) max_attempts: u32,
    pub(crate) start_timeout: Duration,
    pub(crate) max_frame_bytes: usize,
    pub(crate) cancel_grace: Duration,
    pub(crate) grace: Duration,
    pub(crate) stdio: Stdio,
    pub(crate) init_args: Option<Payload>,
}
