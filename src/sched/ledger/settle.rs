//! How tasks leave the table, or go back to its queue.
//!
//! Belongs here: reported ends, cancellation, loss, the pool's end. Does not belong here: what replies are told.
//! Invariant: a reply leaves together with its task, so it leaves once.

use crate::{
    error::Started,
    sched::{
        credits::Credits,
        ledger::{
            Cancelled, Finished, Ledger, Lost, LostTask, Ticket, Unsettled, Verdict, Violation,
            place::Flight,
        },
    },
    task::{Slot, TaskId},
};

impl<P, R> Ledger<P, R> {
    /// A worker reports the end of a task.
    pub(crate) fn finished(
        &mut self,
        slot: Slot,
        ticket: Ticket,
    ) -> Result<Finished<R>, Violation> {
        self.expects(slot, ticket)?;
        let flight = self.landed(slot, ticket)?;
        if flight.abandoned {
            return Ok(Finished::Abandoned);
        }
        match self.settle(flight.id) {
            Some(reply) => Ok(Finished::Settle(reply)),
            None => Ok(Finished::Abandoned),
        }
    }

    /// A worker that ends has dropped a task for that. Unless somebody else wanted its end too, what follows is decided when
    /// the worker has gone.
    pub(crate) fn dropped(
        &mut self,
        slot: Slot,
        ticket: Ticket,
        started: bool,
    ) -> Result<Option<R>, Violation> {
        self.expects(slot, ticket)?;
        let flight = Self::flight_mut(&mut self.places, slot, ticket)?;
        if !flight.cancelling && !flight.abandoned {
            flight.started |= started;
            return Ok(None);
        }
        match self.finished(slot, ticket)? {
            Finished::Settle(reply) => Ok(Some(reply)),
            Finished::Abandoned => Ok(None),
        }
    }

    /// A worker does not have a task any more: its credit comes back.
    fn landed(&mut self, slot: Slot, ticket: Ticket) -> Result<Flight, Violation> {
        let place = self
            .place_mut(slot)
            .ok_or(Violation::UnsentTicket(ticket))?;
        let flight = place
            .flights
            .remove(&ticket)
            .ok_or(Violation::SettledTicket(ticket))?;
        place.credits.give_back();
        Ok(flight)
    }

    /// Removes a task and hands out its reply: the one way in which a reply leaves for good.
    fn settle(&mut self, id: TaskId) -> Option<R> {
        let task = self.tasks.remove(id.get())?;
        self.bytes -= task.bytes;
        Some(task.reply)
    }

    /// Somebody wants this task to end. With `abandon` nobody waits for it any more.
    pub(crate) fn cancel(&mut self, id: TaskId, abandon: bool) -> Cancelled<R> {
        let Some(task) = self.tasks.get(id.get()) else {
            return Cancelled::Unknown;
        };
        let Some((slot, ticket)) = task.flight else {
            self.queue.remove(id);
            return self
                .settle(id)
                .map_or(Cancelled::Unknown, Cancelled::Queued);
        };
        if let Some(place) = self.places.get_mut(slot.index() as usize)
            && ticket > place.written
        {
            // Still in the outbox: as good as queued.
            place.flights.remove(&ticket);
            place.credits.give_back();
            return self
                .settle(id)
                .map_or(Cancelled::Unknown, Cancelled::Queued);
        }
        let mut first = false;
        if let Ok(flight) = Self::flight_mut(&mut self.places, slot, ticket) {
            first = !std::mem::replace(&mut flight.cancelling, true);
            flight.abandoned |= abandon;
        }
        let reply = if abandon { self.settle(id) } else { None };
        Cancelled::Flight {
            slot,
            ticket,
            reply,
            first,
        }
    }

    /// Settles a cancelled task whose worker has not answered in time; the worker may go on with it.
    pub(crate) fn abandon(&mut self, slot: Slot, ticket: Ticket) -> Option<(TaskId, R)> {
        let flight = Self::flight_mut(&mut self.places, slot, ticket).ok()?;
        if std::mem::replace(&mut flight.abandoned, true) {
            return None;
        }
        let id = flight.id;
        self.settle(id).map(|reply| (id, reply))
    }

    /// The worker gave a task back that it had not started: it goes to the front of the queue, no attempt spent. Returns
    /// its reply if it had been cancelled instead: settled as not started.
    pub(crate) fn revoked(&mut self, slot: Slot, ticket: Ticket) -> Result<Option<R>, Violation> {
        self.expects(slot, ticket)?;
        if Self::flight_mut(&mut self.places, slot, ticket)?.started {
            // It could be polled a second time elsewhere.
            return Err(Violation::GivenBackStarted(ticket));
        }
        let flight = self.landed(slot, ticket)?;
        if flight.cancelling {
            return Ok(self.settle(flight.id));
        }
        if let Some(task) = self.tasks.get_mut(flight.id.get()) {
            task.flight = None;
            self.queue.requeue(flight.id);
        }
        Ok(None)
    }

    /// The worker of this slot has gone. `innocent` spares the attempts of its tasks: they did not cause it. `read` says
    /// that all it had said was read.
    pub(crate) fn lost(&mut self, slot: Slot, innocent: bool, read: bool) -> Lost<R> {
        let mut lost = Lost {
            settled: Vec::new(),
            requeued: 0,
            suspects: 0,
        };
        let Some(place) = self.places.get_mut(slot.index() as usize) else {
            return lost;
        };
        place.up = false;
        place.credits = Credits::new(0);
        place.outbox.clear();
        let written = place.written;
        let quiet = std::mem::take(&mut place.quiet);
        let mut flights: Vec<(Ticket, Flight)> = place.flights.drain().collect();
        // Whoever was sent first hears of it first.
        flights.sort_unstable_by_key(|(ticket, _)| *ticket);
        for (ticket, flight) in flights {
            let started = flight.started(ticket, written, &quiet, read);
            if started != Started::No {
                lost.suspects += 1;
            }
            let Some(task) = self.tasks.get_mut(flight.id.get()) else {
                continue;
            };
            let again = !flight.cancelling
                && match started {
                    Started::No => true,
                    _ if !task.idempotent => false,
                    _ if innocent => true,
                    _ => task.attempt < self.max_attempts,
                };
            if again {
                if started != Started::No && !innocent {
                    task.attempt += 1;
                }
                task.flight = None;
                self.queue.requeue(flight.id);
                lost.requeued += 1;
            } else if let Some(reply) = self.settle(flight.id) {
                lost.settled.push(LostTask {
                    id: flight.id,
                    started,
                    verdict: if flight.cancelling {
                        Verdict::Cancelled
                    } else {
                        Verdict::Lost
                    },
                    reply,
                });
            }
        }
        lost
    }

    /// Takes every waiting task out, because the pool ends.
    pub(crate) fn take_waiting(&mut self) -> Vec<Unsettled<R>> {
        let mut taken = Vec::new();
        while let Some(id) = self.queue.pop_front() {
            if let Some(reply) = self.settle(id) {
                taken.push(Unsettled {
                    id,
                    slot: None,
                    started: Started::No,
                    reply,
                });
            }
        }
        taken
    }

    /// Takes every task in flight out; their workers keep them, abandoned.
    pub(crate) fn take_flights(&mut self) -> Vec<Unsettled<R>> {
        let mut taken = Vec::new();
        for (index, place) in (0..).zip(self.places.iter_mut()) {
            for (&ticket, flight) in &mut place.flights {
                // Its worker lives, and may have said so without having been heard.
                let started = flight.started(ticket, place.written, &place.quiet, false);
                flight.abandoned = true;
                if let Some(task) = self.tasks.remove(flight.id.get()) {
                    self.bytes -= task.bytes;
                    taken.push(Unsettled {
                        id: flight.id,
                        slot: Some(Slot::new(index)),
                        started,
                        reply: task.reply,
                    });
                }
            }
        }
        taken
    }
}
