//! What should be found, and that it is.

use std::time::{Duration, Instant};

use super::World;
use crate::{
    error::TimeoutStage,
    sched::{Expired, Over, Seat, Ticket},
    task::TimeLimits,
};

/// What is known of a task that has not settled.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) limits: TimeLimits,
    pub(super) accepted: Instant,
    pub(super) idempotent: bool,
    /// With which worker.
    pub(super) sent: Option<(u32, Ticket)>,
    pub(super) started: Option<Instant>,
    pub(super) ever_started: bool,
    /// Somebody else wanted it to end before any limit did.
    pub(super) cancelled: bool,
    pub(super) over: Option<TimeoutStage>,
    pub(super) asked: Option<Instant>,
    /// It came as one with others.
    pub(super) joined: bool,
    /// When it was sent as one with others, from when on it may run without anybody being told.
    pub(super) untold: Option<Instant>,
    /// Its worker has said that it runs, and did not announce it.
    pub(super) said: bool,
}

impl Known {
    pub(super) fn new(limits: TimeLimits, accepted: Instant, idempotent: bool) -> Self {
        Self {
            limits,
            accepted,
            idempotent,
            sent: None,
            started: None,
            ever_started: false,
            cancelled: false,
            over: None,
            asked: None,
            joined: false,
            untold: None,
            said: false,
        }
    }

    fn is_with(&self, seat: Seat) -> bool {
        let with = self.sent;
        with.is_some_and(|(worker, _)| worker as usize == seat.index())
    }

    /// Which limit it is over, the one that was due first if there are several.
    fn due(&self, now: Instant) -> Option<TimeoutStage> {
        let at = |from: Instant, limit: Option<Duration>| limit.map(|limit| from + limit);
        let total = at(self.accepted, self.limits.total);
        let runs = self.started.filter(|_| self.over.is_none());
        let run = runs.and_then(|started| at(started, self.limits.run));
        let queue = match self.asked {
            _ if self.ever_started => None,
            None => at(self.accepted, self.limits.queue),
            Some(asked) => Some(asked + Duration::from_secs(1)),
        };
        // Of one that is to end anyhow nothing more is asked.
        let run = run.filter(|_| !self.cancelled);
        let queue = queue.filter(|_| !self.cancelled || self.asked.is_some());
        let mut all = [
            (total, TimeoutStage::Deadline),
            (run, TimeoutStage::Running),
            (queue, TimeoutStage::Queued),
        ];
        all.sort_by_key(|(at, _)| (at.is_none(), *at));
        let [(at, stage), ..] = all;
        at.is_some_and(|at| at <= now).then_some(stage)
    }
}

impl World {
    /// Finds exactly what is due, and nothing of it again.
    pub(super) fn expire(&mut self) {
        let now = self.now;
        self.ledger.release(now);
        while let Some(expired) = self.ledger.expire(now) {
            match expired {
                Expired::Waiting { reply, over, ran } => {
                    self.is_due(reply.0, over);
                    assert_eq!(ran, self.tasks[&reply.0].ever_started);
                    let known = self.settles(reply.0, reply).unwrap();
                    assert_eq!(known.sent, None);
                }
                Expired::Flight {
                    seat,
                    ticket,
                    reply,
                    first,
                } => {
                    let id = self.with(seat, ticket);
                    if let Some((reply, over)) = reply {
                        self.is_due(reply.0, over);
                        self.settles(id, reply);
                        continue;
                    }
                    if !first {
                        // Its ladder has begun, and goes further now.
                        continue;
                    }
                    let over = self.ledger.over(seat, ticket).unwrap();
                    assert_eq!(over.stage, TimeoutStage::Running);
                    self.is_due(id, over);
                    self.tasks.get_mut(&id).unwrap().over = Some(over.stage);
                }
                Expired::Untold { seat } => {
                    let mut tasks = self.tasks.values();
                    let reason = tasks.find(|known| {
                        known.joined && known.is_with(seat) && known.started.is_none()
                    });
                    assert!(reason.is_some(), "it is asked for no reason");
                    self.asked[seat.index()] = now;
                }
                Expired::Asked { seat, ticket } => {
                    let id = self.with(seat, ticket);
                    let over = self.ledger.over(seat, ticket).unwrap();
                    assert_eq!(over.stage, TimeoutStage::Queued);
                    self.is_due(id, over);
                    let known = self.tasks.get_mut(&id).unwrap();
                    assert!(known.asked.is_none() && known.started.is_none());
                    (known.over, known.asked) = (Some(over.stage), Some(now));
                }
            }
        }
        let due = self.tasks.values().find(|known| known.due(now).is_some());
        assert!(due.is_none(), "not found: {due:?}");
        for known in self.tasks.values() {
            let ends = known.cancelled || known.over.is_some();
            if let (Some(sent), Some(run)) = (known.untold, known.limits.run)
                && let (None, Some((worker, _)), false) = (known.started, known.sent, ends)
            {
                let asked = sent.max(self.asked[worker as usize]);
                let often = (run / 4).max(Duration::from_millis(5));
                assert!(now < asked + often, "nobody has asked: {known:?}");
            }
        }
        assert!(self.ledger.next_due().is_none_or(|due| due > now));
    }

    fn with(&self, seat: Seat, ticket: Ticket) -> u64 {
        let mut tasks = self.tasks.iter();
        let with = Some((seat.index() as u32, ticket));
        *tasks.find(|(_, known)| known.sent == with).unwrap().0
    }

    fn is_due(&self, id: u64, over: Over) {
        let known = &self.tasks[&id];
        assert_eq!(known.due(self.now), Some(over.stage), "{known:?}");
        let (limit, from) = match over.stage {
            TimeoutStage::Queued => (known.limits.queue, known.accepted),
            TimeoutStage::Running => (known.limits.run, known.started.unwrap()),
            TimeoutStage::Deadline => (known.limits.total, known.accepted),
        };
        assert_eq!((Some(over.limit), over.elapsed), (limit, self.now - from));
        assert!(over.elapsed >= over.limit);
    }
}
