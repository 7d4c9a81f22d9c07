//! Input on its way in and results on their way out.
//!
//! Belongs here: pulling, submitting, and taking what has settled. Does not belong here: what is made of the results.
//! Invariant: pulled and not yet handed out are never more than the window; dropping a map cancels what it has pulled.

use std::{
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{
    pool::{
        Submit,
        respond::{TaskResult, typed},
    },
    supervisor::{
        PoolCore, SubmitTask,
        reply::{Mapped, Reply, Taken},
    },
    task::{IdMap, Task, TaskId},
};

/// The most items that are pulled before they are submitted.
const BATCH: usize = 64;

/// No further item is pulled when those weigh this much: they wait here, beyond what the queue counts, if it is full.
const BATCH_BYTES: usize = 64 * 1024;

/// Input on its way in and results on their way out.
pub(super) struct Flow<T: Task, S> {
    core: Arc<PoolCore>,
    /// `None` when it has ended.
    source: Option<Pin<Box<S>>>,
    mapped: Arc<Mapped>,
    /// Outcomes that were taken from there together.
    arrived: VecDeque<Taken>,
    /// Pulled while there was no room.
    pulled: VecDeque<(SubmitTask, Reply)>,
    window: usize,
    /// What it is at least.
    least: usize,
    /// It was not set, and becomes wider as workers take more.
    widens: bool,
    submitted: u64,
    taken: u64,
    /// Accepted and not handed out.
    ids: IdMap<u64, TaskId>,
    task: PhantomData<fn() -> T>,
}

impl<T: Task, S> Flow<T, S>
where
    S: Stream,
    S::Item: Into<Submit<T>>,
{
    pub(super) fn new(core: &Arc<PoolCore>, items: S, window: usize) -> Self {
        Self {
            core: Arc::clone(core),
            source: Some(Box::pin(items)),
            mapped: Arc::new(Mapped::new(true)),
            arrived: VecDeque::new(),
            pulled: VecDeque::new(),
            window,
            least: window,
            widens: true,
            submitted: 0,
            taken: 0,
            ids: IdMap::default(),
            task: PhantomData,
        }
    }

    pub(super) fn set_window(&mut self, items: usize) {
        self.window = items.max(1);
        self.widens = false;
    }

    /// Results as they come. Not after the first poll.
    pub(super) fn unordered(mut self) -> Self {
        self.mapped = Arc::new(Mapped::new(false));
        self
    }

    fn outstanding(&self) -> usize {
        usize::try_from(self.submitted - self.taken).unwrap_or(usize::MAX)
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, TaskResult<T>)>> {
        // Half a window of room first, so that pulling and submitting go in batches.
        if self.outstanding() <= self.window / 2 || !self.pulled.is_empty() {
            self.fill(cx);
        }
        if self.arrived.is_empty() && self.mapped.poll(&mut self.arrived, cx).is_pending() {
            self.fill(cx);
            // What was refused is settled already.
            let _ = self.mapped.poll(&mut self.arrived, cx);
        }
        if let Some((index, kept)) = self.arrived.pop_front() {
            self.taken += 1;
            self.ids.remove(&index);
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            return Poll::Ready(Some((index, typed::<T>(kept.settled))));
        }
        if self.outstanding() == 0 && self.source.is_none() {
            return Poll::Ready(None);
        }
        if self.core.results.is_over()
            && let Some(id) = self.oldest()
        {
            self.core.expedite(id);
        }
        Poll::Pending
    }

    /// The task that the consumer waits for, or one of them.
    fn oldest(&self) -> Option<TaskId> {
        self.ids
            .get(&self.taken)
            .copied()
            .or_else(|| self.ids.values().min().copied())
    }

    /// Pulls as far as the window, the pool and the input allow.
    fn fill(&mut self, cx: &mut Context<'_>) {
        let mut batch = 1;
        loop {
            let mut ended = false;
            let mut bytes: usize = self.pulled.iter().map(|(task, _)| task.bytes()).sum();
            while self.pulled.len() < batch
                && bytes < BATCH_BYTES
                && self.outstanding() < self.window
            {
                let Some(source) = &mut self.source else {
                    ended = true;
                    break;
                };
                match source.as_mut().poll_next(cx) {
                    Poll::Ready(Some(item)) => {
                        let reply = Reply::Map(Arc::clone(&self.mapped), self.submitted);
                        self.submitted += 1;
                        let task = item.into().into_task();
                        bytes += task.bytes();
                        self.pulled.push_back((task, reply));
                    }
                    Poll::Ready(None) => {
                        self.source = None;
                        ended = true;
                        break;
                    }
                    Poll::Pending => {
                        ended = true;
                        break;
                    }
                }
            }
            if self.pulled.is_empty() {
                return;
            }
            // A map that waits for nothing may always have one task, or other results that nobody takes would stop it.
            let alone = self.outstanding() == self.pulled.len();
            let mut index = self.submitted - self.pulled.len() as u64;
            let ids = &mut self.ids;
            let in_flight = self
                .core
                .submit_pulled(&mut self.pulled, alone, cx.waker(), |id| {
                    if let Some(id) = id {
                        ids.insert(index, id);
                    }
                    index += 1;
                });
            if self.widens {
                self.window = in_flight.saturating_mul(2).max(self.least);
            }
            if ended || !self.pulled.is_empty() || self.outstanding() >= self.window {
                return;
            }
            // Small at first, so that a slow input does not keep its first items back.
            batch = (batch * 2).min(BATCH);
        }
    }
}

impl<T: Task, S> Drop for Flow<T, S> {
    fn drop(&mut self) {
        for id in self.ids.values() {
            self.core.cancel(*id, true);
        }
    }
}

impl<T: Task, S> fmt::Debug for Flow<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("name", &T::NAME)
            .field("window", &self.window)
            .field("submitted", &self.submitted)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
