//! A supervised pool of worker processes for actix: typed tasks in, typed results and remote errors out.
//!
//! Every worker is a process with an event loop of its own and runs many tasks at once. It is the same program,
//! executed again: [`WorkerSpec::init`] is where the two go different ways. The pool is an actor, [`PoolSupervisor`];
//! [`Pool`] is a handle to it that also works from other threads and runtimes.
//!
//! ```
//! use actix_multiprocess::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Parse(String);
//!
//! impl Task for Parse {
//!     const NAME: &'static str = "parse";
//!     type Output = u32;
//!     type Error = RemoteError; // takes `?` from any error
//!     type State = ();
//!     async fn run(self, _: TaskContext<()>) -> Result<u32, RemoteError> {
//!         Ok(self.0.parse()?)
//!     }
//! }
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let workers = WorkerSpec::new().task::<Parse>().init(); // in a worker process this never returns
//!     let pool = Pool::builder(workers).processes(2).start().await?;
//!     assert_eq!(pool.submit(Parse("7".to_owned())).await?, 7);
//!     let error = pool.submit(Parse("seven".to_owned())).await.unwrap_err();
//!     assert_eq!(error.to_string(), "invalid digit found in string");
//!     Ok(())
//! }
//! ```
//!
//! # Where to look
//!
//! | for | there is |
//! |---|---|
//! | what a task is and may ask | [`Task`], [`TaskContext`] |
//! | state and hooks of a worker | [`WorkerSpec`] |
//! | every setting with its default | [`PoolBuilder`], [`PoolConfig`], [`Restart`], [`Retry`], [`Stdio`], [`Launcher`] |
//! | one task | [`Pool::submit`], [`Submit`] for options, [`TaskHandle`] |
//! | which is next, and where it goes | [`Priority`], [`Submit::key`], [`TaskOptions`], [`Routing`] |
//! | many | [`Pool::map`], [`Pool::map_stream`], [`Map`] |
//! | one task in a process of its own | [`Process`] |
//! | the actix way | [`Pool::addr`] with [`Submit`], [`Cancel`], [`GetStatus`], [`Drain`], [`Stop`], [`Subscribe`] |
//! | an operator's hand | [`Pool::pause`], [`Pool::resume`], [`Pool::resize`], [`Pool::recycle`], [`Pool::kill`] |
//! | the end | [`Pool::drain`], [`Pool::stop`], or dropping every handle |
//! | what happens meanwhile | [`Pool::status`], [`PoolEvent`], and each event as a `tracing` line |
//! | large buffers, types that need JSON | [`Blob`], [`Json`] |
//!
//! # What can go wrong
//!
//! A task that the pool took in settles exactly once, with its output or a [`TaskError`]:
//!
//! - [`Failed`](TaskError::Failed) is the task's own error, typed. [`Panicked`](TaskError::Panicked) is its panic; the
//!   worker goes on.
//! - [`WorkerLost`](TaskError::WorkerLost): its process ended. The [`CrashReport`] says how, whether this task had
//!   [started](CrashReport::started), and how many tasks [may have caused it](CrashReport::suspects). Tasks that had
//!   not started are run elsewhere instead, and so are idempotent ones ([`Task::IDEMPOTENT`], [`Submit::idempotent`])
//!   that had.
//! - [`Cancelled`](TaskError::Cancelled): its handle, map or request was dropped, it was cancelled, or the pool ended.
//! - [`Rejected`](TaskError::Rejected): it never ran, because the queue is full, it is too large, the pool is closed,
//!   its name is unknown, or workers keep dying and the circuit is open.
//! - [`Codec`](TaskError::Codec): a value could not be encoded or decoded, and which.
//!
//! [`TaskError::never_ran`] says whether it may be submitted again whatever it does.
//!
//! A worker that dies is replaced: at once, then with a growing delay. When more of them die than the
//! [budget](Restart::budget) allows and none is ready, the circuit opens: submits are refused, what was accepted stays
//! queued, and one worker at a time is tried. A worker that breaks the protocol is killed, and harms nobody else.
//!
//! # What it costs to be another process
//!
//! - All that comes before `init()` in `main` runs in workers, too.
//! - Tasks, outputs and errors travel in [postcard](https://docs.rs/postcard), which does not describe itself: types
//!   with `#[serde(flatten)]`, `untagged`, `tag` or `skip_serializing_if` have to be wrapped in [`Json`]. Debug builds
//!   decode the first values of each type again where they were encoded, so that this shows at once.
//! - `Vec<u8>` is encoded one element at a time; [`Blob`] is not.
//! - A worker shares nothing with its host but the environment, the user and, unless told otherwise, standard output.
//!
//! How many processes and how many tasks at once, and what a load means: [`docs::tuning`].
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `test-util` | for tests: the module `testing` and the macro `worker_entry!`, with which a test binary can be its own worker, and workers that run in memory |
//! | `actix-web` | [`TaskError`] is a `ResponseError`, so that `?` works in the handlers of a service: 503 with `Retry-After` when the pool takes no task, 413 for one that is too large; a task's own error says what it is |
//!
//! # Platforms
//!
//! Linux 5.3 or newer is what it is made for and tested on; macOS and Windows compile, and on Wine the essential has been
//! seen to work: workers that are killed, and workers whose host is. On Windows what a worker has started is not ended
//! with it, and [`PoolBuilder::socket_dir`] is refused.

// On docs.rs, where it shows with each name the feature that it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Here and not in the manifest, because tests, examples and benchmarks may panic: that is how they fail.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod config;
#[cfg(any(doc, doctest))]
pub mod docs;
mod error;
mod ipc;
mod observe;
mod pool;
pub mod prelude;
mod sched;
mod spec;
mod supervisor;
mod task;
#[cfg(feature = "test-util")]
pub mod testing;
#[cfg(feature = "actix-web")]
mod web;
mod wire;
mod worker;

pub use config::{
    Affinity, Concurrency, KillPolicy, Launcher, OnExhausted, Output, PoolConfig, ProcessLimits,
    Restart, Retry, Stdio, TaskOptions, WhenFull,
};
pub use error::{
    CodecError, CodecSide, CodecStep, CodecValue, ConfigError, CrashReport, LossCause, Rejected,
    RemoteError, RunningTask, StartError, Started, TaskError, TimedOut, TimeoutEnd, TimeoutStage,
    WorkerStartError,
};
pub use observe::{
    CloseReason, Counts, DrainReport, ExitStatus, OutputStream, PoolEvent, PoolState, RetireReason,
    SlotState, SlotStatus, Status, Suspect,
};
pub use pool::{
    Cancel, Capture, Drain, GetStatus, HasInitArgs, Iter, Kill, Map, MapAll, MapError, Pause, Pool,
    PoolBuilder, Process, ProcessBuilder, Recycle, Resize, Resume, Stop, Submit, Subscribe,
    TaskHandle, Unordered,
};
pub use sched::{LeastLoaded, RoundRobin, Routing, TaskMeta, WorkerLoad};
pub use spec::{CapturedTask, InitSpecs, ReplayError, WorkerSpec, Workers};
pub use supervisor::PoolSupervisor;
pub use task::{
    Failure, FailureInfo, FromState, NoError, Priority, Slot, Task, TaskContext, TaskId, WorkerInfo,
};
pub use wire::{Blob, Json};

/// The programs in the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
