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
    /// Nothing: the circuit is open and another slot probes, or none is to follow.
    Wait,
}

#[derive(Debug, Clone, Copy, Default)]
struct SlotHistory {
    /// Abnormal exits since the last settled task.
    in_a_row: u32,
    parked: bool,
    /// It has started a worker.
    tried: bool,
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
        } else if let Some(history) = self.slots.get_mut(slot.index() as usize) {
            history.tried = true;
        }
        may
    }

    /// Begins anew with as many slots. What is known of those that cannot start stays: they are not to be started faster
    /// for it.
    pub(crate) fn restart(&mut self) {
        self.exits.clear();
        self.probing = None;
        self.retry_at = None;
        for history in &mut self.slots {
            history.parked = false;
        }
    }

    /// How long a slot waits before it starts the first worker of a pool, or of one that begins anew. One that has yet to start any
    /// may expect what the best of the others can.
    pub(crate) fn first_delay(&self, slot: Slot) -> Duration {
        let known = |history: &SlotHistory| match history.in_a_row {
            0 => Duration::ZERO,
            // To begin anew takes less patience than to go on, so never at once.
            in_a_row => self.rules.delay(in_a_row.saturating_add(1)),
        };
        let own = self.slots.get(slot.index() as usize);
        if let Some(history) = own.filter(|history| history.tried) {
            return known(history);
        }
        let tried = self.slots.iter().filter(|history| history.tried);
        tried.map(known).min().unwrap_or_default()
    }

    /// Whether the circuit is open and this slot is the one that tries to close it.
    pub(crate) fn probes(&self, slot: Slot) -> bool {
        self.probing == Some(slot)
    }

    /// Whether a slot waits for the circuit to close.
    pub(crate) fn is_parked(&self, slot: Slot) -> bool {
        let history = self.slots.get(slot.index() as usize);
        history.is_some_and(|history| history.parked)
    }

    /// A worker is ready. Returns the slots that need not wait any more because the circuit closed, if it did.
    pub(crate) fn ready(&mut self) -> Option<Vec<Slot>> {
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

    /// A task was settled by the youngest worker of this slot: the slot is healthy.
    pub(crate) fn settled(&mut self, slot: Slot) {
        if let Some(history) = self.slots.get_mut(slot.index() as usize) {
            history.in_a_row = 0;
        }
    }

    /// A worker that nothing has to be started for ended without having been asked to, because it leaves or is being
    /// replaced. `followed` says that its slot has another, or is about to; `ready` that the pool has one that is.
    ///
    /// `Restart` and `Open` mean that the one that follows, if it waits, begins now.
    pub(crate) fn left(
        &mut self,
        slot: Slot,
        followed: bool,
        ready: bool,
        now: Instant,
    ) -> Decision {
        let spent = self.count(now);
        if !followed || self.probing.is_some() {
            return Decision::Wait;
        }
        if spent && !ready {
            return self.open(slot, self.rules.backoff_min, now);
        }
        Decision::Restart(Duration::ZERO)
    }

    /// There are to be so many slots. Returns one that need not wait any more, because the circuit is open and the slot that
    /// probed is none any more.
    pub(crate) fn resize(&mut self, slots: usize, now: Instant) -> Option<Slot> {
        self.slots.resize(slots, SlotHistory::default());
        self.probing
            .filter(|prober| prober.index() as usize >= slots)?;
        // Whoever is not parked is on the way to find out that it would have to wait.
        let parked = self.slots.iter().position(|history| history.parked);
        let next = Slot::new(u32::try_from(parked.unwrap_or(0)).unwrap_or(0));
        self.probing = Some(next);
        let history = self.slots.get_mut(next.index() as usize)?;
        let next = std::mem::take(&mut history.parked).then_some(next)?;
        self.retry_at = Some(now);
        Some(next)
    }

    /// A worker ended without having been asked to. `ready` says whether the pool has one that is.
    pub(crate) fn exited(&mut self, slot: Slot, ready: bool, now: Instant) -> Decision {
        let delay = {
            let Some(history) = self.slots.get_mut(slot.index() as usize) else {
                return Decision::Wait;
            };
            history.in_a_row = history.in_a_row.saturating_add(1);
            self.rules.delay(history.in_a_row)
        };
        let spent = self.count(now);
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
            None if spent && !ready => self.open(slot, delay.max(self.rules.backoff_min), now),
            None => Decision::Restart(delay),
        }
    }

    fn open(&mut self, slot: Slot, delay: Duration, now: Instant) -> Decision {
        self.probing = Some(slot);
        self.retry_at = Some(now + delay);
        Decision::Open(delay)
    }

    /// Counts an abnormal exit. Returns whether the budget is spent.
    fn count(&mut self, now: Instant) -> bool {
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
        spent
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
