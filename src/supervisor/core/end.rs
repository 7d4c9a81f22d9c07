//! What becomes of all tasks at once when there is to be nobody to run them.
//!
//! Belongs here: the ends of a pool, and of the one worker of a process. Does not belong here: when they come.
//! Invariant: afterwards nothing waits, and whatever is still with a worker is on its way out or has left.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    error::{Crash, CrashReport, LossCause, Rejected, Started, Vitals},
    supervisor::{
        PoolCore,
        core::{Admission, After, State},
        reply::Settled,
    },
    task::Slot,
};

/// Why the pool ends what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Stop, or a drain's end: what runs is cancelled.
    Asked,
    /// The `System` or the arbiter ended: what runs is lost.
    Gone,
}

impl PoolCore {
    /// No worker comes after this one: what waits is lost with it. Returns how much that was.
    pub(crate) fn lost_with(&self, crash: &Arc<Crash>) -> usize {
        let mut after = After::default();
        let waiting = {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.admission = Admission::Closed;
            let waiting = state.ledger.take_waiting();
            let count = waiting.len();
            for task in waiting {
                let report = CrashReport::new(Arc::clone(crash), task.started, 0);
                after.settle_lost(state, task.id, task.reply, Settled::WorkerLost(report));
            }
            self.freed(state, &mut after);
            count
        };
        self.finish(after);
        waiting
    }

    /// Settles what waits, and tells the workers to cancel what they have.
    pub(crate) fn cancel_all(&self) {
        let mut after = After::default();
        let running = {
            let mut guard = self.lock();
            let state = &mut *guard;
            state.ending = true;
            for task in state.ledger.take_waiting() {
                let settled = match task.started {
                    Started::No => Settled::rejected(Rejected::Closed),
                    _ => Settled::Cancelled { started: true },
                };
                after.settle_lost(state, task.id, task.reply, settled);
            }
            self.freed(state, &mut after);
            state.ledger.running()
        };
        self.finish(after);
        for id in running {
            self.cancel(id, false);
        }
    }

    /// Settles everything that is left, and takes no tasks before a worker is ready, which is tried again then.
    pub(crate) fn give_up(&self, until: Instant) {
        self.control.give_up(until);
        self.settle_all(End::Gone, |state| {
            self.admit_if_available(state);
            state.paused = false;
        });
    }

    /// Settles everything that is left.
    pub(crate) fn end(&self, end: End) {
        self.settle_all(end, |state| {
            state.admission = Admission::Closed;
            state.ending = true;
        });
    }

    fn settle_all(&self, end: End, admission: impl FnOnce(&mut State)) {
        let mut after = After::default();
        {
            let mut guard = self.lock();
            let state = &mut *guard;
            admission(state);
            let mut left = state.ledger.take_waiting();
            left.extend(state.ledger.take_flights());
            for task in left {
                let settled = match (task.started, end) {
                    (Started::No, _) => Settled::rejected(Rejected::Closed),
                    (_, End::Asked) => Settled::Cancelled { started: true },
                    (started, End::Gone) => Settled::WorkerLost(CrashReport::new(
                        Arc::new(Crash::pool_gone(task.slot.unwrap_or(Slot::new(0)))),
                        started,
                        0,
                    )),
                };
                after.settle_lost(state, task.id, task.reply, settled);
            }
            self.freed(state, &mut after);
        }
        self.finish(after);
    }
}

impl Crash {
    /// The end of a task's worker together with its pool.
    fn pool_gone(slot: Slot) -> Self {
        Self {
            slot,
            generation: 0,
            pid: None,
            code: None,
            signal: None,
            cause: LossCause::PoolGone,
            detail: None,
            uptime: Duration::ZERO,
            vitals: Vitals::default(),
            stderr_tail: String::new(),
        }
    }
}
