//! What passes between the core and the session of one worker.
//!
//! Belongs here: waking a session, what it has to tell its worker, and what it asks about tickets.
//! Does not belong here: what the worker reports.

use std::{sync::atomic::Ordering, task::Waker};

use crate::{
    sched::{Dispatch, Ticket, Violation},
    supervisor::{
        PoolCore,
        core::{After, Signal},
    },
    task::{Slot, keep},
    wire::{ControlToWorker, Payload},
};

/// What a session has to tell its worker, tasks excepted.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) control: Vec<ControlToWorker>,
    /// Tickets whose ladder begins.
    pub(crate) cancels: Vec<Ticket>,
}

impl Signal {
    fn raise(&self) {
        if !self.raised.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock()
        {
            waker.wake_by_ref();
        }
    }
}

impl PoolCore {
    /// Wakes the session of a slot, whose waker is this crate's own and may be woken under the lock.
    pub(super) fn raise(&self, slot: Slot) {
        if let Some(signal) = self.signals.get(slot.index() as usize) {
            signal.raise();
        }
    }

    /// Makes sure that `waker` is woken when there is something to take. Returns whether there is already.
    pub(crate) fn watch(&self, slot: Slot, waker: &Waker) -> bool {
        let Some(signal) = self.signals.get(slot.index() as usize) else {
            return false;
        };
        let old = keep(&mut signal.waker.lock(), waker);
        drop(old);
        signal.raised.swap(false, Ordering::AcqRel)
    }

    /// The slot's session has ended. A waker left here would keep its runtime, and that its descriptors, as long as
    /// anybody holds the pool.
    pub(crate) fn unwatch(&self, slot: Slot) {
        if let Some(signal) = self.signals.get(slot.index() as usize) {
            let waker = signal.waker.lock().take();
            drop(waker);
        }
    }

    /// Takes what a session has to tell its worker. `write` queues a task's frame, and no more: the lock is held.
    pub(crate) fn take_outgoing(
        &self,
        slot: Slot,
        into: &mut Outgoing,
        write: impl FnMut(Dispatch<&Payload>),
    ) {
        let mut state = self.state.lock();
        // From where the payload is: a clone of it may have to allocate.
        state.ledger.take_outbox(slot, write);
        if let Some(lane) = state.lanes.get_mut(slot.index() as usize) {
            into.control.append(&mut lane.control);
            into.cancels.append(&mut lane.cancels);
        }
    }

    /// A worker is ready for tasks.
    pub(crate) fn up(&self, slot: Slot) {
        let mut after = After::default();
        {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            if let Some(lane) = state.lanes.get_mut(slot.index() as usize) {
                lane.control.clear();
                lane.cancels.clear();
            }
            state.ledger.up(slot, self.config.concurrency);
            self.freed(state, &mut after);
        }
        self.finish(after);
    }

    /// A worker is not to be sent any more tasks.
    pub(crate) fn close_slot(&self, slot: Slot) {
        self.state.lock().ledger.close(slot);
    }

    /// A worker takes tasks again after all.
    pub(crate) fn reopen_slot(&self, slot: Slot) {
        let mut after = After::default();
        {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            state.ledger.reopen(slot);
            self.freed(state, &mut after);
        }
        self.finish(after);
    }

    /// Whether a result for this ticket is due.
    pub(crate) fn expects(&self, slot: Slot, ticket: Ticket) -> Result<(), Violation> {
        self.state.lock().ledger.expects(slot, ticket)
    }

    /// Whether a ticket is still with its worker, and whether all that is with it is being cancelled.
    pub(crate) fn ending(&self, slot: Slot, ticket: Ticket) -> Option<bool> {
        self.state.lock().ledger.ending(slot, ticket)
    }

    pub(crate) fn revocable(&self, slot: Slot) -> Vec<Ticket> {
        self.state.lock().ledger.revocable(slot)
    }
}
