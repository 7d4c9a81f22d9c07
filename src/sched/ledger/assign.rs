//! Who is sent what next.
//!
//! Belongs here: the choice of task and worker, and what is handed out for writing.
//! Does not belong here: what workers say of it.

use crate::{
    sched::ledger::{Dispatch, Ledger, Seat, place::Flight},
    task::TaskId,
};

impl<P, R> Ledger<P, R> {
    /// Marks a waiting task as awaited right now. Does nothing for any other.
    pub(crate) fn expedite(&mut self, id: TaskId) {
        if self
            .tasks
            .get(id.get())
            .is_some_and(|task| task.flight.is_none())
        {
            self.awaited.insert(id);
        }
    }

    /// Marks every waiting task whose reply says so as awaited.
    pub(crate) fn expedite_where(&mut self, mut awaited: impl FnMut(&R) -> bool) {
        let ids: Vec<TaskId> = self.queue.iter().collect();
        self.awaited.clear();
        for id in ids {
            if let Some(task) = self.tasks.get(id.get())
                && awaited(&task.reply)
            {
                self.awaited.insert(id);
            }
        }
    }

    /// Moves waiting tasks to workers with credit, the least loaded first, and calls `touched` for each that got one.
    ///
    /// With `awaited_only` just the tasks marked by [`Ledger::expedite`] move.
    pub(crate) fn assign(&mut self, awaited_only: bool, mut touched: impl FnMut(Seat)) {
        loop {
            let next = if awaited_only {
                self.next_awaited()
            } else {
                self.queue.front()
            };
            let Some(id) = next else { break };
            let Some(exclusive) = self.tasks.get(id.get()).map(|task| task.exclusive) else {
                // Not reachable: removal from `tasks` takes the id out of the queue too.
                self.queue.pop_front();
                continue;
            };
            // Nobody overtakes the head of the queue, so an exclusive task gets its empty worker in the end.
            let Some(index) = self.pick(exclusive) else {
                break;
            };
            if awaited_only {
                self.awaited.pop_first();
                self.queue.remove(id);
            } else {
                self.queue.pop_front();
            }
            let seat = Seat::new(u32::try_from(index).unwrap_or(u32::MAX));
            if let (Some(place), Some(task)) =
                (self.places.get_mut(index), self.tasks.get_mut(id.get()))
            {
                place.take(exclusive);
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
                task.flight = Some((seat, ticket));
                touched(seat);
            }
        }
        if !awaited_only {
            self.awaited.clear();
        }
    }

    fn next_awaited(&mut self) -> Option<TaskId> {
        while let Some(&id) = self.awaited.first() {
            if self
                .tasks
                .get(id.get())
                .is_some_and(|task| task.flight.is_none())
            {
                return Some(id);
            }
            self.awaited.pop_first();
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
            if !place.admits(exclusive) {
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

    /// Hands over what is to be written to a worker now.
    pub(crate) fn take_outbox(&mut self, seat: Seat, mut write: impl FnMut(Dispatch<&P>)) {
        let Some(place) = self.places.get_mut(seat.index()) else {
            return;
        };
        while let Some(ticket) = place.outbox.pop_front() {
            place.written = ticket;
            let Some(flight) = place.flights.get(&ticket) else {
                continue; // Cancelled in the outbox: the worker never hears of it.
            };
            if let Some(task) = self.tasks.get(flight.id.get()) {
                write(Dispatch {
                    ticket,
                    id: flight.id,
                    name: task.name,
                    attempt: task.attempt,
                    payload: &task.payload,
                });
            }
        }
    }
}
