//! One task on its way to a pool.
//!
//! Belongs here: the value with its options. Does not belong here: waiting for its outcome.

use std::{fmt, marker::PhantomData};

use crate::{
    error::{CodecError, CodecSide, CodecValue, TaskError},
    supervisor::SubmitTask,
    task::Task,
    wire::{Payload, codec},
};

/// A task to be run, with options. The message to send to a pool's address.
///
/// The task is encoded when this is made, so that the caller's thread pays for it; a clone shares the bytes. A value that
/// cannot be encoded settles as [`TaskError::Codec`].
///
/// # Examples
///
/// ```no_run
/// # use actix_multiprocess::{Pool, Submit, Task};
/// # async fn f<T: Task>(pool: Pool, task: T) -> Result<(), Box<dyn std::error::Error>> where T::Error: std::error::Error {
/// let output = pool.addr().send(Submit::new(task).idempotent()).await??;
/// # Ok(()) }
/// ```
#[must_use = "a task that is not submitted does not run"]
pub struct Submit<T> {
    payload: Result<Payload, CodecError>,
    idempotent: bool,
    exclusive: bool,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> Submit<T> {
    /// Encodes a task.
    pub fn new(task: T) -> Self {
        Self {
            payload: codec::encode_checked(&task, CodecValue::Input, CodecSide::Host),
            idempotent: T::IDEMPOTENT,
            exclusive: T::EXCLUSIVE,
            task: PhantomData,
        }
    }

    /// Allows the task to run again when the worker that had started it was lost. Default: [`Task::IDEMPOTENT`].
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Runs the task alone in its worker. Default: [`Task::EXCLUSIVE`].
    pub fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }

    pub(super) fn into_task(self) -> SubmitTask {
        SubmitTask {
            name: T::NAME,
            payload: self.payload,
            idempotent: self.idempotent,
            exclusive: self.exclusive,
        }
    }
}

impl<T: Task> From<T> for Submit<T> {
    fn from(task: T) -> Self {
        Self::new(task)
    }
}

impl<T> Clone for Submit<T> {
    fn clone(&self) -> Self {
        Self {
            payload: self.payload.clone(),
            idempotent: self.idempotent,
            exclusive: self.exclusive,
            task: PhantomData,
        }
    }
}

impl<T: Task> fmt::Debug for Submit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit")
            .field("name", &T::NAME)
            .field("bytes", &self.payload.as_ref().map(Payload::len))
            .field("idempotent", &self.idempotent)
            .field("exclusive", &self.exclusive)
            .finish()
    }
}

impl<T: Task> actix::Message for Submit<T> {
    type Result = Result<T::Output, TaskError<T::Error>>;
}
