//! What a running task can ask its worker.
//!
//! Belongs here: the public view of [`Scope`]. Does not belong here: running tasks.

use std::{
    fmt,
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use crate::{
    error::capture,
    task::{Scope, TaskId, WorkerInfo},
};

/// What a task knows while it runs: its worker's state, who it is, whether anybody still wants it.
///
/// `S` is [`Task::State`](crate::Task::State).
pub struct TaskContext<S> {
    scope: Rc<Scope>,
    state: S,
}

impl<S> TaskContext<S> {
    pub(crate) fn new(scope: Rc<Scope>, state: S) -> Self {
        Self { scope, state }
    }

    pub(crate) fn share(&self) -> Rc<Scope> {
        Rc::clone(&self.scope)
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Returns the state of this worker: what the initializer returned, behind an `Rc`.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Returns the id under which the host knows this task, as its [`TaskHandle`](crate::TaskHandle) does.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.scope.id
    }

    /// Returns which run this is, counted from 1. Above 1 only for idempotent tasks: those whose worker was lost, and those
    /// whose error may go away ([`Task::is_transient`](crate::Task::is_transient)).
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.scope.attempt
    }

    /// Returns the worker this runs in.
    #[must_use]
    pub fn worker(&self) -> WorkerInfo {
        self.scope.env.worker
    }

    /// Returns how long the task may still take until it is ended: to its deadline (`timeout`) or, if that is earlier, to the
    /// end of its `run_timeout`. `None` if it has neither; zero when the time is over.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let until = self.scope.until?;
        Some(until.saturating_duration_since(Instant::now()))
    }

    /// Returns whether nobody wants the result any more: the caller has gone, cancelled, a time limit is over, or the pool
    /// stops.
    ///
    /// True also inside a loop that never awaits: the request arrives on a thread of its own.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.scope.is_cancelled()
    }

    /// Waits until [`is_cancelled`](Self::is_cancelled) is true.
    ///
    /// A task that has polled this gets the pool's `cancel_grace` to end by itself before its future is dropped;
    /// what it returns then is its result. A task that never does is dropped at its next await.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping the future and calling this again.
    pub async fn cancelled(&self) {
        poll_fn(|cx| {
            // Registered first: a request between the check and the registration would not wake it.
            self.scope.listen(cx.waker());
            if self.scope.is_cancelled() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Runs blocking or CPU-bound code on a thread of the worker's blocking pool, so that its event loop stays
    /// responsive for its other tasks.
    ///
    /// A panic in `work` goes on in the task.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop `work`: the task counts as running, and keeps its place in the worker, until
    /// `work` has returned. Code that may take long should look at a flag of its own, such as an
    /// `Arc<AtomicBool>` that the task sets when it is dropped: a context does not go to other threads.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_multiprocess::TaskContext;
    /// # async fn f(cx: TaskContext<()>) -> u64 {
    /// cx.block(|| (0..1_000_000_u64).sum()).await
    /// # }
    /// ```
    pub async fn block<R, F>(&self, work: F) -> R
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let guard = self.scope.begin_blocking();
        let outcome = tokio::task::spawn_blocking(move || {
            let _guard = guard;
            // Where it panicked is known on this thread only.
            catch_unwind(AssertUnwindSafe(work)).map_err(|payload| (payload, capture::take()))
        })
        .await;
        match outcome {
            Ok(Ok(value)) => value,
            Ok(Err((payload, captured))) => {
                capture::put(captured);
                resume_unwind(payload)
            }
            // The runtime is going down and with it this task.
            Err(_) => pending().await,
        }
    }
}

impl<S> fmt::Debug for TaskContext<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext")
            .field("id", &self.id())
            .field("attempt", &self.attempt())
            .field("worker", &self.worker())
            .finish_non_exhaustive()
    }
}
