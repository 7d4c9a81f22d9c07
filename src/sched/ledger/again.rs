//! Tasks that run again, and wait until they may.
//!
//! Belongs here: the wait between two runs. Does not belong here: how long it is, whether there is another run.
//! Invariant: a task that waits here is in no other place, and goes to the front of its class when its time has come.

use std::{collections::BTreeSet, time::Instant};

use crate::{
    sched::ledger::{At, Divide, Finished, Ledger, Seat, Ticket, Violation, Work},
    task::{IdMap, TaskId},
};

/// Tasks that wait for a time.
#[derive(Debug, Default)]
pub(super) struct Later {
    due: IdMap<u64, Instant>,
    order: BTreeSet<(Instant, TaskId)>,
}

impl Later {
    fn insert(&mut self, id: TaskId, at: Instant) {
        self.due.insert(id.get(), at);
        self.order.insert((at, id));
    }

    pub(super) fn remove(&mut self, id: TaskId) {
        if let Some(at) = self.due.remove(&id.get()) {
            self.order.remove(&(at, id));
        }
    }

    fn first(&self) -> Option<(Instant, TaskId)> {
        self.order.first().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.order.iter().map(|(_, id)| *id)
    }
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// A worker reports a task's own error, which may go away. One that may run again waits for that.
    pub(crate) fn failed(
        &mut self,
        seat: Seat,
        ticket: Ticket,
        now: impl FnOnce() -> Instant,
        random: impl FnOnce() -> u64,
    ) -> Result<Finished<R>, Violation> {
        self.expects(seat, ticket)?;
        self.isolate_flight(seat, ticket);
        let flight = Self::flight_mut(&mut self.places, seat, ticket)?;
        let (id, ends) = (flight.id, flight.cancelling || flight.abandoned);
        let ends = ends || self.clocks.over(id).is_some();
        let rules = self.rules;
        let spent = match self.tasks.get_mut(id.get()) {
            Some(task) if !ends && task.terms.idempotent => &mut task.spent,
            _ => return self.finished(seat, ticket),
        };
        if spent.failed.saturating_add(1) >= rules.failed {
            return self.finished(seat, ticket);
        }
        spent.failed += 1;
        let nth = spent.failed;
        self.landed(seat, ticket, true)?;
        self.runs_again(id);
        self.blame.cleared(id);
        self.wait_until(id, now().checked_add(rules.backoff(nth, random())));
        Ok(Finished::Again)
    }

    /// A task that has run, or may have, will do so again.
    pub(super) fn runs_again(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(id.get()) {
            task.ran = true;
        }
    }

    /// Whether a task has run before this time, or may have.
    pub(crate) fn has_run(&self, id: TaskId) -> bool {
        self.tasks.get(id.get()).is_some_and(|task| task.ran)
    }

    /// The same of the task in a flight.
    pub(crate) fn had_run(&self, seat: Seat, ticket: Ticket) -> bool {
        let flight = |place: &super::Place| place.flights.get(&ticket).map(|flight| flight.id);
        let id = self.place(seat).and_then(flight);
        id.is_some_and(|id| self.has_run(id))
    }

    /// A task that is nowhere waits for this time; `None` is one that nobody lives to see.
    pub(super) fn wait_until(&mut self, id: TaskId, at: Option<Instant>) {
        if self.set_at(id, At::Later).is_some() {
            if let Some(at) = at {
                self.later.insert(id, at);
            }
            self.clocks.waits(id);
        }
    }

    /// Tasks whose time has come wait for a worker from now on. Returns whether there were any.
    pub(crate) fn release(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((_, id)) = self.later.first().filter(|(at, _)| *at <= now) {
            self.leave(id);
            self.requeue(id);
            any = true;
        }
        any
    }

    /// When somebody has to look again: a limit is due, a task may run again, or the crew is to be looked at.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let released = self.later.first().map(|(at, _)| at);
        let looks = self.crew.due();
        let all = self.clocks.next().into_iter().chain(released).chain(looks);
        all.min()
    }
}
