//! What one worker has, as lists.

use crate::{
    error::Started,
    sched::{IN_ONE_PIECE, ReadAhead, Ticket, Violation},
};

#[derive(Debug, Clone)]
pub(in crate::sched::model) struct Flight {
    pub(in crate::sched::model) ticket: Ticket,
    pub(in crate::sched::model) id: u64,
    pub(in crate::sched::model) name: u16,
    pub(in crate::sched::model) exclusive: bool,
    pub(in crate::sched::model) bytes: usize,
    /// How long it was taken to take, in nanoseconds.
    pub(in crate::sched::model) pace: u64,
    pub(in crate::sched::model) started: bool,
    pub(in crate::sched::model) cancelling: bool,
    pub(in crate::sched::model) abandoned: bool,
}

#[derive(Debug, Clone, Default)]
pub(in crate::sched::model) struct Worker {
    /// From its coming up to its loss.
    pub(in crate::sched::model) alive: bool,
    /// Which worker in its seat, counted from 1 over all seats.
    pub(in crate::sched::model) epoch: u64,
    /// It is kept free for this task.
    pub(in crate::sched::model) reserved: Option<u64>,
    /// It may be sent tasks.
    pub(in crate::sched::model) open: bool,
    /// It is for suspects alone.
    pub(in crate::sched::model) quarantine: bool,
    /// It never will be again.
    pub(in crate::sched::model) retired: bool,
    pub(in crate::sched::model) credits: u32,
    /// How many more tasks it may be sent.
    pub(in crate::sched::model) left: Option<u32>,
    pub(in crate::sched::model) issued: Ticket,
    pub(in crate::sched::model) written: Ticket,
    pub(in crate::sched::model) outbox: Vec<Ticket>,
    pub(in crate::sched::model) flights: Vec<Flight>,
    pub(in crate::sched::model) quiet: Vec<u16>,
    /// It has said the end of something, or had nothing to do, since it was looked at.
    pub(in crate::sched::model) heard: bool,
    /// What it said last of each name that it has said anything of.
    pub(in crate::sched::model) paces: Vec<(u16, u32)>,
}

impl Worker {
    pub(super) fn admits(&self, exclusive: bool) -> bool {
        self.open
            && !self.retired
            && !self.quarantine
            && self.left != Some(0)
            && !self.flights.iter().any(|flight| flight.exclusive)
            && if exclusive {
                self.flights.is_empty()
            } else {
                self.flights.len() < self.credits as usize
            }
    }

    /// Whether it is to be sent tasks any more, if perhaps not now.
    pub(super) fn serves(&self) -> bool {
        self.alive && !self.retired && !self.quarantine && self.left != Some(0)
    }

    /// How long it takes for a task of a name: for ever, if it has not said.
    pub(super) fn pace(&self, name: u16) -> u64 {
        let mut said = self.paces.iter().rev();
        let said = said.find(|(other, _)| *other == name);
        said.map_or(u64::from(u32::MAX), |(_, nanos)| u64::from(*nanos).max(100))
    }

    /// Whether it has said.
    pub(super) fn is_paced(&self, name: u16) -> bool {
        self.paces.iter().any(|(other, _)| *other == name)
    }

    pub(super) fn work(&self) -> u64 {
        self.flights.iter().map(|flight| flight.pace).sum()
    }

    /// Whether a task may wait there that has no other place.
    pub(super) fn admits_ahead(
        &self,
        name: u16,
        bytes: usize,
        tasks: u32,
        most: ReadAhead,
    ) -> bool {
        let has: usize = self.flights.iter().map(|flight| flight.bytes).sum();
        self.open
            && !self.retired
            && !self.quarantine
            && self.left.is_none_or(|left| left >= tasks)
            && !self.flights.iter().any(|flight| flight.exclusive)
            && self.is_paced(name)
            && u128::from(self.work() + self.pace(name) * u64::from(tasks)) <= most.time.as_nanos()
            && has + bytes * tasks as usize <= most.bytes
    }

    pub(in crate::sched::model) fn started(
        &self,
        flight: &Flight,
        read: bool,
        ahead: Option<ReadAhead>,
    ) -> Started {
        let silent = !read || self.quiet.contains(&flight.name);
        let whole = |flight: &&Flight| flight.bytes <= IN_ONE_PIECE;
        let before = self.flights.iter().filter(whole);
        let before = before.filter(|other| other.ticket < flight.ticket).count();
        let reached = !whole(&flight) || ahead.is_none_or(|most| before < most.started);
        if flight.started {
            Started::Yes
        } else if flight.ticket <= self.written && silent && (reached || !read) {
            Started::Unknown
        } else {
            Started::No
        }
    }

    /// A task that it had is as if it had never been sent.
    pub(in crate::sched::model) fn unsent(&mut self) {
        self.left = self.left.map(|left| left + 1);
    }

    /// What a report about this ticket is worth.
    pub(in crate::sched::model) fn expects(&self, ticket: Ticket) -> Result<usize, Violation> {
        if ticket == 0 || ticket > self.written {
            return Err(Violation::UnsentTicket(ticket));
        }
        self.flights
            .iter()
            .position(|flight| flight.ticket == ticket)
            .ok_or(Violation::SettledTicket(ticket))
    }
}
