//! What a task is: the trait, its context, its names.
//!
//! Belongs here: what a task's author writes against. Does not belong here: how tasks travel, where they run.
//! Invariant: nothing here knows an actor, a socket or a process.

mod board;
#[cfg(test)]
mod board_tests;
mod context;
mod failure;
mod fault;
mod id_map;
mod ids;
mod scope;
mod state;
mod terms;
mod waker;
mod worker_env;

pub(crate) use board::Board;
pub use context::TaskContext;
pub use failure::{Failure, FailureInfo};
pub(crate) use fault::{Fault, FaultPoint};
pub(crate) use id_map::{IdHasher, IdMap};
pub use ids::{Slot, TaskId, WorkerInfo};
pub(crate) use scope::Scope;
pub use state::FromState;
pub use terms::Priority;
pub(crate) use terms::{Key, Terms, TimeLimits};
pub(crate) use waker::{keep, keep_among};
pub(crate) use worker_env::WorkerEnv;

use std::{fmt, future::Future};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// One unit of work: the value is the input, [`run`](Task::run) is what a worker process does with it.
///
/// # Examples
///
/// ```
/// use actix_multiprocess::{NoError, Task, TaskContext};
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
/// ```
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// The name on the wire, unique in a worker; a change of it makes another task of it.
    const NAME: &'static str;

    /// Raise this when the meaning of the bytes changes: a worker of another version is refused when it starts.
    const VERSION: u32 = 0;

    /// Whether the task may run again when the worker that had started it was lost. Default: `false`.
    const IDEMPOTENT: bool = false;

    /// Whether the task runs alone in its worker, taking all its credits. Default: `false`.
    const EXCLUSIVE: bool = false;

    /// What [`run`](Task::run) returns.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// What [`run`](Task::run) can fail with: an own type, [`RemoteError`](crate::RemoteError) for any error,
    /// [`NoError`] for none.
    type Error: Serialize + DeserializeOwned + Send + 'static;

    /// `()`, or `Rc<S>` for the `S` that the worker's initializer returned.
    type State: 'static;

    /// Whether an error of its own may go away by itself, so that another run is worth it: asked in the worker, and
    /// heeded for tasks that are idempotent, as often as the pool's [`Retry`](crate::Retry) allows. Default: no error.
    ///
    /// A panic in it is the task's.
    ///
    /// # Examples
    ///
    /// ```
    /// # use actix_multiprocess::{Task, TaskContext};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Debug, Serialize, Deserialize)]
    /// enum NoPage {
    ///     Busy,
    ///     Gone,
    /// }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Fetch(String);
    ///
    /// impl Task for Fetch {
    ///     const NAME: &'static str = "fetch";
    ///     const IDEMPOTENT: bool = true;
    ///     type Output = String;
    ///     type Error = NoPage;
    ///     type State = ();
    ///     async fn run(self, _: TaskContext<()>) -> Result<String, NoPage> {
    ///         # Err(NoPage::Gone)
    ///         // ..
    ///     }
    ///     fn is_transient(error: &NoPage) -> bool {
    ///         matches!(error, NoPage::Busy)
    ///     }
    /// }
    /// ```
    #[must_use]
    fn is_transient(error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// Does the work, in a worker process, on its event loop. The future need not be `Send`.
    ///
    /// # Errors
    ///
    /// Whatever it returns reaches the caller as [`TaskError::Failed`](crate::TaskError::Failed), typed.
    ///
    /// # Cancel safety
    ///
    /// A task whose caller has gone is dropped at its next await; one that awaits
    /// [`TaskContext::cancelled`] gets the pool's `cancel_grace` to end by itself first.
    fn run(
        self,
        cx: TaskContext<Self::State>,
    ) -> impl Future<Output = Result<Self::Output, Self::Error>>;
}

/// The error of a task that cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NoError {}

impl fmt::Display for NoError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for NoError {}
