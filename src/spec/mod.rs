//! What a program says about its workers, before it is host or worker.
//!
//! Belongs here: `WorkerSpec` and the proof that it was initialised. Does not belong here: running either side.
//! Invariant: a [`Workers`] exists only after the process was found not to be one of its workers, or in one of its tasks.

mod builder;
mod captured;
mod nested;
mod run;
mod workers;

pub use builder::WorkerSpec;
pub use captured::{CapturedTask, ReplayError};
#[cfg(feature = "test-util")]
pub(crate) use workers::enter_if_named;
pub use workers::{InitSpecs, Workers};
