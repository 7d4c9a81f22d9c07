//! What is known and decided about workers' lives, where a panic of an actor cannot lose it.
//!
//! Belongs here: slots' states, restart policy, subscribers, who waits for the start. Does not belong here: tasks.
//! Invariant: an actor that lost its own fields finds here all it needs to go on.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use actix::Recipient;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    error::{StartError, WorkerStartError, capture},
    observe::{ExitStatus, PoolEvent, PoolState, SlotState, log},
    sched::{Decision, RestartPolicy, RestartRules},
    task::Slot,
};

/// How many descriptors that workers inherit are warned of.
const MAX_DESCRIPTORS: usize = 1024;

/// One slot as the host sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlotRecord {
    pub(crate) state: SlotState,
    pub(crate) generation: u32,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u64,
    /// How the last worker ended, while there is none after it.
    pub(crate) exit: Option<ExitStatus>,
    /// When the worker before this one was lost.
    pub(crate) lost_at: Option<Instant>,
}

/// What `start()` waits for.
#[derive(Debug)]
struct Starting {
    waiter: Option<oneshot::Sender<Result<(), StartError>>>,
    /// All of them, not the first.
    all: bool,
    first_failure: Option<WorkerStartError>,
    failed: HashSet<Slot>,
    ready: HashSet<Slot>,
}

#[derive(Debug)]
struct Inner {
    phase: PoolState,
    policy: RestartPolicy,
    slots: Vec<SlotRecord>,
    starting: Option<Starting>,
    opened_at: Option<Instant>,
    killed: u32,
    inherited: HashSet<String>,
}

/// The control plane's memory.
#[derive(Debug)]
pub(crate) struct Control {
    inner: Mutex<Inner>,
    subscribers: Mutex<Vec<Recipient<PoolEvent>>>,
}

impl Control {
    pub(super) fn new(slots: usize, rules: RestartRules) -> Self {
        Self {
            inner: Mutex::new(Inner {
                phase: PoolState::Starting,
                policy: RestartPolicy::new(rules, slots),
                slots: vec![SlotRecord::default(); slots],
                starting: None,
                opened_at: None,
                killed: 0,
                inherited: HashSet::new(),
            }),
            subscribers: Mutex::new(Vec::new()),
        }
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
        matches!(
            self.phase(),
            PoolState::Draining | PoolState::Stopping | PoolState::Stopped
        )
    }

    pub(crate) fn slots(&self) -> Vec<SlotRecord> {
        self.inner.lock().slots.clone()
    }

    /// Changes what is known of a slot.
    pub(crate) fn slot<R>(
        &self,
        slot: Slot,
        change: impl FnOnce(&mut SlotRecord) -> R,
    ) -> Option<R> {
        let mut inner = self.inner.lock();
        inner.slots.get_mut(slot.index() as usize).map(change)
    }

    pub(crate) fn killed_one(&self) {
        self.inner.lock().killed += 1;
    }

    pub(crate) fn killed(&self) -> u32 {
        self.inner.lock().killed
    }

    /// Whether this descriptor of the host's has not been reported yet.
    pub(crate) fn first_sight(&self, inherited: &str) -> bool {
        let mut inner = self.inner.lock();
        // More are made up by workers that are started again and again.
        inner.inherited.len() < MAX_DESCRIPTORS && inner.inherited.insert(inherited.to_owned())
    }

    /// A worker is ready. Returns the slots to start because the circuit closed, and how long it was open.
    pub(crate) fn ready(&self, slot: Slot) -> Option<(Vec<Slot>, Duration)> {
        let mut inner = self.inner.lock();
        if matches!(inner.phase, PoolState::Starting) {
            inner.phase = PoolState::Running;
        }
        let closed = inner.policy.ready(slot);
        if let Some(starting) = &mut inner.starting {
            starting.ready.insert(slot);
        }
        let slots = inner.slots.len();
        Self::settle_start(&mut inner.starting, slots);
        let parked = closed?;
        if inner.phase == PoolState::CircuitOpen {
            inner.phase = PoolState::Running;
        }
        let open_for = inner
            .opened_at
            .take()
            .map_or(Duration::ZERO, |at| at.elapsed());
        Some((parked, open_for))
    }

    /// A slot's task was ended by its worker.
    pub(crate) fn healthy(&self, slot: Slot) {
        self.inner.lock().policy.settled(slot);
    }

    /// A ready worker ended because it was asked to, or for a task's sake.
    pub(crate) fn ended(&self, slot: Slot) {
        self.inner.lock().policy.ended(slot);
    }

    /// A worker ended without having been asked to.
    pub(crate) fn exited(&self, slot: Slot, now: Instant) -> Decision {
        let mut inner = self.inner.lock();
        let decision = inner.policy.exited(slot, now);
        if let Decision::Open(_) = decision {
            inner.opened_at = Some(now);
            if matches!(inner.phase, PoolState::Starting | PoolState::Running) {
                inner.phase = PoolState::CircuitOpen;
            }
        }
        decision
    }

    /// Whether a slot may start a worker now; if not, it waits until the circuit closes.
    pub(crate) fn may_start(&self, slot: Slot) -> bool {
        self.inner.lock().policy.may_start(slot)
    }

    /// When the next attempt is due while the circuit is open.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.inner.lock().policy.retry_at()
    }

    /// `waiter` is told when the pool has started, or cannot.
    pub(crate) fn await_start(&self, all: bool, waiter: oneshot::Sender<Result<(), StartError>>) {
        self.inner.lock().starting = Some(Starting {
            waiter: Some(waiter),
            all,
            first_failure: None,
            failed: HashSet::new(),
            ready: HashSet::new(),
        });
    }

    /// A slot's attempt to start a worker failed.
    pub(crate) fn start_failed(&self, slot: Slot, error: WorkerStartError) {
        let mut inner = self.inner.lock();
        if let Some(starting) = &mut inner.starting {
            starting.failed.insert(slot);
            starting.first_failure.get_or_insert(error);
        }
        let slots = inner.slots.len();
        Self::settle_start(&mut inner.starting, slots);
    }

    fn settle_start(starting: &mut Option<Starting>, slots: usize) {
        let Some(state) = starting else { return };
        let needed = if state.all { slots } else { 1 };
        let verdict = if state.ready.len() >= needed {
            Ok(())
        } else if state.ready.is_empty() && state.failed.len() >= slots {
            match state.first_failure.take() {
                Some(error) => Err(StartError::Worker(error)),
                None => return,
            }
        } else {
            return;
        };
        if let Some(waiter) = state.waiter.take() {
            // A caller that has dropped `start()` drops the pool, too.
            let _ = waiter.send(verdict);
        }
        *starting = None;
    }

    /// The pool ends before it has started.
    pub(crate) fn start_closed(&self) {
        if let Some(waiter) = self
            .inner
            .lock()
            .starting
            .take()
            .and_then(|starting| starting.waiter)
        {
            let _ = waiter.send(Err(StartError::Closed));
        }
    }

    pub(crate) fn subscribe(&self, subscriber: Recipient<PoolEvent>) {
        self.subscribers.lock().push(subscriber);
    }

    /// Tells everybody. Neither a log subscriber that panics nor a dead actor harms the pool.
    pub(crate) fn emit(&self, event: PoolEvent) {
        log(|| event.trace());
        let subscribers = {
            let mut subscribers = self.subscribers.lock();
            subscribers.retain(Recipient::connected);
            subscribers.clone()
        };
        for subscriber in subscribers {
            let event = event.clone();
            let _ = capture::contained(|| subscriber.do_send(event));
        }
    }
}
