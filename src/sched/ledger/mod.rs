//! The table of all accepted tasks: where each is, and whose reply it carries.
//!
//! Belongs here: the state machine drawn in the module above; by role: `assign` to workers, `flight` with them, `settle`.
//! Does not belong here: delivering replies, waking workers.
//! Invariants: one settle per id; a slot never holds more than its credits; counted bytes are those of unsettled tasks.

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
    pub(crate) fn new(slots: usize, names: u16, max_attempts: u32) -> Self {
        Self {
            next_id: 1,
            tasks: Table::new(),
            queue: Queue::default(),
            awaited: BTreeSet::new(),
            places: (0..slots).map(|_| Place::down()).collect(),
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
            *place = Place::up(credits);
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
}
