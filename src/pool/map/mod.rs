//! Many tasks from one input.
//!
//! Belongs here: handing results out in order, as they come, or all at once. Does not belong here: one task; pulling input,
//! which is `flow`'s.

mod error;
mod flow;
mod gather;

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;

pub use error::MapError;
use flow::Flow;
use gather::Gathered;

use crate::{
    error::{CodecSide, CodecValue, TaskError},
    pool::{
        Submit,
        respond::{TaskResult, typed},
    },
    supervisor::{
        PoolCore,
        reply::{KeptRun, Taken},
    },
    task::Task,
    wire::codec,
};

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
    /// `None` before the first poll.
    gathered: Option<Gathered<T::Output>>,
}

impl<T: Task, S> Map<T, S>
where
    S: Stream,
    S::Item: Into<Submit<T>>,
{
    pub(super) fn new(core: &Arc<PoolCore>, items: S) -> Self {
        let window = 2 * core.control.size() * core.config.concurrency as usize;
        Self {
            flow: Flow::new(core, items, window.max(16)),
        }
    }

    /// Sets how many items may be pulled and not yet handed out. Default: twice what the workers have, which is more than they
    /// run at once if that is quick ([`Submit::read_ahead`]), and at least twice what they run at once, at least 16. At least 1
    /// can be set.
    pub fn window(mut self, items: usize) -> Self {
        self.flow.set_window(items);
        self
    }

    /// Yields results as they come, each with the index of its input.
    pub fn unordered(self) -> Unordered<T, S> {
        Unordered {
            flow: self.flow.unordered(),
        }
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
            gathered: None,
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
            let gathered = (this.gathered).get_or_insert_with(|| Gathered::new(flow.size_hint()));
            let come = match ready!(flow.poll_taken(cx)) {
                Some(Taken::One(index, kept)) => match typed::<T>(kept.settled) {
                    Ok(output) => {
                        gathered.put(index, output);
                        Ok(())
                    }
                    Err(error) => Err((index, error)),
                },
                Some(Taken::Run(index, run)) => put_run::<T>(gathered, index, &run),
                None => {
                    this.flow = None;
                    break;
                }
            };
            if let Err((index, error)) = come {
                // Dropping the flow cancels the rest.
                this.flow = None;
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                return Poll::Ready(Err(MapError { index, error }));
            }
        }
        let gathered = this.gathered.take();
        Poll::Ready(Ok(gathered.map_or_else(Vec::new, Gathered::into_vec)))
    }
}

/// Puts outputs that came together where they belong, up to the first that cannot be decoded.
fn put_run<T: Task>(
    gathered: &mut Gathered<T::Output>,
    index: u64,
    run: &KeptRun,
) -> Result<(), (u64, TaskError<T::Error>)> {
    let outputs = run.each().map(|value| {
        codec::decode_bytes_checked(value, CodecValue::Output, CodecSide::Host)
            .map_err(|error| TaskError::Codec(*error))
    });
    gathered.put_run(index, outputs)
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
