//! The table of all accepted tasks: where each is, and whose reply it carries.
//!
//! Belongs here: the state machine drawn in the module above; by role: `assign` to workers, `flight` with them, `settle`.
//! Does not belong here: delivering replies, waking workers.
//! Invariants: one settle per id; a worker never holds more than its credits; counted bytes are those of unsettled tasks.

mod assign;
mod flight;
mod messages;
mod place;
mod settle;
mod table;

use std::collections::BTreeSet;

pub(crate) use messages::{
    Cancelled, Dispatch, Finished, Full, Lost, LostTask, NewTask, Quantities, Ticket, Unsettled,
    Verdict, Violation,
};

use crate::{
    sched::{
        ledger::{place::Place, table::Table},
        queue::Queue,
    },
    task::{Slot, TaskId},
};

pub(crate) use place::Seat;

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
    flight: Option<(Seat, Ticket)>,
}

#[derive(Debug)]
pub(crate) struct Ledger<P, R> {
    next_id: u64,
    tasks: Table<Entry<P, R>>,
    queue: Queue,
    /// Waiting tasks that somebody awaits right now, for the time when results are over their limit.
    awaited: BTreeSet<TaskId>,
    places: Vec<Place>,
    bytes: usize,
    max_attempts: u32,
    names: u16,
    cursor: usize,
}

impl<P, R> Ledger<P, R> {
    pub(crate) fn new(names: u16, max_attempts: u32) -> Self {
        Self {
            next_id: 1,
            tasks: Table::new(),
            queue: Queue::default(),
            awaited: BTreeSet::new(),
            places: Vec::new(),
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
    pub(crate) fn in_flight(&self, seat: Seat) -> usize {
        self.place(seat).map_or(0, |place| place.flights.len())
    }

    /// The same of all workers, with their slots.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (Slot, usize)> + '_ {
        let taken = self.places.iter().filter(|place| place.taken);
        taken.map(|place| (place.slot, place.flights.len()))
    }

    /// Whether a worker has been sent all the tasks that it may start.
    pub(crate) fn is_spent(&self, seat: Seat) -> bool {
        self.place(seat).is_some_and(|place| place.quota == Some(0))
    }

    fn place(&self, seat: Seat) -> Option<&Place> {
        self.places.get(seat.index())
    }

    fn place_mut(&mut self, seat: Seat) -> Option<&mut Place> {
        self.places.get_mut(seat.index())
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

    /// A worker is ready to be sent tasks, so many at once and so many in all. Its seat is its own until it is lost.
    pub(crate) fn up(&mut self, slot: Slot, credits: u32, quota: Option<u32>) -> Seat {
        let index = match self.places.iter().position(|place| !place.taken) {
            Some(index) => index,
            None => {
                self.places.push(Place::free());
                self.places.len() - 1
            }
        };
        let seat = Seat::new(u32::try_from(index).unwrap_or(u32::MAX));
        if let Some(place) = self.place_mut(seat) {
            debug_assert!(place.flights.is_empty());
            *place = Place::of(slot, credits, quota);
        }
        seat
    }

    /// No new tasks for this worker; what it has it keeps.
    pub(crate) fn close(&mut self, seat: Seat) {
        if let Some(place) = self.place_mut(seat) {
            place.open = false;
        }
    }

    /// No new tasks for this worker until its end.
    pub(crate) fn retire(&mut self, seat: Seat) {
        if let Some(place) = self.place_mut(seat) {
            place.open = false;
            place.retired = true;
        }
    }

    /// The same worker takes tasks again, unless it retires.
    pub(crate) fn reopen(&mut self, seat: Seat) {
        if let Some(place) = self.place_mut(seat) {
            place.open = place.taken && !place.retired;
        }
    }
}
