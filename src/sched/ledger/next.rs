//! Which waiting task is next.
//!
//! Belongs here: order between classes, lines and those held back. Does not belong here: where it goes.
//! Invariant: nothing that waits is looked through: the first of each place is enough.

use std::time::Instant;

use crate::{
    sched::ledger::{Divide, Ledger, Work, place::Place},
    task::{Priority, TaskId},
};

impl<P: Work, R: Divide> Ledger<P, R> {
    /// The first of all tasks, or of those that are awaited, that do not wait for something of their own.
    pub(super) fn next(
        &mut self,
        awaited_only: bool,
        now: &impl Fn() -> Instant,
    ) -> Option<TaskId> {
        let waiting = |priority: &Priority| *self.waiting.of(*priority) > 0;
        let mut classes = Priority::ALL.into_iter().filter(waiting);
        let (first, mixed) = (classes.next()?, classes.next().is_some());
        if !mixed && self.lined == 0 && self.held == 0 && !awaited_only {
            return self.queues.of_mut(first).front();
        }
        let now = if mixed { self.ageing.time(now()) } else { 0 };
        let mut best: Option<(u32, TaskId)> = None;
        let (tasks, ageing) = (&self.tasks, &self.ageing);
        let mut consider = |priority: Priority, id: TaskId| {
            let level = match tasks.get(id.get()) {
                Some(task) if mixed => ageing.level(priority, task.since, now),
                _ => priority.index() as u32,
            };
            if best.is_none_or(|best| (level, id) < best) {
                best = Some((level, id));
            }
        };
        if awaited_only {
            for (priority, id) in self.awaited.fronts() {
                consider(priority, id);
            }
        } else {
            for priority in Priority::ALL {
                if let Some(id) = self.queues.of_mut(priority).front() {
                    consider(priority, id);
                }
            }
        }
        if self.lined > 0 {
            // Those that one waits for which is kept free for one of them go when it is free.
            let places = self.places.iter();
            let free = |place: &&Place| place.admits(false) && !place.is_reserved(awaited_only);
            for place in places.filter(free) {
                for (priority, id) in place.line.fronts(awaited_only) {
                    consider(priority, id);
                }
            }
        }
        if self.held > 0 {
            for name in self.names.iter().filter(|name| !name.is_full()) {
                for (priority, id) in name.held.fronts(awaited_only) {
                    consider(priority, id);
                }
            }
        }
        best.map(|(_, id)| id)
    }
}
