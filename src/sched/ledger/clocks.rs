//! How long tasks may take.
//!
//! Belongs here: which limit of which task is due next. Does not belong here: what becomes of a task that is over one.
//!
//! ```text
//!   accepted ─▶ waits ──start──▶ runs ──▶ settled
//!     │           │   ◀─ lost ─── │
//!     │           └ queue ▶ over  └ run ▶ over          each of them, at any time:  total ▶ over
//! ```
//! The queue's limit counts until the first start, and no more when a task waits again after it has run. A task that was
//! sent is asked back by its limit of waiting first: only its worker knows whether it has started.
//! Invariant: each task with limits has at most one entry in the order, at the earliest time that matters to it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::{
    error::TimeoutStage,
    task::{IdMap, TaskId, TimeLimits},
};

/// How long a worker may take to say whether it has started a task that is asked back.
const ANSWER: Duration = Duration::from_secs(1);

/// A limit that a task is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over {
    pub(crate) stage: TimeoutStage,
    pub(crate) limit: Duration,
    pub(crate) elapsed: Duration,
}

#[derive(Debug, Clone)]
struct Clock {
    limits: TimeLimits,
    accepted: Instant,
    /// When this run began.
    started: Option<Instant>,
    /// When its worker was asked to give it back, because it had waited for too long.
    asked: Option<Instant>,
    /// Its limit of waiting says no more: it has started once, or was settled by it.
    waited: bool,
    over: Option<Over>,
    due: Option<Instant>,
}

impl Clock {
    fn next(&self) -> Option<(Instant, TimeoutStage, Duration)> {
        // One that is over it is on its way out.
        let run = (self.started.zip(self.limits.run)).filter(|_| self.over.is_none());
        let queue = (self.limits.queue).filter(|_| !self.waited);
        let at = |from: Instant, limit: Duration, stage| {
            from.checked_add(limit).map(|at| (at, stage, limit))
        };
        [
            (self.limits.total).and_then(|limit| at(self.accepted, limit, TimeoutStage::Deadline)),
            run.and_then(|(from, limit)| at(from, limit, TimeoutStage::Running)),
            queue.and_then(|limit| match self.asked {
                None => at(self.accepted, limit, TimeoutStage::Queued),
                Some(asked) => Some((asked + ANSWER, TimeoutStage::Queued, limit)),
            }),
        ]
        .into_iter()
        .flatten()
        // Of two at once the deadline: it settles.
        .min_by_key(|(at, ..)| *at)
    }
}

/// The clocks of all tasks that have limits.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    clocks: IdMap<u64, Clock>,
    order: BTreeSet<(Instant, u64)>,
}

impl Clocks {
    pub(super) fn is_empty(&self) -> bool {
        self.clocks.is_empty()
    }

    /// When the next limit is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// When a task is over its time to run, or its deadline. One that is not known to have started may do so now.
    pub(super) fn over_at(&self, id: TaskId, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let clock = self.clocks.get(&id.get())?;
        let from = clock.started.unwrap_or_else(now);
        let run = clock.limits.run.and_then(|limit| from.checked_add(limit));
        let total = clock.limits.total;
        let total = total.and_then(|limit| clock.accepted.checked_add(limit));
        run.into_iter().chain(total).min()
    }

    pub(super) fn contains(&self, id: TaskId) -> bool {
        !self.clocks.is_empty() && self.clocks.contains_key(&id.get())
    }

    pub(super) fn insert(&mut self, id: TaskId, limits: TimeLimits, now: Instant) {
        self.clocks.insert(
            id.get(),
            Clock {
                limits,
                accepted: now,
                started: None,
                asked: None,
                waited: false,
                over: None,
                due: None,
            },
        );
        self.change(id, |_| {});
    }

    pub(super) fn remove(&mut self, id: TaskId) {
        if let Some(Clock { due: Some(at), .. }) = self.clocks.remove(&id.get()) {
            self.order.remove(&(at, id.get()));
        }
    }

    /// It runs from now on.
    pub(super) fn started(&mut self, id: TaskId, now: Instant) {
        self.change(id, |clock| {
            clock.started = Some(now);
            clock.waited = true;
            // Asked back too late.
            if clock
                .over
                .is_some_and(|over| over.stage == TimeoutStage::Queued)
            {
                clock.over = None;
            }
        });
    }

    /// It waits again.
    pub(super) fn waits(&mut self, id: TaskId) {
        self.change(id, |clock| clock.started = None);
    }

    /// The limit that it is over and has not settled by yet.
    pub(super) fn over(&self, id: TaskId) -> Option<Over> {
        self.clocks.get(&id.get())?.over
    }

    /// What its deadline says of it.
    pub(super) fn deadline(&self, id: TaskId, now: Instant) -> Option<Over> {
        let clock = self.clocks.get(&id.get())?;
        Some(Over {
            stage: TimeoutStage::Deadline,
            limit: clock.limits.total?,
            elapsed: now.saturating_duration_since(clock.accepted),
        })
    }

    /// It is being ended for another reason.
    pub(super) fn forget_over(&mut self, id: TaskId) {
        self.change(id, |clock| {
            clock.over = None;
            clock.waited = true;
            clock.limits.run = None;
        });
    }

    /// How long it may still take in all, and run.
    pub(super) fn left(
        &self,
        id: TaskId,
        now: Instant,
    ) -> Option<(Option<Duration>, Option<Duration>)> {
        let clock = self.clocks.get(&id.get())?;
        let passed = now.saturating_duration_since(clock.accepted);
        let total = clock.limits.total.map(|total| total.saturating_sub(passed));
        Some((total, clock.limits.run))
    }

    /// Takes a limit that is due. Returns whether it is the last word: of a limit of waiting that is the second, when whoever
    /// may have started the task has had time to say so.
    pub(super) fn due(&mut self, now: Instant) -> Option<(TaskId, bool)> {
        let (at, id) = self.order.first().copied()?;
        if at > now {
            return None;
        }
        let id = TaskId::new(id);
        let mut found = None;
        self.change(id, |clock| {
            let Some((_, stage, limit)) = clock.next() else {
                return;
            };
            let from = match stage {
                TimeoutStage::Running => clock.started.unwrap_or(clock.accepted),
                _ => clock.accepted,
            };
            let over = Over {
                stage,
                limit,
                elapsed: now.saturating_duration_since(from),
            };
            clock.over = Some(over);
            let mut last = true;
            match stage {
                TimeoutStage::Queued if clock.asked.is_none() => {
                    clock.asked = Some(now);
                    last = false;
                }
                TimeoutStage::Queued => clock.waited = true,
                TimeoutStage::Running => last = false,
                TimeoutStage::Deadline => clock.limits.total = None,
            }
            found = Some(last);
        });
        found.map(|last| (id, last))
    }

    fn change(&mut self, id: TaskId, change: impl FnOnce(&mut Clock)) {
        let Some(clock) = self.clocks.get_mut(&id.get()) else {
            return;
        };
        change(clock);
        let due = clock.next().map(|(at, ..)| at);
        let before = std::mem::replace(&mut clock.due, due);
        if before == due {
            return;
        }
        if let Some(at) = before {
            self.order.remove(&(at, id.get()));
        }
        if let Some(at) = due {
            self.order.insert((at, id.get()));
        }
    }
}
