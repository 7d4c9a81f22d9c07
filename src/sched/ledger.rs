//! The table of all accepted tasks: where each is, and whose reply it carries.
//!
//! Belongs here: the state machine drawn in the module above. Does not belong here: delivering replies, waking workers.
//! Invariants: one settle per id; a slot never holds more than its credits; counted bytes are those of unsettled tasks.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{BuildHasherDefault, Hasher},
};

use crate::{
    error::Started,
    sched::{credits::Credits, queue::Queue},
    task::{Slot, TaskId},
};

/// Names one sending of one task over one connection, counted from 1.
pub(crate) type Ticket = u64;

/// Ids are small numbers that this process counts up itself, so no peer can choose colliding ones.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: hashbrown takes its tag from the high bits.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// What a caller hands in.
#[derive(Debug)]
pub(crate) struct NewTask<P, R> {
    pub(crate) name: u16,
    pub(crate) payload: P,
    pub(crate) bytes: usize,
    pub(crate) idempotent: bool,
    pub(crate) exclusive: bool,
    pub(crate) reply: R,
}

impl<P> NewTask<P, ()> {
    pub(crate) fn with_reply<R>(self, reply: R) -> NewTask<P, R> {
        NewTask {
            name: self.name,
            payload: self.payload,
            bytes: self.bytes,
            idempotent: self.idempotent,
            exclusive: self.exclusive,
            reply,
        }
    }
}

impl<P, R> NewTask<P, R> {
    pub(crate) fn without_reply(self) -> (NewTask<P, ()>, R) {
        let task = NewTask {
            name: self.name,
            payload: self.payload,
            bytes: self.bytes,
            idempotent: self.idempotent,
            exclusive: self.exclusive,
            reply: (),
        };
        (task, self.reply)
    }
}

/// What goes over the wire to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatch<P> {
    pub(crate) ticket: Ticket,
    pub(crate) id: TaskId,
    pub(crate) name: u16,
    pub(crate) attempt: u32,
    pub(crate) payload: P,
}

/// Why a task cannot be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Full {
    pub(crate) waiting: usize,
    pub(crate) bytes: usize,
}

/// What a worker did that no honest worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    UnsentTicket(Ticket),
    SettledTicket(Ticket),
    StartedTwice(Ticket),
    UnknownName(u16),
}

/// The end of a task as its worker reported it.
#[derive(Debug)]
pub(crate) enum Finished<R> {
    /// Somebody gets the outcome.
    Settle(R),
    /// It was settled before: only the credit comes back.
    Abandoned,
}

/// What a cancellation found.
#[derive(Debug)]
pub(crate) enum Cancelled<R> {
    /// It had not been sent: settled here and now.
    Queued(R),
    /// It is with a worker; `reply` has left if the caller had gone.
    Flight {
        slot: Slot,
        ticket: Ticket,
        reply: Option<R>,
        /// The first request for this ticket: the worker has to be told.
        first: bool,
    },
    /// Settled before, or never known.
    Unknown,
}

/// One task that was with a worker that has gone.
#[derive(Debug)]
pub(crate) struct LostTask<R> {
    pub(crate) id: TaskId,
    pub(crate) name: u16,
    pub(crate) started: Started,
    pub(crate) verdict: Verdict,
    pub(crate) reply: R,
}

/// Why a lost task is settled instead of running again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It had been cancelled and was only waiting for its end.
    Cancelled,
    /// It may have run, and must not or cannot run again.
    Lost,
}

/// What the loss of a worker means for the tasks it had.
#[derive(Debug)]
pub(crate) struct Lost<R> {
    pub(crate) settled: Vec<LostTask<R>>,
    /// Back at the front of the queue.
    pub(crate) requeued: usize,
    /// How many tasks had started or may have.
    pub(crate) suspects: u32,
}

/// A task settled because the pool ends.
#[derive(Debug)]
pub(crate) struct Unsettled<R> {
    pub(crate) id: TaskId,
    pub(crate) slot: Option<Slot>,
    pub(crate) started: Started,
    pub(crate) reply: R,
}

/// What there is, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Quantities {
    pub(crate) waiting: usize,
    pub(crate) in_flight: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Entry<P, R> {
    name: u16,
    payload: P,
    bytes: usize,
    idempotent: bool,
    exclusive: bool,
    /// Counted from 1.
    attempt: u32,
    reply: R,
    flight: Option<(Slot, Ticket)>,
}

#[derive(Debug)]
struct Flight {
    id: TaskId,
    name: u16,
    started: bool,
    cancelling: bool,
    abandoned: bool,
}

impl Flight {
    fn started(&self, ticket: Ticket, written: Ticket, quiet: &HashSet<u16>) -> Started {
        if self.started {
            Started::Yes
        } else if ticket <= written && quiet.contains(&self.name) {
            Started::Unknown
        } else {
            Started::No
        }
    }
}

#[derive(Debug)]
struct Place {
    up: bool,
    credits: Credits,
    next_ticket: Ticket,
    flights: IdMap<Ticket, Flight>,
    /// Names whose starts the worker no longer announces before the first poll.
    quiet: HashSet<u16>,
    outbox: VecDeque<Ticket>,
    /// The highest ticket that was handed out for writing: tickets leave the outbox in order.
    written: Ticket,
    /// Kept free of new tasks until it is empty, for the exclusive task at the head of the queue.
    reserved: bool,
}

/// The table of all accepted, unsettled tasks. `P` is a payload, `R` a reply.
#[derive(Debug)]
pub(crate) struct Ledger<P, R> {
    next_id: u64,
    tasks: IdMap<u64, Entry<P, R>>,
    queue: Queue,
    /// Waiting tasks that somebody awaits right now, for the time when results are over their limit.
    awaited: VecDeque<TaskId>,
    places: Vec<Place>,
    bytes: usize,
    max_attempts: u32,
    names: u16,
    cursor: usize,
}

impl<P: Clone, R> Ledger<P, R> {
    pub(crate) fn new(slots: usize, names: u16, max_attempts: u32) -> Self {
        Self {
            next_id: 1,
            tasks: IdMap::default(),
            queue: Queue::default(),
            awaited: VecDeque::new(),
            places: (0..slots)
                .map(|_| Place {
                    up: false,
                    credits: Credits::new(0),
                    next_ticket: 1,
                    flights: IdMap::default(),
                    quiet: HashSet::new(),
                    outbox: VecDeque::new(),
                    written: 0,
                    reserved: false,
                })
                .collect(),
            bytes: 0,
            max_attempts,
            names,
            cursor: 0,
        }
    }

    pub(crate) fn quantities(&self) -> Quantities {
        Quantities {
            waiting: self.queue.len(),
            in_flight: self.tasks.len() - self.queue.len(),
            bytes: self.bytes,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Tasks a worker has and has not reported the end of, the abandoned ones included.
    pub(crate) fn in_flight(&self, slot: Slot) -> usize {
        self.place(slot).map_or(0, |place| place.flights.len())
    }

    fn place(&self, slot: Slot) -> Option<&Place> {
        self.places.get(slot.index() as usize)
    }

    fn place_mut(&mut self, slot: Slot) -> Option<&mut Place> {
        self.places.get_mut(slot.index() as usize)
    }

    /// Takes a task in, unless `limits` (tasks waiting, bytes unsettled) are reached; then it is handed back.
    pub(crate) fn accept(
        &mut self,
        task: NewTask<P, R>,
        limits: Option<(usize, usize)>,
    ) -> Result<TaskId, (Full, NewTask<P, R>)> {
        if let Some((max_waiting, max_bytes)) = limits {
            // A single task larger than the limit passes when nothing else is there, or it could never run.
            let over = self.bytes > 0 && self.bytes + task.bytes > max_bytes;
            if self.queue.len() >= max_waiting || over {
                let full = Full {
                    waiting: self.queue.len(),
                    bytes: self.bytes,
                };
                return Err((full, task));
            }
        }
        let id = TaskId::new(self.next_id);
        self.next_id += 1;
        self.bytes += task.bytes;
        self.tasks.insert(
            id.get(),
            Entry {
                name: task.name,
                payload: task.payload,
                bytes: task.bytes,
                idempotent: task.idempotent,
                exclusive: task.exclusive,
                attempt: 1,
                reply: task.reply,
                flight: None,
            },
        );
        self.queue.push_back(id);
        Ok(id)
    }

    /// A worker is ready to be sent tasks.
    pub(crate) fn up(&mut self, slot: Slot, credits: u32) {
        if let Some(place) = self.place_mut(slot) {
            debug_assert!(place.flights.is_empty());
            *place = Place {
                up: true,
                credits: Credits::new(credits),
                next_ticket: 1,
                flights: IdMap::default(),
                quiet: HashSet::new(),
                outbox: VecDeque::new(),
                written: 0,
                reserved: false,
            };
        }
    }

    /// No new tasks for this worker; what it has it keeps.
    pub(crate) fn close(&mut self, slot: Slot) {
        if let Some(place) = self.place_mut(slot) {
            place.up = false;
        }
    }

    /// The same worker takes tasks again.
    pub(crate) fn reopen(&mut self, slot: Slot) {
        if let Some(place) = self.place_mut(slot) {
            place.up = true;
        }
    }

    /// Marks a waiting task as awaited right now. Does nothing for any other.
    pub(crate) fn expedite(&mut self, id: TaskId) {
        if self
            .tasks
            .get(&id.get())
            .is_some_and(|task| task.flight.is_none())
            && !self.awaited.contains(&id)
        {
            self.awaited.push_back(id);
        }
    }

    /// Marks every waiting task whose reply says so as awaited.
    pub(crate) fn expedite_where(&mut self, awaited: impl Fn(&R) -> bool) {
        let ids: Vec<TaskId> = self.queue.iter().collect();
        self.awaited.clear();
        for id in ids {
            if let Some(task) = self.tasks.get(&id.get()) {
                if awaited(&task.reply) {
                    self.awaited.push_back(id);
                }
            }
        }
    }

    /// Moves waiting tasks to workers with credit, the least loaded first, and calls `touched` for each that got one.
    ///
    /// With `awaited_only` just the tasks marked by [`Ledger::expedite`] move.
    pub(crate) fn assign(&mut self, awaited_only: bool, mut touched: impl FnMut(Slot)) {
        loop {
            let next = if awaited_only {
                self.next_awaited()
            } else {
                self.queue.front()
            };
            let Some(id) = next else { break };
            let Some(exclusive) = self.tasks.get(&id.get()).map(|task| task.exclusive) else {
                // Not reachable: removal from `tasks` takes the id out of the queue too.
                self.queue.pop_front();
                continue;
            };
            let Some(index) = self.pick(exclusive) else {
                if exclusive {
                    self.reserve();
                }
                break;
            };
            if awaited_only {
                self.awaited.pop_front();
                self.queue.remove(id);
            } else {
                self.queue.pop_front();
            }
            let slot = Slot::new(u32::try_from(index).unwrap_or(u32::MAX));
            if let (Some(place), Some(task)) =
                (self.places.get_mut(index), self.tasks.get_mut(&id.get()))
            {
                place.credits.take(exclusive);
                place.reserved = false;
                let ticket = place.next_ticket;
                place.next_ticket += 1;
                place.flights.insert(
                    ticket,
                    Flight {
                        id,
                        name: task.name,
                        started: false,
                        cancelling: false,
                        abandoned: false,
                    },
                );
                place.outbox.push_back(ticket);
                task.flight = Some((slot, ticket));
                touched(slot);
            }
        }
        if !awaited_only {
            self.awaited.clear();
        }
    }

    fn next_awaited(&mut self) -> Option<TaskId> {
        while let Some(&id) = self.awaited.front() {
            if self
                .tasks
                .get(&id.get())
                .is_some_and(|task| task.flight.is_none())
            {
                return Some(id);
            }
            self.awaited.pop_front();
        }
        None
    }

    /// The least loaded worker that may be sent such a task; among equals they take turns.
    fn pick(&mut self, exclusive: bool) -> Option<usize> {
        let count = self.places.len();
        let mut best: Option<(u32, usize)> = None;
        for step in 0..count {
            let index = (self.cursor + step) % count;
            let Some(place) = self.places.get(index) else {
                continue;
            };
            if !place.up || !place.credits.admits(exclusive) || (place.reserved && !exclusive) {
                continue;
            }
            let load = place.credits.used();
            if best.is_none_or(|(least, _)| load < least) {
                best = Some((load, index));
            }
        }
        let (_, index) = best?;
        self.cursor = (index + 1) % count;
        Some(index)
    }

    /// Keeps the emptiest worker free for the exclusive task at the head, or a steady stream of others would starve it.
    fn reserve(&mut self) {
        if self.places.iter().any(|place| place.up && place.reserved) {
            return;
        }
        if let Some(place) = self
            .places
            .iter_mut()
            .filter(|place| place.up)
            .min_by_key(|place| place.credits.used())
        {
            place.reserved = true;
        }
    }

    /// Takes what is to be written to a worker now.
    pub(crate) fn take_outbox(&mut self, slot: Slot, into: &mut Vec<Dispatch<P>>) {
        let Some(place) = self.places.get_mut(slot.index() as usize) else {
            return;
        };
        while let Some(ticket) = place.outbox.pop_front() {
            place.written = ticket;
            let Some(flight) = place.flights.get(&ticket) else {
                continue; // Cancelled in the outbox: the worker never hears of it.
            };
            if let Some(task) = self.tasks.get(&flight.id.get()) {
                into.push(Dispatch {
                    ticket,
                    id: flight.id,
                    name: task.name,
                    attempt: task.attempt,
                    payload: task.payload.clone(),
                });
            }
        }
    }

    /// A worker says that it is about to poll a task for the first time.
    pub(crate) fn started(&mut self, slot: Slot, ticket: Ticket) -> Result<TaskId, Violation> {
        self.expects(slot, ticket)?;
        let flight = Self::flight_mut(&mut self.places, slot, ticket)?;
        if std::mem::replace(&mut flight.started, true) {
            return Err(Violation::StartedTwice(ticket));
        }
        Ok(flight.id)
    }

    /// A worker says whether it goes on announcing the starts of tasks of this name.
    pub(crate) fn quiet(&mut self, slot: Slot, name: u16, quiet: bool) -> Result<(), Violation> {
        if name >= self.names {
            return Err(Violation::UnknownName(name));
        }
        if let Some(place) = self.place_mut(slot) {
            if quiet {
                place.quiet.insert(name);
            } else {
                place.quiet.remove(&name);
            }
        }
        Ok(())
    }

    /// Whether a result for this ticket is due, before any of its bytes is stored.
    pub(crate) fn expects(&self, slot: Slot, ticket: Ticket) -> Result<(), Violation> {
        let place = self.place(slot).ok_or(Violation::UnsentTicket(ticket))?;
        if ticket == 0 || ticket > place.written {
            Err(Violation::UnsentTicket(ticket))
        } else if place.flights.contains_key(&ticket) {
            Ok(())
        } else {
            Err(Violation::SettledTicket(ticket))
        }
    }

    /// A worker reports the end of a task.
    pub(crate) fn finished(
        &mut self,
        slot: Slot,
        ticket: Ticket,
    ) -> Result<Finished<R>, Violation> {
        self.expects(slot, ticket)?;
        let place = self
            .places
            .get_mut(slot.index() as usize)
            .ok_or(Violation::UnsentTicket(ticket))?;
        let flight = place
            .flights
            .remove(&ticket)
            .ok_or(Violation::SettledTicket(ticket))?;
        place.credits.give_back();
        if flight.abandoned {
            return Ok(Finished::Abandoned);
        }
        match self.settle(flight.id) {
            Some(reply) => Ok(Finished::Settle(reply)),
            None => Ok(Finished::Abandoned),
        }
    }

    /// Removes a task and hands out its reply: the one way in which a reply leaves for good.
    fn settle(&mut self, id: TaskId) -> Option<R> {
        let task = self.tasks.remove(&id.get())?;
        self.bytes -= task.bytes;
        Some(task.reply)
    }

    /// Somebody wants this task to end. With `abandon` nobody waits for it any more.
    pub(crate) fn cancel(&mut self, id: TaskId, abandon: bool) -> Cancelled<R> {
        let Some(task) = self.tasks.get(&id.get()) else {
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

    /// Whether this task is still with its worker, and whether every task with that worker is being cancelled.
    pub(crate) fn ending(&self, slot: Slot, ticket: Ticket) -> Option<bool> {
        let place = self.place(slot)?;
        place.flights.get(&ticket)?;
        Some(place.flights.values().all(|flight| flight.cancelling))
    }

    /// The tickets of tasks that were sent and surely not started, and are not being cancelled.
    pub(crate) fn revocable(&self, slot: Slot) -> Vec<Ticket> {
        let Some(place) = self.place(slot) else {
            return Vec::new();
        };
        place
            .flights
            .iter()
            .filter(|(_, flight)| !flight.started && !flight.cancelling)
            .map(|(ticket, _)| *ticket)
            .collect()
    }

    /// The worker gave a task back that it had not started: it goes to the front of the queue, no attempt spent.
    pub(crate) fn revoked(&mut self, slot: Slot, ticket: Ticket) -> Result<(), Violation> {
        self.expects(slot, ticket)?;
        let place = self
            .places
            .get_mut(slot.index() as usize)
            .ok_or(Violation::UnsentTicket(ticket))?;
        let flight = place
            .flights
            .remove(&ticket)
            .ok_or(Violation::SettledTicket(ticket))?;
        place.credits.give_back();
        if let Some(task) = self.tasks.get_mut(&flight.id.get()) {
            task.flight = None;
            self.queue.push_front(flight.id);
        }
        Ok(())
    }

    /// The worker of this slot has gone. `innocent` spares the attempts of its tasks: they did not cause it.
    pub(crate) fn lost(&mut self, slot: Slot, innocent: bool) -> Lost<R> {
        let mut lost = Lost {
            settled: Vec::new(),
            requeued: 0,
            suspects: 0,
        };
        let Some(place) = self.places.get_mut(slot.index() as usize) else {
            return lost;
        };
        place.up = false;
        place.reserved = false;
        place.credits = Credits::new(0);
        place.outbox.clear();
        let written = place.written;
        let quiet = std::mem::take(&mut place.quiet);
        let mut flights: Vec<(Ticket, Flight)> = place.flights.drain().collect();
        // The last sent goes back first, so that the queue's front is in the old order again.
        flights.sort_unstable_by_key(|(ticket, _)| std::cmp::Reverse(*ticket));
        for (ticket, flight) in flights {
            let started = flight.started(ticket, written, &quiet);
            if started != Started::No {
                lost.suspects += 1;
            }
            let Some(task) = self.tasks.get_mut(&flight.id.get()) else {
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
                self.queue.push_front(flight.id);
                lost.requeued += 1;
            } else if let Some(reply) = self.settle(flight.id) {
                lost.settled.push(LostTask {
                    id: flight.id,
                    name: flight.name,
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

    /// Every task in flight that is not being cancelled yet.
    pub(crate) fn running(&self) -> Vec<TaskId> {
        self.places
            .iter()
            .flat_map(|place| place.flights.values())
            .filter(|flight| !flight.abandoned)
            .map(|flight| flight.id)
            .collect()
    }

    /// Takes every task in flight out; their workers keep them, abandoned.
    pub(crate) fn take_flights(&mut self) -> Vec<Unsettled<R>> {
        let mut taken = Vec::new();
        for (index, place) in (0..).zip(self.places.iter_mut()) {
            for (&ticket, flight) in &mut place.flights {
                let started = flight.started(ticket, place.written, &place.quiet);
                flight.abandoned = true;
                if let Some(task) = self.tasks.remove(&flight.id.get()) {
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

    fn flight_mut(
        places: &mut [Place],
        slot: Slot,
        ticket: Ticket,
    ) -> Result<&mut Flight, Violation> {
        let place = places
            .get_mut(slot.index() as usize)
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
