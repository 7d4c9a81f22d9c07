//! A supervised pool of worker processes for actix.

// The crate's own tests of promises to outsiders use it as an outsider would.
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
    Cancel, Drain, GetStatus, Iter, Map, MapAll, MapError, Pool, PoolBuilder, Stop, Submit,
    Subscribe, TaskHandle, Unordered,
};
pub use spec::{InitSpecs, WorkerSpec, Workers};
pub use supervisor::{Output, PoolSupervisor, Restart, Stdio, WhenFull};
pub use task::{
    Failure, FailureInfo, FromState, NoError, Slot, Task, TaskContext, TaskId, WorkerInfo,
};
pub use wire::{Blob, Json};
