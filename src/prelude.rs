//! The names that most programs with a pool import.
//!
//! Belongs here: re-exports. Does not belong here: traits with method names that could clash.

pub use crate::{
    NoError, Pool, RemoteError, Submit, Task, TaskContext, TaskError, WorkerSpec, Workers,
};
