//! Who waits for a pool to start, and what is told to them.
//!
//! Belongs here: counting slots that are ready or have failed. Does not belong here: what a pool does then.

use std::collections::HashSet;

use tokio::sync::oneshot;

use crate::{
    error::{StartError, WorkerStartError},
    supervisor::control::Control,
    task::Slot,
};

/// What `start()` waits for.
#[derive(Debug)]
pub(super) struct Starting {
    waiter: Option<oneshot::Sender<Result<(), StartError>>>,
    /// All of them, not the first.
    all: bool,
    first_failure: Option<WorkerStartError>,
    failed: HashSet<Slot>,
    ready: HashSet<Slot>,
}

impl Starting {
    pub(super) fn ready(&mut self, slot: Slot) {
        self.ready.insert(slot);
    }

    /// There are to be so many slots.
    pub(super) fn resize(&mut self, slots: usize) {
        let kept = |slot: &Slot| (slot.index() as usize) < slots;
        self.failed.retain(kept);
        self.ready.retain(kept);
    }
}

/// Answers as soon as the answer is known.
pub(super) fn settle(starting: &mut Option<Starting>, slots: usize) {
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

impl Control {
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
        if slot.is_quarantine() {
            // Counted with its end.
            return;
        }
        let mut inner = self.inner.lock();
        if let Some(starting) = &mut inner.starting {
            starting.failed.insert(slot);
            starting.first_failure.get_or_insert(error);
        }
        let size = inner.size;
        settle(&mut inner.starting, size);
    }

    /// A slot has to wait until another's worker is ready: those that were tried have failed, and with them its own.
    pub(crate) fn start_held(&self, slot: Slot) {
        let mut inner = self.inner.lock();
        if let Some(starting) = &mut inner.starting {
            starting.failed.insert(slot);
        }
        let size = inner.size;
        settle(&mut inner.starting, size);
    }

    /// The pool gives up before it has started.
    pub(crate) fn start_escalated(&self) {
        let starting = self.inner.lock().starting.take();
        if let Some(Starting {
            waiter: Some(waiter),
            first_failure,
            ..
        }) = starting
        {
            let _ = waiter.send(Err(
                first_failure.map_or(StartError::Closed, StartError::Worker)
            ));
        }
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
}
