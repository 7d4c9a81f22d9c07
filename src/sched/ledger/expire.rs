//! How tasks leave the table, or begin to, that are over a time limit.
//!
//! Belongs here: what is due, for tasks in each place. Does not belong here: when it is, and what replies are told.
//! Invariants: what was surely not started is settled at once, and so is whoever has a deadline; nobody is said never to
//! have run whose worker has not said so.

use std::time::Instant;

use crate::{
    error::TimeoutStage,
    sched::ledger::{
        At, Cancelled, Divide, Expired, Ledger, Seat, Ticket, Violation, Work,
        clocks::{Due, Over},
    },
    task::TaskId,
};

impl<P: Work, R: Divide> Ledger<P, R> {
    /// The limit for which a task with a worker is being ended.
    pub(crate) fn over(&self, seat: Seat, ticket: Ticket) -> Option<Over> {
        if self.clocks.is_empty() {
            return None;
        }
        let flight = self.place(seat)?.flights.get(&ticket)?;
        self.clocks.over(flight.id)
    }

    /// When a task that runs is over one of its limits.
    pub(crate) fn over_at(&self, id: TaskId, now: impl FnOnce() -> Instant) -> Option<Instant> {
        self.clocks.over_at(id, now)
    }

    /// A worker has not started a task, because its time was over.
    pub(crate) fn expired(
        &mut self,
        seat: Seat,
        ticket: Ticket,
        now: impl FnOnce() -> Instant,
    ) -> Result<Option<(R, Over)>, Violation> {
        self.expects(seat, ticket)?;
        self.isolate_flight(seat, ticket);
        let flight = Self::flight_mut(&mut self.places, seat, ticket)?;
        if flight.started {
            // Its caller would hear that it never ran.
            return Err(Violation::GivenBackStarted(ticket));
        }
        let (id, abandoned) = (flight.id, flight.abandoned);
        let over = self.clocks.deadline(id, now());
        let over = self.clocks.over(id).or(over);
        if over.is_none() && !abandoned {
            return Err(Violation::NotCancelled(ticket));
        }
        let flight = self.landed(seat, ticket, false)?;
        Ok(self.settle(flight.id).zip(over))
    }

    /// The next task that is over one of its limits by now.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Expired<R>> {
        loop {
            let (id, due) = self.clocks.due(now)?;
            let last = match due {
                Due::Over { last } => last,
                Due::Look => match self.written(id) {
                    Some((seat, _)) => return Some(Expired::Untold { seat }),
                    None => continue,
                },
            };
            let Some(over) = self.clocks.over(id) else {
                continue;
            };
            let asks = over.stage == TimeoutStage::Queued && !last;
            if asks && let Some((seat, ticket)) = self.written(id) {
                let flight = Self::flight_mut(&mut self.places, seat, ticket);
                if flight.is_ok_and(|flight| !flight.started && !flight.cancelling) {
                    return Some(Expired::Asked { seat, ticket });
                }
                self.clocks.forget_over(id);
                continue;
            }
            match self.cancel(id, last) {
                Cancelled::Queued { reply, ran } => {
                    return Some(Expired::Waiting { reply, over, ran });
                }
                Cancelled::Flight {
                    seat,
                    ticket,
                    reply,
                    first,
                } => {
                    if !first && reply.is_none() {
                        // Somebody had cancelled it before.
                        self.clocks.forget_over(id);
                    }
                    return Some(Expired::Flight {
                        seat,
                        ticket,
                        first,
                        reply: reply.map(|reply| (reply, over)),
                    });
                }
                Cancelled::Unknown => {}
            }
        }
    }

    /// A worker says that it polls a task, since then. Counts for one whose start it does not announce.
    pub(crate) fn polls(&mut self, seat: Seat, ticket: Ticket, since: Instant, now: Instant) {
        let covering = self.place(seat).filter(|place| ticket <= place.written);
        let Some((_, flight)) = covering.and_then(|place| place.covering(ticket)) else {
            return;
        };
        let (id, counts) = (flight.id, !flight.started && !flight.abandoned);
        if !counts || !self.clocks.polls(id, since, now) {
            return;
        }
        self.isolate_flight(seat, ticket);
        if let Ok(flight) = Self::flight_mut(&mut self.places, seat, ticket) {
            (flight.started, flight.said) = (true, true);
            let id = flight.id;
            self.clocks.started(id, since);
        }
    }

    /// The worker that knows of a task.
    fn written(&self, id: TaskId) -> Option<(Seat, Ticket)> {
        let At::Flight(seat, ticket) = self.tasks.get(id.get())?.at else {
            return None;
        };
        (ticket <= self.place(seat)?.written).then_some((seat, ticket))
    }
}
