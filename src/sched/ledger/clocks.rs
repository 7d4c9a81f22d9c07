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
//!
//! Quick tasks that are one entry have one clock. Their worker does not say when one starts, so it is asked what it polls, four
//! times while the first of them may run since it was sent, and as often after that. Only what it polls when it is asked and has
//! polled for too long is over its limit: one that it had polled before may have ended, behind which another keeps it from
//! saying so.
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

/// A worker is asked so often, while one of its tasks may run, what it polls: where nobody has looked when that began, it counts
/// from when it was asked first.
const LOOKS: u32 = 4;

/// It is asked no more often than this.
const LOOK: Duration = Duration::from_millis(5);

/// What is due of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It is over a limit. Of a limit of waiting the second time is the last word, when whoever may have started the task has
    /// had time to say so.
    Over { last: bool },
    /// It, or one that is one entry with it, may have run for as long as it may.
    Look,
}

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
    /// It may run without anybody being told: when its worker is to be asked what it polls.
    look: Option<Instant>,
    /// When its worker was asked to give it back, because it had waited for too long.
    asked: Option<Instant>,
    /// Its limit of waiting says no more: it has started once, or was settled by it.
    waited: bool,
    over: Option<Over>,
    due: Option<Instant>,
}

impl Clock {
    /// Its worker is to be asked, but not now.
    fn looks_again(&mut self, now: Instant) {
        let often = self.limits.run.map(|run| (run / LOOKS).max(LOOK));
        self.look = often.and_then(|often| now.checked_add(often));
    }

    /// When what is due, and of which limit; that of no stage is that its worker is to be asked.
    fn next(&self) -> Option<(Instant, Option<TimeoutStage>, Duration)> {
        // One that is over it is on its way out.
        let run = (self.started.zip(self.limits.run)).filter(|_| self.over.is_none());
        let look = self.look.zip(self.limits.run);
        let look = look.filter(|_| self.started.is_none() && self.over.is_none());
        let queue = (self.limits.queue).filter(|_| !self.waited);
        let at = |from: Instant, limit: Duration, stage| {
            from.checked_add(limit).map(|at| (at, stage, limit))
        };
        [
            (self.limits.total)
                .and_then(|limit| at(self.accepted, limit, Some(TimeoutStage::Deadline))),
            run.and_then(|(from, limit)| at(from, limit, Some(TimeoutStage::Running))),
            look.map(|(at, limit)| (at, None, limit)),
            queue.and_then(|limit| match self.asked {
                None => at(self.accepted, limit, Some(TimeoutStage::Queued)),
                Some(asked) => Some((asked + ANSWER, Some(TimeoutStage::Queued), limit)),
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
                look: None,
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

    /// What was one entry is two, of which this is the second.
    pub(super) fn split(&mut self, first: TaskId, second: TaskId) {
        let Some(clock) = self.clocks.get(&first.get()) else {
            return;
        };
        let due = None;
        self.clocks.insert(
            second.get(),
            Clock {
                due,
                ..clock.clone()
            },
        );
        self.change(second, |_| {});
    }

    /// It may run from now on, and nobody will be told.
    pub(super) fn may_run(&mut self, id: TaskId, now: Instant) {
        self.change(id, |clock| clock.looks_again(now));
    }

    /// It, or one that is one entry with it, is polled since then. Returns whether that is for too long; if not, that is looked at
    /// again when it will be.
    pub(super) fn polls(&mut self, id: TaskId, since: Instant, now: Instant) -> bool {
        let mut over = false;
        self.change(id, |clock| {
            let Some((look, run)) = clock.look.zip(clock.limits.run) else {
                return;
            };
            if let Some(end) = since.checked_add(run) {
                over = end <= now && clock.started.is_none();
                clock.look = Some(look.min(end.max(now)));
            }
        });
        over
    }

    /// It runs since then, if that was not known.
    pub(super) fn started(&mut self, id: TaskId, now: Instant) {
        self.change(id, |clock| {
            clock.started.get_or_insert(now);
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
        self.change(id, |clock| (clock.started, clock.look) = (None, None));
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

    /// Takes what is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<(TaskId, Due)> {
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
            let Some(stage) = stage else {
                clock.looks_again(now);
                found = Some(Due::Look);
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
            found = Some(Due::Over { last });
        });
        found.map(|due| (id, due))
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
