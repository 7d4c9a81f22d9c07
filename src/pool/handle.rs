//! Waiting for one task.
//!
//! Belongs here: the handle. Does not belong here: decoding.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
};

use crate::{
    pool::{
        Submit,
        respond::{TaskResult, typed},
    },
    supervisor::{
        PoolCore,
        reply::{Reply, ReplyCell},
    },
    task::{Task, TaskId},
};

/// A submitted task: a future of its outcome.
///
/// Dropping it cancels the task; [`detach`](Self::detach) lets it run. It does not keep the pool open.
///
/// # Cancel safety
///
/// Awaiting a `&mut` handle may be given up and taken up again; nothing is lost.
#[must_use = "dropping a handle cancels its task; call `.detach()` to let it run"]
pub struct TaskHandle<T: Task> {
    cell: Arc<ReplyCell>,
    core: Weak<PoolCore>,
    /// `None` when it was refused: its outcome is there.
    id: Option<TaskId>,
    /// The outcome was taken, or nobody wants it cancelled.
    done: bool,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> TaskHandle<T> {
    pub(super) fn submit(core: &Arc<PoolCore>, submit: Submit<T>) -> Self {
        let cell = Arc::new(ReplyCell::default());
        let id = core.submit(submit.into_task(), Reply::Handle(Arc::clone(&cell)));
        Self {
            cell,
            core: Arc::downgrade(core),
            id,
            done: false,
            task: PhantomData,
        }
    }

    /// Returns the task's id in its pool; `None` if the pool refused it.
    #[must_use]
    pub fn id(&self) -> Option<TaskId> {
        self.id
    }

    /// Returns whether the outcome is there.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.done || self.cell.is_settled()
    }

    /// Asks for the task to end, as [`Pool::cancel`](crate::Pool::cancel) does; await the handle for how it ended.
    pub fn cancel(&self) {
        if let (Some(core), Some(id)) = (self.core.upgrade(), self.id) {
            core.cancel(id, false);
        }
    }

    /// Lets the task run without anybody waiting for it. Its outcome is dropped.
    pub fn detach(mut self) {
        self.let_go();
    }

    pub(super) fn let_go(&mut self) {
        self.done = true;
        self.cell.detach();
        if let (Some(core), Some(id)) = (self.core.upgrade(), self.id) {
            // Its outcome costs nothing any more.
            core.expedite(id);
        }
    }
}

impl<T: Task> Future for TaskHandle<T> {
    type Output = TaskResult<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskResult<T>> {
        let polled = self.cell.poll(cx);
        if polled.is_pending()
            && let (Some(core), Some(id)) = (self.core.upgrade(), self.id)
        {
            core.expedite(id);
        }
        let kept = ready!(polled);
        self.done = true;
        Poll::Ready(typed::<T>(kept.settled))
    }
}

impl<T: Task> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        if !self.done
            && let (Some(core), Some(id)) = (self.core.upgrade(), self.id)
        {
            core.cancel(id, true);
        }
    }
}

impl<T: Task> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("name", &T::NAME)
            .field("id", &self.id)
            .field("settled", &self.is_settled())
            .finish()
    }
}

#[expect(
    dead_code,
    reason = "a handle may be awaited on any thread; this does not compile otherwise"
)]
fn is_send<T: Task>(handle: TaskHandle<T>) -> impl Send {
    handle
}
