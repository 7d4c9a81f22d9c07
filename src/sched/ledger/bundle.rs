//! Tasks in a row that are one entry as long as nothing sets one of them apart.
//!
//! Belongs here: taking them in, sending them, and cutting them apart. Does not belong here: what becomes of a task, which is the
//! same whether it came in a bundle or alone.
//! Invariants: ids and tickets of a bundle are counted up, one for each task; none of its tasks has limits but to run, a key, or
//! a place to wait but the queue and a worker. Whoever asks for one of them finds it alone.
//!
//! ```text
//!   accepted ──▶ in the queue ──▶ with a worker ──▶ ended, all or a part of them in a row
//!                    │                 │
//!                    │ one is asked for, or no worker has room for all
//!                    ▼                 ▼
//!                cut in two, each part where the whole was, until what is asked for is alone
//! ```

use std::ops::Range;

use crate::{
    sched::ledger::{
        At, Entry, Full, Ledger, Limits, NewTask, Seat, Ticket, Violation,
        assign::Choice,
        place::{Flight, Place},
    },
    task::{Priority, TaskId},
};

/// So much of what may wait in a worker is one bundle at most: the others keep it busy meanwhile.
pub(super) const PART: u64 = 4;

/// What stands for several tasks in a row.
pub(crate) trait Divide: Sized {
    /// Keeps the first `at` and returns the others.
    fn split_off(&mut self, at: u32) -> Self;
}

/// What tasks are to do.
pub(crate) trait Work: Divide {
    /// How many bytes that is.
    fn bytes(&self) -> usize;
}

impl Place {
    /// The flight that a ticket belongs to, and its first ticket.
    pub(super) fn covering(&self, ticket: Ticket) -> Option<(Ticket, &Flight)> {
        if let Some(flight) = self.flights.get(&ticket) {
            return Some((ticket, flight));
        }
        let first = *self.bundles.range(..=ticket).next_back()?;
        let flight = self.flights.get(&first)?;
        (ticket - first < u64::from(flight.count)).then_some((first, flight))
    }

    /// Cuts a flight in two. The first part keeps so many tasks and so many bytes.
    fn cut(&mut self, ticket: Ticket, at: u32, bytes: [usize; 2]) {
        let Some(flight) = self.flights.get_mut(&ticket) else {
            return;
        };
        let rest = Flight {
            id: flight.id.after(at),
            count: flight.count - at,
            bytes: bytes[1],
            picked: None,
            ..*flight
        };
        self.bytes = (self.bytes + bytes[0] + bytes[1]).saturating_sub(flight.bytes);
        (flight.count, flight.bytes) = (at, bytes[0]);
        let next = ticket + u64::from(at);
        if at == 1 {
            self.bundles.remove(&ticket);
        }
        if rest.count > 1 {
            self.bundles.insert(next);
        }
        self.flights.insert(next, rest);
        if ticket > self.written
            && let Ok(index) = self.outbox.binary_search(&ticket)
        {
            self.outbox.insert(index + 1, next);
        }
    }
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// How many tasks of a name may share an entry, by how long they take: 1 if none may.
    pub(crate) fn bundle_of(&self, name: u16) -> u32 {
        let alone = self.is_limited(name) || self.router.is_custom();
        let Some(most) = self.ahead.filter(|_| !alone) else {
            return 1;
        };
        let fits = |slowest: u32| most.nanos() / PART / u64::from(slowest.max(1));
        let fits = self.slowest(name, &most).map_or(1, fits);
        u32::try_from(fits).unwrap_or(u32::MAX).max(1)
    }

    pub(super) fn is_limited(&self, name: u16) -> bool {
        let name = self.names.get(usize::from(name));
        name.is_none_or(|name| name.limit.is_some())
    }

    /// How many tasks of a class may still wait.
    pub(crate) fn room(&self, priority: Priority, limits: Limits) -> usize {
        let all = limits.waiting.saturating_sub(self.waiting.sum());
        let own = Self::share(limits.waiting).saturating_sub(*self.waiting.of(priority));
        all.max(own)
    }

    /// Takes so many tasks in as one, unless the limits are reached; then they are handed back. They have no limits of time but
    /// to run, no key, and run beside others.
    pub(crate) fn accept_bundle(
        &mut self,
        tasks: NewTask<P, R>,
        count: u32,
        limits: Option<Limits>,
        now: impl Fn() -> std::time::Instant,
    ) -> Result<TaskId, (Full, NewTask<P, R>)> {
        let priority = tasks.terms.priority;
        let more = count.saturating_sub(1) as usize;
        if limits.is_some_and(|limits| self.room(priority, limits) < count as usize) {
            let full = Full {
                waiting: self.waiting.sum(),
                bytes: self.bytes.sum(),
            };
            return Err((full, tasks));
        }
        let id = self.accept(tasks, limits, now)?;
        if more > 0 {
            self.next_id += more as u64;
            self.total += more;
            *self.waiting.of_mut(priority) += more;
            self.bundles.insert(id.get(), count);
            if let Some(task) = self.tasks.get_mut(id.get()) {
                task.count = count;
            }
        }
        Ok(id)
    }

    /// The turn of a bundle has come: the worker that has least to do of those that have room for all of it.
    pub(super) fn pick_for_bundle(&self, id: TaskId, awaited_only: bool) -> Option<Choice> {
        let (most, task) = (self.ahead.as_ref()?, self.tasks.get(id.get())?);
        if self.router.is_custom() || self.is_limited(task.name) {
            return None;
        }
        let places = self.places.iter().enumerate();
        let free = places.filter(|(_, place)| {
            place.admits_ahead(task.name, task.bytes as usize, task.count, most)
                && !place.is_reserved(awaited_only)
        });
        let least = free.min_by_key(|(_, place)| place.work);
        least.map(|(index, _)| (index, None))
    }

    /// Whether some worker may be sent a task alone.
    pub(super) fn admits_one(&self, awaited_only: bool) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.admits(false) && !place.is_reserved(awaited_only))
    }

    /// The entry that a task belongs to.
    fn covering(&self, id: u64) -> Option<(u64, &Entry<P, R>)> {
        if let Some(task) = self.tasks.get(id) {
            return Some((id, task));
        }
        let (first, count) = self.bundles.range(..=id).next_back()?;
        let task = (id - first < u64::from(*count)).then(|| self.tasks.get(*first));
        Some((*first, task.flatten()?))
    }

    /// Whoever asks for this task finds it alone from now on.
    pub(super) fn isolate(&mut self, id: TaskId) {
        if self.bundles.is_empty() {
            return;
        }
        let Some((first, _)) = self.covering(id.get()) else {
            return;
        };
        if let Ok(before @ 1..) = u32::try_from(id.get() - first) {
            self.cut(first, before);
        }
        self.cut(id.get(), 1);
    }

    /// The same of the task that has this ticket.
    pub(super) fn isolate_flight(&mut self, seat: Seat, ticket: Ticket) {
        let place = self.place(seat).filter(|place| !place.bundles.is_empty());
        let found = place.and_then(|place| place.covering(ticket));
        if let Some((first, _)) = found {
            let before = u32::try_from(ticket - first).unwrap_or(0);
            self.cut_flight(seat, first, before);
            self.cut_flight(seat, ticket, 1);
        }
    }

    /// Cuts a flight in two, with its entry if that has not been settled.
    fn cut_flight(&mut self, seat: Seat, first: Ticket, at: u32) {
        let Some(place) = self.places.get_mut(seat.index()) else {
            return;
        };
        let Some(flight) = place.flights.get(&first) else {
            return;
        };
        if at == 0 || flight.count <= at {
            return;
        }
        if self.tasks.get(flight.id.get()).is_some() {
            let id = flight.id.get();
            self.cut(id, at);
        } else {
            // Its tasks have settled, all at once, and their worker has yet to say so of each.
            let (bytes, count) = (flight.bytes, flight.count as usize);
            let kept = bytes * at as usize / count;
            place.cut(first, at, [kept, bytes - kept]);
        }
    }

    /// All tasks of an entry are alone from now on.
    pub(super) fn scatter(&mut self, id: TaskId) {
        let count = self.tasks.get(id.get()).map_or(1, |task| task.count);
        for nth in 1..count {
            self.cut(id.after(nth - 1).get(), 1);
        }
    }

    /// All that a worker has are alone.
    pub(super) fn scatter_flights(&mut self, seat: Seat) {
        while let Some(first) = self.place(seat).and_then(|place| place.bundles.first()) {
            // Which leaves one bundle fewer, or this one shorter.
            self.cut_flight(seat, *first, 1);
        }
    }

    /// Cuts an entry in two, of which the first has so many tasks. Does nothing if it has no more.
    fn cut(&mut self, first: u64, at: u32) {
        let Some(task) = self.tasks.get_mut(first).filter(|task| task.count > at) else {
            return;
        };
        let id = TaskId::new(first);
        let priority = task.terms.priority;
        let (payload, reply) = (task.payload.split_off(at), task.reply.split_off(at));
        let mut rest = Entry {
            count: task.count - at,
            bytes: u32::try_from(payload.bytes()).unwrap_or(u32::MAX),
            payload,
            reply,
            ..*task
        };
        let kept = u32::try_from(task.payload.bytes()).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut task.bytes, kept) as usize;
        task.count = at;
        let bytes = [task.bytes as usize, rest.bytes as usize];
        let all = self.bytes.of_mut(priority);
        *all = (*all + bytes[0] + bytes[1]).saturating_sub(before);
        match task.at {
            At::Flight(seat, ticket) => {
                if let Some(place) = self.places.get_mut(seat.index()) {
                    place.cut(ticket, at, bytes);
                }
                rest.at = At::Flight(seat, ticket + u64::from(at));
            }
            _ => self.queues.of_mut(priority).insert_after(id, id.after(at)),
        }
        let next = id.after(at).get();
        if at > 1 {
            self.bundles.insert(first, at);
        } else {
            self.bundles.remove(&first);
        }
        if rest.count > 1 {
            self.bundles.insert(next, rest.count);
        }
        if !self.clocks.is_empty() {
            self.clocks.split(id, id.after(at));
        }
        self.tasks.insert(next, rest);
    }

    /// A worker reports that so many tasks in a row have ended well. `settled` gets each reply that leaves, and which of the
    /// tasks it stands for.
    pub(crate) fn finished_run(
        &mut self,
        seat: Seat,
        ticket: Ticket,
        count: u32,
        mut settled: impl FnMut(R, Range<u32>),
    ) -> Result<(), Violation> {
        let mut done = 0;
        while done < count {
            let ticket = ticket.saturating_add(u64::from(done));
            self.expects(seat, ticket)?;
            let covering = self.place(seat).and_then(|place| place.covering(ticket));
            let Some((first, flight)) = covering else {
                return Err(Violation::SettledTicket(ticket));
            };
            let before = u32::try_from(ticket - first).unwrap_or(0);
            let tasks = (flight.count - before).min(count - done);
            self.cut_flight(seat, first, before);
            self.cut_flight(seat, ticket, tasks);
            let flight = self.landed(seat, ticket, true)?;
            if !flight.abandoned
                && let Some(reply) = self.settle(flight.id)
            {
                settled(reply, done..done + tasks);
            }
            done += tasks;
        }
        Ok(())
    }
}
