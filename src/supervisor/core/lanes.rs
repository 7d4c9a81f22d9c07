//! What passes between the core and the session of one worker.
//!
//! Belongs here: waking a session, what it has to tell its worker, and what it asks about tickets.
//! Does not belong here: what the worker reports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    sched::{Adaptive, Dispatch, Seat, Ticket, Violation},
    supervisor::{
        PoolCore,
        core::{After, Lane, State},
    },
    task::{Slot, TaskId, keep},
    wire::{ControlToWorker, Payload},
};

/// What a session has to tell its worker, tasks excepted.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) control: Vec<ControlToWorker>,
    /// Tickets whose ladder begins, or goes further than it would.
    pub(crate) cancels: Vec<Ending>,
}

/// Why a task with a worker is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedFor {
    /// Nobody wants it any more.
    Cancelled,
    /// It is over a time limit.
    TimedOut,
}

/// A task with a worker that is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) ticket: Ticket,
    pub(crate) why: EndedFor,
    /// When it is over a limit, if it is not yet: nobody else remembers that once its caller has gone.
    pub(crate) over_at: Option<Instant>,
}

/// Wakes the session of a seat.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// A worker's seat as its session has it, from ready to its end.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) seat: Seat,
    signal: Arc<Signal>,
}

impl Attached {
    /// Makes sure that `waker` is woken when there is something to take. Returns whether there is already.
    pub(crate) fn watch(&self, waker: &Waker) -> bool {
        let old = keep(&mut self.signal.waker.lock(), waker);
        drop(old);
        self.signal.raised.swap(false, Ordering::AcqRel)
    }
}

impl Drop for Attached {
    /// A waker left here would keep its runtime, and that its descriptors, as long as anybody holds the pool.
    fn drop(&mut self) {
        let waker = self.signal.waker.lock().take();
        drop(waker);
    }
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

impl State {
    /// Assigns what can be, and wakes the sessions of those who got something: a session's waker is this crate's own and may
    /// be woken under the lock. To remember them and wake them behind it cost single submits 4 %, and gained nothing where
    /// sessions had two or four threads of their own on two CPUs.
    pub(super) fn dispatch(&mut self, awaited_only: bool) {
        let lanes = &self.lanes;
        self.ledger.assign(awaited_only, Instant::now, |seat| {
            if let Some(lane) = lanes.get(seat.index()) {
                lane.signal.raise();
            }
        });
    }

    /// Wakes the session of a seat.
    pub(super) fn raise(&self, seat: Seat) {
        if let Some(lane) = self.lanes.get(seat.index()) {
            lane.signal.raise();
        }
    }

    /// Has the session of a seat ask for a task back.
    pub(super) fn ask_back(&mut self, seat: Seat, ticket: Ticket) {
        if let Some(lane) = self.lanes.get_mut(seat.index()) {
            lane.control.push(ControlToWorker::Revoke { ticket });
            lane.signal.raise();
        }
    }

    /// Has the session of a seat ask its worker what it runs.
    pub(super) fn ask_what_runs(&mut self, seat: Seat) {
        let ping = ControlToWorker::Ping { nonce: 0 };
        if let Some(lane) = self.lanes.get_mut(seat.index())
            && !lane.control.contains(&ping)
        {
            lane.control.push(ping);
            lane.signal.raise();
        }
    }

    /// Has the session of a seat begin the ladder of a task.
    pub(super) fn begin_ladder(
        &mut self,
        seat: Seat,
        ticket: Ticket,
        why: EndedFor,
        over_at: Option<Instant>,
    ) {
        // One that has not started is none of its worker's then, however long that computes, and nobody ends with it for this.
        let revoke = self.ledger.may_be_given_back(seat, ticket);
        if let Some(lane) = self.lanes.get_mut(seat.index()) {
            if revoke {
                lane.control.push(ControlToWorker::Revoke { ticket });
            }
            lane.control.push(ControlToWorker::Cancel { ticket });
            lane.cancels.push(Ending {
                ticket,
                why,
                over_at,
            });
            lane.signal.raise();
        }
    }

    /// A task whose ladder has begun is over a time limit, too.
    pub(super) fn raise_ladder(&mut self, seat: Seat, ticket: Ticket) {
        if let Some(lane) = self.lanes.get_mut(seat.index()) {
            lane.cancels.push(Ending {
                ticket,
                why: EndedFor::TimedOut,
                over_at: None,
            });
            lane.signal.raise();
        }
    }
}

impl PoolCore {
    /// Takes what a session has to tell its worker. `write` queues a task's frame, and no more: the lock is held.
    pub(crate) fn take_outgoing(
        &self,
        seat: Seat,
        into: &mut Outgoing,
        write: impl FnMut(Dispatch<&Payload>),
    ) -> u64 {
        let mut state = self.lock();
        // From where the payload is: a clone of it may have to allocate.
        state.ledger.take_outbox(seat, Instant::now, write);
        if let Some(lane) = state.lanes.get_mut(seat.index()) {
            into.control.append(&mut lane.control);
            into.cancels.append(&mut lane.cancels);
        }
        state.ledger.work(seat)
    }

    /// A worker is ready for tasks, so many in all.
    pub(crate) fn up(&self, slot: Slot, quota: Option<u32>) -> Attached {
        let mut after = After::default();
        let attached = {
            let mut guard = self.lock();
            let state = &mut *guard;
            let most = self.config.concurrency;
            let adapts = self.config.knobs.concurrency.is_adaptive() && !slot.is_quarantine();
            let adaptive = adapts.then(|| Adaptive::new(most));
            let seat = if slot.is_quarantine() {
                state.ledger.up_quarantine(slot)
            } else {
                let credits = adaptive.as_ref().map_or(most, Adaptive::limit);
                state.ledger.up(slot, credits, quota)
            };
            if state.lanes.len() <= seat.index() {
                state.lanes.resize_with(seat.index() + 1, Lane::default);
            }
            let signal = Arc::new(Signal::default());
            if let Some(lane) = state.lanes.get_mut(seat.index()) {
                // Nothing of the worker that had this seat before is left in it.
                *lane = Lane {
                    signal: Arc::clone(&signal),
                    adaptive,
                    ..Lane::default()
                };
            }
            self.freed(state, &mut after);
            Attached { seat, signal }
        };
        self.finish(after);
        attached
    }

    /// A worker is not to be sent any more tasks for now.
    pub(crate) fn close_seat(&self, seat: Seat) {
        self.lock().ledger.close(seat);
    }

    /// A worker is not to be sent any more tasks. Those that waited for it go elsewhere.
    pub(crate) fn retire_seat(&self, seat: Seat) {
        let mut after = After::default();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.ledger.retire(seat);
            self.freed(state, &mut after);
        }
        self.finish(after);
    }

    /// A worker says how late its event loop was, which may make it get more tasks or fewer.
    pub(crate) fn lagged(&self, seat: Seat, lag: Duration) {
        let mut after = After::default();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            let has = state.ledger.in_use(seat);
            let lane = state.lanes.get_mut(seat.index());
            let limit = lane.and_then(|lane| lane.adaptive.as_mut()?.reported(lag, has));
            let Some(limit) = limit else { return };
            state.ledger.limit(seat, limit);
            self.freed(state, &mut after);
        }
        self.finish(after);
    }

    /// Whether a worker has been sent all the tasks that it may start.
    pub(crate) fn is_spent(&self, seat: Seat) -> bool {
        self.lock().ledger.is_spent(seat)
    }

    /// How many tasks a worker has.
    pub(crate) fn in_flight(&self, seat: Seat) -> usize {
        self.lock().ledger.in_flight(seat)
    }

    /// A worker takes tasks again after all.
    pub(crate) fn reopen_seat(&self, seat: Seat) {
        let mut after = After::default();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.ledger.reopen(seat);
            self.freed(state, &mut after);
        }
        self.finish(after);
    }

    /// Whether a result for this ticket is due.
    pub(crate) fn expects(&self, seat: Seat, ticket: Ticket) -> Result<(), Violation> {
        self.lock().ledger.expects(seat, ticket)
    }

    /// Whether a ticket is still with its worker, and whether all that is with it is being cancelled.
    pub(crate) fn ending(&self, seat: Seat, ticket: Ticket) -> Option<bool> {
        self.lock().ledger.ending(seat, ticket)
    }

    /// Which task a worker has under this ticket: its name and id.
    pub(crate) fn in_flight_as(
        &self,
        seat: Seat,
        ticket: Ticket,
    ) -> Option<(&'static str, TaskId)> {
        let (name, id) = self.lock().ledger.in_flight_as(seat, ticket)?;
        Some((self.config.table.name(name), id))
    }

    pub(crate) fn revocable(&self, seat: Seat) -> Vec<Ticket> {
        self.lock().ledger.revocable(seat)
    }
}
