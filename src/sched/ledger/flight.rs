//! What a worker may say of the tasks it has.
//!
//! Belongs here: tickets, starts, and questions about what is in flight. Does not belong here: ends.
//! Invariant: a report that no honest worker makes is a [`Violation`] and changes nothing.

use std::time::Instant;

use crate::{
    error::Started,
    sched::ledger::{
        Divide, Ledger, Seat, Ticket, Violation, Work,
        place::{Flight, Place},
    },
    task::TaskId,
};

/// A task that a worker has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aboard {
    pub(crate) id: TaskId,
    pub(crate) name: u16,
    pub(crate) started: Started,
    pub(crate) sent: Instant,
}

/// What a worker has to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Burden {
    /// The one of its tasks that was accepted first.
    pub(crate) oldest: Option<TaskId>,
    /// All of them may run again.
    pub(crate) runs_again: bool,
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// A worker says that it is about to poll a task for the first time.
    pub(crate) fn started(&mut self, seat: Seat, ticket: Ticket) -> Result<TaskId, Violation> {
        self.expects(seat, ticket)?;
        self.isolate_flight(seat, ticket);
        let flight = Self::flight_mut(&mut self.places, seat, ticket)?;
        let said = std::mem::take(&mut flight.said);
        if std::mem::replace(&mut flight.started, true) && !said {
            return Err(Violation::StartedTwice(ticket));
        }
        Ok(flight.id)
    }

    /// A task that a worker has said to start runs from now on.
    pub(crate) fn runs(&mut self, id: TaskId, now: impl FnOnce() -> Instant) {
        if self.clocks.contains(id) {
            self.clocks.started(id, now());
        }
    }

    /// A worker says whether it goes on announcing the starts of tasks of this name.
    pub(crate) fn quiet(&mut self, seat: Seat, name: u16, quiet: bool) -> Result<(), Violation> {
        if usize::from(name) >= self.names.len() {
            return Err(Violation::UnknownName(name));
        }
        if let Some(place) = self.place_mut(seat) {
            if quiet {
                place.quiet.insert(name);
            } else {
                place.quiet.remove(&name);
            }
        }
        Ok(())
    }

    /// A task of this name has held its worker's event loop; `ended` says that it is not there any more. Returns how many
    /// others waited, if that is to be told: once for each name, and not of those that run alone.
    pub(crate) fn slow_poll(&mut self, seat: Seat, name: u16, ended: bool) -> Option<usize> {
        let others = self.in_flight(seat).saturating_sub(usize::from(!ended));
        let name = self.names.get_mut(usize::from(name))?;
        if name.exclusive || std::mem::replace(&mut name.slow, true) {
            return None;
        }
        Some(others)
    }

    /// Whether a result for this ticket is due, before any of its bytes is stored.
    pub(crate) fn expects(&self, seat: Seat, ticket: Ticket) -> Result<(), Violation> {
        let place = self.place(seat).ok_or(Violation::UnsentTicket(ticket))?;
        if ticket == 0 || ticket > place.written {
            Err(Violation::UnsentTicket(ticket))
        } else if place.covering(ticket).is_some() {
            Ok(())
        } else {
            Err(Violation::SettledTicket(ticket))
        }
    }

    /// Whether a worker knows of this task and has not said to start it.
    pub(crate) fn may_be_given_back(&self, seat: Seat, ticket: Ticket) -> bool {
        self.place(seat).is_some_and(|place| {
            let found = place.covering(ticket);
            ticket <= place.written && found.is_some_and(|(_, flight)| !flight.started)
        })
    }

    /// Which task this is, by the number of its name and its own.
    pub(crate) fn in_flight_as(&self, seat: Seat, ticket: Ticket) -> Option<(u16, TaskId)> {
        let (first, flight) = self.place(seat)?.covering(ticket)?;
        let before = u32::try_from(ticket - first).ok()?;
        Some((flight.name, flight.id.after(before)))
    }

    /// Whether this task is still with its worker, and whether every task with that worker is being cancelled.
    pub(crate) fn ending(&self, seat: Seat, ticket: Ticket) -> Option<bool> {
        let place = self.place(seat)?;
        place.covering(ticket)?;
        Some(place.flights.values().all(|flight| flight.cancelling))
    }

    /// The tickets of tasks that were sent and surely not started, and are not being cancelled.
    pub(crate) fn revocable(&self, seat: Seat) -> Vec<Ticket> {
        let Some(place) = self.place(seat) else {
            return Vec::new();
        };
        place
            .flights
            .iter()
            // What is in the outbox the worker does not know of.
            .filter(|(ticket, _)| **ticket <= place.written)
            .filter(|(_, flight)| !flight.started && !flight.cancelling)
            .flat_map(|(ticket, flight)| *ticket..*ticket + u64::from(flight.count))
            .collect()
    }

    /// What would be lost with a worker.
    pub(crate) fn burden(&self, seat: Seat) -> Option<Burden> {
        let place = self.place(seat).filter(|place| place.taken)?;
        let awaited = place.flights.values().filter(|flight| !flight.abandoned);
        let mut burden = Burden {
            oldest: None,
            runs_again: true,
        };
        for flight in awaited {
            let oldest = burden.oldest.unwrap_or(flight.id);
            burden.oldest = Some(oldest.min(flight.id));
            burden.runs_again &= (self.tasks.get(flight.id.get()))
                .is_some_and(|task| task.terms.idempotent && !flight.cancelling);
        }
        Some(burden)
    }

    /// What a worker was sent and has not said the end of, in that order: `most` of them. `read` says that all it had said was read.
    pub(crate) fn aboard(&self, seat: Seat, read: bool, most: usize) -> Vec<Aboard> {
        let Some(place) = self.place(seat) else {
            return Vec::new();
        };
        let flights = place.in_order(read, self.most_started()).into_iter();
        let aboard = flights.filter_map(|(_, flight, started)| {
            let sent = flight.sent?;
            let each = move |nth| Aboard {
                id: flight.id.after(nth),
                name: flight.name,
                started,
                sent,
            };
            Some((0..flight.count).map(each))
        });
        let aboard = aboard.flatten();
        aboard.take(most).collect()
    }

    /// Every task in flight that is not being cancelled yet.
    pub(crate) fn running(&self) -> Vec<TaskId> {
        self.places
            .iter()
            .flat_map(|place| place.flights.values())
            .filter(|flight| !flight.abandoned)
            .flat_map(|flight| (0..flight.count).map(|nth| flight.id.after(nth)))
            .collect()
    }

    pub(super) fn flight_mut(
        places: &mut [Place],
        seat: Seat,
        ticket: Ticket,
    ) -> Result<&mut Flight, Violation> {
        let place = places
            .get_mut(seat.index())
            .ok_or(Violation::UnsentTicket(ticket))?;
        if ticket == 0 || ticket >= place.next_ticket {
            return Err(Violation::UnsentTicket(ticket));
        }
        place
            .flights
            .get_mut(&ticket)
            .ok_or(Violation::SettledTicket(ticket))
    }
}
