//! Asking the routing who is sent a task.
//!
//! Belongs here: what it is offered, and what its answer means. Does not belong here: containing it; tasks that it is not asked
//! about.

use crate::{
    sched::{
        ledger::{Divide, Ledger, Work, assign::Choice, place::Place},
        router::Picked,
        routing::{TaskMeta, WorkerLoad},
    },
    task::TaskId,
};

/// What asking a routing has led to.
pub(super) enum Asked {
    Chosen(Choice),
    Wait,
    /// There is none any more.
    Replaced,
}

impl<P: Work, R: Divide> Ledger<P, R> {
    /// Asks the routing.
    pub(super) fn ask(&mut self, id: TaskId, admits: impl Fn(&Place) -> bool) -> Asked {
        let places = self.places.iter().enumerate();
        let free = places.filter(|(_, place)| admits(place));
        self.offers.clear();
        self.offers.extend(free.map(|(index, place)| {
            let capacity = place.credits.limit() as usize;
            let load = WorkerLoad::new(place.slot, place.credits.used() as usize, capacity);
            (load, place.epoch, index)
        }));
        // While one worker takes the place of another both are there: the younger is the slot's.
        (self.offers).sort_unstable_by_key(|(load, epoch, _)| (load.slot, u64::MAX - epoch));
        (self.offers).dedup_by_key(|(load, ..)| load.slot);
        self.loads.clear();
        (self.loads).extend(self.offers.iter().map(|(load, ..)| *load));
        let Some(task) = self.tasks.get(id.get()).filter(|_| !self.loads.is_empty()) else {
            return Asked::Wait;
        };
        let name = self.names.get(usize::from(task.name));
        let meta = TaskMeta {
            name: name.map_or("", |name| name.name),
            id,
            priority: task.terms.priority,
            exclusive: task.terms.exclusive,
            attempt: task.spent.attempt(),
            bytes: task.bytes as usize,
        };
        match self.router.pick(&meta, &self.loads) {
            Picked::Wait => Asked::Wait,
            Picked::Replaced => Asked::Replaced,
            Picked::Worker(slot) => {
                let found = self.offers.iter().find(|(load, ..)| load.slot == slot);
                found.map_or(Asked::Wait, |(_, _, index)| {
                    Asked::Chosen((*index, Some(Box::new(meta))))
                })
            }
        }
    }
}
