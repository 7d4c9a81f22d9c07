//! Asking a routing, which is somebody else's code.
//!
//! Belongs here: containing it, and giving it up. Does not belong here: what it is asked about.
//! Invariants: it is told of each end of what it has picked once; it is not called again after it did what it must not.

use std::fmt;

use crate::{
    error::capture,
    sched::routing::{Routes, Routing, TaskMeta, WorkerLoad},
    task::Slot,
};

/// A routing that is not asked any more, and why.
pub(crate) struct Replaced {
    /// To be dropped where that may do anything.
    pub(crate) routing: Box<dyn Routing>,
    pub(crate) reason: String,
}

/// What a routing has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Picked {
    Worker(Slot),
    Wait,
    /// Nothing: it has just been given up.
    Replaced,
}

/// A routing of a user's, or none: the least loaded worker is found without asking.
#[derive(Default)]
pub(super) struct Router {
    routing: Option<Box<dyn Routing>>,
    replaced: Option<Replaced>,
}

impl Router {
    pub(super) fn new(routing: Option<Box<dyn Routing>>) -> Self {
        Self {
            routing,
            replaced: None,
        }
    }

    pub(super) fn is_custom(&self) -> bool {
        self.routing.is_some()
    }

    pub(super) fn take_replaced(&mut self) -> Option<Replaced> {
        self.replaced.take()
    }

    /// Asks for a worker; there is one at least.
    pub(super) fn pick(&mut self, task: &TaskMeta, workers: &[WorkerLoad]) -> Picked {
        let picked = self.call(|routing| routing.pick(task, workers));
        match picked {
            None => Picked::Replaced,
            Some(None) => Picked::Wait,
            Some(Some(slot)) if workers.iter().any(|worker| worker.slot == slot) => {
                Picked::Worker(slot)
            }
            Some(Some(slot)) => {
                self.give_up(format!("it named {slot}, which it was not offered"));
                Picked::Replaced
            }
        }
    }

    /// A task that it has picked a worker for is not there any more.
    pub(super) fn settled(&mut self, task: &TaskMeta, slot: Slot) {
        self.call(|routing| routing.settled(task, slot));
    }

    fn call<R>(&mut self, code: impl FnOnce(&mut dyn Routing) -> R) -> Option<R> {
        let routing = self.routing.as_deref_mut()?;
        let result = {
            let _routes = Routes::enter();
            capture::caught(|| code(routing))
        };
        match result {
            Ok(result) => Some(result),
            Err(panic) => {
                self.give_up(format!("it panicked: {panic}"));
                None
            }
        }
    }

    fn give_up(&mut self, reason: String) {
        if let Some(routing) = self.routing.take() {
            self.replaced = Some(Replaced { routing, reason });
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let routing = self.routing.take();
        let _ = capture::contained(|| drop(routing));
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("custom", &self.is_custom())
            .finish_non_exhaustive()
    }
}
