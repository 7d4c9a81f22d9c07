//! A routing whose picks can be foretold.

use std::sync::{Arc, Mutex};

use crate::{
    sched::{Routing, TaskMeta, WorkerLoad},
    task::{Slot, TaskId},
};

/// What a routing has picked and not heard of since.
pub(super) type Picks = Arc<Mutex<Vec<(TaskId, Slot)>>>;

/// The last of those that it is offered.
pub(super) struct Last(pub(super) Picks);

impl Routing for Last {
    fn pick(&mut self, task: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot> {
        assert!(workers.is_sorted_by_key(|worker| worker.slot));
        let slot = workers.last().unwrap().slot;
        self.0.lock().unwrap().push((task.id, slot));
        Some(slot)
    }

    fn settled(&mut self, task: &TaskMeta, slot: Slot) {
        let mut picks = self.0.lock().unwrap();
        let at = picks.iter().position(|pick| *pick == (task.id, slot));
        picks.swap_remove(at.expect("a pick, once"));
    }
}
