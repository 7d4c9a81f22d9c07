//! What a worker is sent beyond its concurrency.
//!
//! Belongs here: how much may wait in a worker, and which of its tasks surely has not started. Does not belong here: how long
//! tasks take, which workers say.
//! Invariant: what waits in a worker is as much work as its limit at most, as far as its tasks take as long as they took.
//!
//! Two workers that are sent a task when one has ended, and sleep in between, are woken more often than they work: with 16 tasks
//! that take a microsecond each. So what surely takes no time is sent ahead. The measure is all that the worker has, those
//! that run included: behind one that takes long nothing is sent ahead, as it would wait there while others are free.

use std::time::Duration;

use crate::{
    error::Started,
    sched::ledger::{
        Divide, Ledger, Seat, Ticket, Violation, Work,
        assign::Choice,
        place::{Flight, Place},
    },
    task::TaskId,
};

/// A task is taken for as long as this at least, whatever its worker says: so there is a most that is sent ahead.
const LEAST: u32 = 100;

/// Values that are longer may come in parts, of which the last comes behind tasks that were sent later.
pub(crate) const IN_ONE_PIECE: usize = 64 * 1024;

/// How much may wait in a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadAhead {
    /// Of work, with that which runs.
    pub(crate) time: Duration,
    /// Encoded, of all tasks that it has.
    pub(crate) bytes: usize,
    /// How many tasks a worker may have started at most without having said the end of.
    pub(crate) started: usize,
    /// How many workers can compute at the same time.
    pub(crate) cpus: usize,
    /// For each of those, workers that may have so many tasks at once are awake before others are woken for quick ones.
    pub(crate) room: usize,
}

impl ReadAhead {
    pub(super) fn nanos(&self) -> u64 {
        u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Place {
    /// Whether so many tasks of this name, and of this size together, may be sent although as many run as may.
    pub(super) fn admits_ahead(
        &self,
        name: u16,
        bytes: usize,
        tasks: u32,
        most: &ReadAhead,
    ) -> bool {
        let Some(pace) = self.paces.get(usize::from(name)).copied().flatten() else {
            return false;
        };
        self.open
            && !self.quarantine
            && self.quota.is_none_or(|quota| quota >= tasks)
            && !self.credits.is_exclusive()
            && self.work.saturating_add(u64::from(pace) * u64::from(tasks)) <= most.nanos()
            && self.bytes.saturating_add(bytes) <= most.bytes
    }

    /// Its tasks in the order in which they were sent, and whether each has started. `read` says that all that it has said was
    /// read; `most` that it has started no more than so many of those that it has not said the end of.
    pub(super) fn in_order(&self, read: bool, most: usize) -> Vec<(Ticket, &Flight, Started)> {
        let mut flights: Vec<(Ticket, &Flight)> = (self.flights.iter())
            .map(|(ticket, flight)| (*ticket, flight))
            .collect();
        flights.sort_unstable_by_key(|(ticket, _)| *ticket);
        let mut before = 0;
        let with_start = flights.into_iter().map(|(ticket, flight)| {
            // They start as they come.
            let out_of_reach = flight.in_one_piece && before >= most;
            if flight.in_one_piece {
                before += flight.count as usize;
            }
            let started = match flight.started(ticket, self.written, &self.quiet, read) {
                Started::Unknown if read && out_of_reach => Started::No,
                started => started,
            };
            (ticket, flight, started)
        });
        with_start.collect()
    }
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// Sends tasks ahead from now on.
    pub(crate) fn read_ahead(&mut self, most: ReadAhead) {
        self.ahead = Some(most);
    }

    /// A worker says how long its tasks of this name take from start to end, in nanoseconds and in the mean.
    pub(crate) fn paced(&mut self, seat: Seat, name: u16, nanos: u32) -> Result<(), Violation> {
        let names = self.names.len();
        if usize::from(name) >= names {
            return Err(Violation::UnknownName(name));
        }
        if let Some(place) = self.place_mut(seat).filter(|place| place.taken) {
            place.paces.resize(names, None);
            if let Some(pace) = place.paces.get_mut(usize::from(name)) {
                *pace = Some(nanos.max(LEAST));
            }
        }
        Ok(())
    }

    /// A worker that may be sent such a task although it has as many as it runs: the one that has least to do.
    pub(super) fn pick_ahead(&self, id: TaskId, awaited_only: bool) -> Option<Choice> {
        let most = self.ahead.as_ref()?;
        let task = self.tasks.get(id.get())?;
        if self.router.is_custom() || task.terms.exclusive || !task.terms.is_sent_ahead() {
            return None;
        }
        let places = self.places.iter().enumerate();
        let free = places.filter(|(_, place)| {
            place.admits_ahead(task.name, task.bytes as usize, 1, most)
                && !place.is_reserved(awaited_only)
        });
        let least = free.min_by_key(|(_, place)| place.work);
        least.map(|(index, _)| (index, None))
    }

    /// How many tasks a worker runs at most, of those that it has.
    pub(crate) fn in_use(&self, seat: Seat) -> u32 {
        let Some(place) = self.place(seat) else {
            return 0;
        };
        let (has, limit) = (place.credits.used(), place.credits.limit());
        let quick = (self.ahead).is_some_and(|most| place.work <= most.nanos());
        if quick { has.min(limit) } else { has }
    }

    /// How long the tasks that a worker has take in all, in nanoseconds, with 4 s, more than any of what is sent ahead, for
    /// each of which nobody knows yet.
    pub(crate) fn work(&self, seat: Seat) -> u64 {
        self.place(seat).map_or(0, |place| place.work)
    }

    /// How many tasks a worker may have started of which it has not said the end.
    pub(super) fn most_started(&self) -> usize {
        self.ahead.map_or(usize::MAX, |most| most.started)
    }
}
