//! One task in a process of its own.
//!
//! Belongs here: a handle to the process, and what it may be asked. Does not belong here: how workers live and end: this is
//! a pool with one slot whose worker is not replaced, and which drains from its start on.
//! Invariant: the process ends when its task does, or when the handle is dropped, and is waited for by the host.

mod builder;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::oneshot;

pub use builder::ProcessBuilder;

use crate::{
    config::Launcher,
    error::StartError,
    observe::{CloseReason, DrainReport, ExitStatus, PoolState},
    pool::{End, EndProcess, Pool, PoolBuilder, Submit, TaskHandle, respond::TaskResult},
    spec::Workers,
    supervisor::SlotRecord,
    task::{Slot, Task},
};

const SLOT: Slot = Slot::new(0);

/// One task in a process of its own: a future of its outcome.
///
/// The process ends when its task has; the future is ready when it has been waited for. Dropping this kills the process;
/// [`detach`](Self::detach) lets it run. If it is lost it is not replaced: the outcome is then
/// [`TaskError::WorkerLost`](crate::TaskError::WorkerLost), also when it did not even start.
///
/// # Examples
///
/// ```no_run
/// # use actix_multiprocess::{NoError, Process, Task, TaskContext, WorkerSpec};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct Report(u32);
/// # impl Task for Report {
/// #     const NAME: &'static str = "report";
/// #     type Output = u32;
/// #     type Error = NoError;
/// #     type State = ();
/// #     async fn run(self, _: TaskContext<()>) -> Result<u32, NoError> { Ok(self.0) }
/// # }
/// # #[actix::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let workers = WorkerSpec::new().task::<Report>().init();
/// let mut process = Process::builder(&workers).name("report").spawn(Report(2026))?;
/// match process.wait_timeout(std::time::Duration::from_secs(60)).await {
///     Some(outcome) => println!("{} ended: {:?}", process.name(), outcome?),
///     None => process.kill(),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Awaiting a `&mut` process may be given up and taken up again; nothing is lost.
#[must_use = "dropping it kills the process; call `.detach()` to let it run"]
pub struct Process<T: Task> {
    id: u64,
    name: String,
    pool: Pool,
    handle: TaskHandle<T>,
    /// The outcome, while the end of the process is waited for.
    outcome: Option<TaskResult<T>>,
    /// Comes with the end of the process; `None` when it came.
    ended: Option<oneshot::Receiver<DrainReport>>,
    detached: bool,
}

impl<T: Task> Process<T> {
    /// Begins to configure a process of the workers that [`WorkerSpec::init`](crate::WorkerSpec::init) returned.
    pub fn builder<A>(workers: &Workers<A>) -> ProcessBuilder<T, A> {
        ProcessBuilder::new(workers)
    }

    fn spawn<A>(
        pool: PoolBuilder<A>,
        launcher: Launcher,
        name: Option<String>,
        task: Submit<T>,
    ) -> Result<Self, StartError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = name.unwrap_or_else(|| format!("process-{id}"));
        let launcher = Launcher {
            title: Some(name.clone().into()),
            ..launcher
        };
        let pool = pool.launcher(launcher).start_now()?;
        let handle = pool.submit(task);
        let (answer, ended) = oneshot::channel();
        pool.addr().do_send(End {
            // However long its task takes.
            grace: Duration::MAX,
            reason: CloseReason::Drain,
            answer,
        });
        Ok(Self {
            id,
            name,
            pool,
            handle,
            outcome: None,
            ended: Some(ended),
            detached: false,
        })
    }

    /// Returns a number that no other `Process` of this host has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn record<R: Default>(&self, look: impl FnOnce(&SlotRecord) -> R) -> R {
        let control = &self.pool.core.control;
        control
            .slot(SLOT, |record| look(record))
            .unwrap_or_default()
    }

    /// Returns its process id: `None` before it was started and after it was waited for.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.record(|record| record.present()?.pid)
    }

    /// Returns whether it has yet to end: also while it starts, and until it was waited for.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none() && self.pool.core.control.phase() != PoolState::Stopped
    }

    /// Returns how it has ended, if it has. One that could not be started has an unknown status.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.record(|record| record.exit)
    }

    /// Takes the outcome if the process has ended. It is there once: whoever takes it leaves nothing to await.
    pub fn try_result(&mut self) -> Option<TaskResult<T>> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match Pin::new(self).poll(&mut context) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// Waits for the outcome for at most this long. The process goes on when it takes longer: this returns `None` then.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn wait_timeout(&mut self, limit: Duration) -> Option<TaskResult<T>> {
        tokio::time::timeout(limit, self).await.ok()
    }

    /// Asks the process to end: its task is dropped at its next await, its shutdown hook runs. After the grace it is killed.
    ///
    /// The outcome is [`TaskError::WorkerLost`](crate::TaskError::WorkerLost) with
    /// [`LossCause::Operator`](crate::LossCause::Operator), unless the task was done before.
    pub fn terminate(&self) {
        self.pool.addr().do_send(EndProcess { at_once: false });
    }

    /// Kills the process, and those that it has started in its group. The outcome is as after [`terminate`](Self::terminate).
    pub fn kill(&self) {
        self.pool.addr().do_send(EndProcess { at_once: true });
    }

    /// Lets the process run without anybody waiting for it. Its outcome is dropped; it ends with its task, or its host.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl<T: Task> Future for Process<T> {
    type Output = TaskResult<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskResult<T>> {
        if self.outcome.is_none()
            && let Poll::Ready(outcome) = Pin::new(&mut self.handle).poll(cx)
        {
            self.outcome = Some(outcome);
        }
        if self.outcome.is_none() {
            return Poll::Pending;
        }
        if let Some(ended) = &mut self.ended {
            // An error is the end of the arbiter, and with it of the process.
            if Pin::new(ended).poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.ended = None;
        }
        self.outcome.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T: Task> Unpin for Process<T> {}

impl<T: Task> Drop for Process<T> {
    fn drop(&mut self) {
        // Not cancelled as well: it would depend on the moment whether its task sees that.
        self.handle.let_go();
        if !self.detached && self.ended.is_some() {
            self.kill();
        }
    }
}

impl<T: Task> fmt::Debug for Process<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("pid", &self.pid())
            .field("exit_status", &self.exit_status())
            .finish_non_exhaustive()
    }
}
