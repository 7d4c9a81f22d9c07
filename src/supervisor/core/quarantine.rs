//! Tasks that may have killed a worker.
//!
//! Belongs here: the worker for them, and what is said when they have ended. Does not belong here: which tasks these are.

use crate::{
    error::{CrashReport, Started},
    observe::{PoolEvent, Suspect},
    sched::Seat,
    supervisor::{
        PoolCore,
        core::{After, State},
    },
    task::TaskId,
};

impl State {
    /// Says what has been found out, and lets the worker for suspects know that there are none left.
    pub(super) fn conclude(&mut self, after: &mut After, name: impl Fn(u16) -> &'static str) {
        let named = |suspects: Vec<(TaskId, u16)>| {
            let named = |(id, index): (TaskId, u16)| Suspect::new(name(index), id);
            suspects.into_iter().map(named).collect()
        };
        while let Some(inquest) = self.ledger.take_inquest() {
            if let Some(crash) = self.inquests.remove(&inquest.number) {
                let suspects = u32::try_from(inquest.suspects.len()).unwrap_or(u32::MAX);
                after.events.push(PoolEvent::Inquest {
                    report: CrashReport::new(crash, Started::Unknown, suspects),
                    suspects: named(inquest.suspects),
                    poisoned: named(inquest.poisoned),
                    runs: inquest.runs,
                });
            }
        }
        if let Some(seat) = self.ledger.idle_quarantine() {
            self.raise(seat);
        }
    }
}

impl PoolCore {
    /// Whether tasks wait for a worker in quarantine.
    pub(crate) fn wants_quarantine(&self) -> bool {
        self.lock().ledger.wants_quarantine()
    }

    /// Takes no more tasks for a worker in quarantine that has nothing to do. Returns whether it is so.
    pub(crate) fn retire_idle_quarantine(&self, seat: Seat) -> bool {
        let mut state = self.lock();
        let idle = state.ledger.idle_quarantine() == Some(seat);
        if idle {
            state.ledger.retire(seat);
        }
        idle
    }
}
