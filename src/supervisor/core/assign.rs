//! Waiting tasks on their way to workers.
//!
//! Belongs here: when tasks are given to workers, and the gate that closes when results are over their limit.
//! Does not belong here: which worker, which the ledger decides.

use std::collections::HashSet;

use crate::{
    observe::PoolEvent,
    supervisor::{
        PoolCore,
        core::{Admission, After, State},
    },
    task::TaskId,
};

impl PoolCore {
    /// Gives waiting tasks to workers with credit, and wakes those.
    pub(super) fn assign(&self, state: &mut State) {
        if state.paused {
            return;
        }
        let awaited_only = self.results.is_over();
        state.dispatch(awaited_only);
    }

    /// Results have crossed their limit: closes or opens the gate for what nobody awaits.
    pub(crate) fn regate(&self) {
        let mut state = self.state.lock();
        if self.results.decide() {
            Self::expedite_awaited(&mut state);
        }
        self.assign(&mut state);
        let after = After {
            wake: std::mem::take(&mut state.room),
            ..After::default()
        };
        drop(state);
        self.finish(after);
    }

    /// Stops, or goes on, giving tasks to workers. A pool that ends goes on: it has to get rid of what it has.
    pub(crate) fn pause(&self, paused: bool) {
        let mut after = After::default();
        {
            let mut state = self.state.lock();
            let paused = paused && state.admission != Admission::Closed;
            if state.paused == paused {
                return;
            }
            state.paused = paused;
            self.freed(&mut state, &mut after);
        }
        self.finish(after);
        self.control.emit(if paused {
            PoolEvent::Paused
        } else {
            PoolEvent::Resumed
        });
    }

    /// Tasks are back in the queue. Whoever awaits one has said so before it was sent, and does not say so again.
    pub(super) fn requeued(&self, state: &mut State) {
        if self.results.is_over() {
            Self::expedite_awaited(state);
        }
    }

    fn expedite_awaited(state: &mut State) {
        // A map that takes results as they come waits for any one of its tasks, not for all of them.
        let mut maps = HashSet::new();
        state.ledger.expedite_where(|reply| {
            reply.is_awaited() && reply.map().is_none_or(|map| maps.insert(map))
        });
    }

    /// Somebody awaits this task from now on.
    pub(crate) fn expedite(&self, id: TaskId) {
        if self.results.is_over() {
            let mut state = self.state.lock();
            state.ledger.expedite(id);
            self.assign(&mut state);
        }
    }

    /// There may be room, credit, or nothing left. What follows from it outside this crate is left to `after`.
    pub(super) fn freed(&self, state: &mut State, after: &mut After) {
        self.assign(state);
        if state.ledger.quantities().waiting < self.queue_limit() {
            state.full = false;
            after.wake.append(&mut state.room);
        }
        if state.ledger.is_empty() {
            self.idle.notify_waiters();
        }
    }
}
