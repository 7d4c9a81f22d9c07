//! Which worker gets a task.
//!
//! Belongs here: what a routing is asked and told, and the two that there are. Does not belong here: which task is next.

use std::cell::Cell;

use crate::task::{Priority, Slot, TaskId};

/// What a routing knows of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMeta {
    /// [`Task::NAME`](crate::Task::NAME).
    pub name: &'static str,
    /// Which task it is.
    pub id: TaskId,
    /// Its class.
    pub priority: Priority,
    /// It is to run alone in its worker.
    pub exclusive: bool,
    /// How often it has started, and this time; counted from 1.
    pub attempt: u32,
    /// Its encoded input.
    pub bytes: usize,
}

/// A worker that can be sent the task in question now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerLoad {
    /// Where it is.
    pub slot: Slot,
    /// How many tasks it has.
    pub running: usize,
    /// How many it may have at once.
    pub capacity: usize,
}

impl WorkerLoad {
    /// For tests of a routing.
    #[must_use]
    pub const fn new(slot: Slot, running: usize, capacity: usize) -> Self {
        Self {
            slot,
            running,
            capacity,
        }
    }
}

impl TaskMeta {
    /// For tests of a routing: a first attempt of normal priority.
    #[must_use]
    pub const fn new(name: &'static str, id: TaskId) -> Self {
        Self {
            name,
            id,
            priority: Priority::Normal,
            exclusive: false,
            attempt: 1,
            bytes: 0,
        }
    }
}

/// Decides which worker gets a task. Set with [`PoolBuilder::routing`](crate::PoolBuilder::routing).
///
/// A routing is asked when the next task can be sent to one worker at least, so nothing is decided before it has to be. It is
/// not asked about tasks with a [`key`](crate::Submit::key), whose worker the pool chooses.
///
/// It is called while the pool is locked: it must be quick, and must not use a pool. One that panics, uses a pool, or
/// names a slot that it was not offered is replaced by [`LeastLoaded`] at once; the pool goes on, and says so once with
/// [`PoolEvent::RoutingReplaced`](crate::PoolEvent::RoutingReplaced).
///
/// # Examples
///
/// The lowest slots first, so that the others stay idle:
///
/// ```
/// use actix_multiprocess::{Routing, Slot, TaskMeta, WorkerLoad};
///
/// struct Packed;
///
/// impl Routing for Packed {
///     fn pick(&mut self, _: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot> {
///         workers.iter().map(|worker| worker.slot).min()
///     }
/// }
/// ```
pub trait Routing: Send + 'static {
    /// Chooses one of these workers, which are never none, in the order of their slots.
    ///
    /// `None` makes the task wait, and with it every task behind it, until something in the pool changes: a submit, a
    /// result, a worker that comes or goes.
    fn pick(&mut self, task: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot>;

    /// A task is not with the worker any more that was picked for it: it has ended, its worker was lost, or it was given
    /// back. Called once for each pick that named a worker, but for those whose workers outlive the pool.
    fn settled(&mut self, task: &TaskMeta, slot: Slot) {
        let _ = (task, slot);
    }
}

/// The worker with the fewest tasks; among equals they take turns. The default, which keeps tasks together that take no time
/// ([`PoolBuilder::routing`](crate::PoolBuilder::routing)).
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastLoaded;

impl Routing for LeastLoaded {
    fn pick(&mut self, _: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot> {
        let least = workers.iter().min_by_key(|worker| worker.running);
        least.map(|worker| worker.slot)
    }
}

/// One worker after the other, whatever they have, as long as there is room.
#[derive(Debug, Clone, Copy, Default)]
pub struct RoundRobin {
    last: Option<Slot>,
}

impl Routing for RoundRobin {
    fn pick(&mut self, _: &TaskMeta, workers: &[WorkerLoad]) -> Option<Slot> {
        let mut slots = workers.iter().map(|worker| worker.slot);
        let next = slots.find(|slot| Some(*slot) > self.last);
        self.last = next.or_else(|| workers.first().map(|worker| worker.slot));
        self.last
    }
}

thread_local! {
    static ROUTES: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a routing, and has a pool locked.
pub(crate) fn routes() -> bool {
    ROUTES.get()
}

/// Marks this thread while it is in a routing.
pub(super) struct Routes;

impl Routes {
    pub(super) fn enter() -> Self {
        ROUTES.set(true);
        Self
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        ROUTES.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_robin_goes_round_whoever_has_room() {
        let mut routing = RoundRobin::default();
        let task = TaskMeta::new("t", TaskId::new(1));
        let mut pick = |slots: &[u32]| {
            let workers = slots
                .iter()
                .map(|slot| WorkerLoad::new(Slot::new(*slot), 0, 1));
            let workers: Vec<WorkerLoad> = workers.collect();
            routing.pick(&task, &workers).map(Slot::index)
        };
        assert_eq!(pick(&[0, 1, 2]), Some(0));
        assert_eq!(pick(&[0, 1, 2]), Some(1));
        assert_eq!(pick(&[0, 1]), Some(0));
        assert_eq!(pick(&[2]), Some(2));
        assert_eq!(pick(&[1, 2]), Some(1));
        assert_eq!(pick(&[]), None);
    }
}
