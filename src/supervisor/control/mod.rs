//! What is known and decided about workers' lives, where a panic of an actor cannot lose it.
//!
//! Belongs here: slots' states, restart policy and rotation; what follows an end (`ends`), who waits for the start
//! (`starting`), whose turn it is to start (`turns`), subscribers (`events`), what workers inherit (`inheritance`).
//! Does not belong here: tasks.
//! Invariant: an actor that lost its own fields finds here all it needs to go on.

mod ends;
mod events;
mod inheritance;
mod quarantine;
mod starting;
mod turns;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use events::Subscriber;
use inheritance::Inheritance;
pub(crate) use inheritance::Looks;
use parking_lot::Mutex;
use quarantine::Quarantine;
use starting::Starting;
pub(crate) use turns::Turn;
use turns::Turns;

use crate::{
    observe::{PoolState, RetireReason, SlotState},
    sched::{RestartPolicy, RestartRules, Rotation},
    supervisor::slots::{LifeRecord, SlotRecord, slots},
    task::Slot,
};

/// What follows from a worker's being ready.
#[derive(Debug, Default)]
pub(crate) struct WorkerUp {
    /// It is the first since the pool began, or began anew.
    pub(crate) first: bool,
    /// The circuit has closed: it was open so long, and these slots need not wait any more.
    pub(crate) closed: Option<(Duration, Vec<Slot>)>,
    /// The life in the same slot that leaves for it.
    pub(crate) leaves: Option<(u32, RetireReason)>,
}

/// What follows from another number of slots.
#[derive(Debug, Default)]
pub(crate) struct Resized {
    /// Slots whose workers leave.
    pub(crate) dismissed: Vec<Slot>,
    /// Slots that start a worker now.
    pub(crate) start: Vec<Slot>,
    /// One that need not wait for the circuit any more.
    pub(crate) freed: Option<Slot>,
}

#[derive(Debug)]
struct Inner {
    phase: PoolState,
    policy: RestartPolicy,
    rotation: Rotation,
    slots: Vec<SlotRecord>,
    quarantine: Quarantine,
    /// How many of them are to have workers.
    size: usize,
    starting: Option<Starting>,
    opened_at: Option<Instant>,
    /// The pool has given up, and is tried again then: no worker has been ready since it did.
    given_up: Option<Instant>,
    /// When it may be known whether the worker that is tried closes the circuit.
    known_at: Option<Instant>,
    /// Where a worker is tried, or was last, while the circuit is open.
    trying: Option<Slot>,
    /// How long the last start of a worker took.
    start_took: Duration,
    killed: u32,
}

impl Inner {
    fn is_ending(&self) -> bool {
        matches!(
            self.phase,
            PoolState::Draining | PoolState::Stopping | PoolState::Stopped
        )
    }
}

/// The control plane's memory.
#[derive(Debug)]
pub(crate) struct Control {
    inner: Mutex<Inner>,
    inheritance: Inheritance,
    turns: Turns,
    subscribers: Mutex<Vec<Arc<Subscriber>>>,
}

impl Control {
    /// With workers that have so many CPUs together.
    pub(super) fn new(slots: usize, cpus: usize, rules: RestartRules) -> Self {
        Self {
            inner: Mutex::new(Inner {
                phase: PoolState::Starting,
                policy: RestartPolicy::new(rules, slots),
                rotation: Rotation::new(slots),
                slots: vec![SlotRecord::default(); slots],
                quarantine: Quarantine::default(),
                size: slots,
                starting: None,
                opened_at: None,
                given_up: None,
                known_at: None,
                trying: None,
                start_took: Duration::from_millis(100),
                killed: 0,
            }),
            inheritance: Inheritance::default(),
            turns: Turns::new(cpus),
            subscribers: Mutex::new(Vec::new()),
        }
    }

    /// One with some rules.
    #[cfg(test)]
    pub(super) fn any(slots: usize, cpus: usize) -> Self {
        let second = Duration::from_secs(1);
        let rules = RestartRules {
            budget: None,
            period: second,
            backoff_min: second,
            backoff_max: second,
        };
        Self::new(slots, cpus, rules)
    }

    pub(crate) fn phase(&self) -> PoolState {
        self.inner.lock().phase
    }

    /// Moves on to a later phase of the pool's end; never back.
    pub(crate) fn advance(&self, phase: PoolState) -> bool {
        let mut inner = self.inner.lock();
        let rank = |phase| match phase {
            PoolState::Draining => 1,
            PoolState::Stopping => 2,
            PoolState::Stopped => 3,
            _ => 0,
        };
        let forward = rank(phase) > rank(inner.phase);
        if forward {
            inner.phase = phase;
        }
        forward
    }

    /// Whether the pool has begun to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.inner.lock().is_ending()
    }

    /// Begins anew with as many slots as there are to be, unless the pool ends.
    pub(super) fn restart(&self) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        // Whatever it was: a worker on another thread may have been ready after the pool gave up.
        if !inner.is_ending() {
            inner.phase = PoolState::Starting;
        }
        inner.policy.restart();
        inner.rotation = Rotation::new(inner.slots.len());
        inner.rotation.resize(inner.size);
        inner.opened_at = None;
    }

    /// Whether no slot has a worker, or is about to have one.
    pub(super) fn is_empty(&self) -> bool {
        let inner = self.inner.lock();
        let mut records = inner.slots.iter().chain([&inner.quarantine.record]);
        records.all(|record| record.lives.is_empty())
    }

    /// How many slots are to have workers.
    pub(crate) fn size(&self) -> usize {
        self.inner.lock().size
    }

    /// Every slot that is to have a worker, or still has one.
    pub(crate) fn slots(&self) -> Vec<(Slot, SlotRecord)> {
        let inner = self.inner.lock();
        slots(0, inner.slots.len())
            .zip(inner.slots.iter().cloned())
            .filter(|(slot, record)| {
                (slot.index() as usize) < inner.size || !record.lives.is_empty()
            })
            .collect()
    }

    /// Changes what is known of a slot.
    pub(crate) fn slot<R>(
        &self,
        slot: Slot,
        change: impl FnOnce(&mut SlotRecord) -> R,
    ) -> Option<R> {
        let mut inner = self.inner.lock();
        if slot.is_quarantine() {
            return Some(change(&mut inner.quarantine.record));
        }
        inner.slots.get_mut(slot.index() as usize).map(change)
    }

    /// Changes what is known of a life.
    pub(crate) fn life<R>(
        &self,
        slot: Slot,
        life: u32,
        change: impl FnOnce(&mut LifeRecord) -> R,
    ) -> Option<R> {
        self.slot(slot, |record| record.life_mut(life).map(change))
            .flatten()
    }

    pub(crate) fn killed_one(&self) {
        self.inner.lock().killed += 1;
    }

    pub(crate) fn killed(&self) -> u32 {
        self.inner.lock().killed
    }

    /// A worker is ready.
    pub(crate) fn ready(&self, slot: Slot, life: u32, took: Duration) -> WorkerUp {
        let mut inner = self.inner.lock();
        inner.start_took = took;
        if slot.is_quarantine() {
            // It says nothing of the others.
            return WorkerUp::default();
        }
        let first = inner.phase == PoolState::Starting;
        if first {
            inner.phase = PoolState::Running;
            inner.given_up = None;
        }
        let parked = inner.policy.ready();
        if let Some(starting) = &mut inner.starting {
            starting.ready(slot);
        }
        let size = inner.size;
        starting::settle(&mut inner.starting, size);
        let leaves = inner.rotation.ready(slot, life).map(|old| {
            let record = inner.slots.get(slot.index() as usize);
            let reason = record.and_then(|record| record.life(old)?.reason);
            (old, reason.unwrap_or(RetireReason::Recycle))
        });
        let closed = parked.map(|parked| {
            if matches!(
                inner.phase,
                PoolState::CircuitOpen | PoolState::CircuitHalfOpen
            ) {
                inner.phase = PoolState::Running;
            }
            let opened_at = inner.opened_at.take();
            (opened_at.map_or(Duration::ZERO, |at| at.elapsed()), parked)
        });
        WorkerUp {
            first,
            closed,
            leaves,
        }
    }

    /// A worker is to be replaced.
    pub(crate) fn want(&self, slot: Slot, life: u32, reason: RetireReason) {
        let mut inner = self.inner.lock();
        let record = inner.slots.get_mut(slot.index() as usize);
        let Some(record) = record.and_then(|record| record.life_mut(life)) else {
            // It has ended meanwhile, or nobody takes its place.
            return;
        };
        // Whatever else it was to be replaced for: it is of no use any more.
        if reason == RetireReason::MaxTasks {
            record.reason = Some(reason);
        }
        record.reason.get_or_insert(reason);
        inner.rotation.want(slot, life);
    }

    /// The workers that take tasks are to be replaced.
    pub(crate) fn want_all(&self, reason: RetireReason) {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        for (slot, record) in slots(0, inner.size).zip(&mut inner.slots) {
            let mut lives = record.lives.iter_mut().rev();
            if let Some(life) = lives.find(|life| life.state == SlotState::Ready) {
                life.reason.get_or_insert(reason);
                inner.rotation.want(slot, life.life);
            }
        }
    }

    /// Whether a worker waits for its turn to be replaced.
    pub(crate) fn is_waiting(&self, slot: Slot, life: u32) -> bool {
        self.inner.lock().rotation.is_waiting(slot, life)
    }

    /// The next slot that starts a replacement now.
    pub(crate) fn grant(&self) -> Option<Slot> {
        self.inner.lock().rotation.grant()
    }

    /// There are to be so many slots.
    pub(crate) fn resize(&self, size: usize, now: Instant) -> Resized {
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let before = std::mem::replace(&mut inner.size, size);
        if inner.slots.len() < size {
            inner.slots.resize_with(size, SlotRecord::default);
        }
        inner.rotation.resize(size);
        let mut resized = Resized {
            freed: inner.policy.resize(size, now),
            ..Resized::default()
        };
        // Whoever was being tried may be none any more.
        let tried = slots(size, before).any(|slot| inner.trying == Some(slot));
        if tried && inner.phase == PoolState::CircuitHalfOpen {
            inner.phase = PoolState::CircuitOpen;
        }
        for slot in slots(size, before) {
            if let Some(record) = inner.slots.get(slot.index() as usize) {
                let lives: Vec<u32> = record.lives.iter().map(|life| life.life).collect();
                inner.rotation.dismiss(slot, &lives);
            }
            resized.dismissed.push(slot);
        }
        for slot in slots(before, size) {
            if inner.rotation.recall(slot) {
                resized.start.push(slot);
            }
        }
        if let Some(starting) = &mut inner.starting {
            starting.resize(size);
        }
        starting::settle(&mut inner.starting, size);
        resized
    }
}
