//! How far the ending of cancelled tasks has come, in one worker.
//!
//! Belongs here: which step is due when. Does not belong here: taking it.
//!
//! ```text
//!   requested ──100 ms──▶ asked what the loop does ──(again every 100 ms)──▶ grace over
//!       │ ended                │ ended     │ the loop is held by it:            │ its caller is settled;
//!       ▼                      ▼           │ alone: kill; else revoke others    │ alone: end the worker, else wait until it is
//!      gone                   gone         ▼                                    ▼
//! ```
//! Invariant: a task is forgotten as soon as it is no longer with its worker; without tasks no step is due.

use std::time::{Duration, Instant};

use crate::sched::Ticket;

/// How long a poll must have lasted before the loop counts as held.
pub(super) const HELD: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Rung {
    ticket: Ticket,
    requested: Instant,
    next_ask: Instant,
    expired: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the worker what its loop does.
    Ask,
    /// The grace of this task is over.
    Expired(Ticket),
}

/// The cancelled tasks of one worker.
#[derive(Debug)]
pub(super) struct Ladder {
    rungs: Vec<Rung>,
    grace: Duration,
}

impl Ladder {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            rungs: Vec::new(),
            grace,
        }
    }

    pub(super) fn begin(&mut self, ticket: Ticket, now: Instant) {
        self.rungs.push(Rung {
            ticket,
            requested: now,
            next_ask: now + HELD,
            expired: false,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rungs.is_empty()
    }

    /// Forgets the tasks that have ended.
    pub(super) fn retain(&mut self, still_there: impl Fn(Ticket) -> bool) {
        self.rungs.retain(|rung| still_there(rung.ticket));
    }

    pub(super) fn contains(&self, ticket: Ticket) -> bool {
        self.rungs.iter().any(|rung| rung.ticket == ticket)
    }

    /// The tasks whose grace is over.
    pub(super) fn expired(&self) -> impl Iterator<Item = Ticket> + '_ {
        self.rungs
            .iter()
            .filter(|rung| rung.expired)
            .map(|rung| rung.ticket)
    }

    /// When the next step is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.rungs
            .iter()
            .filter(|rung| !rung.expired)
            .map(|rung| rung.next_ask.min(rung.requested + self.grace))
            .min()
    }

    /// The steps that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for rung in self.rungs.iter_mut().filter(|rung| !rung.expired) {
            if now >= rung.requested + self.grace {
                rung.expired = true;
                steps.push(Step::Expired(rung.ticket));
            } else if now >= rung.next_ask {
                rung.next_ask = now + HELD;
                if !steps.contains(&Step::Ask) {
                    steps.push(Step::Ask);
                }
            }
        }
        steps
    }
}
