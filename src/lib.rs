//! A supervised pool of worker processes for actix.

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
