//! What a task is: the trait, its context, its names.
//!
//! Belongs here: what a task's author writes against. Does not belong here: how tasks travel or run.
//! Invariant: plain values, no actix, no socket.

mod ids;

pub use ids::{Slot, TaskId, WorkerInfo};
