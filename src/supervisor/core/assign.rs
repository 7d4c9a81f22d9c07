//! Waiting tasks on their way to workers.
//!
//! Belongs here: when tasks are given to workers, and the gate that closes when results are over their limit.
//! Does not belong here: which worker, which the ledger decides.

use std::{collections::HashSet, task::Waker};

use crate::{
    error::capture,
    observe::PoolEvent,
    sched::Replaced,
    supervisor::{
        PoolCore,
        core::{Admission, After, State, in_the_fall_of_a_routing},
    },
    task::{Priority, TaskId},
};

impl State {
    /// A map waits for room for a task of this class.
    pub(super) fn wait_for_room(&mut self, priority: Priority, waker: &Waker) {
        let mut room = self.room.iter();
        if !room.any(|(other, old)| *other == priority && old.will_wake(waker)) {
            self.room.push((priority, waker.clone()));
        }
    }

    /// Every map that waits for room.
    pub(super) fn take_room(&mut self) -> Vec<Waker> {
        let room = std::mem::take(&mut self.room);
        room.into_iter().map(|(_, waker)| waker).collect()
    }
}

impl PoolCore {
    /// Gives waiting tasks to workers with credit, and wakes those; and whoever keeps the time, if some wait until a time.
    pub(super) fn assign(&self, state: &mut State) {
        if !state.paused {
            let awaited_only = self.results.is_over();
            state.dispatch(awaited_only);
        }
        state.set_alarm();
    }

    /// Results have crossed their limit: closes or opens the gate for what nobody awaits.
    pub(crate) fn regate(&self) {
        if in_the_fall_of_a_routing() {
            return;
        }
        let mut state = self.lock();
        if self.results.decide() {
            Self::expedite_awaited(&mut state);
        }
        self.assign(&mut state);
        let after = After {
            wake: state.take_room(),
            replaced: state.ledger.take_replaced(),
            ..After::default()
        };
        drop(state);
        self.finish(after);
    }

    /// Stops, or goes on, giving tasks to workers. A pool that ends goes on: it has to get rid of what it has.
    pub(crate) fn pause(&self, paused: bool) {
        let mut after = After::default();
        {
            let mut state = self.lock();
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
            let mut state = self.lock();
            state.ledger.expedite(id);
            self.assign(&mut state);
            let after = After {
                replaced: state.ledger.take_replaced(),
                ..After::default()
            };
            drop(state);
            self.finish(after);
        }
    }

    /// Says that a routing has been given up, and drops it where it may do as it likes.
    pub(super) fn say_replaced(&self, replaced: Replaced) {
        let Replaced { routing, reason } = replaced;
        let _ = capture::contained(|| drop(routing));
        self.control.emit(PoolEvent::RoutingReplaced { reason });
    }

    /// There may be room, credit, or nothing left. What follows from it outside this crate is left to `after`.
    pub(super) fn freed(&self, state: &mut State, after: &mut After) {
        self.assign(state);
        after.replaced = state.ledger.take_replaced().or(after.replaced.take());
        let limit = self.queue_limit();
        if state.full && state.ledger.quantities().waiting < limit {
            state.full = false;
        }
        if !state.room.is_empty() {
            let ledger = &state.ledger;
            let room = |(priority, _): &mut (Priority, Waker)| ledger.has_room(*priority, limit);
            let woken = state.room.extract_if(.., room);
            after.wake.extend(woken.map(|(_, waker)| waker));
        }
        state.conclude(after, |name| self.config.table.name(name));
        if state.ledger.is_empty() {
            self.idle.notify_waiters();
        }
    }
}
