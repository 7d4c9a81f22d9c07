//! What follows when a worker has ended.
//!
//! Belongs here: whether, when and for whom another is started. Does not belong here: starting it.

use std::time::{Duration, Instant};

use crate::{
    observe::PoolState,
    sched::Decision,
    supervisor::{
        control::{Control, Inner},
        slots::SlotRecord,
    },
    task::Slot,
};

impl Inner {
    /// Whether any worker takes tasks, and is to go on doing so.
    fn any_ready(&self) -> bool {
        self.slots.iter().take(self.size).any(SlotRecord::is_ready)
    }

    fn opened(&mut self, now: Instant) {
        self.opened_at = Some(now);
        if matches!(self.phase, PoolState::Starting | PoolState::Running) {
            self.phase = PoolState::CircuitOpen;
        }
    }
}

impl Control {
    /// A task was ended by its worker. What one that is to be replaced can do says nothing of the one that replaces it.
    pub(crate) fn healthy(&self, slot: Slot, life: u32) {
        if slot.is_quarantine() {
            return self.quarantine_came_to(true);
        }
        let mut inner = self.inner.lock();
        let record = inner.slots.get(slot.index() as usize);
        let youngest = record.and_then(|record| record.lives.last());
        if youngest.is_some_and(|youngest| youngest.life == life) {
            inner.policy.settled(slot);
        }
    }

    /// A life has ended. Returns whether its slot starts another now.
    pub(crate) fn ended(&self, slot: Slot, life: u32) -> bool {
        let mut inner = self.inner.lock();
        let wanted = (slot.index() as usize) < inner.size;
        if let Some(record) = inner.slots.get_mut(slot.index() as usize) {
            record.end(life);
        }
        inner.rotation.ended(slot, life) && wanted
    }

    /// A worker that needs no other in its place ended without having been asked to.
    pub(crate) fn left(&self, slot: Slot, now: Instant) -> (Decision, Option<Duration>) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let record = inner.slots.get(slot.index() as usize);
        let mut lives = record.into_iter().flat_map(|record| &record.lives);
        let followed = (slot.index() as usize) < inner.size
            && lives.any(|record| inner.rotation.stays(slot, record.life));
        let ready = inner.any_ready();
        let decision = inner.policy.left(slot, followed, ready, now);
        let opened = match decision {
            Decision::Open(delay) => {
                inner.opened(now);
                Some(delay)
            }
            _ => None,
        };
        (decision, opened)
    }

    /// A worker ended without having been asked to.
    ///
    /// Also returns after how long the next is tried, if the circuit has opened just now, or again.
    pub(crate) fn exited(&self, slot: Slot, now: Instant) -> (Decision, Option<Duration>) {
        let mut inner = self.inner.lock();
        let ready = inner.any_ready();
        let tried = inner.phase == PoolState::CircuitHalfOpen && inner.policy.probes(slot);
        let decision = inner.policy.exited(slot, ready, now);
        let opened = match decision {
            Decision::Open(delay) => {
                inner.opened(now);
                Some(delay)
            }
            Decision::Restart(delay) if tried => {
                inner.phase = PoolState::CircuitOpen;
                Some(delay)
            }
            _ => None,
        };
        (decision, opened)
    }

    /// A slot starts a worker. Returns whether the circuit is open and this is how it may close.
    pub(crate) fn tries(&self, slot: Slot, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        let tries = inner.phase == PoolState::CircuitOpen && inner.policy.probes(slot);
        if tries {
            inner.phase = PoolState::CircuitHalfOpen;
            inner.trying = Some(slot);
            // Nobody need ask before it can be known.
            inner.known_at = Some(now + inner.start_took);
        }
        tries
    }

    /// Whether a slot that need not wait for the circuit is to start a worker: it has none that stays.
    pub(crate) fn lacks(&self, slot: Slot) -> bool {
        let inner = self.inner.lock();
        let record = inner.slots.get(slot.index() as usize);
        record.is_some_and(|record| {
            let lives = record.lives.iter().map(|record| record.life);
            !inner.policy.is_parked(slot) && inner.rotation.lacks(slot, lives)
        })
    }

    /// How long a slot waits before its first worker.
    pub(crate) fn first_delay(&self, slot: Slot) -> Duration {
        self.inner.lock().policy.first_delay(slot)
    }

    /// Whether a slot may start a worker now; if not, it waits until the circuit closes.
    pub(crate) fn may_start(&self, slot: Slot) -> bool {
        // Beside an open circuit, suspects that are started there fail alone.
        slot.is_quarantine() || self.inner.lock().policy.may_start(slot)
    }

    /// Takes no tasks before a worker is ready, which is tried again then.
    pub(crate) fn give_up(&self, until: Instant) {
        self.inner.lock().given_up = Some(until);
    }

    /// When whoever submits may try again, while there is nobody to run a task and may not be for long.
    pub(crate) fn unavailable(&self) -> Option<Instant> {
        let inner = self.inner.lock();
        let circuit = match inner.phase {
            PoolState::CircuitHalfOpen => inner.known_at,
            _ => inner.policy.retry_at(),
        };
        inner.given_up.or(circuit)
    }
}
