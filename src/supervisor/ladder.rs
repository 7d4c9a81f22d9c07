//! How far the ending of tasks has come, in one worker.
//!
//! Belongs here: which step is due when, and how far it may go. Does not belong here: taking it.
//!
//! ```text
//!   requested ──100 ms, or at once──▶ asked what the loop does ──(again every 100 ms)──▶ grace over
//!       │ ended                            │ ended     │ the loop is held by it:            │ its caller is settled;
//!       ▼                                  ▼           │ others are asked back; then        │ alone: end the worker;
//!      gone                               gone         ▼ alone, or whoever is there: kill   ▼ else the others have 5 s, if it may
//! ```
//! Invariant: a task is forgotten as soon as it is no longer with its worker; without tasks no step is due.

use std::time::{Duration, Instant};

use crate::{
    config::KillPolicy,
    sched::Ticket,
    supervisor::core::{EndedFor, Ending},
};

/// How long a poll must have lasted before the loop counts as held.
pub(super) const HELD: Duration = Duration::from_millis(100);

/// Whom the end of a task may take along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Not even its worker.
    Nobody,
    /// Its worker, when nobody else is in that.
    Alone,
    /// Its worker, with whoever is in that.
    Everybody,
}

impl Reach {
    fn of(why: EndedFor, policy: KillPolicy) -> Self {
        match (policy, why) {
            (KillPolicy::Never, _) => Self::Nobody,
            (KillPolicy::OnTimeout, EndedFor::Cancelled) => Self::Alone,
            (KillPolicy::OnTimeout, EndedFor::TimedOut) | (KillPolicy::Always, _) => {
                Self::Everybody
            }
        }
    }
}

#[derive(Debug)]
struct Rung {
    ticket: Ticket,
    why: EndedFor,
    requested: Instant,
    /// From when on it has its time: anew from when it is over a limit.
    since: Instant,
    next_ask: Instant,
    /// When it is over a limit as well, and may go further.
    over_at: Option<Instant>,
    /// Its caller has heard that it has not ended.
    told: bool,
    expired: bool,
}

impl Rung {
    /// When its worker has had its time to end it, and to say so. A worker counts the grace from when it hears of it, and then
    /// drops what has used it all: that, too, has to come through.
    fn over(&self, grace: Duration) -> Instant {
        self.since + grace.max(HELD) + HELD
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the worker what its loop does.
    Ask,
    /// The grace of this task is over, and its caller is to hear so.
    Expired(Ticket),
}

/// The tasks of one worker that are to end.
#[derive(Debug)]
pub(super) struct Ladder {
    rungs: Vec<Rung>,
    grace: Duration,
    policy: KillPolicy,
}

impl Ladder {
    pub(super) fn new(grace: Duration, policy: KillPolicy) -> Self {
        Self {
            rungs: Vec::new(),
            grace,
            policy,
        }
    }

    /// A task is to end. One that was to end before has its time from then on.
    pub(super) fn begin(&mut self, ending: Ending, now: Instant) {
        let Ending {
            ticket,
            why,
            over_at,
        } = ending;
        // Who has run for too long may have held the loop for all that time.
        let next_ask = match why {
            EndedFor::Cancelled => now + HELD,
            EndedFor::TimedOut => now,
        };
        if let Some(rung) = self.rungs.iter_mut().find(|rung| rung.ticket == ticket) {
            rung.why = why;
            rung.over_at = None;
            rung.next_ask = rung.next_ask.min(next_ask);
            return;
        }
        self.rungs.push(Rung {
            ticket,
            why,
            requested: now,
            since: now,
            next_ask,
            over_at,
            told: false,
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

    /// Whom the end of a task may take along; `None` if it is not to end.
    pub(super) fn reach(&self, ticket: Ticket) -> Option<Reach> {
        let rung = self.rungs.iter().find(|rung| rung.ticket == ticket)?;
        Some(Reach::of(rung.why, self.policy))
    }

    /// A task in words.
    pub(super) fn what(&self, ticket: Ticket) -> &'static str {
        let rung = self.rungs.iter().find(|rung| rung.ticket == ticket);
        match rung.map(|rung| rung.why) {
            Some(EndedFor::TimedOut) => "a task that was over its time limit",
            _ => "a cancelled task",
        }
    }

    /// The tasks that have not ended in their time and that may take along that many.
    pub(super) fn expired(&self, reach: Reach) -> Vec<Ticket> {
        let expired = self.rungs.iter().filter(|rung| rung.expired);
        expired
            .filter(|rung| Reach::of(rung.why, self.policy) >= reach)
            .map(|rung| rung.ticket)
            .collect()
    }

    /// Whether a task has used its grace and its worker may yet say that it has dropped it. What is sent there meanwhile might be
    /// in the way of its end.
    pub(super) fn hangs(&self) -> bool {
        let mut rungs = self.rungs.iter();
        rungs.any(|rung| {
            rung.told && !rung.expired && Reach::of(rung.why, self.policy) > Reach::Nobody
        })
    }

    /// When the next step is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let over = self.rungs.iter().filter_map(|rung| rung.over_at);
        let steps = self.rungs.iter().filter(|rung| !rung.expired);
        steps
            .map(|rung| {
                let told = (!rung.told).then_some(rung.requested + self.grace);
                let over = rung.over(self.grace);
                told.into_iter().fold(rung.next_ask.min(over), Instant::min)
            })
            .chain(over)
            .min()
    }

    /// The steps that are due.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        for rung in &mut self.rungs {
            if rung.over_at.take_if(|at| now >= *at).is_some() {
                rung.why = EndedFor::TimedOut;
                // Whoever holds the loop is found out by asking.
                (rung.since, rung.next_ask) = (now, now);
                rung.expired = false;
            }
        }
        for rung in self.rungs.iter_mut().filter(|rung| !rung.expired) {
            if !rung.told && now >= rung.requested + self.grace {
                rung.told = true;
                steps.push(Step::Expired(rung.ticket));
            }
            if now >= rung.over(self.grace) {
                rung.expired = true;
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
