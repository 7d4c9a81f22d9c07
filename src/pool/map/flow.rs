//! Input on its way in and results on their way out.
//!
//! Belongs here: pulling, submitting, and taking what has settled. Does not belong here: what is made of the results.
//! Invariant: pulled and not yet handed out are never more than the window; dropping a map cancels what it has pulled.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf as _;
use futures_core::Stream;

use crate::{
    pool::{
        Submit,
        respond::{TaskResult, output, typed},
    },
    supervisor::{
        PoolCore, SubmitTask,
        reply::{KeptRun, Mapped, Reply, Taken},
    },
    task::{Task, TaskId, Terms},
    wire::{Payload, RUN_VALUES, Run, copied, run},
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
    /// How many items that is.
    items: usize,
    /// Items that become one of them: their terms with how long each may run, and their input.
    open: Run<(Terms, Option<Duration>)>,
    window: usize,
    /// What it is at least.
    least: usize,
    /// It was not set, and becomes wider as workers take more.
    widens: bool,
    submitted: u64,
    taken: u64,
    /// Outputs that came together, and are handed out one by one: the index of the next.
    run: Option<(u64, KeptRun)>,
    /// How many items are pulled as one.
    bundle: u32,
    /// Accepted and not handed out: by the index of the first, its id, and how many in a row they are.
    ids: BTreeMap<u64, (TaskId, u32)>,
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
            items: 0,
            open: Run::default(),
            window,
            least: window,
            widens: true,
            submitted: 0,
            taken: 0,
            run: None,
            bundle: 1,
            ids: BTreeMap::new(),
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

    /// At least so many items are still to be pulled.
    pub(super) fn size_hint(&self) -> usize {
        let source = self.source.as_ref();
        source.map_or(0, |source| source.size_hint().0)
    }

    /// The next result, one by one.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(usize, TaskResult<T>)>> {
        // What there was no room for is tried again when there is nothing left to hand out, not for each item.
        if self.run.is_some() && self.pulled.is_empty() {
            self.refill(cx);
        }
        if let Some(next) = self.next_of_run() {
            return Poll::Ready(Some(next));
        }
        Poll::Ready(match ready!(self.poll_come(cx)) {
            Some(Taken::One(index, kept)) => {
                self.taken += 1;
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                Some((index, typed::<T>(kept.settled)))
            }
            Some(Taken::Run(index, run)) => {
                self.run = Some((index, run));
                self.next_of_run()
            }
            None => None,
        })
    }

    /// The next results, as they came.
    pub(super) fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let come = ready!(self.poll_come(cx));
        self.taken += come.as_ref().map_or(0, Taken::items);
        Poll::Ready(come)
    }

    /// What has come next. It counts as taken when it is handed out.
    fn poll_come(&mut self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        self.refill(cx);
        if self.arrived.is_empty() && self.mapped.poll(&mut self.arrived, cx).is_pending() {
            self.fill(cx);
            // What was refused is settled already.
            let _ = self.mapped.poll(&mut self.arrived, cx);
        }
        if let Some(come) = self.arrived.pop_front() {
            self.forget(come.index(), come.items());
            return Poll::Ready(Some(come));
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

    /// Half a window of room first, so that pulling and submitting go in batches.
    fn refill(&mut self, cx: &mut Context<'_>) {
        if self.outstanding() <= self.window / 2 || !self.pulled.is_empty() {
            self.fill(cx);
        }
    }

    /// The next of outputs that came together.
    fn next_of_run(&mut self) -> Option<(usize, TaskResult<T>)> {
        let (index, run) = self.run.as_mut()?;
        let Some((value, rest)) = run::first(&run.values) else {
            self.run = None;
            return None;
        };
        let output = output::<T>(value);
        let place = usize::try_from(*index).unwrap_or(usize::MAX);
        let length = run.values.len() - rest.len();
        run.values.advance(length);
        *index += 1;
        self.taken += 1;
        if run.values.is_empty() {
            self.run = None;
        }
        Some((place, output))
    }

    /// These have settled.
    fn forget(&mut self, index: u64, items: u64) {
        let Some((&first, &(id, all))) = self.ids.range(..=index).next_back() else {
            return;
        };
        let before = u32::try_from(index - first).unwrap_or(u32::MAX);
        if before >= all {
            return;
        }
        let skipped = before.saturating_add(u32::try_from(items).unwrap_or(u32::MAX));
        self.ids.remove(&first);
        if before > 0 {
            self.ids.insert(first, (id, before));
        }
        if skipped < all {
            let next = first + u64::from(skipped);
            self.ids.insert(next, (id.after(skipped), all - skipped));
        }
    }

    /// The task that the consumer waits for, or one of them.
    fn oldest(&self) -> Option<TaskId> {
        let next = self.ids.range(..=self.taken).next_back();
        let next = next.and_then(|(first, (id, items))| {
            let before = u32::try_from(self.taken - first).ok()?;
            (before < *items).then(|| id.after(before))
        });
        next.or_else(|| self.ids.values().map(|(id, _)| *id).min())
    }

    /// An item comes in: alone, or with others that are like it. Returns how many bytes it takes.
    #[inline]
    fn pull(&mut self, mut item: Submit<T>) -> usize {
        self.submitted += 1;
        self.items += 1;
        if self.bundle > 1
            && let Some(terms) = item.shares()
        {
            let like = |(first, items): (&(Terms, Option<Duration>), u32)| {
                *first == terms && items < self.bundle
            };
            if !(self.open.has_room_for_any() && self.open.head().is_none_or(like)) {
                self.seal(self.submitted - 1);
            }
            let before = self.open.pending();
            if item.join(&mut self.open, || terms) {
                return self.open.pending() - before;
            }
        }
        self.seal(self.submitted - 1);
        let task = item.into_task();
        let bytes = task.bytes();
        let reply = Reply::Map(Arc::clone(&self.mapped), self.submitted - 1, 1);
        self.pulled.push_back((task, reply));
        bytes
    }

    /// Items that were like each other are one. The last of them is before `end`.
    fn seal(&mut self, end: u64) {
        let mapped = &self.mapped;
        let sealed = self.open.seal(|terms, items, bytes| {
            let input = Payload::run(items, copied(bytes));
            let tasks = Submit::<T>::run_of(terms, input, items);
            let reply = Reply::Map(Arc::clone(mapped), end - u64::from(items), items);
            (tasks, reply)
        });
        self.pulled.extend(sealed);
    }

    /// Pulls as far as the window, the pool and the input allow.
    fn fill(&mut self, cx: &mut Context<'_>) {
        let mut batch = 1;
        loop {
            let mut ended = false;
            let mut bytes: usize = self.pulled.iter().map(|(task, _)| task.bytes()).sum();
            while self.items < batch && bytes < BATCH_BYTES && self.outstanding() < self.window {
                let Some(source) = &mut self.source else {
                    ended = true;
                    break;
                };
                match source.as_mut().poll_next(cx) {
                    Poll::Ready(Some(item)) => {
                        bytes += self.pull(item.into());
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
            if self.items == 0 {
                return;
            }
            self.seal(self.submitted);
            // A map that waits for nothing may always have one task, or other results that nobody takes would stop it.
            let alone = self.outstanding() == self.items;
            let mut index = self.submitted - self.items as u64;
            let (ids, items) = (&mut self.ids, &mut self.items);
            let taken = |id: Option<TaskId>, tasks: u32| {
                if let Some(id) = id {
                    ids.insert(index, (id, tasks));
                }
                index += u64::from(tasks);
                *items -= tasks as usize;
            };
            let pulled = &mut self.pulled;
            let appetite = (self.core).submit_pulled(T::NAME, pulled, alone, cx.waker(), taken);
            self.bundle = appetite.bundle.min(RUN_VALUES);
            if self.widens {
                self.window = appetite.in_flight.saturating_mul(2).max(self.least);
            }
            if ended || !self.pulled.is_empty() || self.outstanding() >= self.window {
                return;
            }
            // Small at first, so that a slow input does not keep its first items back.
            batch = (batch * 2).min(BATCH.max(self.bundle as usize));
        }
    }
}

impl<T: Task, S> Drop for Flow<T, S> {
    fn drop(&mut self) {
        for (id, items) in self.ids.values() {
            for nth in 0..*items {
                self.core.cancel(id.after(nth), true);
            }
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
