//! A supervised pool of worker processes for actix.
//!
//! Each worker is a process that runs an actix system of its own and many tasks at once. [`Pool`] is the handle,
//! [`PoolSupervisor`] the actor behind it; [`Task`] is what you write, [`WorkerSpec`] what a worker consists of, and
//! [`WorkerSpec::init`] the first statement of `main`. See [`Pool`] for a whole program.
//!
//! Every accepted task settles exactly once: with its output, its own typed error, or a [`TaskError`] that says what
//! happened and whether it ran. [`TaskError::never_ran`] tells when it is safe to submit it again whatever it does.
//!
//! # Features
//!
//! - `test-util`: the module `testing`, with workers in test binaries and in memory.

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
mod wire;
mod worker;

pub use error::{
    CodecError, CodecSide, CodecStep, CodecValue, ConfigError, CrashReport, LossCause, Rejected,
    RemoteError, StartError, Started, TaskError, WorkerStartError,
};
pub use observe::{
    CloseReason, Counts, DrainReport, PoolEvent, PoolState, SlotState, SlotStatus, Status,
};
pub use pool::{
    Cancel, Drain, GetStatus, HasInitArgs, Iter, Map, MapAll, MapError, Pool, PoolBuilder, Stop,
    Submit, Subscribe, TaskHandle, Unordered,
};
pub use spec::{InitSpecs, WorkerSpec, Workers};
pub use supervisor::{Output, PoolSupervisor, Restart, Stdio, WhenFull};
pub use task::{
    Failure, FailureInfo, FromState, NoError, Slot, Task, TaskContext, TaskId, WorkerInfo,
};
pub use wire::{Blob, Json};

/// The README's examples, as tests.
#[cfg(all(doctest, feature = "test-util"))]
#[doc = include_str!("../README.md")]
struct Readme;
