//! Many tasks from one input.
//!
//! Belongs here: pulling input, and handing results out in order or as they come. Does not belong here: one task.
//! Invariant: pulled and not yet handed out are never more than the window; dropping a map cancels what it has pulled.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

use crate::{
    error::{RemoteError, TaskError},
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

/// A stream of the items of an iterator.
#[derive(Debug, Clone)]
pub struct Iter<I>(I);

impl<I> Iter<I> {
    pub(super) fn new(items: I) -> Self {
        Self(items)
    }
}

// The iterator is never pinned.
impl<I> Unpin for Iter<I> {}

impl<I: Iterator> Stream for Iter<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// The results of [`Pool::map`](crate::Pool::map), a stream in input order.
///
/// Awaited as a whole it is all outputs, or the first failure to happen, which cancels the rest. Dropping it cancels what
/// it has submitted.
///
/// # Cancel safety
///
/// As a stream, nothing is lost when waiting for an item is given up.
#[must_use = "a map does nothing until it is polled, and cancels its tasks when it is dropped"]
pub struct Map<T: Task, S> {
    flow: Flow<T, S>,
}

/// The results of [`Map::unordered`]: a stream of (index of the input, result), as they come.
#[must_use = "a map does nothing until it is polled, and cancels its tasks when it is dropped"]
pub struct Unordered<T: Task, S> {
    flow: Flow<T, S>,
}

/// All outputs of a [`Map`], or the first failure.
#[must_use = "a map does nothing until it is polled, and cancels its tasks when it is dropped"]
pub struct MapAll<T: Task, S> {
    flow: Option<Flow<T, S>>,
    outputs: Vec<Option<T::Output>>,
}

/// Which item of a map failed, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MapError<E> {
    /// The place of the item in the input, counted from 0.
    pub index: usize,
    /// Its failure.
    pub error: TaskError<E>,
}

impl<E: fmt::Display> fmt::Display for MapError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} of the map failed: ", self.index)?;
        fmt::Display::fmt(&self.error, f)
    }
}

// As for `TaskError`: `RemoteError` is no `Error`, so that `?` can make one of any, and this crate's own.
impl std::error::Error for MapError<RemoteError> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<E: std::error::Error + 'static> std::error::Error for MapError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl<T: Task, S> Map<T, S>
where
    S: Stream,
    S::Item: Into<Submit<T>>,
{
    pub(super) fn new(core: &Arc<PoolCore>, items: S) -> Self {
        let window = 2 * core.control.size() * core.config.concurrency as usize;
        Self {
            flow: Flow {
                core: Arc::clone(core),
                source: Some(Box::pin(items)),
                mapped: Arc::new(Mapped::new(true)),
                arrived: VecDeque::new(),
                pulled: VecDeque::new(),
                window: window.max(16),
                submitted: 0,
                taken: 0,
                ids: IdMap::default(),
                task: PhantomData,
            },
        }
    }

    /// Sets how many items may be pulled and not yet handed out. Default: twice what the workers run at once,
    /// at least 16. At least 1 can be set.
    pub fn window(mut self, items: usize) -> Self {
        self.flow.window = items.max(1);
        self
    }

    /// Yields results as they come, each with the index of its input.
    pub fn unordered(self) -> Unordered<T, S> {
        let mut flow = self.flow;
        flow.mapped = Arc::new(Mapped::new(false));
        Unordered { flow }
    }
}

impl<T: Task, S> Stream for Map<T, S>
where
    S: Stream,
    S::Item: Into<Submit<T>>,
{
    type Item = TaskResult<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TaskResult<T>>> {
        let next = ready!(self.flow.poll_next(cx));
        Poll::Ready(next.map(|(_, result)| result))
    }
}

impl<T: Task, S> Stream for Unordered<T, S>
where
    S: Stream,
    S::Item: Into<Submit<T>>,
{
    type Item = (usize, TaskResult<T>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.flow.poll_next(cx)
    }
}

impl<T: Task, S> IntoFuture for Map<T, S>
where
    S: Stream,
    S::Item: Into<Submit<T>>,
{
    type Output = Result<Vec<T::Output>, MapError<T::Error>>;
    type IntoFuture = MapAll<T, S>;

    fn into_future(self) -> MapAll<T, S> {
        MapAll {
            flow: Some(self.unordered().flow),
            outputs: Vec::new(),
        }
    }
}

// Nothing in it is pinned in place: the source is in a box.
impl<T: Task, S> Unpin for MapAll<T, S> {}

impl<T: Task, S> Future for MapAll<T, S>
where
    S: Stream,
    S::Item: Into<Submit<T>>,
{
    type Output = Result<Vec<T::Output>, MapError<T::Error>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(flow) = &mut this.flow {
            match ready!(flow.poll_next(cx)) {
                Some((index, Ok(output))) => {
                    if this.outputs.len() <= index {
                        this.outputs.resize_with(index + 1, || None);
                    }
                    if let Some(place) = this.outputs.get_mut(index) {
                        *place = Some(output);
                    }
                }
                Some((index, Err(error))) => {
                    // Dropping the flow cancels the rest.
                    this.flow = None;
                    return Poll::Ready(Err(MapError { index, error }));
                }
                None => this.flow = None,
            }
        }
        let outputs = std::mem::take(&mut this.outputs);
        Poll::Ready(Ok(outputs.into_iter().flatten().collect()))
    }
}

/// Input on its way in and results on their way out.
struct Flow<T: Task, S> {
    core: Arc<PoolCore>,
    /// `None` when it has ended.
    source: Option<Pin<Box<S>>>,
    mapped: Arc<Mapped>,
    /// Outcomes that were taken from there together.
    arrived: VecDeque<Taken>,
    /// Pulled while there was no room.
    pulled: VecDeque<(SubmitTask, Reply)>,
    window: usize,
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
    fn outstanding(&self) -> usize {
        usize::try_from(self.submitted - self.taken).unwrap_or(usize::MAX)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, TaskResult<T>)>> {
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
            self.core
                .submit_pulled(&mut self.pulled, alone, cx.waker(), |id| {
                    if let Some(id) = id {
                        ids.insert(index, id);
                    }
                    index += 1;
                });
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

impl<T: Task, S> fmt::Debug for Map<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flow.fmt(f)
    }
}

impl<T: Task, S> fmt::Debug for Unordered<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flow.fmt(f)
    }
}

impl<T: Task, S> fmt::Debug for MapAll<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flow.fmt(f)
    }
}
