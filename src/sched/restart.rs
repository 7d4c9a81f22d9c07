//! When a slot starts its next worker, and when the pool gives up trying for a while.
//!
//! Belongs here: back-off, restart budget, circuit. Does not belong here: starting anything.
//!
//! ```text
//!            abnormal exit, budget left or a worker ready        budget spent and no worker ready
//!   Closed ─────────────────────────────────────────▶ Closed    Closed ──────────────────────▶ Open
//!      ▲                                                                                        │ one slot probes,
//!      └────────────────────────────── a worker is ready ──────────────────────────────────────┘ the others wait
//! ```
//! Invariant: while the circuit is open at most one slot is starting; a planned exit is never counted.
//! The words and the shape (intensity within a period) are those of Erlang/OTP's `supervisor`.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::task::Slot;

/// The knobs of [`RestartPolicy`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestartRules {
    /// Abnormal exits within `period` that are put up with; `None` is no limit.
    pub(crate) budget: Option<u32>,
    pub(crate) period: Duration,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
}

/// What to do with a slot whose worker has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Start the next worker after this delay.
    Restart(Duration),
    /// The circuit opened just now: this slot probes after the delay, the others wait.
    Open(Duration),
    /// The circuit is open and another slot probes.
    Wait,
}

#[derive(Debug, Clone, Copy, Default)]
struct SlotHistory {
    /// Abnormal exits since the last settled task.
    in_a_row: u32,
    ready: bool,
    parked: bool,
}

/// Restart budget and back-off of all slots of a pool.
#[derive(Debug)]
pub(crate) struct RestartPolicy {
    rules: RestartRules,
    slots: Vec<SlotHistory>,
    exits: VecDeque<Instant>,
    probing: Option<Slot>,
    retry_at: Option<Instant>,
}

impl RestartPolicy {
    pub(crate) fn new(rules: RestartRules, slots: usize) -> Self {
        Self {
            rules,
            slots: vec![SlotHistory::default(); slots],
            exits: VecDeque::new(),
            probing: None,
            retry_at: None,
        }
    }

    /// When the next attempt is due while the circuit is open.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Whether a slot whose delay is over may start now; if not, it waits until the circuit closes.
    pub(crate) fn may_start(&mut self, slot: Slot) -> bool {
        let may = self.probing.is_none_or(|prober| prober == slot);
        if !may {
            self.park(slot);
        }
        may
    }

    /// A worker is ready. Returns the slots to start now because the circuit closed, if it did.
    pub(crate) fn ready(&mut self, slot: Slot) -> Option<Vec<Slot>> {
        if let Some(history) = self.slots.get_mut(slot.index() as usize) {
            history.ready = true;
        }
        self.probing.take()?;
        self.retry_at = None;
        // What spent the budget has healed: counting the old exits on would open the circuit again at the next one.
        self.exits.clear();
        let mut parked = Vec::new();
        for (index, history) in (0..).zip(self.slots.iter_mut()) {
            if std::mem::take(&mut history.parked) {
                parked.push(Slot::new(index));
            }
        }
        Some(parked)
    }

    /// A task of this slot settled by its worker: the slot is healthy.
    pub(crate) fn settled(&mut self, slot: Slot) {
        if let Some(history) = self.slots.get_mut(slot.index() as usize) {
            history.in_a_row = 0;
        }
    }

    /// A worker ended because somebody asked it to, or for a task's sake: that counts for nothing.
    ///
    /// Not for the circuit's probe, which nothing but the pool's end ends on purpose.
    pub(crate) fn ended(&mut self, slot: Slot) {
        if let Some(history) = self.slots.get_mut(slot.index() as usize) {
            history.ready = false;
        }
    }

    /// A worker ended without having been asked to.
    pub(crate) fn exited(&mut self, slot: Slot, now: Instant) -> Decision {
        let delay = {
            let Some(history) = self.slots.get_mut(slot.index() as usize) else {
                return Decision::Wait;
            };
            history.ready = false;
            history.in_a_row = history.in_a_row.saturating_add(1);
            self.rules.delay(history.in_a_row)
        };
        self.exits.push_back(now);
        while let Some(&first) = self.exits.front() {
            if now.saturating_duration_since(first) > self.rules.period {
                self.exits.pop_front();
            } else {
                break;
            }
        }
        let spent = self
            .rules
            .budget
            .is_some_and(|budget| self.exits.len() > budget as usize);
        // Only the length matters from here on, so the memory of a crash storm is bounded too.
        if let Some(budget) = self.rules.budget {
            while self.exits.len() > budget as usize + 1 {
                self.exits.pop_front();
            }
        } else {
            self.exits.clear();
        }
        match self.probing {
            Some(prober) if prober == slot => {
                let delay = delay.max(self.rules.backoff_min);
                self.retry_at = Some(now + delay);
                Decision::Restart(delay)
            }
            Some(_) => {
                self.park(slot);
                Decision::Wait
            }
            None if spent && !self.slots.iter().any(|slot| slot.ready) => {
                let delay = delay.max(self.rules.backoff_min);
                self.probing = Some(slot);
                self.retry_at = Some(now + delay);
                Decision::Open(delay)
            }
            None => Decision::Restart(delay),
        }
    }

    /// How many exits are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.exits.len()
    }

    /// Takes note that a slot waits for the circuit to close.
    fn park(&mut self, slot: Slot) {
        if let Some(history) = self.slots.get_mut(slot.index() as usize) {
            history.parked = true;
        }
    }
}

impl RestartRules {
    /// At once after the first exit, then doubling from the minimum to the maximum.
    fn delay(&self, in_a_row: u32) -> Duration {
        match in_a_row.checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => 2_u32
                .checked_pow(doublings)
                .and_then(|factor| self.backoff_min.checked_mul(factor))
                .map_or(self.backoff_max, |delay| delay.min(self.backoff_max)),
        }
    }
}
