//! What users hold: the pool, its builder, handles, maps, messages.
//!
//! Belongs here: types and their conversions. Does not belong here: decisions, which are the supervisor's.
//! Invariant: whatever a user drops, the rest of the pool goes on.

mod builder;
mod capture;
mod check;
mod env;
mod handle;
mod lenience;
mod map;
mod messages;
mod process;
mod resources;
mod respond;
mod start;
mod status;
mod submit;

use std::{future::Future, time::Duration};

use actix::{Addr, MailboxError};
use futures_core::Stream;
use tokio::sync::oneshot;

pub use builder::{HasInitArgs, PoolBuilder};
pub use capture::Capture;
pub use handle::TaskHandle;
pub use map::{Iter, Map, MapAll, MapError, Unordered};
pub use messages::{
    Cancel, Drain, GetStatus, Kill, Pause, Recycle, Resize, Resume, Stop, Subscribe,
};
use messages::{End, EndProcess, GetCore};
pub use process::{Process, ProcessBuilder};
pub use submit::Submit;

use crate::{
    error::ConfigError,
    observe::{CloseReason, DrainReport, Status},
    spec::Workers,
    supervisor::{PoolCore, PoolSupervisor},
    task::{Slot, Task, TaskId},
};

/// A handle to a pool of worker processes. Cheap to clone, and usable from any thread.
///
/// When the last `Pool`, `Addr` and `Recipient` of a pool are dropped it takes no more tasks, goes on with what it has
/// accepted for up to 30 s and ends; [`TaskHandle`]s still get their results.
///
/// # Examples
///
/// ```no_run
/// use actix_multiprocess::{NoError, Pool, Task, TaskContext, WorkerSpec};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Square(u64);
///
/// impl Task for Square {
///     const NAME: &'static str = "square";
///     type Output = u64;
///     type Error = NoError;
///     type State = ();
///     async fn run(self, _: TaskContext<()>) -> Result<u64, NoError> {
///         Ok(self.0 * self.0)
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let workers = WorkerSpec::new().task::<Square>().init();
///     actix::System::new().block_on(async move {
///         let pool = Pool::builder(workers).processes(2).start().await?;
///         assert_eq!(pool.submit(Square(7)).await?, 49);
///         let squares = pool.map((0..1000).map(Square)).await?;
///         assert_eq!(squares[31], 961);
///         pool.drain(std::time::Duration::from_secs(5)).await;
///         Ok(())
///     })
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Pool {
    addr: Addr<PoolSupervisor>,
    core: std::sync::Arc<PoolCore>,
}

impl Pool {
    /// Begins to configure a pool of the workers that [`WorkerSpec::init`](crate::WorkerSpec::init) returned.
    pub fn builder<A>(workers: Workers<A>) -> PoolBuilder<A> {
        PoolBuilder::new(workers)
    }

    /// Returns the pool behind an address, such as that of a supervised one.
    ///
    /// # Errors
    ///
    /// The pool has ended.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens by dropping the future.
    pub async fn from_addr(addr: &Addr<PoolSupervisor>) -> Result<Self, MailboxError> {
        let core = addr.send(GetCore).await?;
        let addr = addr.clone();
        Ok(Self { addr, core })
    }

    /// Returns the address of the pool's actor, for sending [`Submit`] and other messages the actix way.
    #[must_use]
    pub fn addr(&self) -> &Addr<PoolSupervisor> {
        &self.addr
    }

    /// Submits a task. It is accepted, or refused, when this returns; dropping the handle cancels it.
    ///
    /// # Errors
    ///
    /// All errors come through the handle.
    pub fn submit<T: Task>(&self, task: impl Into<Submit<T>>) -> TaskHandle<T> {
        TaskHandle::submit(&self.core, task.into())
    }

    /// Runs a task for each item of an iterator, which may be endless, and yields the results in input order.
    ///
    /// Nothing happens until the map is polled; then items are pulled as far as [`Map::window`] allows.
    pub fn map<T: Task, I>(&self, items: I) -> Map<T, Iter<I::IntoIter>>
    where
        I: IntoIterator,
        I::Item: Into<Submit<T>>,
    {
        self.map_stream(Iter::new(items.into_iter()))
    }

    /// Runs a task for each item of a stream, and yields the results in input order.
    ///
    /// The stream is polled only as far as [`Map::window`] allows.
    pub fn map_stream<T: Task, S>(&self, items: S) -> Map<T, S>
    where
        S: Stream,
        S::Item: Into<Submit<T>>,
    {
        Map::new(&self.core, items)
    }

    /// Asks for a task to end: at once if it waits, else its token is set and its future dropped at its next await.
    ///
    /// The handle then says [`TaskError::Cancelled`](crate::TaskError::Cancelled), within the pool's `cancel_grace`,
    /// unless the task ended by itself first. Does nothing for a task that has settled.
    pub fn cancel(&self, id: TaskId) {
        self.core.cancel(id, false);
    }

    /// Sends no more tasks to workers until [`resume`](Self::resume). Those with workers go on; those that are submitted
    /// wait, as far as the queue has room. A drain or stop lifts it.
    pub fn pause(&self) {
        self.core.pause(true);
    }

    /// Sends tasks to workers again after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.core.pause(false);
    }

    /// Ends the worker of a slot whatever it does, as [`Kill`] describes. Returns whether there was one.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before it was polled does nothing; later the worker ends all the same.
    pub async fn kill(&self, slot: Slot) -> bool {
        // The pool has ended, and with it all workers.
        self.addr.send(Kill(slot)).await.unwrap_or(false)
    }

    /// Changes how many workers there are, as [`Resize`] describes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Zero`], [`ConfigError::TooLarge`] and [`ConfigError::TooFewDescriptors`], as at the start.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped before it was polled does nothing; later the pool is resized all the same.
    pub async fn resize(&self, processes: usize) -> Result<(), ConfigError> {
        // A pool that has ended has no size.
        self.addr.send(Resize(processes)).await.unwrap_or(Ok(()))
    }

    /// Replaces every worker that takes tasks, a few at a time, as [`Recycle`] describes.
    pub fn recycle(&self) {
        self.addr.do_send(Recycle);
    }

    /// Returns what the pool is doing right now.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens by dropping the future.
    pub async fn status(&self) -> Status {
        self.core.status()
    }

    /// Takes no more tasks, lets the accepted ones go on for `grace`, then ends the rest and the workers.
    ///
    /// Returns when no worker is left, at the latest `grace` + `cancel_grace` + the builder's `grace` and about a second
    /// after the call. Of several drains the shortest counts, and their reports are the same.
    ///
    /// # Cancel safety
    ///
    /// The drain goes on when the future is dropped.
    pub fn drain(&self, grace: Duration) -> impl Future<Output = DrainReport> + Send + use<> {
        self.end(grace, CloseReason::Drain)
    }

    /// Takes no more tasks, ends those that run and the workers. The same as a drain without grace.
    ///
    /// # Cancel safety
    ///
    /// The stop goes on when the future is dropped.
    pub fn stop(&self) -> impl Future<Output = DrainReport> + Send + use<> {
        self.end(Duration::ZERO, CloseReason::Stop)
    }

    fn end(
        &self,
        grace: Duration,
        reason: CloseReason,
    ) -> impl Future<Output = DrainReport> + Send + use<> {
        let (answer, report) = oneshot::channel();
        self.addr.do_send(End {
            grace,
            reason,
            answer,
        });
        // A pool that has ended has nothing left to report.
        async move { report.await.unwrap_or_default() }
    }

    #[cfg(feature = "test-util")]
    pub(crate) fn core(&self) -> &PoolCore {
        &self.core
    }
}
