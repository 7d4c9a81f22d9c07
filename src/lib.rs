//! A supervised pool of worker processes for actix.

mod task;

pub use task::{Slot, TaskId, WorkerInfo};
