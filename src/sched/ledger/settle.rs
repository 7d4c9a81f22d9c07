//! How tasks leave the table, or go back to its queue.
//!
//! Belongs here: reported ends, cancellation, the pool's end; loss is `lost`. Does not belong here: what replies are told.
//! Invariant: a reply leaves together with its task, so it leaves once.

use crate::{
    error::Started,
    sched::ledger::{
        At, Cancelled, Divide, Finished, Ledger, Seat, Ticket, Unsettled, Violation, Work,
        place::Flight,
    },
    task::{Slot, TaskId},
};

impl<P: Work, R: Divide> Ledger<P, R> {
    /// A worker reports the end of a task that ran.
    pub(crate) fn finished(
        &mut self,
        seat: Seat,
        ticket: Ticket,
    ) -> Result<Finished<R>, Violation> {
        self.ended(seat, ticket, true)
    }

    fn ended(&mut self, seat: Seat, ticket: Ticket, ran: bool) -> Result<Finished<R>, Violation> {
        self.expects(seat, ticket)?;
        self.isolate_flight(seat, ticket);
        let flight = self.landed(seat, ticket, ran)?;
        if flight.abandoned {
            return Ok(Finished::Abandoned);
        }
        match self.settle(flight.id) {
            Some(reply) => Ok(Finished::Settle(reply)),
            None => Ok(Finished::Abandoned),
        }
    }

    /// A worker reports that it has ended a task as it was asked to.
    pub(crate) fn cancelled(
        &mut self,
        seat: Seat,
        ticket: Ticket,
        started: bool,
    ) -> Result<Finished<R>, Violation> {
        self.expects(seat, ticket)?;
        self.isolate_flight(seat, ticket);
        let flight = Self::flight_mut(&mut self.places, seat, ticket)?;
        if !flight.cancelling && !flight.abandoned {
            return Err(Violation::NotCancelled(ticket));
        }
        self.ended(seat, ticket, started)
    }

    /// A worker that ends has dropped a task for that. Unless somebody else wanted its end too, what follows is decided when
    /// the worker has gone.
    pub(crate) fn dropped(
        &mut self,
        seat: Seat,
        ticket: Ticket,
        started: bool,
    ) -> Result<Option<R>, Violation> {
        self.expects(seat, ticket)?;
        self.isolate_flight(seat, ticket);
        let flight = Self::flight_mut(&mut self.places, seat, ticket)?;
        if !flight.cancelling && !flight.abandoned {
            flight.started |= started;
            return Ok(None);
        }
        match self.ended(seat, ticket, started)? {
            Finished::Settle(reply) => Ok(Some(reply)),
            Finished::Abandoned | Finished::Again => Ok(None),
        }
    }

    /// A worker does not have a task any more: its credit comes back.
    pub(super) fn landed(
        &mut self,
        seat: Seat,
        ticket: Ticket,
        ran: bool,
    ) -> Result<Flight, Violation> {
        let place = self
            .place_mut(seat)
            .ok_or(Violation::UnsentTicket(ticket))?;
        let flight = place
            .give_back(ticket, ran)
            .ok_or(Violation::SettledTicket(ticket))?;
        place.heard = true;
        let slot = place.slot;
        self.gone(slot, &flight);
        Ok(flight)
    }

    /// A task is not with a worker any more.
    pub(super) fn gone(&mut self, slot: Slot, flight: &Flight) {
        self.free_name(flight.name, flight.count);
        if let Some(task) = &flight.picked {
            self.router.settled(task, slot);
        }
    }

    /// Removes a task and hands out its reply: the one way in which a reply leaves for good.
    pub(super) fn settle(&mut self, id: TaskId) -> Option<R> {
        let task = self.tasks.remove(id.get())?;
        self.total -= task.count as usize;
        if task.count > 1 {
            self.bundles.remove(&id.get());
        }
        if !self.clocks.is_empty() {
            self.clocks.remove(id);
        }
        if !self.blame.is_empty() {
            self.blame.cleared(id);
        }
        *self.bytes.of_mut(task.terms.priority) -= task.bytes as usize;
        Some(task.reply)
    }

    /// Somebody wants this task to end. With `abandon` nobody waits for it any more.
    pub(crate) fn cancel(&mut self, id: TaskId, abandon: bool) -> Cancelled<R> {
        self.isolate(id);
        let Some(task) = self.tasks.get(id.get()) else {
            return Cancelled::Unknown;
        };
        let At::Flight(seat, ticket) = task.at else {
            self.leave(id);
            return self.cancelled_waiting(id);
        };
        if let Some(place) = self.places.get_mut(seat.index())
            && ticket > place.written
        {
            // Still in the outbox: as good as queued.
            let flight = place.give_back(ticket, false);
            let slot = place.slot;
            if let Some(flight) = flight {
                self.gone(slot, &flight);
            }
            return self.cancelled_waiting(id);
        }
        let mut first = false;
        if let Ok(flight) = Self::flight_mut(&mut self.places, seat, ticket) {
            first = !std::mem::replace(&mut flight.cancelling, true);
            flight.abandoned |= abandon;
        }
        let reply = if abandon { self.settle(id) } else { None };
        Cancelled::Flight {
            seat,
            ticket,
            reply,
            first,
        }
    }

    fn cancelled_waiting(&mut self, id: TaskId) -> Cancelled<R> {
        let ran = self.has_run(id);
        let reply = self.settle(id);
        reply.map_or(Cancelled::Unknown, |reply| Cancelled::Queued { reply, ran })
    }

    /// Settles a cancelled task whose worker has not answered in time; the worker may go on with it.
    pub(crate) fn abandon(&mut self, seat: Seat, ticket: Ticket) -> Option<(TaskId, R)> {
        self.isolate_flight(seat, ticket);
        let flight = Self::flight_mut(&mut self.places, seat, ticket).ok()?;
        if std::mem::replace(&mut flight.abandoned, true) {
            return None;
        }
        let id = flight.id;
        self.settle(id).map(|reply| (id, reply))
    }

    /// The worker gave a task back that it had not started: it goes to the front of the queue, or of the suspects, no attempt spent. Returns
    /// its reply if it had been cancelled instead: settled as not started.
    pub(crate) fn revoked(&mut self, seat: Seat, ticket: Ticket) -> Result<Option<R>, Violation> {
        self.expects(seat, ticket)?;
        self.isolate_flight(seat, ticket);
        if Self::flight_mut(&mut self.places, seat, ticket)?.started {
            // It could be polled a second time elsewhere.
            return Err(Violation::GivenBackStarted(ticket));
        }
        let flight = self.landed(seat, ticket, false)?;
        if flight.cancelling || self.clocks.over(flight.id).is_some() {
            return Ok(self.settle(flight.id));
        }
        if self.place(seat).is_some_and(|place| place.quarantine) {
            self.suspect(flight.id);
        } else {
            self.requeue(flight.id);
        }
        Ok(None)
    }

    /// Takes every waiting task out, because the pool ends.
    pub(crate) fn take_waiting(&mut self) -> Vec<Unsettled<R>> {
        let mut taken = Vec::new();
        let mut waiting = self.all_waiting();
        // Whoever came first hears of it first.
        waiting.sort_unstable();
        for id in waiting {
            self.leave(id);
            let ran = self.has_run(id);
            if let Some(reply) = self.settle(id) {
                taken.push(Unsettled {
                    id,
                    slot: None,
                    started: if ran { Started::Yes } else { Started::No },
                    reply,
                });
            }
        }
        taken
    }

    /// Takes every task in flight out; their workers keep them, abandoned.
    pub(crate) fn take_flights(&mut self) -> Vec<Unsettled<R>> {
        let mut taken = Vec::new();
        for place in &mut self.places {
            for (&ticket, flight) in &mut place.flights {
                // Its worker lives, and may have said so without having been heard.
                let started = flight.started(ticket, place.written, &place.quiet, false);
                flight.abandoned = true;
                if let Some(task) = self.tasks.remove(flight.id.get()) {
                    self.total -= task.count as usize;
                    self.bundles.remove(&flight.id.get());
                    self.clocks.remove(flight.id);
                    self.blame.cleared(flight.id);
                    *self.bytes.of_mut(task.terms.priority) -= task.bytes as usize;
                    taken.push(Unsettled {
                        id: flight.id,
                        slot: Some(place.slot),
                        started: if task.ran { Started::Yes } else { started },
                        reply: task.reply,
                    });
                }
            }
        }
        taken
    }
}
