//! What the in-worker failure hook is told.
//!
//! Belongs here: the values it gets. Does not belong here: calling it.

use std::any::Any;

use crate::{
    error::{CodecError, RemoteError},
    task::{TaskId, WorkerInfo},
};

/// Which task failed, for [`WorkerSpec::on_failure`](crate::WorkerSpec::on_failure).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FailureInfo {
    /// [`Task::NAME`](crate::Task::NAME).
    pub name: &'static str,
    /// The task.
    pub id: TaskId,
    /// Which run it was, counted from 1.
    pub attempt: u32,
    /// Where it ran.
    pub worker: WorkerInfo,
}

/// How a task failed, for [`WorkerSpec::on_failure`](crate::WorkerSpec::on_failure).
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Failure<'a> {
    /// It returned this error, of the type [`Task::Error`](crate::Task::Error).
    Failed(&'a dyn Any),
    /// It panicked.
    Panicked(&'a RemoteError),
    /// Its input, output or error could not be read or written.
    Codec(&'a CodecError),
}

impl Failure<'_> {
    /// Returns the task's own error, if there is one and it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: 'static>(&self) -> Option<&E> {
        match self {
            Self::Failed(error) => error.downcast_ref(),
            _ => None,
        }
    }
}
